//! A disk that is really full: a small file system that holds the data folder and nothing else.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use fallthrough_sim::Content;
use http::Method;

use crate::ground::{Ground, await_that, cold};
use crate::served::client::Client;
use crate::served::{Served, signal};
use crate::skip::skipped;

/// Of the file systems.
const SIZE_MIB: u64 = 32;
/// Below 8 MiB copies are not kept, below 2 MiB nothing is.
const SETTINGS: &str = "[store]\nlow-space-stop-fills = \"8MiB\"\n";
/// Of the objects that fill the disk.
const FILLER_BYTES: u64 = 700_000;
/// More of them than there is space for.
const FILLERS_MAX: u64 = SIZE_MIB * 1024 * 1024 / FILLER_BYTES + 1;

/// A small file system, mounted until it is dropped.
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// # Errors
    /// Why there is none here.
    fn tmpfs(at: &Path) -> Result<Self, String> {
        let size = format!("size={SIZE_MIB}m");
        Self::mount(at, &["-t", "tmpfs", "-o", &size, "tmpfs"])
    }

    /// # Errors
    /// Why there is none here.
    fn ext4(at: &Path, image: &Path) -> Result<Self, String> {
        File::create(image).unwrap().set_len(SIZE_MIB << 20).unwrap();
        // Nothing is kept back for root, or "free" would mean one thing to us and another to the server.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(image))?;
        let image = image.to_str().unwrap();
        Self::mount(at, &["-t", "ext4", "-o", "loop", image])
    }

    fn mount(at: &Path, arguments: &[&str]) -> Result<Self, String> {
        std::fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(arguments).arg(at))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Leaves not one byte free; undone when the file it returns is removed.
    fn fill_up(&self) -> PathBuf {
        let path = self.at.join("ballast");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 16, 512, 1] {
            while file.write_all(&vec![0; size]).and_then(|()| file.sync_data()).is_ok() {}
        }
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whoever used it has ended; lazily, or a test that failed would leave it mounted.
        let _ = run(Command::new("umount").arg("-l").arg(&self.at));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Err(error) => Err(format!("{:?} cannot be run: {error}", command.get_program())),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

#[test]
fn a_full_memory_disk_refuses_writes_and_goes_on() {
    on_a_small_disk("a_full_memory_disk", |folder, _| Mounted::tmpfs(&folder.join("data")));
}

#[test]
fn a_full_ext4_disk_refuses_writes_and_goes_on() {
    on_a_small_disk("a_full_ext4_disk", |folder, image| Mounted::ext4(&folder.join("data"), image));
}

fn on_a_small_disk(test: &str, mount: impl FnOnce(&Path, &Path) -> Result<Mounted, String>) {
    let images = tempfile::tempdir().unwrap();
    let mut ground = Ground::new(SETTINGS);
    match mount(&ground.folder, &images.path().join("disk")) {
        Ok(mounted) => fills_up(test, &mut ground, &mounted),
        Err(why) => skipped(test, &why),
    }
}

fn fills_up(test: &str, ground: &mut Ground, disk: &Mounted) {
    let served = ground.serve();
    ground.store(&served, 8);
    ground.offer_cold(0);
    let client = Client::of(&served);

    // Until it is refused, and then everything but the body of a new object goes on.
    let mut fillers: Vec<(String, Content)> = Vec::new();
    while let Some(filler) = put_filler(&client, fillers.len() as u64) {
        fillers.push(filler);
        assert!((fillers.len() as u64) < FILLERS_MAX, "more was taken than there is space for");
    }
    let filled = fillers.len();
    assert!(filled > 20, "refused after {filled} objects");
    works_while_full(ground, &served, &fillers);
    signal(served.id(), "-KILL");
    drop(served);
    let served = ground.serve();
    works_while_full(ground, &served, &fillers);

    // Deletes work and free space, and writes recover unaided.
    let client = Client::of(&served);
    for (key, _) in fillers.drain(..2) {
        assert_eq!(client.send(&Method::DELETE, &format!("/photos/{key}"), &[]).unwrap().0, 204);
    }
    let mut again = None;
    await_that("a PUT to succeed", || {
        again = put_filler(&client, filled as u64);
        again.is_some()
    })
    .unwrap();
    fillers.extend(again);
    check(&client, &fillers);

    // Not one byte is free, since somebody else took the reserve as well.
    let ballast = disk.fill_up();
    let refused_at_zero = at_zero(ground, &served, &fillers);
    signal(served.id(), "-KILL");
    drop(served);
    let served = ground.serve();
    at_zero(ground, &served, &fillers);
    std::fs::remove_file(ballast).unwrap();

    // With space, copies are kept again.
    let client = Client::of(&served);
    for (key, _) in &fillers {
        await_that("a DELETE to succeed", || {
            client.send(&Method::DELETE, &format!("/photos/{key}"), &[]).unwrap().0 == 204
        })
        .unwrap();
    }
    let (key, content) = cold(0, 7);
    await_that("a copy to be kept", || {
        let asked = ground.asked(&key);
        let (status, body) = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
        if status == 503 {
            return false;
        }
        assert!(status == 200 && content.bytes() == body, "{key}: {status}");
        ground.asked(&key) == asked
    })
    .unwrap();
    assert!(put_filler(&client, 1000).is_some());
    assert_eq!(served.stop("-TERM"), 0);
    println!(
        "{test}: {filled} objects of {FILLER_BYTES} bytes until refused; with the reserve taken, {refused_at_zero} of 4 PUTs refused; 0 lost, 0 wrong, recovered twice"
    );
}

/// PUTs an object of the kind that fills the disk; `None` if it is refused for want of space.
fn put_filler(client: &Client, n: u64) -> Option<(String, Content)> {
    let key = format!("filler-{n}");
    let content = Content::generated(&key, 1, FILLER_BYTES);
    match client.send(&Method::PUT, &format!("/photos/{key}"), &content.bytes()).unwrap() {
        (200, _) => Some((key, content)),
        (status, told) => {
            is_refused(status, &told);
            None
        }
    }
}

/// What SDKs retry a few times, and then show with its message.
fn is_refused(status: u16, told: &[u8]) {
    let told = String::from_utf8_lossy(told);
    assert_eq!(status, 503, "{told}");
    assert!(told.contains("<Code>ServiceUnavailable</Code>") && told.contains("disk is full"), "{told}");
}

fn check(client: &Client, objects: &[(String, Content)]) {
    for (key, content) in objects {
        let (status, body) = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
        assert!(status == 200 && content.bytes() == body, "{key}: {status}");
    }
}

fn works_while_full(ground: &Ground, served: &Served, fillers: &[(String, Content)]) {
    let client = Client::of(served);
    assert!(put_filler(&client, 1000).is_none());
    check(&client, fillers);
    ground.check(&client, "while full");
    // What only the shadow has is passed on, and asked for each time.
    let files = ground.files();
    for n in 0..8 {
        let (key, content) = cold(0, n);
        let asked = ground.asked(&key);
        // Who comes while it is still passed on joins: not every GET asks anew.
        await_that("it to be asked for again", || {
            let (status, body) = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
            assert!(status == 200 && content.bytes() == body, "{key}: {status} {}", served.told());
            ground.asked(&key) >= asked + 2
        })
        .unwrap();
    }
    await_that("what was passed on to be gone", || ground.files() == files).unwrap();
    assert_eq!(served.admin("/readyz").0, 200);
    tells(served, "fallthrough_store_accepts_fills 0");
}

fn tells(served: &Served, line: &str) {
    // The figure of free space may be half a second old.
    await_that(line, || served.admin("/metrics").1.lines().any(|told| told == line)).unwrap();
}

/// With no byte free: what is here is read, what is not kept is passed on as far as memory holds it, and nothing
/// is acknowledged that is not kept.
fn at_zero(ground: &Ground, served: &Served, fillers: &[(String, Content)]) -> usize {
    let client = Client::of(served);
    check(&client, fillers);
    ground.check(&client, "with no byte free");
    let (key, content) = cold(0, 0);
    let got = client.send(&Method::GET, &format!("/photos/{key}"), &[]).unwrap();
    assert!(got == (200, content.bytes().to_vec()) || got.0 == 503, "{key}: {}", got.0);
    tells(served, "fallthrough_store_accepts_writes 0");
    let sizes = [0, 100, 40_000, FILLER_BYTES];
    let refused = sizes.into_iter().filter(|size| {
        let key = format!("zero-{size}");
        let content = Content::generated(&key, 1, *size);
        let (status, told) = client.send(&Method::PUT, &format!("/photos/{key}"), &content.bytes()).unwrap();
        if status == 200 {
            check(&client, &[(key, content)]);
        } else {
            is_refused(status, &told);
        }
        status != 200
    });
    refused.count()
}
