//! A small chat program: one profile in a directory, one contact at a time.
//!
//! ```text
//! chat DIR init JOIN NAME     a profile; JOIN comes from the relay's operator
//! chat DIR invite             a link for somebody, who has to be told it in private
//! chat DIR add LINK           somebody's link makes a contact
//! chat DIR with CONTACT       talk; an empty line ends it
//! ```
//!
//! The passphrase is in `CHAT_PASSPHRASE`.

use std::env;
use std::io::{BufRead as _, stdin};

use tokio::sync::mpsc;
use undertone::{
    Client, ContactId, Direction, Error, Event, EventKind, LinkKind, Message, MessageKind,
    MessageState, NewProfile, Secret,
};

#[tokio::main]
async fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Err(error) = run(&words).await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn run(words: &[&str]) -> Result<(), Error> {
    let secret = Secret::passphrase(env::var("CHAT_PASSPHRASE").unwrap_or_default());
    let builder = |dir: &str| Client::builder(dir).secret(secret);
    match *words {
        [dir, "init", join, name] => {
            let profile = NewProfile { name: name.to_owned(), join: join.parse()? };
            builder(dir).create(profile).await?.close().await;
        }
        [dir, "invite"] => {
            let client = builder(dir).open().await?;
            let invitation = client.invite(LinkKind::SingleUse, None).await?;
            println!("{}", *invitation.link.to_text());
            client.close().await;
        }
        [dir, "add", link] => {
            let client = builder(dir).open().await?;
            let contact = client.add(&link.parse()?, None).await?;
            // One pass: the greeting goes out.
            client.sync().await?;
            println!("contact {}", contact.id);
            client.close().await;
        }
        [dir, "with", who] => {
            let client = builder(dir).open().await?;
            let contact = client.contact(who).await?.id;
            let ended = chat(&client, contact).await;
            client.close().await;
            ended?;
        }
        _ => eprintln!("chat DIR (init JOIN NAME | invite | add LINK | with CONTACT)"),
    }
    Ok(())
}

async fn chat(client: &Client, contact: ContactId) -> Result<(), Error> {
    for message in client.history(contact, None, 20).await? {
        show(&message);
    }
    client.start()?;
    let mut lines = typed();
    let mut events = client.events("chat");
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(text) if !text.is_empty() => drop(client.send_text(contact, &text).await?),
                _ => return Ok(()),
            },
            event = events.next_event() => {
                let event = event?;
                happened(client, contact, &event).await?;
                events.acknowledge(&event).await?;
            }
        }
    }
}

async fn happened(client: &Client, with: ContactId, event: &Event) -> Result<(), Error> {
    match &event.kind {
        EventKind::MessageReceived { contact, id } if *contact == with => {
            // None if it is gone by now: erased, or its time to disappear has come.
            if let Some(message) = client.message_of(*contact, *id, Direction::Incoming).await? {
                show(&message);
            }
        }
        EventKind::MessageStateChanged { contact, state: MessageState::Delivered, .. }
            if *contact == with =>
        {
            println!("        (delivered)");
        }
        EventKind::FileReceived { contact, path, .. } if *contact == with => {
            println!("        (saved as {})", path.display());
        }
        _ => {}
    }
    Ok(())
}

fn show(message: &Message) {
    let arrow = if message.direction == Direction::Incoming { "<" } else { ">" };
    match &message.kind {
        MessageKind::Text { text } => println!("{arrow} {}", printable(text)),
        MessageKind::File(file) => {
            println!("{arrow} a file: {} ({} bytes)", printable(&file.name), file.size);
        }
        _ => println!("{arrow} something that this program can't show"),
    }
}

/// What contacts write is theirs to choose: it must neither steer the terminal nor turn the
/// direction of what stands beside it.
fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}

/// What is typed, line by line. Reading a terminal blocks, so that it has a thread of its own.
fn typed() -> mpsc::UnboundedReceiver<String> {
    let (send, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
