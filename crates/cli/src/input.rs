//! What is read from standard input and from files: bounded, and never shown.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// A passphrase or a text is never longer than this: the largest envelope is 64 KiB.
const MAX_INPUT: u64 = 64 * 1024;

/// The environment variable that holds the passphrase.
const PASSPHRASE_VARIABLE: &str = "UNDERTONE_PASSPHRASE";

/// The argument, or all of standard input if it is `-`.
pub(crate) fn argument_or_stdin(argument: String) -> Result<Zeroizing<String>, Failure> {
    if argument != "-" {
        return Ok(Zeroizing::new(argument));
    }
    bounded(io::stdin().lock())
        .map_err(|reason| Failure::Usage(format!("standard input can't be used: {reason}")))
}

/// All of a file, or of standard input if it is `-`.
pub(crate) fn file_or_stdin(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = if path == Path::new("-") {
        bounded(io::stdin().lock())
    } else {
        File::open(path).map_err(|error| error.to_string()).and_then(bounded)
    };
    text.map_err(|reason| Failure::Usage(format!("{} can't be used: {reason}", path.display())))
}

/// Asks for something that is not shown while it is typed.
pub(crate) fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(question).map_err(|_| {
        Failure::Usage(
            "there is no terminal to ask for the recovery key: use --recovery-key-file".into(),
        )
    })?;
    Ok(Zeroizing::new(typed))
}

/// Asks for a line on the terminal; `None` if there is no terminal.
pub(crate) fn ask(question: &str) -> Result<Option<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    eprint!("{question}");
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::Usage(format!("nothing could be read ({error})")))?;
    Ok(Some(line.trim().to_owned()))
}

/// The passphrase of a profile that exists: from the file, the environment or a prompt.
pub(crate) fn passphrase(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    match given(file)? {
        Some(passphrase) => Ok(passphrase),
        None => prompt("Passphrase: "),
    }
}

/// The passphrase of a new profile: a prompt asks twice.
pub(crate) fn new_passphrase(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    if let Some(passphrase) = given(file)? {
        return Ok(passphrase);
    }
    let first = prompt("New passphrase: ")?;
    let second = prompt("The same again: ")?;
    if *first == *second {
        Ok(first)
    } else {
        Err(missing("the two passphrases differ: try again; nothing was created"))
    }
}

fn given(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = file {
        let text = File::open(path)
            .map_err(|error| error.to_string())
            .and_then(bounded)
            .map_err(|reason| missing(&format!("{} can't be used: {reason}", path.display())))?;
        return not_empty(first_line(&text)).map(Some);
    }
    match std::env::var(PASSPHRASE_VARIABLE) {
        Ok(text) => not_empty(Zeroizing::new(text)).map(Some),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(missing("the passphrase in UNDERTONE_PASSPHRASE is not UTF-8"))
        }
    }
}

fn prompt(question: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(question).map_err(|_| {
        missing(
            "there is no terminal to ask for the passphrase: use --passphrase-file, or the \
             environment variable UNDERTONE_PASSPHRASE",
        )
    })?;
    not_empty(Zeroizing::new(typed))
}

/// A file made by an editor ends with a line break that is not part of the passphrase.
fn first_line(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
}

fn not_empty(passphrase: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    if passphrase.is_empty() { Err(missing("the passphrase is empty")) } else { Ok(passphrase) }
}

fn missing(sentence: &str) -> Failure {
    Failure::PassphraseMissing(sentence.to_owned())
}

/// All of it, if it is UTF-8 and not too long.
fn bounded(source: impl Read) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    source.take(MAX_INPUT + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_INPUT {
        return Err(format!("it is longer than {MAX_INPUT} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_bounded_and_utf8() {
        assert!(bounded(io::repeat(b'a')).is_err());
        assert!(bounded([0xff, 0xfe].as_slice()).is_err());
        assert_eq!(bounded(b"text".as_slice()).as_deref().map(String::as_str), Ok("text"));
    }

    #[test]
    fn a_line_break_is_no_part_of_a_passphrase() {
        assert_eq!(*first_line("correct horse \r\nnext"), "correct horse ");
        assert!(not_empty(first_line("\n")).is_err());
    }
}
