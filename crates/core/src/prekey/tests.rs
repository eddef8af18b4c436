//! Bundles that no honest device would make, with signatures that verify.

use alloc::vec::Vec;

use super::{Bundle, BundleError, BundleKind, PrekeySecret, generate_prekey};
use crate::bounds::{MAX_ROUTING, SEALED_BUNDLE};
use crate::day::Day;
use crate::identity::DeviceSecret;
use crate::label;
use crate::link::LinkSecret;
use crate::primitives::aead::{self, NONCE, TAG};
use crate::primitives::kem::mlkem1024;
use crate::primitives::sign::SIGNATURE;
use crate::routing::Routing;
use crate::testing::{Person, TODAY, TestRng};

/// Bytes of a bundle in front of its device list's length.
const LIST: usize = 1 + 16 + 1 + 4 + 32 + mlkem1024::KEY;

/// Somebody with a link and a bundle under it.
pub(crate) struct Inviter {
    pub(crate) person: Person,
    pub(crate) link: LinkSecret,
    pub(crate) prekey: PrekeySecret,
    pub(crate) sealed: Vec<u8>,
}

impl Inviter {
    pub(crate) fn new(rng: &mut TestRng) -> Self {
        let (person, link) = (Person::new(rng), LinkSecret::generate(rng));
        let reply = Routing::new(b"mailbox").unwrap();
        let kind = BundleKind::OneTime;
        let (prekey, bundle) = generate_prekey(kind, &person.device, TODAY, &reply, rng);
        let sealed = bundle.seal(&link.card_key(), rng);
        Self { person, link, prekey, sealed }
    }

    /// A copy: what somebody has who is given the link, and more.
    pub(crate) fn again(&self) -> Self {
        let prekey = PrekeySecret::from_bytes(&self.prekey.to_bytes()).unwrap();
        let link = LinkSecret::from_bytes(self.link.as_bytes());
        Self { person: self.person.again(), link, prekey, sealed: self.sealed.clone() }
    }

    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Bundle, BundleError> {
        let fingerprint = self.person.account.public().fingerprint();
        Bundle::open(&self.link.card_key(), sealed, &fingerprint, TODAY)
    }

    /// The bundle after `edit`, signed by `signer` and sealed again.
    pub(crate) fn forge(&self, signer: &DeviceSecret, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
        self.forge_whole(|bundle| {
            let (unsigned, signature) =
                bundle.split_at_mut(SEALED_BUNDLE - NONCE - TAG - SIGNATURE);
            edit(unsigned);
            signature.copy_from_slice(&signer.sign(&[label::BUNDLE, unsigned].concat()));
        })
    }

    /// The bundle after `edit`, sealed again and not signed again.
    fn forge_whole(&self, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let card = self.link.card_key();
        let (nonce, rest) = self.sealed.split_first_chunk::<NONCE>().unwrap();
        let (body, tag) = rest.split_last_chunk::<TAG>().unwrap();
        let mut body = body.to_vec();
        aead::open(card.expose(), nonce, label::CARD_SEAL, &mut body, tag).unwrap();
        edit(&mut body);
        let tag = aead::seal(card.expose(), nonce, label::CARD_SEAL, &mut body);
        [&nonce[..], &body, &tag].concat()
    }

    fn code(&self, edit: impl FnOnce(&mut [u8])) -> Result<(), &'static str> {
        self.open(&self.forge(&self.person.secret, edit)).map(drop).map_err(BundleError::code)
    }
}

#[test]
fn what_is_forged_like_an_honest_bundle_is_accepted() {
    let bob = Inviter::new(&mut TestRng::new(1));
    assert_eq!(bob.forge(&bob.person.secret, |_| ()), bob.sealed);
    assert_eq!(bob.code(|_| ()), Ok(()));
}

#[test]
fn r_352_broken_layouts_of_a_bundle() {
    let bob = Inviter::new(&mut TestRng::new(1));
    for kind in [0, 3, 0xff] {
        assert_eq!(bob.code(|bundle| bundle[0] = kind), Err("R-352"), "kind {kind}");
    }
    // The signing device's index: the list has one device.
    for index in [1, 5, 0xff] {
        assert_eq!(bob.code(|bundle| bundle[17] = index), Err("R-352"), "index {index}");
    }
    let list = bob.person.device.list().as_bytes().len();
    let put = |bundle: &mut [u8], at: usize, len: usize| {
        bundle[at..at + 2].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    };
    // A list and a route that go beyond the bundle.
    assert_eq!(bob.code(|bundle| put(bundle, LIST, 0xffff)), Err("R-352"));
    let route = LIST + 2 + list;
    assert_eq!(bob.code(|bundle| put(bundle, route, 0xffff)), Err("R-352"));
    // A route of the greatest length may hold zeros; one byte more may not be.
    assert_eq!(bob.code(|bundle| put(bundle, route, MAX_ROUTING)), Ok(()));
    assert_eq!(bob.code(|bundle| put(bundle, route, MAX_ROUTING + 1)), Err("R-352"));
    // A route that is cut leaves its end in the padding.
    assert_eq!(bob.code(|bundle| put(bundle, route, 6)), Err("R-352"));
    // The first byte of the padding, and the last.
    let padding = route + 2 + b"mailbox".len();
    assert_eq!(bob.code(|bundle| bundle[padding] = 1), Err("R-352"));
    assert_eq!(bob.code(|bundle| *bundle.last_mut().unwrap() = 0x80), Err("R-352"));
    // The list is read by its own rules.
    assert_eq!(bob.code(|bundle| put(bundle, LIST, list - 1)), Err("R-201"));
}

#[test]
fn r_352_r_359_stored_prekeys() {
    let bob = Inviter::new(&mut TestRng::new(1));
    let stored = bob.prekey.to_bytes();
    assert_eq!(stored.len(), 150);
    let read = |bytes: &[u8]| PrekeySecret::from_bytes(bytes).map_err(BundleError::code);
    assert_eq!(read(&stored).unwrap().to_bytes(), stored);
    for end in 0..stored.len() {
        assert_eq!(read(&stored[..end]).err(), Some("R-352"), "{end}");
    }
    assert_eq!(read(&[&stored[..], &[0]].concat()).err(), Some("R-352"));
    for (at, value, expected) in
        [(0, 0, "R-359"), (0, 2, "R-359"), (0, 0xff, "R-359"), (1, 0, "R-352"), (1, 3, "R-352")]
    {
        let mut altered = stored.to_vec();
        altered[at] = value;
        assert_eq!(read(&altered).err(), Some(expected), "{at} {value}");
    }
    // Another version is reported as such, whatever its length.
    assert_eq!(read(&[2]).err(), Some("R-359"));
}

#[test]
fn r_353_a_bundles_x25519_key() {
    let bob = Inviter::new(&mut TestRng::new(1));
    assert_eq!(bob.code(|bundle| bundle[22..54].fill(0xff)), Err("R-353"));
    // 2^255 - 19 itself, the least that is not canonical; one less is.
    let mut key = [0xff; 32];
    (key[0], key[31]) = (0xed, 0x7f);
    assert_eq!(bob.code(|bundle| bundle[22..54].copy_from_slice(&key)), Err("R-353"));
    key[0] = 0xec;
    assert_eq!(bob.code(|bundle| bundle[22..54].copy_from_slice(&key)), Ok(()));
}

#[test]
fn r_354_a_bundles_ml_kem_key() {
    let bob = Inviter::new(&mut TestRng::new(1));
    // The first coefficient becomes 0xfff.
    let edit = |bundle: &mut [u8]| {
        bundle[54] = 0xff;
        bundle[55] |= 0x0f;
    };
    assert_eq!(bob.code(edit), Err("R-354"));
}

#[test]
fn r_355_a_bundles_signature() {
    let rng = &mut TestRng::new(1);
    let bob = Inviter::new(rng);
    let code = |sealed: &[u8]| bob.open(sealed).map(drop).map_err(BundleError::code);
    // Signed by a device that is not the one it names.
    let other = DeviceSecret::generate(rng);
    assert_eq!(code(&bob.forge(&other, |_| ())), Err("R-355"));
    // The account's own key signs no bundles.
    let account = bob.person.account.to_bytes();
    let mut keys = [0; 64];
    keys[..32].copy_from_slice(&*account);
    assert_eq!(code(&bob.forge(&DeviceSecret::from_bytes(&keys), |_| ())), Err("R-355"));
    // Fields that are fit to stand there and were not signed: id, expiry,
    // X25519 key, route; and the signature.
    let route = LIST + 2 + bob.person.device.list().as_bytes().len() + 2;
    for at in [1, 21, 22, route, SEALED_BUNDLE - NONCE - TAG - SIGNATURE] {
        assert_eq!(code(&bob.forge_whole(|bundle| bundle[at] ^= 1)), Err("R-355"), "{at}");
    }
}

#[test]
fn r_357_before_r_356_and_r_358() {
    let rng = &mut TestRng::new(1);
    let (bob, other) = (Inviter::new(rng), Person::new(rng));
    let (ours, theirs) =
        (bob.person.account.public().fingerprint(), other.account.public().fingerprint());
    let open = |expected, today| {
        Bundle::open(&bob.link.card_key(), &bob.sealed, expected, today)
            .map(drop)
            .map_err(BundleError::code)
    };
    let late = TODAY.plus(31);
    assert_eq!(open(&ours, late), Err("R-356"));
    assert_eq!(open(&theirs, late), Err("R-357"));
    let early = Day::new(TODAY.get() - 3);
    assert_eq!(open(&ours, early), Err("R-358"));
    assert_eq!(open(&theirs, early), Err("R-357"));
}
