//! TLS in front of the S3 listener: the certificate that it shows, which may be replaced while connections are open.
//!
//! HTTP/1.1 alone, also by ALPN: a client that speaks nothing else is told so in the handshake. Nobody is asked for a
//! certificate. A connection keeps the certificate that it began with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take over its handshake: a few round trips.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Why a certificate cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsRefused {
    /// The file holds no certificate, or one that cannot be read.
    #[error("there is no certificate in it that can be read")]
    Certificate,
    /// The file holds no private key, or one that cannot be read.
    #[error("there is no private key in it that can be read")]
    Key,
    /// The two do not belong together, or are of a kind that is not supported.
    #[error("certificate and key cannot be used together: {0}")]
    Pair(String),
}

/// The certificate of a listener. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Mutex<Arc<ServerConfig>>>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// Reads a certificate chain and its private key, both PEM.
    ///
    /// # Errors
    /// [`TlsRefused`]. No text of the files is in it.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsRefused> {
        Ok(Self(Arc::new(Mutex::new(config(chain, key)?))))
    }

    /// Shows another certificate to connections that begin from now on.
    ///
    /// # Errors
    /// [`TlsRefused`]: then the old one stays.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsRefused> {
        let new = config(chain, key)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Shakes hands; `None` if that fails or takes too long.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> Option<TlsStream<S>> {
        let config = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::time::timeout(HANDSHAKE_TIME, TlsAcceptor::from(config).accept(socket)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                None
            }
        }
    }
}

fn config(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsRefused> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsRefused::Certificate)?;
    if chain.is_empty() {
        return Err(TlsRefused::Certificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsRefused::Key)?;
    let pair = |error: rustls::Error| TlsRefused::Pair(error.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
