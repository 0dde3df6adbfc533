//! What format 4 brought: what goes out again to origins, inventories, migrations, what buckets hold, and rows that are
//! sealed. At least one row of every family, and every field of every row, each with a value that is told from its default.

use std::collections::BTreeMap;

use fallthrough_object::{Addressing, Rate};

use super::*;
use crate::{
    Count, IntentRow, InventoryDrift, InventoryObject, InventoryRow, Lane, MigrationChange, MigrationNote,
    MigrationOptions, MigrationPhase, MigrationRow, Prepared, Sealing, SealingKey, Seen, ShadowCredentials,
    TakenInventory, TakingInventory, Treat403As, Walk, WriteConflict, WriteThrough,
};

/// What the folder is sealed with.
pub(super) fn sealing_key() -> SealingKey {
    SealingKey::of_text("the sealing key of the golden folder").unwrap()
}

fn all_settings() -> BucketSettings {
    let text = |raw: &str| Some(raw.to_owned());
    let rate = |raw: &str| Some(raw.parse::<Rate>().unwrap());
    let target = ShadowTarget::S3 {
        endpoint: "https://s3.example".to_owned(),
        name: "old".to_owned(),
        region: "eu-1".to_owned(),
        addressing: Addressing::VirtualHost,
        credentials: Some(ShadowCredentials {
            access_key: "SHADOW".to_owned(),
            secret_key: "shadow-secret".to_owned(),
        }),
    };
    let rule = ShadowRule {
        prefix: text("p/"),
        suffix: text(".png"),
        matches: text("^p/.*[0-9]"),
        keys: text("^p/[0-9]+$"),
        key: text("old/{rest}"),
        edition: text("2"),
        ttl_secs: Some(60),
        negative_ttl_secs: Some(30),
        treat_403_as: Treat403As::Absent,
        list: Some(crate::ListFrom::Merged),
        seekable: Some(true),
        per_client: Some(3),
        max_in_flight: Some(4),
        budget: rate("100/s"),
        client_budget: rate("6/day"),
        write_through: WriteThrough::Sync,
        delete_through: true,
        write_conflict: WriteConflict::Origin,
        inventory_secs: Some(3600),
        inventory_absent: true,
        // Fields that came later, which the folder does not have.
        ..ShadowRule::to(target)
    };
    BucketSettings {
        owner: "me".to_owned(),
        mode: BucketMode::Migrate,
        public: crate::PublicAccess::Read,
        public_fill: crate::PublicFill::Signed,
        shadow: vec![rule],
        managed: true,
        cache_limit_bytes: Some(1 << 30),
        quota_bytes: Some(1 << 31),
    }
}

fn etag(raw: &str) -> ETag {
    ETag::strong(raw).unwrap()
}

fn intent_row() -> IntentRow {
    IntentRow {
        revision: None,
        seen: Seen::Object(etag("seen")),
        maybe: vec![Seen::Absent, Seen::Object(etag("maybe"))],
        hops: 3,
        first: Timestamp(11),
        next: Timestamp(12),
        attempts: 0,
        sent: false,
        prepared: false,
        dead: false,
        failure: None,
        uploads: Vec::new(),
        called: None,
    }
}

/// As it is after it was tried.
fn tried(row: &IntentRow) -> IntentRow {
    IntentRow {
        attempts: 2,
        sent: true,
        dead: true,
        failure: Some("it answered 403".to_owned()),
        ..row.clone()
    }
}

fn listed() -> Vec<InventoryObject> {
    let object = |name: &str, etag: Option<ETag>, size_bytes| InventoryObject {
        name: name.to_owned(),
        etag,
        size_bytes,
        last_modified: Timestamp(1_600_000_000_000),
    };
    vec![
        object("a", None, 0),
        object("b/ä", Some(etag("listed")), 1 << 40),
        object("c", ETag::parse("W/\"w\"").ok(), 7),
    ]
}

fn inventory(withdrawn: u64, gate_version: u64) -> InventoryRow {
    InventoryRow {
        gate_version,
        generation: 3,
        ordered: true,
        taken: Some(TakenInventory {
            generation: 2,
            withdrawn,
            began: Timestamp(21),
            ended: Timestamp(22),
            objects: 3,
            bytes: (1 << 40) + 7,
            drift: Some(InventoryDrift { added: 1, removed: 2, changed: 3 }),
        }),
        taking: Some(TakingInventory {
            generation: 3,
            withdrawn,
            began: Timestamp(23),
            after: "a".to_owned(),
            objects: 1,
            bytes: 5,
            drift: InventoryDrift { added: 4, removed: 5, changed: 6 },
        }),
    }
}

fn walk(objects: u64) -> Walk {
    let tally = BTreeMap::from([("copied".to_owned(), Count { objects, bytes: 9 })]);
    Walk { rule: 1, after: "p/7".to_owned(), done: objects == 1, objects, bytes: 8, tally }
}

fn migration(gate_version: u64) -> MigrationRow {
    MigrationRow {
        started: Timestamp(31),
        gate_version,
        options: MigrationOptions {
            prefix: "p/".to_owned(),
            bytes_per_second: 1000,
            concurrency: 7,
            window: (1320, 360),
        },
        phase: MigrationPhase::Comparing,
        paused: true,
        halted: Some("it refuses".to_owned()),
        counted: walk(1),
        copied: walk(2),
        compared: walk(3),
        verified_at: Some(Timestamp(32)),
        cut_over: Some(Timestamp(33)),
    }
}

fn note() -> MigrationNote {
    MigrationNote { what: "failed".to_owned(), detail: "why".to_owned(), size_bytes: 77 }
}

async fn forward(store: &Store) -> Arc<Bucket> {
    let made = store.create_bucket(&name("forward"), all_settings()).await.unwrap();
    let (Created::New(made) | Created::Exists(made)) = made;
    made
}

/// The recipe's part for format 4.
pub(super) async fn put_in(store: &Store) {
    let made = forward(store).await;
    let send = |row: IntentRow| Lane::Send { found: None, row: Box::new(row) };
    let put_through = async |at: &str, len: usize| {
        let state = NewState::Written(golden_info(len));
        let body = seal(store, &bytes_of(len as u64, len)).await.unwrap();
        store.through(send(intent_row())).publish(&made, &key(at), None, state, body).await.unwrap();
        store.intent(made.id, &key(at)).await.unwrap().unwrap()
    };
    // One that waits, with a small body, one that is dead, with a file, one that was delivered, a delete, and one that is
    // prepared, which the key itself does not have yet.
    put_through("waiting", 40).await;
    let dead = put_through("dead", 1000).await;
    store.note_intent(&dead, tried(&dead.row)).await.unwrap().unwrap();
    let delivered = put_through("delivered", 40).await;
    let sent = store.note_intent(&delivered, IntentRow { sent: true, ..delivered.row.clone() }).await;
    let entry = store.lookup(made.id, &key("delivered")).await.unwrap();
    let theirs = Seen::Object(etag("theirs"));
    assert!(store.delivered(&sent.unwrap().unwrap(), entry.as_deref(), &theirs).await.unwrap());
    store.through(send(intent_row())).erase(&made, &key("deleted"), None, Erased::Tombstone).await.unwrap();
    let body = Prepared::Body(golden_info(1000), seal(store, &bytes_of(1000, 1000)).await.unwrap());
    store.prepare(&made, &key("prepared"), None, intent_row(), body).await.unwrap();

    // What was written here and is forgotten withdraws inventories.
    let forgotten = put(store, &made, &key("forgotten"), &bytes_of(1, 10)).await;
    store.erase(&made, &key("forgotten"), Some(&forgotten), Erased::Unknown).await.unwrap();
    let withdrawn = store.inventory_withdrawn(made.id).await.unwrap();
    assert!(withdrawn > 0);
    let row = inventory(withdrawn, made.gate_version);
    let first = store.put_inventory(&made, 0, None, &row, (2, &listed())).await.unwrap();
    store.put_inventory(&made, 0, Some(first), &row, (3, &listed()[..1])).await.unwrap();
    let change =
        MigrationChange { row: migration(made.gate_version), notes: vec![(key("p/failed"), Some(note()))] };
    store.put_migration(&made, None, &change).await.unwrap();
}

#[tokio::test]
async fn the_golden_folder_of_format_4_reads_back_byte_for_byte() {
    let dir = golden(4);
    let without = StoreOptions { sealing: Sealing::default(), ..limits() };
    let refused = Store::open(dir.path(), without, clock(), Arc::new(OsEntropy)).await;
    assert!(
        matches!(&refused, Err(StoreError::Sealed { missing }) if *missing == sealing_key().id()),
        "{refused:?}"
    );

    let (store, _) = compare(dir.path()).await;
    let made = store.bucket(&name("forward")).await.unwrap().unwrap();
    assert_eq!(made.settings, all_settings());
    let intent = async |at: &str| store.intent(made.id, &key(at)).await.unwrap();
    for (at, len, is_dead) in [("waiting", 40, false), ("dead", 1000, true), ("prepared", 1000, false)] {
        let found = intent(at).await.unwrap();
        let mut expected = if is_dead { tried(&intent_row()) } else { intent_row() };
        expected.revision = found.row.revision;
        expected.prepared = at == "prepared";
        assert_eq!(found.row, expected, "{at}");
        let stored = found.object.as_ref().unwrap();
        assert_eq!(*stored.info, golden_info(len));
        assert_eq!(read(&store, stored).await.unwrap(), bytes_of(len as u64, len), "{at}");
    }
    assert_eq!(intent("deleted").await.unwrap().object, None);
    assert_eq!(intent("delivered").await, None);
    let delivered = store.lookup(made.id, &key("delivered")).await.unwrap().unwrap();
    assert_eq!(delivered.delivered, Some(Seen::Object(etag("theirs"))));
    let outbox = store.outbox_of(made.id);
    assert_eq!((outbox.dead, outbox.oldest), (1, Some(Timestamp(11))));

    let withdrawn = store.inventory_withdrawn(made.id).await.unwrap();
    let (row, _) = store.inventory(made.id, 0).await.unwrap().unwrap();
    assert_eq!(row, inventory(withdrawn, made.gate_version));
    let objects =
        async |generation| store.inventory_objects(made.id, (0, generation), "", "", 10).await.unwrap();
    assert_eq!((objects(2).await, objects(3).await), (listed(), listed()[..1].to_vec()));
    let (row, _) = store.migration(made.id).await.unwrap().unwrap();
    assert_eq!(row, migration(made.gate_version));
    assert_eq!(store.migration_notes(made.id, None, 10).await.unwrap(), vec![(key("p/failed"), note())]);
    let usage = store.usage(made.id).await.unwrap();
    assert_eq!(usage.written.objects, 3, "{usage:?}");
    assert_eq!(store.recount().await.unwrap(), 0);
    store.close().await;
}
