//! The certificate of the S3 listener, read again when its files change.

use std::path::Path;
use std::time::Duration;

use fallthrough_gateway::Tls;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::settings::TlsSettings;

/// How often the files are looked at. Certificates are renewed weeks before they end.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// No chain is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate, and where it is from. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// What the listener shows.
    pub(crate) tls: Tls,
    files: TlsSettings,
}

/// Chain and key as they are in their files.
type Pair = (Vec<u8>, Vec<u8>);

impl Certificate {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// A file cannot be read, or what is in it not be used.
    pub(crate) fn read(files: &TlsSettings) -> Result<(Self, Pair), Failure> {
        let pair = read_pair(files)?;
        let tls = Tls::from_pem(&pair.0, &pair.1).map_err(|refused| unusable(files, &refused))?;
        Ok((Self { tls, files: files.clone() }, pair))
    }

    /// Reads it again; whether it is another one than `known`, which then is what was read.
    ///
    /// # Errors
    /// As [`Certificate::read`]; the old one stays.
    pub(crate) fn read_again(&self, known: &mut Pair) -> Result<bool, Failure> {
        let pair = read_pair(&self.files)?;
        if pair == *known {
            return Ok(false);
        }
        // Also if it cannot be used: it is told of once, not again and again.
        known.clone_from(&pair);
        self.tls.replace(&pair.0, &pair.1).map_err(|refused| unusable(&self.files, &refused))?;
        Ok(true)
    }

    /// Looks at the files every few seconds until told to stop. What fails is told of once.
    pub(crate) async fn watch(self, mut known: Pair, stop: CancellationToken) {
        let watching = async {
            let mut told = String::new();
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                match self.read_again(&mut known) {
                    Ok(false) => {}
                    Ok(true) => {
                        told.clear();
                        tracing::info!("the S3 listener shows another certificate from now on");
                    }
                    Err(failure) if failure.message == told => {}
                    Err(failure) => {
                        tracing::error!(
                            "the new certificate is not used, the old one stays: {}; {}",
                            failure.message,
                            failure.mend
                        );
                        told = failure.message;
                    }
                }
            }
        };
        stop.run_until_cancelled(watching).await;
    }
}

fn unusable(files: &TlsSettings, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        format!("{} and {}: {why}", files.cert.display(), files.key.display()),
        "name a PEM file with the certificate chain in [s3.tls] cert and one with its private key in [s3.tls] key",
    )
}

fn read_pair(files: &TlsSettings) -> Result<Pair, Failure> {
    Ok((read_file(&files.cert)?, read_file(&files.key)?))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = || {
        let size = std::fs::metadata(path)?.len();
        if size > FILE_BYTES_MAX {
            Err(std::io::Error::other("it is too large"))
        } else {
            std::fs::read(path)
        }
    };
    read().map_err(|error| {
        Failure::new(
            format!("{} cannot be read: {error}", path.display()),
            "check the path in [s3.tls], and that this user may read the file",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: (&[u8], &[u8]) = (
        include_bytes!("../../../tier1-cache/gateway/tests/s3/certificates/one.crt"),
        include_bytes!("../../../tier1-cache/gateway/tests/s3/certificates/one.key"),
    );
    const TWO: (&[u8], &[u8]) = (
        include_bytes!("../../../tier1-cache/gateway/tests/s3/certificates/two.crt"),
        include_bytes!("../../../tier1-cache/gateway/tests/s3/certificates/two.key"),
    );

    #[test]
    fn a_certificate_is_taken_when_it_is_whole_and_else_the_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsSettings { cert: folder.path().join("crt"), key: folder.path().join("key") };
        assert!(Certificate::read(&files).is_err());
        std::fs::write(&files.cert, ONE.0).unwrap();
        std::fs::write(&files.key, ONE.1).unwrap();
        let (certificate, mut known) = Certificate::read(&files).unwrap();
        assert!(!certificate.read_again(&mut known).unwrap());
        // Half replaced: the two do not belong together, which is said once.
        std::fs::write(&files.cert, TWO.0).unwrap();
        assert!(certificate.read_again(&mut known).is_err());
        assert!(!certificate.read_again(&mut known).unwrap());
        std::fs::write(&files.key, TWO.1).unwrap();
        assert!(certificate.read_again(&mut known).unwrap());
        std::fs::remove_file(&files.key).unwrap();
        let gone = certificate.read_again(&mut known).unwrap_err();
        assert!(gone.message.contains("cannot be read"), "{}", gone.message);
        assert!(!gone.mend.is_empty());
    }
}
