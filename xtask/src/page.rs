//! A page of the documentation with a part that is written by a command, between two marks.

use crate::Context;
use crate::command::{capture, command};

/// Such a page.
#[derive(Debug)]
pub(crate) struct Page {
    /// Below the checkout's root.
    pub(crate) path: &'static str,
    /// What stands before the part.
    pub(crate) begin: &'static str,
    /// What stands after it.
    pub(crate) end: &'static str,
}

impl Page {
    /// Replaces the part.
    ///
    /// # Errors
    /// The page cannot be read or written, or lacks its marks.
    pub(crate) fn write(&self, context: &Context, part: &str) -> Result<(), String> {
        let Self { path, begin, end } = self;
        let file = context.root.join(path);
        let page = std::fs::read_to_string(&file).map_err(|error| format!("{path}: {error}"))?;
        let page =
            self.replaced(&page, part).ok_or(format!("{path} lacks the marks {begin:?} and {end:?}"))?;
        std::fs::write(&file, page).map_err(|error| format!("{path}: {error}"))?;
        println!("{path} is written.");
        Ok(())
    }

    fn replaced(&self, page: &str, part: &str) -> Option<String> {
        let Self { begin, end, .. } = self;
        let (before, rest) = page.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n\n{part}\n{end}{after}"))
    }
}

/// The day and the commit that something was measured at, as `2026-01-31 at commit 0123456789`.
///
/// # Errors
/// There is no git, or this is no checkout.
pub(crate) fn day_and_commit(context: &Context) -> Result<String, String> {
    let said = |program: &str, args: &[&str]| {
        capture(command(program, &context.root).args(args)).map(|line| line.trim().to_owned())
    };
    let (day, commit) =
        (said("date", &["--utc", "+%F"])?, said("git", &["rev-parse", "--short=10", "HEAD"])?);
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"])?;
    let state = if changed.is_empty() { "" } else { " with changes on top" };
    Ok(format!("{day} at commit {commit}{state}"))
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let page = Page { path: "", begin: "<!-- b -->", end: "<!-- e -->" };
        let text = "before\n<!-- b -->\nold\n<!-- e -->\nafter\n";
        let new = "before\n<!-- b -->\n\nnew\n<!-- e -->\nafter\n";
        assert_eq!(page.replaced(text, "new"), Some(new.to_owned()));
        assert_eq!(page.replaced("a page without marks", "new"), None);
    }
}
