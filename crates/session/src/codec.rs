//! How newtypes are written in rows of the store (postcard): as the number or the bytes they hold.

macro_rules! by_number {
    ($module:ident, $type:ty) => {
        pub(crate) mod $module {
            use serde::{Deserialize, Deserializer, Serializer};

            pub(crate) fn serialize<S: Serializer>(v: &$type, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_u64(v.get())
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                u64::deserialize(d).map(<$type>::new)
            }
        }
    };
}

by_number!(contact_id, crate::ids::ContactId);
by_number!(event_seq, crate::ids::EventSeq);
by_number!(unix_millis, crate::ids::UnixMillis);

pub(crate) mod message_id {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::ids::MessageId;

    pub(crate) fn serialize<S: Serializer>(v: &MessageId, s: S) -> Result<S::Ok, S::Error> {
        v.as_bytes().serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<MessageId, D::Error> {
        <[u8; 16]>::deserialize(d).map(MessageId::from_bytes)
    }
}
