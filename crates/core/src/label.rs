//! Every label, in one place. Each starts with the protocol's name and
//! version, and no two that serve the same function (hash, Expand, signature)
//! can begin the same input (`protocol-spec/01-primitives.md`, table of
//! labels).

macro_rules! labels {
    ($($name:ident = $text:literal;)*) => {
        $(pub(crate) const $name: &[u8] = concat!("Undertone v1 ", $text).as_bytes();)*

        #[cfg(test)]
        pub(crate) const ALL: &[&[u8]] = &[$($name),*];
    };
}

labels! {
    ACCOUNT_FINGERPRINT = "account fingerprint";
    DEVICE_CERTIFICATE = "device certificate";
    DEVICE_LIST = "device list";
    DEVICE_LIST_HASH = "list hash";
    SAFETY_NUMBER = "safety number";
    LINK_FETCH = "link fetch";
    LINK_CARD = "link card";
    LINK_HELLO = "link hello";
    LINK_PSK = "link psk";
    BUNDLE = "prekey bundle";
    CARD_SEAL = "card seal";
    HELLO_SEAL = "hello seal";
    TRANSCRIPT = "transcript";
    IDENTITY_KEY = "identity key";
    HANDSHAKE_CHAIN = "handshake chain";
    SESSION_KEYS = "session keys";
    STEP = "step";
    EPOCH_STEP = "epoch step";
    CHAIN = "chain";
    BODY = "body";
    NONCE = "nonce";
    CHAIN_CONSTANTS = "chain constants";
    EPOCH_TAG = "epoch tag";
    KEM_KEY_HASH = "kem key";
    KEM_CIPHERTEXT_HASH = "kem ciphertext";
    FILE_COMMITMENT = "file commitment";
    FILE_STREAM = "file stream";
    RECOVERY_CHECK = "recovery key check";
    BACKUP_HEAD = "backup head";
    BACKUP_COMMITMENT = "backup commitment";
    BACKUP_CHUNKS = "backup chunks";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn labels_are_distinct() {
        for (i, a) in ALL.iter().enumerate() {
            assert!(a.starts_with(b"Undertone v1 "));
            assert!(ALL.iter().skip(i + 1).all(|b| a != b));
        }
    }
}
