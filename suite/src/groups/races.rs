//! Several at the same time: conditions that one of them wins, readers of what changes, writers that go away.

use std::future::Future;
use std::pin::Pin;

use crate::body::{Body, etag, pattern};
use crate::call::{Call, bucket, call, delete, get, post, put};
use crate::case::{Modes, Table};
use crate::client::{Connection, in_time};
use crate::report::{Failure, Result};
use crate::scene::Scene;

/// What a script gives back.
type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// How many try at the same time.
const RACERS: u8 = 8;
/// Far more than the buffers of a connection hold, so that a reader who waits holds the server up.
const LARGE: usize = 24 << 20;

pub(super) fn cases(table: &mut Table) {
    table.case("create-only PUTs at the same time: one wins").script(create_only);
    table
        .case("PUTs that replace the same object at the same time: one wins")
        .place("key", "old")
        .script(swap);
    table
        .case("uploads completed create-only at the same time: one wins")
        .modes_are(Modes::Plain)
        .script(complete_create_only);
    table.case("reads at the same time give all the same").place("key", pattern(1, 700_000)).script(reads);
    table.case("heads and ranges at the same time").place("key", pattern(1, 700_000)).script(ranges);
    table
        .case("a reader finishes what it began to read: written over")
        .place("key", Body::Pattern { seed: 1, len: LARGE })
        .script(read_over_write);
    table
        .case("a reader finishes what it began to read: deleted")
        .modes_are(Modes::Plain)
        .place("key", Body::Pattern { seed: 1, len: LARGE })
        .script(read_over_delete);
    table.case("a PUT is not seen before it is done").place("key", "old").script(unfinished);
    table.case("a PUT that breaks off leaves what was there").place("key", "old").script(broken_off);
    table.case("a PUT that breaks off leaves nothing where nothing was").script(broken_off_nothing);
    table
        .case("a part that breaks off is none")
        .modes_are(Modes::Plain)
        .ask(post("key", "").query("uploads").save_xml("upload", "UploadId"))
        .script(broken_part);
    table
        .case("buckets of one name created at the same time")
        .modes_are(Modes::Plain)
        .without_bucket()
        .script(same_bucket);
    table
        .case("parts of one upload at the same time")
        .modes_are(Modes::Plain)
        .ask(post("key", "").query("uploads").save_xml("upload", "UploadId"))
        .script(parts_together);
}

/// How many of the answers have this status.
fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|have| **have == status).count()
}

/// One is 200; the others lost, to the condition or to the race itself.
fn one_wins(statuses: &[u16]) -> Result<usize> {
    let lost = count(statuses, 412) + count(statuses, 409);
    if count(statuses, 200) != 1 || lost + 1 != statuses.len() {
        return Err(Failure(format!("one was to win, the others to get 412 or 409: {statuses:?}")));
    }
    Ok(statuses.iter().position(|status| *status == 200).unwrap_or_default())
}

/// Every racer puts a text of its own.
fn racing(with: impl Fn(Call) -> Call) -> Vec<Call> {
    (0..RACERS).map(|racer| with(put("key", format!("racer {racer}")))).collect()
}

async fn won(scene: &mut Scene<'_>, calls: Vec<Call>) -> Result<()> {
    let replies = scene.ask_together(&calls).await?;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    let winner = one_wins(&statuses)?;
    scene.ask(&get("key").gives(200).gives_body(format!("racer {winner}"))).await.map(drop)
}

fn create_only<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(won(scene, racing(|put| put.with("if-none-match", "*"))))
}

fn swap<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(won(scene, racing(|put| put.with("if-match", etag(b"old")))))
}

fn complete_create_only<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        let mut calls = Vec::new();
        for racer in 0..RACERS {
            let (id, tag) = (format!("upload{racer}"), format!("tag{racer}"));
            scene.ask(&post("key", "").query("uploads").save_xml(&id, "UploadId")).await?;
            let part = put("key", format!("racer {racer}"))
                .query("partNumber=1")
                .param("uploadId", format!("{{{id}}}"))
                .save(&tag, "etag");
            scene.ask(&part).await?;
            let document = format!(
                "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{{{tag}}}</ETag></Part></CompleteMultipartUpload>"
            );
            calls.push(
                post("key", document).param("uploadId", format!("{{{id}}}")).with("if-none-match", "*"),
            );
        }
        won(scene, calls).await
    })
}

fn reads<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        let calls: Vec<Call> = (0..RACERS).map(|_| get("key")).collect();
        for reply in scene.ask_together(&calls).await? {
            if reply.status != 200 || !reply.whole || reply.body != pattern(1, 700_000) {
                let (status, len) = (reply.status, reply.body.len());
                return Err(Failure(format!(
                    "a reader got {status} and {len} bytes that are not the object's"
                )));
            }
        }
        Ok(())
    })
}

fn ranges<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        const STEP: usize = 100_000;
        let calls: Vec<Call> = (0..7)
            .map(|number| {
                let first = number * STEP;
                get("key").with("range", format!("bytes={first}-{}", first + STEP - 1))
            })
            .chain([call("HEAD", "/{bucket}/key")])
            .collect();
        let replies = scene.ask_together(&calls).await?;
        let all: Vec<u8> = replies[..7].iter().flat_map(|reply| reply.body.clone()).collect();
        if all != pattern(1, 700_000) || replies.iter().take(7).any(|reply| reply.status != 206) {
            return Err(Failure("the ranges together are not the object".to_owned()));
        }
        match replies[7].header("content-length").as_deref() {
            Some("700000") => Ok(()),
            other => Err(Failure(format!("the head tells the length {other:?}"))),
        }
    })
}

/// Begins to read `key`, does something else, reads on; all bytes must be those that were there.
async fn read_over(scene: &mut Scene<'_>, meanwhile: Call) -> Result<()> {
    let request = scene.ground.encoded(&get("key"), &scene.variables)?;
    let mut reading = Connection::open(&scene.ground.endpoint).await?;
    reading.send(&request.head).await?;
    in_time(reading.head()).await?;
    scene.ask(&meanwhile).await?;
    let reply = in_time(reading.reply(false)).await?;
    if reply.status == 200 && reply.whole && reply.body == pattern(1, LARGE) {
        return Ok(());
    }
    Err(Failure(format!(
        "the reader got {} and {} bytes, whole: {}, of which not all are those of the object that it began to read",
        reply.status,
        reply.body.len(),
        reply.whole
    )))
}

fn read_over_write<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        read_over(scene, put("key", "new").gives(200)).await?;
        scene.ask(&get("key").gives_body("new")).await.map(drop)
    })
}

fn read_over_delete<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        read_over(scene, delete("key").gives(204)).await?;
        scene.ask(&get("key").fails(404, "NoSuchKey")).await.map(drop)
    })
}

/// Sends the head of `write` and half of its body.
async fn half(scene: &Scene<'_>, write: &Call) -> Result<(Connection, Vec<u8>)> {
    let request = scene.ground.encoded(write, &scene.variables)?;
    let mut writing = Connection::open(&scene.ground.endpoint).await?;
    writing.send(&request.head).await?;
    let (first, rest) = request.body.split_at(request.body.len() / 2);
    writing.send(first).await?;
    Ok((writing, rest.to_vec()))
}

fn unfinished<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        let (mut writing, rest) = half(scene, &put("key", pattern(2, 300_000))).await?;
        scene.ask(&get("key").gives_body("old")).await?;
        scene.ask(&bucket("GET", "list-type=2").gives(200)).await?;
        writing.send(&rest).await?;
        let reply = in_time(writing.reply(false)).await?;
        if reply.status != 200 {
            return Err(Failure(format!("the PUT got {} {}", reply.status, reply.code())));
        }
        scene.ask(&get("key").gives_body(pattern(2, 300_000))).await.map(drop)
    })
}

fn broken_off<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        drop(half(scene, &put("key", pattern(2, 300_000))).await?);
        scene.ask(&get("key").gives(200).gives_body("old")).await.map(drop)
    })
}

fn broken_off_nothing<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        drop(half(scene, &put("key", pattern(2, 300_000))).await?);
        scene.ask(&get("key").fails(404, "NoSuchKey")).await.map(drop)
    })
}

fn broken_part<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        let part = put("key", pattern(2, 300_000)).query("partNumber=1").param("uploadId", "{upload}");
        drop(half(scene, &part).await?);
        scene.ask(&get("key").param("uploadId", "{upload}").gives(200).none("Part")).await.map(drop)
    })
}

fn same_bucket<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        let calls: Vec<Call> = (0..RACERS).map(|_| call("PUT", "/{bucket}")).collect();
        let replies = scene.ask_together(&calls).await?;
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        if count(&statuses, 200) != statuses.len() {
            return Err(Failure(format!("creating one's own bucket again is no error: {statuses:?}")));
        }
        scene.ask(&put("key", "x").gives(200)).await.map(drop)
    })
}

fn parts_together<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        let calls: Vec<Call> = (1..=RACERS)
            .map(|number| {
                put("key", vec![number; 1000])
                    .query(&format!("partNumber={number}"))
                    .param("uploadId", "{upload}")
            })
            .collect();
        let replies = scene.ask_together(&calls).await?;
        if let Some(reply) = replies.iter().find(|reply| reply.status != 200) {
            return Err(Failure(format!("a part got {} {}", reply.status, reply.code())));
        }
        let numbers: Vec<String> = (1..=RACERS).map(|number| number.to_string()).collect();
        let etags: Vec<String> = (1..=RACERS).map(|number| etag(&vec![number; 1000])).collect();
        scene
            .ask(
                &get("key")
                    .param("uploadId", "{upload}")
                    .gives(200)
                    .all("Part/PartNumber", numbers)
                    .all("Part/ETag", etags),
            )
            .await
            .map(drop)
    })
}
