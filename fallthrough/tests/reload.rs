//! The configuration, read again while the server runs (all of it is taken, or nothing) and at the next start.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::path::Path;

use fallthrough_sim::FaultyOrigin;
use http::Method;
use served::client::Client;
use served::{SERVE, Served, signal};

/// What stands in the file.
struct Config<'a> {
    origin: &'a str,
    secret: &'a str,
    log: &'a str,
    more: &'a str,
}

impl Config<'_> {
    fn write(&self, folder: &Path) {
        let text = format!(
            "[network]\nallow-private-origins = true\n\n[process]\nlog = \"{}\"\n\n[[account]]\nid = \"main\"\naccess-key = \"FTMAIN\"\nsecret-key = \"{}\"\n\n\
             [origin.old]\nkind = \"s3\"\nendpoint = \"{}\"\nname = \"old\"\nregion = \"us-east-1\"\n\n\
             [bucket.photos]\nmode = \"migrate\"\nshadow = {{ origin = \"old\" }}\n\n{}",
            self.log, self.secret, self.origin, self.more
        );
        std::fs::write(folder.join("fallthrough.toml"), text).unwrap();
    }
}

fn status(client: &Client, method: &Method, path: &str) -> u16 {
    client.send(method, path, b"").unwrap().0
}

const SECRET: &str = "the-first-secret-of-main";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_configuration_is_taken_as_a_whole_or_not_at_all() {
    let (first, second) = (FaultyOrigin::start_s3("old").await, FaultyOrigin::start_s3("old").await);
    first.object("both", 1000);
    let other = second.object("only-second", 1000).bytes();
    let folder = tempfile::tempdir().unwrap();
    tokio::task::spawn_blocking(move || {
        let (first, second) = (first.url(), second.url());
        let config = |origin: &str, secret: &str, more: &str| {
            Config { origin, secret, log: "info", more }.write(folder.path());
        };
        config(&first, SECRET, "");
        // What is logged is told by the file: a flag would stand above it.
        let served = Served::start(folder.path(), &SERVE[..SERVE.len() - 2]);
        let client = Client::of(&served);
        let get = Method::GET;
        assert_eq!(status(&client, &get, "/photos/both"), 200);
        assert_eq!(status(&client, &get, "/photos/only-second"), 404, "the first does not have it");

        // What is wrong is told with its place, and nothing of the rest is taken.
        config(&second, SECRET, "[bucket.news]\nmode = \"plain\"\nquoat = 3\n");
        let refused = served.ctl(&["config", "reload"]);
        assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
        assert!(
            refused.err.contains("fallthrough.toml:24:1") && refused.err.contains("quoat"),
            "{}",
            refused.err
        );
        config(&second, SECRET, "[bucket.news]\nmode = \"migrate\"\nshadow = { origin = \"nobody\" }\n");
        let refused = served.ctl(&["config", "reload"]);
        assert!(refused.code == 1 && refused.err.contains("nobody"), "{}", refused.err);
        config(&second, SECRET, "[bucket.news]\nmode = \"plain\"\n\n[fill]\nstall = \"3s\"\n");
        let refused = served.ctl(&["config", "reload"]);
        assert!(refused.code == 1 && refused.err.contains("only a start reads [fill]"), "{}", refused.err);
        assert_eq!(status(&client, &get, "/photos/only-second"), 404, "still the first");
        assert_eq!(status(&client, &Method::HEAD, "/news"), 404, "no new bucket");

        // An origin, a bucket and a secret, all at once. What the first origin did not have is not believed of the
        // second, and the old secret is not believed any more.
        config(&second, "another-secret-for-main", "[bucket.news]\nmode = \"plain\"\nquota = 10\n");
        let taken = served.json(&["config", "reload"]);
        let lines: Vec<&str> =
            taken["changed"].as_array().unwrap().iter().filter_map(|line| line.as_str()).collect();
        assert_eq!(
            lines,
            ["access key FTMAIN is declared anew", "origin old is declared anew", "bucket news is declared"]
        );
        assert_eq!(status(&client, &get, "/photos/only-second"), 403, "the old secret");
        let client = client.with_secret("another-secret-for-main");
        assert!(client.send(&get, "/photos/only-second", b"").unwrap() == (200, other.to_vec()));
        assert_eq!(status(&client, &get, "/photos/both"), 200, "what was copied stays");
        assert_eq!(status(&client, &Method::HEAD, "/news"), 200);
        assert_eq!(client.send(&Method::PUT, "/news/k", b"ten  bytes").unwrap().0, 200);
        let (refused, why) = client.send(&Method::PUT, "/news/l", b"x").unwrap();
        let why = String::from_utf8(why).unwrap();
        assert!(refused == 403 && why.contains("<Code>QuotaExceeded</Code>"), "{refused} {why}");
        assert_eq!(client.send(&Method::DELETE, "/news/k", b"").unwrap().0, 204);
        let managed = served.ctl(&["bucket", "delete", "news"]);
        assert!(managed.code != 0 && managed.err.contains("declared"), "{}", managed.err);

        // The same by signal; what is no longer declared stays and can be changed.
        let secret = "another-secret-for-main";
        Config { origin: &second, secret, log: "debug", more: "" }.write(folder.path());
        signal(served.id(), "-HUP");
        served.wait_until_told("configuration: process.log is debug");
        assert!(
            served.told().contains("configuration: bucket news is no longer declared"),
            "{}",
            served.told()
        );
        assert_eq!(status(&client, &Method::HEAD, "/news"), 200);
        assert_eq!(served.ctl(&["bucket", "delete", "news"]).code, 0);
        std::fs::write(folder.path().join("fallthrough.toml"), "[bucket").unwrap();
        signal(served.id(), "-HUP");
        served.wait_until_told("the configuration was not taken");
        assert_eq!(status(&client, &get, "/photos/both"), 200, "it goes on as it was");
        assert_eq!(served.stop("-TERM"), 0);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_was_declared_anew_while_the_server_was_down_is_asked_anew() {
    let (first, second) = (FaultyOrigin::start_s3("old").await, FaultyOrigin::start_s3("old").await);
    let other = second.object("only-second", 1000).bytes();
    let folder = tempfile::tempdir().unwrap();
    tokio::task::spawn_blocking(move || {
        Config { origin: &first.url(), secret: SECRET, log: "warn", more: "" }.write(folder.path());
        let served = Served::serve(folder.path(), &[]);
        assert_eq!(status(&Client::of(&served), &Method::GET, "/photos/only-second"), 404);
        assert_eq!(served.stop("-TERM"), 0);
        Config { origin: &second.url(), secret: SECRET, log: "warn", more: "" }.write(folder.path());
        let served = Served::serve(folder.path(), &[]);
        let got = Client::of(&served).send(&Method::GET, "/photos/only-second", b"").unwrap();
        assert!(got == (200, other.to_vec()), "{}", got.0);
    })
    .await
    .unwrap();
}

#[test]
fn what_the_first_root_owned_goes_to_the_first_declared_account() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::serve(folder.path(), &[]);
    let made = Client::of(&served);
    assert_eq!(status(&made, &Method::PUT, "/mine"), 200);
    assert_eq!(made.send(&Method::PUT, "/mine/k", b"kept").unwrap().0, 200);
    let key = served.json(&["key", "create"]);
    assert_eq!(served.stop("-TERM"), 0);

    let accounts = "[[account]]\nid = \"main\"\naccess-key = \"FTMAIN\"\nsecret-key = \"the-first-secret-of-main\"\n\n\
                    [[account]]\nid = \"other\"\naccess-key = \"FTOTHER\"\nsecret-key = \"the-secret-of-the-other\"\n";
    std::fs::write(folder.path().join("fallthrough.toml"), accounts).unwrap();
    let served = Served::serve(folder.path(), &[]);
    let main = Client::of(&served);
    assert_eq!(main.send(&Method::GET, "/mine/k", b"").unwrap(), (200, b"kept".to_vec()));
    assert_eq!(served.json(&["bucket", "info", "mine"])["owner"], "main");
    assert_eq!(status(&made.at(&served), &Method::GET, "/mine/k"), 403, "the key that was made is gone");
    let text = |field: &str| key[field].as_str().unwrap().to_owned();
    let limited = main.with_key(&text("id"), &text("secret"));
    assert_eq!(status(&limited, &Method::GET, "/mine/k"), 200, "keys of that account go with it");

    let other = main.with_key("FTOTHER", "the-secret-of-the-other");
    assert_eq!(status(&other, &Method::GET, "/mine/k"), 403);
    assert_eq!(served.ctl(&["bucket", "set", "mine", "--owner", "other"]).code, 0);
    assert_eq!(status(&other, &Method::GET, "/mine/k"), 200);
    let unknown = served.ctl(&["bucket", "set", "mine", "--owner", "nobody"]);
    assert!(unknown.code != 0 && unknown.err.contains("nobody"), "{}", unknown.err);
    assert_eq!(served.stop("-TERM"), 0);
}
