//! Profiles: made whole or not at all, opened by one process with the right secret, never
//! overwritten. No network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use undertone::{Client, Error, JoinAddress, NewProfile, RelayAddress, Secret};
use undertone_wire::{AdmissionToken, RootFingerprint};

fn join() -> JoinAddress {
    let root = RootFingerprint::from_bytes([7; 32]);
    let relay = RelayAddress::new("127.0.0.1", 9, root).unwrap();
    JoinAddress::new(relay, AdmissionToken::from_bytes([9; 32]))
}

fn profile(name: &str) -> NewProfile {
    NewProfile { name: name.to_owned(), join: join() }
}

async fn create(dir: &Path, key: u8) -> Result<Client, Error> {
    let builder = Client::builder(dir).secret(Secret::key([key; 32])).offline();
    builder.create(profile("Ada")).await
}

async fn open(dir: &Path, key: u8) -> Result<Client, Error> {
    Client::builder(dir).secret(Secret::key([key; 32])).offline().open().await
}

/// Every file of a directory with its bytes.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_profile_is_the_same_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("deep").join("profile");
    let client = create(&dir, 1).await.unwrap();
    let me = client.me();
    assert_eq!(me.name, "Ada");
    assert!(client.contacts().await.unwrap().is_empty());
    client.close().await;
    let client = open(&dir, 1).await.unwrap();
    assert_eq!(client.me(), me);
    client.close().await;
}

#[tokio::test]
async fn a_passphrase_opens_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let with = |text: &str| Client::builder(dir.path()).secret(Secret::passphrase(text)).offline();
    with("correct horse").create(profile("Ada")).await.unwrap().close().await;
    let before = contents(dir.path());
    let wrong = with("correct horsf").open().await.unwrap_err();
    assert_eq!(wrong.code(), "wrong-passphrase");
    let wrong = open(dir.path(), 1).await.unwrap_err();
    assert_eq!(wrong.code(), "wrong-passphrase");
    assert_eq!(contents(dir.path()), before);
    with("correct horse").open().await.unwrap().close().await;
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = create(dir.path(), 1).await.unwrap();
    assert_eq!(open(dir.path(), 1).await.unwrap_err().code(), "store-locked");
    first.clone().close().await;
    // Another handle to the closed client.
    assert_eq!(first.contacts().await.unwrap_err().code(), "closed");
    open(dir.path(), 1).await.unwrap().close().await;
}

#[tokio::test]
async fn what_is_there_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), 1).await.unwrap().close().await;
    let before = contents(dir.path());
    assert_eq!(create(dir.path(), 2).await.unwrap_err().code(), "profile-exists");
    assert_eq!(contents(dir.path()), before);

    // A store whose key slot is gone: it can't be opened, and must not be replaced.
    fs::rename(dir.path().join("keyslot"), dir.path().join("elsewhere")).unwrap();
    assert_eq!(open(dir.path(), 1).await.unwrap_err().code(), "keyslot-unreadable");
    assert_eq!(create(dir.path(), 2).await.unwrap_err().code(), "keyslot-unreadable");
    fs::rename(dir.path().join("elsewhere"), dir.path().join("keyslot")).unwrap();
    assert_eq!(contents(dir.path()), before);
    open(dir.path(), 1).await.unwrap().close().await;
}

#[tokio::test]
async fn absent_unreadable_and_damaged_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    assert_eq!(open(&none, 1).await.unwrap_err().code(), "profile-absent");
    assert!(!none.exists());

    create(dir.path(), 1).await.unwrap().close().await;
    let slot = fs::read(dir.path().join("keyslot")).unwrap();
    fs::write(dir.path().join("keyslot"), &slot[..50]).unwrap();
    assert_eq!(open(dir.path(), 1).await.unwrap_err().code(), "keyslot-unreadable");
    fs::write(dir.path().join("keyslot"), &slot).unwrap();

    let store = dir.path().join("store.db");
    let good = fs::read(&store).unwrap();
    let mut damaged = good.clone();
    damaged[100] ^= 1;
    fs::write(&store, &damaged).unwrap();
    assert_eq!(open(dir.path(), 1).await.unwrap_err().code(), "store-corrupt");
    assert_eq!(fs::read(&store).unwrap(), damaged);
    fs::remove_file(&store).unwrap();
    assert_eq!(open(dir.path(), 1).await.unwrap_err().code(), "store-corrupt");
    assert!(!store.exists());
    fs::write(&store, &good).unwrap();
    open(dir.path(), 1).await.unwrap().close().await;
}

#[tokio::test]
async fn a_name_that_cannot_be_used_leaves_no_profile_behind() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("profile");
    let builder = Client::builder(&dir).secret(Secret::key([1; 32])).offline();
    let refused = builder.create(profile("a\u{7}b")).await.unwrap_err();
    assert_eq!(refused.code(), "name-invalid");
    assert!(!dir.exists());
    create(&dir, 1).await.unwrap().close().await;
}

#[tokio::test]
async fn offline_means_offline() {
    let dir = tempfile::tempdir().unwrap();
    let client = create(dir.path(), 1).await.unwrap();
    assert_eq!(client.sync().await.unwrap_err().code(), "offline");
    assert_eq!(client.start().unwrap_err().code(), "offline");
    let invite = client.invite(undertone::LinkKind::SingleUse, None).await;
    assert_eq!(invite.unwrap_err().code(), "offline");
    client.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_profile() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("profile");
    create(&dir, 1).await.unwrap().close().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("keyslot")), 0o600);
}

/// A key slot that is missing beside a store is damage; there is a profile, and it is left alone.
#[tokio::test]
async fn a_missing_key_slot_is_not_a_missing_profile() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path(), 1).await.unwrap_err().code(), "profile-absent");
    create(dir.path(), 1).await.unwrap().close().await;
    let slot = fs::read(dir.path().join("keyslot")).unwrap();
    fs::remove_file(dir.path().join("keyslot")).unwrap();
    let before = contents(dir.path());
    assert_eq!(open(dir.path(), 1).await.unwrap_err().code(), "keyslot-unreadable");
    assert_eq!(create(dir.path(), 1).await.unwrap_err().code(), "keyslot-unreadable");
    assert_eq!(contents(dir.path()), before);
    fs::write(dir.path().join("keyslot"), slot).unwrap();
    open(dir.path(), 1).await.unwrap().close().await;
}

#[tokio::test]
async fn an_empty_passphrase_is_refused_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("profile");
    for builder in [Client::builder(&dir), Client::builder(&dir).secret(Secret::passphrase(""))] {
        let refused = builder.offline().create(profile("Ada")).await.unwrap_err();
        assert_eq!(refused.code(), "passphrase-empty");
        assert!(!dir.exists());
    }
    create(&dir, 1).await.unwrap().close().await;
    assert_eq!(Client::builder(&dir).open().await.unwrap_err().code(), "passphrase-empty");
}

/// Also in a directory that others can look into.
#[cfg(unix)]
#[tokio::test]
async fn its_owner_alone_can_read_a_profile() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Open, so that the store's log is there, too.
    let client = create(dir.path(), 1).await.unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
    client.close().await;
}
