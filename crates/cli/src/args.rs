//! What can be typed.

mod messages;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use undertone::AccountId;

use crate::exit;
use messages::MESSAGE_HELP;
pub use messages::{Cursors, Edit, Name, React, Read, Receipts, Search, Switch, Timer};

const EXAMPLES: &str = "\
Examples:
  undertone demo
      See it work: a relay and two people on this machine.
  undertone init --relay ut-join:... --name Alice
      Create your profile. The operator of a relay gives you the join address.
  undertone invite
      Make a link for one person, and hand it over.
  undertone add undertone://i/#...
      Use somebody's link.
  undertone send Bob \"hello\"
  undertone receive --follow

Environment:
  UNDERTONE_PROFILE      the profile's directory (--profile)
  UNDERTONE_PASSPHRASE   the passphrase, if there is no --passphrase-file

";

/// End-to-end encrypted messaging through a relay that can't read it.
///
/// A profile is a directory with your keys, contacts and messages, encrypted under a passphrase.
/// What you send is on your disk before anything else happens, and goes out when the relay can be
/// reached; what you receive is on your disk before the relay forgets it.
#[derive(Parser, Debug)]
#[command(name = "undertone", version, max_term_width = 100, after_help = after_help())]
pub struct Arguments {
    /// The profile's directory.
    #[arg(long, global = true, value_name = "DIR", env = "UNDERTONE_PROFILE")]
    pub profile: Option<PathBuf>,

    /// Write one JSON object to a line, with stable field names; errors too, on standard error.
    #[arg(long, global = true)]
    pub json: bool,

    /// Read the passphrase from the first line of a file.
    #[arg(long, global = true, value_name = "PATH")]
    pub passphrase_file: Option<PathBuf>,

    /// The local address to connect from.
    #[arg(long, global = true, value_name = "ADDRESS", hide = true)]
    pub bind: Option<IpAddr>,

    /// How long connecting and each request may take, in seconds.
    #[arg(long, global = true, value_name = "SECONDS", hide = true,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub network_timeout: Option<u64>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

fn after_help() -> String {
    format!("{EXAMPLES}{}", exit::help())
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create a profile.
    #[command(after_help = "\
The network is not used: a wrong relay shows at the first `invite` or `add`.
A profile that exists is never overwritten.

Example:
  undertone init --relay ut-join:relay.example:4433:... --name Alice
  undertone init --relay - < join-address.txt")]
    Init(Init),

    /// Make a link by which somebody can write to you.
    #[command(after_help = "\
Whoever holds the link can write to you once, as the first one. Hand it over where only its
receiver sees it: on paper, on a screen, in a call. If somebody else used it, you are told.

Examples:
  undertone invite
  undertone invite --reusable --label \"web page\"")]
    Invite(Invite),

    /// Use somebody's link: they become a contact.
    #[command(after_help = "\
Put the link in quotation marks; or give - and the link on standard input, so that it does not
show in the list of processes.

Examples:
  undertone add 'undertone://i/#...'
  undertone add - --name Bob")]
    Add(Add),

    /// List your contacts.
    Contacts,

    /// Send a text or a file.
    #[command(after_help = "\
The message is on your disk when the command returns, and goes out at once if the relay can be
reached. If it can't, the message stays queued, which is no error: the next `send` or `receive`
takes it along. With --wait the command returns when the message has come that far.

CONTACT is a name, a number, or the beginning of an account's fingerprint, as `contacts` shows.

Examples:
  undertone send Bob \"see you at eight\"
  undertone send Bob --file report.pdf --wait accepted
  date | undertone send Bob -")]
    Send(Send),

    /// Fetch what is waiting, and send what is queued.
    #[command(after_help = "\
Prints each message once, when it is on your disk, and marks it as read; files are saved in the
profile's directory and the path is printed. With --follow it stays connected until Ctrl-C, and
says whether it is.

Examples:
  undertone receive
  undertone receive --follow --json")]
    Receive(Receive),

    /// Fetch a file that was not fetched by itself, or stop fetching it.
    #[command(after_help = "\
Files of up to 10 MiB are fetched by themselves, at most 200 MiB on a day. `receive` shows the id of
every other one.

Examples:
  undertone download Bob 0123456789abcdef0123456789abcdef
  undertone download Bob 0123456789abcdef0123456789abcdef --cancel")]
    Download(Download),

    /// Show the messages with a contact, oldest first.
    #[command(after_help = "\
The number before each message names it in `react`, `edit` and `delete`.

Example:
  undertone history Bob --limit 20")]
    History(History),

    /// Look for a text in your messages.
    #[command(after_help = "\
Examples:
  undertone search invoice
  undertone search \"see you\" --contact Bob")]
    Search(Search),

    /// React to a message.
    #[command(after_help = format!("\
{MESSAGE_HELP}

Examples:
  undertone react Bob last 👍
  undertone react Bob 12 --remove"))]
    React(React),

    /// Give a message of yours another text.
    #[command(after_help = format!("\
The contact's program shows that it was edited. What it said before is kept neither here nor there;
whoever has read it has read it. {MESSAGE_HELP}

Examples:
  undertone edit Bob last \"see you at nine\"
  undertone edit Bob 12 -"))]
    Edit(Edit),

    /// Mark what a contact wrote as read.
    #[command(after_help = "\
`receive` marks what it prints. The clocks of disappearing messages begin to run; the contact is
told if `receipts` are on.

Examples:
  undertone read Bob
  undertone read Bob --up-to 12")]
    Read(Read),

    /// Choose whether contacts are told what you have read; at first they are not.
    #[command(after_help = "\
Receipts go out after a random time, like the acknowledgements that every program sends.

Examples:
  undertone receipts
  undertone receipts on")]
    Receipts(Receipts),

    /// Choose how long new messages with a contact stay, on both sides.
    #[command(after_help = "\
Each side goes by its own clock: what you send disappears so long after the relay has accepted it,
what you receive so long after it was marked as read. Messages that are there already stay as they
are. The contact's program erases theirs; a program that is not honest need not.

Examples:
  undertone timer Bob
  undertone timer Bob 7d
  undertone timer Bob off")]
    Timer(Timer),

    /// Call yourself something else; your contacts are told.
    #[command(after_help = "\
Example:
  undertone name \"Alice Liddell\"")]
    Name(Name),

    /// List who reads this profile's events, or forget a reader.
    #[command(after_help = "\
Programs on the SDK read the log of events under names, each at its own pace; `receive` is one of
them. Events are kept until each has read them, at most 100,000.

Examples:
  undertone cursors
  undertone cursors --drop \"old bot\"")]
    Cursors(Cursors),

    /// Compare keys with a contact, so that nobody can stand between you.
    #[command(after_help = "\
Both see the same 60 digits if, and only if, nobody stands between them. Compare them in person
or in a call, then confirm.

Examples:
  undertone verify Bob
  undertone verify Bob --scanned \"12345 67890 ...\"
  undertone verify Bob --confirm")]
    Verify(Verify),

    /// Call a contact something else, here only.
    #[command(after_help = "\
Example:
  undertone rename 2 \"Bob from work\"")]
    Rename(Rename),

    /// List the links that you handed out, or withdraw one.
    #[command(after_help = "\
Over a withdrawn link nobody new comes in; contacts who came over it stay.

Examples:
  undertone links
  undertone links --revoke 3")]
    Links(Links),

    /// Block a contact: the relay refuses what they send.
    Block(Who),

    /// Unblock a contact: they are told where to write.
    Unblock(Who),

    /// Delete a contact with all messages and files; or one message.
    #[command(after_help = format!("\
With --message one of your messages is taken back, here and at the contact, whose program shows that
there was one; with --here-only any message is deleted here, and the contact keeps it. {MESSAGE_HELP}

Examples:
  undertone delete Bob --yes
  undertone delete Bob --message last
  undertone delete Bob --message 12 --here-only"))]
    Delete(Delete),

    /// Decide whether messages to a verified contact go out again after a new session.
    Resend(Resend),

    /// Decide whether a contact has another account key.
    Key(Key),

    /// Move to another relay; contacts are told by themselves.
    Move(Move),

    /// Back up account, contacts and messages into one encrypted file, or restore them.
    #[command(
        subcommand,
        after_help = "\
A backup is encrypted under a recovery key of 64 characters, which is shown once: write it down.
No key of this device is in it, and no received files. Restoring makes a new device of the same
account, which takes the old one's place; conversations go on, and your contacts need do nothing.

Examples:
  undertone backup export alice.backup
  undertone backup check alice.backup
  undertone --profile new backup import alice.backup"
    )]
    Backup(Backup),

    /// Show whether the encryption works: post-quantum renewals, envelopes that could not be opened,
    /// contacts not verified, and how fast it is. Nothing of it is sent anywhere.
    Health,

    /// Show your profile: name, fingerprint, relay.
    #[command(visible_alias = "whoami")]
    Status,

    /// See it work: a real relay and two people on this machine, and what the relay holds.
    #[command(after_help = "\
Starts a relay on loopback in a fresh directory and two profiles; they meet by a link, exchange
texts and a file; the relay is killed and started again with messages queued. Then it shows what
each has and what the relay holds, and searches the relay's rows, files, log and frames for
everything that it must not know. Exit code 1 if anything is found, lost or duplicated.
Ends by itself after a few seconds and leaves nothing behind, unless --keep is given.

Examples:
  undertone demo
  undertone demo --file photo.jpg --keep")]
    Demo(Demo),

    /// The relay of the demonstration, in a process of its own so that it can be killed.
    #[command(name = "__relay", hide = true)]
    Relay(RelayProcess),
}

/// `init`
#[derive(Args, Debug)]
pub struct Init {
    /// The join address that the relay's operator gave you (ut-join:...), or - to read it from
    /// standard input.
    #[arg(long, value_name = "JOIN")]
    pub relay: String,

    /// What you call yourself; your contacts see it. Without it you are asked.
    #[arg(long)]
    pub name: Option<String>,
}

/// `invite`
#[derive(Args, Debug)]
pub struct Invite {
    /// For many people: every holder can write to you, and learns that the link is yours.
    #[arg(long)]
    pub reusable: bool,

    /// What to call the link in messages to you.
    #[arg(long)]
    pub label: Option<String>,

    /// Show the QR code even if the output is not a terminal.
    #[arg(long)]
    pub qr: bool,
}

/// `add`
#[derive(Args, Debug)]
pub struct Add {
    /// The link (undertone://i/#...), or - to read it from standard input.
    pub link: String,

    /// What to call the contact here; otherwise what they call themselves.
    #[arg(long)]
    pub name: Option<String>,
}

/// `send`
#[derive(Args, Debug)]
pub struct Send {
    /// To whom.
    pub contact: String,

    /// The text, or - to read it from standard input.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub text: Option<String>,

    /// Send a file.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,

    /// A text beside the file.
    #[arg(long, value_name = "TEXT", requires = "file", conflicts_with = "text")]
    pub caption: Option<String>,

    /// Send the text as a message of a program's own kind, such as com.example.poll.
    #[arg(long, value_name = "KIND", conflicts_with = "file")]
    pub custom: Option<String>,

    /// Wait until the message has come that far.
    #[arg(long, value_name = "STATE")]
    pub wait: Option<WaitFor>,

    /// How long to wait, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "wait")]
    pub timeout: u32,
}

/// How far a message has to come.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitFor {
    /// The contact's relay has it on its disk.
    Accepted,
    /// The contact's program has it on its disk.
    Delivered,
}

/// `receive`
#[derive(Args, Debug)]
pub struct Receive {
    /// Stay connected until Ctrl-C.
    #[arg(long)]
    pub follow: bool,

    /// Do not mark as read what is printed.
    #[arg(long)]
    pub keep_unread: bool,
}

/// `download`
#[derive(Args, Debug)]
pub struct Download {
    /// Who sent it.
    pub contact: String,

    /// The id of its message.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Do not fetch it, and remove what has come of it.
    #[arg(long)]
    pub cancel: bool,
}

/// `history`
#[derive(Args, Debug)]
pub struct History {
    /// With whom.
    pub contact: String,

    /// How many messages, counted from the newest.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// Only messages before this place (`seq` in the JSON output).
    #[arg(long, value_name = "SEQ")]
    pub before: Option<u64>,
}

/// `verify`
#[derive(Args, Debug)]
pub struct Verify {
    /// Whom.
    pub contact: String,

    /// Record that you have compared and that both numbers are the same.
    #[arg(long, conflicts_with = "scanned")]
    pub confirm: bool,

    /// Compare with the digits that the contact sees; the same number marks them verified.
    #[arg(long, value_name = "DIGITS")]
    pub scanned: Option<String>,

    /// Show the QR code even if the output is not a terminal.
    #[arg(long)]
    pub qr: bool,
}

/// `rename`
#[derive(Args, Debug)]
pub struct Rename {
    /// Whom.
    pub contact: String,

    /// What to call them.
    pub name: String,
}

/// `links`
#[derive(Args, Debug)]
pub struct Links {
    /// Withdraw the link with this number.
    #[arg(long, value_name = "NUMBER")]
    pub revoke: Option<u64>,
}

/// `block` and `unblock`
#[derive(Args, Debug)]
pub struct Who {
    /// Whom.
    pub contact: String,
}

/// `delete`
#[derive(Args, Debug)]
pub struct Delete {
    /// Whom.
    pub contact: String,

    /// Do it: messages and files of this contact can't be had back.
    #[arg(long, required_unless_present = "message", conflicts_with = "message")]
    pub yes: bool,

    /// Take back this message of yours: its number, its id, or `last`.
    #[arg(long, value_name = "MESSAGE")]
    pub message: Option<String>,

    /// Delete the message here, whoever wrote it, and leave it at the contact.
    #[arg(long, requires = "message", conflicts_with = "yes")]
    pub here_only: bool,
}

/// `resend`
#[derive(Args, Debug)]
pub struct Resend {
    /// To whom.
    pub contact: String,

    /// Do not send them again.
    #[arg(long)]
    pub give_up: bool,
}

/// `key`
#[derive(Args, Debug)]
pub struct Key {
    /// Whose.
    pub contact: String,

    /// This account is theirs: they told you so by another way.
    #[arg(
        long,
        value_name = "ACCOUNT",
        conflicts_with = "refuse",
        required_unless_present = "refuse"
    )]
    pub accept: Option<AccountId>,

    /// It is not theirs.
    #[arg(long)]
    pub refuse: bool,
}

/// `move`
#[derive(Args, Debug)]
pub struct Move {
    /// The join address of the other relay (ut-join:...), or - to read it from standard input.
    #[arg(long, value_name = "JOIN")]
    pub relay: String,
}

/// `backup`
#[derive(Subcommand, Debug)]
pub enum Backup {
    /// Write a backup into a new file; prints the recovery key, once.
    Export(BackupFile),

    /// Make a profile out of a backup: a new device of the same account.
    Import(BackupImport),

    /// Read a backup to its end: whether it is whole, and the key is right.
    Check(BackupFile),
}

/// `backup export` and `backup check`
#[derive(Args, Debug)]
pub struct BackupFile {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub path: PathBuf,

    /// Read the recovery key from a file, or - for standard input. Without it, `export` makes a new
    /// one, and the others ask.
    #[arg(long, value_name = "PATH")]
    pub recovery_key_file: Option<PathBuf>,
}

/// `backup import`
#[derive(Args, Debug)]
pub struct BackupImport {
    /// The backup, and its key.
    #[command(flatten)]
    pub file: BackupFile,
}

/// `demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// The file to send; the project's README if absent.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,

    /// Leave the relay running and the profiles in place, and print the commands to go on by hand.
    #[arg(long)]
    pub keep: bool,
}

/// `__relay`
#[derive(Args, Debug)]
pub struct RelayProcess {
    /// The relay's directory.
    #[arg(long)]
    pub directory: PathBuf,

    /// The UDP port on 127.0.0.1; 0 for a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,

    /// Where to write the log.
    #[arg(long)]
    pub log: PathBuf,

    /// Where to write the frames that are served, after TLS.
    #[arg(long)]
    pub frames: PathBuf,

    /// Log a line with this text, which the demonstration's search must find.
    #[arg(long)]
    pub log_canary: Option<String>,
}
