//! Talks to the admin API of a running server: where it is, how to sign in, and what its errors mean here.

use std::path::Path;
use std::time::Duration;

use fallthrough_gateway::admin::{ErrorBody, ProbeReport};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::cli::Globals;
use crate::failure::{Exit, Failure};
use crate::settings::{Secret, Settings, parse_url};
use crate::wiring::{listen, token};

/// Longest wait for an answer. Probes ask strangers, one after the other, each with a limit of its own.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The admin API of one server.
#[derive(Debug)]
pub(crate) struct AdminClient {
    http: reqwest::Client,
    base: Url,
    token: Secret,
}

/// A refused call: the failure, and the probe's report if that was the reason.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What to tell.
    pub(crate) failure: Failure,
    /// What the probe saw.
    pub(crate) probe: Option<ProbeReport>,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        refused.failure
    }
}

impl AdminClient {
    /// The server that flags, variables, the configuration file or the data folder point to, in this order.
    ///
    /// # Errors
    /// The configuration is wrong, or there is no token to be found.
    pub(crate) fn find(globals: &Globals) -> Result<Self, Failure> {
        // With everything given, a broken or missing configuration does not matter.
        let given = globals.admin_token.clone().map(Secret::new);
        let from_file = |path: &Path| {
            Secret::read(path)
                .map_err(|wrong| Failure::new(wrong, "check --admin-token-file and who may read the file"))
        };
        let token = match (given, &globals.admin_token_file) {
            (Some(token), _) => Some(token),
            (None, Some(path)) => Some(from_file(path)?),
            (None, None) => None,
        };
        let (base, token) = match (&globals.admin, token) {
            (Some(base), Some(token)) => (parse_base(base)?, token),
            (base, token) => {
                let settings = globals.settings()?;
                let base = match base {
                    Some(base) => parse_base(base)?,
                    None => parse_base(&format!("http://{}", listen::reachable(settings.admin.listen)))?,
                };
                (base, token.map_or_else(|| token_of(&settings), Ok)?)
            }
        };
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(|error| {
            Failure::new(format!("no HTTP client can be made: {error}"), "raise the limit of open files")
        })?;
        Ok(Self { http, base, token })
    }

    /// Calls with `body` and reads the JSON answer.
    pub(crate) async fn call<B: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&B>,
    ) -> Result<A, Refused> {
        let answer = self.send(method, path, query, body).await?;
        answer.json().await.map_err(|error| Refused::plain(self.unintelligible(&error)))
    }

    /// Reads what is there.
    pub(crate) async fn get<A: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<A, Failure> {
        Ok(self.call::<(), A>(Method::GET, path, query, None).await?)
    }

    /// Removes; the answer has no body.
    pub(crate) async fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<(), Failure> {
        self.send::<()>(Method::DELETE, path, query, None).await?;
        Ok(())
    }

    async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&B>,
    ) -> Result<reqwest::Response, Refused> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["admin", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).bearer_auth(self.token.reveal());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| Refused::plain(self.unreachable(&error)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        match answer.json::<ErrorBody>().await {
            Ok(body) => Err(Refused::of(status, body)),
            Err(error) => Err(Refused::plain(self.unintelligible(&error))),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = if error.is_timeout() {
            "it did not answer in time".to_owned()
        } else {
            // The innermost cause says it in plain words; the outer ones repeat the address.
            let mut cause: &dyn std::error::Error = error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            cause.to_string()
        };
        Failure::new(
            format!("the admin API at {} cannot be reached: {why}", self.base),
            "start the server (`fallthrough serve`), or say where it is with --admin or FALLTHROUGH_ADMIN",
        )
        .exit(Exit::RemoteRefused)
    }

    fn unintelligible(&self, error: &reqwest::Error) -> Failure {
        Failure::new(
            format!("what answers at {} is not the admin API: {}", self.base, error.without_url_text()),
            "check --admin: it is the address of [admin] listen, not the one of S3",
        )
        .exit(Exit::RemoteRefused)
    }
}

impl Refused {
    fn plain(failure: Failure) -> Self {
        Self { failure, probe: None }
    }

    fn of(status: StatusCode, body: ErrorBody) -> Self {
        let exit = match status {
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::FAILED_DEPENDENCY => {
                Exit::RemoteRefused
            }
            _ => Exit::Failed,
        };
        Self { failure: Failure::new(body.message, body.mend).exit(exit), probe: body.probe }
    }
}

/// The error's words without the address that they were about.
trait WithoutUrl {
    fn without_url_text(&self) -> String;
}

impl WithoutUrl for reqwest::Error {
    fn without_url_text(&self) -> String {
        if self.is_decode() {
            "its answer is not JSON".to_owned()
        } else {
            "its answer breaks off".to_owned()
        }
    }
}

fn parse_base(text: &str) -> Result<Url, Failure> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    parse_url(&with_scheme)
        .map_err(|wrong| Failure::usage(format!("--admin: {wrong}"), "write it like http://127.0.0.1:9901"))
}

fn token_of(settings: &Settings) -> Result<Secret, Failure> {
    if let Some(token) = &settings.admin.token {
        return Ok(token.clone());
    }
    let path = token::path(&settings.store.data);
    Secret::read(&path).map_err(|wrong| {
        Failure::new(
            wrong,
            "run this where the server's data folder is (--data, --config), or give the token with \
             --admin-token-file or FALLTHROUGH_ADMIN_TOKEN",
        )
    })
}
