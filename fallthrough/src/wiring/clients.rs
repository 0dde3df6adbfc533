//! Shadow clients over the network, under one policy of where they may go.

use std::sync::Arc;

use fallthrough_bucket::{ShadowCredentials, ShadowRefused};
use fallthrough_shadow::Shadow;

/// Makes clients.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) allow_private: bool,
}

impl Clients {
    /// Clients that may go to private addresses, or may not.
    pub(crate) fn new(allow_private: bool, _clock: &Arc<dyn fallthrough_object::Clock>) -> Self {
        Self { allow_private }
    }

    /// A client for a bucket at an S3 provider.
    ///
    /// # Errors
    /// The endpoint cannot work.
    pub(crate) fn s3(
        &self,
        _endpoint: &str,
        _name: &str,
        _region: &str,
        _credentials: Option<&ShadowCredentials>,
    ) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        Err(ShadowRefused("not landed".to_owned()))
    }

    /// A client for an HTTP server.
    ///
    /// # Errors
    /// The URL cannot work.
    pub(crate) fn http(&self, _url: &str) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        Err(ShadowRefused("not landed".to_owned()))
    }
}
