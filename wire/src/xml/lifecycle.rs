//! Lifecycle rules of a bucket: the document, read and written.
//!
//! What is offered: expiry by age or date, for a prefix, tags and sizes, and the abort of uploads that nobody
//! completes. What concerns older versions is kept and has nothing to act on; transitions are refused, since there is
//! nowhere to move to.

use std::collections::BTreeSet;

use fallthrough_object::{LifecycleFilter, LifecycleRule, Tag, Timestamp};

use super::tree::{self, Element};
use super::write::XmlWriter;
use crate::date;
use crate::error::{S3Code, S3Error};

/// Most rules of one bucket, as S3.
pub const LIFECYCLE_RULES_MAX: usize = 1000;
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
const ID_CHARS_MAX: usize = 255;
const PREFIX_BYTES_MAX: usize = 1024;
const DAY_MILLIS: u64 = 86_400_000;

/// Reads a lifecycle configuration. A rule without a name gets one.
///
/// # Errors
/// `MalformedXML`; `InvalidArgument`, `InvalidRequest` and `InvalidTag` for what S3 does not take; `NotImplemented` for
/// what is not offered.
pub fn parse_lifecycle(document: &[u8]) -> Result<Vec<LifecycleRule>, S3Error> {
    let root = tree::parse(document, DOCUMENT_BYTES_MAX)?;
    if !matches!(root.name.as_str(), "LifecycleConfiguration" | "BucketLifecycleConfiguration") {
        return Err(malformed());
    }
    let rows: Vec<&Element> = root.children_named("Rule").collect();
    if rows.is_empty() || rows.len() != root.children.len() {
        return Err(malformed());
    }
    if rows.len() > LIFECYCLE_RULES_MAX {
        return Err(refused("The number of lifecycle rules must not exceed the allowed limit of 1000 rules"));
    }
    let mut rules = rows.into_iter().map(parse_rule).collect::<Result<Vec<_>, _>>()?;
    name_all(&mut rules)?;
    Ok(rules)
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedXml)
}

fn refused(message: &'static str) -> S3Error {
    S3Error::with_message(S3Code::InvalidRequest, message)
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::with_message(S3Code::InvalidArgument, message)
}

fn not_offered(message: &'static str) -> S3Error {
    S3Error::with_message(S3Code::NotImplemented, message)
}

/// Names are unique; who gave none gets the first number that is free.
fn name_all(rules: &mut [LifecycleRule]) -> Result<(), S3Error> {
    let mut names = BTreeSet::new();
    for rule in rules.iter().filter(|rule| !rule.id.is_empty()) {
        if !names.insert(rule.id.clone()) {
            return Err(invalid("Rule ID must be unique. Found same ID for more than one rule"));
        }
    }
    let mut number = 0_u32;
    for rule in rules.iter_mut().filter(|rule| rule.id.is_empty()) {
        while rule.id.is_empty() || !names.insert(rule.id.clone()) {
            number += 1;
            rule.id = format!("rule-{number}");
        }
    }
    Ok(())
}

fn parse_rule(element: &Element) -> Result<LifecycleRule, S3Error> {
    let mut rule = LifecycleRule::default();
    let (mut status, mut filters, mut expirations, mut aborts) = (None, 0, 0, 0);
    for child in &element.children {
        match child.name.as_str() {
            "ID" if child.text.chars().count() > ID_CHARS_MAX => {
                return Err(invalid("ID length should not exceed allowed limit of 255"));
            }
            "ID" => rule.id.clone_from(&child.text),
            "Status" => {
                status = Some(match child.text.trim() {
                    "Enabled" => true,
                    "Disabled" => false,
                    _ => return Err(malformed()),
                });
            }
            "Prefix" => {
                filters += 1;
                rule.old_prefix = true;
                rule.filter.prefix = Some(prefix(&child.text)?);
            }
            "Filter" => {
                filters += 1;
                rule.filter = parse_filter(child)?;
            }
            "Expiration" => {
                expirations += 1;
                expiration(child, &mut rule)?;
            }
            "AbortIncompleteMultipartUpload" => {
                aborts += 1;
                let text = child.child_text("DaysAfterInitiation").ok_or_else(malformed)?;
                let message = "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer";
                rule.abort_uploads_days = Some(days(text, message)?);
            }
            "Transition" => {
                return Err(not_offered("Transitions are not offered: there is one storage class."));
            }
            "NoncurrentVersionExpiration" => noncurrent(child, &mut rule)?,
            "NoncurrentVersionTransition" => {
                return Err(not_offered("Transitions are not offered: there is one storage class."));
            }
            _ => return Err(malformed()),
        }
    }
    rule.enabled = status.ok_or_else(malformed)?;
    if filters != 1 || expirations > 1 || aborts > 1 {
        return Err(malformed());
    }
    let acts = rule.expire_days.is_some()
        || rule.expire_at.is_some()
        || rule.abort_uploads_days.is_some()
        || rule.expired_delete_marker.is_some()
        || rule.noncurrent_days.is_some()
        || rule.newer_noncurrent.is_some();
    if !acts {
        return Err(refused("At least one action needs to be specified in a rule"));
    }
    if rule.abort_uploads_days.is_some() {
        if !rule.filter.tags.is_empty() {
            return Err(refused("AbortIncompleteMultipartUpload cannot be specified with Tags."));
        }
        if rule.filter.larger_than_bytes.is_some() || rule.filter.smaller_than_bytes.is_some() {
            return Err(refused("AbortIncompleteMultipartUpload cannot be specified with object sizes."));
        }
    }
    Ok(rule)
}

fn expiration(element: &Element, rule: &mut LifecycleRule) -> Result<(), S3Error> {
    let [only] = element.children.as_slice() else { return Err(malformed()) };
    match only.name.as_str() {
        "Days" => {
            let message = "'Days' for Expiration action must be a positive integer";
            rule.expire_days = Some(days(&only.text, message)?);
        }
        "Date" => rule.expire_at = Some(midnight(&only.text)?),
        "ExpiredObjectDeleteMarker" => {
            rule.expired_delete_marker = Some(match only.text.trim() {
                "true" => true,
                "false" => false,
                _ => return Err(malformed()),
            });
        }
        _ => return Err(malformed()),
    }
    Ok(())
}

/// What happens to older versions: there are none, so that it is only kept.
fn noncurrent(element: &Element, rule: &mut LifecycleRule) -> Result<(), S3Error> {
    let message = "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer";
    for child in &element.children {
        let number = days(&child.text, message)?;
        match child.name.as_str() {
            "NoncurrentDays" => rule.noncurrent_days = Some(number),
            "NewerNoncurrentVersions" => rule.newer_noncurrent = Some(number),
            _ => return Err(malformed()),
        }
    }
    Ok(())
}

fn days(text: &str, message: &'static str) -> Result<u32, S3Error> {
    let number: i64 = text.trim().parse().map_err(|_| malformed())?;
    u32::try_from(number)
        .ok()
        .filter(|days| (1..=i32::MAX.unsigned_abs()).contains(days))
        .ok_or_else(|| invalid(message))
}

/// A date, with its time or without it, which must be midnight UTC.
fn midnight(text: &str) -> Result<Timestamp, S3Error> {
    let text = text.trim();
    let moment = date::parse_iso(text).or_else(|| date::parse_iso(&format!("{text}T00:00:00Z")));
    let moment = moment.ok_or_else(malformed)?;
    if moment.0.is_multiple_of(DAY_MILLIS) {
        Ok(moment)
    } else {
        Err(invalid("'Date' must be at midnight GMT"))
    }
}

fn prefix(text: &str) -> Result<String, S3Error> {
    if text.len() > PREFIX_BYTES_MAX {
        return Err(refused("The maximum size of a prefix is 1024."));
    }
    Ok(text.to_owned())
}

fn parse_filter(element: &Element) -> Result<LifecycleFilter, S3Error> {
    let mut filter = LifecycleFilter::default();
    for child in &element.children {
        match child.name.as_str() {
            "And" if child.children.len() < 2 => return Err(malformed()),
            "And" => child.children.iter().try_for_each(|child| condition(child, &mut filter))?,
            // Several side by side mean what they mean within And: some clients write them so.
            _ => condition(child, &mut filter)?,
        }
    }
    if let (Some(more), Some(less)) = (filter.larger_than_bytes, filter.smaller_than_bytes)
        && more >= less
    {
        return Err(refused("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'"));
    }
    Ok(filter)
}

fn condition(element: &Element, filter: &mut LifecycleFilter) -> Result<(), S3Error> {
    let number = |taken: Option<u64>| match element.text.trim().parse() {
        Ok(number) if taken.is_none() => Ok(Some(number)),
        Ok(_) | Err(_) => Err(malformed()),
    };
    match element.name.as_str() {
        "Prefix" if filter.prefix.is_none() => filter.prefix = Some(prefix(&element.text)?),
        "ObjectSizeGreaterThan" => filter.larger_than_bytes = number(filter.larger_than_bytes)?,
        "ObjectSizeLessThan" => filter.smaller_than_bytes = number(filter.smaller_than_bytes)?,
        "Tag" => {
            let (Some(key), Some(value)) = (element.child_text("Key"), element.child_text("Value")) else {
                return Err(malformed());
            };
            if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
                return Err(S3Error::with_message(
                    S3Code::InvalidTag,
                    "The Tag you have provided is invalid",
                ));
            }
            if filter.tags.iter().any(|tag| tag.key == key) {
                return Err(refused("Duplicate Tag Keys are not allowed."));
            }
            filter.tags.push(Tag { key: key.to_owned(), value: value.to_owned() });
        }
        _ => return Err(malformed()),
    }
    Ok(())
}

/// Writes a lifecycle configuration.
pub fn lifecycle_document(rules: &[LifecycleRule]) -> String {
    let mut xml = XmlWriter::new();
    xml.open_root("LifecycleConfiguration");
    for rule in rules {
        xml.open("Rule");
        xml.element("ID", &rule.id);
        if rule.old_prefix {
            xml.element("Prefix", rule.filter.prefix.as_deref().unwrap_or_default());
        } else {
            write_filter(&rule.filter, &mut xml);
        }
        xml.element("Status", if rule.enabled { "Enabled" } else { "Disabled" });
        if rule.expire_days.is_some() || rule.expire_at.is_some() || rule.expired_delete_marker.is_some() {
            xml.open("Expiration");
            if let Some(days) = rule.expire_days {
                xml.number("Days", days.into());
            }
            xml.optional("Date", rule.expire_at.map(date::format_iso).as_deref());
            if let Some(marker) = rule.expired_delete_marker {
                xml.flag("ExpiredObjectDeleteMarker", marker);
            }
            xml.close("Expiration");
        }
        if rule.noncurrent_days.is_some() || rule.newer_noncurrent.is_some() {
            xml.open("NoncurrentVersionExpiration");
            let numbers = [
                ("NoncurrentDays", rule.noncurrent_days),
                ("NewerNoncurrentVersions", rule.newer_noncurrent),
            ];
            for (name, number) in numbers {
                if let Some(number) = number {
                    xml.number(name, number.into());
                }
            }
            xml.close("NoncurrentVersionExpiration");
        }
        if let Some(days) = rule.abort_uploads_days {
            xml.open("AbortIncompleteMultipartUpload");
            xml.number("DaysAfterInitiation", days.into());
            xml.close("AbortIncompleteMultipartUpload");
        }
        xml.close("Rule");
    }
    xml.close("LifecycleConfiguration");
    xml.finish()
}

fn write_filter(filter: &LifecycleFilter, xml: &mut XmlWriter) {
    let sizes = [
        ("ObjectSizeGreaterThan", filter.larger_than_bytes),
        ("ObjectSizeLessThan", filter.smaller_than_bytes),
    ];
    let conditions = usize::from(filter.prefix.is_some())
        + filter.tags.len()
        + sizes.iter().filter(|(_, size)| size.is_some()).count();
    xml.open("Filter");
    if conditions > 1 {
        xml.open("And");
    }
    xml.optional("Prefix", filter.prefix.as_deref());
    for tag in &filter.tags {
        xml.open("Tag");
        xml.element("Key", &tag.key);
        xml.element("Value", &tag.value);
        xml.close("Tag");
    }
    for (name, size) in sizes {
        if let Some(size) = size {
            xml.number(name, size);
        }
    }
    if conditions > 1 {
        xml.close("And");
    }
    xml.close("Filter");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rules: &str) -> String {
        format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")
    }

    const DAYS: &str = "<Expiration><Days>3</Days></Expiration>";

    fn rule(filter: &str, actions: &str) -> String {
        document(&format!("<Rule><ID>r</ID>{filter}<Status>Enabled</Status>{actions}</Rule>"))
    }

    #[test]
    fn what_is_read_is_written_and_reads_back() {
        let filters = [
            "<Prefix>a&amp;b/</Prefix>",
            "<Prefix/>",
            "<Filter/>",
            "<Filter><Prefix>a/</Prefix></Filter>",
            "<Filter><Tag><Key>k</Key><Value></Value></Tag></Filter>",
            "<Filter><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></Filter>",
            "<Filter><And><Prefix>p</Prefix><Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value>2</Value></Tag>\
             <ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>",
        ];
        let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
        let date = "<Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration>";
        for filter in filters {
            for actions in [DAYS, date] {
                let rules = parse_lifecycle(rule(filter, actions).as_bytes()).unwrap();
                assert_eq!(
                    parse_lifecycle(lifecycle_document(&rules).as_bytes()).unwrap(),
                    rules,
                    "{filter}"
                );
            }
        }
        let rules = parse_lifecycle(rule("<Filter/>", abort).as_bytes()).unwrap();
        assert_eq!((rules[0].abort_uploads_days, rules[0].expire_days), (Some(7), None));
    }

    #[test]
    fn rules_without_a_name_get_one() {
        let bare = |id: &str| format!("<Rule>{id}<Prefix/><Status>Enabled</Status>{DAYS}</Rule>");
        let text = document(&[bare(""), bare("<ID>rule-1</ID>"), bare("")].concat());
        let rules = parse_lifecycle(text.as_bytes()).unwrap();
        let names: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
        assert_eq!(names, ["rule-2", "rule-1", "rule-3"]);
    }

    #[test]
    fn what_s3_does_not_take_is_refused() {
        let expiration = |inner: &str| rule("<Filter/>", &format!("<Expiration>{inner}</Expiration>"));
        let filter = |inner: &str| rule(&format!("<Filter>{inner}</Filter>"), DAYS);
        let status = |word: &str| document(&format!("<Rule><Prefix/><Status>{word}</Status>{DAYS}</Rule>"));
        let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
        let one = format!("<Rule><ID>x</ID><Prefix/><Status>Enabled</Status>{DAYS}</Rule>");
        let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
        let rows = [
            (document(""), "MalformedXML"),
            ("<Other/>".to_owned(), "MalformedXML"),
            (status("enabled"), "MalformedXML"),
            (rule("", DAYS), "MalformedXML"),
            (rule("<Prefix/><Filter/>", DAYS), "MalformedXML"),
            (rule("<Filter/>", ""), "InvalidRequest"),
            (document(&one.repeat(2)), "InvalidArgument"),
            (document(&one.replace("<ID>x", &format!("<ID>{}", "x".repeat(256)))), "InvalidArgument"),
            (expiration("<Days>0</Days>"), "InvalidArgument"),
            (expiration("<Days>-1</Days>"), "InvalidArgument"),
            (expiration("<Days>x</Days>"), "MalformedXML"),
            (expiration("<Days>1</Days><Date>2030-01-01T00:00:00Z</Date>"), "MalformedXML"),
            (expiration("<Date>2030-01-01T00:00:01Z</Date>"), "InvalidArgument"),
            (expiration("<Date>20300101</Date>"), "MalformedXML"),
            (expiration(""), "MalformedXML"),
            (expiration("<ExpiredObjectDeleteMarker>maybe</ExpiredObjectDeleteMarker>"), "MalformedXML"),
            (rule("<Filter/>", "<Transition><Days>1</Days></Transition>"), "NotImplemented"),
            (rule("<Filter/>", "<NoncurrentVersionExpiration/>"), "InvalidRequest"),
            (filter("<Prefix>a</Prefix><Prefix>b</Prefix>"), "MalformedXML"),
            (filter("<And><Prefix>a</Prefix></And>"), "MalformedXML"),
            (filter(&format!("<And>{tag}{tag}</And>")), "InvalidRequest"),
            (filter("<Tag><Key></Key><Value>v</Value></Tag>"), "InvalidTag"),
            (
                filter(
                    "<And><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And>",
                ),
                "InvalidRequest",
            ),
            (rule(&format!("<Filter>{tag}</Filter>"), abort), "InvalidRequest"),
            (filter(&format!("<Prefix>{}</Prefix>", "p".repeat(1025))), "InvalidRequest"),
        ];
        for (text, code) in rows {
            assert_eq!(parse_lifecycle(text.as_bytes()).unwrap_err().code.as_str(), code, "{text}");
        }
    }
}
