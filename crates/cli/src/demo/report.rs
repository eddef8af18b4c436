//! What the demonstration says at its end.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use undertone::Message;
use undertone_relay::operator::StoreDump;

use super::check::Check;
use super::holdings;
use super::needle::{Class, Place};
use super::person::Person;
use super::search::{Findings, Search};
use crate::output::{Output, Written};
use crate::safe_text;

/// Everything that is reported.
pub(super) struct Report<'a> {
    pub(super) root: &'a Path,
    pub(super) program: PathBuf,
    pub(super) people: [&'a Person; 2],
    pub(super) histories: [&'a [Message]; 2],
    pub(super) stored: &'a StoreDump,
    pub(super) checks: &'a [Check],
    pub(super) search: &'a Search,
    pub(super) findings: &'a Findings,
    pub(super) keep: bool,
    pub(super) join: &'a str,
}

impl Report<'_> {
    pub(super) fn print(&self, output: &Output) -> Written {
        output.result(|| self.text(), || self.json())
    }

    fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    fn text(&self) -> String {
        let [alice, bob] = self.histories;
        let mut text = format!("\n{}\n", holdings::table(alice, bob, self.stored));
        text.push_str(
            "Long values are shown by their beginning and (length). Names in brackets were\n",
        );
        text.push_str(
            "unwrapped with the relay's own key; an envelope is what the sender delivered.\n\n",
        );
        for check in self.checks {
            let mark = if check.ok { "ok  " } else { "FAIL" };
            text.push_str(&format!("{mark} {}\n", safe_text::line(&check.detail)));
        }
        for leak in &self.findings.leaks {
            text.push_str(&format!(
                "FOUND {} in {} at {} ({}): {}\n",
                leak.class,
                leak.place.name(),
                safe_text::line(&leak.at),
                leak.form,
                safe_text::line(&leak.label)
            ));
        }
        let counts: Vec<String> = Class::SOUGHT
            .iter()
            .map(|class| format!("{} of class {}", self.search.count(*class), class.name()))
            .collect();
        text.push_str(&format!(
            "\nSearched for {},\neach in raw, hexadecimal and base64 form ({} patterns).\n",
            counts.join(", "),
            self.search.patterns()
        ));
        for label in self.search.too_short() {
            text.push_str(&format!("Too short to search for: {}\n", safe_text::line(label)));
        }
        if !self.own_addresses() {
            text.push_str(
                "This system has one loopback address: clients' could not be searched for.\n",
            );
        }
        if self.keep {
            text.push_str("\nTo go on by hand:\n");
            for command in self.commands() {
                text.push_str(&format!("  {command}\n"));
            }
        }
        text.push_str(if self.ok() {
            "\nThe relay carried it all, and holds nothing of it."
        } else {
            "\nNot everything is as it should be."
        });
        text
    }

    fn own_addresses(&self) -> bool {
        self.people.iter().all(|person| person.address.is_some())
    }

    fn json(&self) -> Value {
        let [alice, bob] = self.histories;
        let found: Vec<Value> = self
            .findings
            .leaks
            .iter()
            .map(|leak| {
                json!({
                    "place": leak.place.name(),
                    "at": leak.at,
                    "class": leak.class,
                    "label": leak.label,
                    "form": leak.form,
                })
            })
            .collect();
        let commands = if self.keep { self.commands() } else { Vec::new() };
        json!({
            "ok": self.ok(),
            "directory": self.root.to_string_lossy(),
            "checks": self.checks.iter().map(Check::json).collect::<Vec<_>>(),
            "alice": holdings::messages_json(alice),
            "bob": holdings::messages_json(bob),
            "relay": holdings::relay_json(self.stored),
            "search": {
                "needles": self.needles(),
                "patterns": self.search.patterns(),
                "too_short": self.search.too_short(),
                "client_addresses": self.own_addresses(),
                "places": self.places(),
                "found": found,
            },
            "commands": commands,
        })
    }

    /// How many different things of each class are searched for.
    fn needles(&self) -> Value {
        Class::SOUGHT
            .iter()
            .map(|class| (class.name().to_owned(), Value::from(self.search.count(*class))))
            .collect::<Map<_, _>>()
            .into()
    }

    fn places(&self) -> Vec<Value> {
        Place::ALL
            .iter()
            .map(|place| {
                json!({
                    "place": place.name(),
                    "bytes": self.findings.bytes.get(place).copied().unwrap_or_default(),
                    "canary_found": self.findings.canaries.contains(place),
                })
            })
            .collect()
    }

    /// Commands that work while the relay runs.
    fn commands(&self) -> Vec<String> {
        let as_person = |person: &Person, rest: &str| {
            let bind = person.address.map_or_else(String::new, |ip| format!(" --bind {ip}"));
            format!(
                "{} --profile {} --passphrase-file {}{bind} {rest}",
                quoted(&self.program),
                quoted(&person.directory),
                quoted(&person.passphrase_file)
            )
        };
        let [alice, bob] = self.people;
        vec![
            as_person(bob, "receive"),
            as_person(bob, "send 1 'Now by hand'"),
            as_person(alice, "receive --follow"),
            as_person(alice, "verify 1"),
            format!(
                "{} --profile {} init --relay {} --name Carol",
                quoted(&self.program),
                quoted(&self.root.join("carol")),
                self.join
            ),
        ]
    }
}

/// For a shell, if it needs to be.
fn quoted(path: &Path) -> String {
    let text = safe_text::line(&path.display().to_string());
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_for_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b.c")), "/tmp/a-b.c");
        assert_eq!(quoted(Path::new("/tmp/it's")), "'/tmp/it'\\''s'");
    }
}
