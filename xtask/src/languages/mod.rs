//! The example origins in other languages, each asked by the built program's `origin test`.
//!
//! An example whose language is not here is skipped by name; so is one that needs a program which is not here. What each must
//! keep beyond "nothing failed" is said in `examples.rs`: a check that was skipped proves nothing.

mod examples;

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::Context;
use crate::command::{capture, command, find_program};
use crate::report::{Check, Outcome};
use crate::rust::build_program;
use examples::{EXAMPLES, Example, Expected, FILE, Language, SECRET};

/// Longest wait until an example listens. Interpreters take a second or two on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// One check for each example.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    if let Outcome::Failed(why) = build_program(context) {
        return vec![Check::new("languages", Outcome::Failed(why))];
    }
    let ground = match Ground::new(context) {
        Ok(ground) => ground,
        Err(why) => return vec![Check::new("languages", Outcome::Failed(why))],
    };
    let check = |example: &Example| Check::new(example.name, ground.check(example));
    EXAMPLES.iter().map(check).collect()
}

/// A folder with what the examples serve, which goes when it is dropped: `tree`, a git repository with the tag `v1.0.0` and the
/// tag `damaged`, of which a file is lost; `tree.zip`, the same files; `unmounted`, an empty folder.
struct Ground<'a> {
    context: &'a Context,
    home: PathBuf,
    /// Why there is no repository and no archive.
    without_git: Option<String>,
}

impl<'a> Ground<'a> {
    fn new(context: &'a Context) -> Result<Self, String> {
        let home = context.target.join("xtask").join(format!("languages-{}", std::process::id()));
        let told = |error: std::io::Error| format!("{}: {error}", home.display());
        let tree = home.join("tree");
        std::fs::create_dir_all(tree.join("notes")).map_err(told)?;
        std::fs::create_dir_all(home.join("unmounted")).map_err(told)?;
        let large: Vec<u8> =
            (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (name, bytes) in [(FILE, &b"odd\n"[..]), (".origin", b""), ("large.bin", &large)] {
            std::fs::write(tree.join(name), bytes).map_err(told)?;
        }
        let mut ground = Self { context, home, without_git: None };
        if find_program("git").is_none() {
            ground.without_git = Some("git is not installed (a package of Debian's)".to_owned());
            return Ok(ground);
        }
        ground.commit("v1.0.0")?;
        ground.git(&["archive", "--format=zip", "--output=../tree.zip", "v1.0.0"])?;
        std::fs::write(tree.join("lost"), "lost\n").map_err(|error| format!("lost: {error}"))?;
        ground.commit("damaged")?;
        let lost = ground.git(&["rev-parse", "damaged:lost"])?;
        let (folder, file) = lost.trim().split_at_checked(2).ok_or("git names no file `lost`")?;
        std::fs::remove_file(tree.join(".git/objects").join(folder).join(file))
            .map_err(|error| format!("{}: {error}", lost.trim()))?;
        // What is served as files are those of the archive.
        std::fs::remove_file(tree.join("lost")).map_err(|error| format!("lost: {error}"))?;
        Ok(ground)
    }

    fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let mut git = command("git", &self.home.join("tree"));
        // A hook or a signature of the user's is none of this repository's.
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.args(["-c", "user.name=check", "-c", "user.email=check@example.com"]).args(arguments);
        capture(&mut git)
    }

    fn commit(&self, tag: &str) -> Result<(), String> {
        for step in [
            &["init", "--quiet"][..],
            &["add", "--all"],
            &["commit", "--quiet", "--message", tag],
            &["tag", tag],
        ] {
            self.git(step)?;
        }
        Ok(())
    }

    fn check(&self, example: &Example) -> Outcome {
        let (program, package) = example.language.program();
        for (program, package) in
            [(program, package)].into_iter().chain(example.language.also().map(|also| (also, also)))
        {
            if find_program(program).is_none() {
                return Outcome::Skipped(format!("{program} is not installed (Debian's package {package})"));
            }
        }
        let needs_git = example.argument.is_some() || example.language == Language::Bash;
        if let Some(why) = self.without_git.as_ref().filter(|_| needs_git && example.file != "hello.sh") {
            return Outcome::Skipped(why.clone());
        }
        match self.run(example) {
            Ok(()) => Outcome::Passed,
            Err(why) => Outcome::Failed(why),
        }
    }

    fn run(&self, example: &Example) -> Result<(), String> {
        let port = free_port()?;
        let mut starting = self.command(example, port)?;
        for (name, value, in_home) in example.environment {
            let path = self.home.join(value);
            starting.env(name, if *in_home { path.as_os_str() } else { value.as_ref() });
        }
        let mut running = Running::start(example.name, &mut starting)?;
        running.wait_until_it_listens(port)?;
        let mut test = command(self.context.program(), &self.home);
        test.args(["origin", "test", "--json", &format!("http://127.0.0.1:{port}")]).args(example.options);
        test.env("FALLTHROUGH_ORIGIN_SECRET_KEY", SECRET);
        let done = test.output().map_err(|error| format!("`origin test` could not be started: {error}"))?;
        let told = String::from_utf8_lossy(&done.stdout);
        let verdict = verdict(&told, done.status.success(), example.expected);
        if verdict.is_err() {
            println!("{}:\n{told}{}", example.name, String::from_utf8_lossy(&done.stderr));
        }
        verdict
    }

    /// How it is started on `port`. Go is built first: `go run` would leave what it runs behind.
    fn command(&self, example: &Example, port: u16) -> Result<Command, String> {
        let folder = self.context.root.join("examples/origins").join(example.language.folder());
        let (program, _) = example.language.program();
        let mut starting = match example.language {
            Language::Go => {
                let built = self.home.join(example.file.trim_end_matches(".go"));
                let mut build = command(program, &folder);
                build.args(["build", "-o"]).arg(&built).arg(example.file);
                // Nothing outside of the target folder is touched, and nothing is fetched.
                build.env("GOCACHE", self.context.target.join("xtask/go-cache"));
                build.envs([("GOPROXY", "off"), ("GOFLAGS", ""), ("GO111MODULE", "off")]);
                capture(&mut build)?;
                command(built, &folder)
            }
            Language::Php => {
                let mut php = command(program, &folder);
                php.args(["-S", &format!("127.0.0.1:{port}"), example.file]);
                return Ok(php);
            }
            Language::Python | Language::Node | Language::Bash => {
                let mut interpreter = command(program, &folder);
                interpreter.arg(example.file);
                interpreter
            }
        };
        starting.args(example.argument.map(|argument| self.home.join(argument))).arg(port.to_string());
        Ok(starting)
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home); // Nothing depends on it.
    }
}

/// Whether the report is what was expected, else what is not.
fn verdict(report: &str, succeeded: bool, expected: Expected) -> Result<(), String> {
    let report: Value =
        serde_json::from_str(report).map_err(|error| format!("`origin test` told no report: {error}"))?;
    let checks = report["checks"].as_array().ok_or("a report without checks")?;
    let text = |check: &Value, field: &str| check[field].as_str().unwrap_or_default().to_owned();
    let line = |check: &Value| {
        format!("{} {}: {}", text(check, "name"), text(check, "outcome"), text(check, "seen"))
    };
    let find = |name: &str| checks.iter().find(|check| check["name"] == name);
    match expected {
        Expected::Keeps(names) => {
            let failed: Vec<String> =
                checks.iter().filter(|check| check["outcome"] == "failed").map(line).collect();
            if !failed.is_empty() || !succeeded {
                return Err(format!("the contract is broken: {}", failed.join("; ")));
            }
            for name in names {
                let check = find(name).ok_or_else(|| format!("there is no check {name}"))?;
                if check["outcome"] != "ok" {
                    return Err(format!("what it has to show was not shown: {}", line(check)));
                }
            }
            Ok(())
        }
        Expected::Says(status) => {
            let get = find("get").ok_or("there is no check get")?;
            if succeeded || !text(get, "seen").starts_with(status) {
                return Err(format!("expected {status}: {}", line(get)));
            }
            // Nor may it be a bare 503.
            match find("busy") {
                Some(busy) if status == "503" && busy["outcome"] != "ok" => Err(line(busy)),
                Some(_) | None => Ok(()),
            }
        }
    }
}

/// A port that nobody listens on now. Somebody may take it before the example does: then the example ends, and says so.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// An example that runs, and ends with this.
struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    fn start(name: &'static str, starting: &mut Command) -> Result<Self, String> {
        // Not piped: nobody would read it, and a full pipe stops whoever writes into it.
        let child = starting.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child
            .map(|child| Self { name, child })
            .map_err(|error| format!("{name} could not be started: {error}"))
    }

    #[expect(clippy::disallowed_methods, reason = "no event tells std that another process listens")]
    fn wait_until_it_listens(&mut self, port: u16) -> Result<(), String> {
        let start = std::time::Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("{} ended with {status} and did not listen", self.name));
            }
            if start.elapsed() > START_MAX {
                return Err(format!("{} does not listen on the port that it was told", self.name));
            }
            // Nothing announces it: look again.
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn report(checks: &[(&str, &str, &str)]) -> String {
        let check = |(name, outcome, seen): &(&str, &str, &str)| serde_json::json!({ "name": name, "outcome": outcome, "seen": seen });
        serde_json::json!({ "checks": checks.iter().map(check).collect::<Vec<_>>() }).to_string()
    }

    #[test]
    fn a_report_is_judged_by_what_it_shows() {
        let keeps = Expected::Keeps(&["get", "head"]);
        let good = report(&[("get", "ok", "200 OK"), ("head", "ok", ""), ("big", "skipped", "")]);
        assert_eq!(verdict(&good, true, keeps), Ok(()));
        assert!(verdict(&good, false, keeps).is_err(), "the program said that it failed");
        let bad = report(&[("get", "ok", "200 OK"), ("head", "ok", ""), ("again", "failed", "other bytes")]);
        assert!(verdict(&bad, true, keeps).is_err_and(|why| why.contains("other bytes")));
        let skipped = report(&[("get", "ok", "200 OK"), ("head", "skipped", "405")]);
        assert!(verdict(&skipped, true, keeps).is_err(), "what is skipped is not shown");
        assert!(verdict(&report(&[("get", "ok", "200 OK")]), true, keeps).is_err());
        assert!(verdict("", true, keeps).is_err());
    }

    #[test]
    fn an_origin_that_cannot_know_must_not_say_absent() {
        let says = Expected::Says("503");
        let told = |status, busy| report(&[("get", "failed", status), ("busy", busy, "")]);
        assert_eq!(verdict(&told("503 Service Unavailable, 3 bytes", "ok"), false, says), Ok(()));
        assert!(verdict(&told("404 Not Found, 0 bytes", "skipped"), false, says).is_err());
        assert!(verdict(&told("503 Service Unavailable, 3 bytes", "failed"), false, says).is_err());
        assert!(verdict(&told("503 Service Unavailable, 3 bytes", "ok"), true, says).is_err());
    }

    #[test]
    fn every_example_is_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/origins");
        let mut found = 0;
        for language in [Language::Python, Language::Node, Language::Go, Language::Php, Language::Bash] {
            for entry in std::fs::read_dir(folder.join(language.folder())).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if Path::new(&name).extension().is_some_and(|end| end != "md" && end != "pyc") {
                    found += 1;
                    let is_run = |example: &Example| example.language == language && example.file == name;
                    assert!(EXAMPLES.iter().any(is_run), "nobody runs {name}");
                }
            }
        }
        assert_eq!(found, 11, "each example is counted");
    }
}
