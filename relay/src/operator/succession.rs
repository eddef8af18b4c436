//! One root key after another, without breaking a link.
//!
//! Addresses hold the fingerprint of the root key that there was when they were made. A root key that is
//! given up first signs a certificate for the next one. The relay shows that certificate, and the old
//! root's own, behind its leaf and its root: whoever pins the old root finds it there, and follows the
//! chain from it to the leaf; whoever pins the new one looks no further. The old key itself is not needed
//! any more.
//!
//! What this does not do is take power from the old key. Whoever has it can pose as the relay to all whose
//! addresses name it: it must be destroyed, or kept as well as the new one.
//!
//! `roots.pem` holds, for each root that was given up and the latest first, the certificate that it signed
//! for its successor, and its own. There is nothing secret in it.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use undertone_wire::RootFingerprint;
use undertone_wire::limits::MAX_ROOTS;

use super::identity::fingerprint_of;
use super::{Layout, read_if_there};
use crate::store::StoreFailure;

/// A root that was given up: what it signed for its successor, and its own certificate.
#[derive(Clone, Debug)]
pub(super) struct Former {
    pub(super) handover: CertificateDer<'static>,
    pub(super) own: CertificateDer<'static>,
}

impl Former {
    /// What addresses of its time hold; `None` if its key is not Ed25519.
    pub(super) fn fingerprint(&self) -> Option<RootFingerprint> {
        fingerprint_of(&self.own)
    }
}

/// The roots that were given up, the latest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Succession(pub(super) Vec<Former>);

fn damaged<E>(_: E) -> StoreFailure {
    StoreFailure::Damaged("roots.pem")
}

impl Succession {
    /// Reads what is in a relay's directory.
    pub(super) fn read(layout: &Layout) -> Result<Self, StoreFailure> {
        match read_if_there(&layout.roots())? {
            Some(pem) => Self::parse(&pem),
            None => Ok(Self::default()),
        }
    }

    /// From PEM.
    pub(super) fn parse(pem: &[u8]) -> Result<Self, StoreFailure> {
        let all: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(damaged)?;
        Self::from_certificates(all).ok_or(StoreFailure::Damaged("roots.pem"))
    }

    /// From pairs of certificates; `None` if they are no pairs, too many, or not of Ed25519 keys.
    pub(super) fn from_certificates(all: Vec<CertificateDer<'static>>) -> Option<Self> {
        let mut formers = Vec::new();
        let mut rest = all.into_iter();
        while let Some(handover) = rest.next() {
            let former = Former { handover, own: rest.next()? };
            former.fingerprint()?;
            formers.push(former);
        }
        (formers.len() < MAX_ROOTS).then_some(Self(formers))
    }

    /// What follows the certificates of a leaf and the root that signed it. A key that is being given up
    /// may sign a last leaf; what it signed for its successor is of no use behind its own certificate.
    pub(super) fn behind(&self, root: RootFingerprint) -> Vec<CertificateDer<'static>> {
        let own = self.0.iter().position(|former| former.fingerprint() == Some(root));
        let skipped = own.map_or(0, |position| position.saturating_add(1));
        let formers = self.0.iter().skip(skipped);
        formers.flat_map(|former| [former.handover.clone(), former.own.clone()]).collect()
    }

    /// One more root is given up; `None` if that would be more than clients accept.
    pub(super) fn with(&self, latest: Former) -> Option<Self> {
        let mut formers = vec![latest];
        formers.extend(self.0.iter().cloned());
        (formers.len() < MAX_ROOTS).then_some(Self(formers))
    }
}

pub(super) fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// What every certificate of a root key says.
pub(super) fn root_parameters() -> CertificateParams {
    let mut root = CertificateParams::default();
    root.distinguished_name = name("undertone relay root");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    root
}

/// What a root key says of the one that comes after it. It has no end, as a root has none: how long the
/// relay shows it is how long addresses with the old root are good.
pub(super) fn hand_over(old: &KeyPair, new: &impl PublicKeyData) -> Result<Former, StoreFailure> {
    let own = root_parameters().self_signed(old).map_err(damaged)?;
    let mut parameters = root_parameters();
    // Between the leaf and the first root there are as many as there were successors.
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let handover =
        parameters.signed_by(new, &Issuer::new(root_parameters(), old)).map_err(damaged)?;
    Ok(Former { handover: handover.der().clone(), own: own.der().clone() })
}
