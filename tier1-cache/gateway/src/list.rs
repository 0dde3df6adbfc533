//! ListObjects and ListObjectsV2, and what ListObjectVersions shares with them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fallthrough_bucket::{Answer, Bucket, CacheReport, Engine, ListCursor, ListItem, ListPage, ListRequest};
use fallthrough_object::{Mutant, planted};
use fallthrough_wire::uri::Query;
use fallthrough_wire::xml::{self, ListPosition, ListedObject};
use fallthrough_wire::{S3Code, S3Error};

use crate::document;
use crate::exchange::Exchange;
use crate::operation::Operation;
use crate::people::People;
use crate::refusal::Refusal;
use crate::report::Reported;

/// The largest page, and the size of one that is not asked for.
const PAGE_KEYS_MAX: u32 = 1000;

/// How a token begins that goes on after a key, and one that goes on after a common prefix.
const AFTER_KEY: char = 'k';
const AFTER_PREFIX: char = 'p';

/// Answers one page.
pub(crate) async fn objects(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    let version_2 = exchange.operation == Operation::ListObjectsV2;
    if let Some(other) = exchange.query.get("list-type").filter(|_| !version_2) {
        let message = "The only value of list-type is 2.";
        return Err(S3Error::with_message(S3Code::InvalidArgument, message)
            .and("ArgumentName", "list-type")
            .and("ArgumentValue", other)
            .into());
    }
    let asked = Asked::read(exchange.query, version_2)?;
    let (report, page) = fetch(exchange, engine, &asked).await?;
    let page = shown(exchange, engine, &asked, page).await?;
    Ok(Reported { report: Some(report), ..document::xml(page.to_xml()) })
}

/// What a request asks for, checked.
pub(crate) struct Asked {
    version_2: bool,
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    /// V1's marker, V2's start-after, or the key marker of versions.
    pub(crate) after: Option<String>,
    /// V2's continuation token, as it came and as the engine's cursor; an empty one begins at the beginning.
    token: Option<(String, Option<ListCursor>)>,
    pub(crate) max_keys: u32,
    pub(crate) url_encoded: bool,
    with_owner: bool,
}

impl Asked {
    fn read(query: &Query, version_2: bool) -> Result<Self, S3Error> {
        let text = |name| query.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let token = match query.get("continuation-token") {
            None => None,
            Some(_) if !version_2 => None,
            Some("") => Some((String::new(), None)),
            Some(raw) => Some((raw.to_owned(), Some(read_token(raw)?))),
        };
        Ok(Self {
            version_2,
            prefix: query.get("prefix").unwrap_or("").to_owned(),
            delimiter: text("delimiter"),
            after: text(if version_2 { "start-after" } else { "marker" }),
            token,
            max_keys: max_keys(query.get("max-keys"))?,
            url_encoded: url_encoded(query.get("encoding-type"))?,
            with_owner: !version_2 || query.get("fetch-owner") == Some("true"),
        })
    }

    /// What a request for versions asks for: as version 1, with a marker of another name.
    pub(crate) fn versions(query: &Query) -> Result<Self, S3Error> {
        let after = query.get("key-marker").filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Self { after, ..Self::read(query, false)? })
    }
}

fn max_keys(raw: Option<&str>) -> Result<u32, S3Error> {
    let Some(raw) = raw.filter(|raw| !raw.is_empty()) else { return Ok(PAGE_KEYS_MAX) };
    let number: i64 = raw.parse().map_err(|_| {
        S3Error::with_message(
            S3Code::InvalidArgument,
            "Provided max-keys not an integer or within integer range",
        )
        .and("ArgumentName", "max-keys")
        .and("ArgumentValue", raw)
    })?;
    let fits = u32::try_from(number).ok().filter(|number| i32::try_from(*number).is_ok());
    fits.map(|number| number.min(PAGE_KEYS_MAX)).ok_or_else(|| {
        S3Error::with_message(
            S3Code::InvalidArgument,
            "Argument maxKeys must be an integer between 0 and 2147483647",
        )
        .and("ArgumentName", "max-keys")
        .and("ArgumentValue", raw)
    })
}

pub(crate) fn url_encoded(raw: Option<&str>) -> Result<bool, S3Error> {
    match raw {
        None | Some("") => Ok(false),
        Some(kind) if kind.eq_ignore_ascii_case("url") => Ok(true),
        Some(kind) => Err(S3Error::with_message(
            S3Code::InvalidArgument,
            "Invalid Encoding Method specified in Request",
        )
        .and("ArgumentName", "encoding-type")
        .and("ArgumentValue", kind)),
    }
}

pub(crate) fn read_token(raw: &str) -> Result<ListCursor, S3Error> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(raw).ok()?).ok()?;
        let (is_shown_prefix, name) = match text.strip_prefix(AFTER_PREFIX) {
            Some(name) => (true, name),
            None => (false, text.strip_prefix(AFTER_KEY)?),
        };
        (!name.is_empty()).then(|| ListCursor { name: name.to_owned(), is_shown_prefix })
    };
    read().ok_or_else(|| {
        S3Error::with_message(S3Code::InvalidArgument, "The continuation token provided is incorrect")
            .and("ArgumentName", "continuation-token")
    })
}

pub(crate) fn write_token(cursor: &ListCursor) -> String {
    let kind = match cursor.is_shown_prefix && !planted(Mutant::TokenForgetsPrefix) {
        true => AFTER_PREFIX,
        false => AFTER_KEY,
    };
    URL_SAFE_NO_PAD.encode(format!("{kind}{}", cursor.name))
}

/// Asks the engine for the page. A marker that is a common prefix stands for all keys below it (version 1
/// hands such markers out), so what is collapsed to it again is left out.
pub(crate) async fn fetch(
    exchange: &Exchange<'_>,
    engine: &Engine,
    asked: &Asked,
) -> Result<(CacheReport, ListPage), Refusal> {
    let max = usize::try_from(asked.max_keys).unwrap_or(usize::MAX);
    let mut request = ListRequest {
        prefix: asked.prefix.clone(),
        delimiter: asked.delimiter.clone(),
        after: asked.after.clone(),
        cursor: asked.token.as_ref().and_then(|(_, cursor)| cursor.clone()),
        max_keys: max,
        must_show_one: !asked.version_2,
    };
    let bucket = exchange.bucket()?;
    let mut all = ListPage::default();
    loop {
        let Answer { report, result } = engine.list(bucket, &exchange.caller, request.clone()).await;
        let page = match result {
            Ok(page) => page,
            Err(error) => return Err(Refusal::reported(error, report)),
        };
        let came = page.items.len();
        let fresh = page.items.into_iter().filter(|item| {
            asked.token.as_ref().is_some_and(|(_, cursor)| cursor.is_some())
                || asked.after.as_ref().is_none_or(|after| name(item) > after.as_str())
        });
        all.items.extend(fresh);
        all.next = page.next;
        // At most once more: only the first item of a page can be the marker itself.
        let repeated = came > 0 && all.items.is_empty() && max > 0;
        match &all.next {
            Some(next) if repeated && request.cursor.is_none() => request.cursor = Some(next.clone()),
            Some(_) | None => return Ok((report, all)),
        }
    }
}

pub(crate) fn name(item: &ListItem) -> &str {
    match item {
        ListItem::Object { key, .. } => key.as_str(),
        ListItem::Prefix(prefix) => prefix,
    }
}

/// The objects and the common prefixes of a page, as documents show them.
pub(crate) async fn rows(
    bucket: &Bucket,
    engine: &Engine,
    items: Vec<ListItem>,
    with_owner: bool,
) -> Result<(Vec<ListedObject>, Vec<String>), Refusal> {
    let mut people = People::new(engine);
    let mut objects = Vec::with_capacity(items.len());
    let mut common_prefixes = Vec::new();
    for item in items {
        match item {
            ListItem::Object { key, etag, size_bytes, last_modified, owner } => {
                let owner = owner.as_deref().unwrap_or(&bucket.settings.owner);
                objects.push(ListedObject {
                    key: String::from(key),
                    last_modified,
                    etag,
                    size_bytes,
                    storage_class: Some("STANDARD".to_owned()),
                    owner: if with_owner { Some(people.owner(owner).await?) } else { None },
                });
            }
            ListItem::Prefix(prefix) => common_prefixes.push(prefix),
        }
    }
    Ok((objects, common_prefixes))
}

async fn shown(
    exchange: &Exchange<'_>,
    engine: &Engine,
    asked: &Asked,
    page: ListPage,
) -> Result<xml::ListPage, Refusal> {
    let bucket = exchange.bucket()?;
    let last = page.items.last().map(|item| name(item).to_owned());
    let is_truncated = page.next.is_some() && asked.max_keys > 0;
    let position = if asked.version_2 {
        ListPosition::V2 {
            continuation_token: asked.token.as_ref().map(|(raw, _)| raw.clone()),
            next_continuation_token: page.next.as_ref().filter(|_| is_truncated).map(write_token),
            start_after: asked.after.clone(),
        }
    } else {
        ListPosition::V1 {
            marker: asked.after.clone().unwrap_or_default(),
            next_marker: last.filter(|_| is_truncated && asked.delimiter.is_some()),
        }
    };
    let (objects, common_prefixes) = rows(bucket, engine, page.items, asked.with_owner).await?;
    Ok(xml::ListPage {
        bucket: bucket.name.to_string(),
        prefix: asked.prefix.clone(),
        delimiter: asked.delimiter.clone(),
        max_keys: asked.max_keys,
        url_encoded: asked.url_encoded,
        is_truncated,
        position,
        objects,
        common_prefixes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_checked() {
        let rows = [
            ("max-keys=abc", true),
            ("max-keys=-1", true),
            ("max-keys=99999999999", true),
            ("max-keys=2147483648", true),
            ("encoding-type=rot13", true),
            ("continuation-token=%21%21", true),
            ("continuation-token=", false),
            ("max-keys=0&encoding-type=url&prefix=a&start-after=b&fetch-owner=true", false),
            ("", false),
        ];
        for (query, refused) in rows {
            let got = Asked::read(&Query::parse(query).unwrap(), true);
            assert_eq!(got.is_err_and(|error| error.code == S3Code::InvalidArgument), refused, "{query}");
        }
        assert_eq!(Asked::read(&Query::parse("max-keys=5000").unwrap(), true).ok().unwrap().max_keys, 1000);
    }

    #[test]
    fn tokens_survive_the_round_trip() {
        for is_shown_prefix in [true, false] {
            let cursor = ListCursor { name: "a/\u{1F600}\n+%".to_owned(), is_shown_prefix };
            let token = write_token(&cursor);
            assert!(token.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
            assert_eq!(read_token(&token).unwrap(), cursor);
        }
    }
}
