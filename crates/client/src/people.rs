//! What the person decides about contacts and links.

use std::sync::PoisonError;

use undertone_session::contact::{AccountId, Contact};
use undertone_session::engine::LinkView;
use undertone_session::ids::ContactId;
use undertone_wire::JoinAddress;

use crate::client::{Client, Shared};
use crate::error::Error;
use crate::profile::{self, ProfileEngine};

impl Client {
    /// The links that were handed out, without the reset links that contacts hold.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// for link in client.links().await? {
    ///     println!("{} {:?} until day {}", link.number, link.label, link.expires.get());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn links(&self) -> Result<Vec<LinkView>, Error> {
        self.core().ask(|e| e.links()).await
    }

    /// Withdraws a link: nobody new comes over it from now on, also where the relay hears of it
    /// later. Contacts who came over it stay.
    ///
    /// # Errors
    /// [`Error::LinkUnknown`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// client.revoke_link(3).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke_link(&self, number: u64) -> Result<(), Error> {
        let now = self.core().now();
        let revoked = self.core().change(move |e| e.revoke_link(number, now)).await;
        self.shared.outgoing.notify_one();
        revoked
    }

    /// Blocks a contact: their relay capability is revoked, so that what they send is refused as
    /// something unknown, and dropped here if it comes all the same. The history stays.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let mallory = client.contact("Mallory").await?;
    /// client.block(mallory.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn block(&self, contact: ContactId) -> Result<Contact, Error> {
        let now = self.core().now();
        let blocked = self.core().change(move |e| e.block(contact, now)).await;
        self.shared.outgoing.notify_one();
        blocked.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Unblocks a contact: they are told where they may write again.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let mallory = client.contact("Mallory").await?;
    /// client.unblock(mallory.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn unblock(&self, contact: ContactId) -> Result<Contact, Error> {
        let now = self.core().now();
        let unblocked = self.core().change(move |e| e.unblock(contact, now)).await;
        self.shared.outgoing.notify_one();
        unblocked.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Deletes a contact with everything that is here of them: messages, received files, keys,
    /// events. They can't reach this profile any more, except over a reusable link.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::StoreFailed`] if a received file can't be removed (what
    /// is in the store is gone then).
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let mallory = client.contact("Mallory").await?;
    /// client.delete_contact(mallory.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_contact(&self, contact: ContactId) -> Result<(), Error> {
        let now = self.core().now();
        let delete = move |e: &mut ProfileEngine| {
            let mut blobs = Vec::new();
            for upload in e.uploads()? {
                if e.message_at(upload.message)?.contact == contact {
                    blobs.push((upload.message, *upload.blob.as_bytes()));
                }
            }
            e.delete_contact(contact, now)?;
            Ok(blobs)
        };
        let deleted = self.core().change(delete).await;
        self.shared.outgoing.notify_one();
        let blobs = deleted.map_err(|error| error.asked_for(&contact.to_string()))?;
        // What can't be removed now goes when the profile is opened again.
        let received = self.shared.remove_files_of(contact).await;
        for (message, blob) in blobs {
            self.shared.cancelled.cancel(message);
            self.shared.remove_blob(&blob)?;
        }
        received
    }

    /// Compares the bytes of a scanned QR code with the contact's safety number; they are verified
    /// if it is the same.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client, scanned: &[u8]) -> Result<(), undertone::Error> {
    /// let bob = client.contact("Bob").await?;
    /// if !client.verify_scanned(bob.id, scanned).await? {
    ///     println!("the numbers differ: somebody may stand between you");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn verify_scanned(&self, contact: ContactId, scanned: &[u8]) -> Result<bool, Error> {
        let scanned = scanned.to_vec();
        let same = self.core().change(move |e| e.verify_scanned(contact, &scanned)).await;
        same.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// After the session with a verified contact started anew: sends again what was on its way
    /// (true), or gives it up. Returns how many messages that concerned.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let bob = client.contact("Bob").await?;
    /// let messages = client.consent_to_resend(bob.id, true).await?;
    /// println!("{messages} messages go out again");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn consent_to_resend(&self, contact: ContactId, again: bool) -> Result<u64, Error> {
        let count = self.core().change(move |e| e.consent_to_resend(contact, again)).await;
        self.shared.outgoing.notify_one();
        count.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// The person knows that the contact has another account, this one, which has called
    /// ([`EventKind::KeyChanged`](crate::EventKind::KeyChanged)): the contact is that account from
    /// now on, and not verified.
    ///
    /// # Errors
    /// [`Error::UnknownContact`]; [`Error::NothingToDecide`] if this account did not call, or another
    /// has called since, or it is a contact by now.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client, event: undertone::Event) -> Result<(), undertone::Error> {
    /// if let undertone::EventKind::KeyChanged { contact, account } = event.kind {
    ///     client.accept_key_change(contact, account).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn accept_key_change(
        &self,
        contact: ContactId,
        account: AccountId,
    ) -> Result<Contact, Error> {
        let now = self.core().now();
        let accepted =
            self.core().change(move |e| e.accept_key_change(contact, account, now)).await;
        self.shared.outgoing.notify_one();
        accepted.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// The contact has no other account: what called in their name is dropped.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::NothingToDecide`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let bob = client.contact("Bob").await?;
    /// client.refuse_key_change(bob.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn refuse_key_change(&self, contact: ContactId) -> Result<Contact, Error> {
        let refused = self.core().change(move |e| e.refuse_key_change(contact)).await;
        refused.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// From now on this profile is reached at another relay. Each contact is told by itself, and
    /// writes there from then on; until they do, the relay used before is read, too. Links that were
    /// handed out stay where they are.
    ///
    /// # Errors
    /// Those of the store. (A wrong relay or token shows with the next [`Client::sync`],
    /// and in [`Client::connection`].)
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client, join: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// client.move_to(join.parse()?).await?;
    /// client.sync().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn move_to(&self, join: JoinAddress) -> Result<(), Error> {
        let relay = join.relay().clone();
        self.core().change(move |e| e.move_home(&join)).await?;
        let shared = &self.shared;
        shared.me.write().unwrap_or_else(PoisonError::into_inner).relay = relay.to_string();
        shared.connections.home_is(&relay);
        *shared.relay.write().unwrap_or_else(PoisonError::into_inner) = relay;
        let now = self.core().now();
        self.core().change(move |e| e.begin_moves(now)).await?;
        self.shared.wake_all();
        // A started client connects to it before it has a mailbox there.
        self.shared.resubscribe.notify_one();
        Ok(())
    }
}

impl Shared {
    /// Removes what was received from a contact, whole or in part. Their number is never given again.
    async fn remove_files_of(&self, contact: ContactId) -> Result<(), Error> {
        let files = profile::files(&self.dir);
        let names = [format!("{contact}-"), format!(".{contact}-")];
        let remove = move || -> std::io::Result<()> {
            for entry in std::fs::read_dir(&files)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if !names.iter().any(|prefix| name.starts_with(prefix.as_str())) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    std::fs::remove_dir_all(entry.path())?;
                } else {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        let failed = |e| Error::StoreFailed { reason: format!("a received file: {e}") };
        self.blocking(move || remove().map_err(failed)).await
    }
}
