//! The other end of a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Whose share of fills an unsigned request counts against: an IPv4 address, or the network that one subscriber of IPv6
    /// has at least (RFC 6177), since whoever has one can use each of its addresses.
    pub(crate) address: Arc<str>,
    /// It is on this machine.
    pub(crate) is_local: bool,
}

impl Peer {
    /// Who is at this address.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let ip = address.ip().to_canonical();
        let share = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        };
        Self { address: Arc::from(share), is_local: ip.is_loopback() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_client() {
        let share = |text: &str| Peer::of(text.parse().unwrap()).address.to_string();
        assert_eq!(share("192.0.2.7:1"), "192.0.2.7");
        assert_eq!(share("[::ffff:192.0.2.7]:2"), "192.0.2.7");
        assert_eq!(share("[2001:db8:1:2:3:4:5:6]:1"), share("[2001:db8:1:2:ffff::1]:1"));
        assert_ne!(share("[2001:db8:1:2::1]:1"), share("[2001:db8:1:3::1]:1"));
        for local in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(Peer::of(local.parse().unwrap()).is_local, "{local}");
        }
        assert!(!Peer::of("[2001:db8::1]:1".parse().unwrap()).is_local);
    }
}
