//! What the configuration file declares, and reading it again while the server runs.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use fallthrough_object::BucketName;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::admin::AdminApi;
use crate::admin::answer::ApiError;

/// What the configuration file declares, as far as this API has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Access keys that this API may not remove: declared ones, and the root account's.
    pub fixed_keys: BTreeSet<String>,
    /// Buckets that the configuration file declares: read-only here. A bucket that was declared once, and could
    /// not be set free because what it falls through to is gone as well, can be changed here.
    pub buckets: BTreeSet<BucketName>,
    /// The account that buckets and keys made here belong to unless another is named.
    pub root_account: String,
    /// Accounts that keys may be made for.
    pub accounts: BTreeSet<String>,
}

/// The declarations that hold now. Clones are the same; they are replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Declarations(Arc<RwLock<Arc<Declared>>>);

impl Declarations {
    /// Beginning with these.
    pub fn new(declared: Declared) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(declared))))
    }

    /// Those that hold now.
    pub fn now(&self) -> Arc<Declared> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these hold.
    pub fn replace(&self, declared: Declared) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(declared);
    }
}

/// Reads the configuration again. The binary implements it, which alone knows its sources.
///
/// Called concurrently; calls wait for each other.
#[async_trait]
pub trait ConfigReload: Send + Sync + 'static {
    /// Reads the configuration and brings the server in line with it; what changed, a line each.
    ///
    /// # Errors
    /// [`ReloadRefused`]. Once begun it goes on if the future is dropped, or changes nothing.
    async fn reload(&self) -> Result<Vec<String>, ReloadRefused>;
}

/// Why the configuration was not taken: nothing was changed, unless the message says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRefused {
    /// What is wrong, with its place.
    pub message: String,
    /// What to do.
    pub mend: String,
}

impl fmt::Display for ReloadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// A line for each change; empty if the configuration says what it said before.
    pub changed: Vec<String>,
}

pub(crate) async fn reload(State(api): State<AdminApi>) -> Result<Json<Reloaded>, ApiError> {
    match api.parts.reload.reload().await {
        Ok(changed) => Ok(Json(Reloaded { changed })),
        Err(ReloadRefused { message, mend }) => {
            Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", message, mend))
        }
    }
}
