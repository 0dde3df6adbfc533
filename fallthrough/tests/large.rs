//! Memory does not grow with an object's size.

mod served;

use fallthrough_sim::{Content, FaultyOrigin};
use served::Served;
use served::client::Client;

/// An object is put, another one filled, and both are read back with every byte compared: the process never
/// has more than 150 MB resident. 256 MiB by default; `FALLTHROUGH_LARGE=1` for 1 GiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_pass_through_little_memory() {
    let size = if std::env::var_os("FALLTHROUGH_LARGE").is_some() { 1 << 30 } else { 256 << 20 };
    let origin = FaultyOrigin::start_s3("old").await;
    let cold = origin.object("cold", size);
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[network]\nallow-private-origins = true\n\n[bucket.photos]\nmode = \"migrate\"\nshadow = {{ endpoint = \"{}\", name = \"old\", region = \"us-east-1\" }}\n",
        origin.url()
    );
    std::fs::write(folder.path().join("fallthrough.toml"), config).unwrap();
    tokio::task::spawn_blocking(move || {
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        let written = Content::generated("written", 1, size);
        assert_eq!(client.put_large("/photos/written", &written).unwrap(), 200);
        assert!(client.is_large("/photos/written", &written).unwrap(), "what was put");
        assert!(client.is_large("/photos/cold", &cold).unwrap(), "the fill");
        assert!(client.is_large("/photos/cold", &cold).unwrap(), "what was filled");
        let peak = served.peak_bytes();
        println!("{size} bytes each: {peak} bytes resident at most");
        assert!(peak < 150_000_000, "{peak} bytes resident");
    })
    .await
    .unwrap();
}
