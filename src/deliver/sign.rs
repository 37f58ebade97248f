//! DKIM signatures on report mail, so that it passes the check it reports about: RFC 9990 §3.5.2, "Mail
//! streams carrying DMARC feedback data MUST conform to the DMARC mechanism".
//!
//! Owns the key file and the use of mail-auth's signer, whose types stop here. RFC 6376, RFC 8301 (RSA
//! of 1024 bits and more), RFC 8463 (Ed25519).

use crate::domain::DomainName;
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::path::{Path, PathBuf};

/// Signs for one domain with one key.
pub struct Signer(DkimSigner<DkimKey, Done>);

/// Why nothing can be signed. The operator must act.
#[derive(Debug)]
pub enum SignerError {
    /// `delivery.dkim_key_file` cannot be read.
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    /// It holds no private key that signs.
    NoKey { path: PathBuf, problem: String },
    /// The library says no.
    Library(String),
}

impl Signer {
    /// Reads the key: PEM, RSA (`RSA PRIVATE KEY`, `PRIVATE KEY`) or Ed25519 (`PRIVATE KEY`).
    pub fn open(key_file: &Path, domain: &DomainName, selector: &str) -> Result<Self, SignerError> {
        let pem = std::fs::read(key_file).map_err(|source| SignerError::Unreadable {
            path: key_file.to_owned(),
            source,
        })?;
        let key = read_key(&pem).map_err(|problem| SignerError::NoKey {
            path: key_file.to_owned(),
            problem,
        })?;
        let signer = DkimSigner::from_key(key)
            .domain(domain.as_str())
            .selector(selector)
            .headers(SIGNED)
            .header_canonicalization(Canonicalization::Relaxed)
            .body_canonicalization(Canonicalization::Relaxed);
        Ok(Self(signer))
    }

    /// The mail with a DKIM-Signature on top. Its lines end in CRLF.
    pub fn sign(&self, mail: &[u8]) -> Result<Vec<u8>, SignerError> {
        let signature = self.0.sign(mail);
        let signature = signature.map_err(|error| SignerError::Library(error.to_string()))?;
        let mut signed = signature.to_header().into_bytes();
        signed.extend_from_slice(mail);
        Ok(signed)
    }
}

fn read_key(pem: &[u8]) -> Result<DkimKey, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
    if let PrivateKeyDer::Pkcs8(pkcs8) = &key {
        // OpenSSL leaves the public key out.
        let ed25519 = Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8.secret_pkcs8_der());
        if let Ok(ed25519) = ed25519 {
            return Ok(DkimKey::Ed25519(ed25519));
        }
    }
    let rsa = RsaKey::<Sha256>::from_key_der(key).map_err(|error| error.to_string())?;
    // RFC 8301 §3.2: "Signers MUST use RSA keys of at least 1024 bits". The encoding of such a key has
    // the modulus and more.
    if rsa.public_key().len() < 1024 / 8 {
        return Err("an RSA key of less than 1024 bits, RFC 8301 §3.2".to_owned());
    }
    Ok(DkimKey::Rsa(rsa))
}

impl fmt::Debug for Signer {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(
                f,
                "delivery.dkim_key_file: {}: {source}; make it readable for alignd's user",
                path.display()
            ),
            Self::NoKey { path, problem } => write!(
                f,
                "delivery.dkim_key_file: {}: no private key that signs: {problem}; make one with `openssl genrsa 2048`",
                path.display()
            ),
            Self::Library(problem) => write!(f, "report mail cannot be signed: {problem}"),
        }
    }
}

impl std::error::Error for SignerError {}

/// Everything that report mail has, and From once more: a second one breaks the signature (RFC 6376
/// §8.15). What it has not is signed as absent.
const SIGNED: [&str; 12] = [
    "From",
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Auto-Submitted",
    "Reply-To",
    "Cc",
    "Sender",
];
