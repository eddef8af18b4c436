//! How the owner of a mailbox or depot signs a request.
//!
//! The signed bytes are
//!
//! ```text
//! "undertone/1 owner request" ‖ exporter (32) ‖ operation code (1) ‖ length of body (4, big-endian) ‖ body
//! ```
//!
//! where body is the encoded [`OwnerRequest`], exactly as sent. The exporter belongs to one TLS
//! connection, so that a signature is worth nothing on any other.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::bytes::{Bounded, BoundedBytes};
use crate::codec;
use crate::error::ErrorCode;
use crate::frame::{OwnerOperation, OwnerRequest, SignedRequest};
use crate::ids::{DepotKey, Exporter, MailboxId, ReadKey, RequestId, Signature};
use crate::limits::MAX_MESSAGE;

/// Begins everything that an owner signs.
pub const OWNER_LABEL: &[u8] = b"undertone/1 owner request";

/// Label of the exporter (RFC 8446 §7.5, RFC 5705), used with an empty context and 32 bytes.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-undertone/1 owner";

/// A key that can sign owner requests.
pub trait OwnerSecret: Send + Sync {
    /// The public key.
    fn public_bytes(&self) -> [u8; 32];
    /// Signs (Ed25519, RFC 8032).
    fn sign(&self, message: &[u8]) -> Signature;
}

macro_rules! owner_secret {
    ($(#[$doc:meta])* $name:ident, $public:ident) => {
        $(#[$doc])*
        ///
        /// Wiped on drop, never shown.
        pub struct $name(SigningKey);

        impl $name {
            /// From a 32-byte seed (RFC 8032), which must come from the system's random generator.
            #[must_use]
            pub fn from_seed(seed: &[u8; 32]) -> Self {
                Self(SigningKey::from_bytes(seed))
            }

            /// The seed, to be stored.
            #[must_use]
            pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes())
            }

            /// The public key.
            #[must_use]
            pub fn public(&self) -> $public {
                $public::from_bytes(self.0.verifying_key().to_bytes())
            }
        }

        impl OwnerSecret for $name {
            fn public_bytes(&self) -> [u8; 32] {
                self.0.verifying_key().to_bytes()
            }

            fn sign(&self, message: &[u8]) -> Signature {
                Signature::from_bytes(self.0.sign(message).to_bytes())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self(_) = self;
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

owner_secret!(
    /// The read key of a mailbox: whoever holds it owns the mailbox.
    MailboxSecret, ReadKey
);
owner_secret!(
    /// The key that manages a depot.
    DepotSecret, DepotKey
);

impl MailboxSecret {
    /// The id of the mailbox.
    #[must_use]
    pub fn mailbox(&self) -> MailboxId {
        self.public().mailbox()
    }
}

/// Why an owner's request could not be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SignError {
    /// The secrets are not those of the keys that the operation names, in its order.
    WrongKeys,
    /// The request is longer than a message may be.
    TooLong,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongKeys => "the secrets do not belong to the keys that the request names",
            Self::TooLong => "the request is longer than a message may be",
        })
    }
}

impl std::error::Error for SignError {}

impl OwnerOperation {
    /// The keys that must sign, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<[u8; 32]> {
        match self {
            Self::CreateMailbox { key, .. }
            | Self::SetLimits { key, .. }
            | Self::AddCapabilities { key, .. }
            | Self::RevokeCapabilities { key, .. }
            | Self::DeleteMailbox { key } => vec![*key.as_bytes()],
            Self::Subscribe { keys, .. } | Self::Status { keys } => {
                keys.as_slice().iter().map(|key| *key.as_bytes()).collect()
            }
            Self::FillDepot { key, .. }
            | Self::DepotStatus { key, .. }
            | Self::DeleteDepot { key, .. } => vec![*key.as_bytes()],
        }
    }

    /// The operation's code in the signed bytes.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::CreateMailbox { .. } => 0,
            Self::SetLimits { .. } => 1,
            Self::AddCapabilities { .. } => 2,
            Self::RevokeCapabilities { .. } => 3,
            Self::Subscribe { .. } => 4,
            Self::Status { .. } => 5,
            Self::DeleteMailbox { .. } => 6,
            Self::FillDepot { .. } => 7,
            Self::DepotStatus { .. } => 8,
            Self::DeleteDepot { .. } => 9,
        }
    }
}

/// The bytes that are signed for a body.
fn signed_bytes(exporter: &Exporter, code: u8, body: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(body.len()).ok()?;
    Some([OWNER_LABEL, exporter.as_bytes(), &[code], &length.to_be_bytes(), body].concat())
}

impl SignedRequest {
    /// Signs an operation for one connection. `secrets` belong to [`OwnerOperation::keys`], in order.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(
        id: RequestId,
        operation: OwnerOperation,
        exporter: &Exporter,
        secrets: &[&dyn OwnerSecret],
    ) -> Result<Self, SignError> {
        let keys = operation.keys();
        if keys.len() != secrets.len()
            || keys.iter().zip(secrets).any(|(key, secret)| *key != secret.public_bytes())
        {
            return Err(SignError::WrongKeys);
        }
        let code = operation.code();
        let body = codec::encode(&OwnerRequest { id, operation }, MAX_MESSAGE)
            .map_err(|_| SignError::TooLong)?;
        let message = signed_bytes(exporter, code, &body).ok_or(SignError::TooLong)?;
        let signatures = secrets.iter().map(|secret| secret.sign(&message)).collect();
        Ok(Self {
            body: BoundedBytes::new(body).ok_or(SignError::TooLong)?,
            signatures: Bounded::new(signatures).ok_or(SignError::WrongKeys)?,
        })
    }

    /// Reads and verifies the operation: the only way to it, so nothing unsigned is carried out.
    ///
    /// # Errors
    /// [`ErrorCode::Malformed`] if the body is not an owner request, names another request id
    /// (R-1112), no key or one key twice (R-1116), or has another number of signatures than keys
    /// (R-1113);
    /// [`ErrorCode::BadSignature`] if one of them is wrong (R-1114).
    pub fn verify(&self, id: RequestId, exporter: &Exporter) -> Result<OwnerOperation, ErrorCode> {
        let body = self.body.as_slice();
        let request: OwnerRequest = codec::decode(body).map_err(|_| ErrorCode::Malformed)?;
        let keys = request.operation.keys();
        let signatures = self.signatures.as_slice();
        if request.id != id
            || keys.is_empty()
            || keys.len() != signatures.len()
            || has_duplicates(&keys)
        {
            return Err(ErrorCode::Malformed);
        }
        let message =
            signed_bytes(exporter, request.operation.code(), body).ok_or(ErrorCode::Malformed)?;
        for (key, signature) in keys.iter().zip(signatures) {
            verify_one(key, &message, signature)?;
        }
        Ok(request.operation)
    }
}

/// Whether anything is there twice.
#[must_use]
pub fn has_duplicates<T: Ord>(items: &[T]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !items.iter().all(|item| seen.insert(item))
}

/// Strict verification: small-order keys and non-canonical encodings are refused, so that a
/// signature has one meaning everywhere.
pub(crate) fn verify_one(
    key: &[u8; 32],
    message: &[u8],
    signature: &Signature,
) -> Result<(), ErrorCode> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| ErrorCode::BadSignature)?;
    let signature = ed25519_dalek::Signature::from_bytes(signature.as_bytes());
    key.verify_strict(message, &signature).map_err(|_| ErrorCode::BadSignature)
}
