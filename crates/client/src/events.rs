//! Reading the durable event log with a named cursor.

use undertone_session::event::Event;

use crate::client::Client;
use crate::error::Error;

/// A reader of the event log. Its place is kept in the store under its name, so that another
/// process that asks for the same name goes on where this one acknowledged last.
#[derive(Debug)]
pub struct Events {
    client: Client,
    cursor: String,
}

impl Events {
    pub(crate) const fn new(client: Client, cursor: String) -> Self {
        Self { client, cursor }
    }

    /// The next event, as soon as there is one. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] once the client is closed; errors of the store.
    pub async fn next_event(&mut self) -> Result<Event, Error> {
        let _ = (&self.client, &self.cursor);
        Err(Error::Closed)
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn try_next(&mut self) -> Result<Option<Event>, Error> {
        Err(Error::Closed)
    }

    /// Moves the durable cursor behind this event: it is not given again, here or in another process.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn acknowledge(&mut self, event: &Event) -> Result<(), Error> {
        let _ = event;
        Err(Error::Closed)
    }
}
