//! Replays the committed corpora of `fuzz/` through the very functions that the fuzz targets run.
//!
//! `cargo test -p undertone-wire --test corpora -- --ignored` writes the seeds that are missing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../fuzz/src/harness/wire.rs"]
mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use undertone_wire::blob::{BlobAnnouncement, BlobReply, BlobRequest};
use undertone_wire::codec;
use undertone_wire::frame::*;
use undertone_wire::limits::*;
use undertone_wire::padding::Padding;
use undertone_wire::ticket::{ResumeRequest, SignedResume};
use undertone_wire::*;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

#[test]
fn every_input_of_every_corpus_keeps_the_promises() {
    for (target, run) in harness::TARGETS {
        let mut paths: Vec<_> =
            fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no corpus for {target}");
        for path in paths {
            run(&fs::read(path).unwrap());
        }
    }
}

fn write<T: Serialize>(target: &str, name: &str, frame: &T) {
    write_bytes(target, name, &codec::encode(frame, MAX_MESSAGE).unwrap());
}

fn write_bytes(target: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(corpus(target)).unwrap();
    fs::write(corpus(target).join(name), bytes).unwrap();
}

/// One small frame of each kind.
#[test]
#[ignore = "writes the seeds"]
fn write_seeds() {
    let owner = MailboxSecret::from_seed(&[1; 32]);
    let exporter = Exporter::from_bytes([3; 32]);
    let id = RequestId::new(5);
    let client = |name: &str, request| write("client_frames", name, &ClientFrame { id, request });
    let operation = || OwnerOperation::Status { keys: Bounded::one(owner.public()) };
    let elsewhere = Exporter::from_bytes([4; 32]);
    let signed = SignedRequest::sign(id, operation(), &elsewhere, &[&owner]).unwrap();
    client("owner", Request::Owner(signed));
    write("client_frames", "body", &OwnerRequest { id, operation: operation() });
    client(
        "deliver",
        Request::Deliver {
            capability: WriteCapability::from_bytes([5; 32]),
            envelope: Envelope::new(vec![6; 40]).unwrap(),
        },
    );
    client(
        "take",
        Request::TakePrekey {
            fetch: FetchCapability::from_bytes([6; 32]),
            take: TakeId::from_bytes([7; 16]),
        },
    );
    client(
        "acknowledge",
        Request::Acknowledge(Bounded::one(Acknowledgement {
            mailbox: owner.mailbox(),
            incarnation: Incarnation::from_bytes([1; 16]),
            floor: Floor::new(300),
        })),
    );
    let capability = BlobDeleteCapability::from_bytes([3; 32]);
    client("delete", Request::DeleteBlob { blob: BlobId::from_bytes([2; 32]), capability });
    let session = SessionSecret::from_seed(&[4; 32]);
    let mailboxes = Bounded::one(owner.mailbox());
    client("ticket", Request::Ticket { session: session.public(), mailboxes });
    let resume = ResumeRequest { id, credit: 9, ticket: SealedTicket::new(vec![8; 60]).unwrap() };
    client("resume", Request::Resume(SignedResume::sign(&resume, &elsewhere, &session).unwrap()));
    client("padding", Request::Padding(Padding::new(20).unwrap()));
    assert_ne!(exporter, elsewhere);

    let server = |name: &str, result| {
        write("server_frames", name, &ServerFrame::Reply { id, result });
    };
    let incarnation = Incarnation::from_bytes([1; 16]);
    let state = MailboxState {
        incarnation,
        acknowledged: Floor::new(4),
        expired: Floor::NONE,
        head: Floor::new(900),
        bytes: 5 * 1024,
        limits: MailboxLimits { envelopes: MAILBOX_ENVELOPES, bytes: MAILBOX_BYTES },
    };
    server("done", Ok(Response::Done));
    let states = Bounded::new(vec![Some(state), None]).unwrap();
    server("mailboxes", Ok(Response::Mailboxes(states)));
    let bundle = SealedBundle::new(vec![1; 30]).unwrap();
    server("prekey", Ok(Response::Prekey(PrekeyAnswer::OneTime(bundle))));
    server("used-up", Ok(Response::Prekey(PrekeyAnswer::UsedUp)));
    let ticket = SealedTicket::new(vec![8; 60]).unwrap();
    server("ticket", Ok(Response::Ticket { ticket, seconds: TICKET_SECONDS }));
    server("refused", Err(ErrorCode::TicketRefused));
    let expires = Day::new(20_000);
    let depot = DepotState { one_time: 5, last_resort: true, expires, incarnation };
    server("depot", Ok(Response::Depot(depot)));
    let (mailbox, seq) = (owner.mailbox(), Seq::new(7));
    let envelope = Envelope::new(vec![6; 40]).unwrap();
    let pushes = [
        ("envelope", Push::Envelope { mailbox, incarnation, seq, envelope }),
        ("damaged", Push::Damaged { mailbox, incarnation, seq }),
        ("ended", Push::Ended { mailbox, reason: EndReason::Deleted }),
    ];
    for (name, push) in pushes {
        write("server_frames", name, &ServerFrame::Push(push));
    }
    write("server_frames", "padding", &ServerFrame::Padding(Padding::new(20).unwrap()));

    let capability = BlobReadCapability::from_bytes([3; 32]);
    let announcement = BlobAnnouncement {
        blob: BlobId::from_bytes([1; 32]),
        token: AdmissionToken::from_bytes([2; 32]),
        read: capability.hash(),
        delete: BlobDeleteCapability::from_bytes([4; 32]).hash(),
        length: MAX_BLOB,
        hash: BlobHash::from_bytes([5; 32]),
        expires,
    };
    write("blob_frames", "put", &BlobRequest::Put(announcement));
    let get = BlobRequest::Get { blob: BlobId::from_bytes([1; 32]), capability, offset: 70_000 };
    write("blob_frames", "get", &get);
    write(
        "blob_frames",
        "content",
        &BlobReply::Content { length: 5, hash: BlobHash::from_bytes([5; 32]) },
    );
    write("blob_frames", "refused", &BlobReply::Refused(ErrorCode::BlobMismatch));

    for (name, host) in [("name", "relay.example"), ("v4", "192.0.2.7"), ("v6", "2001:db8::1")] {
        let relay = RelayAddress::new(host, 4433, RootFingerprint::from_bytes([9; 32])).unwrap();
        write_bytes("addresses", &format!("{name}-binary"), &relay.to_bytes());
        write_bytes("addresses", name, relay.to_string().as_bytes());
        let join = JoinAddress::new(relay, AdmissionToken::from_bytes([2; 32]));
        write_bytes("addresses", &format!("{name}-join"), join.to_text().as_bytes());
    }
}
