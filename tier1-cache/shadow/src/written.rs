//! What the answer to a write means.

use std::time::Duration;

use fallthrough_object::{ByteStream, ETag, Mutant, Timestamp, planted};
use fallthrough_wire::xml::tree;
use futures::StreamExt;

use crate::answer::RawAnswer;
use crate::answer_headers as headers;

/// The answers to writes are short documents.
const READ_AT_MOST_BYTES: usize = 64 << 10;
/// CompleteMultipartUpload may keep its client waiting with spaces before it says how it ended.
const SILENCE_AT_MOST: Duration = Duration::from_secs(300);

/// What an answer to a write means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is done, for certain.
    Done {
        /// The ETag of the object or the part, if the answer has one.
        etag: Option<ETag>,
        /// The id of the upload that was begun.
        upload: Option<String>,
    },
    /// 404: there is no such object.
    Absent,
    /// There is no such upload (any more).
    NoSuchUpload,
    /// 412: what is there is not what the guard says.
    Changed,
    /// 409 and the like: somebody else writes it at the same time. Nothing was done; try again.
    Contended,
    /// The condition, or a header besides, is not offered: nothing was done.
    NotOffered,
    /// 429 or 503: come back later.
    Busy {
        /// The origin's Retry-After.
        retry_after: Option<Duration>,
    },
    /// It failed, or did not say how it ended: whether it was done is not known.
    Failing {
        /// In words.
        reason: String,
    },
    /// It is refused, and will be until somebody mends something. Nothing was done.
    Refused {
        /// In words, without address and credentials.
        reason: String,
    },
}

impl Written {
    /// Reads an answer. The document is read here, at most 64 KiB of it. `guarded`: a condition was sent. `now` serves
    /// dates in headers.
    ///
    /// # Cancellation
    /// Dropping the future ends the request.
    pub async fn of(answer: RawAnswer, guarded: bool, now: Timestamp) -> Self {
        let RawAnswer { status, headers: map, body } = answer;
        let document = Document::read(body).await;
        let status = status.as_u16();
        if (200..300).contains(&status) {
            return document.done(headers::etag(&map));
        }
        let retry_after = headers::retry_after(&map, now);
        document.refusal(status, guarded, retry_after)
    }
}

/// The document of an answer, as far as it matters.
#[derive(Debug, Default)]
struct Document {
    root: String,
    code: Option<String>,
    etag: Option<ETag>,
    upload: Option<String>,
    /// What it says is wrong, if it says so.
    at_fault: AtFault,
    /// It broke off, or went on for too long.
    cut: bool,
}

/// What of a request an error document says is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AtFault {
    /// It does not say.
    #[default]
    Unsaid,
    /// Its condition.
    Condition,
    /// Something else.
    Another,
}

impl AtFault {
    fn read(named: &[&str], message: &str) -> Self {
        let names_condition = |text: &str| {
            let text = text.to_ascii_lowercase();
            ["if-match", "if-none-match", "conditional", "precondition"]
                .iter()
                .any(|word| text.contains(word))
        };
        let names_header = message.to_ascii_lowercase().contains("x-amz-");
        if named.iter().chain([&message]).any(|text| names_condition(text)) {
            Self::Condition
        } else if named.is_empty() && !names_header {
            Self::Unsaid
        } else {
            Self::Another
        }
    }
}

impl Document {
    async fn read(mut body: ByteStream) -> Self {
        let mut text = Vec::new();
        let mut cut = false;
        loop {
            match tokio::time::timeout(SILENCE_AT_MOST, body.next()).await {
                Ok(Some(Ok(piece))) if text.len() + piece.len() <= READ_AT_MOST_BYTES => {
                    // Spaces that only keep the connection alive are no part of the document.
                    let skip = if text.is_empty() {
                        piece.iter().take_while(|c| c.is_ascii_whitespace()).count()
                    } else {
                        0
                    };
                    text.extend_from_slice(&piece[skip..]);
                }
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => {
                    cut = true;
                    break;
                }
            }
        }
        if text.is_empty() {
            return Self { cut, ..Self::default() };
        }
        let Ok(root) = tree::parse(&text, READ_AT_MOST_BYTES) else {
            return Self { cut, root: "?".to_owned(), ..Self::default() };
        };
        let plain = |text: &&str| text.len() <= 64 && text.bytes().all(|c| c.is_ascii_alphanumeric());
        let named: Vec<&str> = ["Header", "HeaderName", "ArgumentName", "Condition"]
            .iter()
            .filter_map(|name| root.child_text(name))
            .collect();
        Self {
            at_fault: AtFault::read(&named, root.child_text("Message").unwrap_or_default()),
            code: root.child_text("Code").map(str::trim).filter(plain).map(str::to_owned),
            etag: root.child_text("ETag").and_then(|text| ETag::parse(text).ok()),
            upload: root.child_text("UploadId").map(|text| text.trim().to_owned()),
            root: root.name.to_owned(),
            cut,
        }
    }

    /// A status of success: it is one unless the document says otherwise. CompleteMultipartUpload and CopyObject begin
    /// to answer before they know how they will end.
    fn done(self, etag: Option<ETag>) -> Written {
        if self.cut {
            return Written::Failing { reason: "its answer broke off".to_owned() };
        }
        if self.root == "Error" && !planted(Mutant::FailureAfterStatusIgnored) {
            return self.refusal(500, false, None);
        }
        Written::Done { etag: self.etag.or(etag), upload: self.upload }
    }

    fn refusal(self, status: u16, guarded: bool, retry_after: Option<Duration>) -> Written {
        let code = self.code.as_deref().unwrap_or("no code");
        let refused = |mend: &str| Written::Refused { reason: format!("{mend} ({status}, {code})") };
        match (code, status) {
            (
                "SlowDown" | "ServiceUnavailable" | "TooManyRequests" | "Throttling" | "RequestLimitExceeded",
                _,
            )
            | (_, 429 | 503) => Written::Busy { retry_after },
            ("PreconditionFailed", _) | (_, 412) => Written::Changed,
            ("ConditionalRequestConflict" | "OperationAborted", _) | ("no code", 409) => Written::Contended,
            ("NoSuchKey", _) => Written::Absent,
            ("NoSuchUpload", _) => Written::NoSuchUpload,
            ("NoSuchBucket", _) => {
                refused("the provider has no bucket of that name: check the shadow's name and endpoint")
            }
            ("no code", 404 | 410) => Written::Absent,
            ("NotImplemented", _) | (_, 501) => match self.at_fault {
                AtFault::Another if guarded => {
                    refused("the provider does not offer something that goes along with the object")
                }
                AtFault::Unsaid | AtFault::Condition | AtFault::Another => Written::NotOffered,
            },
            // Providers that do not know conditions on writes say so in several ways; whatever else is wrong with a
            // request says nothing of conditions.
            ("InvalidArgument" | "InvalidRequest", 400) if guarded && self.at_fault == AtFault::Condition => {
                Written::NotOffered
            }
            ("RequestTimeout" | "InternalError", _) | (_, 408 | 425 | 500..) => {
                Written::Failing { reason: format!("the origin answered {status} ({code})") }
            }
            ("EntityTooLarge", _) | (_, 413) => refused("the object is too large for the provider"),
            ("BadDigest" | "XAmzContentSHA256Mismatch", _) => {
                Written::Failing { reason: format!("the bytes did not arrive as they were sent ({code})") }
            }
            (_, 401 | 403) => {
                refused("the provider refuses it: check the shadow's credentials and their policy")
            }
            (_, 300..=399) => refused("the provider redirects: the shadow's region or endpoint is wrong"),
            _ => refused("the provider refuses it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use fallthrough_object::BodyError;
    use http::{HeaderMap, StatusCode};

    async fn read(status: u16, body: &'static str, guarded: bool) -> Written {
        let pieces = vec![Ok(Bytes::from_static(b"  \n")), Ok(Bytes::from_static(body.as_bytes()))];
        answer(status, pieces, guarded).await
    }

    async fn answer(status: u16, pieces: Vec<Result<Bytes, BodyError>>, guarded: bool) -> Written {
        let mut headers = HeaderMap::new();
        headers.insert("etag", "\"header\"".parse().unwrap());
        headers.insert("retry-after", "7".parse().unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        let body = Box::pin(futures::stream::iter(pieces));
        Written::of(RawAnswer { status, headers, body }, guarded, Timestamp(0)).await
    }

    fn done(etag: &str, upload: Option<&str>) -> Written {
        Written::Done { etag: Some(ETag::strong(etag).unwrap()), upload: upload.map(str::to_owned) }
    }

    #[tokio::test]
    async fn a_success_is_one_unless_its_document_says_otherwise() {
        assert_eq!(read(200, "", true).await, done("header", None));
        assert_eq!(read(204, "", false).await, done("header", None));
        let completed =
            "<CompleteMultipartUploadResult><ETag>&quot;x-2&quot;</ETag></CompleteMultipartUploadResult>";
        assert_eq!(read(200, completed, false).await, done("x-2", None));
        let begun =
            "<InitiateMultipartUploadResult><UploadId>u/1+</UploadId></InitiateMultipartUploadResult>";
        assert_eq!(read(200, begun, false).await, done("header", Some("u/1+")));
        let failed = "<Error><Code>InternalError</Code></Error>";
        assert!(matches!(read(200, failed, false).await, Written::Failing { .. }));
        assert_eq!(
            read(200, "<Error><Code>SlowDown</Code></Error>", false).await,
            Written::Busy { retry_after: None }
        );
        assert!(matches!(
            read(200, "<Error><Code>AccessDenied</Code></Error>", false).await,
            Written::Failing { .. }
        ));
        let broken = vec![Ok(Bytes::from_static(b"<Comp")), Err(BodyError::Incomplete)];
        assert!(matches!(answer(200, broken, false).await, Written::Failing { .. }));
    }

    #[tokio::test]
    async fn refusals_are_told_apart() {
        let error = |code: &str| -> &'static str { format!("<Error><Code>{code}</Code></Error>").leak() };
        let busy = Written::Busy { retry_after: Some(Duration::from_secs(7)) };
        for (status, code, guarded, want) in [
            (412, "PreconditionFailed", true, Written::Changed),
            (412, "", true, Written::Changed),
            (409, "ConditionalRequestConflict", true, Written::Contended),
            (404, "NoSuchKey", false, Written::Absent),
            (404, "NoSuchUpload", false, Written::NoSuchUpload),
            (501, "NotImplemented", true, Written::NotOffered),
            (503, "SlowDown", false, busy.clone()),
            (429, "", false, busy),
        ] {
            let body = if code.is_empty() { "" } else { error(code) };
            assert_eq!(read(status, body, guarded).await, want, "{status} {code}");
        }
        for (code, rest, guarded, is_the_condition) in [
            ("NotImplemented", "<Header>If-Match</Header>", true, true),
            ("NotImplemented", "<Header>x-amz-tagging</Header>", true, false),
            ("InvalidArgument", "<ArgumentName>If-None-Match</ArgumentName>", true, true),
            ("InvalidRequest", "<Message>Conditional writes are not supported</Message>", true, true),
            ("InvalidArgument", "<ArgumentName>x-amz-tagging</ArgumentName>", true, false),
            ("InvalidRequest", "<Message>Bad metadata</Message>", true, false),
            ("InvalidArgument", "", true, false),
            ("InvalidRequest", "<Message>Conditional writes are not supported</Message>", false, false),
        ] {
            let body = format!("<Error><Code>{code}</Code>{rest}</Error>").leak();
            let status = if code == "NotImplemented" { 501 } else { 400 };
            let said = read(status, body, guarded).await;
            assert_eq!(said == Written::NotOffered, is_the_condition, "{body}: {said:?}");
            assert!(is_the_condition || matches!(said, Written::Refused { .. }), "{body}: {said:?}");
        }
        for (status, code) in
            [(403, "AccessDenied"), (404, "NoSuchBucket"), (400, "InvalidArgument"), (301, "")]
        {
            let body = if code.is_empty() { "" } else { error(code) };
            assert!(matches!(read(status, body, false).await, Written::Refused { .. }), "{status} {code}");
        }
        for (status, code) in [(500, "InternalError"), (502, ""), (400, "RequestTimeout"), (400, "BadDigest")]
        {
            let body = if code.is_empty() { "" } else { error(code) };
            assert!(matches!(read(status, body, false).await, Written::Failing { .. }), "{status} {code}");
        }
    }
}
