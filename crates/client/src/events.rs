//! Reading the durable event log with a named cursor.

use undertone_session::event::Event;
use undertone_session::ids::EventSeq;

use crate::client::Client;
use crate::error::Error;

/// A reader of the event log, from [`Client::events`]. Its place is kept in the store under its name,
/// so that another process that asks for the same name goes on where this one acknowledged last. What
/// is not acknowledged is given again. (One process at a time has a profile open.)
///
/// A crash between what a program does about an event and the acknowledgement gives the event again:
/// what is printed, or sent as an answer, may be so twice. Acting exactly once is the program's own to
/// do: it stores [`Event::seq`], which grows and is not used twice (as long as nobody puts an old copy
/// of the profile back), in one transaction with what it did, and passes over what it has there
/// already.
///
/// A name that was never used begins at the oldest event that is kept: the last 1000, and more where
/// another name is further behind. It is kept from its first [`Events::next_event`] or
/// [`Events::try_next`] on, also if it acknowledges nothing.
///
/// Events are kept for every name that was ever used, so that several programs read at their own
/// pace. One that does not come any more is dropped by [`Client::drop_cursor`]; until then the log
/// grows to 100,000 events, beyond which the oldest go, and a reader who had not come so far gets
/// [`EventKind::EventsLost`](crate::EventKind::EventsLost) in their place: nothing goes missing in
/// silence.
///
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
/// let mut events = client.events("my bot");
/// loop {
///     let event = events.next_event().await?;
///     println!("{}: {:?}", event.seq, event.kind);
///     events.acknowledge(&event).await?;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Events {
    client: Client,
    cursor: String,
    /// The last event that was given; absent until the stored place has been read.
    place: Option<EventSeq>,
}

impl Events {
    pub(crate) const fn new(client: Client, cursor: String) -> Self {
        Self { client, cursor, place: None }
    }

    /// The next event, as soon as there is one. Cancelling loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] once the client is closed; [`Error::CursorInvalid`] if the name is empty or
    /// too long, or there are too many; errors of the store.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let event = client.events("my program").next_event().await?;
    /// println!("{}: {:?}", event.seq, event.kind);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next_event(&mut self) -> Result<Event, Error> {
        let mut changes = self.client.core().changes();
        loop {
            if let Some(event) = self.try_next().await? {
                return Ok(event);
            }
            changes.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    /// Those of the store; [`Error::Closed`].
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// let mut events = client.events("my program");
    /// while let Some(event) = events.try_next().await? {
    ///     println!("{:?}", event.kind);
    /// }
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_next(&mut self) -> Result<Option<Event>, Error> {
        let cursor = self.cursor.clone();
        let place = self.place;
        let read = move |e: &mut crate::profile::ProfileEngine| {
            let place = match place {
                Some(place) => place,
                None => e.open_cursor(&cursor)?,
            };
            Ok((place, e.next_event(place)?))
        };
        let (place, event) = self.client.core().ask(read).await?;
        self.place = Some(event.as_ref().map_or(place, |event| event.seq));
        Ok(event)
    }

    /// Moves the durable cursor behind this event: it, and all before it, are not given again, here
    /// or in another process.
    ///
    /// # Errors
    /// Those of the store; [`Error::Closed`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut events = client.events("my program");
    /// let event = events.next_event().await?;
    /// // … whatever has to be done about it, and then:
    /// events.acknowledge(&event).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acknowledge(&mut self, event: &Event) -> Result<(), Error> {
        let (cursor, seq) = (self.cursor.clone(), event.seq);
        self.client.core().ask(move |e| e.acknowledge_event(&cursor, seq)).await
    }
}
