//! Opens listeners, and says what to do when a port is taken.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::failure::Failure;

/// Listens on `address`; `setting` is what the user can change it with.
///
/// # Errors
/// The port is in use, privileged, or the address is not this machine's.
pub(crate) async fn listen(address: SocketAddr, what: &str, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let (message, mend) = match error.kind() {
            std::io::ErrorKind::AddrInUse => (
                format!("the {what} cannot listen on {address}: the port is in use"),
                format!("stop the program that uses it (`ss -ltnp 'sport = :{}'` names it), or choose another with {setting}", address.port()),
            ),
            std::io::ErrorKind::PermissionDenied => (
                format!("the {what} may not listen on {address}"),
                format!("ports below 1024 need privileges; choose another with {setting}"),
            ),
            std::io::ErrorKind::AddrNotAvailable => (
                format!("the {what} cannot listen on {address}: it is not an address of this machine"),
                format!("use 0.0.0.0 for all addresses, or choose another with {setting}"),
            ),
            _ => (format!("the {what} cannot listen on {address}: {error}"), format!("choose another with {setting}")),
        };
        Failure::new(message, mend)
    })
}

/// How others reach a listener on this machine: an unspecified address becomes loopback.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let loopback: std::net::IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, address.port())
}

/// Where a listener listens, port 0 resolved.
///
/// # Errors
/// The operating system does not tell.
pub(crate) fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|error| {
        Failure::new(
            format!("a listener does not know its address: {error}"),
            "try again, or choose a fixed port",
        )
    })
}
