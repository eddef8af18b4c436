//! Published vectors (Wycheproof), through the wrappers that the protocol
//! uses, and ML-KEM against a second implementation.

use std::println;
use std::vec::Vec;

use rand_core::Rng;
use wycheproof::TestResult;

use super::dh::{DhPublic, DhSecret};
use super::kem::{KemSecret, KemSeed, mlkem768, mlkem1024};
use super::sign::SignPublic;
use super::{aead, kdf};
use crate::testing::TestRng;

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

#[test]
fn x25519() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut done, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Some(secret), Some(public)) = (array(&test.private_key), array(&test.public_key))
        else {
            assert_eq!(test.result, TestResult::Invalid);
            continue;
        };
        let secret = DhSecret::from_array(&secret);
        let shared =
            DhPublic::from_bytes(&public).ok().and_then(|public| secret.exchange(&public).ok());
        match shared {
            Some(shared) => {
                assert_eq!(&shared.expose()[..], &test.shared_secret[..], "{}", test.tc_id);
                done += 1;
            }
            // What RFC 7748 leaves open and we refuse.
            None => {
                assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                refused += 1;
            }
        }
    }
    println!("X25519: {done} agree, {refused} refused");
    assert!(done > 400 && refused > 20);
}

#[test]
fn ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut done = 0;
    for group in &set.test_groups {
        let key = array(&group.key.pk).and_then(|bytes| SignPublic::from_bytes(&bytes).ok());
        for test in &group.tests {
            let verified = key.is_some_and(|key| {
                array(&test.sig).is_some_and(|sig| key.verify(&test.msg, &sig).is_ok())
            });
            assert_eq!(verified, test.result == TestResult::Valid, "{}", test.tc_id);
            done += 1;
        }
    }
    println!("Ed25519: {done} tests");
    assert!(done > 100);
}

#[test]
fn hkdf_sha_256() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut done = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // Our wrapper takes salts of one hash length; a shorter one is padded
        // with zeros to the same HMAC key (RFC 2104).
        if test.salt.len() > 32 || test.result != TestResult::Valid {
            continue;
        }
        let mut salt = [0; 32];
        salt[..test.salt.len()].copy_from_slice(&test.salt);
        let mut prk = kdf::Prk::blank();
        kdf::extract(&salt, &test.ikm, &mut prk);
        // A longer output begins with the shorter one.
        let mut out = [0; 255 * 32];
        kdf::expand(prk.expose(), &[&test.info], &mut out);
        assert_eq!(&out[..test.size], &test.okm[..], "{}", test.tc_id);
        done += 1;
    }
    println!("HKDF-SHA-256: {done} tests");
    assert!(done > 50);
}

#[test]
fn aes_256_gcm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut done = 0;
    let groups = set.test_groups.iter().filter(|group| group.key_size == 256);
    for test in groups.flat_map(|group| &group.tests) {
        let (Some(key), Some(nonce), Some(tag)) =
            (array(&test.key), array(&test.nonce), array(&test.tag))
        else {
            continue;
        };
        let mut buffer = test.ct.to_vec();
        let opened = aead::open(&key, &nonce, &test.aad, &mut buffer, &tag);
        if test.result == TestResult::Valid {
            assert_eq!(opened, Ok(()), "{}", test.tc_id);
            assert_eq!(&buffer[..], &test.pt[..]);
            assert_eq!(aead::seal(&key, &nonce, &test.aad, &mut buffer), tag);
            assert_eq!(&buffer[..], &test.ct[..]);
        } else {
            assert_eq!(opened, Err(aead::Forged), "{}", test.tc_id);
            assert_eq!(&buffer[..], &test.ct[..], "untouched");
        }
        done += 1;
    }
    println!("AES-256-GCM: {done} tests");
    assert!(done > 60);
}

macro_rules! kem_tests {
    ($test:ident, $differential:ident, $ours:ident, $name:ident, $theirs:ident, $path:ident) => {
        #[test]
        fn $test() {
            use wycheproof::mlkem::{TestName, TestSet};
            let set = TestSet::load(TestName::$name).unwrap();
            let mut done = 0;
            for test in set.test_groups.iter().flat_map(|group| &group.tests) {
                let seed = test.seed.as_ref().and_then(|seed| array(seed));
                let ct = test.ct.as_ref().and_then(|ct| array(ct));
                let (Some(seed), Some(ct)) = (seed, ct) else {
                    assert_eq!(test.result, TestResult::Invalid, "{}", test.tc_id);
                    continue;
                };
                let seed = KemSeed::from_array(&seed);
                if let Some(key) = &test.encaps_key {
                    assert_eq!(
                        $ours::PrivateKey::of(&seed).encapsulation_key().as_bytes()[..],
                        key[..]
                    );
                }
                let mut secret = KemSecret::blank();
                $ours::PrivateKey::of(&seed).decapsulate(&ct, &mut secret);
                let expected = test.shared_secret.as_ref().unwrap();
                assert_eq!(
                    secret.expose()[..] == expected[..],
                    test.result == TestResult::Valid,
                    "{}",
                    test.tc_id
                );
                done += 1;
            }
            println!("{}: {done} tests", stringify!($name));
            assert!(done > 10);
        }

        /// Keys, ciphertexts, secrets, implicit rejection and the modulus
        /// check of both implementations, on the portable path and on the one
        /// that the library takes on this processor (AVX2, NEON).
        #[test]
        fn $differential() {
            use ml_kem::kem::Decapsulate;
            let mut rng = TestRng::new(77);
            let (mut valid, mut invalid) = (0, 0);
            for round in 0..200 {
                let seed = KemSeed::generate(&mut rng);
                let other = ml_kem::$theirs::DecapsulationKey::from_seed((*seed.expose()).into());
                let ours = $ours::PrivateKey::of(&seed).encapsulation_key();
                let encoded = ml_kem::kem::KeyExport::to_bytes(other.encapsulation_key());
                assert_eq!(ours.as_bytes()[..], encoded[..], "round {round}");
                let portable = libcrux_ml_kem::$path::portable::generate_key_pair(*seed.expose());
                assert_eq!(portable.public_key().as_slice(), ours.as_bytes());

                // Theirs encapsulates, ours and the portable path decapsulate.
                let mut message = [0; 32];
                rng.fill_bytes(&mut message);
                let (ct, expected) =
                    other.encapsulation_key().encapsulate_deterministic(&message.into());
                let mut bytes: [u8; $ours::CIPHERTEXT] = ct.as_slice().try_into().unwrap();
                let mut secret = KemSecret::blank();
                $ours::PrivateKey::of(&seed).decapsulate(&bytes, &mut secret);
                assert_eq!(secret.expose()[..], expected[..]);
                let private = portable.private_key();
                let slow = libcrux_ml_kem::$path::portable::decapsulate(private, &bytes.into());
                assert_eq!(slow[..], expected[..]);
                let public = portable.public_key();
                let (slow_ct, slow) = libcrux_ml_kem::$path::portable::encapsulate(public, message);
                assert_eq!((slow_ct.as_slice(), &slow[..]), (&bytes, &expected[..]));
                let (fast_ct, fast) = libcrux_ml_kem::$path::encapsulate(public, message);
                assert_eq!((fast_ct.as_slice(), fast), (&bytes, slow));

                // Ours encapsulates, theirs decapsulates.
                let ours_ct = ours.encapsulate(&mut rng, &mut secret);
                let theirs = other.decapsulate(&ours_ct.into());
                assert_eq!(secret.expose()[..], theirs[..]);

                // An altered ciphertext: both reject implicitly, alike.
                let at = usize::from(message[0]) % bytes.len();
                bytes[at] ^= 1 << (message[1] % 8);
                $ours::PrivateKey::of(&seed).decapsulate(&bytes, &mut secret);
                assert_eq!(secret.expose()[..], other.decapsulate(&bytes.into())[..]);
                let slow = libcrux_ml_kem::$path::portable::decapsulate(private, &bytes.into());
                assert_eq!(secret.expose()[..], slow[..]);
                assert_ne!(secret.expose()[..], expected[..]);

                // An altered key: both say the same of it.
                let mut key = *ours.as_bytes();
                let at = usize::from(message[2]) * 4;
                key[at] |= message[3];
                key[at + 1] |= message[4];
                let theirs = ml_kem::$theirs::EncapsulationKey::new(&key.into()).is_ok();
                let ours = $ours::EncapsulationKey::from_bytes(&key).is_ok();
                let slow = libcrux_ml_kem::$path::portable::validate_public_key(&key.into());
                assert_eq!((ours, slow), (theirs, theirs), "round {round}");
                if ours { valid += 1 } else { invalid += 1 }
            }
            assert!(valid > 20 && invalid > 20, "{valid} {invalid}");
        }
    };
}

kem_tests!(ml_kem_768, ml_kem_768_differential, mlkem768, MlKem768, ml_kem_768, mlkem768);
kem_tests!(ml_kem_1024, ml_kem_1024_differential, mlkem1024, MlKem1024, ml_kem_1024, mlkem1024);

#[test]
fn ml_kem_key_generation_and_encapsulation_vectors() {
    use wycheproof::mlkem::{TestName, TestSet};
    let mut done = 0;
    for name in [TestName::MlKem768KeyGenSeed, TestName::MlKem1024KeyGenSeed] {
        let set = TestSet::load(name).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let seed = KemSeed::from_array(&array(test.seed.as_ref().unwrap()).unwrap());
            let expected = test.encaps_key.as_ref().unwrap();
            let key: Vec<u8> = if expected.len() == mlkem768::KEY {
                mlkem768::PrivateKey::of(&seed).encapsulation_key().as_bytes().to_vec()
            } else {
                mlkem1024::PrivateKey::of(&seed).encapsulation_key().as_bytes().to_vec()
            };
            assert_eq!(key == expected[..], test.result == TestResult::Valid, "{}", test.tc_id);
            done += 1;
        }
    }
    // Invalid encapsulation keys: the modulus check.
    for name in [TestName::MlKem768Encaps, TestName::MlKem1024Encaps] {
        let set = TestSet::load(name).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let key = test.encaps_key.as_ref().unwrap();
            let accepted = match key.len() {
                mlkem768::KEY => {
                    mlkem768::EncapsulationKey::from_bytes(&array(key).unwrap()).is_ok()
                }
                mlkem1024::KEY => {
                    mlkem1024::EncapsulationKey::from_bytes(&array(key).unwrap()).is_ok()
                }
                _ => false,
            };
            assert_eq!(accepted, test.result == TestResult::Valid, "{}", test.tc_id);
            done += 1;
        }
    }
    println!("ML-KEM keys: {done} tests");
    assert!(done > 50);
}
