//! Shadow rules, checked once and ready to match: which keys fall through, and by which name.

use fallthrough_object::Key;
use fallthrough_store::{BucketMode, BucketSettings, ListFrom, ShadowRule, ShadowTarget};
use regex::Regex;

use crate::core::extras;
use crate::engine::OriginKind;

/// Each is looked at for every cold key.
const MAX_RULES: usize = 64;
/// Places that one rule may lead to.
const MAX_MEMBERS: usize = 8;
/// The shortest time for which an inventory is believed.
const INVENTORY_SECS_MIN: u64 = 60;

/// A rule that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// As it was set.
    pub(crate) settings: ShadowRule,
    matches: Option<Regex>,
    keys: Option<Regex>,
    name: Template,
    /// The origin's name for people: never an address.
    pub(crate) origin: String,
}

/// How the origin's name of a key is made: text, the key or what of it follows the rule's prefix, text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    before: String,
    /// Whether the rule's prefix is left away.
    rest: bool,
    after: String,
}

/// How names here and at the origin belong together where their order is the same: they differ in how they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renaming<'a> {
    ours: &'a str,
    theirs: &'a str,
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
        let matches = regex("matches", settings.matches.as_deref())?;
        let keys = regex("keys", settings.keys.as_deref())?;
        let name = Template::read(settings.key.as_deref().unwrap_or("{key}"))?;
        let origin = place_name(&settings.target);
        Ok(Self { settings: settings.clone(), matches, keys, name, origin })
    }

    /// Whether `key` is this rule's.
    pub(crate) fn takes(&self, key: &Key) -> bool {
        let (prefix, suffix) = (self.settings.prefix.as_deref(), self.settings.suffix.as_deref());
        prefix.is_none_or(|prefix| key.as_str().starts_with(prefix))
            && suffix.is_none_or(|suffix| key.as_str().ends_with(suffix))
            && self.matches.as_ref().is_none_or(|matches| matches.is_match(key.as_str()))
    }

    /// Whether every key that begins with `prefix` is this rule's.
    pub(crate) fn takes_all(&self, prefix: &str) -> bool {
        self.settings.suffix.is_none() && self.matches.is_none() && prefix.starts_with(self.prefix())
    }

    /// How the keys begin that can be this rule's.
    pub(crate) fn prefix(&self) -> &str {
        self.settings.prefix.as_deref().unwrap_or_default()
    }

    /// How all keys begin that are this rule's and begin with `asked`; `None`: there can be none.
    pub(crate) fn common_prefix<'a>(&'a self, asked: &'a str) -> Option<&'a str> {
        let own = self.prefix();
        if own.starts_with(asked) { Some(own) } else { asked.starts_with(own).then_some(asked) }
    }

    /// What the rule says of `key`.
    pub(crate) fn matches(&self, key: &Key) -> Match {
        if !self.takes(key) {
            return Match::No;
        }
        if self.keys.as_ref().is_some_and(|keys| !keys.is_match(key.as_str())) {
            return Match::Impossible;
        }
        self.name_of(key).map_or(Match::Impossible, Match::As)
    }

    /// The origin's name of a key of this rule; `None` for one that is empty, or too long for any S3 origin: it can never
    /// exist there.
    pub(crate) fn name_of(&self, key: &Key) -> Option<Key> {
        let Template { before, rest, after } = &self.name;
        let kept = if *rest { key.as_str().get(self.prefix().len()..)? } else { key.as_str() };
        Key::parse(&format!("{before}{kept}{after}")).ok()
    }

    /// How names belong together if the origin's order is ours and all that the origin lists under its prefix is this
    /// rule's: then its list can be merged with ours.
    pub(crate) fn renaming(&self) -> Option<Renaming<'_>> {
        let ordered = self.name.after.is_empty()
            && self.keys.is_none()
            && self.matches.is_none()
            && self.settings.suffix.is_none();
        let ours = if self.name.rest { self.prefix() } else { "" };
        ordered.then_some(Renaming { ours, theirs: &self.name.before })
    }
}

impl Template {
    fn read(text: &str) -> Result<Self, String> {
        let placeholder = if text.contains("{rest}") { "{rest}" } else { "{key}" };
        let parts: Vec<&str> = text.split(placeholder).collect();
        match parts.as_slice() {
            [before, after] if !after.contains("{key}") && !before.contains("{key}") => Ok(Self {
                before: (*before).to_owned(),
                rest: placeholder == "{rest}",
                after: (*after).to_owned(),
            }),
            [_] => Err(format!(
                "key = {text:?} must contain {{key}}, or {{rest}}, once, so that two keys never become one"
            )),
            _ => Err(format!("key = {text:?} names the key twice; once is enough")),
        }
    }
}

impl Renaming<'_> {
    /// The origin's name of what is `name` here; `None` if nothing there is called so here.
    pub(crate) fn theirs(&self, name: &str) -> Option<String> {
        Some(format!("{}{}", self.theirs, name.strip_prefix(self.ours)?))
    }

    /// The name here of what is `name` at the origin; `None` if it has none.
    pub(crate) fn ours(&self, name: &str) -> Option<String> {
        Some(format!("{}{}", self.ours, name.strip_prefix(self.theirs)?))
    }
}

/// What a place is known by: two that read alike are one.
pub(crate) fn identity(place: &ShadowTarget) -> String {
    match place {
        ShadowTarget::Origin { origin } => format!("origin {origin}"),
        ShadowTarget::S3 { endpoint, name, .. } => format!("s3 {endpoint} {name}"),
        ShadowTarget::Http { url } => format!("http {url}"),
    }
}

/// A place's name for people: never an address.
pub(crate) fn place_name(place: &ShadowTarget) -> String {
    match place {
        ShadowTarget::Origin { origin } => origin.clone(),
        ShadowTarget::S3 { name, .. } => format!("s3:{name}"),
        ShadowTarget::Http { .. } => "http".to_owned(),
    }
}

fn regex(field: &str, pattern: Option<&str>) -> Result<Option<Regex>, String> {
    pattern.map(Regex::new).transpose().map_err(|error| {
        format!("{field} = {:?} is not a regular expression: {error}", pattern.unwrap_or_default())
    })
}

/// Why a bucket's settings do not fit together, with what would be right; `None` if they do.
pub(crate) fn settings_fault(settings: &BucketSettings) -> Option<String> {
    match (settings.mode, settings.shadow.is_empty()) {
        (BucketMode::Plain, false) => {
            return Some("a plain bucket has no shadow; choose mode migrate, cache or compute".to_owned());
        }
        (BucketMode::Migrate | BucketMode::Cache | BucketMode::Compute, _) | (BucketMode::Plain, true) => {}
    }
    if settings.shadow.len() > MAX_RULES {
        return Some(format!("a bucket has at most {MAX_RULES} shadow rules"));
    }
    let mut before: Vec<Rule> = Vec::new();
    for (number, rule) in settings.shadow.iter().enumerate() {
        let checked = match Rule::check(rule) {
            Ok(checked) => checked,
            Err(fault) => return Some(fault),
        };
        if let Some(earlier) = before.iter().position(|earlier| earlier.takes_all(checked.prefix())) {
            return Some(format!(
                "shadow rule {number} is never reached, since rule {earlier} before it takes all of its keys; \
                 put the rule for fewer keys first"
            ));
        }
        if let Some(fault) = members_fault(rule) {
            return Some(fault.to_owned());
        }
        if let Some(fault) = extras::fault(rule) {
            return Some(fault);
        }
        if let Some(fault) = through_fault(rule, settings.mode) {
            return Some(fault.to_owned());
        }
        if let Some(fault) = inventory_fault(rule, &checked, settings.mode) {
            return Some(fault.to_owned());
        }
        if rule.list == Some(ListFrom::Merged) {
            if checked.renaming().is_none() {
                return Some(
                    "list = \"merged\" needs a rule whose names keep our order: no keys, matches or suffix, and {key} or {rest} last in key = …; or set list = \"local\""
                        .to_owned(),
                );
            }
            if settings.mode == BucketMode::Compute {
                return Some(
                    "a compute origin has no list to merge; set list = \"local\" or leave it out".to_owned(),
                );
            }
        }
        before.push(checked);
    }
    None
}

/// Why places cannot be the members of one rule, with what would be right.
fn members_fault(rule: &ShadowRule) -> Option<&'static str> {
    let kind = std::mem::discriminant(&rule.target);
    let places: Vec<_> = rule.places().map(identity).collect();
    if rule.members.len() >= MAX_MEMBERS {
        return Some("a shadow rule has at most 8 places, its own and 7 `members`");
    }
    if rule.members.iter().any(|member| std::mem::discriminant(member) != kind) {
        return Some(
            "the members of a shadow rule are all of one kind: S3 buckets, HTTP servers or declared origins",
        );
    }
    if places.iter().enumerate().any(|(number, place)| places[..number].contains(place)) {
        return Some("two members of a shadow rule are the same place; name each once");
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

/// Why an inventory of what a rule leads to cannot be kept, with what would be right.
fn inventory_fault(rule: &ShadowRule, checked: &Rule, mode: BucketMode) -> Option<&'static str> {
    match rule.inventory_secs {
        None if rule.inventory_absent => Some(
            "inventory-absent rests on an inventory: set inventory = \"6h\", for example, or leave both out",
        ),
        None => None,
        Some(_) if mode == BucketMode::Compute => {
            Some("a compute origin has no list of which an inventory could be taken; leave inventory out")
        }
        Some(_) if checked.renaming().is_none() => Some(
            "inventory needs a rule whose names keep our order: no keys, matches or suffix, and {key} or {rest} last \
             in key = …; or leave it out",
        ),
        Some(secs) if secs < INVENTORY_SECS_MIN => Some(
            "inventory = … is how long one is believed; give at least a minute, so that it can be taken meanwhile",
        ),
        Some(_) => None,
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
                && rule.renaming().is_some()
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
        assert_eq!(renamed.renaming(), None);
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
    fn suffix_and_expression_choose_and_the_prefix_can_be_left_away() {
        let rule = Rule::check(&rule(|r| {
            r.prefix = Some("img/".into());
            r.suffix = Some(".png".into());
            r.matches = Some("^img/[a-z]".into());
            r.key = Some("pictures/{rest}".into());
        }))
        .unwrap();
        assert_eq!(rule.matches(&key("img/a.png")), Match::As(key("pictures/a.png")));
        for other in ["img/a.jpg", "img/1.png", "doc/a.png"] {
            assert_eq!(rule.matches(&key(other)), Match::No, "{other}");
        }
        assert_eq!(rule.renaming(), None);
        assert!(!rule.takes_all("img/"));
    }

    #[test]
    fn names_of_a_list_are_told_from_each_other_both_ways() {
        let rest = Rule::check(&rule(|r| {
            r.prefix = Some("img/".into());
            r.key = Some("old/{rest}".into());
        }))
        .unwrap();
        // Of the prefix alone nothing is left, but what stands before it is a name.
        assert_eq!(rest.matches(&key("img/")), Match::As(key("old/")));
        let renaming = rest.renaming().unwrap();
        assert_eq!(renaming.theirs("img/a").as_deref(), Some("old/a"));
        assert_eq!(renaming.ours("old/a").as_deref(), Some("img/a"));
        assert_eq!((renaming.theirs("doc/a"), renaming.ours("img/a")), (None, None));
        let bare = Rule::check(&rule(|r| {
            r.prefix = Some("img/".into());
            r.key = Some("{rest}".into());
        }))
        .unwrap();
        assert_eq!(bare.matches(&key("img/")), Match::Impossible);
        assert!(bare.takes_all("img/2019/") && !bare.takes_all("im"));
    }

    #[test]
    fn faults_are_named() {
        let origin = |n: u32| ShadowTarget::Origin { origin: format!("o{n}") };
        let of = |mode, shadow| BucketSettings { mode, shadow, ..BucketSettings::default() };
        assert_eq!(settings_fault(&of(BucketMode::Migrate, vec![rule(|_| ())])), None);
        assert_eq!(settings_fault(&of(BucketMode::Plain, vec![])), None);
        let several = rule(|r| r.members = (0..7).map(origin).collect());
        assert_eq!(settings_fault(&of(BucketMode::Migrate, vec![several])), None);
        for (settings, says) in [
            (of(BucketMode::Plain, vec![rule(|_| ())]), "plain"),
            (of(BucketMode::Cache, vec![rule(|_| ()), rule(|_| ())]), "rule 1 is never reached"),
            (
                of(
                    BucketMode::Cache,
                    vec![rule(|r| r.prefix = Some("a/".into())), rule(|r| r.prefix = Some("a/b/".into()))],
                ),
                "rule 0 before it",
            ),
            (of(BucketMode::Cache, vec![rule(|_| ()); MAX_RULES + 1]), "at most 64"),
            (of(BucketMode::Cache, vec![rule(|r| r.members = (0..8).map(origin).collect())]), "at most 8"),
            (
                of(
                    BucketMode::Cache,
                    vec![rule(|r| r.members = vec![ShadowTarget::Http { url: "u".into() }])],
                ),
                "of one kind",
            ),
            (of(BucketMode::Cache, vec![rule(|r| r.members = vec![origin(1), origin(1)])]), "same place"),
            (of(BucketMode::Cache, vec![rule(|r| r.matches = Some("[".into()))]), "matches"),
            (of(BucketMode::Cache, vec![rule(|r| r.key = Some("{key}{rest}".into()))]), "twice"),
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
