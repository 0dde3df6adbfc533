//! `fallthrough completion`: scripts that complete commands in a shell.

use clap::Args;
use clap_complete::Shell;

use crate::failure::Failure;

/// What `completion` can be told.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionArgs, command: &mut clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "fallthrough", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script).map_err(|error| {
        Failure::new(format!("the script cannot be printed: {error}"), "check where the output goes")
    })
}
