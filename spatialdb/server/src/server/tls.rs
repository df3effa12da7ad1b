//! TLS from files.

use std::fmt::Display;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::LaunchError;
use crate::config::{TlsConfig, WorldConfig};

/// What is spoken over it: gRPC, and what browsers and scripts without HTTP/2 speak.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What the transport needs, if TLS is set up.
///
/// # Errors
/// A file cannot be read, or is not what it should be.
pub(super) fn load(config: &TlsConfig) -> Result<Option<TlsAcceptor>, LaunchError> {
    let Some((cert, key)) = config.cert.as_deref().zip(config.key.as_deref()) else { return Ok(None) };
    let provider = Arc::new(ring::default_provider());
    let versions =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| wrong("cert", cert, error))?;
    let builder = match config.client_ca.as_deref() {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca", ca)? {
                roots.add(certificate).map_err(|error| wrong("client_ca", ca, error))?;
            }
            // Tools come without one: who must show a certificate is decided per session.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong("client_ca", ca, error))?)
        }
    };
    let secret = PrivateKeyDer::from_pem_slice(&read("key", key)?)
        .map_err(|error| wrong("key", key, in_words("PRIVATE KEY", &error)))?;
    let mut tls = builder
        .with_single_cert(certificates("cert", cert)?, secret)
        .map_err(|error| wrong("key", key, format!("it does not go with tls.cert: {error}")))?;
    tls.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}

/// Why workers that the server starts, and that are strict, will not take it for what it is.
pub(crate) fn distrust_of_own_workers(config: &WorldConfig) -> Option<String> {
    let (cert, trusted) = config.tls.cert.as_deref().zip(config.tls.trusted())?;
    if config.workers.is_empty() {
        return None;
    }
    let verified = || -> Result<(), String> {
        let in_words = |error: LaunchError| error.to_string();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates("ca", trusted).map_err(in_words)?);
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
        let verifier = verifier.map_err(|error| error.to_string())?;
        let chain = certificates("cert", cert).map_err(in_words)?;
        let (own, between) = chain.split_first().ok_or("there is no certificate")?;
        let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
        let verified = verifier.verify_server_cert(own, between, &name, &[], UnixTime::now());
        verified.map(|_| ()).map_err(|error| error.to_string())
    };
    let reason = verified().err()?;
    Some(format!(
        "tls.cert {}: workers that the server starts connect to 127.0.0.1 and would not trust it: {reason}; tls.ca names \
         whom they trust (now {})",
        cert.display(),
        trusted.display()
    ))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, LaunchError> {
    let text = read(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| wrong(key, path, in_words("CERTIFICATE", &error)))?;
    if found.is_empty() {
        return Err(wrong(key, path, in_words("CERTIFICATE", &pem::Error::NoItemsFound)));
    }
    Ok(found)
}

fn in_words(kind: &str, error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => format!("there is no {kind} in PEM form in it"),
        other => other.to_string(),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, LaunchError> {
    fs::read(path).map_err(|error| wrong(key, path, error))
}

fn wrong(key: &'static str, path: &Path, reason: impl Display) -> LaunchError {
    LaunchError::Tls { key, path: path.to_owned(), reason: reason.to_string() }
}
