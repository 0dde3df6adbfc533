//! What an operator, the weather and bad luck do in a run.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_bucket::{BucketError, NewBucket};
use fallthrough_object::Key;
use fallthrough_store::simulation::DiskFault;
use http::Method;
use tokio_util::sync::CancellationToken;

use crate::client::{Ask, Client, Told};
use crate::dice::Dice;
use crate::did::{Did, Mode};
use crate::history::AFTERMATH;
use crate::origin::origin_of;
use crate::upload_model::UploadDid;
use crate::world::World;
use crate::{lifecycle, migration};

/// The operator's number among the clients.
pub(crate) const OPERATOR: u32 = 99;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Purge,
    Attach,
    Detach,
    DropBucket,
    MakeBucket,
    Rules,
    NextDay,
    Migrate,
}

/// Makes the bucket of a run, with the shadow of this layout.
pub(crate) async fn make_bucket(world: &Arc<World>, layout: Option<u8>) {
    let Some(running) = world.running() else { return };
    let journal = &world.journal;
    let from = journal.now();
    let name = World::bucket_name();
    let settings = world.settings(layout, true);
    let made = running.unless_it_stops(running.engine.create_bucket(&name, settings)).await;
    drop(running);
    world.shadow_changed(from, made.as_ref().is_none_or(Result::is_err));
    for (key, name) in world.plan.keys.iter().enumerate() {
        let origin = layout.map(|layout| origin_of(layout, name));
        match &made {
            Some(Ok(NewBucket::Created(_))) => journal.did(OPERATOR, key, from, Did::MakeBucket(origin)),
            Some(Ok(NewBucket::Exists(_))) => journal.did(OPERATOR, key, from, Did::BucketSeen),
            Some(Err(_)) | None => journal.maybe_did(OPERATOR, key, from, Did::MakeBucket(origin)),
        }
    }
}

/// Purges, changes shadows, deletes the bucket and makes it again, until `enough`.
pub(crate) async fn operate(world: Arc<World>, dice: Dice, enough: CancellationToken) {
    let mut client = Client::new(&world, OPERATOR);
    let all: Vec<usize> = (0..world.plan.keys.len()).collect();
    let shadowed = world.plan.mode != Mode::Plain;
    let settled = world.plan.is_settled();
    loop {
        let longest = u64::try_from(world.plan.pause.as_millis()).unwrap_or(0) * 4 + 100;
        let pause = tokio::time::sleep(Duration::from_millis(dice.below(longest)));
        if enough.run_until_cancelled(pause).await.is_none() {
            return;
        }
        let deed = dice.weighted(&[
            (20, Deed::Purge),
            (if shadowed && !settled { 2 } else { 0 }, Deed::Attach),
            (if shadowed && !settled { 1 } else { 0 }, Deed::Detach),
            (if settled { 0 } else { 1 }, Deed::DropBucket),
            (3, Deed::MakeBucket),
            (if world.plan.lifecycle { 4 } else { 0 }, Deed::Rules),
            (if world.plan.lifecycle { 3 } else { 0 }, Deed::NextDay),
            (if world.plan.migrates { 12 } else { 0 }, Deed::Migrate),
        ]);
        let keys = match deed {
            Deed::Purge => vec![dice.index(all.len())],
            Deed::Attach | Deed::Detach | Deed::DropBucket | Deed::MakeBucket | Deed::Migrate => all.clone(),
            Deed::Rules | Deed::NextDay => Vec::new(),
        };
        keys.iter().for_each(|key| world.origins.changing(*key));
        let patience =
            dice.chance(25).then(|| Duration::from_micros(dice.below(dice.pick(&[20, 2_000, 20_000]))));
        let in_doubt = match deed {
            Deed::Purge => Box::pin(purge(&world, keys[0])).await,
            Deed::Attach => {
                let layout = some_layout(&world, &dice, 50);
                let through = dice.chance(75);
                let setting = Setting { layout: Some(layout), through, force: dice.chance(25) };
                set_shadow(&world, setting, patience).await
            }
            Deed::Detach => {
                let setting = Setting { layout: None, through: false, force: dice.chance(25) };
                set_shadow(&world, setting, patience).await
            }
            Deed::DropBucket => drop_bucket(&world, &mut client).await,
            Deed::MakeBucket => {
                let layout = (shadowed && dice.chance(80)).then(|| some_layout(&world, &dice, 30));
                make_bucket(&world, layout).await;
                false
            }
            Deed::Migrate => migration::step(&world, &dice).await,
            Deed::Rules => lifecycle::set_rules(&world, &mut client, &dice).await,
            Deed::NextDay => {
                world.lifecycle.next_day(&world);
                false
            }
        };
        if in_doubt {
            tokio::time::sleep(AFTERMATH).await;
        }
        keys.iter().for_each(|key| world.origins.changed(*key));
    }
}

async fn purge(world: &Arc<World>, key: usize) -> bool {
    let Some(running) = world.running() else { return false };
    world.journal.count("purge");
    let from = world.journal.now();
    let name = Key::parse(world.plan.keys[key]).expect("a good key");
    let bucket_name = World::bucket_name();
    let did = match running.unless_it_stops(running.engine.bucket(&bucket_name)).await {
        Some(Ok(bucket)) => {
            match running.unless_it_stops(Box::pin(running.engine.purge(&bucket, &name, false))).await {
                Some(Ok(_)) => Did::Purge,
                Some(Err(BucketError::WouldLoseWritten)) => Did::PurgeRefused,
                Some(Err(BucketError::NoSuchBucket(_))) => Did::NoBucket,
                Some(Err(BucketError::Conflict)) => return false,
                Some(Err(_)) | None => {
                    world.journal.maybe_did(OPERATOR, key, from, Did::Purge);
                    return true;
                }
            }
        }
        Some(Err(BucketError::NoSuchBucket(_))) => Did::NoBucket,
        Some(Err(_)) | None => return false,
    };
    world.journal.did(OPERATOR, key, from, did);
    false
}

/// What the operator makes of the shadow.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// `None`: it is cleared.
    layout: Option<u8>,
    through: bool,
    /// What waits for its delivery is dropped.
    force: bool,
}

fn some_layout(world: &World, dice: &Dice, second: u64) -> u8 {
    u8::from(dice.chance(second)) + if world.plan.layouts { dice.pick(&[0, 2]) } else { 0 }
}

/// Sets or clears the shadow; with `patience`, whoever asks goes away after that long.
async fn set_shadow(world: &Arc<World>, setting: Setting, patience: Option<Duration>) -> bool {
    let Some(running) = world.running() else { return false };
    let Setting { layout, through, force } = setting;
    world.journal.count(if layout.is_some() { "shadow set" } else { "shadow cleared" });
    world.journal.note(&format!("{setting:?}"));
    let from = world.journal.now();
    let wanted = world.settings(layout, through);
    let change = move |settings: &mut fallthrough_bucket::BucketSettings| {
        // A migration that came to its end has left it plain.
        (settings.mode, settings.shadow) = (wanted.mode, wanted.shadow.clone());
    };
    let name = World::bucket_name();
    let changing = running.unless_it_stops(running.engine.set_bucket_by(&name, &change, force));
    let result = match patience {
        None => changing.await,
        Some(patience) => tokio::time::timeout(patience, changing).await.unwrap_or_else(|_| {
            world.journal.count("operator went away");
            None
        }),
    };
    let in_doubt = match &result {
        Some(Ok(_) | Err(BucketError::NoSuchBucket(_))) => false,
        Some(Err(BucketError::NotDelivered { .. })) => {
            world.journal.count("shadow kept for what waits");
            return false;
        }
        Some(Err(BucketError::Conflict)) => return false,
        Some(Err(_)) | None => true,
    };
    world.shadow_changed(from, in_doubt);
    for (key, name) in world.plan.keys.iter().enumerate() {
        let did = layout.map_or(Did::Detach, |layout| Did::Attach(origin_of(layout, name)));
        match &result {
            Some(Ok(_)) => world.journal.did(OPERATOR, key, from, did),
            Some(Err(BucketError::NoSuchBucket(_))) => world.journal.did(OPERATOR, key, from, Did::NoBucket),
            Some(Err(_)) | None => world.journal.maybe_did(OPERATOR, key, from, did),
        }
    }
    in_doubt
}

async fn drop_bucket(world: &Arc<World>, client: &mut Client) -> bool {
    world.journal.count("DeleteBucket");
    let from = world.journal.now();
    let told = client.ask(&Ask::new(Method::DELETE, "")).await;
    let (did, in_doubt) = match &told {
        Told::NotAsked => return false,
        Told::Lost => (Did::DropBucket, true),
        Told::Answer(reply) => match (reply.status, reply.code().as_str()) {
            (204, _) => {
                world.journal.count("buckets deleted");
                (Did::DropBucket, false)
            }
            (404, _) => (Did::NoBucket, false),
            // Not empty, or in use.
            (409 | 424, _) => return false,
            (500..=599, _) => (Did::DropBucket, true),
            (other, code) => {
                world.journal.violation(format!("DeleteBucket is answered {other} {code}"));
                return false;
            }
        },
    };
    let to = if in_doubt { world.journal.aftermath() } else { world.journal.now() };
    for key in 0..world.plan.keys.len() {
        world.journal.did_until(OPERATOR, key, from, to, did, !in_doubt);
    }
    if did == Did::DropBucket {
        world.shadow_changed(from, in_doubt);
        world.uploads.bucket_did(OPERATOR, from, to, UploadDid::BucketGone, !in_doubt);
    }
    in_doubt
}

/// Good and bad weather at the origins, and objects that change there, until it is dropped.
pub(crate) async fn weather(world: Arc<World>, dice: Dice) {
    loop {
        world.origins.set_weather(if dice.chance(70) { world.plan.storm } else { 0 });
        tokio::time::sleep(Duration::from_millis(dice.between(100, 8_000))).await;
        let others = world.plan.through.map_or(60, |through| through.others);
        if world.plan.origins_change && dice.chance(others) {
            let (origin, key) = (dice.index(world.plan.origins), dice.index(world.plan.keys.len()));
            world.origins.change(origin, key, dice.chance(25));
        }
    }
}

/// The disk fails in one way, once or for seconds, and is well again. What failed is counted.
async fn ill_disk(world: &Arc<World>, dice: &Dice) {
    let fault = dice.pick(&[DiskFault::Sync, DiskFault::Write, DiskFault::Read]);
    let lasts = dice.chance(25);
    world.journal.note(&format!("disk fault {fault:?}, lasts: {lasts}"));
    world.journal.count("disk ill");
    let times = if lasts { u32::MAX } else { 1 };
    let disk = world.disk();
    disk.fail(fault, times);
    tokio::time::sleep(Duration::from_millis(dice.below(if lasts { 5_000 } else { 1_500 }))).await;
    let came = times - disk.heal(fault);
    world.journal.count_times("disk fault", u64::from(came));
    if lasts && came > 0 && fault == DiskFault::Write {
        world.journal.count("disk full for a while");
    }
}

/// Crashes, restarts and failures of the disk.
pub(crate) async fn misfortune(world: Arc<World>, dice: Dice) {
    for _ in 0..world.plan.crashes {
        let longest = u64::try_from(world.plan.pause.as_millis()).unwrap_or(0) * 30 + 200;
        tokio::time::sleep(Duration::from_millis(dice.below(longest))).await;
        if world.plan.disk_faults {
            ill_disk(&world, &dice).await;
        }
        let down = Duration::from_millis(dice.below(3_000));
        match dice.below(5) {
            0 => world.restart().await,
            1 | 2 => world.crash(down).await,
            _ => {
                // In the middle of a write.
                let disk = world.disk();
                disk.stop_after(u32::try_from(dice.below(60)).expect("few"));
                for _ in 0..3_000 {
                    if disk.is_dead() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                world.crash(down).await;
            }
        }
    }
}
