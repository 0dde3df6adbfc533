//! The policy of a POST form: what its maker lets others do with it. All of it is enforced.
//!
//! Every field must be covered by a condition that it meets, but for the signature, the file, the policy itself and
//! those that begin with `x-ignore-`: a field that the policy does not speak of may not be there.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fallthrough_object::{Mutant, Timestamp, planted};
use fallthrough_wire::date::parse_iso;
use fallthrough_wire::{S3Code, S3Error};
use serde_json::Value;

/// Fields that no condition has to cover.
const UNCOVERED: [&str; 5] = ["x-amz-signature", "file", "policy", "awsaccesskeyid", "signature"];

/// A policy that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    expires: Timestamp,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// The field, its name in lower case, is this.
    Equal(String, String),
    /// It begins so.
    StartsWith(String, String),
    /// The file has so many bytes, both included.
    Length(u64, u64),
}

/// How long a file may be, in bytes, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Policy {
    /// Reads the form's field `policy`.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`.
    pub(crate) fn parse(base64: &str) -> Result<Self, S3Error> {
        let invalid = |what: &str| {
            S3Error::with_message(S3Code::InvalidPolicyDocument, format!("Invalid Policy: {what}."))
        };
        let bytes = STANDARD.decode(base64.trim()).map_err(|_| invalid("it is not base64"))?;
        let Ok(Value::Object(document)) = serde_json::from_slice(&bytes) else {
            return Err(invalid("Invalid JSON"));
        };
        let expires = document.get("expiration").and_then(Value::as_str).and_then(parse_iso);
        let expires = expires.ok_or_else(|| invalid("it has no valid expiration"))?;
        let Some(Value::Array(rows)) = document.get("conditions") else {
            return Err(invalid("it has no list of conditions"));
        };
        let conditions = rows.iter().map(|row| condition(row).map_err(&invalid));
        Ok(Self { expires, conditions: conditions.collect::<Result<_, _>>()? })
    }

    /// Whether a form with these fields may be used now. `fields` holds the key as it will be stored; the bucket is
    /// taken for one more field. Returns how long the file may be.
    ///
    /// # Errors
    /// `AccessDenied` with what is not met.
    pub(crate) fn check(
        &self,
        fields: &[(String, String)],
        bucket: &str,
        now: Timestamp,
    ) -> Result<Lengths, S3Error> {
        if now >= self.expires && !planted(Mutant::PolicyNeverExpires) {
            return Err(denied("Policy expired."));
        }
        let bucket = ("bucket".to_owned(), bucket.to_owned());
        let all = || {
            fields
                .iter()
                .chain(std::iter::once(&bucket))
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
        };
        for (name, _) in all() {
            let covered = self.conditions.iter().any(|condition| match condition {
                Condition::Equal(field, _) | Condition::StartsWith(field, _) => *field == name,
                Condition::Length(..) => false,
            });
            let free = UNCOVERED.contains(&name.as_str())
                || ["x-ignore-", "x-amz-checksum-"].iter().any(|begin| name.starts_with(begin));
            if !covered && !free && !planted(Mutant::ExtraFieldAccepted) {
                return Err(denied(&format!("Extra input fields: {name}")));
            }
        }
        let mut lengths = Lengths { min: 0, max: u64::MAX };
        for condition in &self.conditions {
            let (field, met): (_, &dyn Fn(&str) -> bool) = match condition {
                Condition::Length(min, max) => {
                    lengths = Lengths { min: lengths.min.max(*min), max: lengths.max.min(*max) };
                    continue;
                }
                Condition::Equal(field, wanted) => (field, &move |value| value == wanted),
                Condition::StartsWith(field, wanted) => (field, &move |value| {
                    // A list of types must begin so with each.
                    let is_list = field == "content-type";
                    let mut parts = value.split(',').map(str::trim);
                    (value.starts_with(wanted)
                        && (!is_list || parts.all(|part| part.starts_with(wanted.as_str()))))
                        || planted(Mutant::StartsWithAnything)
                }),
            };
            // A field that is not there meets nothing.
            if !all().any(|(name, value)| name == *field && met(value)) {
                return Err(denied(&format!("Policy Condition failed: {}", condition.shown())));
            }
        }
        Ok(lengths)
    }
}

impl Condition {
    fn shown(&self) -> String {
        match self {
            Self::Equal(field, value) => format!("[\"eq\", \"${field}\", \"{value}\"]"),
            Self::StartsWith(field, value) => format!("[\"starts-with\", \"${field}\", \"{value}\"]"),
            Self::Length(min, max) => format!("[\"content-length-range\", {min}, {max}]"),
        }
    }
}

fn denied(what: &str) -> S3Error {
    S3Error::with_message(S3Code::AccessDenied, format!("Invalid according to Policy: {what}"))
}

fn condition(row: &Value) -> Result<Condition, &'static str> {
    match row {
        Value::Object(fields) if fields.len() == 1 => {
            let (name, value) = fields.iter().next().ok_or("a condition is empty")?;
            Ok(Condition::Equal(name.to_ascii_lowercase(), text(value)?))
        }
        Value::Object(_) => Err("Simple-Conditions must have exactly one property specified"),
        Value::Array(parts) => {
            let [operator, field, value] = parts.as_slice() else {
                return Err("a condition has not three parts");
            };
            let operator = operator.as_str().ok_or("an operator is not text")?.to_ascii_lowercase();
            if operator == "content-length-range" {
                let (min, max) = (number(field)?, number(value)?);
                return if min <= max {
                    Ok(Condition::Length(min, max))
                } else {
                    Err("a range ends before it begins")
                };
            }
            let field = field.as_str().and_then(|field| field.strip_prefix('$'));
            let field = field.ok_or("a field does not begin with a dollar sign")?.to_ascii_lowercase();
            match operator.as_str() {
                "eq" => Ok(Condition::Equal(field, text(value)?)),
                "starts-with" => Ok(Condition::StartsWith(field, text(value)?)),
                _ => Err("an operator is unknown"),
            }
        }
        _ => Err("a condition is neither an object nor a list"),
    }
}

/// Text, or a number as text.
fn text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("a value is not text"),
    }
}

fn number(value: &Value) -> Result<u64, &'static str> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number.ok_or("a length is not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Policy, S3Code> {
        Policy::parse(&STANDARD.encode(json)).map_err(|error| error.code)
    }

    fn with(conditions: &str) -> String {
        format!("{{\"expiration\": \"2030-01-01T00:00:00Z\", \"conditions\": [{conditions}]}}")
    }

    #[test]
    fn policies_that_are_none_are_refused() {
        let rows = [
            "",
            "[]",
            "{\"conditions\": []}",
            "{\"expiration\": \"2030-01-01T00:00:00Z\"}",
            "{\"EXPIRATION\": \"2030-01-01T00:00:00Z\", \"conditions\": []}",
            "{\"expiration\": \"tomorrow\", \"conditions\": []}",
            "{\"expiration\": 5, \"conditions\": []}",
            &with("{}"),
            &with("{\"a\": \"b\", \"c\": \"d\"}"),
            &with("[\"eq\", \"$a\"]"),
            &with("[\"eq\", \"a\", \"b\"]"),
            &with("[\"ends-with\", \"$a\", \"b\"]"),
            &with("[\"content-length-range\", 0]"),
            &with("[\"content-length-range\", -1, 0]"),
            &with("[\"content-length-range\", 5, 4]"),
            &with("[\"eq\", \"$a\", null]"),
            &with("5"),
        ];
        for json in rows {
            assert_eq!(parse(json), Err(S3Code::InvalidPolicyDocument), "{json}");
        }
        assert!(Policy::parse("!").is_err());
    }

    /// What a row does to the fields of a good form.
    type Change<'a> = dyn Fn(&mut Vec<(String, String)>) + 'a;

    #[test]
    fn every_field_is_covered_and_every_condition_met() {
        let policy = parse(&with(
            "{\"bUcKeT\": \"photos\"}, [\"StArTs-WiTh\", \"$KeY\", \"user/\"], [\"eq\", \"$acl\", \"private\"], \
             [\"starts-with\", \"$Content-Type\", \"image/\"], [\"starts-with\", \"$x-amz-meta-a\", \"\"], \
             [\"content-length-range\", 1, \"10\"], [\"content-length-range\", 0, 8]",
        ))
        .unwrap();
        let good = [
            ("Key", "user/a"),
            ("acl", "private"),
            ("content-type", "image/png"),
            ("X-Amz-Meta-A", ""),
            ("x-ignore-b", "c"),
            ("policy", "p"),
            ("x-amz-signature", "s"),
        ];
        let check = |change: &Change<'_>, bucket: &str, now: u64| {
            let mut fields: Vec<(String, String)> =
                good.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            change(&mut fields);
            policy.check(&fields, bucket, Timestamp(now)).map_err(|error| error.code)
        };
        assert_eq!(check(&|_| (), "photos", 0), Ok(Lengths { min: 1, max: 8 }));
        let denied = Err(S3Code::AccessDenied);
        assert_eq!(check(&|_| (), "other", 0), denied);
        assert_eq!(check(&|_| (), "photos", 1_893_456_000_000), denied);
        assert!(check(&|_| (), "photos", 1_893_455_999_999).is_ok());
        for (at, value) in [(0, "a"), (1, "public-read"), (2, "text/html"), (2, "image/png, text/html")] {
            assert_eq!(check(&|fields| fields[at].1 = value.to_owned(), "photos", 0), denied, "{value}");
        }
        for at in 0..4 {
            let without = |fields: &mut Vec<(String, String)>| drop(fields.remove(at));
            assert_eq!(check(&without, "photos", 0), denied, "{at}");
        }
        for extra in ["x-amz-meta-b", "tagging", "success_action_redirect", "x-amz-algorithm"] {
            let with = |fields: &mut Vec<(String, String)>| fields.push((extra.to_owned(), String::new()));
            assert_eq!(check(&with, "photos", 0), denied, "{extra}");
        }
    }

    #[test]
    fn a_policy_that_does_not_name_its_bucket_is_for_none() {
        let policy = parse(&with("[\"starts-with\", \"$key\", \"\"]")).unwrap();
        assert!(policy.check(&[("key".to_owned(), "k".to_owned())], "photos", Timestamp(0)).is_err());
    }
}
