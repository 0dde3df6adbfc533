//! Stable Diffusion in this process: in a build with the feature `candle` the whole way from a bucket to the engine and
//! back, on weights that are random; in every other build, that it says so.

mod served;

use served::{fallthrough, run};

/// The fixture of the engine's own tests.
fn weights() -> String {
    format!("{}/../tier3-model/candle/tests/fixture/sd15", env!("CARGO_MANIFEST_DIR"))
}

const DEMO: [&str; 7] =
    ["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", "data"];

#[cfg(not(feature = "candle"))]
#[test]
fn a_build_without_it_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("f.toml"), "[model.sd]\nkind = \"candle\"\nweights = \"x\"\n")
        .expect("a file");
    let weights = weights();
    let demo = [&DEMO[..], &["--weights", &weights]].concat();
    for arguments in [
        &["model", "serve", "--listen", "127.0.0.1:0", "--weights", &weights][..],
        &["serve", "--config", "f.toml"],
        &demo,
    ] {
        let ran = run(fallthrough(folder.path()).args(arguments));
        assert_ne!(ran.code, 0, "{arguments:?}");
        assert!(ran.err.contains("is not in this build"), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("--features candle"), "{arguments:?}: {}", ran.err);
    }
}

#[cfg(feature = "candle")]
mod built {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::path::Path;

    use super::served::{SERVE, Served};
    use super::{DEMO, fallthrough, run, weights};

    /// An avatar's key: the MD5 of nobody's address.
    const KEY: &str = "0123456789abcdef0123456789abcdef";

    /// GET without a signature: `X-Cache` and the body of a 200.
    fn get(served: &Served, path: &str) -> (String, Vec<u8>) {
        let address = served.text("s3").strip_prefix("http://").expect("a plain address").to_owned();
        let mut socket = TcpStream::connect(&address).expect("it listens");
        write!(socket, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("it answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let cache = head.lines().find_map(|line| line.strip_prefix("x-cache: ")).unwrap_or_default();
        (cache.to_owned(), answer[end + 4..].to_vec())
    }

    fn demo(folder: &Path) -> Served {
        Served::start(folder, &[&DEMO[..], &["--model", "candle", "--weights", &weights()]].concat())
    }

    #[test]
    fn the_demo_draws_with_weights_and_keeps_what_was_drawn() {
        let (first, second) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        // What the front reads, without its patience.
        let path = format!("/avatar/{KEY}/256.jpg");
        let served = demo(first.path());
        let (cache, drawn) = get(&served, &path);
        assert_eq!((cache.as_str(), &drawn[..3]), ("miss", &[0xFF, 0xD8, 0xFF][..]));
        assert_eq!(get(&served, &path), ("hit".to_owned(), drawn.clone()));
        let (_, other) = get(&served, "/avatar/ffffffffffffffffffffffffffffffff/256.jpg");
        assert_ne!(other, drawn);
        // Another server draws the same.
        assert_eq!(get(&demo(second.path()), &path), ("miss".to_owned(), drawn));
    }

    #[test]
    fn a_declared_model_draws_in_the_process_of_the_bucket() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "[model.sd]\nkind = \"candle\"\nweights = {:?}\n[origin.faces]\nkind = \"avatar\"\nmodel = \"sd\"\n\
             [bucket.faces]\nmode = \"compute\"\npublic = \"read\"\npublic-fill = \"budget\"\n\
             shadow = {{ origin = \"faces\" }}\n",
            weights()
        );
        std::fs::write(folder.path().join("c.toml"), config).expect("a file");
        let served = Served::start(folder.path(), &[&SERVE[..], &["--config", "c.toml"]].concat());
        let (cache, drawn) = get(&served, &format!("/faces/{KEY}"));
        assert_eq!(cache, "miss");
        assert_eq!(get(&served, &format!("/faces/{KEY}")), ("hit".to_owned(), drawn));
    }

    #[test]
    fn weights_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let ran = run(fallthrough(folder.path()).args([
            "model",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--weights",
            ".",
        ]));
        assert_ne!(ran.code, 0);
        let told = ran.err.replace(['\n', '│', ' '], "");
        assert!(told.contains("vocab.json"), "{}", ran.err);
        assert!(told.contains("diffusers'layout"), "{}", ran.err);
    }
}
