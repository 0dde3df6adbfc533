//! Saying that a test could not run here, so that nobody takes it for one that passed.

use std::io::Write;

/// Says on the real stderr, which no test runner keeps from those who look, that `test` did not run.
///
/// # Panics
/// If `FALLTHROUGH_NO_SKIPS` is set: where everything is expected to run, a skip is a failure.
pub(crate) fn skipped(test: &str, why: &str) {
    // A closed stderr has no reader.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
    assert!(std::env::var_os("FALLTHROUGH_NO_SKIPS").is_none(), "SKIPPED {test}: {why}");
}
