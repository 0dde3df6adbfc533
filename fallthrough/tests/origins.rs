//! Origins that the configuration declares, named by rules that are set later: they answer as what they are.

mod served;

use http::Method;
use served::Served;
use served::client::Client;

/// A server that stands for another provider, with one bucket of two objects.
#[expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
fn provider(folder: &std::path::Path) -> Served {
    let provider = Served::serve(folder, &[]);
    provider.json(&["bucket", "create", "old"]);
    let client = Client::of(&provider);
    for key in ["a", "b/c"] {
        assert_eq!(client.send(&Method::PUT, &format!("/old/{key}"), key.as_bytes()).unwrap().0, 200);
    }
    let keys = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        provider.text("access_key"),
        provider.text("secret_key")
    );
    std::fs::write(folder.join("keys"), keys).unwrap();
    provider
}

#[test]
fn a_declared_provider_is_read_as_a_provider_by_rules_set_later() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let provider = provider(there.path());
    let origin = |name: &str, bucket: &str| {
        format!(
            "[origin.{name}]\nkind = \"s3\"\nendpoint = \"{}\"\nname = \"{bucket}\"\ncredentials = \"file:{}/keys\"\nmax-in-flight = 3\n",
            provider.text("s3"),
            there.path().display()
        )
    };
    let web = format!("[origin.web]\nkind = \"http\"\nurl = \"{}/old\"\n", provider.text("s3"));
    let config = format!(
        "[network]\nallow-private-origins = true\n{}{}{web}",
        origin("old", "old"),
        origin("gone", "gone")
    );
    std::fs::write(here.path().join("c.toml"), config).unwrap();
    let served = Served::serve(here.path(), &["--config", "c.toml"]);
    for (bucket, origin) in [("photos", "old"), ("pictures", "old"), ("lost", "gone"), ("pages", "web")] {
        served.json(&["bucket", "create", bucket]);
        let set = served.ctl(&["shadow", "set", bucket, "--origin", origin, "--no-probe"]);
        assert_eq!(set.code, 0, "{}{}", set.out, set.err);
    }
    let client = Client::of(&served);
    // A provider has a list, and it is merged with ours.
    assert_eq!(client.send(&Method::PUT, "/photos/b", b"ours").unwrap().0, 200);
    assert_eq!(client.list("/photos", "").unwrap(), Ok(["a", "b", "b/c"].map(str::to_owned).to_vec()));
    assert_eq!(client.send(&Method::GET, "/photos/b/c", b"").unwrap(), (200, b"b/c".to_vec()));
    assert_eq!(client.send(&Method::GET, "/photos/none", b"").unwrap().0, 404);
    // A bucket that the provider does not have is a wrong setting, not an absent object.
    let (status, body) = client.send(&Method::GET, "/lost/a", b"").unwrap();
    assert_eq!(status, 424, "{}", String::from_utf8_lossy(&body));
    // What was read just now counts as here, also while its copy waits to be committed with others.
    served.json(&["bucket", "set", "pictures", "--mode", "compute"]);
    assert_eq!(client.send(&Method::GET, "/pictures/a", b"").unwrap(), (200, b"a".to_vec()));
    assert_eq!(client.send(&Method::DELETE, "/pictures", b"").unwrap().0, 409);
    // A web server has no list: what is here is shown, and its refusal of a stranger is not an absence.
    assert_eq!(client.list("/pages", "").unwrap(), Ok(Vec::new()));
    assert_eq!(client.send(&Method::GET, "/pages/a", b"").unwrap().0, 424);
}

#[test]
fn buckets_that_fall_through_to_each_other_are_found_out() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(
        here.path().join("c.toml"),
        "[network]\nallow-private-origins = true\n[fill]\nclient-wait = \"1s\"\n",
    )
    .unwrap();
    let served = Served::serve(here.path(), &["--config", "c.toml"]);
    let keys = [("access-key", served.text("access_key")), ("secret-key", served.text("secret_key"))];
    std::fs::write(here.path().join("secret"), keys[1].1).unwrap();
    for (bucket, behind) in [("chicken", "egg"), ("egg", "chicken")] {
        served.json(&["bucket", "create", bucket]);
        let shadow = ["--endpoint", served.text("s3"), "--name", behind, "--region", "us-east-1"];
        let signed = ["--access-key", keys[0].1, "--secret-key-file", "secret", "--no-probe"];
        let set = served.ctl(&[&["shadow", "set", bucket][..], &shadow, &signed].concat());
        assert_eq!(set.code, 0, "{}{}", set.out, set.err);
    }
    let client = Client::of(&served);
    // Not 404 and not an empty list: nobody could be asked. A circle of GETs within one server waits for itself,
    // since one key has one fill, and ends with the client's wait.
    let (status, body) = client.send(&Method::GET, "/chicken/k", b"").unwrap();
    assert!([424, 502, 503].contains(&status), "{status} {}", String::from_utf8_lossy(&body));
    let listed = client.list("/egg", "").unwrap();
    assert!(matches!(listed, Err(424 | 502 | 503)), "{listed:?}");
}
