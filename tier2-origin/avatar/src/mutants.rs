//! Planted bugs, switched on for one thread: a test does so and must then fail, or it could not have found the
//! real thing. `fallthrough_object::Mutant` says what they are, and how the tests of all crates are run against each.

fallthrough_object::planted_by_thread!();
