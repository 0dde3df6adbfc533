//! The cases, a file for each group.

mod authentication;
mod bodies;
mod buckets;
mod checksums;
mod conditions;
mod errors;
mod forms;
mod lists;
mod multipart;
mod objects;
mod presigned;
mod ranges;

use std::collections::BTreeSet;

use crate::case::{Case, Modes, Table};

/// A group: its name, how it can be run, and what writes its cases down.
type Group = (&'static str, Modes, fn(&mut Table));

const GROUPS: &[Group] = &[
    ("buckets", Modes::Plain, buckets::cases),
    ("objects", Modes::All, objects::cases),
    ("conditions", Modes::All, conditions::cases),
    ("ranges", Modes::All, ranges::cases),
    ("bodies", Modes::Plain, bodies::cases),
    ("checksums", Modes::PlainAndS3, checksums::cases),
    ("authentication", Modes::All, authentication::cases),
    ("presigned", Modes::All, presigned::cases),
    ("forms", Modes::Plain, forms::cases),
    ("multipart", Modes::Plain, multipart::cases),
    ("errors", Modes::Plain, errors::cases),
    ("lists", Modes::PlainAndS3, lists::cases),
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
