//! What falls through: how answers tell it, and how they end when the origin breaks.

use std::time::Duration;

use fallthrough_bucket::{BucketMode, EngineOptions};
use fallthrough_gateway::GatewayOptions;
use fallthrough_sim::Fault;

use crate::world::World;

#[tokio::test]
async fn a_miss_becomes_a_hit() {
    let world = World::new().await;
    world.shadowed_bucket("avatar", BucketMode::Compute).await;
    let content = world.script.object("abc", 5000);
    let anyone = world.anonymous();
    let miss = anyone.get("/avatar/abc").await;
    assert_eq!((miss.status, miss.header("x-cache")), (200, "MISS"), "{}", miss.text());
    assert!(
        miss.header("cache-status").starts_with("fallthrough; fwd=uri-miss; stored"),
        "{:?}",
        miss.headers
    );
    assert!(miss.whole && miss.body == content.bytes());
    let hit = anyone.get("/avatar/abc").await;
    assert_eq!((hit.status, hit.header("x-cache")), (200, "HIT"));
    assert!(hit.body == content.bytes());
    assert_eq!(hit.header("etag"), miss.header("etag"));
    assert_eq!(hit.header("last-modified"), miss.header("last-modified"));
    assert_eq!(world.script.calls("abc"), 1);
    let absent = anyone.get("/avatar/none").await;
    assert_eq!((absent.status, absent.code().as_str()), (404, "NoSuchKey"));
    let negative = anyone.get("/avatar/none").await;
    assert_eq!((negative.status, negative.header("x-cache")), (404, "NEGATIVE"));
}

#[tokio::test]
async fn what_could_not_be_asked_is_never_absent() {
    let world = World::new().await;
    let anyone = world.anonymous();
    let rows = [
        (Fault::HangUp, 503, "SlowDown"),
        (Fault::Status(500), 503, "SlowDown"),
        (Fault::Busy { retry_after: Some("7".to_owned()) }, 503, "SlowDown"),
        (Fault::Status(403), 424, "ShadowMisconfigured"),
        (Fault::NoContent, 502, "BadOriginAnswer"),
    ];
    for (n, (fault, status, code)) in rows.into_iter().enumerate() {
        let key = format!("k{n}");
        let bucket = format!("cold-{n}");
        world.shadowed_bucket(&bucket, BucketMode::Migrate).await;
        world.script.object(&key, 100);
        world.script.fault(&key, fault.clone());
        let get = anyone.get(&format!("/{bucket}/{key}")).await;
        assert_eq!((get.status, get.code().as_str()), (status, code), "{fault:?}: {}", get.text());
        assert!(!get.header("x-cache").is_empty(), "{fault:?}");
        if status == 503 {
            let wait: u64 = get.header("retry-after").parse().unwrap();
            assert!(wait >= 1, "{fault:?}");
        }
        let head = anyone.head(&format!("/{bucket}/{key}")).await;
        assert_ne!(head.status, 404, "{fault:?}");
        assert!(
            !get.text().contains("origin.test"),
            "the origin's address is nobody's business: {}",
            get.text()
        );
    }
}

/// A body that breaks after it has begun must not look whole: with a length, and without.
#[tokio::test]
async fn a_body_that_breaks_is_never_ended_cleanly() {
    let engine = EngineOptions { stall: Duration::from_millis(200), ..EngineOptions::default() };
    let world = World::with(GatewayOptions::default(), engine).await;
    const SIZE: u64 = 20 * 1024 * 1024;
    let anyone = world.anonymous();
    let rows: [(&str, &[Fault]); 4] = [
        ("reset", &[Fault::ResetAt(10 * 1024 * 1024)]),
        ("truncated", &[Fault::TruncateAt(10 * 1024 * 1024)]),
        ("stalled", &[Fault::StallAt(10 * 1024 * 1024)]),
        ("flipped", &[Fault::FlipByteAt(15 * 1024 * 1024), Fault::ContentMd5]),
    ];
    let mut broken = [0, 0];
    for (what, faults) in rows {
        for without_length in [false, true] {
            let name = format!("{what}-{without_length}");
            world.shadowed_bucket(&name, BucketMode::Migrate).await;
            world.script.object(&name, SIZE);
            for fault in faults {
                world.script.fault(&name, fault.clone());
            }
            if without_length {
                world.script.fault(&name, Fault::NoLength);
            }
            let reply = anyone.get(&format!("/{name}/{name}")).await;
            // A fault that shows before the first byte has left is a 503.
            assert!([200, 503].contains(&reply.status), "{name}: {}", reply.status);
            if reply.status == 200 {
                assert!(!reply.whole, "{name}: {} bytes", reply.body.len());
                let framed = if without_length { "transfer-encoding" } else { "content-length" };
                assert!(reply.headers.contains_key(framed), "{name}: {:?}", reply.headers);
                broken[usize::from(without_length)] += 1;
            }
        }
    }
    assert!(broken.iter().all(|count| *count >= 1), "broken off with and without a length: {broken:?}");
    world.shadowed_bucket("whole", BucketMode::Migrate).await;
    let content = world.script.object("whole", SIZE);
    world.script.fault("whole", Fault::NoLength);
    let reply = anyone.get("/whole/whole").await;
    assert!(reply.status == 200 && reply.whole && reply.body == content.bytes());
}
