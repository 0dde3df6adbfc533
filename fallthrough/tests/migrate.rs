//! `fallthrough migrate` from one served process to another, killed on the way. `FALLTHROUGH_MIGRATED` sets how many
//! objects; `FALLTHROUGH_MIGRATION_KILLS` how often the server is killed.

mod served;

use std::collections::BTreeMap;
use std::time::Duration;

use fallthrough_sim::Content;
use http::Method;
use served::Served;
use served::asking::await_within;
use served::client::Client;

const PATIENCE: Duration = Duration::from_secs(300);

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Of many sizes: empty, small, of a row, of a file.
fn content(n: usize) -> Content {
    let size_bytes = match n % 50 {
        0 => 0,
        1 => 300_000,
        2 => 40_000,
        n => n as u64 * 20,
    };
    Content::generated(&path(n), 1, size_bytes)
}

/// Awkward ones among them, as they stand in a request.
fn path(n: usize) -> String {
    match n % 7 {
        0 => format!("/photos/2019/{n:06}%20%2B%26%C3%A9.jpg"),
        1 => format!("/photos/{n:06}//double/"),
        _ => format!("/photos/2019/{:02}/{n:06}", n % 12),
    }
}

#[test]
fn a_bucket_moves_from_server_to_server_though_it_is_killed() {
    let (count, kills) = (number("FALLTHROUGH_MIGRATED", 600), number("FALLTHROUGH_MIGRATION_KILLS", 3));
    let (old_folder, new_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = Served::serve(old_folder.path(), &[]);
    let there = Client::of(&old);
    assert_eq!(there.send(&Method::PUT, "/photos", b"").unwrap().0, 200);
    for n in 0..count {
        assert_eq!(there.send(&Method::PUT, &path(n), &content(n).bytes()).unwrap().0, 200);
    }
    std::fs::write(new_folder.path().join("c.toml"), "[network]\nallow-private-origins = true\n").unwrap();
    std::fs::write(new_folder.path().join("secret"), old.text("secret_key")).unwrap();
    let serve = || Served::serve(new_folder.path(), &["--config", "c.toml"]);
    let mut new = serve();
    new.json(&["bucket", "create", "photos"]);
    let secret = new_folder.path().join("secret");
    let set = new.ctl(&[
        "shadow",
        "set",
        "photos",
        "--endpoint",
        old.text("s3"),
        "--name",
        "photos",
        "--access-key",
        old.text("access_key"),
        "--secret-key-file",
        secret.to_str().unwrap(),
    ]);
    assert_eq!(set.code, 0, "{}{}", set.out, set.err);
    let early = new.ctl(&["migrate", "status", "photos"]);
    assert!(early.code == 3 && early.err.contains("not being migrated"), "{}", early.err);

    // Clients go on meanwhile: some keys are written here, some deleted.
    let mut expected: BTreeMap<String, Option<Content>> =
        (0..count).map(|n| (path(n), Some(content(n)))).collect();
    let started = new.json(&["migrate", "start", "photos", "--concurrency", "4", "--rate", "2MiB"]);
    assert_eq!(started["state"], "copying", "{started}");
    let mut here = Client::of(&new);
    for round in 0..kills {
        for n in (round..count).step_by(97) {
            let mine = Content::generated(&path(n), 2, 500);
            assert_eq!(here.send(&Method::PUT, &path(n), &mine.bytes()).unwrap().0, 200);
            expected.insert(path(n), Some(mine));
        }
        for n in (round + 40..count).step_by(89) {
            assert_eq!(here.send(&Method::DELETE, &path(n), b"").unwrap().0, 204);
            expected.insert(path(n), None);
        }
        let wanted = count * (round + 1) / (kills + 2);
        await_within(PATIENCE, "some of it to be copied", || {
            let view = new.json(&["migrate", "status", "photos"]);
            view["copied"]["objects"].as_u64().is_some_and(|done| done as usize >= wanted)
        })
        .unwrap();
        assert_ne!(new.stop("-KILL"), 0);
        new = serve();
        here = Client::of(&new);
    }
    let status = || new.json(&["migrate", "status", "photos"]);
    await_within(PATIENCE, "everything to be copied", || status()["state"] == "copied").unwrap();
    let copied = status();
    assert_eq!(copied["counted"]["objects"].as_u64(), Some(count as u64), "{copied}");
    assert_eq!(copied["copied"]["objects"].as_u64(), Some(count as u64), "{copied}");
    assert_eq!(copied["copied"]["tally"]["failed"].as_object(), None, "{copied}");
    let refused = new.ctl(&["migrate", "cutover", "photos"]);
    assert!(refused.code == 1 && refused.err.contains("it was not verified since"), "{}", refused.err);

    let verified = new.ctl(&["migrate", "verify", "photos"]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    let report = new.ctl(&["migrate", "report", "photos"]);
    let lines: Vec<&str> = report.out.lines().collect();
    assert_eq!(lines[0], "what,key,size_bytes,detail");
    let deleted = expected.values().filter(|content| content.is_none()).count();
    assert_eq!(lines.iter().filter(|line| line.starts_with("tombstoned,")).count(), deleted);
    assert!(
        !lines.iter().any(|line| line.starts_with("missing,") || line.starts_with("different,")),
        "{lines:?}"
    );
    let cut = new.ctl(&["migrate", "cutover", "photos"]);
    assert_eq!(cut.code, 0, "{}", cut.err);

    // The old one is gone, and nothing is missed.
    assert_eq!(old.stop("-TERM"), 0);
    for (path, content) in &expected {
        let (status, body) = here.send(&Method::GET, path, b"").unwrap();
        match content {
            Some(content) => assert!(status == 200 && content.bytes() == body, "{path}"),
            None => assert_eq!(status, 404, "{path} stays deleted"),
        }
    }
    assert_eq!(new.stop("-TERM"), 0);
}
