//! Which rule of chapter 11 a relay's certificates break, for whoever wants to know more than that
//! a handshake failed.

use core::fmt;
use core::time::Duration;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};

use super::tls::{LEAF_NAME, client_tls, is_chain_length};
use crate::ids::RootFingerprint;

/// Why a relay's certificates are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CertificateFault {
    /// They are not 2, 4, 6 or 8.
    Number,
    /// No root's key is Ed25519 and the pinned one.
    Root,
    /// The leaf is no certificate, or no signatures lead to it from the pinned root.
    Signature,
    /// The leaf is not valid now, or for another name.
    Validity,
}

impl CertificateFault {
    /// The rule of `protocol-spec/11-relay-protocol.md` that was broken.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Number => "R-1120",
            Self::Root => "R-1121",
            Self::Signature => "R-1122",
            Self::Validity => "R-1123",
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => {
                "a relay shows a leaf and its root, and two certificates for each root before"
            }
            Self::Root => "the relay's root key is not the pinned one",
            Self::Signature => "the relay's certificate is not signed by its root",
            Self::Validity => "the relay's certificate is not valid now, or for another name",
        })
    }
}

impl core::error::Error for CertificateFault {}

/// What a client that pins this root says to these certificates (DER, leaf first) at a time: it
/// asks the verifier of its TLS.
///
/// # Errors
/// [`CertificateFault`].
pub fn check_certificates(
    pin: &RootFingerprint,
    chain: &[Vec<u8>],
    unix_seconds: u64,
) -> Result<(), CertificateFault> {
    let chain: Vec<CertificateDer<'_>> =
        chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (leaf, others) = chain.split_first().ok_or(CertificateFault::Number)?;
    let (_, verifier) = client_tls(*pin).map_err(|_| CertificateFault::Root)?;
    let name = ServerName::try_from(LEAF_NAME).map_err(|_| CertificateFault::Validity)?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(unix_seconds));
    let Err(error) = verifier.verify_server_cert(leaf, others, &name, &[], now) else {
        return Ok(());
    };
    Err(match error {
        _ if !is_chain_length(chain.len()) => CertificateFault::Number,
        _ if verifier.saw_mismatch() => CertificateFault::Root,
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. },
        ) => CertificateFault::Validity,
        _ => CertificateFault::Signature,
    })
}
