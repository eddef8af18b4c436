#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn content(body: Body) -> Content {
    Content {
        id: MessageId::from_bytes([7; 16]),
        sent_at: UnixMillis::new(1_700_000_000_123),
        body,
    }
}

fn attachment() -> Attachment {
    Attachment {
        name: "plan.pdf".into(),
        media_type: "application/pdf".into(),
        size: 5 << 20,
        key: BlobKeyBytes::new([1; 32]),
        commitment: [2; 32],
        sha256: [3; 32],
        relay: vec![4; 60],
        blob: [5; 32],
        read: BlobKeyBytes::new([6; 32]),
        caption: "as agreed".into(),
    }
}

fn samples() -> Vec<Body> {
    let id = MessageId::from_bytes([9; 16]);
    vec![
        Body::Text("Grüße".into()),
        Body::Attachment(Box::new(attachment())),
        Body::DeliveryAck(vec![id, MessageId::from_bytes([8; 16])]),
        Body::ReadReceipt(vec![]),
        Body::Reaction(Reaction { target: id, emoji: "👍".into(), removed: true }),
        Body::Edit { target: id, text: "other".into() },
        Body::Delete(id),
        Body::Typing(true),
        Body::Profile { name: "Ada".into() },
        Body::Disappearing { seconds: 86_400 },
        Body::MailboxMove(Route::from_bytes(&[1; 90])),
        Body::DeviceList(vec![1, 2, 3]),
        Body::Custom { name: "com.example.poll".into(), payload: vec![0, 255] },
        Body::Unknown { kind: 4_000_000, payload: vec![1, 2] },
    ]
}

#[test]
fn every_kind_survives_the_round_trip_and_no_cut_of_it_is_read_as_itself() {
    for body in samples() {
        let content = content(body);
        let bytes = content.encode().unwrap();
        assert_eq!(Content::decode(&bytes).unwrap(), content);
        for cut in 0..bytes.len() {
            assert!(!Content::decode(&bytes[..cut]).is_ok_and(|read| read == content));
        }
    }
}

#[test]
fn the_layout_of_a_text_is_the_published_one() {
    // The examples of `protocol-spec/09-content.md` are compared with the vectors, byte for byte, by
    // `test-vectors/tests/examples.rs`; here the fields are put together one by one.
    let bytes = content(Body::Text("hi".into())).encode().unwrap();
    let mut expected = vec![1];
    expected.extend_from_slice(&[7; 16]);
    expected.extend_from_slice(&1_700_000_000_123_u64.to_be_bytes());
    expected.extend_from_slice(&[2, b'h', b'i']);
    assert_eq!(*bytes, expected);
}

#[test]
fn rules_are_told_apart() {
    let text = content(Body::Text("hi".into())).encode().unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = text.to_vec();
        change(&mut bytes);
        Content::decode(&bytes).map_err(|e| e.code())
    };
    assert_eq!(with(&|b| b.truncate(26)), Err("R-901"));
    assert_eq!(with(&|b| b.push(0)), Err("R-902"));
    // Kind 1 written in two bytes.
    assert_eq!(with(&|b| drop(b.splice(0..1, [0x81, 0x00]))), Err("R-903"));
    // A text that claims more than a text may have; nothing is allocated for it.
    assert_eq!(with(&|b| drop(b.splice(25.., [0xff, 0xff, 0xff, 0xff, 0x0f]))), Err("R-904"));
    assert_eq!(with(&|b| b[26] = 0xff), Err("R-905"));
    let mut typing = content(Body::Typing(true)).encode().unwrap().to_vec();
    *typing.last_mut().unwrap() = 2;
    assert_eq!(Content::decode(&typing).unwrap_err().code(), "R-906");
}

#[test]
fn nothing_over_its_bound_is_written() {
    let long = content(Body::Text("x".repeat(MAX_TEXT + 1)));
    assert_eq!(long.encode().unwrap_err(), ContentError::TooLong);
    let many = content(Body::DeliveryAck(vec![MessageId::from_bytes([0; 16]); MAX_IDS + 1]));
    assert_eq!(many.encode().unwrap_err(), ContentError::TooLong);
}

#[test]
fn keys_do_not_print() {
    let shown = format!("{:?}", attachment());
    assert!(shown.contains("BlobKeyBytes(..)"));
    assert!(!shown.contains("[1, 1, 1"), "{shown}");
}

proptest! {
    #[test]
    fn junk_never_panics_and_what_is_read_is_written_back_alike(
        bytes in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        if let Ok(content) = Content::decode(&bytes) {
            prop_assert_eq!(&*content.encode().unwrap(), &bytes);
        }
    }

    #[test]
    fn junk_behind_a_known_kind_likewise(
        kind in 1u8..=15, rest in proptest::collection::vec(any::<u8>(), 24..400)
    ) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&rest);
        if let Ok(content) = Content::decode(&bytes) {
            prop_assert_eq!(&*content.encode().unwrap(), &bytes);
        }
    }
}
