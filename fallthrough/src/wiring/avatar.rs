//! Tier 2 on its own: the avatar origin as an S3 server.

use std::net::SocketAddr;

use fallthrough_avatar::{AvatarOrigin, AvatarSettings};
use fallthrough_bucket::ShadowCredentials;
use fallthrough_diffusion::painter::Cast;
use fallthrough_object::Addressing;
use fallthrough_origin::{Origin, OriginService, serve};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::Failure;
use crate::settings::{ModelSettings, OriginKind, OriginSettings, Secret};
use crate::wiring::{listen, model};

/// The bucket's name in the path that avatars are asked under; the origin answers under any.
pub(crate) const BUCKET: &str = "avatar";

/// An avatar origin to be started.
#[derive(Debug)]
pub(crate) struct AvatarPlan {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// What draws.
    pub(crate) model: ModelSettings,
    /// What the painter draws, if that is it.
    pub(crate) style: Cast,
    /// The key pair that requests must be signed with; `None`: anybody is answered.
    pub(crate) credentials: Option<(String, Secret)>,
    /// Size, steps, edition.
    pub(crate) avatars: AvatarSettings,
}

/// An avatar origin that runs.
#[derive(Debug)]
pub(crate) struct RunningAvatar {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The key pair that it asks for.
    pub(crate) credentials: Option<(String, Secret)>,
    /// Its counters: what was really asked of it.
    pub(crate) service: OriginService,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl AvatarPlan {
    /// Listens and serves.
    ///
    /// # Errors
    /// The port is in use, or the model cannot be had.
    pub(crate) async fn start(self) -> Result<RunningAvatar, Failure> {
        self.start_as(|origin| origin).await
    }

    /// As [`Self::start`], with something around the origin: the demo counts its calls there.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn start_as<O: Origin>(
        self,
        around: impl FnOnce(AvatarOrigin) -> O,
    ) -> Result<RunningAvatar, Failure> {
        let model = match self.model {
            ModelSettings::Painter => model::painter(self.style),
            other => model::engine(model::kind(&other), &other).await?,
        };
        let origin = around(AvatarOrigin::new(model, self.avatars));
        let listener = listen::listen(self.listen, "avatar origin", "--listen").await?;
        let mut builder = serve(origin).metrics_at("/metrics");
        if let Some((access_key, secret)) = &self.credentials {
            builder = builder.credentials(access_key, secret.reveal());
        }
        let server = builder.listen_on(listener).map_err(|error| {
            Failure::new(format!("a listener does not know its address: {error}"), "choose a fixed port")
        })?;
        let (address, service) = (server.local_addr(), server.service());
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let serving = TaskTracker::new().spawn(async move {
            server.run_until(asked.cancelled()).await;
        });
        Ok(RunningAvatar { address, credentials: self.credentials, service, stop, serving })
    }
}

impl RunningAvatar {
    /// `http://address:port`, reachable from this machine.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", listen::reachable(self.address))
    }

    /// This server as a declared origin of tier 1.
    ///
    /// # Errors
    /// Never for an address that listens; kept, because a URL is parsed.
    pub(crate) fn as_origin(&self) -> Result<OriginSettings, Failure> {
        let endpoint = crate::settings::parse_url(&self.url())
            .map_err(|wrong| Failure::new(wrong, "choose another address for the avatar origin"))?;
        let credentials = self.credentials.as_ref().map(|(access_key, secret)| ShadowCredentials {
            access_key: access_key.clone(),
            secret_key: secret.reveal().to_owned(),
        });
        let kind = OriginKind::S3 {
            endpoint,
            name: BUCKET.to_owned(),
            region: "us-east-1".to_owned(),
            addressing: Addressing::Path,
            credentials,
            program: true,
        };
        Ok(OriginSettings { kind, per_client: None, max_in_flight: None })
    }

    /// Takes no more requests, lets running ones end for a while, and returns when all have ended.
    pub(crate) async fn shutdown(self) {
        self.stop.cancel();
        if self.serving.await.is_err() {
            tracing::error!("the avatar origin panicked");
        }
    }
}
