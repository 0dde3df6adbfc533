//! Reading XML into a small tree, with bounds.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::XmlError;

/// Deepest nesting: S3's own documents have five levels.
const DEPTH_MAX: usize = 16;
/// Most elements: a page of 1,000 objects has about 12 for each.
const ELEMENTS_MAX: usize = 65_536;

/// An element: its name without namespace prefix, its text, its children. Attributes are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Without its namespace prefix.
    pub name: String,
    /// All text directly in it, white space included.
    pub text: String,
    /// In the order of the document.
    pub children: Vec<Self>,
}

impl Element {
    /// The text of the first child of this name.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.as_str())
    }

    /// The child of this name, if there is exactly one.
    pub(crate) fn only(&self, name: &str) -> Option<&Self> {
        let mut named = self.children.iter().filter(|child| child.name == name);
        named.next().filter(|_| named.next().is_none())
    }

    /// All children of this name.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads a document of at most `bytes_max` bytes. White space in text is kept: a key may be one space.
///
/// # Errors
/// [`XmlError::Malformed`]: not well-formed, too large, too deep, or with a document type.
pub fn parse(document: &[u8], bytes_max: usize) -> Result<Element, XmlError> {
    if document.len() > bytes_max {
        return Err(XmlError::Malformed(format!("more than {bytes_max} bytes")));
    }
    let text = std::str::from_utf8(document).map_err(|_| XmlError::Malformed("not UTF-8".to_owned()))?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{FEFF}').unwrap_or(text));
    let mut tree = Tree::default();
    loop {
        match reader.read_event().map_err(malformed)? {
            Event::Start(start) => tree.open(&start)?,
            Event::Empty(start) => {
                tree.open(&start)?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.push(&text.xml10_content().map_err(malformed)?)?,
            Event::CData(text) => tree.push(&text.xml10_content().map_err(malformed)?)?,
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(malformed)? {
                Some(c) => tree.push(c.encode_utf8(&mut [0; 4]))?,
                None => tree.push(entity(&reference.decode().map_err(malformed)?)?)?,
            },
            Event::DocType(_) => {
                return Err(XmlError::Malformed("a document type is not allowed".to_owned()));
            }
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return tree.finish(),
        }
    }
}

fn malformed(error: impl std::fmt::Display) -> XmlError {
    XmlError::Malformed(error.to_string())
}

fn entity(name: &str) -> Result<&'static str, XmlError> {
    match name {
        "amp" => Ok("&"),
        "lt" => Ok("<"),
        "gt" => Ok(">"),
        "quot" => Ok("\""),
        "apos" => Ok("'"),
        _ => Err(XmlError::Malformed("an entity is unknown".to_owned())),
    }
}

#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Tree {
    fn open(&mut self, start: &quick_xml::events::BytesStart<'_>) -> Result<(), XmlError> {
        self.elements += 1;
        if self.open.len() >= DEPTH_MAX || self.elements > ELEMENTS_MAX {
            return Err(XmlError::Malformed("too many elements".to_owned()));
        }
        if self.open.is_empty() && self.root.is_some() {
            return Err(XmlError::Malformed("more than one root".to_owned()));
        }
        let name = String::from_utf8_lossy(start.local_name().into_inner()).into_owned();
        self.open.push(Element { name, ..Element::default() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), XmlError> {
        let done =
            self.open.pop().ok_or_else(|| XmlError::Malformed("an element is closed twice".to_owned()))?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => self.root = Some(done),
        }
        Ok(())
    }

    fn push(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::Malformed("text outside of the root".to_owned())),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, XmlError> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            Some(_) | None => Err(XmlError::Malformed("the document is incomplete".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documents_are_read() {
        let root = parse(b"<?xml version='1.0'?><!-- c --><s3:A xmlns:s3='u' b='c'>\n<B> x&amp;&#x41;<![CDATA[<y>]]> </B><C/></s3:A>\n", 1000);
        let root = root.unwrap();
        assert_eq!(
            (root.name.as_str(), root.child_text("B"), root.child_text("C")),
            ("A", Some(" x&A<y> "), Some(""))
        );
        assert_eq!(root.child_text("D"), None);
    }

    #[test]
    fn what_is_not_a_plain_document_is_refused() {
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        let many = format!("<a>{}</a>", "<b/>".repeat(70_000));
        let rows = [
            "",
            "   ",
            "hello",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "</a>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a>&x;</a>",
            "<a>&#xD800;</a>",
            "{\"a\": 1}",
            &deep,
            &many,
        ];
        for text in rows {
            assert!(parse(text.as_bytes(), 1 << 20).is_err(), "{}", &text[..text.len().min(60)]);
        }
        assert!(parse(b"<a>\xFF</a>", 100).is_err());
        assert!(parse(b"<a></a>", 6).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&bytes, 1 << 20);
        }

        #[test]
        fn any_markup_is_read_or_refused(text in "[<>/a&;#x!\\[\\]C-]{0,40}") {
            let _ = parse(text.as_bytes(), 1 << 20);
        }
    }
}
