//! The admin API: buckets, shadows, keys, single objects, health and metrics, as JSON over HTTP.
//!
//! It has a listener of its own, on loopback unless told otherwise. `/livez`, `/readyz`, `/metrics` and
//! `/openapi.json` answer anyone who can reach it; everything below `/admin/` needs the bearer token, which
//! is compared in constant time. `openapi.json` describes all of it, and a test compares.
//!
//! Secrets go in and never come out: a shadow's secret key is only said to be set, an access key's secret is
//! told once, when it is made. What the configuration file declares is read-only here.
//!
//! A change that was asked for is made whole, also if who asked hangs up ([`AdminApi::shutdown`] waits for it).
//!
//! This module does not listen: [`AdminApi::router`] is served by whoever owns the listener.

mod answer;
mod buckets;
mod changes;
mod declared;
mod health;
mod inventory;
mod keys;
mod member;
mod migration;
mod models;
mod objects;
mod outbox;
mod patch;
mod probe;
mod routes;
mod rule;
mod scrub;
mod shadow;
mod token;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use fallthrough_bucket::Engine;
use fallthrough_object::{Clock, Entropy, Monotonic};

use changes::Changes;

pub use answer::{ApiError, ErrorBody};
pub use declared::{ConfigReload, Declarations, Declared, ReloadRefused, Reloaded};
pub use inventory::{DriftView, InventoriesView, InventoryView};
pub use keys::{KeyChange, KeyPage, KeyRotation, KeyView, NewKey};
pub use member::Member;
pub use migration::{MigrationBody, MigrationNotePage, MigrationNoteView, MigrationView, WalkView};
pub use models::{ModelBackendView, ModelJobView, ModelView, ModelsView};
pub use objects::{MemberView, ObjectView, PurgeAnswer};
pub use outbox::{OutboxDone, OutboxPage, WaitingRow, WaitingView};
pub use probe::{ProbeLine, ProbeReport, ShadowProber};
pub use rule::Rule;
pub use scrub::{QuarantinePage, QuarantinedView, ScrubCount, ScrubView};
#[cfg(feature = "fuzzing")]
pub(crate) use scrub::{name as blob_name, parse_blob};
pub use shadow::{ShadowAnswer, ShadowBody};
pub use token::AdminToken;
pub use view::{
    BucketChange, BucketPage, BucketView, CopiesView, Difference, HeldView, NewBucketBody, Status, UsageView,
};

/// Told of the id of every access key that was added or removed, after the change is durable and before it is
/// acknowledged, so that nobody goes on believing an old row; also if the change failed, when it may stand all the same,
/// and if who asked for it has hung up.
pub type KeyChanged = Arc<dyn Fn(&str) + Send + Sync>;

/// What the admin API is made of.
#[derive(Clone)]
pub struct AdminParts {
    /// The engine whose buckets, keys and objects these are.
    pub engine: Engine,
    /// Time, for what is created here.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for keys that are made here.
    pub entropy: Arc<dyn Entropy>,
    /// What callers must present.
    pub token: AdminToken,
    /// Tries shadows before they are saved.
    pub prober: Arc<dyn ShadowProber>,
    /// Told of changed access keys.
    pub key_changed: KeyChanged,
    /// The metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Free bytes on the disk of the store, if they can be told.
    pub free_bytes: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Whether the server is about to stop: then it is alive, but not ready.
    pub draining: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The image models of this process that have a queue.
    pub models: Arc<dyn Fn() -> Vec<ModelView> + Send + Sync>,
    /// What the configuration file declares.
    pub declarations: Declarations,
    /// Reads the configuration again.
    pub reload: Arc<dyn ConfigReload>,
    /// Where S3 clients connect, such as `http://127.0.0.1:9900`.
    pub s3_address: String,
    /// The version of the program.
    pub version: &'static str,
}

/// The admin API. Cheap to clone.
#[derive(Clone)]
pub struct AdminApi {
    parts: Arc<AdminParts>,
    changes: Changes,
    started: Monotonic,
}

impl AdminApi {
    /// The API over these parts.
    pub fn new(parts: AdminParts) -> Self {
        let started = parts.clock.monotonic();
        Self { parts: Arc::new(parts), changes: Changes::default(), started }
    }

    /// All routes. Every answer is JSON but for the metrics (text); errors are [`ErrorBody`].
    pub fn router(&self) -> Router {
        routes::router(self.clone())
    }

    /// Takes no more changes, and returns when those under way are made. To be called after the listener is closed and
    /// before the store is.
    pub async fn shutdown(&self) {
        self.changes.end().await;
    }
}

impl fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminApi").field("s3_address", &self.parts.s3_address).finish_non_exhaustive()
    }
}
