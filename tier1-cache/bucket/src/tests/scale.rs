//! Lists of large buckets read about as many rows as they show: counted, not timed.

use std::sync::Arc;

use fallthrough_object::Timestamp;
use fallthrough_store::{NewState, ObjectInfo, Observation, UploadRow};
use futures::StreamExt as _;

use super::world::{World, caller, key};
use crate::{Bucket, BucketMode, ListItem, ListPage, ListRequest, UploadItem, UploadsPage, UploadsRequest};

/// Keys below one common prefix; `FALLTHROUGH_LIST_KEYS` sets another number.
fn many() -> usize {
    std::env::var("FALLTHROUGH_LIST_KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(100_000)
}

/// Puts empty objects there, without the engine.
async fn fill(world: &World, keys: impl Iterator<Item = String>) {
    let bucket = world.bucket().await;
    let put = async |at: String| {
        let body = world.store.stage(Some(0)).unwrap().seal().await.unwrap();
        let written = NewState::Written(ObjectInfo::default());
        world.store.publish(&bucket, &key(&at), None, written, body).await.unwrap();
    };
    futures::stream::iter(keys).for_each(put).await;
}

/// A page, and how many rows were read for it.
async fn page(world: &World, request: &ListRequest) -> (ListPage, u64) {
    let before = world.store.status().listed_rows;
    let page = world.engine.list(&world.bucket().await, &caller(), request.clone()).await.result.unwrap();
    (page, world.store.status().listed_rows - before)
}

fn name(item: &ListItem) -> &str {
    match item {
        ListItem::Object { key, .. } => key.as_str(),
        ListItem::Prefix(prefix) => prefix,
    }
}

/// The first and the last name.
fn ends(page: &ListPage) -> (&str, &str) {
    (name(page.items.first().unwrap()), name(page.items.last().unwrap()))
}

/// `many/` with many keys, 2,000 common prefixes with three keys each, and 2,000 keys without.
async fn large(mode: BucketMode) -> World {
    let world = World::new(mode).await;
    fill(&world, (0..many()).map(|n| format!("many/{n:07}"))).await;
    fill(&world, (0..2_000).flat_map(|n| ["a", "b", "c"].map(|leaf| format!("some/{n:04}/{leaf}")))).await;
    fill(&world, (0..2_000).map(|n| format!("zflat-{n:04}"))).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_page_reads_what_it_shows_and_jumps_over_common_prefixes() {
    let world = large(BucketMode::Plain).await;
    let all = ListRequest { max_keys: 1_000, ..ListRequest::default() };

    // Without a delimiter: the page, and the row that tells that there are more. The first one, one in the middle
    // as V1 and as V2 go on, and one at the end.
    let (first, rows) = page(&world, &all).await;
    assert_eq!((first.items.len(), rows), (1_000, 1_001));
    assert_eq!(ends(&first), ("many/0000000", "many/0000999"));
    let v2 = ListRequest { cursor: first.next, ..all.clone() };
    let (second, rows) = page(&world, &v2).await;
    assert_eq!((ends(&second), rows), (("many/0001000", "many/0001999"), 1_001));
    let middle = format!("many/{:07}", many() / 2);
    let v1 = ListRequest { after: Some(middle), must_show_one: true, ..all.clone() };
    let (third, rows) = page(&world, &v1).await;
    assert_eq!((third.items.len(), rows), (1_000, 1_001));
    assert_eq!(name(&third.items[0]), format!("many/{:07}", many() / 2 + 1));
    let end = ListRequest { after: Some("zflat-1499".to_owned()), ..all.clone() };
    let (last, rows) = page(&world, &end).await;
    assert_eq!((ends(&last), rows), (("zflat-1500", "zflat-1999"), 500));
    assert!(last.next.is_none());
    let (one, rows) = page(&world, &ListRequest { max_keys: 1, ..all.clone() }).await;
    assert_eq!((one.items.len(), rows), (1, 2));

    // With one: what is under a common prefix is not walked, wherever the page begins.
    let by_slash = ListRequest { delimiter: Some("/".to_owned()), ..all.clone() };
    let (roots, rows) = page(&world, &by_slash).await;
    assert_eq!(ends(&roots), ("many/", "zflat-0997"));
    assert!(rows <= 1_010, "{rows} rows for two prefixes and 998 keys");
    let middle = ListRequest { after: Some("many/0000777".to_owned()), ..by_slash.clone() };
    let (rest, rows) = page(&world, &middle).await;
    assert_eq!(ends(&rest), ("some/", "zflat-0998"));
    assert!(rows <= 1_010, "{rows} rows");
    let at = ListRequest { after: Some("many/".to_owned()), must_show_one: true, ..by_slash.clone() };
    let (rest, rows) = page(&world, &at).await;
    assert_eq!(ends(&rest), ("some/", "zflat-0998"));
    assert!(rows <= 1_010, "{rows} rows");
    let going_on = ListRequest { cursor: roots.next, ..by_slash.clone() };
    let (rest, rows) = page(&world, &going_on).await;
    assert_eq!(ends(&rest), ("zflat-0998", "zflat-1997"));
    assert!(rows <= 1_010, "{rows} rows");
    let within = ListRequest { prefix: "some/".to_owned(), ..by_slash.clone() };
    let (prefixes, rows) = page(&world, &within).await;
    assert_eq!(ends(&prefixes), ("some/0000/", "some/0999/"));
    assert!(rows <= 3_010, "{rows} rows for a thousand prefixes");
    let going_on = ListRequest { cursor: prefixes.next, ..within };
    let (prefixes, rows) = page(&world, &going_on).await;
    assert_eq!(ends(&prefixes), ("some/1000/", "some/1999/"));
    assert!(rows <= 3_010 && prefixes.next.is_none(), "{rows} rows for a thousand prefixes");
}

#[tokio::test(start_paused = true)]
async fn a_merged_page_reads_about_twice_what_it_shows() {
    let world = large(BucketMode::Migrate).await;
    for n in (0..many()).step_by(many() / 2_000) {
        world.origin.object(&format!("many/{n:07}-cold"), 1);
    }
    for n in 0..2_000 {
        world.origin.object(&format!("cold/{n:04}"), 1);
    }
    let all = ListRequest { max_keys: 1_000, ..ListRequest::default() };
    let cursors = [None, Some("cold/1500"), Some("many/0000500"), Some("some/0500/b"), Some("zflat-1900")];
    for after in cursors {
        let (merged, rows) =
            page(&world, &ListRequest { after: after.map(str::to_owned), ..all.clone() }).await;
        let shown = merged.items.len() as u64;
        assert!(shown == 1_000 || merged.next.is_none(), "{after:?}");
        // A page of the shadow ends anywhere among ours: what lies behind it is read again.
        assert!(rows <= 2 * (shown + 1), "{after:?}: {rows} rows for {shown} names");
    }
    let by_slash = ListRequest { delimiter: Some("/".to_owned()), ..all };
    for (after, first) in [(None, "cold/"), (Some("many/0000777"), "some/"), (Some("cold/"), "many/")] {
        let request = ListRequest { after: after.map(str::to_owned), ..by_slash.clone() };
        let (merged, rows) = page(&world, &request).await;
        assert_eq!((merged.items.len(), name(&merged.items[0])), (1_000, first));
        assert!(rows <= 1_020, "{after:?}: {rows} rows");
    }
}

/// Rows that take no part in lists (what a HEAD or a 404 of the origin left) behind a common prefix: the page once read
/// the same thousand of them again and again. A page ends when enough of them were read.
#[tokio::test(start_paused = true)]
async fn rows_that_are_not_listed_do_not_hold_a_list_up() {
    let world = World::new(BucketMode::Compute).await;
    fill(&world, ["a/1", "a/\u{10FFFF}2", "z"].map(str::to_owned).into_iter()).await;
    let bucket = world.bucket().await;
    let absent = Observation::Absent { until: Timestamp(u64::MAX), invalid: false };
    for n in 0..25_000 {
        world.store.observe(&bucket, &key(&format!("b{n:05}")), None, absent.clone()).await.unwrap();
    }
    for delimiter in [None, Some("/".to_owned())] {
        let want: &[&str] = if delimiter.is_some() { &["a/", "z"] } else { &["a/1", "a/\u{10FFFF}2", "z"] };
        let request = ListRequest { max_keys: 10, delimiter, ..ListRequest::default() };
        assert_eq!(world.names(request.clone()).await, want);
        let (first, rows) = page(&world, &request).await;
        assert!(first.next.is_some() && (20_000..22_000).contains(&rows), "{rows} rows");
        // V1 goes on from a name that it showed: it has to find one.
        let v1 = ListRequest { after: Some("a/\u{10FFFF}2".to_owned()), must_show_one: true, ..request };
        let (found, _) = page(&world, &v1).await;
        assert_eq!((ends(&found), found.next.is_none()), (("z", "z"), true));
    }
}

async fn uploads(
    world: &World,
    bucket: &Bucket,
    request: &UploadsRequest,
) -> (Vec<String>, UploadsPage, u64) {
    let before = world.store.status().listed_rows;
    let page = world.engine.uploads(bucket, request).await.unwrap();
    let names = page.items.iter().map(|item| match item {
        UploadItem::Upload(upload) => upload.key.as_str().to_owned(),
        UploadItem::Prefix(prefix) => prefix.clone(),
    });
    (names.collect(), page.clone(), world.store.status().listed_rows - before)
}

#[tokio::test(start_paused = true)]
async fn lists_of_uploads_jump_over_common_prefixes() {
    let world = World::new(BucketMode::Plain).await;
    let bucket: Arc<Bucket> = world.bucket().await;
    let keys = (0..10_000).map(|n| format!("many/{n:05}")).chain((0..100).map(|n| format!("some/{n:02}/k")));
    for at in keys.chain(["many/\u{10FFFF}".to_owned(), "z".to_owned(), "z".to_owned()]) {
        world.store.create_upload(&bucket, &key(&at), UploadRow::default()).await.unwrap();
    }
    let all = UploadsRequest { max: 1_000, ..UploadsRequest::default() };
    let (names, first, rows) = uploads(&world, &bucket, &all).await;
    assert_eq!((names.len(), names[999].as_str(), rows), (1_000, "many/00999", 1_001));
    let (names, _, rows) =
        uploads(&world, &bucket, &UploadsRequest { after: first.next, ..all.clone() }).await;
    assert_eq!((names[0].as_str(), rows), ("many/01000", 1_001));

    let by_slash = UploadsRequest { delimiter: Some("/".to_owned()), ..all };
    let (names, page, rows) = uploads(&world, &bucket, &by_slash).await;
    assert_eq!(names, ["many/", "some/", "z", "z"]);
    assert!(rows <= 12 && page.next.is_none(), "{rows} rows");
    for max in 1..4 {
        let (mut request, mut seen) = (UploadsRequest { max, ..by_slash.clone() }, Vec::new());
        loop {
            let (names, page, rows) = uploads(&world, &bucket, &request).await;
            assert!(names.len() <= max && rows <= 12, "{rows} rows");
            seen.extend(names);
            let Some(next) = page.next else { break };
            request.after = Some(next);
        }
        assert_eq!(seen, ["many/", "some/", "z", "z"], "pages of {max}");
    }
    let within = UploadsRequest { prefix: "some/".to_owned(), ..by_slash };
    let (names, _, rows) = uploads(&world, &bucket, &within).await;
    assert_eq!((names.len(), names[99].as_str()), (100, "some/99/"));
    assert!(rows <= 110, "{rows} rows");
}
