//! The cases, a file for each group.

mod acl;
mod attributes;
mod authentication;
mod batches;
mod bodies;
mod buckets;
mod checksums;
mod conditions;
mod configuration;
mod copy;
mod cors;
mod errors;
mod forms;
mod keys;
mod lifecycle;
mod lists;
mod multipart;
mod objects;
mod presigned;
mod races;
mod ranges;
mod tagging;
mod website;

use std::collections::BTreeSet;

use crate::case::{Case, Modes, Table};

/// A group: its name, how it can be run, and what writes its cases down.
type Group = (&'static str, Modes, fn(&mut Table));

const GROUPS: &[Group] = &[
    ("buckets", Modes::Plain, buckets::cases),
    ("objects", Modes::All, objects::cases),
    ("keys", Modes::All, keys::cases),
    ("conditions", Modes::All, conditions::cases),
    ("ranges", Modes::All, ranges::cases),
    ("checksums", Modes::PlainAndS3, checksums::cases),
    ("bodies", Modes::Plain, bodies::cases),
    ("multipart", Modes::Plain, multipart::cases),
    ("copy", Modes::All, copy::cases),
    ("attributes", Modes::All, attributes::cases),
    ("lists", Modes::PlainAndS3, lists::cases),
    ("batches", Modes::All, batches::cases),
    ("tagging", Modes::All, tagging::cases),
    ("acl", Modes::Plain, acl::cases),
    ("cors", Modes::Plain, cors::cases),
    ("forms", Modes::Plain, forms::cases),
    ("presigned", Modes::All, presigned::cases),
    ("authentication", Modes::All, authentication::cases),
    ("configuration", Modes::Plain, configuration::cases),
    ("races", Modes::All, races::cases),
    ("website", Modes::Plain, website::cases),
    ("lifecycle", Modes::Plain, lifecycle::cases),
    ("errors", Modes::Plain, errors::cases),
];

/// All cases, in the order of the groups.
///
/// # Panics
/// Two cases have the same name: a mistake in a table.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, modes, write) in GROUPS {
        let mut table = Table::new(name, *modes);
        write(&mut table);
        cases.append(&mut table.cases);
    }
    let mut names = BTreeSet::new();
    for case in &cases {
        assert!(names.insert(case.id()), "two cases are called {}", case.id());
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Step;

    #[test]
    fn every_case_asks_and_may_fail() {
        let cases = all();
        assert!(cases.len() >= 500, "{}", cases.len());
        for case in &cases {
            let asks = |step: &Step| matches!(step, Step::Ask(_) | Step::Script(_));
            assert!(case.steps.iter().any(asks), "{} asks nothing", case.id());
        }
        for (group, modes, _) in GROUPS {
            let of_group = || cases.iter().filter(|case| case.group == *group);
            assert!(of_group().count() >= 10, "{group} is too small to be a group");
            assert!(of_group().any(|case| case.modes == *modes), "no case of {group} runs as the group says");
        }
    }
}
