//! Pages of lists that providers write.

use std::collections::BTreeSet;
use std::time::Duration;

use fallthrough_object::{ETag, Timestamp};
use fallthrough_shadow::ListQuery;
use fallthrough_shadow::fuzzing::list_page as read;
use fallthrough_wire::xml::{ListPage, ListPosition, ListedObject};

use crate::input::Input;

/// Lines: the prefix asked for, the key asked to begin after, a byte of choices; then a document, or keys.
///
/// A page that is taken is in order, within the prefix and behind the key. What we write as a server we read as a
/// client, for any keys, with any encoding that can hold them.
pub fn list_page(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let query = ListQuery {
        prefix: input.line(),
        start_after: input.line(),
        delimiter: None,
        max_keys: 1000,
        timeout: Duration::ZERO,
        hops: 0,
        request_id: String::new(),
        trace: None,
    };
    let choices = input.byte();
    input.bytes();
    if let Ok(page) = read(&query, input.rest()) {
        let keys: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        for names in [&keys, &page.prefixes.iter().map(String::as_str).collect::<Vec<_>>()] {
            assert!(names.is_sorted_by(|a, b| a < b));
            assert!(names.iter().all(|name| name.starts_with(&query.prefix)));
            assert!(
                query.start_after.is_empty() || names.iter().all(|name| *name > query.start_after.as_str())
            );
        }
    }

    let text = String::from_utf8_lossy(input.rest());
    let keys: BTreeSet<String> = text.split('\n').map(|rest| format!("{}{rest}", query.prefix)).collect();
    let url_encoded = choices & 1 == 1;
    let storable =
        |c: char| (c >= ' ' || matches!(c, '\t' | '\n' | '\r')) && !matches!(c, '\u{FFFE}' | '\u{FFFF}');
    if !url_encoded && !text.chars().chain(query.prefix.chars()).all(storable) {
        return;
    }
    let objects = keys.iter().enumerate().map(|(index, key)| ListedObject {
        key: key.clone(),
        last_modified: Timestamp(1_369_353_600_000 + index as u64),
        etag: ETag::strong(format!("e{index}")).ok(),
        size_bytes: index as u64,
        storage_class: None,
        owner: None,
    });
    let page = ListPage {
        bucket: "bucket".to_owned(),
        prefix: query.prefix.clone(),
        delimiter: None,
        max_keys: 1000,
        url_encoded,
        is_truncated: choices & 2 == 2,
        position: ListPosition::V2 {
            continuation_token: None,
            next_continuation_token: None,
            start_after: None,
        },
        objects: objects.collect(),
        common_prefixes: Vec::new(),
    };
    let begin = ListQuery { start_after: String::new(), ..query };
    let came = read(&begin, page.to_xml().as_bytes()).expect("what we write can be read");
    assert_eq!(
        came.objects.iter().map(|object| &object.key).collect::<Vec<_>>(),
        keys.iter().collect::<Vec<_>>()
    );
    assert_eq!(came.truncated, page.is_truncated);
}
