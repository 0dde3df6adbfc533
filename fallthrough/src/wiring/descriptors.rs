//! The limit of open files, and how many connections it has room for.
//!
//! Without a descriptor nothing can be accepted, read or staged. So the limit is raised as far as this user may, and
//! where that is not far enough, fewer connections are taken: a refused connection is tried again, while a
//! request that has begun would fail.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A connection's socket, and what its request needs: a body's file, or a connection to an origin.
const PER_CONNECTION: u64 = 2;
/// What the store keeps open, and beside it: the index, listeners, the admin API, connections that are refused,
/// those to origins that are kept.
const OTHERS: u64 = 256 + 256;

/// Raises the soft limit to the hard one; how many files may be open from now on, `None`: any number.
pub(crate) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    }
}

/// How many connections of those that are wanted have room within `files`; with a warning if that is not all.
pub(crate) fn connections(wanted: u32, files: Option<u64>) -> usize {
    let wanted = u64::from(wanted);
    let needed = OTHERS + PER_CONNECTION * wanted;
    let Some(files) = files.filter(|files| *files < needed) else {
        return usize::try_from(wanted).unwrap_or(usize::MAX);
    };
    // Some must be let in, however few files there are.
    let room = (files.saturating_sub(OTHERS) / PER_CONNECTION).max(files / 4).clamp(1, wanted);
    tracing::warn!(
        open_files = files,
        connections = room,
        "few open files are allowed, so fewer connections are taken than s3.max-connections says: raise the \
         limit to {needed} (LimitNOFILE= of systemd, `ulimit -Hn`)"
    );
    usize::try_from(room).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_room_for_their_files() {
        let rows = [
            (4096, None, 4096),
            (4096, Some(1 << 20), 4096),
            (4096, Some(OTHERS + 2 * 4096), 4096),
            (4096, Some(OTHERS + 2 * 4096 - 1), 4095),
            (4096, Some(4096), 1792),
            (4096, Some(1024), 256),
            (4096, Some(400), 100),
            (10, Some(1024), 10),
            (4096, Some(3), 1),
        ];
        for (wanted, files, want) in rows {
            assert_eq!(connections(wanted, files), want, "{wanted} {files:?}");
        }
    }
}
