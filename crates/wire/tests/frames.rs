//! Frames: every kind round-trips; junk, second spellings and oversized claims are refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use undertone_wire::blob::{BlobAnnouncement, BlobReply, BlobRequest};
use undertone_wire::codec::{self, CodecError};
use undertone_wire::frame::*;
use undertone_wire::ids::{BlobCapabilityHash, Signature};
use undertone_wire::limits::*;
use undertone_wire::padding::Padding;
use undertone_wire::ticket::{ResumeRequest, SignedResume};
use undertone_wire::*;

fn exporter() -> Exporter {
    Exporter::from_bytes([3; 32])
}

fn mailbox() -> MailboxSecret {
    MailboxSecret::from_seed(&[1; 32])
}

fn depot() -> DepotSecret {
    DepotSecret::from_seed(&[2; 32])
}

fn bundle() -> SealedBundle {
    SealedBundle::new(vec![8; SEALED_BUNDLE]).unwrap()
}

/// One of each operation, in the order of the codes.
fn operations() -> Vec<OwnerOperation> {
    let key = mailbox().public();
    let limits = MailboxLimits { envelopes: 10, bytes: 1 << 20 };
    let capabilities =
        || Bounded::new(vec![WriteCapability::from_bytes([5; 32]).hash(); 64]).unwrap();
    let (owner, id) = (depot().public(), FetchCapability::from_bytes([6; 32]).depot());
    vec![
        OwnerOperation::CreateMailbox {
            key,
            token: AdmissionToken::from_bytes([4; 32]),
            kind: MailboxKind::Queue,
            limits: Some(limits),
            capabilities: capabilities(),
        },
        OwnerOperation::SetLimits { key, limits },
        OwnerOperation::AddCapabilities { key, capabilities: capabilities() },
        OwnerOperation::RevokeCapabilities { key, capabilities: capabilities() },
        OwnerOperation::Subscribe { keys: Bounded::one(key), credit: 64 },
        OwnerOperation::Status { keys: Bounded::one(key) },
        OwnerOperation::DeleteMailbox { key },
        OwnerOperation::FillDepot {
            key: owner,
            depot: id,
            token: AdmissionToken::from_bytes([4; 32]),
            mode: FillMode::Replace,
            one_time: Bounded::new(vec![bundle(); MAX_BUNDLES_PER_REQUEST]).unwrap(),
            last_resort: Some(bundle()),
            expires: Day::new(20_000),
        },
        OwnerOperation::DepotStatus { key: owner, depot: id },
        OwnerOperation::DeleteDepot { key: owner, depot: id },
    ]
}

fn sign(id: u64, operation: OwnerOperation) -> SignedRequest {
    let secret: &dyn OwnerSecret = if operation.code() >= 7 { &depot() } else { &mailbox() };
    SignedRequest::sign(RequestId::new(id), operation, &exporter(), &[secret]).unwrap()
}

fn session() -> SessionSecret {
    SessionSecret::from_seed(&[11; 32])
}

fn resume(id: u64) -> SignedResume {
    let ticket = SealedTicket::new(vec![9; MAX_TICKET]).unwrap();
    let request = ResumeRequest { id: RequestId::new(id), credit: 1024, ticket };
    SignedResume::sign(&request, &exporter(), &session()).unwrap()
}

fn client_frames() -> Vec<ClientFrame> {
    let mut requests: Vec<Request> =
        operations().into_iter().map(|o| Request::Owner(sign(300, o))).collect();
    requests.push(Request::Deliver {
        capability: WriteCapability::from_bytes([5; 32]),
        envelope: Envelope::new(vec![1; MAX_ENVELOPE]).unwrap(),
    });
    requests.push(Request::TakePrekey {
        fetch: FetchCapability::from_bytes([6; 32]),
        take: TakeId::from_bytes([7; 16]),
    });
    requests.push(Request::Acknowledge(Bounded::one(Acknowledgement {
        mailbox: mailbox().mailbox(),
        incarnation: Incarnation::from_bytes([1; 16]),
        floor: Floor::new(77),
    })));
    requests.push(Request::DeleteBlob {
        blob: BlobId::from_bytes([2; 32]),
        capability: BlobDeleteCapability::from_bytes([3; 32]),
    });
    let mailboxes = vec![mailbox().mailbox(); MAX_MAILBOXES_PER_TICKET];
    requests.push(Request::Ticket {
        session: session().public(),
        mailboxes: Bounded::new(mailboxes).unwrap(),
    });
    requests.push(Request::Resume(resume(300)));
    requests.push(Request::Padding(Padding::new(MAX_PADDING).unwrap()));
    requests.into_iter().map(|request| ClientFrame { id: RequestId::new(300), request }).collect()
}

/// Every number as long as it can be.
fn largest_state() -> MailboxState {
    MailboxState {
        incarnation: Incarnation::from_bytes([1; 16]),
        acknowledged: Floor::new(u64::MAX),
        expired: Floor::new(u64::MAX),
        head: Floor::new(u64::MAX),
        bytes: u64::MAX,
        limits: MailboxLimits { envelopes: u32::MAX, bytes: u64::MAX },
    }
}

fn server_frames() -> Vec<ServerFrame> {
    let state = MailboxState {
        incarnation: Incarnation::from_bytes([1; 16]),
        acknowledged: Floor::new(4),
        expired: Floor::NONE,
        head: Floor::new(9),
        bytes: 5 * 1024,
        limits: MailboxLimits { envelopes: MAILBOX_ENVELOPES, bytes: MAILBOX_BYTES },
    };
    let results = vec![
        Ok(Response::Done),
        Ok(Response::Mailboxes(Bounded::new(vec![Some(state), None]).unwrap())),
        Ok(Response::Prekey(PrekeyAnswer::OneTime(bundle()))),
        Ok(Response::Prekey(PrekeyAnswer::LastResort(bundle()))),
        Ok(Response::Prekey(PrekeyAnswer::UsedUp)),
        Ok(Response::Depot(DepotState {
            one_time: 50,
            last_resort: true,
            expires: Day::new(20_000),
            incarnation: Incarnation::from_bytes([1; 16]),
        })),
        Ok(Response::Ticket {
            ticket: SealedTicket::new(vec![9; MAX_TICKET]).unwrap(),
            seconds: TICKET_SECONDS,
        }),
        Ok(Response::Mailboxes(
            Bounded::new(vec![Some(largest_state()); MAX_MAILBOXES_PER_TICKET]).unwrap(),
        )),
        Err(ErrorCode::Unknown),
        Err(ErrorCode::Other(999)),
    ];
    let mut frames: Vec<ServerFrame> = results
        .into_iter()
        .map(|result| ServerFrame::Reply { id: RequestId::new(1), result })
        .collect();
    let (mailbox, incarnation, seq) =
        (mailbox().mailbox(), Incarnation::from_bytes([1; 16]), Seq::new(5));
    frames.push(ServerFrame::Push(Push::Envelope {
        mailbox,
        incarnation,
        seq,
        envelope: Envelope::new(vec![1; 1024]).unwrap(),
    }));
    frames.push(ServerFrame::Push(Push::Damaged { mailbox, incarnation, seq }));
    frames.push(ServerFrame::Padding(Padding::new(MAX_PADDING).unwrap()));
    frames.push(ServerFrame::Push(Push::Envelope {
        mailbox,
        incarnation,
        seq: Seq::new(u64::MAX),
        envelope: Envelope::new(vec![1; MAX_ENVELOPE]).unwrap(),
    }));
    for reason in [EndReason::Replaced, EndReason::Deleted] {
        frames.push(ServerFrame::Push(Push::Ended { mailbox, reason }));
    }
    frames
}

/// R-1102
#[test]
fn every_frame_round_trips_and_fits_a_message() {
    for frame in client_frames() {
        let bytes = codec::encode(&frame, MAX_MESSAGE).unwrap();
        assert_eq!(codec::decode::<ClientFrame>(&bytes).unwrap(), frame);
        for end in 0..bytes.len().min(400) {
            assert!(codec::decode::<ClientFrame>(&bytes[..end]).is_err());
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(codec::decode::<ClientFrame>(&longer), Err(CodecError::Malformed));
    }
    for frame in server_frames() {
        let bytes = codec::encode(&frame, MAX_MESSAGE).unwrap();
        assert_eq!(codec::decode::<ServerFrame>(&bytes).unwrap(), frame);
    }
}

/// R-1107
#[test]
fn every_frame_is_within_its_bound() {
    for mut frame in client_frames() {
        for id in [0, u64::MAX] {
            frame.id = RequestId::new(id);
            let bytes = codec::encode(&frame, MAX_MESSAGE).unwrap();
            let bound = ClientFrame::bound(&bytes[..bytes.len().min(11)]);
            assert!(bytes.len() <= bound, "{} over {bound}: {frame:?}", bytes.len());
        }
    }
    for frame in server_frames() {
        let bytes = codec::encode(&frame, MAX_MESSAGE).unwrap();
        assert!(bytes.len() <= ServerFrame::bound(&bytes[..bytes.len().min(11)]), "{frame:?}");
    }
    // What no frame begins with has no room at all; a delivery has no more than it needs.
    assert_eq!(ClientFrame::bound(&[0, 8]), 0);
    assert_eq!(ClientFrame::bound(&[0xff; 11]), 0);
    assert_eq!(ServerFrame::bound(&[3]), 0);
    assert!(ClientFrame::bound(&[0, 1]) < MAX_ENVELOPE + 64);
}

/// R-1112, R-1118
#[test]
fn a_resume_is_signed_for_one_connection_and_request() {
    let id = RequestId::new(9);
    let open = |ticket: &[u8]| Ok((session().public(), ticket.len()));
    assert_eq!(resume(9).verify(id, &exporter(), open), Ok((1024, MAX_TICKET)));
    let other = Exporter::from_bytes([4; 32]);
    assert_eq!(resume(9).verify(id, &other, open), Err(ErrorCode::BadSignature));
    assert_eq!(resume(8).verify(id, &exporter(), open), Err(ErrorCode::Malformed));
    let stranger = |_: &[u8]| Ok((SessionSecret::from_seed(&[12; 32]).public(), ()));
    assert_eq!(resume(9).verify(id, &exporter(), stranger), Err(ErrorCode::BadSignature));
    let refused = |_: &[u8]| Err::<(SessionKey, ()), _>(ErrorCode::TicketRefused);
    assert_eq!(resume(9).verify(id, &exporter(), refused), Err(ErrorCode::TicketRefused));
    let mut body = resume(9).body.into_vec();
    *body.last_mut().unwrap() ^= 1;
    let changed = SignedResume { body: BoundedBytes::new(body).unwrap(), ..resume(9) };
    assert_eq!(changed.verify(id, &exporter(), open), Err(ErrorCode::BadSignature));
}

#[test]
fn blob_frames_round_trip() {
    let requests = [
        BlobRequest::Put(BlobAnnouncement {
            blob: BlobId::from_bytes([1; 32]),
            token: AdmissionToken::from_bytes([2; 32]),
            read: BlobReadCapability::from_bytes([3; 32]).hash(),
            delete: BlobCapabilityHash::from_bytes([4; 32]),
            length: MAX_BLOB,
            hash: BlobHash::from_bytes([5; 32]),
            expires: Day::new(20_000),
        }),
        BlobRequest::Get {
            blob: BlobId::from_bytes([1; 32]),
            capability: BlobReadCapability::from_bytes([3; 32]),
            offset: 65_536,
        },
    ];
    for request in requests {
        let bytes = codec::encode(&request, MAX_BLOB_MESSAGE).unwrap();
        assert_eq!(codec::decode::<BlobRequest>(&bytes).unwrap(), request);
    }
    let replies = [
        BlobReply::Ready { offset: 1 },
        BlobReply::Stored,
        BlobReply::Content { length: 5, hash: BlobHash::from_bytes([5; 32]) },
        BlobReply::Refused(ErrorCode::BlobMismatch),
    ];
    for reply in replies {
        let bytes = codec::encode(&reply, MAX_BLOB_MESSAGE).unwrap();
        assert_eq!(codec::decode::<BlobReply>(&bytes).unwrap(), reply);
    }
}

#[test]
fn operation_codes_are_the_variant_indexes() {
    for (index, operation) in operations().into_iter().enumerate() {
        assert_eq!(usize::from(operation.code()), index);
        // The body is id (one varint byte here) ‖ variant index ‖ fields.
        let body = sign(5, operation).body.into_vec();
        assert_eq!((body[0], usize::from(body[1])), (5, index));
    }
}

#[test]
fn error_numbers_are_unique_and_stable() {
    for (index, code) in ErrorCode::ALL.iter().enumerate() {
        assert_eq!(usize::from(code.number()), index + 1, "numbers are given once, without gaps");
        assert_eq!(ErrorCode::from_number(code.number()), *code);
    }
}

/// R-1112, R-1113, R-1114
#[test]
fn a_signature_holds_for_one_connection_one_request_and_these_keys() {
    let id = RequestId::new(9);
    for operation in operations() {
        let code = operation.code();
        let signed = sign(9, operation);
        assert_eq!(signed.verify(id, &exporter()).unwrap().code(), code);
        let other = Exporter::from_bytes([4; 32]);
        assert_eq!(signed.verify(id, &other), Err(ErrorCode::BadSignature));
        assert_eq!(signed.verify(RequestId::new(10), &exporter()), Err(ErrorCode::Malformed));

        let mut body = signed.body.clone().into_vec();
        *body.last_mut().unwrap() ^= 1;
        let changed = SignedRequest {
            body: BoundedBytes::new(body).unwrap(),
            signatures: signed.signatures.clone(),
        };
        assert!(changed.verify(id, &exporter()).is_err());

        let twice = SignedRequest {
            body: signed.body.clone(),
            signatures: Bounded::new([signed.signatures.as_slice(); 2].concat()).unwrap(),
        };
        assert_eq!(twice.verify(id, &exporter()), Err(ErrorCode::Malformed));
        let mut bytes = *signed.signatures.as_slice()[0].as_bytes();
        bytes[0] ^= 1;
        let wrong = SignedRequest {
            body: signed.body.clone(),
            signatures: Bounded::one(Signature::from_bytes(bytes)),
        };
        assert_eq!(wrong.verify(id, &exporter()), Err(ErrorCode::BadSignature));
    }
    let nobody = OwnerOperation::Status { keys: Bounded::empty() };
    let unsigned = SignedRequest::sign(id, nobody, &exporter(), &[]).unwrap();
    assert_eq!(unsigned.verify(id, &exporter()), Err(ErrorCode::Malformed));
}

/// R-1114
#[test]
fn every_one_of_many_keys_must_sign() {
    let secrets = [MailboxSecret::from_seed(&[1; 32]), MailboxSecret::from_seed(&[2; 32])];
    let keys = Bounded::new(secrets.iter().map(MailboxSecret::public).collect()).unwrap();
    let id = RequestId::new(1);
    let operation = OwnerOperation::Subscribe { keys, credit: 1 };
    let dynamic: Vec<&dyn OwnerSecret> = secrets.iter().map(|s| s as _).collect();
    let signed = SignedRequest::sign(id, operation, &exporter(), &dynamic).unwrap();
    assert!(signed.verify(id, &exporter()).is_ok());
    let first = signed.signatures.as_slice()[0];
    let forged =
        SignedRequest { body: signed.body, signatures: Bounded::new(vec![first, first]).unwrap() };
    assert_eq!(forged.verify(id, &exporter()), Err(ErrorCode::BadSignature));
}

/// R-1103
#[test]
fn an_overlong_varint_is_refused() {
    // Request id 5 spelled in two bytes instead of one.
    let frame =
        ClientFrame { id: RequestId::new(5), request: Request::Acknowledge(Bounded::empty()) };
    let bytes = codec::encode(&frame, MAX_MESSAGE).unwrap();
    assert_eq!(bytes[0], 5);
    let spelled = [&[0x85, 0x00], &bytes[1..]].concat();
    assert_eq!(codec::decode::<ClientFrame>(&spelled), Err(CodecError::Malformed));
}

/// R-1101, R-1106
#[test]
fn oversized_claims_are_refused_before_anything_is_allocated() {
    // Deliver: id, variant 1, capability, then a length of 2^63 with nothing behind it.
    let mut bytes = vec![0, 1];
    bytes.extend([5; 32]);
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(codec::decode::<ClientFrame>(&bytes), Err(CodecError::Malformed));
    // Acknowledge with a count of 2^40.
    let claim = [0, 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
    assert_eq!(codec::decode::<ClientFrame>(&claim), Err(CodecError::Malformed));
    assert_eq!(codec::message_length([0xff; 4], MAX_MESSAGE), Err(CodecError::TooLong));
    assert_eq!(codec::message_length([0, 4, 0, 0], MAX_MESSAGE), Ok(MAX_MESSAGE));
    assert_eq!(codec::message_length([0, 4, 0, 1], MAX_MESSAGE), Err(CodecError::TooLong));
    assert_eq!(codec::message_length([0; 4], MAX_MESSAGE), Err(CodecError::Malformed));
}

#[test]
fn secrets_do_not_print() {
    let shown = format!("{:?}", client_frames());
    for secret in ["5, 5, 5", "0505", "6, 6, 6", "0606", "4, 4, 4", "0404"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn junk_never_panics_and_what_is_read_is_the_only_form(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = codec::decode::<ClientFrame>(&bytes) {
            prop_assert_eq!(codec::encode(&frame, MAX_MESSAGE).unwrap(), bytes.clone());
        }
        if let Ok(frame) = codec::decode::<ServerFrame>(&bytes) {
            prop_assert_eq!(codec::encode(&frame, MAX_MESSAGE).unwrap(), bytes.clone());
        }
        if let Ok(frame) = codec::decode::<OwnerRequest>(&bytes) {
            prop_assert_eq!(codec::encode(&frame, MAX_MESSAGE).unwrap(), bytes.clone());
        }
        let _ = codec::decode::<BlobRequest>(&bytes);
        let _ = RelayAddress::from_bytes(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = text.parse::<RelayAddress>();
        let _ = format!("ut-join:{text}").parse::<JoinAddress>();
    }

    #[test]
    fn altered_frames_never_panic(which in 0_usize..17, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = codec::encode(&client_frames()[which], MAX_MESSAGE).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(frame) = codec::decode::<ClientFrame>(&bytes) {
            prop_assert_eq!(codec::encode(&frame, MAX_MESSAGE).unwrap(), bytes);
            if let Request::Owner(signed) = frame.request {
                let _ = signed.verify(frame.id, &exporter());
            }
        }
    }
}
