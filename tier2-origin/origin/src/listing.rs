//! ListObjects in both versions, made of the origin's plain pages.

use fallthrough_object::ETag;
use fallthrough_wire::xml::{self, ListPage, ListPosition};
use fallthrough_wire::{S3Code, S3Error};

use crate::fault::Fault;
use crate::request::{ListRequest, ListedObject, Listing, Query};

/// The largest page, as S3 has it.
const KEYS_MAX: usize = 1000;
/// How many of the origin's pages one answer may cost: common prefixes may swallow any number of keys.
const PAGES_MAX: usize = 20;

/// Reads of a bucket that are not lists of its objects.
const BUCKET_SUBRESOURCES: [&str; 23] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "tagging",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// What a GET of a bucket asks.
pub(crate) enum Question {
    /// Its region.
    Location,
    /// A page of its objects.
    List(Box<Pages>),
}

pub(crate) fn location() -> String {
    xml::location_constraint("us-east-1")
}

/// A page in the making.
pub(crate) struct Pages {
    request: ListRequest,
    version: Version,
    delimiter: Option<String>,
    max_keys: usize,
    url_encoded: bool,
    objects: Vec<ListedObject>,
    prefixes: Vec<String>,
    /// The common prefix that an earlier page has shown, told by its marker or token.
    shown_before: Option<String>,
    pages: usize,
    truncated: bool,
}

enum Version {
    One { marker: String },
    Two { token: Option<String>, start_after: Option<String> },
}

fn invalid(name: &'static str, value: &str, why: &'static str) -> S3Error {
    S3Error::with_message(S3Code::InvalidArgument, why).and("ArgumentName", name).and("ArgumentValue", value)
}

impl Question {
    pub(crate) fn read(
        bucket: &str,
        query: &Query,
        request_id: &str,
        principal: Option<&str>,
    ) -> Result<Self, Fault> {
        if query.has("location") {
            return Ok(Self::Location);
        }
        if let Some(name) = BUCKET_SUBRESOURCES.iter().find(|name| query.has(name)) {
            return Err(Fault::not_offered(&format!("?{name}")));
        }
        let filled = |name| query.get(name).filter(|text: &&str| !text.is_empty()).map(str::to_owned);
        let version = match query.get("list-type") {
            None => Version::One { marker: filled("marker").unwrap_or_default() },
            Some("2") => {
                let token = query.get("continuation-token").map(str::to_owned);
                Version::Two { token, start_after: filled("start-after") }
            }
            Some(other) => return Err(invalid("list-type", other, "The list type must be 2.").into()),
        };
        let (after, shown_before) = match &version {
            Version::One { marker } => (Some(marker.clone()).filter(|m| !m.is_empty()), Some(marker.clone())),
            Version::Two { token: Some(token), .. } => {
                let key = key_of_token(token).ok_or_else(|| {
                    invalid("continuation-token", token, "The continuation token provided is incorrect")
                })?;
                (Some(key.clone()), Some(key))
            }
            Version::Two { token: None, start_after } => (start_after.clone(), None),
        };
        let max_keys = match filled("max-keys") {
            None => KEYS_MAX,
            Some(text) => text
                .parse::<u32>()
                .map(|n| usize::try_from(n).map_or(KEYS_MAX, |n| n.min(KEYS_MAX)))
                .map_err(|_| {
                    invalid("max-keys", &text, "Provided max-keys not an integer or within integer range")
                })?,
        };
        let url_encoded = match filled("encoding-type") {
            None => false,
            Some(kind) if kind == "url" => true,
            Some(kind) => {
                return Err(
                    invalid("encoding-type", &kind, "Invalid Encoding Method specified in Request").into()
                );
            }
        };
        let request = ListRequest {
            bucket: bucket.to_owned(),
            prefix: filled("prefix").unwrap_or_default(),
            after,
            limit: 1,
            request_id: request_id.to_owned(),
            principal: principal.map(str::to_owned),
        };
        Ok(Self::List(Box::new(Pages {
            request,
            version,
            delimiter: filled("delimiter"),
            max_keys,
            url_encoded,
            objects: Vec::new(),
            prefixes: Vec::new(),
            shown_before,
            pages: 0,
            truncated: false,
        })))
    }
}

impl Pages {
    fn emitted(&self) -> usize {
        self.objects.len() + self.prefixes.len()
    }

    /// What to ask the origin for next: one more than still fits, to know whether there is more.
    pub(crate) fn next_request(&self) -> ListRequest {
        let limit = if self.delimiter.is_some() {
            KEYS_MAX
        } else {
            (self.max_keys - self.emitted() + 1).min(KEYS_MAX)
        };
        ListRequest { limit, ..self.request.clone() }
    }

    /// Takes the origin's page; true when the answer is complete.
    pub(crate) fn take(&mut self, page: Listing) -> Result<bool, Fault> {
        if self.max_keys == 0 {
            return Ok(true);
        }
        self.pages += 1;
        if page.more && page.objects.is_empty() {
            return Err(Fault::internal("the origin's list is empty and says that there is more"));
        }
        for object in page.objects {
            let key = object.key.as_str();
            let in_order = self.request.after.as_deref().is_none_or(|after| key > after);
            if !in_order || !key.starts_with(&self.request.prefix) {
                return Err(Fault::internal(format!(
                    "the origin's list is out of order or prefix at {key:?}"
                )));
            }
            let group = self.group_of(key);
            let seen = group.as_ref().is_some_and(|group| {
                self.prefixes.last() == Some(group)
                    || self.shown_before.as_ref().is_some_and(|shown| shown.starts_with(group.as_str()))
            });
            if !seen && self.emitted() == self.max_keys {
                self.truncated = true;
                return Ok(true);
            }
            self.request.after = Some(key.to_owned());
            match group {
                Some(_) if seen => {}
                Some(group) => self.prefixes.push(group),
                None => self.objects.push(object),
            }
        }
        self.truncated = page.more;
        Ok(!page.more || self.pages == PAGES_MAX)
    }

    /// The common prefix that stands for this key, if it has one.
    fn group_of(&self, key: &str) -> Option<String> {
        let delimiter = self.delimiter.as_deref()?;
        let prefix_len = self.request.prefix.len();
        let at = key.get(prefix_len..)?.find(delimiter)?;
        key.get(..prefix_len + at + delimiter.len()).map(str::to_owned)
    }

    pub(crate) fn document(self) -> String {
        // The last examined key: it moves on even where all keys of a page fell into one common prefix.
        let next = self.request.after.filter(|_| self.truncated);
        let position = match self.version {
            Version::One { marker } => {
                ListPosition::V1 { marker, next_marker: next.filter(|_| self.delimiter.is_some()) }
            }
            Version::Two { token, start_after } => ListPosition::V2 {
                continuation_token: token,
                next_continuation_token: next.as_deref().map(token_of_key),
                start_after,
            },
        };
        let objects = self.objects.into_iter().map(|object| xml::ListedObject {
            key: object.key.as_str().to_owned(),
            last_modified: object.last_modified,
            etag: object.etag.and_then(|value| ETag::strong(value).ok()),
            size_bytes: object.size_bytes,
            storage_class: Some("STANDARD".to_owned()),
            owner: None,
        });
        ListPage {
            bucket: self.request.bucket,
            prefix: self.request.prefix,
            delimiter: self.delimiter,
            max_keys: u32::try_from(self.max_keys).unwrap_or(u32::MAX),
            url_encoded: self.url_encoded,
            is_truncated: self.truncated,
            position,
            objects: objects.collect(),
            common_prefixes: self.prefixes,
        }
        .to_xml()
    }
}

/// A key as a token: hexadecimal, so that any key survives XML and queries.
fn token_of_key(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn key_of_token(token: &str) -> Option<String> {
    let bytes = token.as_bytes();
    if bytes.is_empty() || !bytes.len().is_multiple_of(2) || !bytes.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = (0..bytes.len()).step_by(2).map(|at| u8::from_str_radix(token.get(at..at + 2)?, 16).ok());
    String::from_utf8(pairs.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use fallthrough_object::{Key, Timestamp};
    use fallthrough_wire::xml::parse_list_page;

    use super::*;

    const KEYS: [&str; 7] = ["a/1", "a/2", "a0", "b", "c/x/1", "c/y", "d"];

    /// The origin's side: plain pages of at most two keys, to force several of them.
    fn origin_page(request: &ListRequest) -> Listing {
        let fits = |key: &&&str| {
            key.starts_with(&request.prefix) && request.after.as_deref().is_none_or(|a| **key > a)
        };
        let object = |key: &&str| ListedObject {
            key: Key::parse(key).unwrap(),
            size_bytes: 1,
            etag: Some("e".to_owned()),
            last_modified: Timestamp(0),
        };
        let limit = request.limit.min(2);
        let all: Vec<_> = KEYS.iter().filter(fits).map(object).collect();
        Listing { more: all.len() > limit, objects: all.into_iter().take(limit).collect() }
    }

    fn answer(pairs: &[(&str, &str)]) -> ListPage {
        let query =
            Query::from_pairs(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
        let Ok(Question::List(mut pages)) = Question::read("bkt", &query, "", None) else {
            panic!("not a list")
        };
        while !pages.take(origin_page(&pages.next_request())).unwrap() {}
        parse_list_page(pages.document().as_bytes()).unwrap()
    }

    /// Objects and prefixes in the order in which all pages together show them.
    fn walk(version: &[(&str, &str)], parameter: &str, max_keys: &str) -> Vec<String> {
        let (mut names, mut next) = (Vec::new(), None::<String>);
        for _ in 0..20 {
            let mut pairs = version.to_vec();
            pairs.push(("max-keys", max_keys));
            if let Some(next) = &next {
                pairs.push((parameter, next));
            }
            let page = answer(&pairs);
            names.extend(page.objects.iter().map(|object| object.key.clone()));
            names.extend(page.common_prefixes.iter().cloned());
            next = page.next().map(str::to_owned);
            if next.is_none() {
                return names;
            }
        }
        panic!("the list does not end: {names:?}");
    }

    #[test]
    fn every_page_size_shows_everything_once() {
        let v2 = [("list-type", "2")];
        let v2_delimited = [("list-type", "2"), ("delimiter", "/")];
        let v1_delimited = [("delimiter", "/")];
        for max_keys in ["1", "2", "3", "1000"] {
            assert_eq!(walk(&v2, "continuation-token", max_keys), KEYS, "{max_keys}");
            assert_eq!(walk(&[], "marker", max_keys), KEYS, "{max_keys}");
            for (version, parameter) in
                [(&v2_delimited[..], "continuation-token"), (&v1_delimited[..], "marker")]
            {
                let mut names = walk(version, parameter, max_keys);
                names.sort();
                assert_eq!(names, ["a/", "a0", "b", "c/", "d"], "{parameter} {max_keys}");
            }
        }
        let mut names =
            walk(&[("list-type", "2"), ("delimiter", "/"), ("prefix", "c/")], "continuation-token", "1");
        names.sort();
        assert_eq!(names, ["c/x/", "c/y"]);
    }

    #[test]
    fn a_page_of_no_keys_ends_and_bad_parameters_are_named() {
        let page = answer(&[("list-type", "2"), ("max-keys", "0")]);
        assert!(page.objects.is_empty() && !page.is_truncated);
        for (name, value) in [
            ("max-keys", "-1"),
            ("max-keys", "x"),
            ("list-type", "3"),
            ("encoding-type", "hex"),
            ("uploads", ""),
        ] {
            let query = Query::from_pairs(vec![(name.to_owned(), value.to_owned())]);
            assert!(Question::read("bkt", &query, "", None).is_err(), "{name}={value}");
        }
        let two = |token: &str| {
            let pairs = [("list-type", "2"), ("continuation-token", token)];
            let query =
                Query::from_pairs(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
            Question::read("bkt", &query, "", None).is_err()
        };
        assert!(two("") && two("zz") && two("a") && two("ff") && !two("61"));
    }

    #[test]
    fn a_list_out_of_order_is_a_fault_and_not_a_shorter_list() {
        let query = Query::from_pairs(vec![("prefix".to_owned(), "a".to_owned())]);
        let object = |key: &str| ListedObject {
            key: Key::parse(key).unwrap(),
            size_bytes: 0,
            etag: None,
            last_modified: Timestamp(0),
        };
        let wrong = [
            Listing { objects: vec![object("a2"), object("a1")], more: false },
            Listing { objects: vec![object("a1"), object("a1")], more: false },
            Listing { objects: vec![object("b")], more: false },
            Listing { objects: vec![], more: true },
        ];
        for page in wrong {
            let Ok(Question::List(mut pages)) = Question::read("bkt", &query, "", None) else {
                panic!("no list")
            };
            assert!(pages.take(page.clone()).is_err(), "{page:?}");
        }
    }
}
