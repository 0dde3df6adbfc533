//! What `demo` can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::Globals;
use crate::settings::{Layers, parse_duration};

/// The name under which the model given by flags is declared.
pub(super) const MODEL: &str = "demo";

/// The variable with the password for HTTP Basic at the txt2img server, as for `avatar serve`.
const PASSWORD: &str = "FALLTHROUGH_TXT2IMG_PASSWORD";

/// Lies under the user's file and variables. The origin of the demo is on loopback, so such addresses must be
/// allowed; logs would bury what the demo has to tell, so only warnings are shown.
const PRESETS: &str = "\
[s3]
listen = \"127.0.0.1:9900\"
[admin]
listen = \"127.0.0.1:9901\"
[store]
data = \"fallthrough-demo\"
[network]
allow-private-origins = true
[process]
log = \"warn\"
";

/// What draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum DemoModel {
    /// Draws the traits in this process, in milliseconds
    #[default]
    Painter,
    /// Asks a Stable Diffusion web UI, or any server with its txt2img API
    Txt2img,
    /// Runs Stable Diffusion in this process, from --weights; in a build with the feature `candle`
    Candle,
}

/// Run all three tiers with something to look at: one command, one folder, no configuration.
///
/// An image model, an avatar origin that asks it, and a bucket that falls through to the origin: three servers
/// that talk over loopback HTTP. Everything is kept in one folder (./fallthrough-demo, or --data DIR).
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where S3 clients and the demo page connect; port 0 picks a free one [default: 127.0.0.1:9900]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where the admin API is; port 0 picks a free one [default: 127.0.0.1:9901]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
    /// Listen in the local network, so that telephones can open the page: others can only read avatars
    #[arg(long)]
    pub(super) share: bool,
    /// What draws
    #[arg(
        long,
        value_enum,
        value_name = "MODEL",
        default_value_if("txt2img", clap::builder::ArgPredicate::IsPresent, "txt2img"),
        default_value_if("weights", clap::builder::ArgPredicate::IsPresent, "candle"),
        default_value = "painter"
    )]
    pub(super) model: DemoModel,
    /// The txt2img server to ask, such as http://127.0.0.1:7860; implies --model txt2img
    #[arg(long, value_name = "URL", required_if_eq("model", "txt2img"))]
    txt2img: Option<String>,
    /// Stable Diffusion's weights, a folder in diffusers' layout; implies --model candle
    #[arg(long, value_name = "DIR", required_if_eq("model", "candle"), conflicts_with = "txt2img")]
    weights: Option<PathBuf>,
    /// User name for HTTP Basic at the txt2img server
    #[arg(long, value_name = "NAME", requires = "txt2img")]
    txt2img_user: Option<String>,
    /// A file with the password for HTTP Basic; else FALLTHROUGH_TXT2IMG_PASSWORD
    #[arg(long, value_name = "PATH", requires = "txt2img_user")]
    txt2img_password_file: Option<PathBuf>,
    /// Extra time for each picture, such as 8s, to see how a slow model is waited for
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "txt2img")]
    delay: Option<Duration>,
    /// Write addresses and keys here as JSON once everything accepts connections; removed at the end
    #[arg(long, value_name = "PATH")]
    pub(super) ready_file: Option<PathBuf>,
}

impl DemoArgs {
    /// Extra time for each picture.
    pub(super) fn delay(&self) -> Duration {
        self.delay.unwrap_or_default()
    }

    /// Where the demo's settings come from: these flags, the environment, the file, the demo's own presets.
    pub(super) fn layers(&self, globals: &Globals) -> Layers {
        let text = |address: SocketAddr| address.to_string();
        let file = self.txt2img_password_file.as_ref().map(|path| path.display().to_string());
        // Only where a user is named: without one, a password from elsewhere must not get in the way.
        let password =
            self.txt2img_user.as_ref().filter(|_| file.is_none()).and_then(|_| std::env::var(PASSWORD).ok());
        let kind = match self.model {
            DemoModel::Painter => None,
            DemoModel::Txt2img => Some("txt2img".to_owned()),
            DemoModel::Candle => Some("candle".to_owned()),
        };
        let weights = self.weights.as_ref().map(|path| path.display().to_string());
        let layers = globals
            .layers()
            .flag("--listen", "s3.listen", self.listen.map(text))
            .flag("--admin-listen", "admin.listen", self.admin_listen.map(text))
            .flag("--model", &format!("model.{MODEL}.kind"), kind)
            .flag("--weights", &format!("model.{MODEL}.weights"), weights)
            .flag("--txt2img", &format!("model.{MODEL}.url"), self.txt2img.clone())
            .flag("--txt2img-user", &format!("model.{MODEL}.user"), self.txt2img_user.clone())
            .flag("--txt2img-password-file", &format!("model.{MODEL}.password-file"), file)
            .flag(PASSWORD, &format!("model.{MODEL}.password"), password);
        Layers { presets: Some(PRESETS.to_owned()), ..layers }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn parse(words: &[&str]) -> Result<DemoArgs, clap::Error> {
        let command = DemoArgs::augment_args(Command::new("demo"));
        DemoArgs::from_arg_matches(&command.try_get_matches_from(std::iter::once(&"demo").chain(words))?)
    }

    #[test]
    fn one_flag_switches_to_a_real_model() {
        assert_eq!(parse(&[]).expect("no flags").model, DemoModel::Painter);
        let real = parse(&["--txt2img", "http://127.0.0.1:7860"]).expect("one flag");
        assert_eq!(real.model, DemoModel::Txt2img);
        let own = parse(&["--weights", "models/sd"]).expect("one flag");
        assert_eq!(own.model, DemoModel::Candle);
        assert_eq!(parse(&["--delay", "8s"]).expect("a duration").delay(), Duration::from_secs(8));
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for words in [
            &["--model", "txt2img"][..],
            &["--model", "candle"],
            &["--weights", "models/sd", "--txt2img", "http://127.0.0.1:7860"],
            &["--txt2img", "http://127.0.0.1:7860", "--delay", "1s"],
            &["--txt2img-user", "me"],
            &["--txt2img", "http://127.0.0.1:7860", "--txt2img-password-file", "secret"],
            &["--delay", "soon"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
