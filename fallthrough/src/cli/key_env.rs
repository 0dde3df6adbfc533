//! `fallthrough key env`: an access key as other tools take it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fallthrough_gateway::admin::Status;
use serde::Deserialize;

use crate::admin_client::AdminClient;
use crate::cli::{Globals, output};
use crate::failure::Failure;
use crate::settings::Secret;
use crate::wiring::{listen, root};

/// What `env` can be told. Without a key it prints root's, where that can be read.
#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    /// The tool that it is for
    #[arg(long = "for", value_name = "TOOL", value_enum, default_value_t = Tool::Shell)]
    tool: Tool,
    /// The access key
    #[arg(long, value_name = "ID", requires = "secret_key_file")]
    access_key: Option<String>,
    /// A file with its secret
    #[arg(long, value_name = "PATH", requires = "access_key")]
    secret_key_file: Option<PathBuf>,
    /// Take address and key from the ready file of a running server
    #[arg(long, value_name = "PATH", conflicts_with = "access_key")]
    ready_file: Option<PathBuf>,
    /// Where S3 clients connect; else asked of the server, else as configured
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// Tools whose way of being told is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// Variables to eval: aws, boto3 and every SDK
    Shell,
    /// The same variables, as lines for `export`
    Aws,
    /// A remote for ~/.config/rclone/rclone.conf
    Rclone,
    /// An alias for mc
    Mc,
    /// A command line for s5cmd
    S5cmd,
    /// Lines of Python
    Boto3,
}

struct Access {
    endpoint: String,
    access_key: String,
    secret_key: Secret,
}

/// The fields of a ready file that matter here.
#[derive(Deserialize)]
struct Ready {
    s3: String,
    access_key: String,
    secret_key: String,
}

/// Prints the key.
pub(crate) async fn run(args: &EnvArgs, globals: &Globals) -> Result<(), Failure> {
    let mut access = find(args, globals).await?;
    if let Some(endpoint) = &args.endpoint {
        access.endpoint.clone_from(endpoint);
    }
    if globals.json {
        output::print_json(&serde_json::json!({
            "endpoint": access.endpoint,
            "access_key": access.access_key,
            "secret_key": access.secret_key.reveal(),
            "region": "us-east-1",
        }));
    } else {
        print!("{}", spell(args.tool, &access));
    }
    Ok(())
}

async fn find(args: &EnvArgs, globals: &Globals) -> Result<Access, Failure> {
    if let Some(path) = &args.ready_file {
        return of_ready_file(path);
    }
    let (access_key, secret_key) = match (&args.access_key, &args.secret_key_file) {
        (Some(access_key), Some(path)) => {
            let secret = Secret::read(path)
                .map_err(|wrong| Failure::new(wrong, "check --secret-key-file and who may read the file"))?;
            (access_key.clone(), secret)
        }
        _ => {
            let account = root::load(&globals.settings()?)?.ok_or_else(|| {
                Failure::new(
                    "there is no root key yet: it is made at the first start of the server",
                    "start the server (`fallthrough serve`), or give --access-key and --secret-key-file",
                )
            })?;
            (account.access_key, account.secret_key)
        }
    };
    let endpoint = match &args.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => endpoint(globals).await?,
    };
    Ok(Access { endpoint, access_key, secret_key })
}

/// As the running server says; as configured if none answers.
async fn endpoint(globals: &Globals) -> Result<String, Failure> {
    if let Ok(client) = AdminClient::find(globals)
        && let Ok(status) = client.get::<Status>(&["status"], &[]).await
    {
        return Ok(status.s3);
    }
    Ok(format!("http://{}", listen::reachable(globals.settings()?.s3.listen)))
}

fn of_ready_file(path: &Path) -> Result<Access, Failure> {
    let text = std::fs::read(path).map_err(|error| {
        Failure::new(
            format!("the ready file {} cannot be read: {error}", path.display()),
            "start the server with --ready-file, and name the same file here",
        )
    })?;
    // The parser's message could quote a secret: only the place is told.
    let ready: Ready = serde_json::from_slice(&text).map_err(|error| {
        Failure::new(
            format!("{} is no ready file of a server (line {})", path.display(), error.line()),
            "name the file that `fallthrough serve --ready-file` wrote",
        )
    })?;
    Ok(Access { endpoint: ready.s3, access_key: ready.access_key, secret_key: Secret::new(ready.secret_key) })
}

fn spell(tool: Tool, access: &Access) -> String {
    let Access { endpoint, access_key, secret_key } = access;
    let secret_key = secret_key.reveal();
    match tool {
        Tool::Shell | Tool::Aws => format!(
            "export AWS_ENDPOINT_URL_S3={}\nexport AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\nexport \
             AWS_REGION=us-east-1\n",
            quoted(endpoint),
            quoted(access_key),
            quoted(secret_key)
        ),
        Tool::Rclone => format!(
            "[fallthrough]\ntype = s3\nprovider = Other\naccess_key_id = {access_key}\nsecret_access_key = \
             {secret_key}\nendpoint = {endpoint}\nregion = us-east-1\nforce_path_style = true\n"
        ),
        // Read from standard input, so that the secret does not stand on mc's command line.
        Tool::Mc => format!(
            "printf '%s\\n%s\\n' {} {} | mc alias set fallthrough {} --api S3v4 --path on\n",
            quoted(access_key),
            quoted(secret_key),
            quoted(endpoint)
        ),
        Tool::S5cmd => format!(
            "export S3_ENDPOINT_URL={}\nexport AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\nexport \
             AWS_REGION=us-east-1\n",
            quoted(endpoint),
            quoted(access_key),
            quoted(secret_key)
        ),
        Tool::Boto3 => format!(
            "import boto3\ns3 = boto3.client(\"s3\", endpoint_url={endpoint:?}, aws_access_key_id={access_key:?},\n    \
             aws_secret_access_key={secret_key:?}, region_name=\"us-east-1\")\n"
        ),
    }
}

/// Text as a POSIX shell takes it literally.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_any_secret_literally() {
        assert_eq!(quoted("abc/+="), "abc/+=");
        assert_eq!(quoted("a b'$(x)`"), r"'a b'\''$(x)`'");
        assert_eq!(quoted(""), "''");
    }
}
