//! Where a test takes place: a folder, an origin, and a server that anybody may read from.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fallthrough_sim::FaultyOrigin;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::served::Served;
use crate::served::asking::await_within;

/// Longest wait for what has to happen in another process: a bug then shows as a failure, not as a hang.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Ground {
    pub(crate) folder: PathBuf,
    pub(crate) origin: FaultyOrigin,
    // The origin's; and the folder goes with it.
    pub(crate) runtime: tokio::runtime::Runtime,
    _temporary: tempfile::TempDir,
}

impl Ground {
    /// A public bucket `photos` that falls through to an S3 origin; `settings` go in front of it.
    pub(crate) fn new(settings: &str) -> Self {
        raise_descriptors();
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let origin = runtime.block_on(FaultyOrigin::start_s3("old"));
        let mut config = settings.to_owned();
        write!(
            config,
            "\n[network]\nallow-private-origins = true\n\n[bucket.photos]\nmode = \"migrate\"\npublic = \"read\"\n\
             public-fill = \"open\"\nshadow = {{ endpoint = \"{}\", name = \"old\", region = \"us-east-1\" }}\n",
            origin.url()
        )
        .unwrap();
        std::fs::write(folder.join("fallthrough.toml"), config).unwrap();
        Self { folder, origin, runtime, _temporary: temporary }
    }

    pub(crate) fn serve(&self) -> Served {
        Served::serve(&self.folder, &[])
    }

    /// Names of the files in staging.
    pub(crate) fn staged(&self) -> usize {
        count(&self.folder.join("data/staging"))
    }
}

/// Thousands of sockets have two ends, and one of them is here.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, |entries| entries.flatten().count())
}

/// As [`await_within`] what such a wait may take here.
///
/// # Errors
/// It did not become so.
pub(crate) fn await_that(what: &str, is_so: impl FnMut() -> bool) -> Result<(), String> {
    await_within(PATIENCE, what, is_so)
}

/// A value of `/metrics`, the sum over its labels; 0 if it is not there.
pub(crate) fn metric(served: &Served, name: &str) -> f64 {
    let (_, lines) = served.admin("/metrics");
    let of_name =
        lines.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
