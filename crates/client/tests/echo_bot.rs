//! The echo bot of the README: the very text that stands there is compiled, and run against a real
//! relay.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

#[path = "../examples/echo.rs"]
#[allow(dead_code)]
mod bot;

use undertone::{Client, Direction, LinkKind, NewProfile, Secret};

#[test]
fn the_readme_shows_this_very_bot_in_under_thirty_lines() {
    let readme = include_str!("../../../README.md");
    let bot = include_str!("../examples/echo.rs");
    assert!(
        readme.contains(&format!("```rust\n{bot}```\n")),
        "README.md and examples/echo.rs differ"
    );
    assert!(bot.lines().count() < 30, "{}", bot.lines().count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_bot_answers_and_goes_on_after_it_was_killed() {
    let stage = common::Stage::new().await;
    let builder = || Client::builder(stage.dir("bot")).secret(Secret::passphrase("open sesame"));
    let profile = NewProfile { name: "Echo".into(), join: stage.join() };
    let client = builder().create(profile).await.unwrap();
    let link = client.invite(LinkKind::Reusable, None).await.unwrap().link;
    client.start().unwrap();
    let running = tokio::spawn(bot::echo(client.clone()));

    let ada = stage.person("Ada").await;
    let echo = ada.add(&link, None).await.unwrap().id;
    ada.start().unwrap();
    ada.send_text(echo, "is anybody there?").await.unwrap();
    let answer = common::next_message(&ada, "test").await;
    assert_eq!(common::text(&answer), "is anybody there?");

    running.abort();
    client.close().await;
    ada.send_text(echo, "and now?").await.unwrap();
    let client = builder().open().await.unwrap();
    client.start().unwrap();
    let running = tokio::spawn(bot::echo(client.clone()));
    // If it was killed before it had acknowledged the first, it answers that once more.
    while common::text(&common::next_message(&ada, "test").await) != "and now?" {}
    running.abort();
    client.close().await;
    ada.close().await;
    stage.end().await;
}

/// The event of a message stays in the log when the message is erased: that must not end a program,
/// which would end again at each start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_bot_passes_over_a_message_that_is_gone() {
    let stage = common::Stage::new().await;
    let (ada, bot) = common::acquainted(&stage).await;
    let to_bot = ada.contacts().await.unwrap().remove(0).id;
    ada.send_text(to_bot, "forget this").await.unwrap();
    ada.sync().await.unwrap();
    bot.sync().await.unwrap();
    let gone = common::next_message(&bot, "test").await;
    let find = async |direction| bot.message_of(gone.contact, gone.id, direction).await.unwrap();
    assert_eq!(find(Direction::Incoming).await.as_ref(), Some(&gone));
    assert_eq!(find(Direction::Outgoing).await, None);
    bot.erase_message(gone.seq).await.unwrap();
    assert_eq!(find(Direction::Incoming).await, None);

    let asked = ada.send_text(to_bot, "is anybody there?").await.unwrap();
    ada.start().unwrap();
    bot.start().unwrap();
    let running = tokio::spawn(bot::echo(bot.clone()));
    let answer = common::next_message(&ada, "test").await;
    assert_eq!(common::text(&answer), "is anybody there?");
    let sent = ada.message_of(to_bot, asked, Direction::Outgoing).await.unwrap();
    assert_eq!(sent.unwrap().id, asked);
    assert_eq!(ada.message_of(to_bot, asked, Direction::Incoming).await.unwrap(), None);
    running.abort();
    bot.close().await;
    ada.close().await;
    stage.end().await;
}

/// Nor does one whose sender was blocked since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_bot_passes_over_who_can_not_be_answered() {
    let stage = common::Stage::new().await;
    let (ada, bot) = common::acquainted(&stage).await;
    let carol = stage.person("Carol").await;
    let link = bot.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let carol_to_bot = carol.add(&link, None).await.unwrap().id;
    common::settle(&[&carol, &bot]).await;
    let to_bot = ada.contacts().await.unwrap().remove(0).id;
    ada.send_text(to_bot, "answer me").await.unwrap();
    ada.sync().await.unwrap();
    assert_eq!(bot.sync().await.unwrap().received, 1);
    let to_ada = common::contact(&bot, "Ada").await;
    bot.block(to_ada).await.unwrap();

    carol.send_text(carol_to_bot, "is anybody there?").await.unwrap();
    carol.start().unwrap();
    bot.start().unwrap();
    let running = tokio::spawn(bot::echo(bot.clone()));
    let answer = common::next_message(&carol, "test").await;
    assert_eq!(common::text(&answer), "is anybody there?");
    running.abort();
    for client in [bot, ada, carol] {
        client.close().await;
    }
    stage.end().await;
}
