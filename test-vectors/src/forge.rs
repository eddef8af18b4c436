//! Structures that an honest sender would not make: what negative vectors are
//! made of. Put together from primitives, along the text.

use crate::conversation::fresh;
use crate::form::{Form, Phase};
use crate::prim::{self, Kem, x25519, x25519_public};
use crate::trace::{self, EpochSecret, Handshake, Header, Opened};
use crate::{Fail, Outcome};

/// A sender whose state is known.
pub struct Forger {
    /// The state.
    pub form: Form,
}

/// The smallest bucket for a content beside a handshake.
pub fn bucket(content: usize, handshake: usize) -> usize {
    let needed = content + handshake + 97 + 2 + 128;
    let least = if handshake == 0 { 1024 } else { 4096 };
    needed.next_power_of_two().max(least)
}

/// A body: content, what stands behind it, zeros.
pub fn body(content: &[u8], behind: &[u8], handshake: usize, bucket: usize) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut body = [&length[..], content, behind].concat();
    body.resize((bucket - handshake - 97).max(body.len()), 0);
    body
}

impl Forger {
    /// A sender in this state.
    pub fn new(form: Form) -> Self {
        Self { form }
    }

    /// A sending half-step.
    ///
    /// # Errors
    /// If there is no remote key, or it has low order.
    pub fn begin(&mut self, ratchet: [u8; 32], epoch: Option<&EpochSecret>) -> Outcome<()> {
        let form = &mut self.form;
        let remote = form.remote.ok_or_else(|| Fail::wrong("no remote key"))?;
        let [root, chain, next] = trace::step(&form.root, &x25519(&ratchet, &remote)?, epoch)?;
        form.own = ratchet;
        form.root = root;
        form.sending.header = form.next_sending;
        form.next_sending = next;
        form.sending.chain = chain;
        form.sending.public = x25519_public(&ratchet);
        form.sending.previous = form.sending.next;
        form.sending.next = 0;
        form.sending_due = 0;
        if let Some(epoch) = epoch {
            form.epoch = epoch.epoch;
            form.tag = epoch.tag();
        }
        Ok(())
    }

    /// Passes over messages.
    ///
    /// # Errors
    /// None that a chain key can cause.
    pub fn skip(&mut self, count: u32) -> Outcome<()> {
        for _ in 0..count {
            (self.form.sending.chain, _) = trace::advance(&self.form.sending.chain)?;
            self.form.sending.next += 1;
        }
        Ok(())
    }

    /// The header of the next message.
    pub fn header(&self) -> Header {
        Header {
            key: self.form.sending.public,
            previous: self.form.sending.previous,
            number: self.form.sending.next,
            epoch: self.form.epoch,
            tag: self.form.tag,
            flags: 0,
        }
    }

    /// The next message, with any header and any body.
    ///
    /// # Errors
    /// None in practice.
    pub fn message(&mut self, nonce: &[u8; 12], header: &Header, body: &[u8]) -> Outcome<Vec<u8>> {
        let key = self.form.sending.header;
        self.under(&key, nonce, header, body)
    }

    /// The next message, with its header under any key.
    ///
    /// # Errors
    /// None in practice.
    pub fn under(
        &mut self,
        header_key: &[u8; 32],
        nonce: &[u8; 12],
        header: &Header,
        body: &[u8],
    ) -> Outcome<Vec<u8>> {
        let sealed = prim::seal(header_key, nonce, &self.form.id, &header.write())?;
        let (chain, message) = trace::advance(&self.form.sending.chain)?;
        self.form.sending.chain = chain;
        self.form.sending.next += 1;
        let ad = [&self.form.id[..], &sealed].concat();
        let body = prim::seal(&trace::body_key(&message, nonce)?, &[0; 12], &ad, body)?;
        Ok([&self.form.handshake[..], nonce, &sealed, &body].concat())
    }
}

/// What a forged handshake is made of.
pub struct Call<'a> {
    /// The link.
    pub link_secret: [u8; 32],
    /// The bundle, open.
    pub bundle: &'a [u8],
    /// The X25519 key of the device that signed it.
    pub device_dh: [u8; 32],
    /// EK, private.
    pub ephemeral: [u8; 32],
    /// EK as it is sent, where it is not that of the private key.
    pub sent_ephemeral: Option<[u8; 32]>,
    /// The KEM's message.
    pub message: [u8; 32],
    /// The identity block, whatever it says.
    pub block: &'a [u8],
    /// IK_A, private.
    pub identity: [u8; 32],
    /// The nonce of the hello seal.
    pub nonce: [u8; 12],
}

impl Call<'_> {
    /// The initiator's session that comes out of it.
    ///
    /// # Errors
    /// If the bundle is none, or a key has low order.
    pub fn forger(&self) -> Outcome<Forger> {
        let wrong = || Fail::wrong("a bundle that ends early");
        let keys = |label| prim::keys::<1>(&self.link_secret, label, &[]).map(|[key]| key);
        let prekey: [u8; 32] =
            self.bundle.get(22..54).and_then(|b| b.try_into().ok()).ok_or_else(wrong)?;
        let ek = self.bundle.get(54..1622).ok_or_else(wrong)?;
        let id = self.bundle.get(1..17).and_then(|b| b.try_into().ok()).ok_or_else(wrong)?;
        let (ciphertext, ss) = Kem::Kem1024.encapsulate(ek, &self.message)?;
        let ephemeral = self.sent_ephemeral.unwrap_or_else(|| x25519_public(&self.ephemeral));
        let handshake = Handshake {
            psk: keys("link psk")?,
            digest: trace::bundle_digest(self.bundle),
            ephemeral,
            ciphertext: ciphertext.clone(),
            ss,
            dh_ephemeral_prekey: x25519(&self.ephemeral, &prekey)?,
            dh_ephemeral_identity: x25519(&self.ephemeral, &self.device_dh)?,
            dh_identity_prekey: x25519(&self.identity, &prekey)?,
        };
        let finished = handshake.finish(self.block)?;
        let opened = Opened {
            bundle: id,
            ephemeral,
            ciphertext,
            identity: finished.sealed_identity,
            length: 0,
        };
        let [root, hk_a, hk_b] = finished.keys;
        Ok(Forger::new(Form {
            handshake: opened.seal(&keys("link hello")?, &self.nonce)?,
            remote: Some(prekey),
            next_sending: hk_a,
            next_receiving: hk_b,
            sending_due: 1,
            phase: Phase::Idle,
            ..fresh(0, finished.id, root)
        }))
    }
}

/// One entry of a list.
pub struct Entry {
    /// Signing key and X25519 key.
    pub keys: [u8; 64],
    /// The certificate, where it is not the honest one.
    pub certificate: Option<[u8; 64]>,
    /// The extension.
    pub extension: Vec<u8>,
}

impl Entry {
    /// An honest entry.
    pub fn of(keys: [u8; 64]) -> Self {
        Self { keys, certificate: None, extension: Vec::new() }
    }
}

/// A device list that says anything, signed by the account.
pub fn list(account_secret: &[u8; 32], counter: u64, entries: &[Entry]) -> Vec<u8> {
    let account = prim::ed25519_public(account_secret);
    let mut list = account.to_vec();
    list.extend(counter.to_be_bytes());
    list.push(u8::try_from(entries.len()).unwrap_or(u8::MAX));
    for Entry { keys, certificate, extension } in entries {
        let message = [&prim::label("device certificate")[..], &account, keys].concat();
        list.extend(keys);
        list.extend(certificate.unwrap_or_else(|| prim::sign(account_secret, &message)));
        list.extend(u16::try_from(extension.len()).unwrap_or(u16::MAX).to_be_bytes());
        list.extend(extension);
    }
    sign_list(account_secret, list)
}

/// Signs a list that has no signature yet.
pub fn sign_list(account_secret: &[u8; 32], mut list: Vec<u8>) -> Vec<u8> {
    let message = [&prim::label("device list")[..], &list].concat();
    list.extend(prim::sign(account_secret, &message));
    list
}

/// Signs the first 4,004 bytes of a bundle anew and seals it.
///
/// # Errors
/// None in practice.
pub fn bundle(
    signing_secret: &[u8; 32],
    link_secret: &[u8; 32],
    nonce: &[u8; 12],
    open: &[u8],
) -> Outcome<(Vec<u8>, Vec<u8>)> {
    let unsigned = open.get(..4004).ok_or_else(|| Fail::wrong("a short bundle"))?;
    let signature =
        prim::sign(signing_secret, &[&prim::label("prekey bundle")[..], unsigned].concat());
    let open = [unsigned, &signature].concat();
    let sealed = seal_bundle(link_secret, nonce, &open)?;
    Ok((open, sealed))
}

/// Seals a bundle as it is.
///
/// # Errors
/// None in practice.
pub fn seal_bundle(link_secret: &[u8; 32], nonce: &[u8; 12], open: &[u8]) -> Outcome<Vec<u8>> {
    let [card] = prim::keys(link_secret, "link card", &[])?;
    Ok([&nonce[..], &prim::seal(&card, nonce, &prim::label("card seal"), open)?].concat())
}
