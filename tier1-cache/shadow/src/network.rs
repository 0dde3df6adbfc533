//! Where requests may go: names are resolved, the addresses checked, and only checked ones connected to.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use serde::{Deserialize, Serialize};

/// A resolver that says nothing for so long says nothing.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which addresses an origin may have. The default allows public ones only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// Loopback, private (RFC 1918, RFC 4193) and carrier-shared (RFC 6598) addresses are allowed too.
    /// Link-local, metadata, multicast and reserved addresses never are.
    pub allow_private: bool,
}

/// What kind of address it is, as far as the policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    Never,
}

/// The policy forbids an address. Holds words, never the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forbidden {
    #[error("it leads to a private or loopback address; set network.allow-private-origins if that is meant")]
    Private,
    #[error("it leads to a link-local, metadata, multicast or reserved address, which no setting allows")]
    Never,
}

impl NetworkPolicy {
    /// Whether an origin may have this address.
    pub fn allows(self, address: IpAddr) -> bool {
        self.check(address).is_ok()
    }

    pub(crate) fn check(self, address: IpAddr) -> Result<(), Forbidden> {
        match kind(address) {
            Kind::Public => Ok(()),
            Kind::Private if self.allow_private => Ok(()),
            Kind::Private => Err(Forbidden::Private),
            Kind::Never => Err(Forbidden::Never),
        }
    }
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => kind_v6(v6),
    }
}

/// By the special-purpose registry, <https://www.iana.org/assignments/iana-ipv4-special-registry>.
fn kind_v4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        // A well-known metadata address within the shared range.
        [100, 100, 100, 200] => Kind::Never,
        [127 | 10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Kind::Private,
        [0, ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Kind::Never,
        [198, 18 | 19, ..] | [224..=255, ..] => Kind::Never,
        _ => Kind::Public,
    }
}

/// By the special-purpose registry, <https://www.iana.org/assignments/iana-ipv6-special-registry>. An address
/// that carries an IPv4 one is what the inner one is.
fn kind_v6(address: Ipv6Addr) -> Kind {
    let s = address.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        kind_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Private,
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Never,
        // IPv4-mapped, IPv4-compatible, IPv4-translated, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] => inner(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => inner(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        // Well-known metadata address within the unique local range.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] => Kind::Never,
        [first, ..] if first & 0xfe00 == 0xfc00 => Kind::Private,
        // Global unicast, less documentation and the tunnels and tests in 2001::/23.
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Kind::Never,
        [0x2001, second, ..] if second < 0x200 => Kind::Never,
        [first, ..] if first & 0xe000 == 0x2000 => Kind::Public,
        _ => Kind::Never,
    }
}

/// Resolves names with the operating system and hands over only addresses that the policy allows.
#[derive(Clone, Debug)]
pub(crate) struct CheckedResolver {
    pub(crate) policy: NetworkPolicy,
}

/// Why a name gives no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("its name cannot be resolved")]
    NoSuchName,
    #[error("its name was not resolved in time")]
    Timeout,
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
}

impl CheckedResolver {
    /// The allowed addresses of a name; port 0.
    pub(crate) async fn resolve(self, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
        let looked_up = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name, 0))).await;
        let found: Vec<_> = match looked_up {
            Err(_) => return Err(ResolveError::Timeout),
            Ok(Err(_)) => return Err(ResolveError::NoSuchName),
            Ok(Ok(found)) => found.collect(),
        };
        let (allowed, refused): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| self.policy.allows(address.ip()));
        match (allowed.is_empty(), refused.first()) {
            (false, _) => Ok(allowed),
            (true, Some(address)) => {
                Err(self.policy.check(address.ip()).err().unwrap_or(Forbidden::Never).into())
            }
            (true, None) => Err(ResolveError::NoSuchName),
        }
    }
}

impl tower::Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { resolver.resolve(name.as_str()).await.map(Vec::into_iter) })
    }
}

impl fmt::Display for NetworkPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allow_private { "public and private addresses" } else { "public addresses" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_of_one_kind() {
        let rows = [
            (
                Kind::Public,
                "1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.0.1.1 223.255.255.255",
            ),
            (
                Kind::Public,
                "2606:4700::1111 2001:4860:4860::8888 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::1",
            ),
            (
                Kind::Private,
                "127.0.0.1 127.255.0.1 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1",
            ),
            (
                Kind::Private,
                "::1 fc00::1 fdff::1 ::ffff:127.0.0.1 ::ffff:10.1.1.1 64:ff9b::a00:1 2002:a00:1::1 ::7f00:1",
            ),
            (
                Kind::Never,
                "0.0.0.0 0.1.2.3 169.254.169.254 169.254.0.1 224.0.0.1 239.1.1.1 255.255.255.255 240.0.0.1",
            ),
            (Kind::Never, "100.100.100.200 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1"),
            (
                Kind::Never,
                ":: fe80::1 fec0::1 ff02::1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 64:ff9b::a9fe:a9fe",
            ),
            (
                Kind::Never,
                "2001:db8::1 2001::1 100::1 fd00:ec2::254 64:ff9b:1::1 ::ffff:0:169.254.169.254 2002:a9fe:a9fe::",
            ),
        ];
        for (want, addresses) in rows {
            for address in addresses.split(' ') {
                assert_eq!(kind(address.parse().unwrap()), want, "{address}");
            }
        }
    }

    #[test]
    fn private_addresses_need_permission_and_metadata_never_gets_it() {
        let (strict, open) = (NetworkPolicy::default(), NetworkPolicy { allow_private: true });
        let [public, loopback, metadata] =
            ["1.1.1.1", "127.0.0.1", "169.254.169.254"].map(|a| a.parse::<IpAddr>().unwrap());
        assert_eq!([public, loopback, metadata].map(|a| strict.allows(a)), [true, false, false]);
        assert_eq!([public, loopback, metadata].map(|a| open.allows(a)), [true, true, false]);
        assert!(strict.check(loopback).unwrap_err().to_string().contains("allow-private-origins"));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_is_refused_however_it_is_spelt() {
        let strict = CheckedResolver { policy: NetworkPolicy::default() };
        // Numbers that the system's resolver reads as 127.0.0.1.
        for name in ["localhost", "127.1", "2130706433", "0x7f.1"] {
            match strict.clone().resolve(name).await {
                Err(ResolveError::Forbidden(Forbidden::Private) | ResolveError::NoSuchName) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        let open = CheckedResolver { policy: NetworkPolicy { allow_private: true } };
        assert!(open.resolve("localhost").await.unwrap().iter().all(|a| a.ip().is_loopback()));
    }
}
