//! TLS: trusted, not trusted, and for another name. The certificate below `tls/` is self-signed for `localhost`
//! and good for nothing else; its key is public on purpose.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::Key;
use fallthrough_shadow::{HttpSettings, HttpShadow, NetworkPolicy, Outbound, Request, Shadow, ShadowError};
use futures::StreamExt;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

const CERTIFICATE: &[u8] = include_bytes!("tls/localhost.der");
const KEY: &[u8] = include_bytes!("tls/localhost.key.der");
const OPEN: NetworkPolicy = NetworkPolicy { allow_private: true };

/// Answers every TLS connection with one object.
async fn server() -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("default versions")
        .with_no_client_auth()
        .with_single_cert(vec![CERTIFICATE.into()], KEY.try_into().expect("a key"))
        .expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    TaskTracker::new().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that refuses the certificate ends here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            if stream.write_all(answer).await.is_ok() && stream.shutdown().await.is_err() {
                return;
            }
        }
    });
    address
}

async fn ask(url: String, outbound: &Outbound) -> Result<Vec<u8>, ShadowError> {
    let shadow =
        HttpShadow::new(&HttpSettings { base_url: url, bearer: None }, outbound).expect("usable settings");
    let key = Key::parse("k").expect("a key");
    let mut body = shadow.fetch(Request::get(key, Duration::from_secs(20))).await?.body;
    let mut got = Vec::new();
    while let Some(piece) = body.next().await {
        got.extend_from_slice(&piece.expect("a whole body"));
    }
    Ok(got)
}

#[tokio::test]
async fn an_origin_is_asked_only_under_a_trusted_certificate_for_its_name() {
    let port = server().await.port();
    let trusting = Outbound::trusting(OPEN, vec![CERTIFICATE.to_vec()]).unwrap();
    assert_eq!(ask(format!("https://localhost:{port}"), &trusting).await.unwrap(), b"hello");

    let other_name = ask(format!("https://127.0.0.1:{port}"), &trusting).await.unwrap_err();
    let stranger = ask(format!("https://localhost:{port}"), &Outbound::new(OPEN).unwrap()).await.unwrap_err();
    for error in [other_name, stranger] {
        assert!(matches!(error, ShadowError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert!(Outbound::trusting(OPEN, vec![b"no certificate".to_vec()]).is_err());
}
