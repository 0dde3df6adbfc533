//! Mistakes that caches and replicating stores have shipped, each as a test by its name. `docs/mistakes.md` has the list, and
//! where the others of them are: some show on the wire, one needs a process.
//!
//! Each test is tried with a planted bug that makes the very mistake, at the end of its file.

mod events;
mod fills;
mod lists;
mod times;
