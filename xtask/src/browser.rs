//! The demo page in a real browser: Debian's Chromium, driven by playwright-core, against `fallthrough demo`.

use crate::Context;
use crate::command::{command, watch};
use crate::report::{Check, Outcome};
use crate::rust::build_program;
use crate::server::Server;
use crate::tools::{browser_packages, chromium};

/// The page's tests, run by node's own test runner.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    vec![Check::new("browser", run(context))]
}

fn run(context: &Context) -> Outcome {
    let Some(chromium) = chromium() else {
        return Outcome::Skipped("chromium is not installed (a package of Debian's)".to_owned());
    };
    if let Err(why) = browser_packages(context) {
        return Outcome::Skipped(why);
    }
    if let failed @ Outcome::Failed(_) = build_program(context) {
        return failed;
    }
    let server = match Server::start(context, "demo") {
        Ok(server) => server,
        Err(why) => return Outcome::Failed(why),
    };
    let screenshots = context.target.join("screenshots");
    watch(
        command("node", &context.root.join("tests/browser"))
            .args(["--test", "--test-reporter=spec", "demo.test.mjs"])
            .env("FALLTHROUGH_READY_FILE", server.ready_file())
            .env("FALLTHROUGH_CHROMIUM", chromium)
            .env("FALLTHROUGH_SCREENSHOTS", screenshots),
    )
}
