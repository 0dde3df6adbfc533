//! A crash at every step of writing: what was acknowledged is whole, what was not is whole or absent, and the
//! sweep leaves no garbage.

use std::sync::Mutex;

use super::*;
use crate::{Erased, Failpoints, Step};

/// Takes the disk as a crash at each step could leave it.
#[derive(Debug)]
struct Camera {
    disk: LossyDisk,
    images: Mutex<Vec<(Step, u64, LossyDisk)>>,
    armed: std::sync::atomic::AtomicBool,
}

impl Failpoints for Camera {
    fn reached(&self, step: Step) -> std::io::Result<()> {
        if self.armed.load(std::sync::atomic::Ordering::SeqCst) {
            for seed in 0..8 {
                self.images.lock().unwrap().push((step, seed, self.disk.crashed(seed)));
            }
        }
        Ok(())
    }
}

/// Overwrites an object of `old_len` by one of `new_len` bytes, with a crash at every step.
pub(super) async fn overwrite(old_len: usize, new_len: usize) -> Result<Vec<Step>, String> {
    let disk = LossyDisk::new();
    let (images, armed) = (Mutex::default(), false.into());
    let camera = Arc::new(Camera { disk: disk.clone(), images, armed });
    let with_camera = StoreOptions { failpoints: Some(camera.clone()), ..options() };
    let store = open_with(&disk, with_camera).await.map_err(|e| e.to_string())?;
    let (bucket, at) = (bucket(&store).await, key("k"));
    let (old, new) = (bytes_of(1, old_len), bytes_of(2, new_len));
    let before = put(&store, &bucket, &at, &old).await;
    let other = put(&store, &bucket, &key("bystander"), &bytes_of(3, 300)).await;
    camera.armed.store(true, std::sync::atomic::Ordering::SeqCst);
    put(&store, &bucket, &at, &new).await;
    camera.armed.store(false, std::sync::atomic::Ordering::SeqCst);
    let images = std::mem::take(&mut *camera.images.lock().unwrap());
    let mut steps = Vec::new();
    for (step, seed, image) in images {
        steps.push(step);
        let fault = |what: String| format!("{old_len} -> {new_len}, crash at {step:?}, seed {seed}: {what}");
        let after = open(&image).await.map_err(|e| fault(format!("open: {e}")))?;
        let entry = after.lookup(bucket.id, &at).await.map_err(|e| fault(e.to_string()))?;
        let entry = entry.ok_or_else(|| fault("the object is gone".to_owned()))?;
        let stored = entry.state.stored().ok_or_else(|| fault("no body".to_owned()))?;
        let body = read(&after, stored).await.map_err(|e| fault(e.to_string()))?;
        // Visible from the commit on, and by no means before.
        let is_new = entry.row_version != before.row_version;
        if is_new != (step >= Step::Committed) {
            return Err(fault(format!("new: {is_new}")));
        }
        if body != if is_new { new.clone() } else { old.clone() } {
            return Err(fault("the bytes are neither the old nor the new ones".to_owned()));
        }
        let bystander =
            read(&after, other.state.stored().unwrap()).await.map_err(|e| fault(e.to_string()))?;
        if bystander != bytes_of(3, 300) {
            return Err(fault("another object changed".to_owned()));
        }
        after.sweep().await.map_err(|e| fault(e.to_string()))?;
        let files = 1 + usize::from(stored.info.size_bytes > 64);
        let left = image.names("blobs/").len() + image.names("staging/").len();
        if left != files {
            return Err(fault(format!("{left} files instead of {files}")));
        }
    }
    steps.sort();
    steps.dedup();
    Ok(steps)
}

#[tokio::test]
async fn a_crash_at_any_step_of_an_overwrite_loses_and_tears_nothing() {
    let inline = [Step::Committed, Step::Invalidated, Step::Released, Step::Ready];
    for (old_len, new_len) in [(40, 50), (40, 3000), (3000, 40), (3000, 5000), (0, 300_000), (300_000, 0)] {
        let steps = overwrite(old_len, new_len).await.unwrap();
        let expected = if new_len > 64 { Step::ALL.len() } else { inline.len() };
        assert_eq!(steps.len(), expected, "{steps:?}");
    }
}

#[tokio::test]
async fn an_acknowledged_delete_survives_a_crash() {
    let disk = LossyDisk::new();
    let store = open(&disk).await.unwrap();
    let (bucket, at) = (bucket(&store).await, key("k"));
    let entry = put(&store, &bucket, &at, &bytes_of(1, 900)).await;
    let revision = store.erase(&bucket, &at, Some(&entry), Erased::Unknown).await.unwrap();
    for seed in 0..16 {
        let image = disk.crashed(seed);
        let after = open(&image).await.unwrap();
        assert_eq!(after.lookup(bucket.id, &at).await.unwrap(), None);
        let again = put(&after, &bucket, &at, &bytes_of(2, 900)).await;
        assert!(again.revision > revision, "a revision is never reused");
    }
}

#[tokio::test]
async fn a_first_start_that_crashes_at_any_change_is_followed_by_one_that_opens() {
    let mut crashes = 0;
    loop {
        let disk = LossyDisk::new();
        disk.kill_after(crashes);
        if open(&disk).await.is_ok() {
            break;
        }
        for seed in 0..16 {
            let image = disk.crashed(seed);
            let store = open(&image).await.unwrap_or_else(|error| panic!("{crashes}, {seed}: {error:?}"));
            let at = key("k");
            put(&store, &*bucket(&store).await, &at, &bytes_of(1, 900)).await;
        }
        crashes += 1;
    }
    assert!(crashes > 10, "{crashes}");
}
