//! TLS on the listener: the same S3, a certificate that can be replaced, and nothing but HTTP/1.1.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_gateway::{GatewayOptions, Tls, TlsRefused};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Reply;
use crate::world::World;

const ONE: (&[u8], &[u8]) = (include_bytes!("certificates/one.crt"), include_bytes!("certificates/one.key"));
const TWO: (&[u8], &[u8]) = (include_bytes!("certificates/two.crt"), include_bytes!("certificates/two.key"));

async fn world() -> (World, Tls) {
    let tls = Tls::from_pem(ONE.0, ONE.1).unwrap();
    let options = GatewayOptions { tls: Some(tls.clone()), ..GatewayOptions::default() };
    let world = World::with(options, Default::default()).await;
    world.public_bucket("photos").await;
    (world, tls)
}

/// Connects, trusting this certificate alone.
async fn connect(world: &World, trusted: &[u8], protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let socket = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from("s3.test").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &[u8]) -> Reply {
    stream.write_all(request).await.unwrap();
    Reply::read(stream, false).await
}

#[tokio::test]
async fn s3_is_spoken_over_tls_and_plain_connections_are_not_understood() {
    let (world, _) = world().await;
    let main = world.main();
    let mut stream = connect(&world, ONE.0, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let body = vec![b'x'; 300_000];
    let (head, body) = main.call("PUT", "/photos/k").body(&body).encode();
    let put = ask(&mut stream, &[head, body].concat()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let (head, _) = main.call("GET", "/photos/k").encode();
    let got = ask(&mut stream, &head).await;
    assert_eq!((got.status, got.body.len(), got.whole), (200, 300_000, true));
    assert!(connect(&world, ONE.0, &["h2"]).await.is_err(), "HTTP/2 alone is refused in the handshake");
    assert!(connect(&world, ONE.0, &[]).await.is_ok(), "without ALPN");
    let mut plain = TcpStream::connect(world.address).await.unwrap();
    plain.write_all(b"GET /photos/k HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn an_address_that_is_told_has_the_scheme_it_was_asked_over() {
    let (world, _) = world().await;
    let main = world.main();
    let mut stream = connect(&world, ONE.0, &[]).await.unwrap();
    let (head, _) = main.call("POST", "/photos/k").query("uploads").encode();
    let begun = ask(&mut stream, &head).await.text();
    let id = begun.split(['<', '>']).skip_while(|text| *text != "UploadId").nth(1).unwrap();
    let (head, body) =
        main.call("PUT", "/photos/k").query(&format!("partNumber=1&uploadId={id}")).body(b"a part").encode();
    let part = ask(&mut stream, &[head, body].concat()).await;
    let parts = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
         </CompleteMultipartUpload>",
        part.header("etag")
    );
    let (head, body) =
        main.call("POST", "/photos/k").query(&format!("uploadId={id}")).body(parts.as_bytes()).encode();
    let completed = ask(&mut stream, &[head, body].concat()).await;
    let location = format!("<Location>https://{}/photos/k</Location>", world.address);
    assert!(completed.text().contains(&location), "{}", completed.text());
}

#[tokio::test]
async fn another_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let (world, tls) = world().await;
    let mut before = connect(&world, ONE.0, &["http/1.1"]).await.unwrap();
    let get = b"GET /photos/none HTTP/1.1\r\nhost: s3.test\r\n\r\n";
    assert_eq!(ask(&mut before, get).await.status, 404);
    // What cannot be used changes nothing.
    let rows: [(&[u8], &[u8], TlsRefused); 3] = [
        (b"", TWO.1, TlsRefused::Certificate),
        (TWO.0, b"nothing", TlsRefused::Key),
        (TWO.0, ONE.1, TlsRefused::Pair(String::new())),
    ];
    for (chain, key, want) in rows {
        let refused = tls.replace(chain, key).unwrap_err();
        assert_eq!(std::mem::discriminant(&refused), std::mem::discriminant(&want), "{refused}");
        assert!(connect(&world, ONE.0, &[]).await.is_ok());
    }
    tls.replace(TWO.0, TWO.1).unwrap();
    assert!(connect(&world, ONE.0, &[]).await.is_err());
    let mut after = connect(&world, TWO.0, &[]).await.unwrap();
    assert_eq!(ask(&mut after, get).await.status, 404);
    assert_eq!(ask(&mut before, get).await.status, 404, "an open connection keeps what it began with");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_its_time() {
    let (world, _) = world().await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let mut end = Vec::new();
    // Virtual time goes on as soon as everybody waits.
    let read = tokio::time::timeout(Duration::from_secs(60), silent.read_to_end(&mut end)).await;
    assert!(read.is_ok(), "the connection is closed");
}
