//! What a relay may show a client as its certificates, and what the client refuses (chapter 11,
//! Transport): a server that shows each of the wrong ones, and a client that pins one root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use undertone_wire::RootFingerprint;
use undertone_wire::transport::{
    LEAF_NAME, Lost, TcpTls, accept_tcp, connect_tcp, root_fingerprint,
};

type Test = Result<(), Box<dyn std::error::Error>>;

const DAY: Duration = Duration::from_secs(86_400);

/// Shows always the same.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

fn root_parameters() -> CertificateParams {
    let mut root = CertificateParams::default();
    root.distinguished_name = DistinguishedName::new();
    root.distinguished_name.push(DnType::CommonName, "undertone relay root");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    root
}

fn certificate_of(root: &KeyPair) -> CertificateDer<'static> {
    root_parameters().self_signed(root).unwrap().der().clone()
}

/// A leaf for the key, signed by the root, for a name and from one time to another.
fn leaf(
    root: &KeyPair,
    key: &KeyPair,
    name: &str,
    (from, to): (SystemTime, SystemTime),
) -> CertificateDer<'static> {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (parameters.not_before, parameters.not_after) = (from.into(), to.into());
    let issuer = Issuer::new(root_parameters(), root);
    parameters.signed_by(key, &issuer).unwrap().der().clone()
}

fn shown(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> CertifiedKey {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::new(chain, any_supported_type(&key).unwrap())
}

/// How a client that pins the root fares with a server that shows this.
async fn meet(shown: CertifiedKey, pin: RootFingerprint) -> Result<(), Lost> {
    let tls = TcpTls::new(Arc::new(Fixed(Arc::new(shown)))).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let serve = async {
        let (connection, peer) = listener.accept().await.unwrap();
        // Kept until the client has judged.
        accept_tcp(&tls, connection, peer).await
    };
    let (met, _served) = tokio::join!(connect_tcp(address, pin, None), serve);
    met.map(|_| ())
}

#[tokio::test]
async fn r_1120_to_r_1124_each_wrong_certificate_is_refused() -> Test {
    let (root, stranger, ours, theirs) = (key(), key(), key(), key());
    let pin = root_fingerprint(root.public_key_raw().try_into()?);
    let now = SystemTime::now();
    let good = || leaf(&root, &ours, LEAF_NAME, (now - DAY, now + DAY));
    let own = || certificate_of(&root);
    assert_eq!(meet(shown(vec![good(), own()], &ours), pin).await, Ok(()));

    let refused = [
        ("R-1120 the leaf alone", vec![good()], &ours, Lost::Certificate),
        ("R-1120 three", vec![good(), own(), own()], &ours, Lost::Certificate),
        ("R-1121 another root", vec![good(), certificate_of(&stranger)], &ours, Lost::PinMismatch),
        ("R-1121 the leaf as root", vec![good(), good()], &ours, Lost::PinMismatch),
        (
            "R-1122 another's signature",
            vec![leaf(&stranger, &ours, LEAF_NAME, (now - DAY, now + DAY)), own()],
            &ours,
            Lost::Certificate,
        ),
        (
            "R-1123 over",
            vec![leaf(&root, &ours, LEAF_NAME, (now - DAY - DAY, now - DAY)), own()],
            &ours,
            Lost::Certificate,
        ),
        (
            "R-1123 not yet",
            vec![leaf(&root, &ours, LEAF_NAME, (now + DAY, now + DAY + DAY)), own()],
            &ours,
            Lost::Certificate,
        ),
        (
            "R-1123 another name",
            vec![leaf(&root, &ours, "relay.example.org", (now - DAY, now + DAY)), own()],
            &ours,
            Lost::Certificate,
        ),
        ("R-1124 another key", vec![good(), own()], &theirs, Lost::Certificate),
    ];
    for (what, chain, key, lost) in refused {
        assert_eq!(meet(shown(chain, key), pin).await, Err(lost), "{what}");
    }

    // A root key of another kind has no fingerprint that could be pinned.
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let chain =
        vec![leaf(&other, &ours, LEAF_NAME, (now - DAY, now + DAY)), certificate_of(&other)];
    assert_eq!(meet(shown(chain, &ours), pin).await, Err(Lost::PinMismatch), "R-1121 not Ed25519");
    Ok(())
}
