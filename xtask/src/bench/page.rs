//! The figures' page, docs/performance.md.

use crate::Context;
use crate::command::{capture, command};

const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench --write` -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Replaces the tables between the two marks, with the day, the commit and the machine's load.
///
/// # Errors
/// The page cannot be read or written, or lacks its marks.
pub(crate) fn write(context: &Context, load: &str, tables: &str) -> Result<(), String> {
    let path = context.root.join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let said = |program: &str, args: &[&str]| {
        capture(command(program, &context.root).args(args)).map(|line| line.trim().to_owned())
    };
    let (day, commit) =
        (said("date", &["--utc", "+%F"])?, said("git", &["rev-parse", "--short=10", "HEAD"])?);
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"])?;
    let state = if changed.is_empty() { "" } else { " with changes on top" };
    let figures = format!(
        "Measured on {day} at commit {commit}{state}, load average {load} before, one run.\n\n{tables}"
    );
    let page = replaced(&page, &figures).ok_or(format!("{PAGE} lacks the marks {BEGIN:?} and {END:?}"))?;
    std::fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))?;
    println!("{PAGE} is written.");
    Ok(())
}

fn replaced(page: &str, figures: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{figures}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replaced};

    #[test]
    fn only_what_lies_between_the_marks_is_replaced() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        assert_eq!(replaced(&page, "new"), Some(format!("before\n{BEGIN}\nnew\n{END}after\n")));
        assert_eq!(replaced("a page without marks", "new"), None);
    }
}
