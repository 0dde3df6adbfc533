//! The flags that choose what draws, for `avatar serve` and `model serve`.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::settings::{CandleSettings, ModelSettings, Secret, Txt2imgSettings, parse_url};

/// What draws: the painter unless a txt2img server is named.
#[derive(Debug, Args)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineFlags {
    /// Ask this txt2img server (a Stable Diffusion web UI or `fallthrough model serve`); given several times, a pool
    #[arg(long, value_name = "URL", group = "engine")]
    txt2img: Vec<String>,
    /// The checkpoint to ask for, as the txt2img server names it; answers of another one are refused
    #[arg(long, value_name = "NAME", requires = "txt2img")]
    txt2img_checkpoint: Option<String>,
    /// Ask an idle txt2img server as well for a picture that takes unusually long
    #[arg(long, requires = "txt2img")]
    txt2img_hedge: bool,
    /// The engine in this program; the painter is the default
    #[arg(long, value_name = "NAME", value_parser = ["painter", "candle"], group = "engine")]
    builtin: Option<String>,
    /// Stable Diffusion's weights, a folder in diffusers' layout; implies --builtin candle
    #[arg(long, value_name = "DIR", required_if_eq("builtin", "candle"), conflicts_with = "txt2img")]
    weights: Option<PathBuf>,
    /// The txt2img server's user for HTTP Basic; of several servers, the same everywhere
    #[arg(long, value_name = "USER", requires = "txt2img")]
    txt2img_user: Option<String>,
    /// A file with the txt2img server's password; else FALLTHROUGH_TXT2IMG_PASSWORD
    #[arg(long, value_name = "PATH", requires = "txt2img_user")]
    txt2img_password_file: Option<PathBuf>,
    /// Jobs in flight at each txt2img server
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    txt2img_concurrency: u32,
}

impl EngineFlags {
    /// The engine that the flags describe, with a queue of `queue` jobs in front of a txt2img server.
    ///
    /// # Errors
    /// The URL is none, or the password cannot be found.
    pub(crate) fn settings(&self, queue: u32) -> Result<ModelSettings, Failure> {
        if let Some(weights) = &self.weights {
            if self.builtin.as_deref() == Some("painter") {
                return Err(Failure::usage(
                    "the painter has no weights",
                    "leave out --weights or --builtin painter",
                ));
            }
            // One job keeps all cores busy.
            return Ok(ModelSettings::Candle(CandleSettings {
                weights: weights.clone(),
                concurrency: 1,
                queue,
            }));
        }
        if self.txt2img.is_empty() {
            return Ok(ModelSettings::Painter);
        }
        let url = |text: &String| {
            parse_url(text).map_err(|wrong| {
                Failure::usage(format!("--txt2img: {wrong}"), "write it like http://127.0.0.1:7860")
            })
        };
        let urls = self.txt2img.iter().map(url).collect::<Result<Vec<_>, _>>()?;
        let basic = match &self.txt2img_user {
            None => None,
            Some(user) => Some((
                user.clone(),
                secret_from(
                    self.txt2img_password_file.as_deref(),
                    "--txt2img-password-file",
                    "FALLTHROUGH_TXT2IMG_PASSWORD",
                )?
                .ok_or_else(|| {
                    Failure::usage(
                        "--txt2img-user needs a password",
                        "give --txt2img-password-file or set FALLTHROUGH_TXT2IMG_PASSWORD",
                    )
                })?,
            )),
        };
        Ok(ModelSettings::Txt2img(Txt2imgSettings {
            urls,
            checkpoint: self.txt2img_checkpoint.clone(),
            hedge: self.txt2img_hedge,
            basic,
            concurrency: self.txt2img_concurrency,
            queue,
        }))
    }
}

/// A secret from a file, else from a variable, else none.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn secret_from(
    file: Option<&std::path::Path>,
    flag: &str,
    variable: &str,
) -> Result<Option<Secret>, Failure> {
    match file {
        Some(path) => Secret::read(path)
            .map(Some)
            .map_err(|wrong| Failure::new(wrong, format!("check {flag} and who may read the file"))),
        None => Ok(std::env::var(variable).ok().filter(|secret| !secret.is_empty()).map(Secret::new)),
    }
}
