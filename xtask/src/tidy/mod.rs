//! Rules that no compiler keeps: who may use whom, what must not stand in the tree, links that lead somewhere.

mod graph;
mod links;
mod text;

use std::path::Path;

use crate::Context;
use crate::command::{capture, command};
use crate::report::{Check, Outcome};
use crate::rust::metadata;

/// A text file of the checkout.
#[derive(Debug)]
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// The crate graph, then the texts.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    let graph = match metadata(&context.root, false) {
        Ok(metadata) => Check::of_findings("crate graph", &graph::findings(&metadata)),
        Err(error) => Check::new("crate graph", Outcome::Failed(error)),
    };
    let sources = match sources(&context.root) {
        Ok(sources) => sources,
        Err(error) => return vec![graph, Check::new("texts", Outcome::Failed(error))],
    };
    for (path, lines) in text::long_files(&sources) {
        println!("warning: {path} has {lines} lines; look for the second noun in it");
    }
    vec![
        graph,
        Check::of_findings("texts", &sources.iter().flat_map(text::findings).collect::<Vec<_>>()),
        Check::of_findings("links", &links::findings(&context.root, &sources)),
    ]
}

/// Every text file that git knows or would add.
fn sources(root: &Path) -> Result<Vec<Source>, String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let names = capture(command("git", root).args(list))?;
    let mut sources = Vec::new();
    for path in names.split('\0').filter(|path| !path.is_empty()) {
        // A picture or a golden data folder is no text; a file deleted but not yet committed is gone.
        let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source { path: path.to_owned(), text });
        }
    }
    if sources.is_empty() { Err("git lists no file here".to_owned()) } else { Ok(sources) }
}
