//! The suite of S3 over the wire against the program: with the objects in the bucket, and with the objects still
//! behind it, at an S3 origin and at an HTTP server.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::path::Path;
use std::sync::Arc;

use fallthrough_object::SystemClock;
use fallthrough_suite::{Account, Cold, Endpoint, Ground, Mode, Selection, groups, run};
use served::Served;

/// Cases at a time: enough that syncs of the disk are shared.
const AT_ONCE: usize = 16;

/// Two accounts, as a fixed deployment declares them.
const CONFIGURATION: &str = "\
[network]
allow-private-origins = true

[[account]]
id = \"11112222333344445555\"
display-name = \"main\"
email = \"main@example.test\"
access-key = \"FTMAIN\"
secret-key = \"main-secret\"

[[account]]
id = \"66667777888899990000\"
display-name = \"second\"
email = \"second@example.test\"
access-key = \"FTSECOND\"
secret-key = \"second-secret\"
";

fn serve(folder: &Path) -> Served {
    std::fs::write(folder.join("fallthrough.toml"), CONFIGURATION).unwrap();
    Served::serve(folder, &[])
}

fn main_account() -> Account {
    Account::new("FTMAIN", "main-secret", "us-east-1")
}

fn admin(served: &Served) -> (Endpoint, String) {
    (Endpoint::parse(served.text("admin")).unwrap(), served.text("admin_token").to_owned())
}

#[tokio::test]
async fn every_case_of_the_suite_holds() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [front, origin] = [serve(folders[0].path()), serve(folders[1].path())];
    let ground = Ground {
        endpoint: Endpoint::parse(front.text("s3")).unwrap(),
        account: main_account(),
        second: Some(Account::new("FTSECOND", "second-secret", "us-east-1")),
        cold: Some(Cold {
            origin: Endpoint::parse(origin.text("s3")).unwrap(),
            origin_account: main_account(),
            origin_admin: Some(admin(&origin)),
            admin: admin(&front),
        }),
        clock: Arc::new(SystemClock::new()),
    };
    let selection = Selection { groups: Vec::new(), text: None, modes: Mode::ALL.to_vec(), at_once: AT_ONCE };
    let report = run(&ground, &selection, groups::all()).await.unwrap();
    println!("{report}");
    let failures: Vec<String> =
        report.failures().map(|(name, failure)| format!("{name}: {failure}")).collect();
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n\n"));
}
