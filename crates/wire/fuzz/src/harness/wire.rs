//! Frames and addresses: any bytes, and what must hold for them.
//!
//! Each function panics where a promise is broken. `crates/wire/tests/corpora.rs` includes this file
//! by path and replays the committed corpora.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a harness panics to report"
)]

use serde::Serialize;
use undertone_wire::blob::{BlobReply, BlobRequest};
use undertone_wire::codec;
use undertone_wire::frame::{ClientFrame, OwnerRequest, Request, ServerFrame};
use undertone_wire::limits::{LENGTH_PREFIX, MAX_BLOB_MESSAGE, MAX_MESSAGE};
use undertone_wire::{
    ErrorCode, Exporter, JoinAddress, RelayAddress, RequestId, SessionKey, SessionSecret,
};

pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 4] = [
    ("client_frames", client_frames),
    ("server_frames", server_frames),
    ("blob_frames", blob_frames),
    ("addresses", addresses),
];

/// How much of a frame tells its kind.
const HEAD: usize = 11;

/// What was read is the only form of what it says, and fits the bound that its beginning tells.
fn only_form<T: Serialize>(frame: &T, bytes: &[u8], bound: usize) {
    assert_eq!(codec::encode(frame, MAX_MESSAGE).unwrap(), bytes, "a second spelling");
    assert!(bytes.len() <= bound, "a frame longer than its kind allows");
    let message = codec::encode_message(frame, MAX_MESSAGE).unwrap();
    let (prefix, rest) = message.split_first_chunk::<LENGTH_PREFIX>().unwrap();
    assert_eq!(codec::message_length(*prefix, MAX_MESSAGE), Ok(rest.len()));
    assert_eq!(rest, bytes);
}

/// A client's frame; then its body, its signatures and, if it resumes, its ticket.
pub fn client_frames(data: &[u8]) {
    let head = &data[..data.len().min(HEAD)];
    let bound = ClientFrame::bound(head);
    assert!(bound <= MAX_MESSAGE);
    if let Ok(request) = codec::decode::<OwnerRequest>(data) {
        only_form(&request, data, MAX_MESSAGE);
        assert!(request.operation.keys().len() <= 256);
    }
    let Ok(frame) = codec::decode::<ClientFrame>(data) else { return };
    only_form(&frame, data, bound);
    let exporter = Exporter::from_bytes([3; 32]);
    match frame.request {
        // Nobody can have signed for keys that come out of a fuzzer, over this exporter.
        Request::Owner(signed) => {
            let refusal = signed.verify(frame.id, &exporter).unwrap_err();
            assert!(matches!(refusal, ErrorCode::Malformed | ErrorCode::BadSignature));
        }
        Request::Resume(signed) => {
            let session = SessionSecret::from_seed(&[4; 32]).public();
            let open = |_: &[u8]| Ok::<(SessionKey, ()), ErrorCode>((session, ()));
            // Its body has one request id: with one of the two it is malformed at the latest.
            let other = RequestId::new(frame.id.get() ^ 1);
            let refusals = [frame.id, other].map(|id| signed.verify(id, &exporter, open));
            assert!(refusals.iter().all(Result::is_err));
            assert!(refusals.contains(&Err(ErrorCode::Malformed)));
        }
        _ => {}
    }
}

/// A relay's frame.
pub fn server_frames(data: &[u8]) {
    let bound = ServerFrame::bound(&data[..data.len().min(HEAD)]);
    if let Ok(frame) = codec::decode::<ServerFrame>(data) {
        only_form(&frame, data, bound);
    }
}

/// Both sides of a blob stream.
pub fn blob_frames(data: &[u8]) {
    if let Ok(frame) = codec::decode::<BlobRequest>(data) {
        only_form(&frame, data, MAX_BLOB_MESSAGE);
    }
    if let Ok(frame) = codec::decode::<BlobReply>(data) {
        only_form(&frame, data, MAX_BLOB_MESSAGE);
    }
}

/// Addresses in both forms, and join addresses: one spelling each.
pub fn addresses(data: &[u8]) {
    if let Ok(address) = RelayAddress::from_bytes(data) {
        assert_eq!(address.to_bytes(), data);
        let text = address.to_string();
        assert_eq!(text.parse::<RelayAddress>().unwrap(), address);
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    // What people paste may have white space around it.
    let text = text.trim();
    if let Ok(address) = text.parse::<RelayAddress>() {
        assert_eq!(address.to_string(), text);
        assert_eq!(RelayAddress::from_bytes(&address.to_bytes()).unwrap(), address);
    }
    if let Ok(join) = text.parse::<JoinAddress>() {
        assert_eq!(join.to_text().as_str(), text);
    }
}
