//! Exit codes: one for each class of failure, so that scripts can tell them apart.

use std::process::ExitCode;

use undertone::Error;

use crate::failure::Failure;

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $text:literal;)+) => {
        /// How the program ended. The numbers are stable.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Exit {
            $($(#[doc = $doc])+ $name = $code,)+
        }

        impl Exit {
            /// All there are, in order.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The number.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// What it means, in a few words, as `--help` says it.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

exits! {
    /// Done, or safely queued.
    Ok = 0, "done, or safely queued";
    /// A fault of the program or the system, or the demonstration found something.
    Unexpected = 1, "unexpected; or the demo found, lost or duplicated something";
    /// The command line, or a text or name in it, can't be used.
    Usage = 2, "the command line, a name or a text can't be used";
    /// There is no profile.
    ProfileAbsent = 3, "there is no profile";
    /// Another passphrase is needed.
    WrongPassphrase = 4, "wrong passphrase";
    /// No relay answers.
    Unreachable = 5, "the relay can't be reached";
    /// Another relay answers.
    PinMismatch = 6, "another relay answers: its fingerprint differs";
    /// The link was used already.
    LinkUsedUp = 7, "the link was used already";
    /// The link is cut or damaged, or not a link.
    LinkMalformed = 8, "the link is cut, damaged or not a link";
    /// No contact, or more than one, is called so.
    UnknownContact = 9, "no contact, or more than one, is called so";
    /// A file can't be read or written.
    FileUnreadable = 10, "the file can't be read or written, or is too large";
    /// The contact's mailbox is full; the message is kept.
    MailboxFull = 11, "the contact's mailbox is full; the message is kept";
    /// Another process uses the profile.
    ProfileLocked = 12, "another program uses the profile";
    /// The profile is damaged; nothing was changed.
    StoreCorrupt = 13, "the profile is damaged; nothing was changed";
    /// There is a profile already.
    ProfileExists = 14, "there is a profile already";
    /// The link is withdrawn, expired, forged or one's own.
    LinkRefused = 15, "the link is withdrawn, expired, forged or your own";
    /// The relay does not accept the admission token.
    AdmissionRefused = 16, "the relay does not accept the admission token";
    /// The relay refuses, or answers what it should not.
    RelayRefused = 17, "the relay refuses, or answers what it should not";
    /// What was waited for did not happen in time.
    Timeout = 18, "it did not happen in time; it goes on later";
    /// The profile's directory can't be read or written.
    StoreFailed = 19, "the profile's directory can't be read or written";
    /// The safety numbers differ.
    NumbersDiffer = 20, "the safety numbers differ";
    /// The relay's address is cut, damaged or of the wrong kind.
    AddressMalformed = 21, "the relay's address is cut, damaged or of the wrong kind";
    /// No passphrase was given, or it can't be read.
    PassphraseMissing = 22, "no passphrase was given";
    /// The profile needs a newer program.
    TooNew = 23, "the profile needs a newer version of this program";
    /// The message can't be sent.
    NotSendable = 24, "the contact's address is unknown, or the message can't be sent";
    /// The profile was restored from an old copy.
    RolledBack = 25, "the profile is an old copy; nothing is sent before a new session";
    /// The contact is blocked.
    Blocked = 26, "the contact is blocked";
    /// A copy of the profile has taken over.
    Superseded = 27, "a copy of the profile runs elsewhere and has taken over";
    /// The person has to decide first, or there is nothing to decide.
    Undecided = 28, "you have to decide first, or there is nothing to decide";
    /// The file is no backup, or one that is cut or damaged.
    BackupDamaged = 29, "the file is no backup, or it is cut or damaged";
    /// The recovery key is not the backup's, or has a typing error.
    WrongRecoveryKey = 30, "wrong recovery key, or a typing error in it";
    /// There is a file already; nothing is overwritten.
    FileExists = 31, "there is a file of that name; nothing was overwritten";
    /// The message is somebody else's, or can't be changed any more.
    NotChangeable = 32, "the message is not yours, or can't be changed";
    /// There is no message of this number or id.
    UnknownMessage = 33, "there is no such message";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The list of exit codes for `--help`.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>2}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

/// The exit code of a failure.
#[must_use]
pub const fn of(failure: &Failure) -> Exit {
    match failure {
        Failure::Sdk(error) => of_sdk(error),
        Failure::Usage(_) => Exit::Usage,
        Failure::PassphraseMissing(_) => Exit::PassphraseMissing,
        Failure::NumbersDiffer { .. } => Exit::NumbersDiffer,
        Failure::OutputClosed | Failure::Unexpected(_) | Failure::Demo(_) => Exit::Unexpected,
    }
}

/// The exit code of an error of the SDK.
#[must_use]
pub const fn of_sdk(error: &Error) -> Exit {
    match error {
        Error::ProfileAbsent { .. } => Exit::ProfileAbsent,
        Error::ProfileExists { .. } => Exit::ProfileExists,
        Error::WrongPassphrase => Exit::WrongPassphrase,
        Error::PassphraseEmpty => Exit::PassphraseMissing,
        Error::StoreLocked => Exit::ProfileLocked,
        Error::KeyslotUnreadable { .. } | Error::StoreCorrupt { .. } => Exit::StoreCorrupt,
        Error::StoreTooNew { .. } => Exit::TooNew,
        Error::StoreFailed { .. } => Exit::StoreFailed,
        Error::Unreachable { .. } => Exit::Unreachable,
        Error::RelayPinMismatch { .. } => Exit::PinMismatch,
        Error::RelayProtocol { .. } | Error::RelayRefused { .. } => Exit::RelayRefused,
        Error::AdmissionRefused => Exit::AdmissionRefused,
        Error::LinkUsedUp => Exit::LinkUsedUp,
        Error::LinkTruncated | Error::LinkMalformed(_) | Error::LinkUnsupported(_) => {
            Exit::LinkMalformed
        }
        Error::LinkUnknown | Error::LinkOwn | Error::LinkForged { .. } => Exit::LinkRefused,
        Error::AddressMalformed { .. } => Exit::AddressMalformed,
        Error::UnknownContact { .. } | Error::AmbiguousContact { .. } => Exit::UnknownContact,
        Error::NameInvalid { .. }
        | Error::MessageEmpty
        | Error::MessageTooLong { .. }
        | Error::CursorInvalid { .. } => Exit::Usage,
        Error::UnknownMessage => Exit::UnknownMessage,
        Error::NotYours | Error::NotChangeable { .. } => Exit::NotChangeable,
        Error::FileUnreadable { .. } | Error::FileTooLarge { .. } => Exit::FileUnreadable,
        Error::MailboxFull => Exit::MailboxFull,
        Error::AddressUnknown | Error::MessageFailed { .. } => Exit::NotSendable,
        Error::StoreRolledBack => Exit::RolledBack,
        Error::ContactBlocked => Exit::Blocked,
        Error::Superseded => Exit::Superseded,
        Error::ConsentNeeded | Error::NothingToDecide | Error::TransferAbsent => Exit::Undecided,
        Error::RecoveryKeyMalformed { .. } | Error::BackupWrongKey => Exit::WrongRecoveryKey,
        Error::BackupExists { .. } => Exit::FileExists,
        Error::BackupFailed { .. } => Exit::FileUnreadable,
        Error::BackupTooNew { .. } => Exit::TooNew,
        Error::BackupNotRecognised
        | Error::BackupTruncated
        | Error::BackupDamaged { .. }
        | Error::BackupInvalid { .. } => Exit::BackupDamaged,
        Error::Timeout => Exit::Timeout,
        // Offline, Closed, Internal: nothing that a person typed leads there.
        _ => Exit::Unexpected,
    }
}
