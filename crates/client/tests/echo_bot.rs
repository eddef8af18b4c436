//! The echo bot of the README, compiled, and run against a real relay.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;
use undertone::{Client, Error, EventKind, MessageKind, Secret};

/// Answers every text with the same text, for ever. A crash anywhere loses no message.
async fn echo(profile: &Path, passphrase: &str) -> Result<(), Error> {
    let client = Client::builder(profile).secret(Secret::passphrase(passphrase)).open().await?;
    client.start()?;
    let mut events = client.events("echo");
    loop {
        let event = events.next_event().await?;
        if let EventKind::MessageReceived { contact, id } = event.kind
            && let MessageKind::Text { text } = client.received_message(contact, id).await?.kind
        {
            client.send_text(contact, &text).await?;
        }
        events.acknowledge(&event).await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_bot_answers() {
    let stage = common::Stage::new().await;
    let bot_dir = stage.dir("bot");
    let bot = Client::builder(&bot_dir)
        .secret(Secret::passphrase("open sesame"))
        .create(undertone::NewProfile { name: "Echo".into(), join: stage.join() })
        .await
        .unwrap();
    let link = bot.invite(undertone::LinkKind::Reusable, None).await.unwrap().link;
    bot.close().await;
    let running = tokio::spawn(async move { echo(&bot_dir, "open sesame").await });

    let ada = stage.person("Ada").await;
    let echo = ada.add(&link, None).await.unwrap().id;
    ada.start().unwrap();
    ada.send_text(echo, "is anybody there?").await.unwrap();
    let answer = common::next_message(&ada, "test").await;
    assert_eq!(common::text(&answer), "is anybody there?");
    running.abort();
    ada.close().await;
    stage.end().await;
}
