//! A bucket as a website: index and error documents, redirects, clean addresses.
//!
//! Every object is read as any other GET reads it, with the rights of whoever asks.

use std::sync::Arc;

use fallthrough_bucket::Engine;
use fallthrough_object::{Key, Mutant, Website, planted};
use fallthrough_wire::{S3Code, S3Error};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, LOCATION, RANGE,
};
use http::{HeaderValue, Response, StatusCode};

use crate::address::Address;
use crate::blocks::BlockPool;
use crate::exchange::Exchange;
use crate::get;
use crate::operation::Operation;
use crate::outgoing::Outgoing;
use crate::refusal::Refusal;
use crate::report::Reported;
use crate::routes::Site;

const REDIRECT: HeaderName = HeaderName::from_static("x-amz-website-redirect-location");

/// Serves what a site shows at the request's path.
///
/// # Errors
/// As GET of an object, where there is no error document for it.
pub(crate) async fn serve(
    exchange: &Exchange<'_>,
    engine: &Engine,
    blocks: &Arc<BlockPool>,
    site: &Site,
) -> Result<Reported, Refusal> {
    let bucket = exchange.bucket()?;
    let website = bucket.configuration.website.as_ref();
    if let Some(to) = website.and_then(|website| website.redirect_all_to.as_ref()) {
        let protocol = to.protocol.as_deref().unwrap_or(exchange.scheme());
        let target = exchange.parts.uri.path_and_query().map_or("/", |target| target.as_str());
        return moved(StatusCode::MOVED_PERMANENTLY, &format!("{protocol}://{}{target}", to.host));
    }
    if site.is_folder {
        return moved(StatusCode::FOUND, &format!("{}/", exchange.parts.uri.path()));
    }
    let reader = Reader { exchange, engine, blocks };
    let index = website.and_then(|website| website.index.as_deref());
    let asked = [site.prefix.as_str(), &site.rest].concat();
    let is_folder = site.rest.is_empty() || site.rest.ends_with('/');
    let name = if is_folder { [&asked, index.unwrap_or_default()].concat() } else { asked };
    let refusal = match reader.read(&name).await {
        Ok(reported) => return Ok(reported),
        Err(refusal) => refusal,
    };
    if refusal.error.code == S3Code::NoSuchKey && !is_folder {
        let last = name.rsplit('/').next().unwrap_or_default();
        if site.clean_urls && !has_extension(last) {
            match reader.read(&format!("{name}.html")).await {
                Err(other) if other.error.code == S3Code::NoSuchKey => {}
                found => return found,
            }
        }
        let path = exchange.parts.uri.path();
        // A path that begins with two slashes would lead to another host.
        if let Some(index) = index
            && !path.starts_with("//")
            && reader.has(&format!("{name}/{index}")).await
        {
            return moved(StatusCode::FOUND, &format!("{path}/"));
        }
    }
    match website.and_then(|website: &Website| website.error.as_deref()) {
        Some(error) => reader.error_document(error, refusal).await,
        None => Err(refusal),
    }
}

struct Reader<'a> {
    exchange: &'a Exchange<'a>,
    engine: &'a Engine,
    blocks: &'a Arc<BlockPool>,
}

impl Reader<'_> {
    async fn read(&self, name: &str) -> Result<Reported, Refusal> {
        let address = self.address(name)?;
        let mut reported =
            Box::pin(get::object(&self.exchange.at(&address), self.engine, self.blocks)).await?;
        match reported.response.headers_mut().remove(REDIRECT) {
            None => Ok(reported),
            Some(to) => {
                let mut response = Response::new(Outgoing::empty());
                *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
                response.headers_mut().insert(LOCATION, to);
                response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                Ok(Reported { response, report: reported.report })
            }
        }
    }

    /// Whether there is such an object, for whoever asks.
    async fn has(&self, name: &str) -> bool {
        let Ok(address) = self.address(name) else { return false };
        let head = Exchange { operation: Operation::HeadObject, ..self.exchange.at(&address) };
        Box::pin(get::object(&head, self.engine, self.blocks)).await.is_ok()
    }

    /// The error document with the status of what went wrong. What failed, and may be well soon, is told as it is.
    async fn error_document(&self, name: &str, refusal: Refusal) -> Result<Reported, Refusal> {
        if !matches!(refusal.error.code, S3Code::NoSuchKey | S3Code::AccessDenied) {
            return Err(refusal);
        }
        let Ok(address) = self.address(name) else { return Err(refusal) };
        // Ranges and conditions were meant for what was asked for.
        let mut parts = self.exchange.parts.clone();
        for header in [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            parts.headers.remove(header);
        }
        let exchange = Exchange { parts: &parts, ..self.exchange.at(&address) };
        let Ok(mut document) = Box::pin(get::object(&exchange, self.engine, self.blocks)).await else {
            return Err(refusal);
        };
        if !planted(Mutant::ErrorDocumentIsFound) {
            *document.response.status_mut() = refusal.error.status();
        }
        let headers = document.response.headers_mut();
        for header in [ETAG, LAST_MODIFIED, ACCEPT_RANGES, CACHE_CONTROL, REDIRECT] {
            headers.remove(header);
        }
        Ok(document)
    }

    fn address(&self, name: &str) -> Result<Address, Refusal> {
        let key = Key::parse(name).map_err(|why| match why.len_bytes {
            0 => S3Error::new(S3Code::NoSuchKey),
            _ => S3Error::new(S3Code::KeyTooLong),
        })?;
        Ok(Address::Object(self.exchange.bucket()?.name.clone(), key))
    }
}

/// Whether a name ends as files do: `.html`, `.mp3`. A version such as `v1.2` is no such end.
fn has_extension(name: &str) -> bool {
    let Some((_, end)) = name.rsplit_once('.') else { return false };
    let is_version = !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
    !is_version
}

fn moved(status: StatusCode, to: &str) -> Result<Reported, Refusal> {
    let mut response = Response::new(Outgoing::empty());
    *response.status_mut() = status;
    let to = HeaderValue::try_from(to).map_err(|_| Refusal::from(S3Code::InvalidUri))?;
    response.headers_mut().insert(LOCATION, to);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response.into())
}
