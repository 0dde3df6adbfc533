//! A plain HTTP server as a shadow: a base URL, and the key below it.

use async_trait::async_trait;
use fallthrough_wire::sigv4::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};

use crate::answer::{RawAnswer, ShadowError};
use crate::client::{Outbound, own_answer, request_headers};
use crate::endpoint::{Endpoint, SettingsError};
use crate::request::{ListQuery, ListedPage, Request, Shadow};

/// Where an HTTP origin is and how it is asked.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Base URL: `http://` or `https://`, host, optional port and path. Keys are appended below it.
    pub base_url: String,
    /// Sent as `Authorization: Bearer`, if given.
    pub bearer: Option<Secret>,
}

/// An HTTP server that answers GET (and perhaps HEAD) for keys below a base URL. It has no list.
#[derive(Clone, Debug)]
pub struct HttpShadow {
    outbound: Outbound,
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
}

impl HttpShadow {
    /// Checks the settings; asks nothing yet.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: &HttpSettings, outbound: &Outbound) -> Result<Self, SettingsError> {
        let endpoint = Endpoint::parse(&settings.base_url, outbound.policy())?;
        let bearer = settings
            .bearer
            .as_ref()
            .map(|secret| HeaderValue::try_from(format!("Bearer {}", secret.expose())));
        let mut authorization = bearer.transpose().map_err(|_| SettingsError::Credentials {
            reason: "the bearer token holds characters that a header cannot; give it without line ends"
                .into(),
        })?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self { outbound: outbound.clone(), endpoint, authorization })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Whether a server that tidies paths could read the key as something above the base path.
fn climbs(key: &str) -> bool {
    key.split(['/', '\\']).any(|segment| segment == "..")
}

#[async_trait]
impl Shadow for HttpShadow {
    /// A key with a `..` segment below a base path that is not the root is never sent: many servers would read
    /// it as something outside of what the operator named. It is answered 400, "can never exist".
    async fn fetch(&self, request: Request) -> Result<RawAnswer, ShadowError> {
        let mut headers = request_headers(&self.endpoint, &request)?;
        if !self.endpoint.is_root() && climbs(request.key.as_str()) {
            return Ok(own_answer(StatusCode::BAD_REQUEST));
        }
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let mut path = self.endpoint.raw_path(request.key.as_str());
        if let Some(query) = request.extras.raw_query() {
            path = format!("{path}?{query}");
        }
        self.outbound.send(&self.endpoint, request.method, &path, headers, request.header_timeout).await
    }

    async fn list(&self, _: ListQuery) -> Result<ListedPage, ShadowError> {
        Err(ShadowError::NoList)
    }
}
