//! Shadow rules: as they are kept, as the admin API speaks of them, as keys are renamed by them.

use fallthrough_bucket::fuzzing::{CheckedRule, fault_of};
use fallthrough_gateway::fuzzing::{rule_to_store, shown_rule};
use fallthrough_object::Key;
use fallthrough_store::{BucketSettings, ShadowRule};

use crate::input::Input;

/// Lines: two keys; then JSON: a rule as it is kept, as the admin API takes it, or settings.
///
/// A rule reads back from what is kept and from what is shown. Two keys never become one, and where lists are
/// merged their order stays.
pub fn rule(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let keys = [input.line(), input.line()];
    let json = input.rest();

    let kept: Option<ShadowRule> = serde_json::from_slice(json).ok();
    if let Some(rule) = &kept {
        let written = serde_json::to_vec(rule).expect("a rule can be written");
        assert_eq!(serde_json::from_slice::<ShadowRule>(&written).ok().as_ref(), Some(rule));
    }
    let told = rule_to_store(json);
    if let Some(rule) = &told {
        assert_eq!(rule_to_store(&shown_rule(rule)).as_ref(), Some(rule));
        let written = serde_json::to_vec(rule).expect("a rule can be written");
        assert_eq!(serde_json::from_slice::<ShadowRule>(&written).ok().as_ref(), Some(rule));
    }
    if let Ok(settings) = serde_json::from_slice::<BucketSettings>(json) {
        let written = serde_json::to_vec(&settings).expect("settings can be written");
        assert_eq!(serde_json::from_slice::<BucketSettings>(&written).ok().as_ref(), Some(&settings));
        let _ = fault_of(&settings);
    }
    let [Ok(a), Ok(b)] = keys.each_ref().map(|key| Key::parse(key)) else { return };
    for rule in [kept, told].into_iter().flatten() {
        if let Ok(checked) = CheckedRule::check(&rule) {
            renamed(&rule, &checked, &a, &b);
        }
    }
}

fn renamed(rule: &ShadowRule, checked: &CheckedRule, a: &Key, b: &Key) {
    let names = [a, b].map(|key| (key, checked.renamed(key)));
    for (key, name) in &names {
        let Some(name) = name else { continue };
        let prefix = rule.prefix.as_deref().unwrap_or("");
        assert!(key.as_str().ends_with(rule.suffix.as_deref().unwrap_or("")));
        let rest = key.as_str().strip_prefix(prefix).expect("it begins as the rule says");
        assert!(name.as_str().contains(rest));
        if checked.is_ordered() {
            assert_eq!(checked.listed_as(name.as_str()).as_deref(), Some(key.as_str()));
        }
    }
    if let [(a, Some(name_of_a)), (b, Some(name_of_b))] = &names {
        assert_eq!(a == b, name_of_a == name_of_b, "two keys became one");
        assert!(!checked.is_ordered() || (a < b) == (name_of_a < name_of_b));
    }
}
