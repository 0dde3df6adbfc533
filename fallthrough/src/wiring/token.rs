//! The admin API's token: configured, or made once and kept in the data folder.

use std::path::{Path, PathBuf};

use fallthrough_object::Entropy;

use crate::failure::Failure;
use crate::settings::Secret;
use crate::wiring::root::keep_privately;

/// Where a token that was made is kept.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("admin-token")
}

/// The configured token, or the kept one, or a new one, which is kept.
///
/// # Errors
/// The file cannot be read or written.
pub(crate) fn load_or_make(
    configured: Option<&Secret>,
    data: &Path,
    entropy: &dyn Entropy,
) -> Result<Secret, Failure> {
    if let Some(token) = configured {
        return Ok(token.clone());
    }
    let path = path(data);
    if path.exists() {
        return Secret::read(&path).map_err(|wrong| {
            Failure::new(
                wrong,
                "delete the file and a new token is made, or name your own with admin.token-file",
            )
        });
    }
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    keep_privately(&path, &token)?;
    Ok(Secret::new(token))
}
