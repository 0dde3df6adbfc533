//! `fallthrough avatar hash`: what stands in an avatar's URL in the place of an address.

use std::io::BufRead;
use std::path::PathBuf;

use clap::Args;
use fallthrough_avatar::{AvatarHash, normal};
use serde_json::json;

use crate::cli::engine_flags::secret_from;
use crate::cli::{Globals, output};
use crate::failure::Failure;

/// Where a key may be found, if no file is named.
const KEY_VARIABLE: &str = "FALLTHROUGH_AVATAR_KEY";

/// What `avatar hash` can be told.
#[derive(Debug, Args)]
pub(crate) struct HashArgs {
    /// Addresses, such as you@example.com; without any, one a line from standard input
    address: Vec<String>,
    /// MD5, for programs that know nothing else; anybody can try addresses against it
    #[arg(long, group = "kind")]
    md5: bool,
    /// HMAC-SHA-256 under the key in FALLTHROUGH_AVATAR_KEY: who has not got the key cannot find the address
    #[arg(long, group = "kind")]
    keyed: bool,
    /// A file with that key; implies --keyed
    #[arg(long, value_name = "PATH", group = "kind")]
    key_file: Option<PathBuf>,
}

/// Prints a hash for each address, in their order.
///
/// # Errors
/// The key cannot be had, or standard input cannot be read.
pub(super) fn run(args: HashArgs, globals: &Globals) -> Result<(), Failure> {
    let key = match args.keyed || args.key_file.is_some() {
        false => None,
        true => {
            let key = secret_from(args.key_file.as_deref(), "--key-file", KEY_VARIABLE)?;
            Some(key.ok_or_else(|| {
                Failure::usage("there is no key", format!("give --key-file, or set {KEY_VARIABLE}"))
            })?)
        }
    };
    let hash = |address: &str| match &key {
        Some(key) => AvatarHash::keyed(key.reveal().as_bytes(), address),
        None if args.md5 => AvatarHash::md5(address),
        None => AvatarHash::sha256(address),
    };
    let addresses = if args.address.is_empty() { from_input()? } else { args.address };
    if globals.json {
        let rows: Vec<_> = addresses
            .iter()
            .map(|address| json!({ "address": normal(address), "hash": hash(address).as_str() }))
            .collect();
        output::print_json(&rows);
    } else {
        let rows: Vec<_> = addresses.iter().map(|address| vec![hash(address).to_string()]).collect();
        output::print_rows(&["hash"], &rows);
    }
    Ok(())
}

fn from_input() -> Result<Vec<String>, Failure> {
    let lines: Result<Vec<String>, _> = std::io::stdin().lock().lines().collect();
    let lines = lines.map_err(|error| {
        Failure::new(format!("standard input cannot be read: {error}"), "give addresses one a line, in UTF-8")
    })?;
    Ok(lines.into_iter().filter(|line| !line.trim().is_empty()).collect())
}
