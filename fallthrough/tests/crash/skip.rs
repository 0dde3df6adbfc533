//! Saying that a test could not run here, so that nobody takes it for one that passed.

use std::io::Write;

/// Says that `test` did not run, and why: on stderr, and as a file in the folder that `FALLTHROUGH_SKIPS` names,
/// for whoever reports the run, since test runners keep the output of a test that ends well to themselves.
///
/// # Panics
/// If the file cannot be written: then the skip would count as a pass.
pub(crate) fn skipped(test: &str, why: &str) {
    if let Some(folder) = std::env::var_os("FALLTHROUGH_SKIPS") {
        std::fs::write(std::path::Path::new(&folder).join(test), why).unwrap();
    }
    // A closed stderr has no reader.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}
