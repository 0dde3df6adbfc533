use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use fallthrough_bucket::{BucketMode, ListFrom, PublicAccess, ShadowTarget, WriteConflict, WriteThrough};
use fallthrough_object::BucketName;

use super::{Layers, ModelSettings, OriginKind, Problems, Settings, near_misses, schema};

/// Loads settings from a file of this text and these variables. The file is called `f.toml`.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    std::fs::write(&path, text).unwrap();
    let environment =
        variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let loaded = Settings::load(&Layers { file: Some(path), environment, ..Layers::default() });
    loaded.map_err(|mut problems| {
        for problem in &mut problems.0 {
            problem.message = problem.to_string().replace(&format!("{}/", folder.path().display()), "");
            problem.place = super::tree::Place::Default;
        }
        problems
    })
}

fn messages(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match load(text, variables) {
        Ok(_) => panic!("these settings were accepted: {text}"),
        Err(problems) => {
            assert!(problems.0.iter().all(|problem| !problem.mend.is_empty()), "{problems:?}");
            problems.0.into_iter().map(|problem| problem.message).collect()
        }
    }
}

fn name(text: &str) -> BucketName {
    BucketName::parse(text).unwrap()
}

#[test]
fn nothing_set_gives_the_defaults() {
    let settings = load("", &[]).unwrap();
    assert_eq!(settings.s3.listen.to_string(), "0.0.0.0:9900");
    assert_eq!(settings.admin.listen.to_string(), "127.0.0.1:9901");
    assert_eq!(settings.store.data, PathBuf::from("fallthrough-data"));
    assert_eq!((settings.store.low_space_bytes, settings.store.cache_limit_bytes), (1 << 30, None));
    assert_eq!((settings.store.blocks_limit_bytes, settings.store.promote_bytes_per_minute), (0, 256 << 20));
    assert_eq!(settings.fill.client_wait, Duration::from_secs(25));
    assert_eq!(settings.fill.negative_ttl, Duration::from_secs(30));
    assert_eq!((settings.fill.max_in_flight, settings.fill.queue, settings.fill.per_client), (256, 1024, 64));
    assert!(!settings.allow_private_origins);
    assert!(settings.accounts.is_empty() && settings.admin.token.is_none());
}

#[test]
fn the_documented_example_is_accepted() {
    let variables = [("OLD_ACCESS_KEY_ID", "AK"), ("OLD_SECRET_ACCESS_KEY", "SK")];
    let settings = load(schema::EXAMPLE, &variables).unwrap();
    let avatar = &settings.buckets[&name("avatar")];
    assert_eq!((avatar.mode, avatar.public), (BucketMode::Compute, PublicAccess::Read));
    assert_eq!(avatar.shadow[0].edition.as_deref(), Some("v1"));
    assert_eq!(settings.origins["avatar"].per_client, Some(2));
    let photos = &settings.buckets[&name("photos")];
    assert_eq!(photos.shadow[0].list, Some(ListFrom::Merged));
    match &photos.shadow[0].target {
        ShadowTarget::S3 { endpoint, name, region, credentials, addressing: _ } => {
            assert_eq!(endpoint, "https://s3.eu-central-1.example");
            assert_eq!((name.as_str(), region.as_str()), ("old-photos", "eu-central-1"));
            assert_eq!(credentials.as_ref().unwrap().access_key, "AK");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(settings.buckets[&name("tiles")].shadow[0].ttl_secs, Some(600));
}

#[test]
fn a_rule_says_what_is_passed_on() {
    let text = "[bucket.tiles]\nmode = \"cache\"\nshadow = { url = \"http://a.example\", pass-query = [\"w\", \"h\"], \
                pass-headers = [\"Accept-Language\"], passed-alike = true }";
    let settings = load(text, &[]).unwrap();
    let rule = &settings.buckets[&name("tiles")].shadow[0];
    assert_eq!(
        (&rule.pass_query[..], &rule.pass_headers[..]),
        (&["w".to_owned(), "h".to_owned()][..], &["accept-language".to_owned()][..])
    );
    assert!(rule.passed_alike);
}

#[test]
fn a_rule_has_members_and_their_secrets_are_not_shown() {
    let text = r#"
        [origin.a]
        kind = "http"
        url = "http://a.example"
        [bucket.photos.shadow]
        endpoint = "https://a.example"
        name = "old"
        credentials = "env:A_"
        members = [
            { endpoint = "https://b.example", name = "old", region = "eu-1", credentials = "env:B_" },
            { provider = "aws", region = "eu-west-1", name = "old-too" },
        ]
    "#;
    let variables = [
        ("A_ACCESS_KEY_ID", "AK"),
        ("A_SECRET_ACCESS_KEY", "hidden-a"),
        ("B_ACCESS_KEY_ID", "BK"),
        ("B_SECRET_ACCESS_KEY", "hidden-b"),
    ];
    let settings = load(text, &variables).unwrap();
    let rule = &settings.buckets[&name("photos")].shadow[0];
    match &rule.members[..] {
        [
            ShadowTarget::S3 { endpoint, credentials: Some(credentials), .. },
            ShadowTarget::S3 { name, credentials: None, .. },
        ] => {
            assert_eq!(
                (endpoint.as_str(), credentials.secret_key.as_str()),
                ("https://b.example", "hidden-b")
            );
            assert_eq!(name, "old-too");
        }
        other => panic!("{other:?}"),
    }
    let shown = settings.show().to_string();
    assert!(!shown.contains("hidden") && shown.contains("https://b.example"), "{shown}");
    for (member, says) in [
        ("{ origin = \"b\" }", "origin.b"),
        ("{ name = \"x\" }", "nowhere"),
        ("{ prefix = \"x\" }", "prefix"),
    ] {
        let text = text.replace("{ provider", &format!("{member}, {{ provider"));
        let problems = load(&text, &variables).unwrap_err();
        assert!(format!("{problems:?}").contains(says), "{says}: {problems:?}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let text =
        "[s3]\nlisten = \"127.0.0.1:1\"\n[fill]\nmax-in-flight = 1\n[bucket.my-photos]\npublic = \"read\"\n";
    let variables = [
        ("FALLTHROUGH_S3__LISTEN", "127.0.0.1:2"),
        ("FALLTHROUGH_FILL__MAX_IN_FLIGHT", "9"),
        ("FALLTHROUGH_FILL__CLIENT_WAIT", "3s"),
        ("FALLTHROUGH_NETWORK__ALLOW_PRIVATE_ORIGINS", "true"),
        ("FALLTHROUGH_S3__DOMAINS", "a.example, b.example"),
        ("FALLTHROUGH_BUCKET__MY_PHOTOS__PUBLIC", "none"),
        ("FALLTHROUGH_ORIGIN__TILES__KIND", "http"),
        ("FALLTHROUGH_ORIGIN__TILES__URL", "https://tiles.example"),
        ("FALLTHROUGH_BUCKET__TILES__SHADOW", "{ origin = \"tiles\" }"),
        ("FALLTHROUGH_BUCKET__TILES__MODE", "cache"),
        ("FALLTHROUGH_ACCOUNT__0__ID", "main"),
        ("FALLTHROUGH_ACCOUNT__0__ACCESS_KEY", "FTMAIN"),
        ("FALLTHROUGH_ACCOUNT__0__SECRET_KEY", "12345678"),
        ("FALLTHROUGH_ADMIN", "http://elsewhere"),
        ("UNRELATED__KEY", "x"),
    ];
    // Lists that exist only in variables begin as tables of numbers; write the first element in the file.
    let text =
        format!("{text}\n[[account]]\nid = \"old\"\naccess-key = \"OLD\"\nsecret-key = \"abcdefgh\"\n");
    let settings = load(&text, &variables).unwrap();
    assert_eq!(settings.s3.listen.port(), 2);
    assert_eq!(settings.fill.max_in_flight, 9);
    assert_eq!(settings.fill.client_wait, Duration::from_secs(3));
    assert!(settings.allow_private_origins);
    assert_eq!(settings.s3.domains, ["a.example", "b.example"]);
    assert_eq!(settings.buckets[&name("my-photos")].public, PublicAccess::None);
    assert_eq!(settings.buckets[&name("tiles")].mode, BucketMode::Cache);
    assert_eq!(
        (settings.accounts[0].id.as_str(), settings.accounts[0].access_key.as_str()),
        ("main", "FTMAIN")
    );
    assert_eq!(settings.accounts[0].secret_key.reveal(), "12345678");

    let layers = Layers {
        environment: vec![("FALLTHROUGH_S3__LISTEN".into(), "127.0.0.1:2".into())],
        presets: Some("[s3]\nlisten = \"127.0.0.1:7\"\n[admin]\nlisten = \"127.0.0.1:8\"".to_owned()),
        file: Some(PathBuf::from("/dev/null")),
        ..Layers::default()
    }
    .flag("--listen", "s3.listen", Some("127.0.0.1:3".to_owned()));
    let settings = Settings::load(&layers).unwrap();
    assert_eq!((settings.s3.listen.port(), settings.admin.listen.port()), (3, 8));
}

#[test]
fn a_list_may_be_made_of_variables_alone() {
    let variables = [
        ("FALLTHROUGH_ACCOUNT__0__ID", "main"),
        ("FALLTHROUGH_ACCOUNT__0__ACCESS_KEY", "FTMAIN"),
        ("FALLTHROUGH_ACCOUNT__0__SECRET_KEY", "12345678"),
        ("FALLTHROUGH_ACCOUNT__1__ID", "other"),
        ("FALLTHROUGH_ACCOUNT__1__ACCESS_KEY", "FTOTHER"),
        ("FALLTHROUGH_ACCOUNT__1__SECRET_KEY", "87654321"),
    ];
    let settings = load("", &variables).unwrap();
    let ids: Vec<&str> = settings.accounts.iter().map(|account| account.id.as_str()).collect();
    assert_eq!(ids, ["main", "other"]);
}

#[test]
fn secrets_come_from_files_and_are_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "from-a-file\n").unwrap();
    let text = format!(
        "[[account]]\nid = \"main\"\naccess-key = \"FTMAIN\"\nsecret-key-file = {:?}\n",
        secret.display().to_string()
    );
    let settings = load(&text, &[]).unwrap();
    assert_eq!(settings.accounts[0].secret_key.reveal(), "from-a-file");
    assert!(!format!("{settings:?}").contains("from-a-file"));
    assert!(!settings.show().to_string().contains("from-a-file"));

    let higher = [("FALLTHROUGH_ACCOUNT__0__SECRET_KEY", "from-a-variable")];
    assert_eq!(load(&text, &higher).unwrap().accounts[0].secret_key.reveal(), "from-a-variable");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let mut wrong = Vec::new();
    for (text, expected) in [
        ("[s3]\nlistn = \"x\"\n", "f.toml:2:1: unknown key \"listn\" in [s3]; did you mean \"listen\"?"),
        ("[s3]\nport = 1\n", "f.toml:2:1: unknown key \"port\" in [s3]"),
        ("[buckets.a]\n", "f.toml:1:2: unknown section \"buckets\"; did you mean \"bucket\"?"),
        (
            "[fill]\nmax_in_flight = 1\n",
            "f.toml:2:1: unknown key \"max_in_flight\" in [fill]; did you mean \"max-in-flight\"?",
        ),
        (
            "[s3]\nlisten = \"9900\"\n",
            "f.toml:2:10: s3.listen: \"9900\" is not an address and port such as \"0.0.0.0:9900\"",
        ),
        ("[s3]\nlisten = 9900\n", "f.toml:2:10: s3.listen: 9900 is a number; write it in quotes"),
        ("[s3\n", "f.toml:1:4: this is not TOML: unclosed table, expected `]`"),
        ("[s3]\ndomains = [\"http://x\"]\n", "f.toml:2:11: s3.domains: \"http://x\" is not a domain name"),
        (
            "[fill]\nstall = \"10\"\n",
            "f.toml:2:9: fill.stall: \"10\" is not a duration such as \"25s\", \"500ms\" or \"1h30m\"",
        ),
        ("[fill]\nstall = 10\n", "f.toml:2:9: fill.stall: 10 has no unit; write \"10s\" for seconds"),
        ("[fill]\nstall = \"0s\"\n", "f.toml:2:9: fill.stall: it must be more than 0"),
        (
            "[fill]\nmax-in-flight = 0\n",
            "f.toml:2:17: fill.max-in-flight: 0 is out of range: it must be 1 to 4294967295",
        ),
        (
            "[store]\nlow-space-stop-fills = \"5 gigs\"\n",
            "f.toml:2:24: store.low-space-stop-fills: \"5 gigs\" is not a size such as \"200GiB\", \"5GB\" or \"1048576\"",
        ),
        (
            "[network]\nallow-private-origins = \"maybe\"\n",
            "f.toml:2:25: network.allow-private-origins: \"maybe\" is neither true nor false",
        ),
        (
            "[admin]\ntoken = \"short\"\n",
            "f.toml:2:9: the admin token must be at least 16 visible ASCII characters",
        ),
        (
            "[bucket.abc]\nmode = \"migrate\"\nshadow = { provider = \"backblaze\", name = \"old\" }\n",
            "f.toml:3:1: bucket.abc.shadow: a bucket of backblaze needs its `region`",
        ),
        (
            "[origin.old]\nkind = \"s3\"\nprovider = \"aws\"\nregion = \"eu west\"\nname = \"old\"\n",
            "f.toml:4:10: origin.old.region: \"https://s3.eu west.amazonaws.com\" is not a URL: invalid international domain name",
        ),
        (
            "[origin.old]\nkind = \"s3\"\nprovider = \"amazon\"\nname = \"old\"\n",
            "f.toml:3:12: origin.old.provider: \"amazon\" is not one of aws, gcs, r2, minio, backblaze, wasabi, tigris",
        ),
        (
            "[store]\nold-sealing-key = \"hunter2\"\n",
            "f.toml:2:19: store.old-sealing-key: it has 7 characters; at least 32 are needed",
        ),
        ("[account]\nid = \"x\"\n", "f.toml:1:2: account must be a list of tables ([[account]])"),
        ("[bucket]\nx = 1\n", "f.toml:2:1: bucket.x must be a table"),
        (
            "[bucket.Photos]\n",
            "f.toml:1:9: bucket name \"Photos\" is invalid: only lower-case letters, digits, dots and hyphens are allowed",
        ),
        (
            "[bucket.abc]\nmode = \"chache\"\n",
            "f.toml:2:8: bucket.abc.mode: \"chache\" is not one of plain, migrate, cache, compute; did you mean \"cache\"?",
        ),
        ("[bucket.abc]\nmode = \"cache\"\n", "f.toml:2:8: bucket.abc: this mode needs a shadow"),
        (
            "[bucket.abc]\nshadow = \"x\"\n",
            "f.toml:2:1: bucket.abc.shadow must be a table or a list of tables",
        ),
        ("[bucket.abc]\nshadow = { prefix = \"x\" }\n", "f.toml:2:1: bucket.abc.shadow leads nowhere"),
        (
            "[bucket.abc]\nshadow = { origin = \"x\" }\n",
            "f.toml:2:21: bucket.abc.shadow.origin: there is no [origin.x]",
        ),
        (
            "[bucket.abc]\nshadow = { url = \"https://x\", endpoint = \"https://y\" }\n",
            "f.toml:2:18: bucket.abc.shadow leads to several places: endpoint, url",
        ),
        (
            "[bucket.abc]\nshadow = { url = \"https://u:secret@x\" }\n",
            "f.toml:2:18: bucket.abc.shadow.url: a URL with a user or a password in it is not taken",
        ),
        (
            "[bucket.abc]\nshadow = { url = \"ftp://x\" }\n",
            "f.toml:2:18: bucket.abc.shadow.url: \"ftp://x\" does not begin with http:// or https:// and a host",
        ),
        (
            "[bucket.abc]\nshadow = { url = \"https://x\", key = \"k\" }\n",
            "f.toml:2:37: bucket.abc.shadow.key: the text has no {key} in it, so that all keys would be the same object",
        ),
        (
            "[origin.a]\nkind = \"avatar\"\nmodel = \"sd\"\n[model.sdx]\nkind = \"painter\"\n",
            "f.toml:3:9: origin.a.model: there is no [model.sd]; did you mean \"sdx\"?",
        ),
        ("[origin.a]\nkind = \"http\"\n", "f.toml:1:9: origin.a needs \"url\""),
        (
            "[origin.a]\nkind = \"http\"\nurl = \"http://x\"\nname = \"n\"\n",
            "f.toml:4:8: origin.a: kind \"http\" takes no \"name\"",
        ),
        (
            "[model.a]\nkind = \"paintr\"\n",
            "f.toml:2:8: model.a.kind: \"paintr\" is not one of painter, txt2img, candle; did you mean \"painter\"?",
        ),
        (
            "[[account]]\nid = \"a\"\naccess-key = \"AKA\"\n",
            "f.toml:1:1: account.0 needs \"secret-key-file\" or \"secret-key\"",
        ),
    ] {
        let told = messages(text, &[]);
        if told != [expected] {
            wrong.push(format!("{told:#?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn limits_are_sizes_and_fit_the_mode() {
    let shadow = "shadow = { url = \"https://x\" }\n";
    let text = format!(
        "[store]\ncache-limit = \"50GiB\"\n[bucket.abc]\nmode = \"cache\"\n{shadow}cache-limit = \"1GB\"\nquota = 7\n"
    );
    let settings = load(&text, &[]).unwrap();
    assert_eq!(settings.store.cache_limit_bytes, Some(50 << 30));
    let bucket = settings.buckets.values().next().unwrap();
    assert_eq!((bucket.cache_limit_bytes, bucket.quota_bytes), (Some(1_000_000_000), Some(7)));
    let told = messages(&format!("[bucket.abc]\nmode = \"migrate\"\n{shadow}cache-limit = \"1GB\"\n"), &[]);
    let expected = "f.toml:4:15: bucket.abc.cache-limit: nothing that this mode keeps is ever evicted";
    assert_eq!(told, [expected]);
}

#[test]
fn several_servers_are_a_pool() {
    let text = "[model.sd]\nkind = \"txt2img\"\nurl = [\"http://a:7860\", \"http://b:7860\"]\ncheckpoint = \"sd15\"\nhedge = true\n";
    let settings = load(text, &[]).unwrap();
    let ModelSettings::Txt2img(pool) = &settings.models["sd"] else { panic!("{:?}", settings.models) };
    let hosts: Vec<_> = pool.urls.iter().filter_map(|url| url.host_str()).collect();
    assert_eq!((hosts, pool.checkpoint.as_deref(), pool.hedge), (vec!["a", "b"], Some("sd15"), true));
    assert_eq!((pool.concurrency, pool.queue), (1, 64));
}

#[test]
fn what_is_not_offered_yet_is_refused_not_ignored() {
    let shadow = "[bucket.abc]\nmode = \"migrate\"\nshadow = { endpoint = \"https://x\", name = \"n\"";
    for (text, expected) in [
        (
            "[store]\nmetadata = \"postgres://x\"\n".to_owned(),
            "f.toml:2:1: store.metadata = \"postgres://x\" is understood, but not offered yet",
        ),
        (
            "[model.a]\nkind = \"candle\"\n".to_owned(),
            if cfg!(feature = "candle") {
                "f.toml:1:8: model.a needs \"weights\""
            } else {
                "f.toml:2:8: model.a.kind = \"candle\" is not in this build"
            },
        ),
        (
            "[model.a]\nkind = \"txt2img\"\nurl = \"http://a\"\nweights = \"x\"\n".to_owned(),
            "f.toml:4:11: model.a: a txt2img server has no \"weights\"",
        ),
        (
            "[model.a]\nkind = \"txt2img\"\nurl = [\"http://a\", \"http://a/\"]\n".to_owned(),
            "f.toml:3:7: model.a.url: http://a/ is named twice",
        ),
        (
            "[model.a]\nkind = \"painter\"\ncheckpoint = \"sd15\"\n".to_owned(),
            "f.toml:3:14: model.a: the painter has no \"checkpoint\"",
        ),
    ] {
        assert_eq!(messages(&text, &[]), [expected], "{text}");
    }
    let harmless = format!(
        "[store]\nmetadata = \"embedded\"\n{shadow}, write-through = \"off\", delete-through = false }}\n"
    );
    load(&harmless, &[]).unwrap();
    let through =
        format!("{shadow}, write-through = \"sync\", delete-through = true, write-conflict = \"local\" }}\n");
    let settings = load(&through, &[]).unwrap();
    let rule = &settings.buckets.values().next().unwrap().shadow[0];
    assert_eq!(
        (rule.write_through, rule.delete_through, rule.write_conflict),
        (WriteThrough::Sync, true, WriteConflict::Local)
    );
}

#[test]
fn variables_are_checked_like_the_file() {
    for (variable, value, expected) in [
        (
            "FALLTHROUGH_S3__LISTN",
            "x",
            "FALLTHROUGH_S3__LISTN: unknown key \"listn\" in [s3]; did you mean \"listen\"?",
        ),
        (
            "FALLTHROUGH_FILL__STALL",
            "ten",
            "FALLTHROUGH_FILL__STALL: fill.stall: \"ten\" is not a duration such as \"25s\", \"500ms\" or \"1h30m\"",
        ),
        ("FALLTHROUGH_STORE__DATA", "", "FALLTHROUGH_STORE__DATA: store.data: it may not be empty"),
    ] {
        assert_eq!(messages("", &[(variable, value)]), [expected]);
    }
    let near = near_misses(&[
        ("FALLTHROUGH_S3_LISTEN".into(), "x".into()),
        ("FALLTHROUGH_ADMIN".into(), "x".into()),
    ]);
    assert_eq!(near, [("FALLTHROUGH_S3_LISTEN".to_owned(), "FALLTHROUGH_S3__LISTEN".to_owned())]);
}

#[test]
fn all_problems_are_told_at_once() {
    let told = messages("[s3]\nlisten = 1\nx = 2\n[fill]\nstall = \"z\"\n", &[]);
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn an_avatar_origin_may_be_elsewhere() {
    let text =
        "[origin.a]\nkind = \"avatar\"\nurl = \"http://127.0.0.1:9902\"\n[origin.b]\nkind = \"avatar\"\n";
    let settings = load(text, &[]).unwrap();
    match &settings.origins["a"].kind {
        OriginKind::S3 { name, program, credentials, .. } => {
            assert_eq!((name.as_str(), *program), ("avatar", true));
            assert!(credentials.is_none());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(settings.origins["b"].kind, OriginKind::Avatar { model: None, .. }));
}

#[test]
fn paths_in_the_file_are_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    std::fs::write(&path, "[store]\ndata = \"d\"\n").unwrap();
    let settings = Settings::load(&Layers { file: Some(path), ..Layers::default() }).unwrap();
    assert_eq!(settings.store.data, folder.path().join("d"));
}

#[test]
fn tls_needs_both_files_and_routes_have_an_address_of_their_own() {
    let settings = load("[s3]\ntls = { cert = \"a.crt\", key = \"/k/a.key\" }\n", &[]).unwrap();
    let tls = settings.s3.tls.unwrap();
    assert!(tls.cert.is_absolute() && tls.cert.ends_with("a.crt") && tls.key.ends_with("k/a.key"));
    assert!(load("", &[]).unwrap().s3.tls.is_none());
    assert!(messages("[s3]\ntls = { cert = \"a\" }\n", &[])[0].contains("s3.tls needs \"key\""));

    let route = |more: &str| format!("[[route]]\nhost = \"Img.example.org\"\nbucket = \"images\"\n{more}\n");
    let settings = load(&route("path = \"/a b/\"\nprefix = \"v1/\"\nclean-urls = true"), &[]).unwrap();
    let read = &settings.routes[0];
    assert_eq!(
        (read.host.as_str(), read.path.as_str(), read.prefix.as_str()),
        ("img.example.org", "/a b/", "v1/")
    );
    assert!(read.clean_urls && read.bucket == name("images"));
    let other = |from: &str, to: &str| route("").replace(from, to);
    let rows = [
        (route("path = \"avatars/\""), "does not begin and end with one slash"),
        (route("path = \"/avatars\""), "does not begin and end with one slash"),
        (route("path = \"/a%20b/\""), "does not begin and end with one slash"),
        (other("Img.example.org", "http://img.example.org"), "is not the name of a host"),
        (other("Img.example.org", "img.example.org:80"), "is not the name of a host"),
        (other("Img.example.org", "127.0.0.1"), "is not the name of a host"),
        (other("Img.example.org", "img.localhost"), "address buckets already"),
        (format!("[s3]\ndomains = [\"Example.org\"]\n{}", route("")), "address buckets already"),
        (format!("[s3]\nwebsite-domains = [\"example.org\"]\n{}", route("")), "address buckets already"),
        (other("images", "No_Bucket"), "route.0.bucket"),
        (other("bucket = \"images\"", ""), "needs \"bucket\""),
        ([route(""), route("")].concat(), "another route has the same host and path"),
    ];
    for (text, want) in rows {
        let told = messages(&text, &[]);
        assert!(told.len() == 1 && told[0].contains(want), "{text}: {told:?}");
    }
}
