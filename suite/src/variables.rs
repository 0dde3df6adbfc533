//! What a case remembers: names that were drawn for it, and what its answers told.

use std::collections::BTreeMap;
use std::time::Duration;

use fallthrough_object::Timestamp;
use fallthrough_wire::date;

/// Texts by name. In requests and expectations `{name}` stands for them; a name that is not known stays as it is.
///
/// `{date-60}` is an HTTP date, `{iso+60}` an ISO 8601 date, `{amz-0}` the compact form of signatures, so many
/// seconds from now.
#[derive(Clone, Debug)]
pub(crate) struct Variables {
    texts: BTreeMap<String, String>,
    now: Timestamp,
}

impl Variables {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { texts: BTreeMap::new(), now }
    }

    pub(crate) fn set(&mut self, name: &str, text: impl Into<String>) {
        self.texts.insert(name.to_owned(), text.into());
    }

    /// What dates are reckoned from.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The text with what stands for something else replaced, once.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            rest = &rest[open..];
            let known = rest.find('}').and_then(|close| Some((close, self.value(&rest[1..close])?)));
            match known {
                Some((close, value)) => {
                    out.push_str(&value);
                    rest = &rest[close + 1..];
                }
                None => {
                    out.push('{');
                    rest = &rest[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&self, name: &str) -> Option<String> {
        if let Some(text) = self.texts.get(name) {
            return Some(text.clone());
        }
        let at = name.find(['+', '-'])?;
        let secs: i64 = name[at..].parse().ok()?;
        let moment = moved(self.now, secs);
        match &name[..at] {
            "date" => Some(date::format_http(moment)),
            "iso" => Some(date::format_iso(moment)),
            "amz" => Some(date::format_amz(moment)),
            _ => None,
        }
    }
}

/// A moment so many seconds later, or earlier.
pub(crate) fn moved(now: Timestamp, secs: i64) -> Timestamp {
    if secs < 0 {
        Timestamp(now.0.saturating_sub(secs.unsigned_abs() * 1000))
    } else {
        now.plus(Duration::from_secs(secs.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_replaced_once_and_others_stay() {
        let mut variables = Variables::new(Timestamp(1_700_000_000_000));
        variables.set("a", "{b}");
        variables.set("b", "x");
        let rows = [
            ("{a}{b}", "{b}x"),
            ("{c}{", "{c}{"),
            ("{{b}}", "{x}"),
            ("{date-10}", "Tue, 14 Nov 2023 22:13:10 GMT"),
            ("{amz+0}", "20231114T221320Z"),
            ("{date}{x-1}", "{date}{x-1}"),
        ];
        for (text, filled) in rows {
            assert_eq!(variables.fill(text), filled);
        }
    }
}
