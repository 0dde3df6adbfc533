//! A migration in a run: begun, paused, resumed, compared, cancelled, and the shadow detached at its end.

use std::sync::Arc;

use fallthrough_bucket::{
    BucketError, MigrationOptions, MigrationOrder, MigrationPhase, MigrationRefused, MigrationRow,
};

use crate::dice::Dice;
use crate::did::Did;
use crate::operator::OPERATOR;
use crate::world::{Running, World};

/// What the operator orders next.
#[derive(Clone, Copy, Debug)]
enum Order {
    Start,
    Cancel,
    CutOver,
    Other(MigrationOrder),
}

/// Takes the migration a step further, or back. Whether it is in doubt what became of the shadow.
pub(crate) async fn step(world: &Arc<World>, dice: &Dice) -> bool {
    let Some(running) = world.running() else { return false };
    let engine = &running.engine;
    let Some(Ok(bucket)) = running.unless_it_stops(engine.bucket(&World::bucket_name())).await else {
        return false;
    };
    let status = match running.unless_it_stops(engine.migration(&bucket)).await {
        Some(Ok(status)) => Some(status.row),
        Some(Err(MigrationRefused::NotMigrating)) => None,
        Some(Err(_)) | None => return false,
    };
    let order = next(status.as_ref(), dice, world.plan.is_settled());
    world.journal.note(&format!("the migration is told to {order:?}"));
    let done = match order {
        Order::CutOver => return cut_over(world, &running).await,
        Order::Start => {
            world.journal.count("migrations begun");
            let options = MigrationOptions { concurrency: dice.pick(&[0, 1, 2]), ..Default::default() };
            running.unless_it_stops(engine.start_migration(&bucket, options)).await.map(|done| done.map(drop))
        }
        Order::Cancel => running.unless_it_stops(engine.cancel_migration(&bucket)).await,
        Order::Other(order) => {
            running.unless_it_stops(engine.order_migration(&bucket, order)).await.map(|done| done.map(drop))
        }
    };
    world.journal.note(&format!("the migration: {done:?}"));
    if done.is_some_and(|done| done.is_ok()) {
        world.journal.count("orders of migrations");
    }
    false
}

fn next(row: Option<&MigrationRow>, dice: &Dice, settled: bool) -> Order {
    let Some(row) = row else { return Order::Start };
    let idle = row.phase == MigrationPhase::Idle;
    let verified = idle && row.verified_at.is_some();
    dice.weighted(&[
        (if row.cut_over.is_some() { 20 } else { 1 }, Order::Start),
        (1, Order::Cancel),
        (2, Order::Other(MigrationOrder::Pause)),
        (if row.paused || row.halted.is_some() { 12 } else { 2 }, Order::Other(MigrationOrder::Resume)),
        (1, Order::Other(MigrationOrder::Retry)),
        (if idle && !verified { 12 } else { 2 }, Order::Other(MigrationOrder::Verify)),
        (
            if settled {
                0
            } else if verified {
                12
            } else {
                1
            },
            Order::CutOver,
        ),
    ])
}

/// Detaches the shadow, if nothing speaks against it. Whether it is in doubt.
async fn cut_over(world: &Arc<World>, running: &Running) -> bool {
    let from = world.journal.now();
    let Some(Ok(bucket)) = running.unless_it_stops(running.engine.bucket(&World::bucket_name())).await else {
        return false;
    };
    let done = running.unless_it_stops(running.engine.cut_over(&bucket, false)).await;
    world.journal.note(&format!("the shadow is detached: {done:?}"));
    let in_doubt = match &done {
        Some(Ok(_)) => false,
        Some(Err(
            MigrationRefused::NotMigrating
            | MigrationRefused::NotNow(_)
            | MigrationRefused::Bucket(BucketError::NotDelivered { .. } | BucketError::NoSuchBucket(_)),
        )) => return false,
        Some(Err(MigrationRefused::Bucket(_))) | None => true,
    };
    world.journal.count("migrations cut over");
    world.shadow_changed(from, in_doubt);
    for key in 0..world.plan.keys.len() {
        if in_doubt {
            world.journal.maybe_did(OPERATOR, key, from, Did::CutOver);
        } else {
            world.journal.did(OPERATOR, key, from, Did::CutOver);
        }
    }
    in_doubt
}

/// Ends what is left of it.
pub(crate) async fn end(world: &Arc<World>) {
    let Some(running) = world.running() else { return };
    let Ok(bucket) = running.engine.bucket(&World::bucket_name()).await else { return };
    match running.engine.cancel_migration(&bucket).await {
        Ok(()) | Err(MigrationRefused::NotMigrating) => {}
        Err(error) => world.journal.violation(format!("a migration cannot be cancelled: {error}")),
    }
}
