//! Writing XML: elements and text, escaped.

use std::fmt::Write as _;

/// Appends elements to a document. Names are ours and stand as they are; text is escaped.
#[derive(Clone, Debug)]
pub struct XmlWriter {
    out: String,
}

impl XmlWriter {
    /// A document that holds its declaration.
    pub fn new() -> Self {
        Self::with_capacity(256)
    }

    /// The same, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Self { out }
    }

    /// Opens an element.
    pub fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
    }

    /// Opens the root of an S3 document, with its namespace.
    pub fn open_root(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push_str(" xmlns=\"");
        self.out.push_str(super::NAMESPACE);
        self.out.push_str("\">");
    }

    /// Closes an element.
    pub fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// Text within the open element.
    pub fn push_text(&mut self, text: &str) {
        push_text(&mut self.out, text);
    }

    /// An element that holds text.
    pub fn element(&mut self, name: &str, text: &str) {
        self.open(name);
        push_text(&mut self.out, text);
        self.close(name);
    }

    /// An element that holds a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.element(name, &value.to_string());
    }

    /// An element that holds `true` or `false`.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.element(name, if value { "true" } else { "false" });
    }

    /// An element that holds text, if there is any.
    pub fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.element(name, text);
        }
    }

    /// The document.
    pub fn finish(self) -> String {
        self.out
    }
}

impl Default for XmlWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// Appends `text` escaped, so that a parser reads it back as it is: line ends as references, since parsers
/// normalise them. Characters that XML 1.0 cannot hold (controls, U+FFFE, U+FFFF) are written as references too, as S3
/// does; U+0000 alone becomes U+FFFD. A parser that insists on XML 1.0 refuses such a document; a client that has
/// one asks for lists with `encoding-type=url`.
pub fn push_text(out: &mut String, text: &str) {
    let mut plain_from = 0;
    for (at, c) in text.char_indices() {
        let replacement = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&apos;",
            '\r' => "&#13;",
            '\n' => "&#10;",
            '\t' => "&#9;",
            // No parser takes it, not even as a reference.
            '\0' => "\u{FFFD}",
            '\u{1}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => "",
            _ => continue,
        };
        out.push_str(&text[plain_from..at]);
        if replacement.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(out, "&#x{:x};", u32::from(c));
        }
        out.push_str(replacement);
        plain_from = at + c.len_utf8();
    }
    out.push_str(&text[plain_from..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xml::tree;

    #[test]
    fn text_is_escaped() {
        let rows = [
            ("a&<>\"'b", "a&amp;&lt;&gt;&quot;&apos;b"),
            ("\r\n\t", "&#13;&#10;&#9;"),
            ("\0\u{1}\u{1F}\u{FFFE}\u{FFFF}", "\u{FFFD}&#x1;&#x1f;&#xfffe;&#xffff;"),
            ("é\u{1F600}\u{85}", "é\u{1F600}\u{85}"),
            ("]]>", "]]&gt;"),
        ];
        for (text, want) in rows {
            let mut out = String::new();
            push_text(&mut out, text);
            assert_eq!(out, want);
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in "[\u{1}-\u{FFFF}]{0,40}|(?s).{0,40}") {
            let mut xml = XmlWriter::new();
            xml.element("A", &text);
            let root = tree::parse(xml.finish().as_bytes(), 1 << 20).unwrap();
            prop_assert_eq!(root.text, text.replace('\0', "\u{FFFD}"));
        }
    }
}
