//! What must hold of an answer.

use std::borrow::Cow;

use fallthrough_wire::uri;
use fallthrough_wire::xml::tree::{self, Element};

use crate::body::Body;
use crate::call::Call;
use crate::reply::Reply;
use crate::variables::Variables;

/// Largest document that is read.
const DOCUMENT_BYTES_MAX: usize = 8 << 20;

#[derive(Clone, Debug)]
enum HeaderWant {
    Is(String),
    Begins(String),
    Holds(String),
    IsNot(String),
    Present,
    Absent,
}

/// Where a text is taken from, to be remembered.
#[derive(Clone, Debug)]
enum Source {
    Header(String),
    Xml(String),
    /// A header without the quotes around it.
    Unquoted(String),
}

/// What must hold of an answer; nothing is taken for granted but that it came whole, and is a success where no status is
/// named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expect {
    status: Option<u16>,
    code: Option<String>,
    headers: Vec<(String, HeaderWant)>,
    body: Option<Body>,
    root: Option<String>,
    /// Path below the root, and all texts that are found there, in order.
    texts: Vec<(String, Vec<String>)>,
    /// The same, where the texts are percent-encoded.
    encoded: Vec<(String, Vec<String>)>,
    counts: Vec<(String, usize)>,
    holds: Vec<String>,
    lacks: Vec<String>,
    continued: Option<bool>,
    same_ids: bool,
    saves: Vec<(String, Source)>,
}

impl Call {
    /// The answer has this status.
    pub(crate) fn gives(mut self, status: u16) -> Self {
        self.expect.status = Some(status);
        self
    }

    /// The answer is an error with this status and, except to a HEAD, this code.
    pub(crate) fn fails(mut self, status: u16, code: &str) -> Self {
        self.expect.status = Some(status);
        self.expect.code = (self.method != "HEAD" && !code.is_empty()).then(|| code.to_owned());
        self
    }

    /// A header has exactly this value.
    pub(crate) fn has(mut self, name: &str, value: impl Into<String>) -> Self {
        self.expect.headers.push((name.to_owned(), HeaderWant::Is(value.into())));
        self
    }

    /// Several headers have exactly these values.
    pub(crate) fn has_all(mut self, headers: &[(&str, &str)]) -> Self {
        for (name, value) in headers {
            self = self.has(name, *value);
        }
        self
    }

    /// A header begins so.
    pub(crate) fn begins(mut self, name: &str, value: &str) -> Self {
        self.expect.headers.push((name.to_owned(), HeaderWant::Begins(value.to_owned())));
        self
    }

    /// A header holds this text.
    pub(crate) fn header_holds(mut self, name: &str, value: &str) -> Self {
        self.expect.headers.push((name.to_owned(), HeaderWant::Holds(value.to_owned())));
        self
    }

    /// A header has another value, or none.
    pub(crate) fn differs(mut self, name: &str, value: &str) -> Self {
        self.expect.headers.push((name.to_owned(), HeaderWant::IsNot(value.to_owned())));
        self
    }

    /// A header is there and not empty.
    pub(crate) fn present(mut self, name: &str) -> Self {
        self.expect.headers.push((name.to_owned(), HeaderWant::Present));
        self
    }

    /// A header is not there.
    pub(crate) fn lacks(mut self, name: &str) -> Self {
        self.expect.headers.push((name.to_owned(), HeaderWant::Absent));
        self
    }

    /// The body is exactly this.
    pub(crate) fn gives_body(mut self, body: impl Into<Body>) -> Self {
        self.expect.body = Some(body.into());
        self
    }

    /// The body is a document with this root.
    pub(crate) fn root(mut self, name: &str) -> Self {
        self.expect.root = Some(name.to_owned());
        self
    }

    /// The texts at a path below the root are exactly these, in order.
    pub(crate) fn all<T: ToString>(mut self, path: &str, texts: impl IntoIterator<Item = T>) -> Self {
        self.expect.texts.push((path.to_owned(), texts.into_iter().map(|text| text.to_string()).collect()));
        self
    }

    /// There is exactly one element at a path below the root, with this text.
    pub(crate) fn one(self, path: &str, text: impl Into<String>) -> Self {
        self.all(path, [text.into()])
    }

    /// There is no element at a path below the root.
    pub(crate) fn none(self, path: &str) -> Self {
        self.all(path, [""; 0])
    }

    /// The texts at a path are these once they are decoded, as `encoding-type=url` encodes: a space as `+` or `%20`,
    /// and nothing left that would have to be encoded.
    pub(crate) fn encoded<T: Into<String>>(mut self, path: &str, texts: impl IntoIterator<Item = T>) -> Self {
        self.expect.encoded.push((path.to_owned(), texts.into_iter().map(Into::into).collect()));
        self
    }

    /// There are so many elements at a path below the root.
    pub(crate) fn count(mut self, path: &str, count: usize) -> Self {
        self.expect.counts.push((path.to_owned(), count));
        self
    }

    /// The body holds this text.
    pub(crate) fn holds(mut self, text: &str) -> Self {
        self.expect.holds.push(text.to_owned());
        self
    }

    /// The body does not hold this text.
    pub(crate) fn without(mut self, text: &str) -> Self {
        self.expect.lacks.push(text.to_owned());
        self
    }

    /// Whether `100 Continue` came before the answer.
    pub(crate) fn continued(mut self, continued: bool) -> Self {
        self.expect.continued = Some(continued);
        self
    }

    /// The document tells the ids that the headers tell.
    pub(crate) fn request_id_is_told(mut self) -> Self {
        self.expect.same_ids = true;
        self
    }

    /// Remembers a header.
    pub(crate) fn save(mut self, variable: &str, header: &str) -> Self {
        self.expect.saves.push((variable.to_owned(), Source::Header(header.to_owned())));
        self
    }

    /// Remembers a header without its quotes.
    pub(crate) fn save_unquoted(mut self, variable: &str, header: &str) -> Self {
        self.expect.saves.push((variable.to_owned(), Source::Unquoted(header.to_owned())));
        self
    }

    /// Remembers the first text at a path below the root.
    pub(crate) fn save_xml(mut self, variable: &str, path: &str) -> Self {
        self.expect.saves.push((variable.to_owned(), Source::Xml(path.to_owned())));
        self
    }
}

impl Expect {
    /// Compares, and remembers what is to be remembered.
    ///
    /// # Errors
    /// What does not hold, for people.
    pub(crate) fn check(&self, reply: &Reply, variables: &mut Variables) -> Result<(), String> {
        self.check_status(reply)?;
        for (name, want) in &self.headers {
            check_header(reply, name, want, variables)?;
        }
        if let Some(continued) = self.continued
            && continued != reply.continued
        {
            return Err(format!("100 Continue came: {}, expected {continued}", reply.continued));
        }
        self.check_body(reply, variables)?;
        self.check_document(reply, variables)?;
        for (variable, source) in &self.saves {
            let text = match source {
                Source::Header(name) => reply.header(name),
                Source::Unquoted(name) => reply.header(name).map(|value| value.trim_matches('"').to_owned()),
                Source::Xml(path) => texts_at(&document(reply)?, path).into_iter().next(),
            };
            let text =
                text.ok_or_else(|| format!("nothing to remember as {variable}: {source:?} is missing"))?;
            variables.set(variable, text);
        }
        Ok(())
    }

    fn check_status(&self, reply: &Reply) -> Result<(), String> {
        let code = reply.code();
        let wanted = self.code.as_deref();
        let as_wanted = match self.status {
            Some(status) => reply.status == status && wanted.is_none_or(|wanted| wanted == code),
            None => (200..300).contains(&reply.status),
        };
        if !as_wanted {
            let status = self.status.map_or_else(|| "success".to_owned(), |status| status.to_string());
            let wanted = wanted.unwrap_or_default();
            return Err(format!("status {} {code}, expected {status} {wanted}", reply.status));
        }
        if reply.whole { Ok(()) } else { Err("the body ended early".to_owned()) }
    }

    fn check_body(&self, reply: &Reply, variables: &Variables) -> Result<(), String> {
        if let Some(body) = &self.body {
            let want = body.bytes(variables);
            if reply.body != want {
                let differs = reply.body.iter().zip(&want).position(|(have, want)| have != want);
                return Err(format!(
                    "the body has {} bytes {:?}, expected {} bytes {:?}; the first difference is at {}",
                    reply.body.len(),
                    excerpt(&reply.body),
                    want.len(),
                    excerpt(&want),
                    differs.unwrap_or(reply.body.len().min(want.len())),
                ));
            }
        }
        let text = String::from_utf8_lossy(&reply.body);
        for want in &self.holds {
            let want = variables.fill(want);
            if !text.contains(&want) {
                return Err(format!("the body does not hold {want:?}"));
            }
        }
        for unwanted in &self.lacks {
            let unwanted = variables.fill(unwanted);
            if text.contains(&unwanted) {
                return Err(format!("the body holds {unwanted:?}"));
            }
        }
        Ok(())
    }

    fn check_document(&self, reply: &Reply, variables: &Variables) -> Result<(), String> {
        if self.same_ids {
            let document = document(reply)?;
            for (path, header) in [("RequestId", "x-amz-request-id"), ("HostId", "x-amz-id-2")] {
                let (told, header) = (document.child_text(path), reply.header(header));
                if told != header.as_deref() {
                    return Err(format!("{path} is {told:?}, but the header {header:?}"));
                }
            }
        }
        if self.root.is_none() && self.texts.is_empty() && self.encoded.is_empty() && self.counts.is_empty() {
            return Ok(());
        }
        let document = document(reply)?;
        if let Some(root) = &self.root
            && *root != document.name
        {
            return Err(format!("the document is a {}, expected {root}", document.name));
        }
        for (path, want) in &self.texts {
            let have = texts_at(&document, path);
            let want: Vec<String> = want.iter().map(|text| variables.fill(text)).collect();
            if have != want {
                return Err(format!("{path} is {have:?}, expected {want:?}"));
            }
        }
        for (path, want) in &self.encoded {
            let have = texts_at(&document, path);
            let decoded: Option<Vec<String>> = have.iter().map(|text| decoded(text)).collect();
            if decoded.as_ref() != Some(want) {
                return Err(format!("{path} is {have:?}, expected {want:?}, encoded"));
            }
        }
        for (path, want) in &self.counts {
            let have = texts_at(&document, path).len();
            if have != *want {
                return Err(format!("there are {have} of {path}, expected {want}"));
            }
        }
        Ok(())
    }
}

fn decoded(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/*%+".contains(&byte);
    let decoded = text.bytes().all(allowed).then(|| uri::decode_plus(text))?;
    decoded.ok().map(Cow::into_owned)
}

fn check_header(reply: &Reply, name: &str, want: &HeaderWant, variables: &Variables) -> Result<(), String> {
    let have = reply.header(name);
    let (holds, wanted) = match want {
        HeaderWant::Is(value) => {
            let value = variables.fill(value);
            (have.as_deref() == Some(&value), format!("{value:?}"))
        }
        HeaderWant::Begins(value) => {
            let value = variables.fill(value);
            (have.as_deref().is_some_and(|have| have.starts_with(&value)), format!("{value:?} and more"))
        }
        HeaderWant::Holds(value) => {
            let value = variables.fill(value);
            (have.as_deref().is_some_and(|have| have.contains(&value)), format!("{value:?} in it"))
        }
        HeaderWant::IsNot(value) => {
            let value = variables.fill(value);
            (have.as_deref() != Some(&value), format!("anything but {value:?}"))
        }
        HeaderWant::Present => (have.as_deref().is_some_and(|have| !have.is_empty()), "one".to_owned()),
        HeaderWant::Absent => (have.is_none(), "none".to_owned()),
    };
    if holds { Ok(()) } else { Err(format!("header {name} is {have:?}, expected {wanted}")) }
}

/// The answer as a document.
pub(crate) fn document(reply: &Reply) -> Result<Element, String> {
    tree::parse(&reply.body, DOCUMENT_BYTES_MAX)
        .map_err(|error| format!("the body is no document: {error}: {:?}", excerpt(&reply.body)))
}

/// The texts of all elements at a path below `root`, such as `Contents/Key`, in order.
pub(crate) fn texts_at(root: &Element, path: &str) -> Vec<String> {
    let mut found = vec![root];
    for name in path.split('/') {
        found = found.into_iter().flat_map(|element| element.children_named(name)).collect();
    }
    found.into_iter().map(|element| element.text.clone()).collect()
}

/// The beginning of a body, for people.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const CHARS_MAX: usize = 700;
    String::from_utf8_lossy(&bytes[..bytes.len().min(4 * CHARS_MAX)]).chars().take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
