//! What must be left at the end of a run: nothing but what histories say.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_bucket::BucketError;
use fallthrough_bucket::{UploadItem, UploadsRequest};
use fallthrough_object::Key;

use crate::upload_model::UploadDid;
use crate::world::World;

/// Whoever looks, among the clients.
const AUDITOR: u32 = 97;

/// Compares the uploads that there are with those that there may be, ends them, and removes all objects; what is left
/// on the disk then belongs to nobody.
pub(crate) async fn clear(world: &Arc<World>) {
    let Some(running) = world.running() else { return };
    let engine = &running.engine;
    let known = world.uploads.all();
    let from = world.journal.now();
    let bucket = match engine.bucket(&World::bucket_name()).await {
        Ok(bucket) => bucket,
        Err(BucketError::NoSuchBucket(_)) => {
            let gone = |number| world.uploads.did(AUDITOR, number, from, UploadDid::Gone);
            return known.iter().map(|upload| upload.number).for_each(gone);
        }
        Err(error) => return world.journal.violation(format!("the bucket cannot be read: {error}")),
    };
    let all = UploadsRequest { max: 10_000, ..UploadsRequest::default() };
    let page = match engine.uploads(&bucket, &all).await {
        Ok(page) => page,
        Err(error) => return world.journal.violation(format!("uploads cannot be listed: {error}")),
    };
    let uploads = page.items.iter().filter_map(|item| match item {
        UploadItem::Upload(upload) => Some(&**upload),
        UploadItem::Prefix(_) => None,
    });
    let there: Vec<_> = uploads.collect();
    let is_there = |id: &str| there.iter().any(|upload| upload.id.to_string() == id);
    for upload in &known {
        let did = if is_there(&upload.id) { UploadDid::Alive } else { UploadDid::Gone };
        world.uploads.did(AUDITOR, upload.number, from, did);
    }
    let strange = there.iter().filter(|found| !known.iter().any(|known| known.id == found.id.to_string()));
    if strange.count() > world.uploads.nameless() {
        world.journal.violation("there are uploads that nobody began");
    }
    for upload in &there {
        if let Err(error) = engine.abort_upload(&bucket, &upload.key, upload.id).await {
            world.journal.violation(format!("an upload cannot be aborted: {error}"));
        }
    }
    let ended = known.iter().filter_map(|upload| fallthrough_bucket::UploadId::parse(&upload.id));
    for id in ended.chain(there.iter().map(|upload| upload.id)) {
        match engine.parts(&bucket, id, 0, 1).await {
            Ok(parts) if parts.is_empty() => {}
            other => world.journal.violation(format!("parts of {id} are left: {other:?}")),
        }
    }
    for name in &world.plan.keys {
        let key = Key::parse(name).expect("a good key");
        if let Err(error) = engine.purge(&bucket, &key, true).await {
            world.journal.violation(format!("{name} cannot be purged: {error}"));
        }
    }
}

/// While the machine runs on: no fill, no request to an origin and no staged body may be left when nobody asks for anything.
pub(crate) async fn await_quiet(world: &Arc<World>, within: Duration) {
    let is_quiet = || {
        let fills = world.running().map_or(0, |running| running.engine.fills_in_flight());
        let (requests, staged) = (world.origins.in_flight(), world.disk().names("staging/"));
        let left = (fills, requests, staged);
        if left == (0, 0, Vec::new()) { Ok(()) } else { Err(left) }
    };
    if let Err((fills, requests, staged)) = wait_for(is_quiet, within).await {
        world.journal.violation(format!(
            "nobody asks for anything, and there are {fills} fills, {requests} requests to origins, and staged {staged:?}"
        ));
    }
}

/// While the machine runs on: bytes of objects that are gone are given up, not only at the next start.
pub(crate) async fn await_no_blobs(world: &Arc<World>, within: Duration) {
    let are_gone = || {
        let left = world.disk().names("blobs/");
        if left.is_empty() { Ok(()) } else { Err(left) }
    };
    if let Err(left) = wait_for(are_gone, within).await {
        world.journal.violation(format!("all objects are gone, and the machine that runs keeps {left:?}"));
    }
}

async fn wait_for<T>(mut is_so: impl FnMut() -> Result<(), T>, within: Duration) -> Result<(), T> {
    let until = tokio::time::Instant::now() + within;
    loop {
        match is_so() {
            Err(left) if tokio::time::Instant::now() >= until => return Err(left),
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            Ok(()) => return Ok(()),
        }
    }
}
