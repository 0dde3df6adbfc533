//! The XML documents that are read.

use fallthrough_wire::xml::{
    DELETE_KEYS_MAX, DeleteRequest, parse_create_bucket, parse_error_document, parse_list_page,
    write::XmlWriter,
};

/// The first moment that has no four digits for its year.
const YEAR_10000: u64 = 253_402_300_800_000;

/// A document. What is read is written so that it reads the same, and lists are bounded.
pub fn xml(bytes: &[u8]) {
    if let Ok(request) = DeleteRequest::parse(bytes) {
        assert!((1..=DELETE_KEYS_MAX).contains(&request.objects.len()));
        let mut xml = XmlWriter::new();
        xml.open_root("Delete");
        xml.flag("Quiet", request.quiet);
        for object in &request.objects {
            xml.open("Object");
            xml.element("Key", &object.key);
            xml.optional("VersionId", object.version_id.as_deref());
            xml.optional("ETag", object.etag.as_deref());
            xml.close("Object");
        }
        xml.close("Delete");
        let written = xml.finish();
        assert!(!is_whole(&written) || DeleteRequest::parse(written.as_bytes()) == Ok(request), "{written}");
    }
    if let Ok(page) = parse_list_page(bytes) {
        assert!(page.is_truncated || page.next().is_none());
        let written = page.to_xml();
        let sayable = page.objects.iter().all(|object| object.last_modified.0 < YEAR_10000);
        if sayable && is_whole(&written) {
            assert_eq!(parse_list_page(written.as_bytes()), Ok(page));
        }
    }
    if let Ok(error) = parse_error_document(bytes) {
        let mut xml = XmlWriter::new();
        xml.open("Error");
        xml.element("Code", &error.code);
        xml.element("Message", &error.message);
        xml.optional("Resource", error.resource.as_deref());
        xml.optional("RequestId", error.request_id.as_deref());
        // The names of other elements are not ours to write.
        xml.close("Error");
        let written = xml.finish();
        let mut again = parse_error_document(written.as_bytes()).expect("what we write can be read");
        again.extra.clone_from(&error.extra);
        assert!(!is_whole(&written) || again == error, "{written}");
    }
    if let Ok(Some(region)) = parse_create_bucket(bytes) {
        assert!(!region.trim().is_empty() && region.trim() == region);
    }
}

/// Whether a document holds all that was put into it: U+0000 is taken where it comes, but written as U+FFFD.
fn is_whole(document: &str) -> bool {
    !document.contains('\u{FFFD}')
}
