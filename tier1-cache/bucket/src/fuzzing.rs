//! What the rules of a bucket read, for the fuzz targets alone (feature `fuzzing`). Not an interface.

use fallthrough_object::Key;
use fallthrough_store::{BucketSettings, ShadowRule};

use crate::core::rule::{Match, Rule, settings_fault};

/// A rule that was checked.
#[derive(Debug)]
pub struct CheckedRule(Rule);

impl CheckedRule {
    /// Checks a rule.
    ///
    /// # Errors
    /// In words.
    pub fn check(rule: &ShadowRule) -> Result<Self, String> {
        Rule::check(rule).map(Self)
    }

    /// The origin's name of `key`, if it falls through by this rule.
    pub fn renamed(&self, key: &Key) -> Option<Key> {
        match self.0.matches(key) {
            Match::As(name) => Some(name),
            Match::Impossible | Match::No => None,
        }
    }

    /// Whether the order of the origin's names is ours, so that its list can be merged with ours.
    pub fn is_ordered(&self) -> bool {
        self.0.renaming().is_some()
    }

    /// The name here of what the origin lists under `name`.
    pub fn listed_as(&self, name: &str) -> Option<String> {
        self.0.renaming().and_then(|renaming| renaming.ours(name))
    }
}

/// Why settings do not fit together.
pub fn fault_of(settings: &BucketSettings) -> Option<String> {
    settings_fault(settings)
}
