//! What was erased is nowhere in the files of the store: its pages are decrypted by hand, all of
//! them, the free ones and the log included.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aes::cipher::{BlockCipherDecrypt, KeyInit};
use aes::{Aes256Dec, Block};
use undertone_relay::{Config, Relay};
use undertone_session::ids::UnixMillis;
use undertone_session::link::LinkKind;

use crate::builder::{NewProfile, Secret};
use crate::client::Client;
use crate::clock::Clock;
use crate::keyslot;

/// SQLCipher's layout: pages of this size, of which the last 80 bytes are a vector of 16 and an
/// HMAC of 64; the first 16 bytes of the first page are a salt.
const PAGE: usize = 4096;
const RESERVED: usize = 80;
const VECTOR: usize = 16;
const SALT: usize = 16;

/// The log: a header, and before each page one of its own.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

fn key() -> Secret {
    Secret::key([7; 32])
}

fn decrypt(cipher: &Aes256Dec, page: &[u8], first: bool) -> Vec<u8> {
    let end = PAGE - RESERVED;
    let mut before: [u8; 16] = page[end..end + VECTOR].try_into().unwrap();
    let mut plain = Vec::with_capacity(end);
    for chunk in page[if first { SALT } else { 0 }..end].chunks_exact(16) {
        let mut block = Block::default();
        block.copy_from_slice(chunk);
        cipher.decrypt_block(&mut block);
        plain.extend(block.iter().zip(before).map(|(byte, mask)| byte ^ mask));
        before = chunk.try_into().unwrap();
    }
    plain
}

/// All pages of the store and its log, decrypted.
fn pages(dir: &Path) -> Vec<Vec<u8>> {
    let slot = keyslot::read(&dir.join("keyslot")).unwrap().unwrap();
    let key = keyslot::open(&slot, &key()).unwrap();
    let cipher = Aes256Dec::new_from_slice(key.as_slice()).unwrap();
    let store = std::fs::read(dir.join("store.db")).unwrap();
    assert_eq!(store.len() % PAGE, 0);
    let mut pages: Vec<_> = store
        .chunks_exact(PAGE)
        .enumerate()
        .map(|(at, page)| decrypt(&cipher, page, at == 0))
        .collect();
    let log = std::fs::read(dir.join("store.db-wal")).unwrap_or_default();
    for frame in log.get(LOG_HEADER..).unwrap_or_default().chunks_exact(FRAME_HEADER + PAGE) {
        let number = u32::from_be_bytes(frame[..4].try_into().unwrap());
        pages.push(decrypt(&cipher, &frame[FRAME_HEADER..], number == 1));
    }
    pages
}

/// How often this stands in the store's files, under the encryption.
fn count(dir: &Path, needle: &[u8]) -> usize {
    let found = |page: &Vec<u8>| page.windows(needle.len()).filter(|part| *part == needle).count();
    pages(dir).iter().map(found).sum()
}

/// A clock that is put forward by hand.
#[derive(Clone)]
struct HandClock(Arc<AtomicU64>);

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst))
    }
}

/// Texts of many lengths, that fill pages and more than pages: the tables split and merge.
fn long(word: &str, n: usize) -> String {
    format!("{word}-{n:03} ").repeat(1 + n * n % 251)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_disappears_is_in_no_page_of_the_store() {
    let temp = tempfile::tempdir().unwrap();
    let mut config = Config::new(temp.path().join("relay"));
    config.listen = "127.0.0.1:0".parse().unwrap();
    let relay = Relay::start(config).await.unwrap();
    let join = relay.join_address().unwrap().to_text().to_string();
    let real = crate::clock::SystemClock.now();
    let clock = HandClock(Arc::new(AtomicU64::new(real.get())));
    let open = |name: &str| {
        let builder = Client::builder(temp.path().join(name)).secret(key());
        let profile = NewProfile { name: name.to_owned(), join: join.parse().unwrap() };
        builder.clock(Arc::new(clock.clone())).create(profile)
    };
    let (ada, bob) = (open("Ada").await.unwrap(), open("Bob").await.unwrap());
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let to_bob = ada.add(&link, None).await.unwrap().id;
    for _ in 0..3 {
        ada.sync().await.unwrap();
        bob.sync().await.unwrap();
    }
    let to_ada = bob.contact("Ada").await.unwrap().id;
    // Messages that stay and messages that go, mixed; some are edited, some taken back.
    for n in 0..120 {
        ada.set_timer(to_bob, if n % 3 == 0 { 0 } else { 60 }).await.unwrap();
        let word = if n % 3 == 0 { "lasting" } else { "canary" };
        ada.send_text(to_bob, &long(word, n)).await.unwrap();
    }
    ada.set_timer(to_bob, 0).await.unwrap();
    for n in 0..20 {
        let id = ada.send_text(to_bob, &long("canary", n)).await.unwrap();
        ada.sync().await.unwrap();
        bob.sync().await.unwrap();
        let seq = ada.message(id).await.unwrap().seq;
        if n % 2 == 0 {
            ada.edit(seq, &long("lasting", n)).await.unwrap();
        } else {
            ada.delete_message(seq).await.unwrap();
        }
    }
    ada.sync().await.unwrap();
    assert_eq!(bob.sync().await.unwrap().parked, 0);
    bob.mark_read(to_ada, None).await.unwrap();
    bob.sync().await.unwrap();
    ada.sync().await.unwrap();
    // The search works: it finds what is there.
    let (at_ada, at_bob) = (temp.path().join("Ada"), temp.path().join("Bob"));
    for dir in [&at_ada, &at_bob] {
        assert!(count(dir, b"canary-") > 1000, "{}", dir.display());
        assert!(count(dir, b"lasting-") > 1000, "{}", dir.display());
    }
    clock.0.fetch_add(61_000, Ordering::SeqCst);
    for client in [&ada, &bob] {
        client.sync().await.unwrap();
    }
    for (client, contact, dir) in [(&ada, to_bob, &at_ada), (&bob, to_ada, &at_bob)] {
        assert_eq!(client.history(contact, None, 999).await.unwrap().len(), 40 + 20);
        assert!(client.search(None, "canary", 9).await.unwrap().is_empty());
        assert_eq!(client.search(None, "lasting-", 999).await.unwrap().len(), 40 + 10);
        assert_eq!(count(dir, b"canary-"), 0, "{}", dir.display());
        assert!(count(dir, b"lasting-") > 1000, "{}", dir.display());
    }
    ada.close().await;
    bob.close().await;
    relay.shutdown().await.unwrap();
    for dir in [&at_ada, &at_bob] {
        assert_eq!(count(dir, b"canary-"), 0, "{}", dir.display());
    }
}
