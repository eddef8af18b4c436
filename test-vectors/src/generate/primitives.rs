//! Family `primitives`.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::{EdwardsPoint, Scalar};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use super::{Files, about};
use crate::prim::{self, Kem};
use crate::stream::Stream;
use crate::value::{hex, unhex};

const FAMILY: &str = "primitives";

pub(super) fn make(files: &mut Files) {
    x25519(files);
    ed25519(files);
    for (number, kem) in [(768, Kem::Kem768), (1024, Kem::Kem1024)] {
        ml_kem(files, number, kem);
    }
    for (name, length, rule) in [
        ("route-longest", 320, None),
        ("route-empty", 0, None),
        ("route-over-the-bound", 321, Some("R-110")),
    ] {
        let input = json!({ "route": { "repeat": "72", "count": length } });
        let about = about(FAMILY, name, &["01 §6"], "The length of a route is bounded.");
        match rule {
            None => drop(files.valid(&about, "route", input)),
            Some(rule) => files.refused(&about, rule, "make", "route", input),
        }
    }
    let input = json!({ "seed": hex(&[7; 32]), "length": 100 });
    let text = "The stream of bytes that other vectors use, over more than three blocks.";
    files.valid(&about(FAMILY, "stream", &["test-vectors/README.md"], text), "stream", input);
}

/// A number near 2^255 - 19, little-endian.
fn near_prime(offset: i32) -> [u8; 32] {
    let mut out = [0xff; 32];
    out[31] = 0x7f;
    out[0] = u8::try_from(0xed + offset).unwrap();
    out
}

fn x25519(files: &mut Files) {
    let spec = &["01 §2.1"];
    let mut stream = Stream::named("x25519");
    let (one, other): ([u8; 32], [u8; 32]) = (stream.array(), stream.array());
    let honest = prim::x25519_public(&other);
    let mut high = honest;
    high[31] |= 0x80;
    for (name, key, text) in [
        ("x25519-key-honest", honest, "A public key as it is made."),
        (
            "x25519-key-largest",
            near_prime(-1),
            "The largest number below the prime: canonical, though of low order.",
        ),
        ("x25519-key-zero", [0; 32], "Zero is canonical: only an exchange with it is refused."),
    ] {
        files.valid(&about(FAMILY, name, spec, text), "x25519-key", json!({ "public": hex(&key) }));
    }
    for (name, key, text) in [
        ("x25519-key-prime", near_prime(0), "The prime itself, a second encoding of zero."),
        ("x25519-key-prime-plus-one", near_prime(1), "A second encoding of one."),
        (
            "x25519-key-all-ones-below-the-top-bit",
            near_prime(18),
            "2^255 - 1, a second encoding of 18.",
        ),
        (
            "x25519-key-top-bit",
            high,
            "An honest key with its highest bit set, which RFC 7748 would mask.",
        ),
        ("x25519-key-all-ones", [0xff; 32], "All bits set."),
    ] {
        let input = json!({ "public": hex(&key) });
        files.refused(&about(FAMILY, name, spec, text), "R-101", "read", "x25519-key", input);
    }
    let exchange = |key: &[u8]| json!({ "private": hex(&one), "public": hex(key) });
    let text = "An exchange with a private key that is clamped when it is used.";
    files.valid(
        &about(FAMILY, "x25519-exchange", spec, text),
        "x25519-exchange",
        exchange(&honest),
    );
    let mut twist = [0; 32];
    twist[0] = 2;
    let text = "A public key on the twist, which RFC 7748 takes like any other.";
    files.valid(
        &about(FAMILY, "x25519-exchange-twist", spec, text),
        "x25519-exchange",
        exchange(&twist),
    );
    let mut unit = [0; 32];
    unit[0] = 1;
    let eighth = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    let other_eighth = "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157";
    for (name, key) in [
        ("x25519-exchange-zero", vec![0; 32]),
        ("x25519-exchange-one", unit.to_vec()),
        ("x25519-exchange-minus-one", near_prime(-1).to_vec()),
        ("x25519-exchange-order-8", unhex(eighth).unwrap()),
        ("x25519-exchange-order-8-other", unhex(other_eighth).unwrap()),
    ] {
        let text = "A public key of low order: the result is all zero.";
        let about = about(FAMILY, name, spec, text);
        files.refused(&about, "R-102", "exchange", "x25519-exchange", exchange(&key));
    }
}

/// Public keys that are no canonical encoding of a point, or of small order.
pub(super) fn bad_signing_keys() -> Vec<(&'static str, [u8; 32], &'static str)> {
    let mut identity_with_sign = [0; 32];
    (identity_with_sign[0], identity_with_sign[31]) = (1, 0x80);
    let nowhere = (2u8..).map(|y| {
        let mut key = [0; 32];
        key[0] = y;
        key
    });
    let no_point =
        |key: &[u8; 32]| curve25519_dalek::edwards::CompressedEdwardsY(*key).decompress().is_none();
    let point = |index: usize| EIGHT_TORSION[index].compress().to_bytes();
    vec![
        ("no-point", nowhere.into_iter().find(no_point).unwrap(), "No point has this y."),
        ("identity", point(0), "The neutral point, under which many signatures fit."),
        ("order-2", point(4), "The point of order 2."),
        ("order-4", point(2), "A point of order 4."),
        ("order-8", point(1), "A point of order 8."),
        ("second-encoding", near_prime(1), "y = p + 1, a second encoding of the neutral point."),
        ("negative-zero", identity_with_sign, "x = 0 with the sign bit set, a second encoding."),
    ]
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn joined(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(r);
    out[32..].copy_from_slice(s);
    out
}

/// A key with a part of order 8, a message, and a signature that fits without
/// the cofactor, or (`only_with_cofactor`) with it alone.
fn mixed(only_with_cofactor: bool) -> ([u8; 32], Vec<u8>, [u8; 64]) {
    let (a, r) = (Scalar::from(7_777_777u64), Scalar::from(1_234_567u64));
    let key = (ED25519_BASEPOINT_POINT * a + EIGHT_TORSION[1]).compress().to_bytes();
    let encoded = (ED25519_BASEPOINT_POINT * r).compress().to_bytes();
    (0u32..)
        .map(|number| {
            let message = format!("message {number}").into_bytes();
            let k = challenge(&encoded, &key, &message);
            (message, k)
        })
        .find(|(_, k)| (k.to_bytes()[0] % 8 != 0) == only_with_cofactor)
        .map(|(message, k)| (key, message, joined(&encoded, &(r + k * a).to_bytes())))
        .unwrap()
}

/// Signatures over `message` that a lax verifier accepts.
pub(super) fn bad_signatures(
    secret: &[u8; 32],
    message: &[u8],
) -> Vec<(&'static str, [u8; 64], &'static str)> {
    let key = prim::ed25519_public(secret);
    let honest = prim::sign(secret, message);
    let hash: [u8; 64] = Sha512::digest(secret).into();
    let mut a: [u8; 32] = hash[..32].try_into().unwrap();
    a[0] &= 248;
    a[31] = a[31] & 127 | 64;
    let a = Scalar::from_bytes_mod_order(a);
    // R is the neutral point: S·B = k·A holds.
    let small = |r: [u8; 32]| joined(&r, &(challenge(&r, &key, message) * a).to_bytes());
    let identity = EIGHT_TORSION[0].compress().to_bytes();
    let mut flipped = honest;
    flipped[3] ^= 1;
    // S + L, where L is the group's order.
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut carry = 0u16;
    let mut large = honest;
    for (byte, add) in large[32..].iter_mut().zip(unhex(order).unwrap()) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    let other = prim::sign(secret, b"another message");
    vec![
        ("flipped-bit", flipped, "A bit of R is changed."),
        ("other-message", other, "A signature over another message."),
        ("s-not-reduced", large, "S is larger by the group's order."),
        ("r-identity", small(identity), "R is the neutral point; the equation holds."),
        ("r-second-encoding", small(near_prime(1)), "R is a second encoding of the neutral point."),
        ("all-zero", [0; 64], "R and S are zero."),
    ]
}

fn ed25519(files: &mut Files) {
    let spec = &["01 §2.2"];
    let mut stream = Stream::named("ed25519");
    let secret: [u8; 32] = stream.array();
    let key = prim::ed25519_public(&secret);
    files.valid(
        &about(FAMILY, "ed25519-key-honest", spec, "A public key as it is made."),
        "ed25519-key",
        json!({ "public": hex(&key) }),
    );
    for (name, key, text) in bad_signing_keys() {
        let name = format!("ed25519-key-{name}");
        let input = json!({ "public": hex(&key) });
        files.refused(&about(FAMILY, &name, spec, text), "R-104", "read", "ed25519-key", input);
    }
    let message = b"what is signed";
    let input = |key: &[u8], message: &[u8], signature: &[u8]| -> Value {
        json!({ "public": hex(key), "message": hex(message), "signature": hex(signature) })
    };
    files.valid(
        &about(FAMILY, "ed25519-verify-honest", spec, "A signature as it is made."),
        "ed25519-verify",
        input(&key, message, &prim::sign(&secret, message)),
    );
    for (name, signature, text) in bad_signatures(&secret, message) {
        let name = format!("ed25519-verify-{name}");
        let input = input(&key, message, &signature);
        let about = about(FAMILY, &name, spec, text);
        files.refused(&about, "R-105", "verify", "ed25519-verify", input);
    }
    let (mixed_key, text, signature) = mixed(false);
    let says = "A key with a part of order 8 is no key of small order, and the equation holds without the cofactor.";
    files.valid(
        &about(FAMILY, "ed25519-verify-mixed-key", spec, says),
        "ed25519-verify",
        input(&mixed_key, &text, &signature),
    );
    let (mixed_key, text, signature) = mixed(true);
    let says = "The equation holds only when it is multiplied by the cofactor.";
    files.refused(
        &about(FAMILY, "ed25519-verify-only-with-cofactor", spec, says),
        "R-105",
        "verify",
        "ed25519-verify",
        input(&mixed_key, &text, &signature),
    );
    let weak: EdwardsPoint = EIGHT_TORSION[1];
    let says = "The key is looked at before the signature.";
    files.refused(
        &about(FAMILY, "ed25519-verify-small-order-key", spec, says),
        "R-104",
        "read",
        "ed25519-verify",
        input(&weak.compress().to_bytes(), message, &[0; 64]),
    );
}

/// Sets a 12-bit coefficient of an encoded key.
pub(super) fn set_coefficient(ek: &mut [u8], index: usize, value: u16) {
    let at = index / 2 * 3;
    let [low, high] = value.to_le_bytes();
    if index.is_multiple_of(2) {
        ek[at] = low;
        ek[at + 1] = ek[at + 1] & 0xf0 | high;
    } else {
        ek[at + 1] = ek[at + 1] & 0x0f | low << 4;
        ek[at + 2] = low >> 4 | high << 4;
    }
}

fn ml_kem(files: &mut Files, set: u32, kem: Kem) {
    let spec = &["01 §2.3"];
    let mut stream = Stream::named(&format!("ml-kem-{set}"));
    let name = |text: &str| format!("ml-kem-{set}-{text}");
    let seed: [u8; 64] = stream.array();
    let message: [u8; 32] = stream.array();
    let ek = kem.generate(&seed);
    let (ciphertext, _) = kem.encapsulate(&ek, &message).unwrap();
    let text = "A key pair from its seed.";
    let input = json!({ "set": set, "seed": hex(&seed) });
    files.valid(&about(FAMILY, &name("generate"), spec, text), "ml-kem-generate", input);
    let text = "An encapsulation with a given message.";
    let input = json!({ "set": set, "ek": hex(&ek), "message": hex(&message) });
    files.valid(&about(FAMILY, &name("encapsulate"), spec, text), "ml-kem-encapsulate", input);
    let text = "The ciphertext that was made for the key.";
    let input = json!({ "set": set, "seed": hex(&seed), "ciphertext": hex(&ciphertext) });
    files.valid(&about(FAMILY, &name("decapsulate"), spec, text), "ml-kem-decapsulate", input);
    let mut altered = ciphertext;
    altered[100] ^= 1;
    let text = "A ciphertext that was altered gives a secret that nobody shares, and no error.";
    let input = json!({ "set": set, "seed": hex(&seed), "ciphertext": hex(&altered) });
    files.valid(
        &about(FAMILY, &name("implicit-rejection"), spec, text),
        "ml-kem-decapsulate",
        input,
    );
    let last = (ek.len() - 32) / 3 * 2 - 1;
    for (label, index, value, text) in [
        ("key-first-coefficient-3329", 0, 3329, "The first coefficient is the modulus."),
        ("key-last-coefficient-3329", last, 3329, "The last coefficient is the modulus."),
        ("key-coefficient-4095", 301, 4095, "A coefficient has all its bits set."),
    ] {
        let mut ek = ek.clone();
        set_coefficient(&mut ek, index, value);
        let input = json!({ "set": set, "ek": hex(&ek) });
        let name = name(label);
        files.refused(&about(FAMILY, &name, spec, text), "R-103", "read", "ml-kem-key", input);
    }
    let mut edge = ek;
    set_coefficient(&mut edge, last, 3328);
    let text = "The last coefficient is the largest that is allowed.";
    let input = json!({ "set": set, "ek": hex(&edge) });
    files.valid(
        &about(FAMILY, &name("key-last-coefficient-3328"), spec, text),
        "ml-kem-key",
        input,
    );
}
