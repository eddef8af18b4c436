//! What can go wrong on a connection, flat.

use core::fmt;

use crate::error::ErrorCode;
use crate::transport::Lost;

/// Why a connection could not be made or a request was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The host has no address, or nobody answers there.
    Unreachable,
    /// Another relay answers: its root key is not the one that the address names.
    PinMismatch,
    /// The relay's certificate is not valid now; one of the two clocks may be wrong.
    Certificate,
    /// No answer in time; it is unknown whether the request was carried out.
    Timeout,
    /// The connection is closed; it is unknown whether open requests were carried out.
    Closed,
    /// The relay answered what it should not.
    Protocol,
    /// The request does not fit a message.
    TooLong,
    /// The secrets do not belong to the keys that the operation names.
    Signing,
    /// A blob that came has another hash or length than the relay announced.
    BlobDamaged,
    /// The relay refused.
    Refused(ErrorCode),
}

impl ClientError {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::PinMismatch => "pin-mismatch",
            Self::Certificate => "certificate",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::TooLong => "too-long",
            Self::Signing => "signing",
            Self::BlobDamaged => "blob-damaged",
            Self::Refused(code) => code.slug(),
        }
    }

    /// Whether trying again later, with the same bytes, makes sense.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Timeout
                | Self::Closed
                | Self::Refused(
                    ErrorCode::Busy
                        | ErrorCode::ShuttingDown
                        | ErrorCode::StorageFull
                        | ErrorCode::MailboxFull
                        | ErrorCode::Internal
                )
        )
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "The relay cannot be reached; check the network and the relay's address.",
            Self::PinMismatch => "Another relay answers at this address: its key is not the one that the address names. Do not go on; ask the operator for the current address.",
            Self::Certificate => "The relay's certificate is not valid now; check this machine's clock, then tell the operator.",
            Self::Timeout => "The relay did not answer in time; try again.",
            Self::Closed => "The connection to the relay was closed; connect again.",
            Self::Protocol => "The relay answered something unexpected; client and relay may speak different versions.",
            Self::TooLong => "The request is longer than the relay protocol allows.",
            Self::Signing => "The request names keys that are not this client's.",
            Self::BlobDamaged => "The downloaded bytes are not the announced ones; download again or tell the operator.",
            Self::Refused(code) => code.sentence(),
        })
    }
}

impl std::error::Error for ClientError {}

impl From<Lost> for ClientError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unreachable => Self::Unreachable,
            Lost::PinMismatch => Self::PinMismatch,
            Lost::Certificate => Self::Certificate,
            Lost::TimedOut => Self::Timeout,
            Lost::Closed => Self::Closed,
            Lost::ShuttingDown => Self::Refused(ErrorCode::ShuttingDown),
            Lost::Busy => Self::Refused(ErrorCode::Busy),
            Lost::Protocol => Self::Protocol,
        }
    }
}
