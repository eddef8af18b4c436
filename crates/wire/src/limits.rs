//! Every bound of the relay protocol, with its reason.

/// Largest message after its length prefix: a depot upload of [`MAX_BUNDLES_PER_REQUEST`] bundles
/// of 4 KiB, the largest thing ever sent, rounded up to a power of two. 256 KiB.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// Bytes of the length prefix before each message: an unsigned 32-bit big-endian integer.
pub const LENGTH_PREFIX: usize = 4;

/// The sizes that an envelope can have, in bytes: few, so that a size says little.
pub const ENVELOPE_SIZES: [usize; 7] = [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

/// The largest envelope: the last of [`ENVELOPE_SIZES`].
pub const MAX_ENVELOPE: usize = 65_536;

/// Bytes of a sealed prekey bundle: all bundles have the same size.
pub const SEALED_BUNDLE: usize = 4096;

/// One-time bundles in a depot and so also in a request: contacts that can be made between two
/// daily refills.
pub const MAX_BUNDLES_PER_REQUEST: usize = 50;

/// One-time bundles that a depot holds.
pub const DEPOT_BUNDLES: usize = 50;

/// Mailboxes in one subscribe or status request: their keys and signatures are 24 KiB.
pub const MAX_MAILBOXES_PER_REQUEST: usize = 256;

/// Write capabilities in one request: one for each one-time bundle, and some for contacts.
pub const MAX_CAPABILITIES_PER_REQUEST: usize = 64;

/// Write capabilities of a mailbox: several refills of a first-contact mailbox that nobody used.
pub const MAX_CAPABILITIES_PER_MAILBOX: u32 = 4096;

/// Mailboxes subscribed to on one connection: bounds the relay's memory for it.
pub const MAX_SUBSCRIPTIONS: usize = 10_000;

/// Acknowledgements in one request: one for each mailbox of a subscribe request.
pub const MAX_ACKS_PER_REQUEST: usize = 256;

/// Mailboxes in one subscription ticket: 64 KiB of ids, and the states that answer it fit a message
/// with room to spare. Whoever has more mailboxes has more tickets.
pub const MAX_MAILBOXES_PER_TICKET: usize = 2048;

/// Largest sealed ticket in bytes: the ids of [`MAX_MAILBOXES_PER_TICKET`] mailboxes, and a
/// kibibyte for everything else that a relay puts into one.
pub const MAX_TICKET: usize = 32 * MAX_MAILBOXES_PER_TICKET + 1024;

/// Longest time, in seconds, for which a ticket is good: one day, after which the client proves its
/// read keys again.
pub const TICKET_SECONDS: u32 = 86_400;

/// What the control stream is filled up to a multiple of, each time that it is flushed, when a
/// client wants padding: the smallest envelope with all that stands around it, and what fits the
/// smallest packet of QUIC (1,200 bytes) with its headers.
pub const RECORD: usize = 1152;

/// Largest padding in one frame: a record, and what is missing where no frame fits that.
pub const MAX_PADDING: usize = 2 * RECORD;

/// Envelopes that may be pushed and not yet acknowledged on a connection. Keeps a connection busy
/// at 64 KiB an envelope over a long path, and bounds what is sent again when it breaks.
pub const MAX_CREDIT: u32 = 1024;

/// Hashes of the newest envelopes of a mailbox, kept beyond their acknowledgement so that a sender
/// that missed the answer can repeat its delivery.
pub const REMEMBERED_ENVELOPES: usize = 64;

/// Largest number of envelopes in a mailbox, and the default.
pub const MAILBOX_ENVELOPES: u32 = 10_000;

/// Largest number of bytes in a mailbox, and the default: 64 MiB.
pub const MAILBOX_BYTES: u64 = 64 * 1024 * 1024;

/// Longest time, in days, that a relay keeps anything for somebody who does not come for it. Key
/// material that may still be needed is kept by clients for as long, so it is part of the protocol.
pub const MAX_RETENTION_DAYS: u32 = 30;

/// Days without a subscription after which a mailbox is removed: longer than a long absence.
pub const MAILBOX_IDLE_DAYS: u32 = 180;

/// Largest blob: what a relay accepts unless its operator says less. 2 GiB.
pub const MAX_BLOB: u64 = 2 * 1024 * 1024 * 1024;

/// Largest message on a blob stream (the blob's bytes are not in messages).
pub const MAX_BLOB_MESSAGE: usize = 1024;

/// Longest host name, in bytes (RFC 1035).
pub const MAX_HOST: usize = 253;

/// Root keys that a relay may show: its own and those before it. Each costs some 700 bytes in every handshake, and a
/// relay that changes its root every few years has decades.
pub const MAX_ROOTS: usize = 4;
