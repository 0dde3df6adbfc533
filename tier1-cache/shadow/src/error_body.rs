//! The body of an error answer: S3's error document, read with a bound.

use std::time::Duration;

use fallthrough_object::ByteStream;
use futures::StreamExt;
use quick_xml::Reader;
use quick_xml::events::Event;

/// An S3 error document is below 1 KiB; a proxy's error page seldom more than this.
const READ_AT_MOST_BYTES: usize = 64 << 10;

/// Waiting longer for the reason of a refusal helps nobody.
const READ_AT_MOST: Duration = Duration::from_secs(5);

/// What an error document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorBody {
    /// `Code`, such as `NoSuchKey`.
    pub(crate) code: Option<String>,
    /// `Region`, where the origin tells the right one.
    pub(crate) region: Option<String>,
    /// The body broke, stalled or went on for too long: what it would have said is unknown.
    pub(crate) cut: bool,
}

impl ErrorBody {
    /// Reads as much of `body` as the bounds allow. Dropping the future ends the request.
    pub(crate) async fn read(mut body: ByteStream) -> Self {
        let mut text = Vec::new();
        let collected = tokio::time::timeout(READ_AT_MOST, async {
            while let Some(piece) = body.next().await {
                let Ok(piece) = piece else { return false };
                let room = READ_AT_MOST_BYTES - text.len();
                text.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.len() > room {
                    return false;
                }
            }
            true
        });
        let whole = collected.await.unwrap_or(false);
        let mut read = Self::parse(&text);
        // A document that named its code before it was cut has said what matters.
        read.cut = !whole && read.code.is_none();
        read
    }

    fn parse(text: &[u8]) -> Self {
        let mut read = Self::default();
        let mut reader = Reader::from_reader(text);
        let mut path: Vec<Vec<u8>> = Vec::new();
        // Anything that is not XML, or not an error document, says nothing.
        loop {
            match reader.read_event() {
                Ok(Event::Start(tag)) if path.len() < 4 => path.push(tag.local_name().as_ref().to_vec()),
                Ok(Event::End(_)) => drop(path.pop()),
                Ok(Event::Text(value)) => {
                    let Some(name) = path.last().filter(|_| path.len() == 2 && path[0] == b"Error") else {
                        continue;
                    };
                    let slot = match name.as_slice() {
                        b"Code" => &mut read.code,
                        b"Region" => &mut read.region,
                        _ => continue,
                    };
                    *slot = slot.take().or_else(|| word(&value));
                }
                Ok(Event::Start(_) | Event::Eof) | Err(_) => return read,
                Ok(_) => {}
            }
        }
    }
}

/// A short plain word, as codes and regions are; anything else is not repeated to anybody.
fn word(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?.trim();
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use fallthrough_object::BodyError;

    fn stream(pieces: Vec<Result<&'static [u8], BodyError>>) -> ByteStream {
        Box::pin(futures::stream::iter(pieces.into_iter().map(|p| p.map(Bytes::from_static))))
    }

    #[tokio::test]
    async fn codes_are_found_in_what_providers_send() {
        let cases: [(&'static [u8], Option<&str>, Option<&str>); 7] = [
            (b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>x</Message></Error>", Some("NoSuchKey"), None),
            (b"<Error xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n <Code> A </Code><Region>eu-1</Region></Error>", Some("A"), Some("eu-1")),
            (b"<Error><Code>first</Code><Code>second</Code></Error>", Some("first"), None),
            (b"<html><Code>no</Code></html>", None, None),
            (b"<Error><Code>two words</Code></Error>", None, None),
            (b"not xml at all & < >", None, None),
            (b"", None, None),
        ];
        for (body, code, region) in cases {
            let read = ErrorBody::read(stream(vec![Ok(body)])).await;
            let want =
                ErrorBody { code: code.map(str::to_owned), region: region.map(str::to_owned), cut: false };
            assert_eq!(read, want, "{}", String::from_utf8_lossy(body));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_breaks_stalls_or_never_ends_is_cut() {
        let broken = ErrorBody::read(stream(vec![Ok(b"<Error>"), Err(BodyError::Incomplete)])).await;
        assert!(broken.cut);
        let said =
            ErrorBody::read(stream(vec![Ok(b"<Error><Code>A</Code>"), Err(BodyError::Incomplete)])).await;
        assert_eq!((said.code.as_deref(), said.cut), (Some("A"), false));
        let stalled: ByteStream = Box::pin(futures::stream::pending());
        assert!(ErrorBody::read(stalled).await.cut);
        let endless: ByteStream =
            Box::pin(futures::stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 4096]))));
        assert!(ErrorBody::read(endless).await.cut);
    }
}
