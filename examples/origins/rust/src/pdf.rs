//! A PDF file of a few objects: header, objects, cross-reference table, trailer (ISO 32000-1, 7.5).
//!
//! It knows nothing of pages and text. What it promises is that every object's offset in the table is its place in the file,
//! and that the same objects give the same bytes: no date, no random identifier.

use std::fmt::Write as _;

/// A file in the making.
#[derive(Clone, Debug)]
pub struct Pdf {
    bytes: Vec<u8>,
    /// Where each object begins; the first is object 1.
    offsets: Vec<usize>,
}

impl Default for Pdf {
    fn default() -> Self {
        Self::new()
    }
}

impl Pdf {
    /// Without objects.
    #[must_use]
    pub fn new() -> Self {
        // Four bytes above 127 tell whoever copies the file that it is no text.
        Self { bytes: b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec(), offsets: Vec::new() }
    }

    /// Adds an object. The first added is `1 0 R`, the next `2 0 R`, and so on.
    pub fn object(&mut self, body: &str) {
        self.offsets.push(self.bytes.len());
        let number = self.offsets.len();
        self.bytes.extend_from_slice(format!("{number} 0 obj\n{body}\nendobj\n").as_bytes());
    }

    /// Adds a stream, such as what is drawn on a page, with its length.
    pub fn stream(&mut self, content: &str) {
        self.object(&format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    }

    /// The whole file. Object 1 must be its catalog.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let start = self.bytes.len();
        let size = self.offsets.len() + 1;
        // Each line of the table is twenty bytes long, its end included.
        let mut table = format!("xref\n0 {size}\n0000000000 65535 f \n");
        for offset in &self.offsets {
            let _ = writeln!(table, "{offset:010} 00000 n "); // A string takes what is written into it.
        }
        let _ = write!(table, "trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n");
        self.bytes.extend_from_slice(table.as_bytes());
        self.bytes
    }
}

/// Text as a string of hexadecimal digits, in the encoding `WinAnsiEncoding`; `None` if it has a character that is not the same
/// there as in Latin-1, or none at all.
#[must_use]
pub fn string(text: &str) -> Option<String> {
    let mut out = String::from("<");
    for character in text.chars() {
        let code = u8::try_from(u32::from(character))
            .ok()
            .filter(|code| matches!(code, 0x20..=0x7e | 0xa0..=0xff))?;
        let _ = write!(out, "{code:02x}"); // As above.
    }
    out.push('>');
    Some(out)
}
