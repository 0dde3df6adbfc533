//! What must hold of every parser that is ours, whatever bytes it is given: one function a target.
//!
//! A target takes bytes and panics if a promise is broken: something that was written does not read back, two
//! readings of the same bytes differ, a bound is left. libFuzzer calls these functions (the folder above), and
//! so do ordinary tests, with the inputs in `corpus-seeds` and with random ones, without libFuzzer.
//!
//! Inputs are lines where that is possible, so that seeds can be written by hand and findings can be read.

#![expect(clippy::missing_panics_doc, reason = "a panic is how a target tells what it found")]

mod input;
mod runtime;

pub mod chunks;
pub mod entries;
pub mod forms;
pub mod framing;
pub mod headers;
pub mod lists;
pub mod names;
pub mod origins;
pub mod pictures;
pub mod rates;
pub mod requests;
pub mod rights;
pub mod rules;
pub mod shadows;
pub mod signatures;
pub mod uris;
pub mod xml;

/// A target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is that of its folder of seeds and of its program.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", requests::address),
    ("answer", shadows::answer),
    ("blob", entries::blob),
    ("chunked", chunks::chunked),
    ("conditions", headers::conditions),
    ("configuration", forms::configuration),
    ("digests", headers::digests),
    ("endpoint", shadows::endpoint),
    ("entry", entries::entry),
    ("form", forms::form),
    ("framing", framing::framing),
    ("list_page", lists::list_page),
    ("metadata", headers::metadata),
    ("names", names::names),
    ("origin", origins::origin),
    ("picture", pictures::picture),
    ("policy", forms::policy),
    ("rate", rates::rate),
    ("rights", rights::rights),
    ("rows", entries::rows),
    ("rule", rules::rule),
    ("signature", signatures::signature),
    ("trace", headers::trace),
    ("txt2img", pictures::txt2img),
    ("uri", uris::uri),
    ("xml", xml::xml),
];
