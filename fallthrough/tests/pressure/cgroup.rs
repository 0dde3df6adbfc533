//! A group of processes whose memory is limited: what they have resident, what the kernel caches and buffers for
//! them, and what their sockets hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ground::await_that;

/// Which interface the kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One hierarchy; sockets count against the one limit.
    Unified,
    /// A hierarchy of its own; sockets are counted apart once they have a limit.
    Memory,
}

/// Exists until it is dropped, which every process in it must have ended before.
pub(crate) struct Cgroup {
    folder: PathBuf,
    kind: Kind,
}

impl Cgroup {
    /// A group below this process's own, or above that where it may have none; processes in it have `limit_bytes`
    /// of memory and no swap.
    ///
    /// # Errors
    /// Why there is none here.
    pub(crate) fn limited(limit_bytes: u64) -> Result<Self, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mut why = "no memory controller is mounted".to_owned();
        for (kind, root, path) in own.lines().filter_map(place) {
            for parent in path.ancestors() {
                match Self::make(kind, &root.join(parent), limit_bytes) {
                    Ok(made) => return Ok(made),
                    Err(error) => why = format!("{}: {error}", root.join(parent).display()),
                }
            }
        }
        Err(format!("no memory-limited cgroup can be made: {why}"))
    }

    fn make(kind: Kind, parent: &Path, limit_bytes: u64) -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("fallthrough-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        // From here on dropped, and so removed, if something fails.
        let made = Self { folder, kind };
        let limit = limit_bytes.to_string();
        match kind {
            Kind::Unified => {
                fs::write(made.folder.join("memory.max"), limit)?;
                // Only where there is swap at all.
                let _ = fs::write(made.folder.join("memory.swap.max"), "0");
            }
            Kind::Memory => {
                fs::write(made.folder.join("memory.limit_in_bytes"), &limit)?;
                let _ = fs::write(made.folder.join("memory.memsw.limit_in_bytes"), &limit);
                let _ = fs::write(made.folder.join("memory.kmem.tcp.limit_in_bytes"), &limit);
            }
        }
        Ok(made)
    }

    /// Starts what `command` starts, in this group.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("/bin/sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.folder.join("cgroup.procs"));
        inside.arg(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// How often the kernel ended a process of the group because there was no memory left.
    pub(crate) fn kills(&self) -> u64 {
        let name = match self.kind {
            Kind::Unified => "memory.events",
            Kind::Memory => "memory.oom_control",
        };
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|kills| kills.trim().parse().ok()).unwrap_or_else(|| panic!("no kills told in {text}"))
    }

    /// The most bytes that the sockets of the group have held at once, where that is counted apart.
    pub(crate) fn socket_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join("memory.kmem.tcp.max_usage_in_bytes")).ok()?;
        text.trim().parse().ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was waited for may stay a moment longer.
        let removed = await_that("the cgroup to be empty", || fs::remove_dir(&self.folder).is_ok());
        if let Err(error) = removed {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

/// The hierarchy and the place in it that a line of `/proc/self/cgroup` speaks of, if it can limit memory.
fn place(line: &str) -> Option<(Kind, PathBuf, PathBuf)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (kind, root) = match controllers {
        "" if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() => (Kind::Unified, "/sys/fs/cgroup"),
        "" => (Kind::Unified, "/sys/fs/cgroup/unified"),
        _ if controllers.split(',').any(|name| name == "memory") => (Kind::Memory, "/sys/fs/cgroup/memory"),
        _ => return None,
    };
    Some((kind, PathBuf::from(root), PathBuf::from(path.trim_start_matches('/'))))
}
