//! What can be typed about messages.

use clap::Args;

/// How a message is named in `--help`.
pub(super) const MESSAGE_HELP: &str = "\
MESSAGE is the number that `history` shows before it, its id (`id` in the JSON output), or `last`.";

/// `react`
#[derive(Args, Debug)]
pub struct React {
    /// With whom the message is.
    pub contact: String,

    /// The message: its number, its id, or `last`.
    pub message: String,

    /// The emoji; it takes the place of the one before.
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    pub emoji: Option<String>,

    /// Take your reaction back.
    #[arg(long)]
    pub remove: bool,
}

/// `edit`
#[derive(Args, Debug)]
pub struct Edit {
    /// With whom the message is.
    pub contact: String,

    /// The message, one of yours: its number, its id, or `last`.
    pub message: String,

    /// What it says from now on, or - to read it from standard input. Of a file: its caption.
    pub text: String,
}

/// `read`
#[derive(Args, Debug)]
pub struct Read {
    /// Whose messages.
    pub contact: String,

    /// Only up to this message: its number, its id, or `last`.
    #[arg(long, value_name = "MESSAGE")]
    pub up_to: Option<String>,
}

/// `receipts`
#[derive(Args, Debug)]
pub struct Receipts {
    /// From now on; without it, what is set is shown.
    pub setting: Option<Switch>,
}

/// On or off.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// Contacts are told.
    On,
    /// They are not.
    Off,
}

/// `timer`
#[derive(Args, Debug)]
pub struct Timer {
    /// With whom.
    pub contact: String,

    /// How long new messages stay: 30s, 5m, 8h, 7d, 4w, or `off`. Without it, what is set is shown.
    #[arg(value_parser = seconds)]
    pub time: Option<u32>,
}

/// `name`
#[derive(Args, Debug)]
pub struct Name {
    /// What you call yourself.
    pub name: String,
}

/// `search`
#[derive(Args, Debug)]
pub struct Search {
    /// What to look for, in any case.
    pub text: String,

    /// Only in messages with this contact.
    #[arg(long)]
    pub contact: Option<String>,

    /// How many messages, counted from the newest.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// `cursors`
#[derive(Args, Debug)]
pub struct Cursors {
    /// Forget the reader of this name.
    #[arg(long, value_name = "NAME")]
    pub drop: Option<String>,
}

/// A time as people write it.
fn seconds(text: &str) -> Result<u32, String> {
    if matches!(text, "off" | "0") {
        return Ok(0);
    }
    let wrong = || "give a number and s, m, h, d or w, such as 8h; or off".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).ok_or_else(wrong)?;
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let total = number.checked_mul(seconds).filter(|total| *total > 0);
    total.ok_or_else(|| "that is too long, or no time at all: `off` lets messages stay".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in
            [("off", 0), ("0", 0), ("30s", 30), ("5m", 300), ("8h", 28_800), ("4w", 2_419_200)]
        {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in ["", "8", "h", "0s", "-1h", "8 h", "8x", "99999999w", "é", "1é"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
