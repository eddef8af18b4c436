//! What a person does with messages beside sending them: react, edit, take back, read, search; how
//! long they stay.

use std::fs;
use std::io;
use std::path::Path;

use undertone_session::event::CursorView;
use undertone_session::ids::{ContactId, MessageId};
use undertone_session::message::{Direction, Message};

use crate::client::{Client, Shared};
use crate::error::Error;
use crate::profile::{self, ProfileEngine};

/// The store's files are cleared no more often than once in so many milliseconds, for each
/// [`SCRUB_BYTES`] that they have: all of them are written anew, and messages may disappear one by one.
const SCRUB_PAUSE: u64 = 60_000;

/// What is written anew in a second or less: a hundredth of the time at most goes into it.
const SCRUB_BYTES: u64 = 16 * 1024 * 1024;

impl Client {
    /// The message at a place of the history ([`Message::seq`]): its number, by which the calls
    /// below address it. (An id alone may be that of two messages, since contacts choose the ids of
    /// what they send.)
    ///
    /// # Errors
    /// [`Error::UnknownMessage`], also for one that has been erased.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let message = client.message_at(12).await?;
    /// println!("{:?}, {} reactions", message.kind, message.reactions.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn message_at(&self, seq: u64) -> Result<Message, Error> {
        self.core().read(move |e| e.message_at(seq)).await
    }

    /// The message that an event tells of: the one of this id that this contact wrote
    /// ([`Direction::Incoming`]), or that was written to them ([`Direction::Outgoing`]).
    ///
    /// None if it is gone by now, or never was: a message may be erased, or disappear when its time
    /// has come, before a program reads the event that tells of it. There is nothing to do about such
    /// an event but to acknowledge it.
    ///
    /// # Errors
    /// Those of the store; [`Error::Closed`].
    ///
    /// ```no_run
    /// # use undertone::{Client, Error, EventKind};
    /// # async fn example(client: Client, event: undertone::Event) -> Result<(), Error> {
    /// // From the event's address to the place (`seq`) by which other calls name the message.
    /// if let EventKind::MessageEdited { contact, id, direction } = event.kind
    ///     && let Some(message) = client.message_of(contact, id, direction).await?
    /// {
    ///     println!("message {} says now: {:?}", message.seq, message.kind);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn message_of(
        &self,
        contact: ContactId,
        id: MessageId,
        direction: Direction,
    ) -> Result<Option<Message>, Error> {
        let read = move |e: &mut ProfileEngine| match direction {
            Direction::Incoming => e.received_message(contact, id),
            // Before those that contacts sent under the same id, if there are any.
            Direction::Outgoing => e.message(id),
        };
        match self.core().read(read).await {
            Ok(found) if (found.contact, found.direction) == (contact, direction) => {
                Ok(Some(found))
            }
            Ok(_) | Err(Error::UnknownMessage) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reacts to a message, in the place of an earlier reaction of one's own.
    ///
    /// # Errors
    /// [`Error::UnknownMessage`]; [`Error::NotChangeable`] if it was deleted;
    /// [`Error::MessageEmpty`]; [`Error::MessageTooLong`] beyond 64 bytes;
    /// [`Error::ContactBlocked`].
    ///
    /// ```no_run
    /// # use undertone::{Client, Direction, Error, EventKind};
    /// # async fn example(client: Client, event: undertone::Event) -> Result<(), Error> {
    /// if let EventKind::MessageReceived { contact, id } = event.kind
    ///     && let Some(message) = client.message_of(contact, id, Direction::Incoming).await?
    /// {
    ///     client.react(message.seq, "👍").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn react(&self, seq: u64, emoji: &str) -> Result<(), Error> {
        let (emoji, now) = (emoji.to_owned(), self.core().now());
        self.queue(move |e| e.react(seq, Some(&emoji), now)).await
    }

    /// Takes one's own reaction to a message back. Without one, nothing is done.
    ///
    /// # Errors
    /// [`Error::UnknownMessage`], [`Error::NotChangeable`], [`Error::ContactBlocked`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// client.unreact(12).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn unreact(&self, seq: u64) -> Result<(), Error> {
        let now = self.core().now();
        self.queue(move |e| e.react(seq, None, now)).await
    }

    /// Gives a message of one's own another text, on both sides; a file gets another caption. What
    /// it said before is not kept anywhere here.
    ///
    /// # Errors
    /// [`Error::UnknownMessage`]; [`Error::NotYours`]; [`Error::NotChangeable`] if it was deleted,
    /// never sent, or has no text; [`Error::MessageEmpty`]; [`Error::MessageTooLong`];
    /// [`Error::ContactBlocked`].
    ///
    /// ```no_run
    /// # use undertone::{Client, ContactId, Error};
    /// # async fn example(client: Client, bob: ContactId) -> Result<(), Error> {
    /// let id = client.send_text(bob, "see you at eihgt").await?;
    /// let message = client.message(id).await?;
    /// client.edit(message.seq, "see you at eight").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn edit(&self, seq: u64, text: &str) -> Result<(), Error> {
        let (text, now) = (text.to_owned(), self.core().now());
        self.queue(move |e| e.edit(seq, &text, now)).await
    }

    /// Takes a message of one's own back, on both sides. That there was one stays in the history.
    /// The contact's program does it; what a person has read, they have read.
    ///
    /// # Errors
    /// [`Error::UnknownMessage`], [`Error::NotYours`], [`Error::ContactBlocked`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// client.delete_message(12).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete_message(&self, seq: u64) -> Result<(), Error> {
        let now = self.core().now();
        self.queue(move |e| e.delete_message(seq, now)).await?;
        self.shared.scrub_if_possible().await;
        self.shared.erase().await
    }

    /// Takes a message away here, whoever wrote it, with the file that came with it. The contact
    /// keeps theirs. A message of one's own that has not gone out yet does not go out.
    ///
    /// # Errors
    /// [`Error::UnknownMessage`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// client.erase_message(12).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn erase_message(&self, seq: u64) -> Result<(), Error> {
        let now = self.core().now();
        self.core().change(move |e| e.erase_message(seq, now)).await?;
        self.shared.scrub_if_possible().await;
        self.shared.erase().await
    }

    /// Notes that the person has seen what a contact wrote, up to a message; all of it if none is
    /// given. The clocks of disappearing messages begin to run, and the contact is told if
    /// [`Client::set_read_receipts`] says so. Returns how many messages were new.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let bob = client.contact("Bob").await?;
    /// println!("{} new messages", client.mark_read(bob.id, None).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mark_read(&self, contact: ContactId, up_to: Option<u64>) -> Result<u64, Error> {
        let now = self.core().now();
        let read = self.core().change(move |e| e.mark_read(contact, up_to, now)).await;
        read.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// How many messages of a contact have not been marked as read.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// for contact in client.contacts().await? {
    ///     println!("{}: {}", contact.name, client.unread(contact.id).await?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn unread(&self, contact: ContactId) -> Result<u64, Error> {
        let unread = self.core().ask(move |e| e.unread(contact)).await;
        unread.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Whether contacts are told what is read here. In a new profile they are not.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// println!("read receipts: {}", client.read_receipts().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_receipts(&self) -> Result<bool, Error> {
        self.core().ask(|e| e.read_receipts()).await
    }

    /// Whether contacts are to be told what is read here from now on. Receipts are batched and wait
    /// a random time, as acknowledgements do; what has not been told when this is turned off is not
    /// told.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// client.set_read_receipts(true).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_read_receipts(&self, on: bool) -> Result<(), Error> {
        self.core().change(move |e| e.set_read_receipts(on)).await
    }

    /// Sets after how many seconds new messages of a conversation disappear, on both sides; 0 lets
    /// them stay. Each side goes by its own clock: a message that was sent disappears so long after
    /// the relay has accepted it, one that came so long after it was marked as read. What is there
    /// already keeps its timer.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::ContactBlocked`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let bob = client.contact("Bob").await?;
    /// client.set_timer(bob.id, 7 * 86_400).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_timer(&self, contact: ContactId, seconds: u32) -> Result<(), Error> {
        let now = self.core().now();
        let set = self.queue(move |e| e.set_timer(contact, seconds, now)).await;
        set.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Queues a message of an integrator's own kind. `name` says which, and should begin with a
    /// domain of its maker, reversed. Contacts see it as
    /// [`MessageKind::Custom`](crate::MessageKind::Custom).
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::ContactBlocked`], [`Error::NameInvalid`],
    /// [`Error::MessageTooLong`] beyond 49,152 bytes.
    ///
    /// ```no_run
    /// # use undertone::{Client, ContactId, Error};
    /// # async fn example(client: Client, bob: ContactId) -> Result<(), Error> {
    /// client.send_custom(bob, "com.example.poll", br#"{"question":"Lunch?"}"#).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_custom(
        &self,
        contact: ContactId,
        name: &str,
        payload: &[u8],
    ) -> Result<MessageId, Error> {
        let (name, payload, now) = (name.to_owned(), payload.to_vec(), self.core().now());
        let queued = self.queue(move |e| e.queue_custom(contact, &name, &payload, now)).await;
        queued.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Like [`Client::send_file`], with a text beside the file.
    ///
    /// # Errors
    /// As [`Client::send_file`]; [`Error::MessageTooLong`] for the caption.
    ///
    /// ```no_run
    /// # use undertone::{Client, ContactId, Error};
    /// # async fn example(client: Client, bob: ContactId) -> Result<(), Error> {
    /// client.send_file_with_caption(bob, "plan.pdf", "as agreed").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_file_with_caption(
        &self,
        contact: ContactId,
        path: impl AsRef<Path>,
        caption: &str,
    ) -> Result<MessageId, Error> {
        let path = path.as_ref().to_path_buf();
        let queued = self.shared.queue_file(contact, path, caption.to_owned()).await;
        self.shared.wake_all();
        queued.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Calls oneself something else, and tells all contacts who are not blocked.
    ///
    /// # Errors
    /// [`Error::NameInvalid`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// client.set_name("Ada (holiday until Monday)").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_name(&self, name: &str) -> Result<(), Error> {
        let (name, now) = (name.to_owned(), self.core().now());
        let name =
            self.queue(move |e| e.set_name(&name, now).map(|()| e.name().to_owned())).await?;
        let me = &self.shared.me;
        me.write().unwrap_or_else(std::sync::PoisonError::into_inner).name = name;
        Ok(())
    }

    /// Looks for a text in messages, file names and captions, whatever its case: with one contact, or
    /// with all. Gives the newest messages first, at most `limit`.
    ///
    /// There is no index; the whole history is read for it, in steps that let other calls through.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::MessageEmpty`] if there is nothing to look for.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// for message in client.search(None, "invoice", 20).await? {
    ///     println!("{} {:?}", message.seq, message.kind);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn search(
        &self,
        contact: Option<ContactId>,
        text: &str,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let text = text.to_owned();
            let page = self.core().read(move |e| e.search(contact, &text, before)).await;
            let page = page.map_err(|error| match contact {
                Some(contact) => error.asked_for(&contact.to_string()),
                None => error,
            })?;
            found.extend(page.messages);
            before = page.next;
            if before.is_none() || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    /// The named readers of the event log, with how far each is behind.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// for cursor in client.cursors().await? {
    ///     println!("{} is {} events behind", cursor.name, cursor.behind);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cursors(&self) -> Result<Vec<CursorView>, Error> {
        self.core().ask(|e| e.cursors()).await
    }

    /// Forgets a named reader of the event log, so that no event is kept for it any more. False if
    /// there was none of this name.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// client.drop_cursor("a bot that is not used any more").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drop_cursor(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        self.core().change(move |e| e.drop_cursor(&name)).await
    }

    /// Changes something by which there is something to be sent.
    async fn queue<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut ProfileEngine) -> Result<T, undertone_session::engine::EngineError>
            + Send
            + 'static,
    {
        let done = self.core().change(work).await;
        self.shared.outgoing.notify_one();
        done
    }
}

impl Shared {
    /// Clears the store's files of what was erased, if that is due. Meanwhile nothing else is read or
    /// written; it takes as much memory as the store has, and of the disk.
    pub(crate) async fn scrub(&self) -> Result<(), Error> {
        let (now, pause) = (self.core.now(), self.scrub_pause());
        let scrub = move |e: &mut ProfileEngine| match e.next_scrub(now, pause)? {
            Some(due) if due <= now => e.scrub(now),
            _ => Ok(()),
        };
        self.core.ask(scrub).await
    }

    /// The same where something else goes on whether or not it can be done: it is tried again later.
    pub(crate) async fn scrub_if_possible(&self) {
        if let Err(error) = self.scrub().await {
            tracing::warn!(code = error.code(), "what was erased is still in the store's files");
        }
    }

    /// How long the store's files are not cleared again, in milliseconds. Contacts bring it about, with
    /// each edit: so that they can't keep this machine at it, the larger the store is the longer.
    pub(crate) fn scrub_pause(&self) -> u64 {
        let size = fs::metadata(profile::store(&self.dir)).map_or(0, |meta| meta.len());
        (size / SCRUB_BYTES).saturating_add(1).saturating_mul(SCRUB_PAUSE)
    }

    /// Erases what is due, and removes files whose message is gone.
    pub(crate) async fn erase(&self) -> Result<(), Error> {
        let now = self.core.now();
        self.core.change(move |e| e.erase_due(now)).await?;
        for (contact, id) in self.core.ask(|e| e.files_to_remove()).await? {
            let files = profile::files(&self.dir);
            let remove = move || -> io::Result<()> {
                let name = format!("{contact}-{id}");
                for part in ["part", "open"] {
                    gone(fs::remove_file(files.join(format!(".{name}.{part}"))))?;
                }
                gone(fs::remove_dir_all(files.join(name)))
            };
            let failed = |e| Error::StoreFailed { reason: format!("a received file: {e}") };
            self.blocking(move || remove().map_err(failed)).await?;
            self.core.ask(move |e| e.file_removed(contact, id)).await?;
        }
        Ok(())
    }
}

/// What is not there need not be removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "erasing_tests.rs"]
mod tests;
