//! Secrets in the data folder of a served process are encrypted with a key that is not in it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::path::Path;

use fallthrough_sim::FaultyOrigin;
use served::{SERVE, Served, fallthrough};

const FIRST: &str = "first-sealing-key-0123456789abcdef";
const SECOND: &str = "second-sealing-key-0123456789abcdef";
const BEHIND: &str = "the-secret-of-the-old-provider";

fn start(folder: &Path, environment: &[(&str, &str)]) -> Result<Served, served::Ran> {
    let mut command = fallthrough(folder);
    command.args(SERVE).envs(environment.iter().copied());
    Served::start_command(folder, command)
}

fn index_holds(folder: &Path, text: &str) -> bool {
    let index = std::fs::read(folder.join("data/index.redb")).unwrap();
    index.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_sealed_with_a_key_from_outside_of_the_folder() {
    let origin = FaultyOrigin::start_s3("old").await;
    let url = origin.url();
    tokio::task::spawn_blocking(move || check(&url)).await.unwrap();
}

fn check(origin: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("fallthrough.toml"), "[network]\nallow-private-origins = true\n").unwrap();
    std::fs::write(folder.join("shadow.secret"), BEHIND).unwrap();
    std::fs::write(folder.join("first.key"), format!("{FIRST}\n")).unwrap();

    let served = start(folder, &[("FALLTHROUGH_STORE__SEALING_KEY", FIRST)])
        .unwrap_or_else(|ran| panic!("{}", ran.err));
    let made = served.json(&["key", "create"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let shadow = [
        ["--shadow-endpoint", origin],
        ["--shadow-name", "old"],
        ["--shadow-region", "us-east-1"],
        ["--shadow-access-key", "OLD"],
        ["--shadow-secret-key-file", "shadow.secret"],
    ];
    let mut create = vec!["bucket", "create", "photos", "--mode", "migrate"];
    create.extend(shadow.iter().flatten());
    let ran = served.ctl(&create);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(served.stop("-TERM"), 0);
    for hidden in [secret, BEHIND, FIRST] {
        assert!(!index_holds(folder, hidden), "{hidden} is in the index");
    }

    // Without it, and with another, nothing starts, and what to do is told.
    for wrong in [&[][..], &[("FALLTHROUGH_STORE__SEALING_KEY", SECOND)]] {
        let ran = start(folder, wrong).err().expect("it started without the key");
        assert_ne!(ran.code, 0);
        assert!(ran.err.contains("sealing key") && ran.err.contains("sealing-key-file"), "{}", ran.err);
        assert!(!ran.err.contains(FIRST) && !ran.err.contains(SECOND), "{}", ran.err);
    }

    // Another key, with the former one at hand, from a file.
    let both = [
        ("FALLTHROUGH_STORE__SEALING_KEY", SECOND),
        ("FALLTHROUGH_STORE__OLD_SEALING_KEY_FILE", "first.key"),
    ];
    let served = start(folder, &both).unwrap_or_else(|ran| panic!("{}", ran.err));
    assert_eq!(served.stop("-TERM"), 0);
    let served = start(folder, &[("FALLTHROUGH_STORE__SEALING_KEY", SECOND)])
        .unwrap_or_else(|ran| panic!("{}", ran.err));
    let shown = served.json(&["key", "show", id]);
    assert_eq!(shown["id"].as_str(), Some(id), "{shown}");
    let rules = served.json(&["shadow", "get", "photos"]);
    assert!(rules.to_string().contains("OLD") && !rules.to_string().contains(BEHIND), "{rules}");
    assert_eq!(served.stop("-TERM"), 0);

    // The key is never shown.
    let mut command = fallthrough(folder);
    let shown =
        command.args(["config", "show"]).env("FALLTHROUGH_STORE__SEALING_KEY", SECOND).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("sealing-key") && !shown.contains(SECOND), "{shown}");
}
