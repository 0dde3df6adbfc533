//! Runs the cases of the suite against an S3 endpoint: see `--help`.

mod arguments;

use std::process::ExitCode;
use std::sync::Arc;

use arguments::{Arguments, HELP};
use fallthrough_object::SystemClock;
use fallthrough_suite::{Ground, groups, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match suite().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

/// Whether no case failed.
async fn suite() -> Result<bool, String> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.help {
        print!("{HELP}");
        return Ok(true);
    }
    if arguments.list {
        let cases = arguments.selection.of(groups::all());
        for case in &cases {
            println!("{} {:?}", case.id(), case.modes());
        }
        println!("{} cases", cases.len());
        return Ok(true);
    }
    let ground = Ground {
        endpoint: arguments.endpoint()?,
        account: arguments.account()?,
        second: arguments.second()?,
        cold: arguments.cold()?,
        clock: Arc::new(SystemClock::new()),
    };
    let report = run(&ground, &arguments.selection, groups::all()).await.map_err(|why| why.to_string())?;
    for (name, failure) in report.failures() {
        if arguments.quiet {
            println!("FAILED {name}");
        } else {
            println!("FAILED {name}: {failure}\n");
        }
    }
    println!("{report}");
    Ok(report.failures().next().is_none())
}
