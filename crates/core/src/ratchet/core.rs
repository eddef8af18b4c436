//! Both halves of the double ratchet: what every message reads and a step
//! changes.

use alloc::boxed::Box;

use rand_core::CryptoRng;

use crate::primitives::dh::{DhPublic, DhSecret, LowOrder};

use super::error::SealError;
use super::header::Header;
use super::keys::{
    ReceivingChainKey, ReceivingHeaderKey, ReceivingMessageKey, RootKey, SendingChainKey,
    SendingHeaderKey, SendingMessageKey, Step,
};
use super::pq::EpochTag;

/// The live keys of a session, without what is remembered of the past.
pub(crate) struct Core {
    pub(crate) root: RootKey,
    /// The epoch that has been mixed into the root key, and its tag.
    pub(crate) epoch: u32,
    pub(crate) tag: EpochTag,
    /// Our ratchet key; blank in an initiator that has not sent.
    pub(crate) own: DhSecret,
    /// The peer's; `None` in a responder that has not received.
    pub(crate) remote: Option<DhPublic>,
    /// The header keys of the next chain in each direction.
    pub(crate) next_sending: SendingHeaderKey,
    pub(crate) next_receiving: ReceivingHeaderKey,
    /// A new remote key came in, so the next send starts a new chain.
    pub(crate) sending_due: bool,
    pub(crate) sending: Sending,
    pub(crate) receiving: Receiving,
    /// The block of our current object that goes out next.
    pub(crate) cursor: u8,
}

/// The chain that we send on. Before the first send: blank, length zero.
pub(crate) struct Sending {
    pub(crate) header: SendingHeaderKey,
    pub(crate) chain: SendingChainKey,
    /// The public half of our ratchet key.
    pub(crate) public: [u8; DhPublic::LEN],
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

/// The chain that we receive on.
pub(crate) struct Receiving {
    /// Counts the receiving chains; 0 before the first.
    pub(crate) serial: u32,
    pub(crate) header: ReceivingHeaderKey,
    pub(crate) chain: ReceivingChainKey,
    pub(crate) previous: u32,
    pub(crate) next: u32,
    pub(crate) epoch: u32,
    pub(crate) tag: EpochTag,
}

impl Core {
    pub(crate) fn blank() -> Self {
        Self {
            root: RootKey::blank(),
            epoch: 0,
            tag: EpochTag::BLANK,
            own: DhSecret::blank(),
            remote: None,
            next_sending: SendingHeaderKey::blank(),
            next_receiving: ReceivingHeaderKey::blank(),
            sending_due: false,
            sending: Sending {
                header: SendingHeaderKey::blank(),
                chain: SendingChainKey::blank(),
                public: [0; 32],
                previous: 0,
                next: 0,
            },
            receiving: Receiving {
                serial: 0,
                header: ReceivingHeaderKey::blank(),
                chain: ReceivingChainKey::blank(),
                previous: 0,
                next: 0,
                epoch: 0,
                tag: EpochTag::BLANK,
            },
            cursor: 0,
        }
    }

    /// Becomes a copy, in place.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self {
            root,
            epoch,
            tag,
            own,
            remote,
            next_sending,
            next_receiving,
            sending_due,
            sending,
            receiving,
            cursor,
        } = other;
        self.root.expose_mut().copy_from_slice(root.expose());
        self.epoch = *epoch;
        self.tag = *tag;
        self.own.expose_mut().copy_from_slice(own.expose());
        self.remote = *remote;
        self.next_sending.expose_mut().copy_from_slice(next_sending.expose());
        self.next_receiving.expose_mut().copy_from_slice(next_receiving.expose());
        self.sending_due = *sending_due;
        self.sending.copy_from(sending);
        self.receiving.copy_from(receiving);
        self.cursor = *cursor;
    }

    /// Wipes every secret, in place.
    pub(crate) fn wipe(&mut self) {
        use zeroize::Zeroize;
        self.root.zeroize();
        self.own.zeroize();
        self.next_sending.zeroize();
        self.next_receiving.zeroize();
        self.sending.header.zeroize();
        self.sending.chain.zeroize();
        self.receiving.header.zeroize();
        self.receiving.chain.zeroize();
    }

    /// The sending half-step, at the first send after a new remote key.
    pub(crate) fn step_sending(
        &mut self,
        step: &Step<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SealError> {
        let remote = self.remote.ok_or(SealError::NothingReceived)?;
        rng.fill_bytes(self.own.expose_mut());
        let exchange = self.own.exchange(&remote).map_err(|LowOrder| SealError::RatchetKey)?;
        let Sending { header, chain, public, previous, next } = &mut self.sending;
        header.expose_mut().copy_from_slice(self.next_sending.expose());
        self.root.step_sending(&exchange, step, chain, &mut self.next_sending);
        *public = *self.own.public().as_bytes();
        *previous = *next;
        *next = 0;
        self.sending_due = false;
        Ok(())
    }

    /// The receiving half-step, on the header of a new chain.
    pub(crate) fn step_receiving(
        &mut self,
        remote: DhPublic,
        header: &Header,
        step: &Step<'_>,
    ) -> Result<(), LowOrder> {
        let exchange = self.own.exchange(&remote)?;
        let receiving = &mut self.receiving;
        receiving.header.expose_mut().copy_from_slice(self.next_receiving.expose());
        self.root.step_receiving(&exchange, step, &mut receiving.chain, &mut self.next_receiving);
        receiving.serial = receiving.serial.saturating_add(1);
        receiving.previous = header.previous;
        receiving.next = 0;
        receiving.epoch = header.epoch;
        receiving.tag = header.tag;
        self.remote = Some(remote);
        self.sending_due = true;
        Ok(())
    }

    /// The header of the next message.
    pub(crate) fn header(&self) -> Header {
        Header {
            key: self.sending.public,
            previous: self.sending.previous,
            number: self.sending.next,
            epoch: self.epoch,
            tag: self.tag,
        }
    }

    /// Whether `header` carries the constants of the current receiving chain.
    pub(crate) fn is_current(&self, header: &Header) -> bool {
        let Receiving { previous, epoch, tag, .. } = &self.receiving;
        self.remote.is_some_and(|remote| *remote.as_bytes() == header.key)
            && *previous == header.previous
            && *epoch == header.epoch
            && *tag == header.tag
    }
}

impl Sending {
    fn copy_from(&mut self, other: &Self) {
        let Self { header, chain, public, previous, next } = other;
        self.header.expose_mut().copy_from_slice(header.expose());
        self.chain.expose_mut().copy_from_slice(chain.expose());
        self.public = *public;
        self.previous = *previous;
        self.next = *next;
    }

    /// The key of the next message.
    pub(crate) fn advance(&mut self) -> Result<SendingMessageKey, SealError> {
        // A chain ends one short of what the header can say, so that its length
        // can still be announced and nothing wraps.
        let next = self.next.checked_add(1).filter(|next| *next < u32::MAX);
        let next = next.ok_or(SealError::NumberExhausted)?;
        let mut key = SendingMessageKey::blank();
        self.chain.advance(&mut key);
        self.next = next;
        Ok(key)
    }
}

impl Receiving {
    fn copy_from(&mut self, other: &Self) {
        let Self { serial, header, chain, previous, next, epoch, tag } = other;
        self.serial = *serial;
        self.header.expose_mut().copy_from_slice(header.expose());
        self.chain.expose_mut().copy_from_slice(chain.expose());
        self.previous = *previous;
        self.next = *next;
        self.epoch = *epoch;
        self.tag = *tag;
    }

    /// Whether anything was received yet.
    pub(crate) fn exists(&self) -> bool {
        self.serial != 0
    }

    /// Goes on to `number`, handing out the keys that are skipped, each derived
    /// where it stays, and returns the key of `number`. The caller has checked the gap, and that
    /// `number` is below the last.
    pub(crate) fn advance_to(
        &mut self,
        number: u32,
        mut skip: impl FnMut(u32, Box<ReceivingMessageKey>),
    ) -> ReceivingMessageKey {
        while self.next < number {
            let mut key = Box::new(ReceivingMessageKey::blank());
            self.chain.advance(&mut key);
            skip(self.next, key);
            self.next = self.next.saturating_add(1);
        }
        let mut key = ReceivingMessageKey::blank();
        self.chain.advance(&mut key);
        self.next = number.saturating_add(1);
        key
    }

    /// Goes on to the end of the chain, which is `length`.
    pub(crate) fn close(
        &mut self,
        length: u32,
        mut skip: impl FnMut(u32, Box<ReceivingMessageKey>),
    ) {
        while self.next < length {
            let mut key = Box::new(ReceivingMessageKey::blank());
            self.chain.advance(&mut key);
            skip(self.next, key);
            self.next = self.next.saturating_add(1);
        }
    }
}
