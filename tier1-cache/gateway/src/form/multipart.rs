//! `multipart/form-data` as it streams: the fields in front of the file, then the file, then the end.
//!
//! Strict, and of bounded memory: all that stands in front of the file together is at most
//! [`FIELDS_BYTES_MAX`], and of the file nothing is kept but what may be the beginning of its end. No input is scanned
//! more than twice. Fields behind the file are read to find the end, and say nothing.

use bytes::{Buf, Bytes, BytesMut};
use fallthrough_wire::{S3Code, S3Error};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Most bytes in front of the file, as S3: 20 KB.
pub(crate) const FIELDS_BYTES_MAX: usize = 20 * 1024;
/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// What ends a part: a line end, two dashes and the boundary.
#[derive(Clone, Debug)]
pub(crate) struct Delimiter(Vec<u8>);

impl Delimiter {
    /// Reads it from the request's Content-Type.
    ///
    /// # Errors
    /// `PreconditionFailed` if the request is no such form, `MalformedPOSTRequest` for a boundary that is none.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, S3Error> {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let value = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (kind, rest) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") || values.next().is_some() {
            return Err(S3Error::with_message(
                S3Code::PreconditionFailed,
                "Bucket POST must be of the enclosure-type multipart/form-data",
            )
            .and("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"));
        }
        let boundary = parameter(rest, "boundary").ok_or_else(malformed)?;
        // RFC 2046's characters: no line end among them, which the search below relies on.
        let sound = |c: u8| c.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&c);
        if !(1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()) || !boundary.bytes().all(sound) {
            return Err(malformed());
        }
        Ok(Self([b"\r\n--", boundary.as_bytes()].concat()))
    }
}

/// A parameter of a header such as `form-data; name="a b"; filename=x`. In a quoted value, `\"` stands for a quote.
fn parameter(mut rest: &str, wanted: &str) -> Option<String> {
    while !rest.is_empty() {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, value) = rest.split_once('=')?;
        let mut text = String::new();
        if let Some(quoted) = value.strip_prefix('"') {
            let mut chars = quoted.char_indices();
            loop {
                match chars.next()? {
                    (at, '"') => {
                        rest = &quoted[at + 1..];
                        break;
                    }
                    (_, '\\') if chars.clone().next().is_some_and(|(_, c)| c == '"') => {
                        text.push('"');
                        chars.next();
                    }
                    (_, c) => text.push(c),
                }
            }
            rest = rest.trim_start();
            if !rest.is_empty() && !rest.starts_with(';') {
                return None;
            }
        } else {
            let end = value.find(';').unwrap_or(value.len());
            text.push_str(value[..end].trim());
            rest = &value[end..];
        }
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
    }
    None
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedPostRequest)
}

/// What came in front of the file.
#[derive(Debug)]
pub(crate) struct Fields {
    /// Names as they came, and values, in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The name that the file has at the client; empty if none is given.
    pub(crate) filename: String,
    /// The first bytes of the file, or what follows it.
    pub(crate) rest: Bytes,
}

/// How far [`FieldsReader::feed`] has come.
#[derive(Debug)]
pub(crate) enum Came {
    /// More is needed.
    Part,
    /// The file begins.
    File(Fields),
    /// The form has ended.
    End,
}

/// Reads the parts in front of the file.
#[derive(Debug)]
pub(crate) struct FieldsReader {
    delimiter: Delimiter,
    buffer: BytesMut,
    /// Where the search for the end of the current part goes on.
    searched: usize,
    /// Bytes that have been read and taken out of the buffer.
    taken: usize,
    /// The field whose value is being read.
    open: Option<String>,
    fields: Vec<(String, String)>,
}

impl FieldsReader {
    pub(crate) fn new(delimiter: Delimiter) -> Self {
        // The first delimiter has no line end in front of it.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Self { delimiter, buffer, searched: 0, taken: 0, open: None, fields: Vec::new() }
    }

    /// Takes more bytes. After [`Came::File`] and [`Came::End`] it is of no more use.
    ///
    /// # Errors
    /// `MalformedPOSTRequest`, `MaxPostPreDataLengthExceededError`.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Came, S3Error> {
        self.buffer.extend_from_slice(bytes);
        loop {
            if self.taken > FIELDS_BYTES_MAX {
                return Err(S3Code::MaxPostPreDataLengthExceeded.into());
            }
            let went_on = match self.open {
                Some(_) => self.value()?,
                None => match self.headers()? {
                    Headers::Incomplete => false,
                    Headers::Field => true,
                    Headers::End => return Ok(Came::End),
                    Headers::File(filename) => {
                        let (fields, rest) = (std::mem::take(&mut self.fields), self.buffer.split().freeze());
                        if self.taken > FIELDS_BYTES_MAX {
                            return Err(S3Code::MaxPostPreDataLengthExceeded.into());
                        }
                        return Ok(Came::File(Fields { fields, filename, rest }));
                    }
                },
            };
            if !went_on {
                let waits = self.taken + self.buffer.len();
                return if waits > FIELDS_BYTES_MAX {
                    Err(S3Code::MaxPostPreDataLengthExceeded.into())
                } else {
                    Ok(Came::Part)
                };
            }
        }
    }

    /// Reads a delimiter and the headers behind it.
    fn headers(&mut self) -> Result<Headers, S3Error> {
        let delimiter = &self.delimiter.0;
        let known = self.buffer.len().min(delimiter.len());
        if self.buffer[..known] != delimiter[..known] {
            return Err(malformed());
        }
        let Some(behind) = self.buffer.get(delimiter.len()..delimiter.len() + 2) else {
            return Ok(Headers::Incomplete);
        };
        match behind {
            b"--" => return Ok(Headers::End),
            b"\r\n" => {}
            _ => return Err(malformed()),
        }
        // From the line end on, so that a part without headers is seen as such.
        let begin = delimiter.len();
        let from = self.searched.max(begin);
        let Some(end) = find(&self.buffer[from..], b"\r\n\r\n").map(|at| from + at) else {
            self.searched = self.buffer.len().saturating_sub(3);
            return Ok(Headers::Incomplete);
        };
        let head = std::str::from_utf8(&self.buffer[begin..end]).map_err(|_| malformed())?;
        let (name, filename) = disposition(head)?;
        self.take(end + 4);
        if name.eq_ignore_ascii_case("file") {
            return Ok(Headers::File(filename.unwrap_or_default()));
        }
        self.open = Some(name);
        Ok(Headers::Field)
    }

    /// Reads the value of the open field; `false` if it has not come whole.
    fn value(&mut self) -> Result<bool, S3Error> {
        let Some(end) = find(&self.buffer[self.searched..], &self.delimiter.0).map(|at| self.searched + at)
        else {
            self.searched = self.buffer.len().saturating_sub(self.delimiter.0.len() - 1);
            return Ok(false);
        };
        let value = std::str::from_utf8(&self.buffer[..end]).map_err(|_| malformed())?.to_owned();
        let name = self.open.take().unwrap_or_default();
        self.take(end);
        self.fields.push((name, value));
        Ok(true)
    }

    fn take(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.taken += bytes;
        self.searched = 0;
    }
}

enum Headers {
    Incomplete,
    Field,
    File(String),
    End,
}

/// Name and file name of a part.
fn disposition(head: &str) -> Result<(String, Option<String>), S3Error> {
    let mut found = None;
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        // Not a token: a folded line, for example.
        if name.is_empty()
            || !name.bytes().all(|c| c.is_ascii_graphic())
            || value.contains(['\r', '\n', '\0'])
        {
            return Err(malformed());
        }
        if !name.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let (kind, rest) = value.split_once(';').ok_or_else(malformed)?;
        if found.is_some() || !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(malformed());
        }
        let name = parameter(rest, "name").filter(|name| !name.is_empty()).ok_or_else(malformed)?;
        found = Some((name, parameter(rest, "filename")));
    }
    found.ok_or_else(malformed)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|c| *c == first).map(|at| from + at) {
        if text[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The next of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileStep {
    /// Bytes of it; never empty.
    Data(Bytes),
    /// All that was given is used up.
    NeedMore,
    /// It has ended, with the beginning of a delimiter that what is left follows.
    End,
}

/// Cuts the file out of what streams in.
#[derive(Debug)]
pub(crate) struct FileReader {
    delimiter: Delimiter,
    /// How many bytes of the delimiter have come, and may be its beginning.
    held: usize,
    ended: bool,
}

impl FileReader {
    pub(crate) fn new(delimiter: Delimiter) -> Self {
        Self { delimiter, held: 0, ended: false }
    }

    /// The next of the file in `input`. The only byte that a delimiter can begin with stands nowhere else in it, so
    /// that what does not go on as one is data as a whole.
    pub(crate) fn step(&mut self, input: &mut Bytes) -> FileStep {
        if self.ended {
            return FileStep::End;
        }
        let delimiter = &self.delimiter.0;
        if self.held > 0 {
            let same = common(&delimiter[self.held..], input);
            self.held += same;
            input.advance(same);
            if self.held == delimiter.len() {
                self.ended = true;
                return FileStep::End;
            }
            if input.is_empty() {
                return FileStep::NeedMore;
            }
            let data = Bytes::copy_from_slice(&delimiter[..std::mem::take(&mut self.held)]);
            return FileStep::Data(data);
        }
        let mut from = 0;
        while let Some(at) = input[from..].iter().position(|c| *c == b'\r').map(|at| from + at) {
            let same = common(delimiter, &input[at..]);
            if at + same == input.len() || same == delimiter.len() {
                let data = input.split_to(at);
                self.held = same;
                input.advance(same);
                if data.is_empty() {
                    // At most once more: what is held is looked at first.
                    return if same == delimiter.len() {
                        self.ended = true;
                        FileStep::End
                    } else {
                        FileStep::NeedMore
                    };
                }
                return FileStep::Data(data);
            }
            from = at + 1;
        }
        if input.is_empty() { FileStep::NeedMore } else { FileStep::Data(input.split_to(input.len())) }
    }

    /// What reads the rest of the form, whose fields say nothing.
    pub(crate) fn behind(&self) -> FieldsReader {
        let mut reader = FieldsReader::new(self.delimiter.clone());
        reader.buffer = BytesMut::from(self.delimiter.0.as_slice());
        reader
    }
}

/// How many bytes two texts have in common at their beginning.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn delimiter(content_type: &str) -> Result<Delimiter, S3Code> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        Delimiter::of(&headers).map_err(|error| error.code)
    }

    fn xx() -> Delimiter {
        delimiter("multipart/form-data; boundary=xx").unwrap()
    }

    #[test]
    fn boundaries_are_read() {
        let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
        let rows = [
            ("multipart/form-data; boundary=abc", Ok("\r\n--abc")),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b:c\"", Ok("\r\n--a b:c")),
            ("multipart/form-data", Err(S3Code::MalformedPostRequest)),
            ("multipart/form-data; boundary=", Err(S3Code::MalformedPostRequest)),
            ("multipart/form-data; boundary=\"a", Err(S3Code::MalformedPostRequest)),
            ("multipart/form-data; boundary=a\"b", Err(S3Code::MalformedPostRequest)),
            (&long, Err(S3Code::MalformedPostRequest)),
            ("application/x-www-form-urlencoded", Err(S3Code::PreconditionFailed)),
            ("", Err(S3Code::PreconditionFailed)),
        ];
        for (text, want) in rows {
            let got = delimiter(text).map(|delimiter| String::from_utf8(delimiter.0).unwrap());
            assert_eq!(got.as_deref().map_err(|code| *code), want, "{text}");
        }
    }

    const FORM: &str = "--xx\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na\r\nb\r\n--xx\r\n\
        content-disposition: form-data; name=policy\r\nContent-Type: text/plain\r\n\r\n\r\n--xx\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a \\\"b\\\".txt\"\r\n\r\n\
        hello\r\n--x\r\n\r\n--xx--\r\n";

    /// The fields, the file's name, the file, and whether the form ended.
    type Read = (Vec<(String, String)>, String, Vec<u8>, bool);

    fn read(form: &[u8], cut: usize) -> Result<Read, S3Code> {
        let mut pieces = form.chunks(cut.max(1));
        let mut reader = FieldsReader::new(xx());
        let fields = loop {
            let piece = pieces.next().ok_or(S3Code::IncompleteBody)?;
            match reader.feed(piece).map_err(|error| error.code)? {
                Came::Part => {}
                Came::File(fields) => break fields,
                Came::End => return Err(S3Code::IncorrectNumberOfFilesInPostRequest),
            }
        };
        let mut file = FileReader::new(xx());
        let (mut input, mut body) = (fields.rest.clone(), Vec::new());
        let ended = loop {
            match file.step(&mut input) {
                FileStep::Data(data) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(&data);
                }
                FileStep::End => break true,
                FileStep::NeedMore => match pieces.next() {
                    Some(piece) => input = Bytes::copy_from_slice(piece),
                    None => break false,
                },
            }
        };
        Ok((fields.fields, fields.filename, body, ended))
    }

    #[test]
    fn a_form_is_read_alike_however_it_is_cut() {
        let want = read(FORM.as_bytes(), FORM.len()).unwrap();
        assert_eq!(want.0, [("key".to_owned(), "a\r\nb".to_owned()), ("policy".to_owned(), String::new())]);
        assert_eq!((want.1.as_str(), want.2.as_slice()), ("C:\\dir\\a \"b\".txt", &b"hello\r\n--x\r\n"[..]));
        assert!(want.3);
        for cut in 1..FORM.len() {
            assert_eq!(read(FORM.as_bytes(), cut).unwrap(), want, "cut every {cut}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let part = |head: &str| format!("--xx\r\n{head}\r\n\r\nv\r\n--xx--\r\n");
        let disposition = "Content-Disposition: form-data; name=\"a\"";
        let rows = [
            ("preamble\r\n--xx\r\n".to_owned(), S3Code::MalformedPostRequest),
            ("--xy\r\n".to_owned(), S3Code::MalformedPostRequest),
            ("--xxx\r\n".to_owned(), S3Code::MalformedPostRequest),
            ("--xx--\r\n".to_owned(), S3Code::IncorrectNumberOfFilesInPostRequest),
            (part(disposition), S3Code::IncorrectNumberOfFilesInPostRequest),
            (part("Content-Type: a/b"), S3Code::MalformedPostRequest),
            (part(&format!("{disposition}\r\n{disposition}")), S3Code::MalformedPostRequest),
            (part(&format!("{disposition}\r\n folded")), S3Code::MalformedPostRequest),
            (part("Content-Disposition: attachment; name=\"a\""), S3Code::MalformedPostRequest),
            (part("Content-Disposition: form-data; name=\"\""), S3Code::MalformedPostRequest),
            (part("Content-Disposition: form-data; name=\"a"), S3Code::MalformedPostRequest),
            ("--xx\r\n\r\nv\r\n--xx--".to_owned(), S3Code::MalformedPostRequest),
            (
                part(&format!("{disposition}\r\nX: {}", "x".repeat(21_000))),
                S3Code::MaxPostPreDataLengthExceeded,
            ),
            (
                format!("--xx\r\n{disposition}\r\n\r\n{}", "v".repeat(21_000)),
                S3Code::MaxPostPreDataLengthExceeded,
            ),
            (
                format!("--xx\r\n{disposition}\r\n\r\n{}\r\n", "v".repeat(200)).repeat(100),
                S3Code::MaxPostPreDataLengthExceeded,
            ),
            ("--xx\r\nContent-Disposition".to_owned(), S3Code::IncompleteBody),
        ];
        for (form, want) in rows {
            for cut in [1, 7, form.len()] {
                assert_eq!(read(form.as_bytes(), cut).unwrap_err(), want, "{}", &form[..form.len().min(80)]);
            }
        }
    }
}
