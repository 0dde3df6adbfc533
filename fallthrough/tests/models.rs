//! A pool of txt2img servers behind a bucket, as the program runs it: declared by a command, shared, killed.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::path::Path;

use http::Method;
use serde_json::Value;
use served::client::Client;
use served::{SERVE, Served, signal};

/// What a picture takes longer than it would: long enough that whoever comes meanwhile finds it under way.
const DELAY: &str = "500ms";

fn model(folder: &Path, name: &str) -> Served {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    Served::start(&folder, &["model", "serve", "--listen", "127.0.0.1:0", "--delay", DELAY])
}

/// An avatar's key.
fn key(number: u32) -> String {
    format!("/avatar/{number:032x}")
}

fn get_all(client: &Client, keys: &[String]) -> Vec<(u16, Vec<u8>)> {
    std::thread::scope(|scope| {
        let get = |key| move || client.send(&Method::GET, key, b"").unwrap();
        let asked: Vec<_> = keys.iter().map(|key| scope.spawn(get(key.as_str()))).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

/// The model as `model queue` shows it.
fn queue(served: &Served) -> Value {
    served.json(&["model", "queue", "sd"])["models"][0].clone()
}

fn done(served: &Served) -> u64 {
    queue(served)["backends"].as_array().unwrap().iter().map(|one| one["done"].as_u64().unwrap()).sum()
}

#[test]
fn a_pool_is_declared_asked_once_for_a_key_and_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (model(folder.path(), "first"), model(folder.path(), "second"));
    let config = folder.path().join("fallthrough.toml");
    std::fs::write(&config, "# of the operator\n[bucket.avatar]\nmode = \"compute\"\nshadow = { origin = \"faces\", edition = \"v1\" }\n\n[origin.faces]\nkind = \"avatar\"\n").unwrap();
    let served = Served::start(folder.path(), &SERVE);
    let urls = [first.text("model").to_owned(), second.text("model").to_owned()];

    // Who is not there, or has not got the checkpoint, is not declared.
    let refused =
        served.ctl(&["model", "add", "sd", "--txt2img", &urls[0], "--txt2img", "http://127.0.0.1:1"]);
    assert!(refused.code == 4 && refused.err.contains("1 of 2 servers did not pass"), "{}", refused.err);
    let lacking = served.ctl(&["model", "add", "sd", "--txt2img", &urls[0], "--checkpoint", "sd15"]);
    assert!(
        lacking.code == 4 && lacking.out.contains("it has no checkpoint"),
        "{}{}",
        lacking.out,
        lacking.err
    );
    assert!(!std::fs::read_to_string(&config).unwrap().contains("model"));
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".new") })
            .count(),
        0,
        "a draft stayed"
    );

    let add = ["model", "add", "sd", "--txt2img", &urls[0], "--txt2img", &urls[1], "--checkpoint", "painter"];
    let dry = served.json(&[&add[..], &["--dry-run"]].concat());
    assert_eq!((&dry["dry_run"], dry["servers"].as_array().unwrap().len()), (&Value::Bool(true), 2));
    served.json(&add);
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.starts_with("# of the operator\n") && text.contains("checkpoint = \"painter\""), "{text}");
    std::fs::write(&config, text.replace("kind = \"avatar\"\n", "kind = \"avatar\"\nmodel = \"sd\"\n"))
        .unwrap();
    served.json(&["config", "reload"]);
    assert_eq!(served.ctl(&["model", "queue", "none"]).code, 3);

    // A thousand at once who want the same new picture: it is made once.
    let client = Client::of(&served);
    let pictures = get_all(&client, &vec![key(1); 1_000]);
    assert!(pictures.iter().all(|one| *one == pictures[0]) && pictures[0].0 == 200, "{}", pictures[0].0);
    assert_eq!(done(&served), 1);

    // Both work; one is killed while it does; nobody notices.
    let keys: Vec<String> = (2..10).map(key).collect();
    let answers = std::thread::scope(|scope| {
        let asked = scope.spawn(|| get_all(&client, &keys));
        let busy =
            |queue: &Value| queue["backends"].as_array().unwrap().iter().all(|one| one["in_flight"] == 1);
        while !busy(&queue(&served)) {}
        signal(first.id(), "-KILL");
        asked.join().unwrap()
    });
    assert!(
        answers.iter().all(|(status, _)| *status == 200),
        "{:?}",
        answers.iter().map(|one| one.0).collect::<Vec<_>>()
    );
    let (seen, shown) = (queue(&served), served.ctl(&["model", "queue"]));
    assert_eq!((done(&served), &seen["backends"][0]["state"]), (9, &Value::from("down")), "{seen}");
    let metrics = served.admin("/metrics").1;
    let done: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("fallthrough_model_jobs_total{") && line.contains("outcome=\"done\""))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(done as u64, 9, "{metrics}");
    assert!(metrics.contains("fallthrough_model_queue_length{model=\"sd\"} 0"), "{metrics}");
    assert!(shown.out.contains("sd: 0 of 64 wait") && shown.out.contains("down"), "{}", shown.out);
}
