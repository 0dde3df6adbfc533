//! Paths, queries and copy sources.

use fallthrough_wire::uri::{
    CopySource, Query, Target, decode, decode_plus, encode_path, encode_query, split_host_style,
    split_path_style,
};

use crate::input::Input;

/// A line: raw text; it is read as a part of a URI, and encoded as one.
///
/// What is encoded decodes to itself, exactly once, and holds nothing that means something in a URI.
pub fn uri(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let raw = input.line();
    let text = String::from_utf8_lossy(input.rest());

    for text in [&*raw, &*text] {
        let (path, query) = (encode_path(text), encode_query(text));
        assert_eq!(decode(&path).as_deref(), Ok(text));
        assert_eq!(decode_plus(&query).as_deref(), Ok(text));
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~' | b'%');
        assert!(query.bytes().all(plain) && path.bytes().all(|c| plain(c) || c == b'/'));
        if !text.is_empty() {
            let target = Target::Object { bucket: "bucket".to_owned(), key: text.to_owned() };
            assert_eq!(split_path_style(&format!("/bucket/{path}")), Ok(target.clone()));
            assert_eq!(split_host_style("bucket", &format!("/{path}")), Ok(target));
            let source = CopySource::parse(&format!("bucket/{}", encode_query(text))).expect("it is encoded");
            assert_eq!(
                (source.bucket.as_str(), source.key.as_str(), source.version_id),
                ("bucket", text, None)
            );
        }
        let read = Query::parse(&format!("{query}={query}&b")).expect("it is encoded");
        let pairs: Vec<_> = read.iter().collect();
        assert_eq!(
            pairs,
            if text.is_empty() { vec![("", ""), ("b", "")] } else { vec![(text, text), ("b", "")] }
        );
    }

    if let Ok(decoded) = decode(&raw) {
        assert_eq!(decode(&encode_path(&decoded)).as_deref(), Ok(&*decoded));
        assert!(raw.contains('%') || decoded == raw);
    }
    match split_path_style(&raw) {
        Ok(Target::Object { bucket, key }) => {
            assert!(!key.is_empty() && !bucket.is_empty());
            let again = format!("/{}/{}", encode_query(&bucket), encode_path(&key));
            assert_eq!(split_path_style(&again), Ok(Target::Object { bucket, key }));
        }
        Ok(Target::Bucket { bucket }) => assert!(!bucket.is_empty()),
        Ok(Target::Service) => assert_eq!(raw, "/"),
        Err(_) => {}
    }
    if let Ok(query) = Query::parse(&raw) {
        let pair = |(name, value): (&str, &str)| format!("{}={}", encode_query(name), encode_query(value));
        let again = query.iter().map(pair).collect::<Vec<_>>().join("&");
        assert_eq!(Query::parse(&again), Ok(query));
    }
    if let Ok(source) = CopySource::parse(&raw) {
        assert!(!source.bucket.is_empty() && !source.key.is_empty());
        let version = source.version_id.as_deref().map(|id| format!("?versionId={}", encode_query(id)));
        let again = format!(
            "{}/{}{}",
            encode_query(&source.bucket),
            encode_query(&source.key),
            version.unwrap_or_default()
        );
        assert_eq!(CopySource::parse(&again), Ok(source));
    }
}
