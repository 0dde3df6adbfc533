//! What commands over the admin API have in common: how its answers are shown.

use fallthrough_gateway::admin::{BucketView, Difference, ProbeReport, Rule, ShadowAnswer};
use serde_json::Value;

use crate::admin_client::Refused;
use crate::cli::output;
use crate::failure::Failure;

/// Prints a probe's lines, each `ok` or `failed` with the mend.
pub(crate) fn print_probe(report: &ProbeReport) {
    for line in &report.lines {
        let word = if line.ok { output::good("ok") } else { output::bad("failed") };
        println!("{word:6}  {:10}  {}", line.check, line.detail);
        if let Some(mend) = &line.mend {
            println!("        help: {mend}");
        }
    }
}

/// Shows what the probe saw before the failure itself is told.
pub(crate) fn refused(refused: Refused, json: bool) -> Failure {
    if let Some(report) = &refused.probe {
        if json {
            output::print_json(report);
        } else {
            print_probe(report);
        }
    }
    refused.failure
}

/// Prints what a change changed: JSON whole, else the probe and the difference.
pub(crate) fn print_change(answer: &ShadowAnswer, json: bool) {
    if json {
        output::print_json(answer);
        return;
    }
    if let Some(report) = &answer.probe {
        print_probe(report);
    }
    for Difference { field, before, after } in &answer.changes {
        match (before, after) {
            (Value::Null, after) => println!("{} {field} = {}", output::good("+"), plain(after)),
            (before, Value::Null) => println!("{} {field} = {}", output::bad("-"), plain(before)),
            (before, after) => println!("~ {field}: {} -> {}", plain(before), plain(after)),
        }
    }
    match (answer.saved, answer.changes.is_empty()) {
        (true, true) => println!("nothing changed"),
        (true, false) => {}
        (false, _) => println!("dry run: nothing was saved"),
    }
}

/// A JSON value as people write it: text without quotes.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A word of an enum as the API spells it.
pub(crate) fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).map(|value| plain(&value)).unwrap_or_default()
}

/// Where a rule leads, in one line.
pub(crate) fn leads_to(rule: &Rule) -> String {
    let place = match (&rule.origin, &rule.endpoint, &rule.url) {
        (Some(origin), _, _) => format!("origin {origin}"),
        (_, Some(endpoint), _) => format!("{endpoint}/{}", rule.name.as_deref().unwrap_or_default()),
        (_, _, Some(url)) => url.clone(),
        (None, None, None) => String::new(),
    };
    match rule.members.len() {
        0 => place,
        others => format!("{place} (and {others} more)"),
    }
}

/// What a bucket falls through to, in one line.
pub(crate) fn falls_through_to(bucket: &BucketView) -> String {
    bucket.shadow.iter().map(leads_to).collect::<Vec<_>>().join(", ")
}
