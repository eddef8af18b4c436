//! Peers that do what they should not, beside honest ones that must not notice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use undertone_relay::RunningRelay;
use undertone_wire::client::{ClientError, Connection};
use undertone_wire::frame::*;
use undertone_wire::limits::*;
use undertone_wire::transport::{
    Channel, Lost, QuicChannel, client_tls, connect_quic, connect_tcp, read_message,
};
use undertone_wire::*;

type Test = Result<(), Box<dyn std::error::Error>>;

/// A relay, and two honest people whose messages must arrive whatever else happens.
struct Scene {
    relay: RunningRelay,
    owner: Connection,
    sender: Connection,
    pushes: client::Pushes,
    state: MailboxState,
    next: u32,
    _directory: tempfile::TempDir,
}

/// The honest mailbox and its capability.
const HONEST: u8 = 1;
const HONEST_WRITE: u8 = 10;

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let relay = start(directory.path()).await;
        let (owner, sender) = (connect(relay.address()).await, connect(relay.address()).await);
        let honest = mailbox(HONEST);
        owner.owner(create(&honest, &token(&relay), &[HONEST_WRITE]), &[&honest]).await.unwrap();
        let pushes = owner.pushes().unwrap();
        let state = owner.mailboxes(subscribe(&honest, 64), &[&honest]).await.unwrap()[0].unwrap();
        Self { relay, owner, sender, pushes, state, next: 0, _directory: directory }
    }

    fn address(&self) -> SocketAddr {
        let address = self.relay.address();
        SocketAddr::new(address.host().parse().unwrap(), address.port())
    }

    async fn raw(&self) -> Arc<QuicChannel> {
        let root = *self.relay.address().root();
        Arc::new(connect_quic(self.address(), root, None).await.unwrap())
    }

    /// A whole cycle of an honest message.
    async fn honest(&mut self) {
        let number = self.next;
        self.next += 1;
        self.sender.deliver(&capability(HONEST_WRITE), envelope(number)).await.unwrap();
        let honest = mailbox(HONEST);
        let (seq, got) = next_envelope(&mut self.pushes, &honest).await;
        assert_eq!((seq, got), (u64::from(number) + 1, number));
        self.owner.acknowledge(ack(&honest, &self.state, seq)).await.unwrap();
    }

    async fn end(mut self) {
        self.honest().await;
        self.relay.shutdown().await.unwrap();
    }
}

/// Bytes that look random and are the same each time.
fn junk(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

async fn closed(channel: &dyn Channel) -> Lost {
    tokio::time::timeout(Duration::from_secs(20), channel.closed()).await.expect("closed in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_datagrams_and_junk_on_tcp_change_nothing() -> Test {
    let mut scene = Scene::new().await;
    let socket = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await?;
    socket.connect(scene.address()).await?;
    for number in 0..2000_u64 {
        let mut datagram = junk(number, 1 + (number as usize * 7) % 1400);
        // Half of them look like the beginning of a connection.
        if number % 2 == 0 {
            datagram[0] |= 0xc0;
        }
        let _ = socket.send(&datagram).await;
    }
    for number in 0..20 {
        let mut tcp = tokio::net::TcpStream::connect(scene.address()).await?;
        let _ = tcp.write_all(&junk(number, 600)).await;
        // The relay ends it; what it says before, if anything, is an alert.
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer).await;
        assert!(answer.len() < 64);
    }
    scene.honest().await;
    scene.end().await;
    Ok(())
}

/// What a client may not write first on a stream.
fn broken_openings() -> Vec<(&'static str, Vec<u8>)> {
    let message = |frame: &[u8]| {
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        [&[1_u8], length.as_slice(), frame].concat()
    };
    let claim = |length: u32, head: &[u8]| {
        [&[1_u8], length.to_be_bytes().as_slice(), head, &[0; 16]].concat()
    };
    let mut spoiled = padding::client_padding(500);
    *spoiled.last_mut().unwrap() = 1;
    vec![
        ("R-1104 no kind of stream", vec![7, 0, 0, 0, 1]),
        ("R-1101 a length of zero", vec![1, 0, 0, 0, 0]),
        ("R-1101 a length above the maximum", vec![1, 0, 4, 0, 1]),
        ("R-1101 the largest length", vec![1, 0xff, 0xff, 0xff, 0xff]),
        ("R-1102 no frame", message(&junk(5, 300))),
        ("R-1102 an unknown request", message(&[5, 8, 0])),
        ("R-1102 something behind a frame", message(&[5, 3, 0, 0])),
        ("R-1103 an overlong request id", message(&[0x85, 0x00, 3, 0])),
        ("R-1106 a count above the bound", message(&[5, 3, 0xff, 0x7f])),
        ("R-1107 a delivery of 200,000 bytes", claim(200_000, &[5, 1])),
        ("R-1107 an acknowledgement of 200,000 bytes", claim(200_000, &[5, 3])),
        ("R-1108 padding that is not zeros", [&[1], spoiled.as_slice()].concat()),
    ]
}

/// R-1101 to R-1108: each of R-1101, R-1102, R-1103, R-1104, R-1105, R-1106, R-1107, R-1108.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_on_every_kind_of_stream_ends_that_connection_and_no_other() -> Test {
    let mut scene = Scene::new().await;
    for (what, bytes) in broken_openings() {
        let channel = scene.raw().await;
        let (mut writer, _reader) = channel.open().await.unwrap();
        writer.write_all(&bytes).await?;
        assert_eq!(closed(&*channel).await, Lost::Protocol, "{what}");
        // The same over TCP, where a connection that ends is all that can be said.
        let root = *scene.relay.address().root();
        let tcp = connect_tcp(scene.address(), root, None).await.unwrap();
        let (mut writer, mut reader) = tcp.open().await.unwrap();
        writer.write_all(&bytes).await?;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), reader.read_to_end(&mut answer));
        let _ = read.await.unwrap_or_else(|_| panic!("{what}: still open"));
        assert!(answer.is_empty(), "{what}");
    }
    // R-1105
    let channel = scene.raw().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let (mut writer, reader) = channel.open().await.unwrap();
        writer.write_all(&[1]).await?;
        streams.push((writer, reader));
    }
    assert_eq!(closed(&*channel).await, Lost::Protocol);
    // A blob stream that breaks the rules ends alone.
    let channel = scene.raw().await;
    let (mut writer, mut reader) = channel.open().await.unwrap();
    writer.write_all(&[&[2, 0, 0, 0, 9], junk(1, 9).as_slice()].concat()).await?;
    let refusal = read_message(&mut reader, MAX_BLOB_MESSAGE).await?.unwrap();
    let refusal: blob::BlobReply = codec::decode(&refusal)?;
    assert_eq!(refusal, blob::BlobReply::Refused(ErrorCode::Malformed));
    let (mut writer, mut reader) = channel.open().await.unwrap();
    writer.write_all(&[2, 0, 0, 4, 1]).await?;
    assert_eq!(read_message(&mut reader, MAX_BLOB_MESSAGE).await, Ok(None));
    scene.honest().await;
    scene.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_claims_and_stream_floods_hold_up_nobody() -> Test {
    let mut scene = Scene::new().await;
    let mut held = Vec::new();
    for _ in 0..20 {
        let channel = scene.raw().await;
        // As many streams as there may be, each claiming the largest message and sending none of it.
        let streams = async {
            let mut streams = Vec::new();
            loop {
                let Ok((mut writer, reader)) = channel.open().await else { break streams };
                let kind = if streams.is_empty() { 1 } else { 2 };
                let claim: &[u8] = if kind == 1 { &[0, 4, 0, 0, 5, 0] } else { &[0, 0, 4, 0] };
                writer.write_all(&[&[kind], claim].concat()).await.unwrap();
                streams.push((writer, reader));
                if streams.len() == 8 {
                    break streams;
                }
            }
        };
        let streams = streams.await;
        assert_eq!(streams.len(), 8);
        // One more has to wait: the relay grants no further stream.
        let more = tokio::time::timeout(Duration::from_millis(50), channel.open()).await;
        assert!(more.is_err(), "a ninth stream");
        held.push((channel, streams));
    }
    for _ in 0..20 {
        scene.honest().await;
    }
    drop(held);
    scene.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_never_reads_and_one_that_never_acknowledges() -> Test {
    let mut scene = Scene::new().await;
    let greedy = mailbox(2);
    let small = MailboxLimits { envelopes: 300, bytes: MAILBOX_BYTES };
    let operation = match create(&greedy, &token(&scene.relay), &[20]) {
        OwnerOperation::CreateMailbox { key, token, kind, capabilities, .. } => {
            OwnerOperation::CreateMailbox { key, token, kind, limits: Some(small), capabilities }
        }
        other => other,
    };
    scene.sender.owner(operation, &[&greedy]).await?;
    // Subscribes with the largest credit and reads not one byte.
    let silent = scene.raw().await;
    let (mut writer, _reader) = silent.open().await.unwrap();
    let id = RequestId::new(1);
    let signed =
        SignedRequest::sign(id, subscribe(&greedy, MAX_CREDIT), &silent.exporter()?, &[&greedy])?;
    let frame = ClientFrame { id, request: Request::Owner(signed) };
    let message = codec::encode_message(&frame, MAX_MESSAGE)?;
    writer.write_all(&[&[1], message.as_slice()].concat()).await?;
    for number in 0..300_u32 {
        let mut large = junk(number.into(), 32_768);
        large[..4].copy_from_slice(&number.to_be_bytes());
        scene.sender.deliver(&capability(20), large).await?;
        if number % 50 == 0 {
            scene.honest().await;
        }
    }
    refused(scene.sender.deliver(&capability(20), junk(9, 1024)).await, ErrorCode::MailboxFull);
    // The last subscriber wins, whatever the older one does not read. It never acknowledges, so it
    // gets what its credit allows and then nothing.
    let owner = connect(scene.relay.address()).await;
    let mut pushes = owner.pushes().unwrap();
    owner.mailboxes(subscribe(&greedy, 4), &[&greedy]).await?;
    for number in 0..4 {
        assert_eq!(next_envelope(&mut pushes, &greedy).await.1, number);
    }
    state(&owner, &greedy).await.unwrap();
    assert!(pushes.try_next().is_none(), "credit bounds what is in flight");
    scene.honest().await;
    scene.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_reads_nothing_is_sent_away() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    config.limits.patience = 2;
    let relay = undertone_relay::Relay::start(config).await?;
    let (greedy, sender) = (mailbox(2), connect(relay.address()).await);
    sender.owner(create(&greedy, &token(&relay), &[20]), &[&greedy]).await?;
    let address = SocketAddr::new(relay.address().host().parse()?, relay.address().port());
    let silent = connect_quic(address, *relay.address().root(), None).await.unwrap();
    let (mut writer, _reader) = silent.open().await.unwrap();
    let id = RequestId::new(1);
    let operation = subscribe(&greedy, MAX_CREDIT);
    let signed = SignedRequest::sign(id, operation, &silent.exporter()?, &[&greedy])?;
    let frame = ClientFrame { id, request: Request::Owner(signed) };
    let message = codec::encode_message(&frame, MAX_MESSAGE)?;
    writer.write_all(&[&[1], message.as_slice()].concat()).await?;
    // More than a client's window and everything that the relay would queue.
    for number in 0..100 {
        sender.deliver(&capability(20), junk(number, 65_536)).await?;
    }
    assert_eq!(closed(&silent).await, Lost::Busy);
    // Nothing is lost, and nobody else is disturbed.
    let owner = connect(relay.address()).await;
    let mut pushes = owner.pushes().unwrap();
    owner.mailboxes(subscribe(&greedy, 64), &[&greedy]).await?;
    assert!(matches!(next(&mut pushes).await, Push::Envelope { .. }));
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_faster_than_it_may_leaves_little_unread() -> Test {
    let directory = tempfile::tempdir()?;
    let mut config = config(directory.path());
    config.limits.exempt.clear();
    config.limits.connection.requests.per_minute = 1;
    config.limits.connection.requests.burst = 1;
    let relay = undertone_relay::Relay::start(config).await?;
    let address = SocketAddr::new(relay.address().host().parse()?, relay.address().port());
    let hasty = connect_quic(address, *relay.address().root(), None).await.unwrap();
    let (mut writer, _reader) = hasty.open().await.unwrap();
    let request = Request::Deliver {
        capability: capability(1),
        envelope: BoundedBytes::new(vec![1; 65_536]).unwrap(),
    };
    let message =
        codec::encode_message(&ClientFrame { id: RequestId::new(1), request }, MAX_MESSAGE)?;
    writer.write_all(&[1]).await?;
    let mut taken = 0;
    let flood = async {
        loop {
            for piece in message.chunks(4096) {
                writer.write_all(piece).await.unwrap();
                taken += piece.len();
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(3), flood).await.is_err());
    // Two messages were read: one was answered, one waits for its turn.
    assert!((131_072..262_144).contains(&taken), "{taken}");
    relay.kill().await;
    Ok(())
}

/// Writes frames and reads replies by hand.
async fn exchange(channel: &dyn Channel, frames: &[&ClientFrame]) -> Vec<ServerFrame> {
    let (mut writer, mut reader) = channel.open().await.unwrap();
    let mut bytes = vec![1];
    for frame in frames {
        bytes.extend(codec::encode_message(frame, MAX_MESSAGE).unwrap());
    }
    writer.write_all(&bytes).await.unwrap();
    let mut replies = Vec::new();
    for _ in frames {
        let message = read_message(&mut reader, MAX_MESSAGE).await.unwrap().unwrap();
        replies.push(codec::decode(&message).unwrap());
    }
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_subscribed_to_can_be_acknowledged_in_the_same_breath() -> Test {
    let scene = Scene::new().await;
    let (late, write) = (mailbox(2), 20);
    scene.sender.owner(create(&late, &token(&scene.relay), &[write]), &[&late]).await?;
    scene.sender.deliver(&capability(write), envelope(1)).await?;
    let channel = scene.raw().await;
    let (first, second, third) = (RequestId::new(1), RequestId::new(2), RequestId::new(3));
    let signed = SignedRequest::sign(first, subscribe(&late, 1), &channel.exporter()?, &[&late])?;
    let subscribes = ClientFrame { id: first, request: Request::Owner(signed) };
    let acknowledges = |id, secret| {
        let acks = Bounded::new(ack(secret, &scene.state, 1)).unwrap();
        ClientFrame { id, request: Request::Acknowledge(acks) }
    };
    let (mine, other) = (acknowledges(second, &late), acknowledges(third, &mailbox(HONEST)));
    let (mut writer, mut reader) = channel.open().await.unwrap();
    let mut bytes = vec![1];
    for frame in [&subscribes, &mine, &other] {
        bytes.extend(codec::encode_message(frame, MAX_MESSAGE).unwrap());
    }
    writer.write_all(&bytes).await?;
    let mut replies = Vec::new();
    while replies.len() < 3 {
        let message = read_message(&mut reader, MAX_MESSAGE).await?.unwrap();
        if let ServerFrame::Reply { id, result } = codec::decode(&message)? {
            replies.push((id, result));
        }
    }
    assert_eq!(replies[1], (second, Ok(Response::Done)));
    assert_eq!(replies[2], (third, Err(ErrorCode::NotSubscribed)));
    scene.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_owner_request_is_worth_nothing_on_another_connection() -> Test {
    let scene = Scene::new().await;
    let honest = mailbox(HONEST);
    let (first, second) = (scene.raw().await, scene.raw().await);
    let id = RequestId::new(7);
    let delete = OwnerOperation::RevokeCapabilities {
        key: honest.public(),
        capabilities: Bounded::one(capability(99).hash()),
    };
    let signed = SignedRequest::sign(id, delete, &first.exporter()?, &[&honest])?;
    let frame = ClientFrame { id, request: Request::Owner(signed.clone()) };
    let done = ServerFrame::Reply { id, result: Ok(Response::Done) };
    assert_eq!(exchange(&*first, &[&frame]).await, [done]);
    let moved = RequestId::new(8);
    let elsewhere = ClientFrame { id: moved, request: Request::Owner(signed) };
    let refusals = exchange(&*second, &[&frame, &elsewhere]).await;
    let refusal = |id, code| ServerFrame::Reply { id, result: Err(code) };
    assert_eq!(
        refusals,
        [refusal(id, ErrorCode::BadSignature), refusal(moved, ErrorCode::Malformed)]
    );
    scene.end().await;
    Ok(())
}

/// R-1110, R-1111
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_that_are_none_are_refused() -> Test {
    let scene = Scene::new().await;
    for length in [0, 1, 1023, 1025, 3000, 65_535] {
        let result = scene.sender.deliver(&capability(HONEST_WRITE), vec![1; length]).await;
        refused(result, ErrorCode::BadSize);
    }
    let too_long = scene.sender.deliver(&capability(HONEST_WRITE), vec![1; 65_537]).await;
    assert_eq!(too_long.unwrap_err(), ClientError::TooLong);
    let depot = DepotSecret::from_seed(&[3; 32]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let fill = OwnerOperation::FillDepot {
        key: depot.public(),
        depot: FetchCapability::from_bytes([5; 32]).depot(),
        token: token(&scene.relay),
        mode: FillMode::Add,
        one_time: Bounded::one(SealedBundle::new(vec![1; 4095]).unwrap()),
        last_resort: None,
        expires: Day::from_unix_seconds(now).plus(1),
    };
    refused(scene.sender.depot(fill, &depot).await, ErrorCode::BadSize);
    scene.end().await;
    Ok(())
}

/// Fills one mailbox with random bytes, as an attacker with a capability can. 2,000 envelopes, or
/// 100,000 with `UNDERTONE_LONG=1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_envelopes_into_one_mailbox_leave_the_others_alone() -> Test {
    let mut scene = Scene::new().await;
    let long = std::env::var_os("UNDERTONE_LONG").is_some();
    let count: u64 = if long { 100_000 } else { 2000 };
    let victim = mailbox(2);
    scene.sender.owner(create(&victim, &token(&scene.relay), &[20]), &[&victim]).await?;
    let attacker = connect(scene.relay.address()).await;
    let flood = tokio::spawn(async move {
        let (mut accepted, mut full) = (0_u64, 0_u64);
        let mut running = tokio::task::JoinSet::new();
        for number in 0..count {
            if running.len() == 64 {
                count_one(running.join_next().await, &mut accepted, &mut full);
            }
            let attacker = attacker.clone();
            let bytes = junk(number + 1, 1024);
            running.spawn(async move { attacker.deliver(&capability(20), bytes).await });
        }
        while let Some(one) = running.join_next().await {
            count_one(Some(one), &mut accepted, &mut full);
        }
        (accepted, full)
    });
    while !flood.is_finished() {
        scene.honest().await;
    }
    let (accepted, full) = flood.await?;
    let most = u64::from(MAILBOX_ENVELOPES);
    assert_eq!((accepted, full), (count.min(most), count.saturating_sub(most)));
    let after = state(&scene.sender, &victim).await.unwrap();
    assert_eq!(after.head.get(), accepted);
    scene.end().await;
    Ok(())
}

type Delivered = Result<Result<(), ClientError>, tokio::task::JoinError>;

fn count_one(one: Option<Delivered>, accepted: &mut u64, full: &mut u64) {
    match one.unwrap().unwrap() {
        Ok(()) => *accepted += 1,
        Err(ClientError::Refused(ErrorCode::MailboxFull)) => *full += 1,
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_offers_another_key_exchange_or_protocol_is_refused() -> Test {
    use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
    let scene = Scene::new().await;
    let root = *scene.relay.address().root();
    let (good, verifier) = client_tls(root)?;
    let with = |groups| rustls::crypto::CryptoProvider { kx_groups: groups, ..default_provider() };
    let classical = rustls::ClientConfig::builder_with_provider(Arc::new(with(vec![
        kx_group::X25519,
        kx_group::SECP256R1,
    ])))
    .with_protocol_versions(&[&rustls::version::TLS13])?
    .dangerous()
    .with_custom_certificate_verifier(verifier)
    .with_no_client_auth();
    let mut other = good.clone();
    other.alpn_protocols = vec![b"undertone/2".to_vec()];
    let mut none = good.clone();
    none.alpn_protocols = Vec::new();
    for (config, what) in
        [(good, "good"), (classical, "R-1125"), (other, "R-1126"), (none, "R-1126, none")]
    {
        let tcp = tokio::net::TcpStream::connect(scene.address()).await?;
        let name = rustls::pki_types::ServerName::try_from(transport::LEAF_NAME)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        // Some are only refused behind the client's last message: the first read tells.
        let spoke = async {
            let mut stream = connector.connect(name, tcp).await?;
            let take = ClientFrame {
                id: RequestId::new(1),
                request: Request::TakePrekey {
                    fetch: FetchCapability::from_bytes([1; 32]),
                    take: TakeId::from_bytes([1; 16]),
                },
            };
            let message = codec::encode_message(&take, MAX_MESSAGE).unwrap();
            stream.write_all(&[&[1], message.as_slice()].concat()).await?;
            stream.read_u8().await
        };
        assert_eq!(spoke.await.is_ok(), what == "good", "{what}");
    }
    scene.end().await;
    Ok(())
}
