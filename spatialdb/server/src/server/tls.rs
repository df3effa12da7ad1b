//! TLS from files.

use std::fs;
use std::path::Path;

use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::LaunchError;
use crate::config::TlsConfig;

/// What the transport needs, if TLS is set up.
///
/// # Errors
/// A file cannot be read, or is not what it should be.
pub(super) fn load(config: &TlsConfig) -> Result<Option<ServerTlsConfig>, LaunchError> {
    let Some((cert, key)) = config.cert.as_deref().zip(config.key.as_deref()) else { return Ok(None) };
    let identity = Identity::from_pem(read("cert", cert, "CERTIFICATE")?, read("key", key, "PRIVATE KEY")?);
    let mut tls = ServerTlsConfig::new().identity(identity);
    if let Some(ca) = &config.client_ca {
        let ca = Certificate::from_pem(read("client_ca", ca, "CERTIFICATE")?);
        // Tools come without one: who must show a certificate is decided per session.
        tls = tls.client_ca_root(ca).client_auth_optional(true);
    }
    Ok(Some(tls))
}

fn read(key: &'static str, path: &Path, kind: &str) -> Result<String, LaunchError> {
    let wrong = |reason: String| LaunchError::Tls { key, path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    if text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(kind)) {
        return Ok(text);
    }
    Err(wrong(format!("there is no {kind} in PEM form in it")))
}
