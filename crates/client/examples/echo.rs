//! Answers every text with the same text.
use undertone::{Client, Direction, Error, EventKind, LinkKind, MessageKind, NewProfile, Secret};
#[tokio::main]
async fn main() -> Result<(), Error> {
    let secret = Secret::passphrase(std::env::var("ECHO_PASSPHRASE").unwrap_or_default());
    let bot = Client::builder("echo-bot").secret(secret);
    let client = match std::env::args().nth(1) {
        Some(join) => bot.create(NewProfile { name: "Echo".into(), join: join.parse()? }).await?,
        None => bot.open().await?,
    };
    if client.links().await?.is_empty() {
        println!("{}", *client.invite(LinkKind::Reusable, None).await?.link.to_text());
    }
    client.start()?;
    echo(client).await
}
pub(crate) async fn echo(client: Client) -> Result<(), Error> {
    let mut events = client.events("echo");
    loop {
        let event = events.next_event().await?;
        if let EventKind::MessageReceived { contact, id } = event.kind
            && let Some(message) = client.message_of(contact, id, Direction::Incoming).await?
            && let MessageKind::Text { text } = message.kind
        {
            client.send_text(contact, &text).await.map(drop).or_else(Error::pass_over)?;
        }
        events.acknowledge(&event).await?;
    }
}
