//! Lists in pages: nothing is missing, nothing comes twice.

use std::future::Future;
use std::pin::Pin;

use futures::StreamExt;

use crate::body::Body;
use crate::call::{Call, call, list_v1, list_v2};
use crate::case::Table;
use crate::expect::{document, texts_at};
use crate::report::{Failure, Result};
use crate::scene::Scene;

use super::TREE;

/// What a script gives back.
type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

pub(super) fn cases(table: &mut Table) {
    v2_pages(table);
    v1_pages(table);
    for (name, script) in [
        ("v2: every size of page gives the same", every_v2 as for<'a> fn(&'a mut Scene<'_>) -> Running<'a>),
        ("v1: every size of page gives the same", every_v1),
        ("v2: every size of page gives the same, with a delimiter", every_v2_delimited),
        ("v1: every size of page gives the same, with a delimiter", every_v1_delimited),
    ] {
        table
            .case(name)
            .place_keys(TREE)
            .place_keys(&["b0", "c/", "c//", "e/4/5", "\u{e9}", "z z+z"])
            .script(script);
    }
    table.case("a page has 1000 keys if nothing is said").script(many);
}

fn v2_pages(table: &mut Table) {
    table
        .case("v2: two pages")
        .place_keys(TREE)
        .ask(
            list_v2()
                .query("max-keys=4")
                .all("Contents/Key", &TREE[..4])
                .one("KeyCount", "4")
                .one("IsTruncated", "true")
                .save_xml("token", "NextContinuationToken"),
        )
        .ask(
            list_v2()
                .query("max-keys=4")
                .param("continuation-token", "{token}")
                .all("Contents/Key", &TREE[4..])
                .one("ContinuationToken", "{token}")
                .one("IsTruncated", "false")
                .none("NextContinuationToken"),
        );
    table
        .case("v2: common prefixes count")
        .place_keys(TREE)
        .ask(
            list_v2()
                .query("max-keys=2&delimiter=%2F")
                .all("Contents/Key", ["a"])
                .all("CommonPrefixes/Prefix", ["b/"])
                .one("KeyCount", "2")
                .one("IsTruncated", "true")
                .save_xml("token", "NextContinuationToken"),
        )
        .ask(
            list_v2()
                .query("max-keys=2&delimiter=%2F")
                .param("continuation-token", "{token}")
                .all("Contents/Key", ["d"])
                .all("CommonPrefixes/Prefix", ["e/"])
                .one("IsTruncated", "false"),
        );
    table
        .case("v2: a token goes before start-after")
        .place_keys(TREE)
        .ask(list_v2().query("max-keys=2").save_xml("token", "NextContinuationToken"))
        .ask(
            list_v2()
                .param("continuation-token", "{token}")
                .query("start-after=d")
                .all("Contents/Key", &TREE[2..]),
        );
    table
        .case("v2: start-after counts for the first page only")
        .place_keys(TREE)
        .ask(
            list_v2()
                .query("max-keys=1&start-after=b%2F1")
                .all("Contents/Key", ["b/2"])
                .save_xml("token", "NextContinuationToken"),
        )
        .ask(
            list_v2()
                .query("start-after=b%2F1")
                .param("continuation-token", "{token}")
                .all("Contents/Key", &TREE[3..]),
        );
    table
        .case("v2: a page goes on behind a key that is gone")
        .place_keys(TREE)
        .ask(list_v2().query("max-keys=2").save_xml("token", "NextContinuationToken"))
        .ask(crate::call::delete("b/1"))
        .ask(list_v2().param("continuation-token", "{token}").all("Contents/Key", &TREE[2..]));
}

fn v1_pages(table: &mut Table) {
    table
        .case("v1: no next marker without a delimiter")
        .place_keys(TREE)
        .ask(
            list_v1()
                .query("max-keys=4")
                .all("Contents/Key", &TREE[..4])
                .one("IsTruncated", "true")
                .none("NextMarker"),
        )
        .ask(
            list_v1()
                .query("max-keys=4&marker=b%2Fc%2F3")
                .all("Contents/Key", &TREE[4..])
                .one("IsTruncated", "false"),
        );
    table
        .case("v1: the next marker is a common prefix")
        .place_keys(TREE)
        .ask(
            list_v1()
                .query("max-keys=2&delimiter=%2F")
                .all("Contents/Key", ["a"])
                .all("CommonPrefixes/Prefix", ["b/"])
                .one("IsTruncated", "true")
                .one("NextMarker", "b/"),
        )
        .ask(
            list_v1()
                .query("max-keys=2&delimiter=%2F&marker=b%2F")
                .all("Contents/Key", ["d"])
                .all("CommonPrefixes/Prefix", ["e/"])
                .one("Marker", "b/")
                .one("IsTruncated", "false")
                .none("NextMarker"),
        );
    table
        .case("v1: the next marker is a key")
        .place_keys(TREE)
        .ask(list_v1().query("max-keys=1&delimiter=%2F").all("Contents/Key", ["a"]).one("NextMarker", "a"));
}

fn every_v2<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(same_in_all_sizes(scene, || list_v2().query("encoding-type=url"), true))
}

fn every_v1<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(same_in_all_sizes(scene, || list_v1().query("encoding-type=url"), false))
}

fn every_v2_delimited<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(same_in_all_sizes(scene, || list_v2().query("encoding-type=url&delimiter=%2F"), true))
}

fn every_v1_delimited<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(same_in_all_sizes(scene, || list_v1().query("encoding-type=url&delimiter=%2F"), false))
}

/// Lists in pages of 1, 2, 3, 5 and 7, and compares with the list in one page.
async fn same_in_all_sizes(scene: &mut Scene<'_>, list: fn() -> Call, v2: bool) -> Result<()> {
    let whole = paged(scene, list, v2, 1000).await?;
    for size in [1, 2, 3, 5, 7] {
        let pages = paged(scene, list, v2, size).await?;
        if pages != whole {
            return Err(Failure(format!("in pages of {size}: {pages:?}, in one: {whole:?}")));
        }
    }
    Ok(())
}

/// Keys and common prefixes of all pages, in order of the pages.
async fn paged(scene: &mut Scene<'_>, list: fn() -> Call, v2: bool, size: usize) -> Result<Vec<String>> {
    const PAGES_MAX: usize = 50;
    let (mut all, mut next) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut page = list().param("max-keys", size.to_string());
        if let Some(next) = next.take() {
            page = page.param(if v2 { "continuation-token" } else { "marker" }, next);
        }
        let reply = scene.ask(&page).await?;
        let document = document(&reply)?;
        let decoded = |path: &str| -> Result<Vec<String>> {
            let decode =
                |text: &String| fallthrough_wire::uri::decode_plus(text).map(std::borrow::Cow::into_owned);
            let texts = texts_at(&document, path).iter().map(decode).collect::<std::result::Result<_, _>>();
            texts.map_err(|error| Failure(error.to_string()))
        };
        let mut names = decoded("Contents/Key")?;
        names.extend(decoded("CommonPrefixes/Prefix")?);
        names.sort_unstable();
        if names.len() > size {
            return Err(Failure(format!("{} names in a page of {size}", names.len())));
        }
        let last = names.last().cloned();
        all.append(&mut names);
        if texts_at(&document, "IsTruncated") != ["true"] {
            return Ok(all);
        }
        next = if v2 {
            texts_at(&document, "NextContinuationToken").pop()
        } else {
            decoded("NextMarker")?.pop().or(last)
        };
    }
    Err(Failure(format!("more than {PAGES_MAX} pages of {size}")))
}

fn many<'a>(scene: &'a mut Scene<'_>) -> Running<'a> {
    Box::pin(async move {
        const AT_ONCE: usize = 16;
        let (ground, mode, variables) = (scene.ground, scene.mode, scene.variables.clone());
        let placed = futures::stream::iter(0..1001)
            .map(|number| {
                let variables = &variables;
                async move {
                    let body = Body::Text(number.to_string());
                    ground.place(mode, &format!("k{number:04}"), &body, &[], variables).await
                }
            })
            .buffer_unordered(AT_ONCE);
        placed.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<()>>>()?;
        let calls = [
            list_v2()
                .count("Contents", 1000)
                .one("IsTruncated", "true")
                .save_xml("token", "NextContinuationToken"),
            list_v2()
                .param("continuation-token", "{token}")
                .all("Contents/Key", ["k1000"])
                .one("IsTruncated", "false"),
            list_v1().count("Contents", 1000).one("IsTruncated", "true"),
            list_v1().query("max-keys=1001").count("Contents", 1000).one("IsTruncated", "true"),
            list_v1().query("marker=k0999").all("Contents/Key", ["k1000"]),
        ];
        for call in calls {
            scene.ask(&call).await?;
        }
        // As clean-up code does it, and as many at a time as are allowed.
        let keys: String =
            (0..1000).map(|number| format!("<Object><Key>k{number:04}</Key></Object>")).collect();
        let body = format!("<Delete><Quiet>true</Quiet>{keys}</Delete>");
        let batch =
            call("POST", "/{bucket}").query("delete").body(body).md5().root("DeleteResult").none("Error");
        scene.ask(&batch).await?;
        scene.ask(&list_v2().all("Contents/Key", ["k1000"])).await?;
        Ok(())
    })
}
