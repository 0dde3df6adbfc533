//! The commands and the admin API, against a served process on free ports.

mod served;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use served::{Served, fallthrough, run};

/// One request over a plain socket; status and body.
#[expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
fn http(base: &str, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    use std::io::{Read, Write};
    let address = base.strip_prefix("http://").unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(socket, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_ready_file_tells_all_and_goes_with_a_clean_exit() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::serve(folder.path(), &[]);
    for field in ["s3", "admin", "admin_token", "access_key", "secret_key"] {
        assert!(!served.text(field).is_empty(), "{field}");
    }
    assert!(served.text("s3").starts_with("http://127.0.0.1:"));
    assert!(served.ready["pid"].as_u64().is_some());
    let mode = std::fs::metadata(&served.ready_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for secret in ["admin-token", "root-key.json"] {
        let mode = std::fs::metadata(folder.path().join("data").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let (ready_file, key) = (served.ready_file.clone(), served.text("access_key").to_owned());
    assert_eq!(served.stop("-TERM"), 0);
    assert!(!ready_file.exists());

    // The same root key and token after a restart, and SIGINT is as good.
    let again = Served::serve(folder.path(), &[]);
    assert_eq!(again.text("access_key"), key);
    assert_eq!(again.stop("-INT"), 0);
}

#[test]
fn what_is_in_use_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = run(fallthrough(folder.path()).args(["serve", "--listen", &address, "--data", "data"]));
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(&format!("cannot listen on {address}: the port is in use")), "{}", ran.err);
    assert!(ran.err.contains("help: stop the program that uses it"), "{}", ran.err);
    assert!(!folder.path().join("data/admin-token").exists(), "nothing was begun in the data folder");

    let served = Served::serve(folder.path(), &[]);
    let second = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", "data"];
    let ran = run(fallthrough(folder.path()).args(second));
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("is in use"), "{}", ran.err);
    assert!(ran.err.contains("help: stop that server, or give this one a folder of its own"), "{}", ran.err);
    drop(served);
}

#[test]
fn the_admin_api_wants_its_token_and_health_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::serve(folder.path(), &[]);
    let (admin, token) = (served.text("admin"), served.text("admin_token"));
    assert_eq!(http(admin, "GET", "/livez", None), (200, "alive\n".to_owned()));
    assert_eq!(http(admin, "GET", "/readyz", None), (200, "ready\n".to_owned()));
    let (status, metrics) = http(admin, "GET", "/metrics", None);
    assert_eq!(status, 200);
    for name in [
        "fallthrough_build_info",
        "process_resident_memory_bytes",
        "process_open_fds",
        "fallthrough_store_free_bytes",
        "fallthrough_store_commits_total",
        "fallthrough_store_commit_groups_total",
        "fallthrough_store_index_syncs_total",
        "fallthrough_store_listed_rows_total",
        "fallthrough_memory_cache_bytes",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    let (status, body) = http(admin, "GET", "/openapi.json", None);
    assert_eq!(status, 200);
    let described: serde_json::Value = serde_json::from_str(&body).unwrap();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path.replace("{name}", "nothing-here").replace("{id}", "FTNOTHING");
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let (without, _) = http(admin, &method, &path, None);
            let guarded = path.starts_with("/admin/");
            assert_eq!(without == 401, guarded, "{method} {path} without a token: {without}");
            let (wrong, _) = http(admin, &method, &path, Some("not-the-token"));
            assert_eq!(wrong == 401, guarded, "{method} {path} with a wrong token");
            let (with, body) = http(admin, &method, &path, Some(token));
            assert!(with != 401 && with != 405, "{method} {path}: {with} {body}");
            if with >= 400 {
                let error: serde_json::Value =
                    serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
                assert!(["error", "message", "mend"].iter().all(|name| error[name].is_string()), "{body}");
            }
        }
    }
    assert_eq!(http(admin, "GET", "/admin/v1/nothing", Some(token)).0, 404);
    assert_eq!(http(admin, "PUT", "/admin/v1/keys", Some(token)).0, 405);
}

#[test]
fn buckets_are_made_changed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::serve(folder.path(), &[]);
    assert_eq!(served.json(&["bucket", "list"]), serde_json::json!([]));
    let made = served.json(&["bucket", "create", "--public", "photos"]);
    assert_eq!((&made["bucket"]["mode"], &made["bucket"]["public"]), (&"plain".into(), &"read".into()));

    let again = served.ctl(&["bucket", "create", "photos"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("there is a bucket photos already"), "{}", again.err);
    let bad = served.ctl(&["bucket", "create", "Photos"]);
    assert!(bad.err.contains("only lower-case letters"), "{}", bad.err);

    let changed = served.ctl(&["bucket", "set", "photos", "--public", "none"]);
    assert_eq!((changed.code, changed.out.as_str()), (0, "~ public: read -> none\n"));
    let limits = ["bucket", "set", "photos", "--quota", "10MiB", "--cache-limit", "1GiB"];
    let limited = served.ctl(&limits);
    assert_eq!(
        limited.out, "+ cache_limit_bytes = 1073741824\n+ quota_bytes = 10485760\n",
        "{}",
        limited.err
    );
    let info = served.ctl(&["bucket", "info", "photos"]);
    let shown = |name: &str, value: &str| {
        info.out.lines().any(|line| line.starts_with(name) && line.ends_with(value))
    };
    assert!(
        shown("copies", "0 objects, 0 B of 1 GiB") && shown("written", "0 objects, 0 B of 10 MiB"),
        "{}",
        info.out
    );
    let unlimited = served.ctl(&["bucket", "set", "photos", "--cache-limit", "none"]);
    assert_eq!(unlimited.out, "- cache_limit_bytes = 1073741824\n", "{}", unlimited.err);
    let left = served.json(&["bucket", "info", "photos"]);
    assert_eq!((&left["quota_bytes"], left.get("cache_limit_bytes")), (&10_485_760.into(), None));
    assert_eq!(left["usage"]["written"]["objects"], 0);
    let wrong = served.ctl(&["bucket", "set", "photos", "--quota", "much"]);
    assert!(wrong.code == 2 && wrong.err.contains("is not a size such as"), "{}", wrong.err);
    let none = served.ctl(&["bucket", "set", "photos"]);
    assert_eq!(none.code, 2, "{}", none.err);
    let mode = served.ctl(&["bucket", "set", "photos", "--mode", "cache"]);
    assert!(mode.code == 1 && mode.err.contains("this mode needs a shadow"), "{}", mode.err);

    let missing = served.ctl(&["bucket", "info", "nothing-here"]);
    assert_eq!(missing.code, 3);
    assert!(missing.err.contains("help: "), "{}", missing.err);

    let dry = served.ctl(&["bucket", "delete", "photos", "--dry-run"]);
    assert_eq!((dry.code, dry.out.as_str()), (0, "dry run: would delete bucket photos if it is empty\n"));
    let partly = served.ctl(&["bucket", "delete", "photos", "nothing-here"]);
    assert_eq!(partly.code, 5, "{}", partly.err);
    assert_eq!(served.json(&["bucket", "list"]), serde_json::json!([]));
}

#[test]
fn shadows_are_probed_patched_and_keep_their_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), "[network]\nallow-private-origins = true\n").unwrap();
    let served = Served::serve(folder.path(), &["--config", "c.toml"]);
    served.json(&["bucket", "create", "photos"]);
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2hunter2\n").unwrap();
    let secret = secret.to_str().unwrap();
    let set = [
        "shadow",
        "set",
        "photos",
        "--endpoint",
        "http://127.0.0.1:9",
        "--name",
        "old-photos",
        "--access-key",
        "AKOLD",
        "--secret-key-file",
        secret,
    ];
    // Nobody listens there, so the probe fails; nothing is saved.
    let refused = served.ctl(&set);
    assert_eq!(refused.code, 4, "{}{}", refused.out, refused.err);
    assert!(refused.out.contains("failed"), "{}", refused.out);
    assert!(refused.err.contains("did not pass the probe"), "{}", refused.err);
    assert_eq!(served.json(&["shadow", "get", "photos"])["rules"], serde_json::json!([]));

    let unprobed: Vec<&str> = set.iter().copied().chain(["--no-probe"]).collect();
    let saved = served.ctl(&unprobed);
    assert_eq!(saved.code, 0, "{}", saved.err);
    assert!(saved.out.contains("~ mode: plain -> migrate"), "{}", saved.out);
    let patched = served.ctl(&["shadow", "set", "photos", "--region", "eu-central-1", "--no-probe"]);
    assert_eq!((patched.code, patched.out.as_str()), (0, "~ shadow.0.region: us-east-1 -> eu-central-1\n"));
    let rule = &served.json(&["shadow", "get", "photos"])["rules"][0];
    assert_eq!((&rule["name"], &rule["access_key"]), (&"old-photos".into(), &"AKOLD".into()));
    assert_eq!((&rule["secret_key_set"], &rule["secret_key"]), (&true.into(), &serde_json::Value::Null));

    let elsewhere =
        served.ctl(&["shadow", "set", "photos", "--endpoint", "http://127.0.0.1:10", "--no-probe"]);
    assert!(
        elsewhere.err.contains("there is no secret for this access key and endpoint"),
        "{}",
        elsewhere.err
    );
    let through = served.ctl(&["bucket", "set", "photos", "--shadow-write-through", "--no-probe"]);
    assert_eq!(through.code, 0, "{}", through.err);
    let shadow = served.json(&["shadow", "get", "photos"]);
    assert_eq!(shadow["rules"][0]["write_through"], "async");
    assert_eq!((&shadow["waiting"]["pending"], &shadow["waiting"]["dead"]), (&0.into(), &0.into()));
    let cache = served.ctl(&["shadow", "set", "photos", "--mode", "cache", "--no-probe"]);
    assert!(cache.err.contains("write-through and delete-through are for mode migrate"), "{}", cache.err);
    let off = served.ctl(&["shadow", "set", "photos", "--write-through=off", "--no-probe"]);
    assert_eq!(off.code, 0, "{}", off.err);
    let test = served.ctl(&["shadow", "test", "photos"]);
    assert_eq!(test.code, 4, "{}", test.out);

    let moved = served.ctl(&[
        "shadow",
        "set",
        "photos",
        "--provider",
        "tigris",
        "--secret-key-file",
        secret,
        "--no-probe",
    ]);
    assert_eq!(moved.code, 0, "{}", moved.err);
    assert_eq!(
        moved.out,
        "+ shadow.0.addressing = virtual-host\n~ shadow.0.endpoint: http://127.0.0.1:9 -> https://t3.storage.dev\n\
         ~ shadow.0.region: eu-central-1 -> auto\n"
    );
    let unsaid =
        served.ctl(&["shadow", "set", "photos", "--provider", "backblaze", "--secret-key-file", secret]);
    assert!(unsaid.err.contains("a bucket of backblaze needs its `region`"), "{}", unsaid.err);
    let cleared = served.ctl(&["bucket", "set", "photos", "--clear-shadow"]);
    assert_eq!(cleared.code, 0, "{}", cleared.err);
    assert_eq!(served.json(&["bucket", "info", "photos"])["mode"], "plain");
    for told in [&refused, &saved, &patched, &cleared] {
        assert!(!told.out.contains("hunter2") && !told.err.contains("hunter2"));
    }
}

#[test]
fn a_bucket_has_several_shadow_rules() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), "[network]\nallow-private-origins = true\n").unwrap();
    let served = Served::serve(folder.path(), &["--config", "c.toml"]);
    served.json(&["bucket", "create", "photos"]);
    let set = |flags: &[&str]| {
        let always = ["shadow", "set", "photos", "--url", "http://127.0.0.1:9/", "--no-probe"];
        served.ctl(&always.into_iter().chain(flags.iter().copied()).collect::<Vec<_>>())
    };
    assert_eq!(set(&["--prefix", "img/", "--suffix", ".png", "--key", "{rest}"]).code, 0);
    let second = set(&["--rule", "1", "--matches", "^doc/[0-9]+"]);
    assert_eq!(second.code, 0, "{}", second.err);
    assert!(second.out.contains("+ shadow.1.matches = ^doc/[0-9]+"), "{}", second.out);
    assert_eq!(set(&["--rule", "2"]).code, 0);
    let unreached = set(&["--rule", "3", "--prefix", "a/"]);
    assert!(unreached.err.contains("shadow rule 3 is never reached, since rule 2"), "{}", unreached.err);
    let beyond = set(&["--rule", "7"]);
    assert!(beyond.code == 3 && beyond.err.contains("has 3 shadow rules"), "{}", beyond.err);

    let told = served.ctl(&["shadow", "get", "photos"]);
    assert!(told.out.contains("rule 0\n") && told.out.contains("rule 2\n"), "{}", told.out);
    let told = served.json(&["object", "explain", "s3://photos/doc/12"]);
    assert_eq!(told["rule"][0], 1, "{told}");
    let fewer = served.ctl(&["shadow", "clear", "photos", "--rule", "1"]);
    assert_eq!(fewer.code, 0, "{}", fewer.err);
    let rules = served.json(&["shadow", "get", "photos"])["rules"].clone();
    assert_eq!((rules.as_array().map(Vec::len), &rules[0]["suffix"]), (Some(2), &".png".into()));
    assert_eq!(served.ctl(&["shadow", "clear", "photos"]).code, 0);
    assert_eq!(served.json(&["bucket", "info", "photos"])["mode"], "plain");
}

#[test]
fn private_addresses_are_no_shadows_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::serve(folder.path(), &[]);
    served.json(&["bucket", "create", "photos"]);
    let refused = served.ctl(&["shadow", "set", "photos", "--url", "http://127.0.0.1:9/", "--no-probe"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("set network.allow-private-origins if that is meant"), "{}", refused.err);
    assert_eq!(served.json(&["bucket", "info", "photos"])["mode"], "plain");
}

#[test]
fn keys_show_their_secret_once() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::serve(folder.path(), &[]);
    let made = served.json(&["key", "create", "--read", "photos", "--expires", "30d"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert_eq!(secret.len(), 40);
    assert_eq!(made["grants"], serde_json::json!([{"bucket": "photos", "right": "read"}]));
    let listed = served.json(&["key", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "root's and this one");
    assert!(!listed.to_string().contains(secret));

    let env = run(fallthrough(folder.path()).args(["key", "env", "--ready-file", "ready.json"]));
    assert_eq!(env.code, 0, "{}", env.err);
    assert!(env.out.contains(&format!("export AWS_ENDPOINT_URL_S3={}\n", served.text("s3"))), "{}", env.out);
    assert!(env.out.contains(&format!("export AWS_SECRET_ACCESS_KEY={}\n", served.text("secret_key"))));

    let shown = served.json(&["key", "show", id]);
    assert_eq!((&shown["id"], &shown["grants"]), (&made["id"], &made["grants"]));
    let limited = served.json(&["key", "limit", id, "--write", "photos", "--owner", "videos"]);
    assert_eq!(
        limited["grants"],
        serde_json::json!([{"bucket": "photos", "right": "write"}, {"bucket": "videos", "right": "owner"}])
    );
    assert!(served.json(&["key", "limit", id, "--all"])["grants"].is_null());
    assert_eq!(served.ctl(&["key", "limit", id]).code, 2, "nothing said is not everything");
    assert!(served.json(&["key", "expire", id, "--never"])["expires"].is_null());
    assert!(served.json(&["key", "expire", id, "--in", "1h"])["expires"].is_string());
    assert!(served.json(&["key", "disable", id])["expires"].is_string());
    assert!(served.json(&["key", "enable", id])["expires"].is_null());
    let rotated = served.json(&["key", "rotate", id, "--keep", "0s"]);
    assert_ne!((&rotated["id"], &rotated["secret"]), (&made["id"], &made["secret"]));
    for verb in [&["key", "disable"][..], &["key", "rotate"], &["key", "expire", "--never"]] {
        let root = served.ctl(&[verb, &[served.text("access_key")]].concat());
        assert!(root.code == 1 && root.err.contains("the root account's own"), "{verb:?} {}", root.err);
    }

    let root = served.ctl(&["key", "revoke", served.text("access_key")]);
    assert!(root.code == 1 && root.err.contains("the root account's own"), "{}", root.err);
    assert_eq!(served.ctl(&["key", "revoke", id, "--dry-run"]).code, 0);
    assert_eq!(served.ctl(&["key", "revoke", id]).code, 0);
    assert_eq!(served.ctl(&["key", "revoke", id]).code, 3);
}

#[test]
fn declared_buckets_and_keys_follow_the_file_and_are_read_only_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let text = "[[account]]\nid = \"main\"\naccess-key = \"FTMAIN\"\nsecret-key = \"a-long-secret\"\n\
                [origin.avatar]\nkind = \"avatar\"\n\
                [bucket.avatar]\nmode = \"compute\"\npublic = \"read\"\nshadow = { origin = \"avatar\", edition = \"v1\" }\n";
    std::fs::write(&file, text).unwrap();
    let served = Served::serve(folder.path(), &["--config", "c.toml"]);
    assert_eq!((served.text("access_key"), served.text("secret_key")), ("FTMAIN", "a-long-secret"));
    let refused = served.ctl(&["bucket", "set", "avatar", "--public", "none"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("declared in the configuration file and can be changed only there"),
        "{}",
        refused.err
    );
    assert_eq!(served.ctl(&["shadow", "clear", "avatar"]).code, 1);
    assert_eq!(served.ctl(&["bucket", "delete", "avatar"]).code, 1);
    assert_eq!(served.json(&["shadow", "test", "avatar"])["ok"], true);

    // All the way: an anonymous GET of a public compute bucket draws an avatar, and then has it.
    let path = "/avatar/27205e5c51cb03f862138b22bcb5dc20f94a342e744ff6df1b8dc8af3c865109";
    let explained = served.ctl(&["object", "stat", &format!("s3:/{path}")]);
    assert_eq!(explained.code, 3, "{}", explained.err);
    let picture = served.folder.join("picture");
    let get = std::process::Command::new("curl")
        .args([
            "-sS",
            "-o",
            picture.to_str().unwrap(),
            "-w",
            "%{http_code} %header{x-cache}",
            &format!("{}{path}", served.text("s3")),
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&get.stdout), "200 MISS", "{}", String::from_utf8_lossy(&get.stderr));
    assert!(std::fs::read(&picture).unwrap().starts_with(&[0xff, 0xd8]), "a JPEG");
    // Who has been given the object finds it: its commit may have been on its way.
    let listed = served::client::Client::of(&served).list("/avatar", "").unwrap();
    assert_eq!(listed, Ok(vec![path["/avatar/".len()..].to_owned()]));
    let stat = served.json(&["object", "stat", &path[1..]]);
    assert_eq!((&stat["state"], &stat["origin"]), (&"filled".into(), &"avatar".into()));
    assert_eq!(served.json(&["object", "purge", &path[1..], "--dry-run"])["purged"], true);
    assert_eq!(served.json(&["object", "purge", &path[1..]])["purged"], true);
    assert_eq!(served.json(&["object", "explain", &path[1..]])["state"], "unknown");
    assert_eq!(served.stop("-TERM"), 0);

    // Without the declarations the bucket stays and is free, and the key is gone.
    std::fs::write(&file, "").unwrap();
    let served = Served::serve(folder.path(), &["--config", "c.toml"]);
    let cleared = served.ctl(&["shadow", "clear", "avatar"]);
    assert_eq!(cleared.code, 0, "{}", cleared.err);
    assert_eq!(served.json(&["bucket", "info", "avatar"])["managed"], false);
    assert!(!served.json(&["key", "list"]).to_string().contains("FTMAIN"));
}

#[test]
fn the_tiers_run_on_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("model"), folder.path().join("avatar"));
    std::fs::create_dir_all(&a).unwrap();
    std::fs::create_dir_all(&b).unwrap();
    let model = Served::start(&a, &["model", "serve", "--listen", "127.0.0.1:0", "--user", "u"]);
    assert_eq!(model.text("user"), "u");
    let password = b.join("password");
    std::fs::write(&password, model.text("password")).unwrap();
    let avatar = Served::start(
        &b,
        &[
            "avatar",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--txt2img",
            model.text("model"),
            "--txt2img-user",
            "u",
            "--txt2img-password-file",
            "password",
        ],
    );
    let secret = b.join("secret");
    std::fs::write(&secret, avatar.text("secret_key")).unwrap();
    let hash = "27205e5c51cb03f862138b22bcb5dc20";
    let test = run(fallthrough(&b).args([
        "origin",
        "test",
        avatar.text("origin"),
        "--bucket",
        "avatar",
        "--key",
        hash,
        "--impossible-key",
        "no-hash",
        "--access-key",
        avatar.text("access_key"),
        "--secret-key-file",
        "secret",
        "--concurrency",
        "2",
        "--json",
    ]));
    assert_eq!(test.code, 0, "{}{}", test.out, test.err);
    let open = run(fallthrough(&a).args(["model", "serve", "--listen", "0.0.0.0:0"]));
    assert!(open.code == 2 && open.err.contains("give --user, or --anonymous"), "{}", open.err);
    assert_eq!(avatar.stop("-TERM"), 0);
    assert_eq!(model.stop("-TERM"), 0);
}

#[test]
fn exit_codes_and_errors_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = ["--admin", "http://127.0.0.1:9", "--admin-token-file", "token"];
    std::fs::write(folder.path().join("token"), "a-token-of-some-length").unwrap();
    for (arguments, code, told) in [
        (vec!["config", "check"], 0, ""),
        (vec!["frobnicate"], 2, "unrecognized subcommand"),
        (vec!["bucket", "create"], 2, "<BUCKET>"),
        (vec!["object", "stat", "no-key"], 2, "write it as s3://BUCKET/KEY"),
        (vec!["bucket", "list"], 1, "give the token with"),
        (vec!["config", "check", "--config", "missing.toml"], 1, "the configuration file cannot be read"),
        ([vec!["bucket", "list"], nobody.to_vec()].concat(), 4, "cannot be reached"),
        (vec!["origin", "test", "ftp://x"], 2, "cannot be tested"),
        (vec!["key", "env"], 1, "there is no root key yet"),
    ] {
        let ran = run(fallthrough(folder.path()).args(&arguments));
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{arguments:?}: {}", ran.err);
    }
    let warned = run(fallthrough(folder.path()).args([
        "bucket",
        "list",
        "--admin-token",
        "x",
        "--admin",
        "http://127.0.0.1:9",
    ]));
    assert!(warned.err.contains("warning: --admin-token shows its secret"), "{}", warned.err);

    std::fs::write(folder.path().join("fallthrough.toml"), "[s3]\nlistn = 1\n").unwrap();
    let bad = run(fallthrough(folder.path()).args(["config", "check"]));
    assert_eq!(bad.code, 1);
    assert!(
        bad.err.starts_with("fallthrough.toml:2:1: unknown key \"listn\" in [s3]; did you mean \"listen\"?\n  help: write \"listen\""),
        "{}",
        bad.err
    );
    let completion = run(fallthrough(folder.path()).args(["completion", "bash"]));
    assert!(completion.code == 0 && completion.out.contains("fallthrough"), "{}", completion.err);
}

/// A server that comes up with defaults where its user meant something else must say so.
#[test]
fn every_server_warns_of_variables_that_only_look_like_settings() {
    for server in [
        &["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"][..],
        &["avatar", "serve", "--listen", "127.0.0.1:0"],
        &["model", "serve", "--listen", "127.0.0.1:0"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = fallthrough(folder.path());
        command.args(server).env("FALLTHROUGH_S3_LISTEN", "127.0.0.1:1");
        // A variable of `model serve`, and no miss.
        command.env("FALLTHROUGH_MODEL_PASSWORD", "secret");
        let served =
            Served::start_command(folder.path(), command).unwrap_or_else(|ran| panic!("{}", ran.err));
        served.wait_until_told("did you mean FALLTHROUGH_S3__LISTEN?");
        assert!(!served.told().contains("FALLTHROUGH_MODEL"), "{server:?}: {}", served.told());
    }
}
