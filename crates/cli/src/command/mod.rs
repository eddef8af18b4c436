//! The commands, one to a file.

mod add;
mod backup;
mod contacts;
mod download;
mod health;
mod history;
mod init;
mod invite;
mod links;
mod messages;
mod people;
mod receive;
mod rename;
mod send;
mod status;
mod verify;
mod view;

use undertone::Client;

use crate::args::{Arguments, Backup, Command};
use crate::failure::Failure;
use crate::output::{Output, Written};
use crate::profile::Access;
use crate::{demo, relay_process};

pub(crate) use view::message_text;

/// Runs the command.
pub(crate) async fn run(arguments: Arguments, output: &Output) -> Written {
    let access = Access::new(&arguments);
    match arguments.command {
        // These two need no profile of the person's.
        Command::Demo(demo) => demo::run(demo, output).await,
        Command::Relay(relay) => relay_process::run(relay).await,
        Command::Init(init) => init::run(init, &access?, output).await,
        Command::Backup(Backup::Import(import)) => backup::import(&import, &access?, output).await,
        Command::Backup(Backup::Check(file)) => backup::check(&file, output).await,
        with_profile => {
            let client = access?.open().await?;
            let result = with_client(with_profile, &client, output).await;
            client.close().await;
            result
        }
    }
}

async fn with_client(command: Command, client: &Client, output: &Output) -> Written {
    match command {
        Command::Invite(invite) => invite::run(invite, client, output).await,
        Command::Add(add) => add::run(add, client, output).await,
        Command::Contacts => contacts::run(client, output).await,
        Command::Send(send) => send::run(send, client, output).await,
        Command::Receive(receive) => receive::run(&receive, client, output).await,
        Command::Download(download) => download::run(&download, client, output).await,
        Command::History(history) => history::run(&history, client, output).await,
        Command::Verify(verify) => verify::run(verify, client, output).await,
        Command::Rename(rename) => rename::run(&rename, client, output).await,
        Command::Links(links) => links::run(&links, client, output).await,
        Command::Block(who) => people::block(&who, client, output).await,
        Command::Unblock(who) => people::unblock(&who, client, output).await,
        Command::Delete(delete) => match &delete.message {
            Some(message) => messages::delete(&delete, message, client, output).await,
            None => people::delete(&delete, client, output).await,
        },
        Command::React(react) => messages::react(&react, client, output).await,
        Command::Edit(edit) => messages::edit(edit, client, output).await,
        Command::Read(read) => messages::read(&read, client, output).await,
        Command::Receipts(receipts) => messages::receipts(&receipts, client, output).await,
        Command::Timer(timer) => messages::timer(&timer, client, output).await,
        Command::Name(name) => messages::name(&name, client, output).await,
        Command::Search(search) => messages::search(&search, client, output).await,
        Command::Cursors(cursors) => messages::cursors(&cursors, client, output).await,
        Command::Resend(resend) => people::resend(&resend, client, output).await,
        Command::Key(key) => people::key(&key, client, output).await,
        Command::Move(moving) => people::move_to(moving, client, output).await,
        Command::Backup(Backup::Export(file)) => backup::export(&file, client, output).await,
        Command::Health => health::run(client, output).await,
        Command::Status => status::run(client, output).await,
        Command::Demo(_) | Command::Relay(_) | Command::Init(_) | Command::Backup(_) => {
            Err(Failure::Unexpected("this command opens no profile".into()))
        }
    }
}
