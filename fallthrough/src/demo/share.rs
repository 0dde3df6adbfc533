//! The address by which other devices reach this machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// This machine's address in its network, with `port`.
///
/// # Errors
/// Why others cannot reach it, in a sentence.
pub(super) fn address_in_network(port: u16) -> Result<SocketAddr, String> {
    let ip =
        outward_address().map_err(|error| format!("this machine seems to be in no network ({error})"))?;
    if ip.is_loopback() || ip.is_unspecified() {
        return Err("this machine seems to be in no network".to_owned());
    }
    Ok(SocketAddr::new(ip, port))
}

/// The address from which a packet to the outside would leave. Nothing is sent: connecting a datagram socket
/// only chooses a route. 192.0.2.1 is reserved for documentation (RFC 5737), so it is outside of every network.
fn outward_address() -> std::io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    Ok(socket.local_addr()?.ip())
}
