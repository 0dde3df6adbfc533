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

    /// What stands before the key in the origin's names, if their order is ours.
    pub fn list_prefix(&self) -> Option<&str> {
        self.0.list_prefix()
    }
}

/// Why settings do not fit together.
pub fn fault_of(settings: &BucketSettings) -> Option<String> {
    settings_fault(settings)
}
