use proptest::prelude::*;

use super::*;

fn object(key: &str) -> ListedObject {
    ListedObject {
        key: key.to_owned(),
        last_modified: Timestamp(1_369_353_600_123),
        etag: Some(ETag::strong("d41d8cd98f00b204e9800998ecf8427e").unwrap()),
        size_bytes: 5,
        storage_class: Some("STANDARD".to_owned()),
        owner: None,
    }
}

fn page(position: ListPosition, url_encoded: bool, names: &[&str]) -> ListPage {
    ListPage {
        bucket: "b".to_owned(),
        prefix: "p +/é".to_owned(),
        delimiter: Some("+/".to_owned()),
        max_keys: 7,
        url_encoded,
        is_truncated: true,
        position,
        objects: names.iter().map(|name| object(name)).collect(),
        common_prefixes: names.iter().map(|name| format!("{name}/")).collect(),
    }
}

fn v1() -> ListPosition {
    ListPosition::V1 { marker: "m é".to_owned(), next_marker: Some("n+ n".to_owned()) }
}

fn v2() -> ListPosition {
    ListPosition::V2 {
        continuation_token: Some("t+1/=".to_owned()),
        next_continuation_token: Some("t+2/=".to_owned()),
        start_after: Some("s a".to_owned()),
    }
}

const AWKWARD: [&str; 9] = ["a b", "a+b", "a%2Bb", "é", "\u{1F600}", "\"<&>'", "a\nb\r", " ", "//a"];

#[test]
fn pages_read_back_as_written() {
    for position in [v1(), v2()] {
        for url_encoded in [false, true] {
            let page = page(position.clone(), url_encoded, &AWKWARD);
            assert_eq!(parse_list_page(page.to_xml().as_bytes()).unwrap(), page);
        }
    }
    // Only url encoding carries what XML cannot.
    let page = page(v2(), true, &["\u{1}\u{0}\u{FFFF}"]);
    assert_eq!(parse_list_page(page.to_xml().as_bytes()).unwrap(), page);
}

#[test]
fn url_encoding_leaves_slashes_and_the_prefix_of_version_1() {
    let (one, two) = (page(v1(), true, &["a/b c+é"]).to_xml(), page(v2(), true, &["a/b c+é"]).to_xml());
    for xml in [&one, &two] {
        assert!(xml.contains("<Key>a/b%20c%2B%C3%A9</Key>"), "{xml}");
        assert!(xml.contains("<CommonPrefixes><Prefix>a/b%20c%2B%C3%A9/</Prefix></CommonPrefixes>"), "{xml}");
        assert!(xml.contains("<Delimiter>%2B/</Delimiter>"), "{xml}");
    }
    assert!(
        one.contains("<Prefix>p +/é</Prefix><Marker>m%20%C3%A9</Marker><NextMarker>n%2B%20n</NextMarker>"),
        "{one}"
    );
    assert!(two.contains("<Prefix>p%20%2B/%C3%A9</Prefix>"), "{two}");
    assert!(
        two.contains("<StartAfter>s%20a</StartAfter>") && two.contains("<KeyCount>2</KeyCount>"),
        "{two}"
    );
    assert!(two.contains("<NextContinuationToken>t+2/=</NextContinuationToken>"), "{two}");
}

#[test]
fn the_next_page_begins_where_this_one_says() {
    let mut page = page(v1(), false, &["a", "b"]);
    assert_eq!(page.next(), Some("n+ n"));
    page.position = ListPosition::V1 { marker: String::new(), next_marker: None };
    assert_eq!(page.next(), Some("b/"));
    page.common_prefixes.clear();
    assert_eq!(page.next(), Some("b"));
    page.position = v2();
    assert_eq!(page.next(), Some("t+2/="));
    page.is_truncated = false;
    assert_eq!(page.next(), None);
}

#[test]
fn a_page_as_aws_writes_it_is_read() {
    let xml = br#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix><KeyCount>1</KeyCount>
<MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>
<Contents><Key>a+b%2Bc/%C3%A9</Key><LastModified>2013-05-24T00:00:00.000Z</LastModified>
<ETag>&quot;70ee1738b6b21e2c8a43f3a5ab0eee71&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>
<Size>11</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"#;
    let page = parse_list_page(xml).unwrap();
    assert_eq!(page.objects[0].key, "a b+c/é");
    assert_eq!(page.objects[0].etag.as_ref().unwrap().value(), "70ee1738b6b21e2c8a43f3a5ab0eee71");
    assert!(matches!(page.position, ListPosition::V2 { .. }) && page.next().is_none());
}

/// moto encodes the names and not what it was asked for.
#[test]
fn what_was_asked_for_may_come_back_as_it_was_sent() {
    let encoded = page(v2(), true, &["a b", "100%"]).to_xml();
    let raw = [
        ("<Prefix>p%20%2B/%C3%A9</Prefix>", "<Prefix>100%</Prefix>"),
        ("<Delimiter>%2B/</Delimiter>", "<Delimiter>%/</Delimiter>"),
        ("<StartAfter>s%20a</StartAfter>", "<StartAfter>100% sure%</StartAfter>"),
    ];
    for (from, to) in raw {
        assert!(encoded.contains(from), "{encoded}");
        let read = parse_list_page(encoded.replacen(from, to, 1).as_bytes()).unwrap();
        assert_eq!(read.objects.iter().map(|o| o.key.as_str()).collect::<Vec<_>>(), ["a b", "100%"], "{to}");
    }
    let first = page(v1(), true, &["a b"]).to_xml();
    let marker = ("<Marker>m%20%C3%A9</Marker>", "<Marker>100%</Marker>");
    assert!(parse_list_page(first.replace(marker.0, marker.1).as_bytes()).is_ok());
    // Where the next page begins is no echo.
    let next = ("<NextMarker>n%2B%20n</NextMarker>", "<NextMarker>100%</NextMarker>");
    assert!(parse_list_page(first.replace(next.0, next.1).as_bytes()).is_err());
}

#[test]
fn a_page_that_is_not_whole_is_refused() {
    let whole = page(v2(), true, &["a"]).to_xml();
    assert!(parse_list_page(whole.as_bytes()).is_ok());
    let rows = [
        ("<Key>a</Key>", ""),
        ("<Key>a</Key>", "<Key>%FF</Key>"),
        ("<Key>a</Key>", "<Key>%a</Key>"),
        ("<Size>5</Size>", "<Size>five</Size>"),
        ("<IsTruncated>true</IsTruncated>", ""),
        ("<EncodingType>url", "<EncodingType>rot13"),
        ("</ListBucketResult>", ""),
        ("2013-05-24T", "2013-05-99T"),
    ];
    for (from, to) in rows {
        assert!(whole.contains(from), "{from}");
        assert!(parse_list_page(whole.replace(from, to).as_bytes()).is_err(), "{from} -> {to}");
    }
    assert!(parse_list_page(b"<Error><Code>NoSuchBucket</Code></Error>").is_err());
}

proptest! {
    #[test]
    fn any_names_read_back_with_url_encoding(names in proptest::collection::vec("(?s).{1,20}", 0..5), second: bool) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let page = page(if second { v2() } else { v1() }, true, &names);
        prop_assert_eq!(parse_list_page(page.to_xml().as_bytes()).unwrap(), page);
    }
}
