//! `fallthrough model add`: declares txt2img servers in the configuration file.

use std::path::{Path, PathBuf};

use clap::Args;
use fallthrough_diffusion::{ModelError, Txt2ImgClient};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::cli::{Globals, output};
use crate::failure::{Exit, Failure};
use crate::settings::{ModelSettings, Settings, Txt2imgSettings};
use crate::wiring::model::servers;

/// What `model add` can be told.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The model's name, by which origins name it
    name: String,
    /// A txt2img server (a Stable Diffusion web UI or `fallthrough model serve`); given several times, a pool
    #[arg(long, value_name = "URL", required = true)]
    txt2img: Vec<String>,
    /// The user for HTTP Basic, the same at all of them
    #[arg(long, value_name = "USER", requires = "password_file")]
    user: Option<String>,
    /// A file with the password, which the server reads as well
    #[arg(long, value_name = "PATH", requires = "user")]
    password_file: Option<PathBuf>,
    /// The checkpoint to ask for, as the servers name it
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// Ask an idle server as well for a picture that takes unusually long
    #[arg(long)]
    hedge: bool,
    /// Jobs in flight at each server
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=2))]
    concurrency: Option<u32>,
    /// Jobs that may wait
    #[arg(long, value_name = "COUNT")]
    queue: Option<u32>,
    /// Declare them without asking them first
    #[arg(long)]
    no_probe: bool,
    /// Only ask them, and tell what would be written
    #[arg(long)]
    dry_run: bool,
}

/// Asks the servers, and writes the model into the file if all of them are as they should be.
pub(crate) async fn run(args: AddArgs, globals: &Globals) -> Result<(), Failure> {
    let file = globals.settings()?.file.ok_or_else(|| {
        Failure::new(
            "there is no configuration file",
            "make one, even an empty one, and name it with --config",
        )
    })?;
    let unreadable = |error: std::io::Error| {
        Failure::new(format!("{} cannot be read: {error}", file.display()), "check who may read it")
    };
    let before = std::fs::read_to_string(&file).map_err(unreadable)?;
    let after = with_model(&before, &args)?;
    // Beside the file, so that it takes the file's place in one step.
    let draft = Draft(file.with_file_name(format!(
        ".{}.new",
        file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default()
    )));
    draft.write(&after, &file)?;
    let mut layers = globals.layers();
    layers.file = Some(draft.0.clone());
    let settings = Settings::load(&layers)?;
    let Some(ModelSettings::Txt2img(model)) = settings.models.get(&args.name) else {
        return Err(Failure::new(
            format!("the environment declares model {:?} differently", args.name),
            "choose another name, or unset the variables FALLTHROUGH_MODEL__…",
        ));
    };
    if !args.no_probe {
        probe(model, globals.json).await?;
    }
    if !args.dry_run {
        draft.replace(&file)?;
    }
    let told = if args.dry_run { "dry run" } else { "declared" };
    if globals.json {
        let servers: Vec<String> = model.urls.iter().map(ToString::to_string).collect();
        let json = serde_json::json!({
            "model": args.name, "file": file.display().to_string(), "servers": servers, "dry_run": args.dry_run,
        });
        output::print_json(&json);
    } else {
        println!("{told}: [model.{}] in {}", args.name, file.display());
        println!("an origin draws with it by model = {:?}; a server that runs takes it over by", args.name);
        println!("    fallthrough config reload");
    }
    Ok(())
}

/// The file's text with the model in it; everything else stays as it is, comments too.
fn with_model(text: &str, args: &AddArgs) -> Result<String, Failure> {
    let broken =
        |what: String| Failure::new(format!("the configuration is no TOML: {what}"), "mend it first");
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| broken(error.to_string()))?;
    let models = document.entry("model").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let models = models.as_table_like_mut().ok_or_else(|| broken("\"model\" is not a table".to_owned()))?;
    if models.contains_key(&args.name) {
        return Err(Failure::new(
            format!("model {:?} is declared already", args.name),
            "choose another name, or change the file and run `fallthrough config reload`",
        ));
    }
    let mut model = Table::new();
    model.insert("kind", value("txt2img"));
    model.insert("url", value(args.txt2img.iter().collect::<Array>()));
    if let (Some(user), Some(path)) = (&args.user, &args.password_file) {
        model.insert("user", value(user));
        model.insert("password-file", value(path.display().to_string()));
    }
    if let Some(checkpoint) = &args.checkpoint {
        model.insert("checkpoint", value(checkpoint));
    }
    if args.hedge {
        model.insert("hedge", value(true));
    }
    for (name, count) in [("concurrency", args.concurrency), ("queue", args.queue)] {
        if let Some(count) = count {
            model.insert(name, value(i64::from(count)));
        }
    }
    models.insert(&args.name, Item::Table(model));
    Ok(document.to_string())
}

/// Asks every server how it is and whether it has the checkpoint.
async fn probe(model: &Txt2imgSettings, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut failed = 0;
    for server in servers(model) {
        let told = match Txt2ImgClient::new(server) {
            Ok(client) => (client.address(), look(&client, model.checkpoint.as_deref()).await),
            Err(error) => (String::new(), Err(error)),
        };
        let (ok, detail) = match told.1 {
            Ok(detail) => (output::good("ok"), detail),
            Err(error) => {
                failed += 1;
                (output::bad("failed"), error.to_string())
            }
        };
        rows.push(vec![told.0, ok, detail]);
    }
    if failed > 0 || !json {
        let lines = rows.iter().map(|row| row.join("  "));
        for line in lines {
            if json { eprintln!("{line}") } else { println!("{line}") }
        }
    }
    if failed == 0 {
        return Ok(());
    }
    let mend = "start them with their API (--api for the web UI), or give --no-probe; nothing was written";
    Err(Failure::new(format!("{failed} of {} servers did not pass", rows.len()), mend)
        .exit(Exit::RemoteRefused))
}

async fn look(client: &Txt2ImgClient, checkpoint: Option<&str>) -> Result<String, ModelError> {
    let sign = client.probe().await?;
    let loaded = sign.loaded.as_deref().unwrap_or("no checkpoint told").to_owned();
    if let Some(wanted) = checkpoint {
        let all = client.checkpoints().await?;
        let named = |title: &&String| *title == wanted || title.split([' ', '.']).next() == Some(wanted);
        if !all.iter().any(|title| named(&title)) {
            let message = format!("it has no checkpoint {wanted:?}, but {}", all.join(", "));
            return Err(ModelError::Misconfigured(message));
        }
    }
    Ok(loaded)
}

/// The new text, until it takes the file's place; gone if it does not.
struct Draft(PathBuf);

impl Draft {
    /// Writes the text with the permissions of the file that it is to replace, before there is anything in it.
    fn write(&self, text: &str, like: &Path) -> Result<(), Failure> {
        let write = || {
            let permissions = std::fs::metadata(like)?.permissions();
            std::fs::File::create(&self.0)?.set_permissions(permissions)?;
            std::fs::write(&self.0, text)?;
            std::fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(|error| self.unwritable(&error))
    }

    fn replace(&self, file: &Path) -> Result<(), Failure> {
        std::fs::rename(&self.0, file).map_err(|error| self.unwritable(&error))
    }

    fn unwritable(&self, error: &std::io::Error) -> Failure {
        let message = format!("{} cannot be written: {error}", self.0.display());
        Failure::new(
            message,
            "check who may write to the configuration's folder, or write the section by hand",
        )
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Not there if it took the file's place.
        let _gone = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(name: &str) -> AddArgs {
        AddArgs {
            name: name.to_owned(),
            txt2img: vec!["http://127.0.0.1:7860".to_owned(), "http://127.0.0.1:7861".to_owned()],
            user: None,
            password_file: None,
            checkpoint: Some("sd15".to_owned()),
            hedge: false,
            concurrency: None,
            queue: Some(9),
            no_probe: true,
            dry_run: false,
        }
    }

    #[test]
    fn a_model_is_added_and_nothing_else_changes() {
        let before = "# mine\n[store]\ndata = \"d\" # here\n\n[model.a]\nkind = \"painter\"\n";
        let after = with_model(before, &args("sd")).expect("it is new");
        let added = "\n[model.sd]\nkind = \"txt2img\"\nurl = [\"http://127.0.0.1:7860\", \"http://127.0.0.1:7861\"]\n\
                     checkpoint = \"sd15\"\nqueue = 9\n";
        assert_eq!(after, format!("{before}{added}"));
        let fresh = with_model("", &args("sd")).expect("it is new");
        assert_eq!(fresh.trim_start(), added.trim_start());
        assert!(with_model(before, &args("a")).is_err() && with_model("[", &args("sd")).is_err());
    }
}
