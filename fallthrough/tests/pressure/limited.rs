//! A server whose memory is limited.

use crate::cgroup::Cgroup;
use crate::ground::Ground;
use crate::served::{SERVE, Served, fallthrough};
use crate::skip::skipped;

/// A server in a cgroup, or without one where there is none.
pub(crate) struct Limited {
    pub(crate) served: Served,
    // After the server: a group must be empty to be removed.
    cgroup: Option<Cgroup>,
    limit_bytes: u64,
}

impl Limited {
    /// Starts it with `limit_bytes` of memory. Where no cgroup can be made, that part of `test` is told as skipped.
    pub(crate) fn serve(ground: &Ground, limit_bytes: u64, test: &str) -> Self {
        let mut command = fallthrough(&ground.folder);
        command.args(SERVE);
        let cgroup = match Cgroup::limited(limit_bytes) {
            Ok(cgroup) => Some(cgroup),
            Err(why) => {
                skipped(&format!("{test}_in_a_cgroup"), &why);
                None
            }
        };
        if let Some(cgroup) = &cgroup {
            command = cgroup.enter(&command);
        }
        let served = Served::start_command(&ground.folder, command)
            .unwrap_or_else(|ran| panic!("it ended: {}", ran.err));
        Self { served, cgroup, limit_bytes }
    }

    /// The bound was kept, by whatever can be measured here; `what` has been done to the server.
    pub(crate) fn check(&mut self, what: &str) {
        let kills = self.cgroup.as_ref().map(Cgroup::kills);
        assert!(self.served.ended().is_none() && kills.unwrap_or(0) == 0, "killed for its memory");
        let sockets = self.cgroup.as_ref().and_then(Cgroup::socket_bytes);
        let (peak, limit) = (self.served.peak_bytes(), self.limit_bytes);
        println!("{what}: {peak} bytes resident, {sockets:?} in sockets at most; limit {limit}");
        let all = peak + sockets.unwrap_or(0);
        assert!(all <= limit, "{all} bytes in use at most");
    }
}
