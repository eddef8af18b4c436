//! Why a command failed.

use std::fmt;

use undertone::Error;

/// Why a command failed: what the SDK reports, and what this program adds.
#[derive(Debug)]
pub enum Failure {
    /// The SDK's own error.
    Sdk(Error),
    /// Something that was typed can't be used: what, and what to do.
    Usage(String),
    /// There is no passphrase: why not.
    PassphraseMissing(String),
    /// The digits that the contact sees are not those of this profile.
    NumbersDiffer {
        /// The contact's name.
        contact: String,
    },
    /// Nobody reads the output any more; not shown.
    OutputClosed,
    /// The demonstration did not show what it should: what, in a sentence.
    Demo(String),
    /// Something else.
    Unexpected(String),
}

impl Failure {
    /// A stable name in kebab-case: the SDK's own where it is an error of the SDK.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Sdk(error) => error.code(),
            Self::Usage(_) => "usage",
            Self::PassphraseMissing(_) => "passphrase-missing",
            Self::NumbersDiffer { .. } => "numbers-differ",
            Self::OutputClosed => "output-closed",
            Self::Demo(_) => "demo-failed",
            Self::Unexpected(_) => "unexpected",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sdk(error) => error.fmt(f),
            Self::Usage(sentence)
            | Self::PassphraseMissing(sentence)
            | Self::Demo(sentence)
            | Self::Unexpected(sentence) => f.write_str(sentence),
            Self::NumbersDiffer { contact } => write!(
                f,
                "the numbers differ: somebody may stand between you and {contact}; they are not \
                 marked as verified. Check that you compared with the right person, then make a \
                 new link in person"
            ),
            Self::OutputClosed => f.write_str("nobody reads the output any more"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sdk(error)
    }
}
