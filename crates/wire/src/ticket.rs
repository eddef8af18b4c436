//! Subscription tickets: one signature in place of many.
//!
//! Once a day a client proves its read keys by subscribing with them; then it asks for a *ticket*
//! for those mailboxes. The ticket is sealed by the relay for itself and holds the mailboxes, a
//! session key that the client made for this ticket, and an expiry. On a later connection the
//! client presents it with one signature, over
//!
//! ```text
//! "undertone/1 resume" ‖ exporter (32) ‖ length of body (4, big-endian) ‖ body
//! ```
//!
//! where body is the encoded [`ResumeRequest`], exactly as sent. A ticket subscribes, and what is
//! subscribed to can be acknowledged; it does nothing else, and no further ticket comes from it.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::bytes::BoundedBytes;
use crate::codec;
use crate::error::ErrorCode;
use crate::frame::SealedTicket;
use crate::ids::{Exporter, RequestId, SessionKey, Signature};
use crate::limits::MAX_TICKET;
use crate::owner::verify_one;

/// Begins what is signed with a session key.
pub const RESUME_LABEL: &[u8] = b"undertone/1 resume";

/// Largest encoded [`ResumeRequest`]: a ticket, its length, a request id and a credit.
pub const MAX_RESUME: usize = MAX_TICKET + 32;

/// The secret half of a [`SessionKey`]: wiped on drop, never shown.
pub struct SessionSecret(SigningKey);

impl SessionSecret {
    /// From a 32-byte seed (RFC 8032), which must come from the system's random generator and be
    /// used for one ticket only: the relay could otherwise link tickets by it.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to be kept beside the ticket.
    #[must_use]
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> SessionKey {
        SessionKey::from_bytes(self.0.verifying_key().to_bytes())
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_) = self;
        f.write_str("SessionSecret(..)")
    }
}

/// What is signed with the session key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResumeRequest {
    /// Must be the frame's id (R-1112).
    pub id: RequestId,
    /// As in [`crate::frame::OwnerOperation::Subscribe`].
    pub credit: u32,
    /// As the relay issued it.
    pub ticket: SealedTicket,
}

/// A [`ResumeRequest`] with its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedResume {
    /// A [`ResumeRequest`], encoded. Signed as it stands and never encoded again.
    pub body: BoundedBytes<MAX_RESUME>,
    /// By the session key that the ticket names.
    pub signature: Signature,
}

fn signed_bytes(exporter: &Exporter, body: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(body.len()).ok()?;
    Some([RESUME_LABEL, exporter.as_bytes(), &length.to_be_bytes(), body].concat())
}

impl SignedResume {
    /// Signs for one connection; `None` only if the ticket does not fit, which a [`SealedTicket`]
    /// always does.
    #[must_use]
    pub fn sign(
        request: &ResumeRequest,
        exporter: &Exporter,
        secret: &SessionSecret,
    ) -> Option<Self> {
        let body = codec::encode(request, MAX_RESUME).ok()?;
        let message = signed_bytes(exporter, &body)?;
        let signature = Signature::from_bytes(secret.0.sign(&message).to_bytes());
        Some(Self { body: BoundedBytes::new(body)?, signature })
    }

    /// Reads and verifies. `open` unseals the ticket, and gives the session key in it and whatever
    /// else the caller needs of it, which is the only way to get that: nothing that was not signed
    /// is carried out.
    ///
    /// # Errors
    /// [`ErrorCode::Malformed`] if the body is not a resume request or names another request id
    /// (R-1112); what `open` says (R-1117); [`ErrorCode::BadSignature`] (R-1118).
    pub fn verify<T>(
        &self,
        id: RequestId,
        exporter: &Exporter,
        open: impl FnOnce(&[u8]) -> Result<(SessionKey, T), ErrorCode>,
    ) -> Result<(u32, T), ErrorCode> {
        let body = self.body.as_slice();
        let request: ResumeRequest = codec::decode(body).map_err(|_| ErrorCode::Malformed)?;
        if request.id != id {
            return Err(ErrorCode::Malformed);
        }
        let (session, opened) = open(request.ticket.as_slice())?;
        let message = signed_bytes(exporter, body).ok_or(ErrorCode::Malformed)?;
        verify_one(session.as_bytes(), &message, &self.signature)?;
        Ok((request.credit, opened))
    }
}
