//! Stores in PEM (RFC 7468): a private key with the certificates behind it, and certificates that are trusted.

use super::TlsError;
use crate::config::Tls;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest store that is read; a longer one is an error. All authorities of a browser take a quarter of it.
const STORE_BYTES_MAX: u64 = 1 << 20;
/// How a JKS file begins, and a PKCS12 file.
const JKS: &[u8] = &[0xfe, 0xed, 0xfe, 0xed];
const DER_SEQUENCE: u8 = 0x30;

/// The content of the files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stores {
    key: Vec<u8>,
    trust: Option<Vec<u8>>,
}

impl Stores {
    /// Reads both files.
    ///
    /// # Errors
    /// Which cannot be read, or is too long.
    pub(super) fn read(tls: &Tls) -> Result<Stores, TlsError> {
        let trust = tls.trust_store.as_deref().map(|path| content(path, tls.trust_store_key)).transpose()?;
        Ok(Stores { key: content(&tls.key_store, tls.key_store_key)?, trust })
    }

    /// The private key, and its certificate with those that sign it.
    ///
    /// # Errors
    /// What the file lacks.
    pub(super) fn key(&self, tls: &Tls) -> Result<(PrivateKeyDer<'static>, Vec<CertificateDer<'static>>), TlsError> {
        let wrong = |problem| store_error(tls.key_store_key, &tls.key_store, problem);
        let is_encrypted = [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| self.key.windows(mark.len()).any(|found| found == *mark));
        if is_encrypted {
            return Err(wrong("the private key is encrypted: decrypt it with `openssl pkey -in FILE`, and let the file's mode guard it".into()));
        }
        let chain = certificates(&self.key).map_err(wrong)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|error| wrong(format!("no private key in PEM ({error})")))?;
        Ok((key, chain))
    }

    /// The certificates that are trusted.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn trusted(&self, tls: &Tls) -> Result<Option<RootCertStore>, TlsError> {
        let (Some(pem), Some(path)) = (&self.trust, &tls.trust_store) else { return Ok(None) };
        let wrong = |problem| store_error(tls.trust_store_key, path, problem);
        let mut trusted = RootCertStore::empty();
        for certificate in certificates(pem).map_err(wrong)? {
            trusted.add(certificate).map_err(|error| wrong(format!("a certificate cannot be trusted: {error}")))?;
        }
        Ok(Some(trusted))
    }
}

fn store_error(key: &'static str, path: &Path, problem: String) -> TlsError {
    TlsError::Store { key, path: path.to_owned(), problem }
}

fn content(path: &Path, key: &'static str) -> Result<Vec<u8>, TlsError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(STORE_BYTES_MAX + 1).read_to_end(&mut content));
    read.map_err(|source| TlsError::Read { key, path: PathBuf::from(path), source })?;
    match content.len() as u64 > STORE_BYTES_MAX {
        true => Err(store_error(key, path, format!("longer than {STORE_BYTES_MAX} bytes"))),
        false => Ok(content),
    }
}

/// Every certificate of a file, of which there must be one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if pem.starts_with(JKS) || pem.first() == Some(&DER_SEQUENCE) {
        return Err("a key store of Java's (JKS or PKCS12), not PEM: make PEM of it with `openssl pkcs12 -in STORE.p12 -nodes`, and PKCS12 of JKS with \
             `keytool -importkeystore`"
            .into());
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate in PEM".into()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("not PEM: {error}")),
    }
}
