//! Scenarios over real QUIC on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use undertone_relay::Relay;
use undertone_wire::blob::BlobAnnouncement;
use undertone_wire::client::{ClientError, Connection, Options};
use undertone_wire::frame::*;
use undertone_wire::limits::{REMEMBERED_ENVELOPES, SEALED_BUNDLE};
use undertone_wire::*;

type Test = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliver_subscribe_acknowledge() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let (owner, sender) = (connect(relay.address()).await, connect(relay.address()).await);
    let alice = mailbox(1);
    owner.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    for number in 0..3 {
        sender.deliver(&capability(10), envelope(number)).await?;
    }
    let mut pushes = owner.pushes().unwrap();
    let state0 = owner.mailboxes(subscribe(&alice, 64), &[&alice]).await?[0].unwrap();
    assert_eq!((state0.head.get(), state0.acknowledged.get(), state0.bytes), (3, 0, 3 * 1024));
    for number in 0..3 {
        assert_eq!(next_envelope(&mut pushes, &alice).await, (u64::from(number) + 1, number));
    }
    // What comes later is pushed as well, and in order.
    let deliveries = (3..40).map(|number| {
        let sender = sender.clone();
        async move { sender.deliver(&capability(10), envelope(number)).await }
    });
    for delivery in deliveries.collect::<Vec<_>>() {
        delivery.await?;
    }
    for number in 3..40 {
        assert_eq!(next_envelope(&mut pushes, &alice).await, (u64::from(number) + 1, number));
    }
    owner.acknowledge(ack(&alice, &state0, 40)).await?;
    let after = state(&sender, &alice).await.unwrap();
    assert_eq!((after.head.get(), after.acknowledged.get(), after.bytes), (40, 40, 0));
    refused(owner.acknowledge(ack(&alice, &state0, 41)).await, ErrorCode::FloorAhead);
    refused(sender.acknowledge(ack(&alice, &state0, 40)).await, ErrorCode::NotSubscribed);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_survives_a_kill_and_comes_again_until_acknowledged() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let address = relay.address().clone();
    let alice = mailbox(1);
    let connection = connect(&address).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    for number in 0..5 {
        connection.deliver(&capability(10), envelope(number)).await?;
    }
    let mut pushes = connection.pushes().unwrap();
    let first = connection.mailboxes(subscribe(&alice, 64), &[&alice]).await?[0].unwrap();
    for number in 0..5 {
        assert_eq!(next_envelope(&mut pushes, &alice).await.1, number);
    }
    connection.acknowledge(ack(&alice, &first, 2)).await?;
    relay.kill().await;
    assert_eq!(connection.closed().await, ClientError::Closed);

    let relay = restart(directory.path(), &address).await;
    assert!(relay.join_address().is_none(), "a token is shown once");
    let connection = connect(&address).await;
    connection.deliver(&capability(10), envelope(4)).await?;
    connection.deliver(&capability(10), envelope(1)).await?;
    connection.deliver(&capability(10), envelope(5)).await?;
    let mut pushes = connection.pushes().unwrap();
    let second = connection.mailboxes(subscribe(&alice, 64), &[&alice]).await?[0].unwrap();
    assert_eq!(second.incarnation, first.incarnation);
    assert_eq!((second.acknowledged.get(), second.head.get()), (2, 6), "repeats were recognised");
    for number in 2..6 {
        assert_eq!(next_envelope(&mut pushes, &alice).await, (u64::from(number) + 1, number));
    }
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_is_recognised_among_the_last_64() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let alice = mailbox(1);
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    let state0 = connection.mailboxes(subscribe(&alice, 200), &[&alice]).await?[0].unwrap();
    let remembered = u32::try_from(REMEMBERED_ENVELOPES)?;
    for number in 0..=remembered {
        connection.deliver(&capability(10), envelope(number)).await?;
    }
    let head = u64::from(remembered) + 1;
    // Still queued: recognised however old.
    connection.deliver(&capability(10), envelope(0)).await?;
    assert_eq!(state(&connection, &alice).await.unwrap().head.get(), head);
    connection.acknowledge(ack(&alice, &state0, head)).await?;
    for number in 1..=remembered {
        connection.deliver(&capability(10), envelope(number)).await?;
    }
    assert_eq!(state(&connection, &alice).await.unwrap().head.get(), head, "64 are remembered");
    connection.deliver(&capability(10), envelope(0)).await?;
    assert_eq!(state(&connection, &alice).await.unwrap().head.get(), head + 1, "the 65th is not");
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_deleted_and_never_made_are_alike() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let (alice, bob) = (mailbox(1), mailbox(2));
    let connection = connect(relay.address()).await;
    let token = token(&relay);
    connection.owner(create(&alice, &token, &[10, 11]), &[&alice]).await?;
    let revoke = OwnerOperation::RevokeCapabilities {
        key: alice.public(),
        capabilities: Bounded::one(capability(10).hash()),
    };
    connection.deliver(&capability(10), envelope(0)).await?;
    connection.owner(revoke, &[&alice]).await?;
    refused(connection.deliver(&capability(10), envelope(1)).await, ErrorCode::Unknown);
    connection.deliver(&capability(11), envelope(1)).await?;
    connection.owner(OwnerOperation::DeleteMailbox { key: alice.public() }, &[&alice]).await?;
    refused(connection.deliver(&capability(11), envelope(2)).await, ErrorCode::Unknown);
    refused(connection.deliver(&capability(99), envelope(2)).await, ErrorCode::Unknown);
    assert!(state(&connection, &alice).await.is_none());
    assert!(state(&connection, &bob).await.is_none());
    // Made anew with the same key it begins empty.
    connection.owner(create(&alice, &token, &[11]), &[&alice]).await?;
    assert_eq!(state(&connection, &alice).await.unwrap().head.get(), 0);
    // A capability belongs to one mailbox.
    refused(connection.owner(create(&bob, &token, &[11]), &[&bob]).await, ErrorCode::Conflict);
    assert!(state(&connection, &bob).await.is_none(), "a refused request leaves nothing");
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_admitted_create_and_only_owners_ask() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let (alice, eve) = (mailbox(1), mailbox(2));
    let connection = connect(relay.address()).await;
    let wrong = AdmissionToken::from_bytes([0; 32]);
    refused(connection.owner(create(&alice, &wrong, &[]), &[&alice]).await, ErrorCode::NotAdmitted);
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    // Another key cannot even sign for it; a signature of another connection is worth nothing.
    assert_eq!(connection.owner(status(&alice), &[&eve]).await.unwrap_err(), ClientError::Signing);
    let elsewhere = SignedRequest::sign(
        RequestId::new(500),
        status(&alice),
        &Exporter::from_bytes([0; 32]),
        &[&alice],
    )?;
    refused(connection.request(Request::Owner(elsewhere)).await, ErrorCode::Malformed);
    for size in [0, 1, 1023, 1025, 65_535] {
        refused(connection.deliver(&capability(10), vec![0; size]).await, ErrorCode::BadSize);
    }
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_says_so_and_takes_repeats_nevertheless() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let alice = mailbox(1);
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    let limits = MailboxLimits { envelopes: 2, bytes: u64::MAX };
    connection.owner(OwnerOperation::SetLimits { key: alice.public(), limits }, &[&alice]).await?;
    connection.deliver(&capability(10), envelope(0)).await?;
    connection.deliver(&capability(10), envelope(1)).await?;
    refused(connection.deliver(&capability(10), envelope(2)).await, ErrorCode::MailboxFull);
    connection.deliver(&capability(10), envelope(1)).await?;
    let state0 = connection.mailboxes(subscribe(&alice, 1), &[&alice]).await?[0].unwrap();
    connection.acknowledge(ack(&alice, &state0, 1)).await?;
    connection.deliver(&capability(10), envelope(2)).await?;
    let limits = MailboxLimits { envelopes: 100, bytes: 3000 };
    connection.owner(OwnerOperation::SetLimits { key: alice.public(), limits }, &[&alice]).await?;
    refused(connection.deliver(&capability(10), envelope(3)).await, ErrorCode::MailboxFull);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_subscriber_wins_and_credit_bounds_what_is_in_flight() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let alice = mailbox(1);
    let (old, new) = (connect(relay.address()).await, connect(relay.address()).await);
    old.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    for number in 0..6 {
        new.deliver(&capability(10), envelope(number)).await?;
    }
    let (mut old_pushes, mut new_pushes) = (old.pushes().unwrap(), new.pushes().unwrap());
    let state0 = old.mailboxes(subscribe(&alice, 2), &[&alice]).await?[0].unwrap();
    assert_eq!(next_envelope(&mut old_pushes, &alice).await.1, 0);
    assert_eq!(next_envelope(&mut old_pushes, &alice).await.1, 1);
    // A reply that was asked for later comes, and nothing was pushed before it.
    state(&old, &alice).await;
    assert!(old_pushes.try_next().is_none(), "credit of two is used up");
    old.acknowledge(ack(&alice, &state0, 1)).await?;
    assert_eq!(next_envelope(&mut old_pushes, &alice).await.1, 2);

    new.mailboxes(subscribe(&alice, 64), &[&alice]).await?;
    for number in 1..6 {
        assert_eq!(next_envelope(&mut new_pushes, &alice).await.1, number);
    }
    assert_eq!(
        next(&mut old_pushes).await,
        Push::Ended { mailbox: alice.mailbox(), reason: EndReason::Replaced }
    );
    let delete = OwnerOperation::DeleteMailbox { key: alice.public() };
    old.owner(delete, &[&alice]).await?;
    assert_eq!(
        next(&mut new_pushes).await,
        Push::Ended { mailbox: alice.mailbox(), reason: EndReason::Deleted }
    );
    relay.shutdown().await.unwrap();
    Ok(())
}

fn bundle(number: u8) -> SealedBundle {
    SealedBundle::new(vec![number; SEALED_BUNDLE]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_depot_hands_out_each_bundle_once_and_says_when_it_is_used_up() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let address = relay.address().clone();
    let (owner, other) = (DepotSecret::from_seed(&[5; 32]), DepotSecret::from_seed(&[6; 32]));
    let fetch = FetchCapability::from_bytes([7; 32]);
    let token = token(&relay);
    let today = Day::from_unix_seconds(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs(),
    );
    let fill = |key: &DepotSecret, mode, bundles: &[u8], last: Option<u8>, days| {
        OwnerOperation::FillDepot {
            key: key.public(),
            depot: fetch.depot(),
            token: token.duplicate(),
            mode,
            one_time: Bounded::new(bundles.iter().map(|n| bundle(*n)).collect()).unwrap(),
            last_resort: last.map(bundle),
            expires: today.plus(days),
        }
    };
    let take = |n: u8| TakeId::from_bytes([n; 16]);
    let connection = connect(&address).await;
    refused(connection.take_prekey(&fetch, take(1)).await, ErrorCode::Unknown);
    let state = connection.depot(fill(&owner, FillMode::Add, &[1, 2], None, 30), &owner).await?;
    assert_eq!((state.one_time, state.last_resort), (2, false));
    refused(
        connection.depot(fill(&other, FillMode::Replace, &[9], None, 30), &other).await,
        ErrorCode::Unknown,
    );
    refused(
        connection.depot(fill(&owner, FillMode::Add, &[9], None, 40), &owner).await,
        ErrorCode::LimitReached,
    );
    assert_eq!(connection.take_prekey(&fetch, take(1)).await?, PrekeyAnswer::OneTime(bundle(1)));
    assert_eq!(connection.take_prekey(&fetch, take(1)).await?, PrekeyAnswer::OneTime(bundle(1)));
    assert_eq!(connection.take_prekey(&fetch, take(2)).await?, PrekeyAnswer::OneTime(bundle(2)));
    relay.kill().await;

    let relay = restart(directory.path(), &address).await;
    let connection = connect(&address).await;
    assert_eq!(connection.take_prekey(&fetch, take(3)).await?, PrekeyAnswer::UsedUp);
    assert_eq!(
        connection.take_prekey(&fetch, take(2)).await?,
        PrekeyAnswer::OneTime(bundle(2)),
        "a take whose answer was lost is answered again after a crash"
    );
    connection.depot(fill(&owner, FillMode::Add, &[], Some(8), 30), &owner).await?;
    assert_eq!(connection.take_prekey(&fetch, take(4)).await?, PrekeyAnswer::LastResort(bundle(8)));
    let many: Vec<u8> = (0..50).collect();
    connection.depot(fill(&owner, FillMode::Add, &many, None, 30), &owner).await?;
    refused(
        connection.depot(fill(&owner, FillMode::Add, &[60], None, 30), &owner).await,
        ErrorCode::LimitReached,
    );
    let delete = OwnerOperation::DeleteDepot { key: owner.public(), depot: fetch.depot() };
    connection.owner(delete, &[&owner]).await?;
    refused(connection.take_prekey(&fetch, take(5)).await, ErrorCode::Unknown);
    relay.shutdown().await.unwrap();
    Ok(())
}

async fn download(
    connection: &Connection,
    id: BlobId,
    read: &BlobReadCapability,
    from: u64,
) -> Result<Vec<u8>, ClientError> {
    let mut download = connection.get_blob(id, read, from).await?;
    let (mut all, mut piece) = (Vec::new(), vec![0; 10_000]);
    loop {
        match download.next(&mut piece).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_upload_resumes_and_is_checked() -> Test {
    use sha2::Digest as _;
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let address = relay.address().clone();
    let content: Vec<u8> = (0..700_000_u32).flat_map(u32::to_be_bytes).collect();
    let token = token(&relay);
    let (id, read) = (BlobId::from_bytes([1; 32]), BlobReadCapability::from_bytes([2; 32]));
    let delete = BlobDeleteCapability::from_bytes([3; 32]);
    let announce = |hash: [u8; 32]| BlobAnnouncement {
        blob: id,
        token: token.duplicate(),
        read: read.hash(),
        delete: delete.hash(),
        length: content.len() as u64,
        hash: BlobHash::from_bytes(hash),
        expires: Day::from_unix_seconds(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
        )
        .plus(10),
    };
    let good = sha2::Sha256::digest(&content).into();

    // The first half, then the relay dies.
    let connection = connect(&address).await;
    let mut upload = connection.put_blob(announce(good)).await?;
    assert_eq!(upload.offset(), 0);
    let half = content.len() / 2;
    upload.write(&content[..half]).await?;
    // An early end is answered as incomplete, once all that came is in the file.
    refused(upload.finish().await, ErrorCode::BlobIncomplete);
    refused(download(&connection, id, &read, 0).await, ErrorCode::BlobIncomplete);
    relay.kill().await;

    let relay = restart(directory.path(), &address).await;
    let connection = connect(&address).await;
    refused(connection.put_blob(announce([0; 32])).await.map(|_| ()), ErrorCode::Conflict);
    let mut upload = connection.put_blob(announce(good)).await?;
    assert_eq!(upload.offset(), half as u64, "it goes on where it was");
    upload.write(&content[half..]).await?;
    upload.finish().await?;
    assert!(download(&connection, id, &read, 0).await? == content);
    assert!(download(&connection, id, &read, 1_000_000).await? == content[1_000_000..]);
    // Announced again: nothing is wanted.
    let upload = connection.put_blob(announce(good)).await?;
    assert_eq!(upload.offset(), content.len() as u64);
    upload.finish().await?;
    let wrong = BlobReadCapability::from_bytes([9; 32]);
    refused(download(&connection, id, &wrong, 0).await, ErrorCode::Unknown);
    refused(
        connection.delete_blob(id, &BlobDeleteCapability::from_bytes([9; 32])).await,
        ErrorCode::Unknown,
    );
    connection.delete_blob(id, &delete).await?;
    refused(download(&connection, id, &read, 0).await, ErrorCode::Unknown);
    // Other bytes than announced.
    let mut upload = connection.put_blob(announce([7; 32])).await?;
    upload.write(&content).await?;
    refused(upload.finish().await, ErrorCode::BlobMismatch);
    assert_eq!(std::fs::read_dir(directory.path().join("blobs"))?.count(), 0, "no file is left");
    relay.shutdown().await.unwrap();
    Ok(())
}

fn small_blob(token: AdmissionToken, content: &[u8]) -> BlobAnnouncement {
    use sha2::Digest as _;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    BlobAnnouncement {
        blob: BlobId::from_bytes([3; 32]),
        token,
        read: BlobReadCapability::from_bytes([4; 32]).hash(),
        delete: BlobDeleteCapability::from_bytes([5; 32]).hash(),
        length: content.len() as u64,
        hash: BlobHash::from_bytes(sha2::Sha256::digest(content).into()),
        expires: Day::from_unix_seconds(now.as_secs()).plus(9),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_cannot_be_made_durable_ends_the_relay_unanswered() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let connection = connect(relay.address()).await;
    let content = [6; 5000];
    let announcement = small_blob(token(&relay), &content);
    // What is written there is gone, and syncing it is an error.
    let part = directory.path().join("blobs").join(format!("{}.part", announcement.blob));
    std::os::unix::fs::symlink("/dev/null", &part)?;
    let mut upload = connection.put_blob(announcement).await?;
    upload.write(&content).await?;
    let end = upload.finish().await.unwrap_err();
    assert!(!matches!(end, ClientError::Refused(_)), "{end:?}");
    let failure = relay.failed().await;
    assert!(failure.to_string().contains("files failed"), "{failure}");
    assert!(std::fs::symlink_metadata(&part).is_err(), "the part is gone");
    relay.kill().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_blob_that_was_damaged_is_not_called_stored() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let connection = connect(relay.address()).await;
    let content = [6; 5000];
    let announce = || small_blob(token(&relay), &content);
    let mut upload = connection.put_blob(announce()).await?;
    upload.write(&content).await?;
    upload.finish().await?;
    let path = directory.path().join("blobs").join(announce().blob.to_string());
    for damaged in [vec![7; 5000], vec![6; 4999]] {
        std::fs::write(&path, damaged)?;
        let mut upload = connection.put_blob(announce()).await?;
        assert_eq!(upload.offset(), 0);
        upload.write(&content).await?;
        upload.finish().await?;
        assert!(std::fs::read(&path)? == content);
    }
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_is_deleted_while_it_comes_leaves_no_file() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let connection = connect(relay.address()).await;
    let content = [6; 5000];
    let announcement = small_blob(token(&relay), &content);
    let id = announcement.blob;
    let mut upload = connection.put_blob(announcement).await?;
    upload.write(&content[..4000]).await?;
    connection.delete_blob(id, &BlobDeleteCapability::from_bytes([5; 32])).await?;
    upload.write(&content[4000..]).await?;
    refused(upload.finish().await, ErrorCode::Unknown);
    assert_eq!(std::fs::read_dir(directory.path().join("blobs"))?.count(), 0);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_blobs_that_nobody_announced_are_swept_at_the_start() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let address = relay.address().clone();
    let connection = connect(&address).await;
    let content = [6; 5000];
    let announcement = small_blob(token(&relay), &content);
    let kept = announcement.blob.to_string();
    let mut upload = connection.put_blob(announcement).await?;
    upload.write(&content).await?;
    upload.finish().await?;
    relay.shutdown().await.unwrap();
    let blobs = directory.path().join("blobs");
    let stray = BlobId::from_bytes([0xab; 32]);
    for name in [stray.to_string(), format!("{stray}.part"), "notes.txt".into()] {
        std::fs::write(blobs.join(name), b"left")?;
    }
    let relay = restart(directory.path(), &address).await;
    let names: std::collections::BTreeSet<_> = std::fs::read_dir(&blobs)?
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, [kept, "notes.txt".to_owned()].into());
    relay.shutdown().await.unwrap();
    Ok(())
}

/// R-1121
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_root_key_is_told_from_an_unreachable_relay() -> Test {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let relay = start(one.path()).await;
    let other = start(two.path()).await;
    let mixed =
        RelayAddress::new(relay.address().host(), relay.address().port(), *other.address().root())?;
    let result = Connection::connect(&mixed, &Options::default()).await;
    assert_eq!(result.unwrap_err(), ClientError::PinMismatch);
    let gone = other.address().clone();
    other.shutdown().await.unwrap();
    let options = Options { timeout: std::time::Duration::from_millis(300), ..Options::default() };
    let result = Connection::connect(&gone, &options).await;
    assert_eq!(result.unwrap_err(), ClientError::Unreachable);
    // The relay itself is fine.
    connect(relay.address()).await;
    relay.shutdown().await.unwrap();
    Ok(())
}

/// R-1123
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_leaf_is_refused() -> Test {
    let directory = tempfile::tempdir()?;
    let clock = TestClock::now();
    // Certificates are made by the relay's clock, which is a year behind.
    struct Behind(std::sync::Arc<TestClock>);
    impl undertone_relay::clock::Clock for Behind {
        fn unix_seconds(&self) -> u64 {
            self.0.unix_seconds() - 365 * 86_400
        }
    }
    let config = undertone_relay::Config {
        clock: std::sync::Arc::new(Behind(clock)),
        ..config(directory.path())
    };
    let relay = Relay::start(config).await?;
    let result = Connection::connect(relay.address(), &Options::default()).await;
    assert_eq!(result.unwrap_err(), ClientError::Certificate);
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_do_not_share_a_directory() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let second = Relay::start(config(directory.path())).await;
    assert!(second.unwrap_err().to_string().contains("another undertone-relay"));
    relay.shutdown().await.unwrap();
    start(directory.path()).await.kill().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_which_a_part_is_missing_is_not_served() -> Test {
    for missing in ["root.key", "store/relay.db", "store/keys.db", "store"] {
        let directory = tempfile::tempdir()?;
        start(directory.path()).await.shutdown().await.unwrap();
        let path = directory.path().join(missing);
        let elsewhere = directory.path().join("elsewhere");
        std::fs::rename(&path, &elsewhere)?;
        let failure = Relay::start(config(directory.path())).await.unwrap_err().to_string();
        assert!(failure.contains("is missing"), "{missing}: {failure}");
        if path.is_dir() {
            std::fs::remove_dir(&path)?;
        }
        std::fs::rename(&elsewhere, &path)?;
        start(directory.path()).await.shutdown().await.unwrap();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_fails_leaves_the_token_to_the_next() -> Test {
    let directory = tempfile::tempdir()?;
    // An address that this machine does not have (RFC 5737), then a host that is none.
    let listen = "192.0.2.1:0".parse()?;
    let elsewhere = undertone_relay::Config { listen, ..config(directory.path()) };
    assert!(Relay::start(elsewhere).await.is_err());
    let host = Some("not a host".to_owned());
    let nowhere = undertone_relay::Config { host, ..config(directory.path()) };
    assert!(Relay::start(nowhere).await.is_err());
    let relay = start(directory.path()).await;
    assert!(relay.join_address().is_some());
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiry_has_a_floor_of_its_own() -> Test {
    let directory = tempfile::tempdir()?;
    let clock = TestClock::now();
    let config = undertone_relay::Config { clock: clock.clone(), ..config(directory.path()) };
    let relay = Relay::start(config).await?;
    let alice = mailbox(1);
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    connection.deliver(&capability(10), envelope(0)).await?;
    connection.deliver(&capability(10), envelope(1)).await?;
    clock.pass_days(20);
    connection.deliver(&capability(10), envelope(2)).await?;
    clock.pass_days(13);
    // The maintenance clock has 33 days to catch up, two at a time.
    for _ in 0..17 {
        relay.maintain().await;
    }
    let state = state(&connection, &alice).await.unwrap();
    assert_eq!((state.acknowledged.get(), state.expired.get(), state.head.get()), (0, 2, 3));
    assert_eq!(state.bytes, 1024);
    let mut pushes = connection.pushes().unwrap();
    connection.mailboxes(subscribe(&alice, 5), &[&alice]).await?;
    assert_eq!(next_envelope(&mut pushes, &alice).await, (3, 2));
    relay.shutdown().await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_the_operator_accepts_removes_at_once_what_has_expired() -> Test {
    let directory = tempfile::tempdir()?;
    let clock = TestClock::now();
    let config = undertone_relay::Config { clock: clock.clone(), ..config(directory.path()) };
    let relay = Relay::start(config.clone()).await?;
    let (token, alice) = (token(&relay), mailbox(1));
    let connection = connect(relay.address()).await;
    connection.owner(create(&alice, &token, &[10]), &[&alice]).await?;
    connection.deliver(&capability(10), envelope(0)).await?;
    relay.shutdown().await.unwrap();
    // The certificate must be good by the client's clock, which stays where it is.
    let elsewhere = tempfile::tempdir()?;
    let root_key = elsewhere.path().join("root.key");
    let now = undertone_relay::clock::Clock::unix_seconds(&*clock);
    undertone_relay::operator::root::export(directory.path(), &root_key, Some(300), now)?;
    // Off for long, or a clock that was set wrong: nobody knows, and nothing goes.
    clock.pass_days(40);
    let relay = Relay::start(config.clone()).await?;
    relay.maintain().await;
    let kept = state(&connect(relay.address()).await, &alice).await.unwrap();
    assert_eq!((kept.expired.get(), kept.head.get()), (0, 1));
    relay.shutdown().await.unwrap();
    let relay = Relay::start(undertone_relay::Config { accept_clock: true, ..config }).await?;
    let connection = connect(relay.address()).await;
    let gone = async {
        while state(&connection, &alice).await.unwrap().expired.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await?;
    relay.shutdown().await.unwrap();
    let log = undertone_relay::operator::audit_log(directory.path())?;
    assert!(log.iter().any(|entry| entry.action == "accept clock"));
    Ok(())
}

/// Many requests on one connection at once: each is answered, each envelope comes once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_in_flight_are_all_answered() -> Test {
    const ENVELOPES: u32 = 4096;
    const IN_FLIGHT: u32 = 256;
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let alice = mailbox(1);
    let (sender, owner) = (connect(relay.address()).await, connect(relay.address()).await);
    owner.owner(create(&alice, &token(&relay), &[10]), &[&alice]).await?;
    let mut senders = tokio::task::JoinSet::new();
    for first in 0..IN_FLIGHT {
        let sender = sender.clone();
        senders.spawn(async move {
            for number in (first..ENVELOPES).step_by(IN_FLIGHT as usize) {
                sender.deliver(&capability(10), envelope(number)).await?;
            }
            Ok::<_, ClientError>(())
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    let mut pushes = owner.pushes().unwrap();
    let state0 = owner.mailboxes(subscribe(&alice, 512), &[&alice]).await?[0].unwrap();
    assert_eq!(state0.head.get(), u64::from(ENVELOPES));
    let mut seen = std::collections::BTreeSet::new();
    for expected in 1..=u64::from(ENVELOPES) {
        let (seq, number) = next_envelope(&mut pushes, &alice).await;
        assert_eq!(seq, expected);
        assert!(seen.insert(number), "{number} came twice");
        if seq % 256 == 0 {
            owner.acknowledge(ack(&alice, &state0, seq)).await?;
        }
    }
    let after = state(&owner, &alice).await.unwrap();
    assert_eq!((after.acknowledged.get(), after.bytes), (u64::from(ENVELOPES), 0));
    relay.shutdown().await.unwrap();
    Ok(())
}
