//! What is printed, and where.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use crate::exit;
use crate::failure::Failure;
use crate::safe_text;

/// Standard output for results, standard error for what is said about them.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Text, or one JSON object to a line.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person looks at the results.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Prints one result, in one of its two forms.
    ///
    /// # Errors
    /// [`Failure::OutputClosed`] if nobody reads any more, [`Failure::Unexpected`].
    pub fn result(&self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Written {
        if self.json { self.json(&json()) } else { self.text(&text()) }
    }

    /// Prints lines of text. The caller has made safe what others wrote.
    ///
    /// # Errors
    /// As [`Self::result`].
    pub fn text(&self, text: &str) -> Written {
        written(writeln!(io::stdout().lock(), "{text}"))
    }

    /// Prints a JSON object on one line.
    ///
    /// # Errors
    /// As [`Self::result`].
    pub fn json(&self, value: &Value) -> Written {
        written(writeln!(io::stdout().lock(), "{}", safe_text::json(&value.to_string())))
    }

    /// Says something to a person on standard error; with JSON, nothing.
    pub fn remark(&self, text: &str) {
        if !self.json {
            // A remark that nobody can see changes nothing.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Prints a failure on standard error: one sentence, or one object.
    pub fn failure(&self, failure: &Failure) {
        let line = if self.json {
            safe_text::json(&failure_json(failure).to_string())
        } else {
            // Sentences can hold names that contacts chose.
            format!("undertone: {}", safe_text::block(&failure.to_string(), 2))
        };
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Whether something could be printed.
pub type Written = Result<(), Failure>;

fn written(result: io::Result<()>) -> Written {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Unexpected(format!("the output can't be written ({error})")),
    })
}

/// A failure as JSON: `error` (stable name), `exit` (exit code), `message` (a sentence).
#[must_use]
pub fn failure_json(failure: &Failure) -> Value {
    json!({
        "error": failure.code(),
        "exit": exit::of(failure).code(),
        "message": failure.to_string(),
    })
}
