//! Shadow rules, checked once and ready to match: which keys fall through, and by which name.

use fallthrough_object::Key;
use fallthrough_store::{BucketMode, BucketSettings, ListFrom, ShadowRule, ShadowTarget};
use regex::Regex;

use crate::engine::OriginKind;

/// A rule that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// As it was set.
    pub(crate) settings: ShadowRule,
    keys: Option<Regex>,
    template: (String, String),
    /// The origin's name for people: never an address.
    pub(crate) origin: String,
}

/// What a rule says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// It falls through under this name.
    As(Key),
    /// It is this rule's, but can never exist.
    Impossible,
    /// It is not this rule's.
    No,
}

impl Rule {
    /// Checks a rule.
    ///
    /// # Errors
    /// In words, with what would be right.
    pub(crate) fn check(settings: &ShadowRule) -> Result<Self, String> {
        let keys = match &settings.keys {
            None => None,
            Some(pattern) => Some(
                Regex::new(pattern)
                    .map_err(|error| format!("keys = {pattern:?} is not a regular expression: {error}"))?,
            ),
        };
        let template = settings.key.as_deref().unwrap_or("{key}");
        let Some((before, after)) = template.split_once("{key}") else {
            return Err(format!(
                "key = {template:?} must contain {{key}} once, so that two keys never become one"
            ));
        };
        if after.contains("{key}") {
            return Err(format!("key = {template:?} contains {{key}} twice; once is enough"));
        }
        let origin = match &settings.target {
            ShadowTarget::Origin { origin } => origin.clone(),
            ShadowTarget::S3 { name, .. } => format!("s3:{name}"),
            ShadowTarget::Http { .. } => "http".to_owned(),
        };
        Ok(Self { settings: settings.clone(), keys, template: (before.to_owned(), after.to_owned()), origin })
    }

    /// What the rule says of `key`.
    pub(crate) fn matches(&self, key: &Key) -> Match {
        if self.settings.prefix.as_deref().is_some_and(|prefix| !key.as_str().starts_with(prefix)) {
            return Match::No;
        }
        if self.keys.as_ref().is_some_and(|keys| !keys.is_match(key.as_str())) {
            return Match::Impossible;
        }
        let name = format!("{}{}{}", self.template.0, key.as_str(), self.template.1);
        // A name that is too long for any S3 origin can never exist there.
        Key::parse(&name).map_or(Match::Impossible, Match::As)
    }

    /// What stands before `{key}` in the origin's names, if nothing stands after it: then the origin's order
    /// is our order, and its list can be merged with ours.
    pub(crate) fn list_prefix(&self) -> Option<&str> {
        (self.template.1.is_empty() && self.keys.is_none()).then_some(self.template.0.as_str())
    }
}

/// Why a bucket's settings do not fit together, with what would be right; `None` if they do.
pub(crate) fn settings_fault(settings: &BucketSettings) -> Option<String> {
    match (settings.mode, settings.shadow.is_empty()) {
        (BucketMode::Plain, false) => {
            return Some("a plain bucket has no shadow; choose mode migrate, cache or compute".to_owned());
        }
        (BucketMode::Migrate | BucketMode::Cache | BucketMode::Compute, _) | (BucketMode::Plain, true) => {}
    }
    if settings.shadow.len() > 1 {
        return Some("several shadow rules on one bucket are not offered yet; give one".to_owned());
    }
    for rule in &settings.shadow {
        let checked = match Rule::check(rule) {
            Ok(checked) => checked,
            Err(fault) => return Some(fault),
        };
        if let Some(fault) = through_fault(rule, settings.mode) {
            return Some(fault.to_owned());
        }
        if rule.list == Some(ListFrom::Merged) {
            if checked.list_prefix().is_none() {
                return Some(
                    "list = \"merged\" needs a rule whose names keep our order: no keys = …, and {key} last in key = …; or set list = \"local\""
                        .to_owned(),
                );
            }
            if settings.mode == BucketMode::Compute {
                return Some(
                    "a compute origin has no list to merge; set list = \"local\" or leave it out".to_owned(),
                );
            }
        }
    }
    None
}

/// Why what clients write and delete cannot go through to the origin, with what would be right.
fn through_fault(rule: &ShadowRule, mode: BucketMode) -> Option<&'static str> {
    match mode {
        _ if !rule.goes_through() => None,
        BucketMode::Plain | BucketMode::Migrate => None,
        BucketMode::Cache => Some(
            "write-through and delete-through are for mode migrate: in cache mode what is written here is never \
             compared with the origin again",
        ),
        BucketMode::Compute => Some(
            "write-through and delete-through are for mode migrate: a compute origin is a function of the key and \
             keeps nothing",
        ),
    }
}

/// Whether LIST merges the shadow's keys: where the mode asks for it, the rule allows it, and the origin's
/// kind has a list.
pub(crate) fn merged_list(settings: &BucketSettings, rule: &Rule, kind: OriginKind) -> bool {
    match rule.settings.list {
        Some(ListFrom::Merged) => true,
        Some(ListFrom::Local) => false,
        None => {
            matches!(settings.mode, BucketMode::Migrate | BucketMode::Cache)
                && rule.list_prefix().is_some()
                && kind == OriginKind::Provider
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(change: impl FnOnce(&mut ShadowRule)) -> ShadowRule {
        let mut rule = ShadowRule::to(ShadowTarget::Origin { origin: "o".into() });
        change(&mut rule);
        rule
    }

    fn key(raw: &str) -> Key {
        Key::parse(raw).unwrap()
    }

    #[test]
    fn keys_are_renamed_by_the_template() {
        let plain = Rule::check(&rule(|_| ())).unwrap();
        assert_eq!(plain.matches(&key("a/b")), Match::As(key("a/b")));
        let renamed = Rule::check(&rule(|r| r.key = Some("old/{key}.bak".into()))).unwrap();
        assert_eq!(renamed.matches(&key("a")), Match::As(key("old/a.bak")));
        assert_eq!(renamed.list_prefix(), None);
        assert_eq!(renamed.matches(&key(&"k".repeat(1020))), Match::Impossible);
    }

    #[test]
    fn prefix_and_pattern_decide() {
        let rule = Rule::check(&rule(|r| {
            r.prefix = Some("img/".into());
            r.keys = Some("^img/[0-9a-f]+$".into());
        }))
        .unwrap();
        assert_eq!(rule.matches(&key("doc/1")), Match::No);
        assert_eq!(rule.matches(&key("img/zz")), Match::Impossible);
        assert_eq!(rule.matches(&key("img/0f")), Match::As(key("img/0f")));
    }

    #[test]
    fn faults_are_named() {
        let of = |mode, shadow| BucketSettings { mode, shadow, ..BucketSettings::default() };
        assert_eq!(settings_fault(&of(BucketMode::Migrate, vec![rule(|_| ())])), None);
        assert_eq!(settings_fault(&of(BucketMode::Plain, vec![])), None);
        for (settings, says) in [
            (of(BucketMode::Plain, vec![rule(|_| ())]), "plain"),
            (of(BucketMode::Cache, vec![rule(|_| ()), rule(|_| ())]), "several"),
            (of(BucketMode::Cache, vec![rule(|r| r.keys = Some("(".into()))]), "regular expression"),
            (of(BucketMode::Cache, vec![rule(|r| r.key = Some("x".into()))]), "{key}"),
            (of(BucketMode::Compute, vec![rule(|r| r.list = Some(ListFrom::Merged))]), "compute"),
            (
                of(
                    BucketMode::Cache,
                    vec![rule(|r| {
                        r.list = Some(ListFrom::Merged);
                        r.key = Some("{key}.x".into());
                    })],
                ),
                "order",
            ),
        ] {
            assert!(settings_fault(&settings).is_some_and(|fault| fault.contains(says)), "{says}");
        }
    }
}
