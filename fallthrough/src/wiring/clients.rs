//! Shadow clients over the network, under one policy of where they may go.

use std::sync::Arc;

use fallthrough_bucket::{ShadowCredentials, ShadowRefused};
use fallthrough_object::{Addressing, BucketName, Clock};
use fallthrough_shadow::{
    HttpSettings, HttpShadow, NetworkPolicy, Outbound, Probed, S3Settings, S3Shadow, Shadow,
};
use fallthrough_wire::sigv4::Credentials;

use crate::failure::Failure;

/// Makes clients, which share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    outbound: Outbound,
    clock: Arc<dyn Clock>,
}

impl Clients {
    /// Clients that may go to loopback and private addresses, or may not.
    ///
    /// # Errors
    /// The TLS library or the roots of trust cannot be had.
    pub(crate) fn new(allow_private: bool, clock: &Arc<dyn Clock>) -> Result<Self, Failure> {
        let outbound = Outbound::new(NetworkPolicy { allow_private }).map_err(|error| {
            Failure::new(
                format!("requests to origins cannot be made: {error}"),
                "check the machine's certificates (package ca-certificates)",
            )
        })?;
        Ok(Self { outbound, clock: Arc::clone(clock) })
    }

    /// A client for a bucket at an S3 provider.
    ///
    /// # Errors
    /// The settings cannot work.
    pub(crate) fn s3(&self, settings: S3Settings) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        match S3Shadow::new(settings, &self.outbound, Arc::clone(&self.clock)) {
            Ok(shadow) => Ok(Arc::new(shadow)),
            Err(error) => Err(ShadowRefused(error.to_string())),
        }
    }

    /// A client for an HTTP server.
    ///
    /// # Errors
    /// The URL cannot work.
    pub(crate) fn http(&self, url: &str) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        match HttpShadow::new(&http_settings(url), &self.outbound) {
            Ok(shadow) => Ok(Arc::new(shadow)),
            Err(error) => Err(ShadowRefused(error.to_string())),
        }
    }

    /// Tries an origin step by step.
    pub(crate) async fn probe(
        &self,
        probed: &Probed,
        absent_on_403: bool,
    ) -> Vec<fallthrough_shadow::ProbeLine> {
        fallthrough_shadow::probe(probed, absent_on_403, &self.outbound, &self.clock).await
    }
}

/// How an HTTP server is asked.
pub(crate) fn http_settings(url: &str) -> HttpSettings {
    HttpSettings { base_url: url.to_owned(), bearer: None }
}

/// How a bucket at an S3 provider is asked.
///
/// # Errors
/// The bucket's name is none.
pub(crate) fn s3_settings(
    endpoint: &str,
    name: &str,
    region: &str,
    addressing: Addressing,
    credentials: Option<&ShadowCredentials>,
) -> Result<S3Settings, ShadowRefused> {
    Ok(S3Settings {
        endpoint: endpoint.to_owned(),
        bucket: BucketName::parse(name).map_err(|invalid| ShadowRefused(invalid.to_string()))?,
        region: region.to_owned(),
        addressing,
        credentials: credentials.map(|credentials| {
            Credentials::new(credentials.access_key.as_str(), credentials.secret_key.as_str())
        }),
    })
}
