//! `fallthrough doctor` against a served process whose files rot.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::path::{Path, PathBuf};

use fallthrough_sim::{Content, FaultyOrigin};
use http::Method;
use served::Served;
use served::client::Client;

/// The files of blobs.
fn blobs(data: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in std::fs::read_dir(data.join("blobs")).unwrap() {
        all.extend(std::fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    all
}

/// Flips a bit of the blob that begins as `content` does.
fn rot(data: &Path, content: &[u8], at: usize) {
    let found = blobs(data).into_iter().find(|path| std::fs::read(path).unwrap().starts_with(&content[..64]));
    let path = found.expect("some blob has this content");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_finds_rot_heals_copies_and_keeps_what_was_written_aside() {
    let origin = FaultyOrigin::start_s3("old").await;
    let copy = origin.object("copy", 300_000).bytes();
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[network]\nallow-private-origins = true\n\n[store]\nscrub-rate = 0\n\n[bucket.photos]\nmode = \"migrate\"\n\
         shadow = {{ endpoint = \"{}\", name = \"old\", region = \"us-east-1\" }}\n",
        origin.url()
    );
    std::fs::write(folder.path().join("fallthrough.toml"), config).unwrap();
    tokio::task::spawn_blocking(move || {
        let data = folder.path().join("data");
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        let mine = Content::generated("mine", 1, 200_000).bytes();
        let get =
            |client: &Client, key: &str| client.send(&Method::GET, &format!("/photos/{key}"), b"").unwrap();
        assert_eq!(client.send(&Method::PUT, "/photos/mine", &mine).unwrap().0, 200);
        assert_eq!(client.send(&Method::PUT, "/photos/small", b"a small one").unwrap().0, 200);
        assert!(get(&client, "copy") == (200, copy.to_vec()));
        // Its reader did not wait until the copy was committed; whoever looks at what is here does.
        assert_eq!(served.json(&["object", "stat", "s3://photos/copy"])["state"], "filled");

        // Sound: nothing was scrubbed, then everything.
        let before = served.json(&["doctor", "scrub", "--status"]);
        assert_eq!((before["running"].as_bool(), before["passes"].as_u64()), (Some(false), Some(0)));
        let sound = served.json(&["doctor", "scrub", "--wait"]);
        assert_eq!(
            (sound["pass"]["objects"].as_u64(), sound["pass"]["bytes"].as_u64()),
            (Some(3), Some(500_011))
        );
        for none in ["damaged_written", "damaged_filled", "damaged_rows", "unreadable"] {
            assert_eq!(sound["pass"][none].as_u64(), Some(0), "{none}: {sound}");
        }

        rot(&data, &copy, 299_999);
        rot(&data, &mine, 100_000);
        // What was verified since the start is sent from the file: the scrubber is who finds it.
        let ran = served.ctl(&["doctor", "scrub", "--wait", "--rate", "0"]);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        assert!(ran.err.contains("1 of the objects that clients wrote are damaged"), "{}", ran.err);
        assert!(ran.err.contains("help: `fallthrough doctor quarantine`"), "{}", ran.err);
        assert!(
            ran.out.contains("3 of 3 objects") && ran.out.contains("1 written, 1 filled (1 healed)"),
            "{}",
            ran.out
        );
        assert!(ran.out.contains("s3://photos/copy\tfilled\thealed"), "{}", ran.out);
        served.wait_until_told("the bytes of a stored object are damaged");
        assert!(get(&client, "copy") == (200, copy.to_vec()), "healed");
        let (status, answer) = get(&client, "mine");
        assert_eq!(status, 500, "never 404, never wrong bytes: {}", String::from_utf8_lossy(&answer));
        assert_eq!(get(&client, "small"), (200, b"a small one".to_vec()));
        let (_, page) = served.admin("/metrics");
        for line in [
            "fallthrough_quarantined_blobs 1",
            "fallthrough_scrub_repaired_total 1",
            "fallthrough_scrub_errors_total{state=\"written\"} 1",
            "fallthrough_damaged_objects_total{state=\"written\"} 1",
            "fallthrough_scrub_passes_total 2",
        ] {
            assert!(page.contains(line), "{line}: {page}");
        }
        let status = served.ctl(&["status"]);
        assert!(status.code == 0 && status.out.contains("1 in quarantine"), "{}", status.out);

        // It is kept, over a restart, until its object was put again and it is discarded.
        assert_eq!(served.stop("-TERM"), 0);
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        assert_eq!(get(&client, "mine").0, 500);
        let listed = served.json(&["doctor", "quarantine"]);
        let one = &listed[0];
        assert_eq!((one["bucket"].as_str(), one["key"].as_str()), (Some("photos"), Some("mine")));
        assert_eq!(one["state"].as_str(), Some("written"));
        let kept = std::fs::read(data.join(one["file"].as_str().unwrap())).unwrap();
        assert_eq!(one["kept_bytes"].as_u64(), Some(kept.len() as u64));
        assert_eq!(kept[..100_000], mine[..100_000]);
        let blob = one["blob"].as_str().unwrap();
        let refused = served.ctl(&["doctor", "discard", blob]);
        assert!(
            refused.code == 1 && refused.err.contains("s3://photos/mine still has these bytes"),
            "{}",
            refused.err
        );
        assert_eq!(client.send(&Method::PUT, "/photos/mine", &mine).unwrap().0, 200);
        assert!(get(&client, "mine") == (200, mine.to_vec()));
        let discarded = served.ctl(&["doctor", "discard", blob]);
        assert_eq!(discarded.code, 0, "{}", discarded.err);
        assert_eq!(served.ctl(&["doctor", "discard", blob]).code, 3);
        assert_eq!(served.json(&["doctor", "quarantine"]).as_array().unwrap().len(), 0);
        let again = served.json(&["doctor", "scrub", "--wait", "--restart"]);
        assert_eq!(again["pass"]["damaged_written"].as_u64(), Some(0), "{again}");
        assert_eq!(served.ctl(&["doctor", "scrub", "--status", "--wait"]).code, 2);
    })
    .await
    .unwrap();
}
