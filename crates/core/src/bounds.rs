//! Every bound of the core, with its reason (`protocol-spec/01-primitives.md`,
//! table of constants).

/// Devices that one account may list. Each device costs every contact one
/// session and one more envelope per message; five is what a person carries.
pub const MAX_DEVICES: usize = 5;

/// Bytes that a device list entry may carry beside keys and certificate:
/// room for a write capability and a link of that device.
pub const MAX_EXTENSION: usize = 256;

/// Bytes of a reply route: a capability (32), a relay's root fingerprint
/// (32), a port (2) and a host name (at most 253), with their lengths.
pub const MAX_ROUTING: usize = 320;

/// One-time bundles that a depot holds: a busy public link's day.
pub const ONE_TIME_BUNDLES: usize = 50;

/// Days for which a prekey bundle is offered. A stolen prekey impersonates to
/// its device until this and [`RETENTION_DAYS`] have passed.
pub const BUNDLE_LIFETIME_DAYS: u32 = 30;

/// Days by which two clocks may differ before a fresh bundle is refused.
pub const CLOCK_SLACK_DAYS: u32 = 2;

/// Longest time, in days, that a relay may keep an envelope. A private prekey
/// and a skipped message key outlive their use by no more than this.
pub const RETENTION_DAYS: u32 = 30;

/// Bytes of a sealed prekey bundle. Every bundle has this size, so that a
/// relay learns nothing from it.
pub const SEALED_BUNDLE: usize = 4096;

/// Bytes of the shorter encrypted identity of an initiator: two devices'
/// list and a reply route, beside which a first text of 280 bytes and a whole
/// ML-KEM-768 encapsulation key fit 4 KiB.
pub const IDENTITY_BLOCK_SHORT: usize = 768;

/// Bytes of the longer encrypted identity: the largest device list and route.
pub const IDENTITY_BLOCK_LONG: usize = 2400;

/// Messages that may be missing in front of the one that arrives, in one
/// chain. More is a reason for a reset, not for more work: each costs a hash.
pub const MAX_SKIP: u32 = 2_000;

/// Message keys kept for messages that have not arrived, over all chains. The
/// oldest go first. 4,000 are 176 KB of state.
pub const MAX_SKIPPED_KEYS: usize = 4_000;

/// Receiving chains that are remembered behind the current one.
pub const MAX_OLD_CHAINS: usize = 8;

/// Received positions that are remembered with their header's tag, to tell a
/// repeat from a peer that was rolled back.
pub const REMEMBERED_POSITIONS: usize = 32;

/// Header keys that may be tried for one envelope over all sessions of a
/// mailbox. A session has at most ten ([`MAX_OLD_CHAINS`] and two).
pub const MAX_HEADER_TRIALS: usize = 64;

/// Bytes that the smallest bucket must leave behind the content, so that the
/// post-quantum ratchet always advances.
pub const PIECE_SLACK: usize = 128;

/// Bytes of a block of an encapsulation key or ciphertext.
pub const PIECE_BLOCK: usize = 32;

/// The smallest envelope, in bytes.
pub const MIN_BUCKET: usize = 1024;

/// The smallest first-contact envelope, in bytes.
pub const MIN_FIRST_CONTACT_BUCKET: usize = 4096;

/// The largest envelope, in bytes; anything longer is an attachment.
pub const MAX_BUCKET: usize = 65_536;

/// The largest content of a message, in bytes; the same beside a handshake.
pub const MAX_CONTENT: usize = MAX_BUCKET
    - crate::handshake::SEALED_HANDSHAKE_LONG
    - crate::envelope::OVERHEAD
    - crate::envelope::LENGTH_PREFIX
    - PIECE_SLACK;

/// Bytes of content in one chunk of an encrypted file.
pub const FILE_CHUNK: usize = 65_536;

/// The least padded length of a file, in bytes: short ones all look alike.
pub const MIN_PADDED_FILE: u64 = 1024;

/// The largest file, in bytes: STREAM's 32-bit chunk counter, less the room
/// that Padmé may add.
pub const MAX_FILE: u64 = 1 << 47;

/// Bytes of records in one chunk of a backup: what is held in memory at a time.
pub const BACKUP_CHUNK: usize = 65_536;

/// Chunks of a backup, 128 TiB: the STREAM counter has 32 bits.
pub const MAX_BACKUP_CHUNKS: u32 = 1 << 31;
