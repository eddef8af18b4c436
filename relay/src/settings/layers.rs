//! Where settings come from: the command line goes before the environment, that before the file, and
//! that before the defaults.

use core::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::VARIABLES;
use super::{Applies, KEYS, Key, Raw, Settings};

/// The layers above the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables of the environment, and their values. Others than ours are passed over.
    pub environment: Vec<(String, String)>,
    /// What the command line sets: the option, a key and its value.
    pub flags: Vec<(String, String, String)>,
}

/// Which layer a value is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// None: it is the default.
    Default,
    /// The file.
    File,
    /// The environment.
    Environment,
    /// The command line.
    CommandLine,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::CommandLine => "command line",
        }
    }
}

/// Something that is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// A file with a line, a variable, or an option.
    pub place: String,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Settings, and where each is from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where the value of each of [`KEYS`] is from, and where that stands.
    sources: Vec<(Source, String)>,
    /// Variables that look like ours and are none.
    pub unknown_variables: Vec<String>,
}

struct Loading {
    loaded: Loaded,
    problems: Vec<Problem>,
}

impl Layers {
    /// Reads all layers. All problems are told, not only the first.
    ///
    /// # Errors
    /// What is wrong, at least one thing.
    pub fn load(&self) -> Result<Loaded, Vec<Problem>> {
        let sources = vec![(Source::Default, "the defaults".to_owned()); KEYS.len()];
        let loaded =
            Loaded { settings: Settings::default(), sources, unknown_variables: Vec::new() };
        let mut loading = Loading { loaded, problems: Vec::new() };
        if let Some(path) = &self.file {
            loading.file(path);
        }
        loading.environment(&self.environment);
        for (option, name, value) in &self.flags {
            loading.text(option, name, value, Source::CommandLine);
        }
        for (name, what) in loading.loaded.settings.faults() {
            let place = loading.loaded.place(name);
            loading.problems.push(Problem { place, what });
        }
        if loading.problems.is_empty() { Ok(loading.loaded) } else { Err(loading.problems) }
    }
}

impl Loading {
    fn problem(&mut self, place: &str, what: String) {
        self.problems.push(Problem { place: place.to_owned(), what });
    }

    fn set(&mut self, place: &str, key: &'static Key, raw: Raw<'_>, source: Source) {
        match key.set(&mut self.loaded.settings, raw) {
            Ok(()) => {
                let index = KEYS.iter().position(|known| known.name == key.name);
                if let Some(slot) = index.and_then(|index| self.loaded.sources.get_mut(index)) {
                    *slot = (source, place.to_owned());
                }
            }
            Err(what) => self.problem(place, format!("{}: {what}", key.name)),
        }
    }

    fn text(&mut self, place: &str, name: &str, value: &str, source: Source) {
        match Key::named(name) {
            Some(key) => self.set(place, key, Raw::Text(value), source),
            None => self.problem(place, unknown(name)),
        }
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        // In the order of the keys, so that what is told does not depend on the environment's.
        for key in KEYS {
            let variable = key.variable();
            for (_, value) in variables.iter().filter(|(name, _)| *name == variable) {
                let place = format!("environment variable {variable}");
                self.set(&place, key, Raw::Text(value), Source::Environment);
            }
        }
        let ours =
            |name: &str| name == CONFIG_VARIABLE || KEYS.iter().any(|key| key.variable() == name);
        let strangers = variables.iter().map(|(name, _)| name);
        let strangers = strangers.filter(|name| name.starts_with(VARIABLES) && !ours(name));
        self.loaded.unknown_variables.extend(strangers.cloned());
    }

    fn file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        let text = match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => return self.problem(&shown, "this is not text in UTF-8".into()),
            Err(error) => {
                return self.problem(&shown, format!("the configuration can't be read: {error}"));
            }
        };
        match DeTable::parse(&text) {
            Ok(table) => self.table(&File { path: &shown, text: &text }, "", table.get_ref()),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                let place = format!("{shown}:{}", line(&text, start));
                self.problem(&place, format!("this is not TOML: {}", error.message()));
            }
        }
    }

    fn table(&mut self, file: &File<'_>, prefix: &str, table: &DeTable<'_>) {
        // In the order of the lines.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let path = format!("{prefix}{}", name.get_ref());
            let place = file.place(name);
            if let Some(key) = Key::named(&path) {
                self.set(&place, key, Raw::Toml(value.get_ref()), Source::File);
                continue;
            }
            let below = format!("{path}.");
            match value.get_ref() {
                DeValue::Table(table) if KEYS.iter().any(|key| key.name.starts_with(&below)) => {
                    self.table(file, &below, table);
                }
                _ => self.problem(&place, unknown(&path)),
            }
        }
    }
}

/// The variable that names the file.
pub(super) const CONFIG_VARIABLE: &str = "UNDERTONE_RELAY_CONFIG";

struct File<'a> {
    path: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn place<T>(&self, at: &Spanned<T>) -> String {
        format!("{}:{}", self.path, line(self.text, at.span().start))
    }
}

/// The number of the line in which a byte stands.
fn line(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1)
}

fn unknown(name: &str) -> String {
    let nearest = KEYS.iter().map(|key| (distance(name, key.name), key.name)).min();
    match nearest {
        Some((steps, known)) if steps <= 3 => {
            format!("there is no setting {name:?}; did you mean {known:?}?")
        }
        _ => format!("there is no setting {name:?}; `check-config` lists all that there are"),
    }
}

/// How many letters have to be put in, taken out or replaced (Levenshtein's distance).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (slot, b) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal.saturating_add(usize::from(a != b));
            diagonal = *slot;
            left = replaced.min(slot.saturating_add(1)).min(left.saturating_add(1));
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or(0)
}

impl Loaded {
    fn source(&self, name: &str) -> Option<&(Source, String)> {
        self.sources.get(KEYS.iter().position(|key| key.name == name)?)
    }

    /// Where the value of a key stands.
    fn place(&self, name: &str) -> String {
        self.source(name).map_or_else(String::new, |(_, place)| place.clone())
    }

    /// The configuration that holds, as a file that could be used, each value with the layer it
    /// is from.
    #[must_use]
    pub fn as_toml(&self) -> String {
        write(|out, key, name| {
            let source = self.source(key.name).map_or(Source::Default, |(source, _)| *source);
            let value = key.shown(&self.settings);
            let line = value.map_or_else(|| format!("# {name} ="), |v| format!("{name} = {v}"));
            let _ = writeln!(out, "{line}  # {}", source.name());
        })
    }

    /// Values that another configuration has otherwise: those that a reload can change, and those
    /// that wait for the next start.
    #[must_use]
    pub fn changes(&self, other: &Self) -> (Vec<&'static str>, Vec<&'static str>) {
        let changed = self.settings.differences(&other.settings).into_iter();
        let (now, later): (Vec<_>, Vec<_>) =
            changed.partition(|key| key.applies == Applies::Reload);
        let names = |keys: Vec<&'static Key>| keys.into_iter().map(|key| key.name).collect();
        (names(now), names(later))
    }
}

/// Writes something for each key, below the headers of their tables.
fn write(mut each: impl FnMut(&mut String, &'static Key, &'static str)) -> String {
    let mut out = String::new();
    let mut current = "";
    for key in KEYS {
        let (table, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if table != current {
            let _ = writeln!(out, "\n[{table}]");
            current = table;
        }
        each(&mut out, key, name);
    }
    out
}

/// The example file: every key with what it means and its default, commented out.
#[must_use]
pub fn example() -> String {
    let defaults = Settings::default();
    let mut text = "# Configuration of undertone-relay. Every line that begins with #name is a default.\n# `undertone-relay check-config` says what holds, and where it is from.\n\n".to_owned();
    text.push_str(&write(|out, key, name| {
        let reload = match key.applies {
            Applies::Reload => "",
            Applies::Start => " (Takes effect with the next start.)",
        };
        let value = key.shown(&defaults).unwrap_or_default();
        let line = format!("#{name} = {value}");
        let _ = writeln!(out, "# {}{reload}\n{}", key.about, line.trim_end());
    }));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("relay.toml");
        std::fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let layers = Layers { file: Some(file), environment, flags: Vec::new() };
        layers.load()
    }

    /// The file's name goes, the line stays.
    fn told(result: Result<Loaded, Vec<Problem>>) -> Vec<String> {
        let problems = result.err().unwrap_or_default();
        problems
            .iter()
            .map(|p| {
                p.to_string()
                    .rsplit_once('/')
                    .map_or_else(|| p.to_string(), |(_, end)| end.to_owned())
            })
            .collect()
    }

    #[test]
    fn layers_go_before_each_other() {
        let text = "retention_days = 7\n[limits]\nconnections = 10\nhandshakes = 20\n";
        let loaded = load(text, &[("UNDERTONE_RELAY_LIMITS_CONNECTIONS", "11")]).unwrap();
        let shown = loaded.as_toml();
        for line in [
            "retention_days = 7  # file",
            "connections = 11  # environment",
            "handshakes = 20  # file",
            "streams = 8  # default",
            "# host =  # default",
        ] {
            assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
        }
        let flag = ("--set".to_owned(), "limits.connections".to_owned(), "12".to_owned());
        let layers = Layers { flags: vec![flag], ..Layers::default() };
        assert!(layers.load().unwrap().as_toml().contains("connections = 12  # command line"));
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text = "lisen = \"[::]:1\"\nretention_days = 31\n\n[limits]\nconnections = \"many\"\n[limits.prefix]\nconections = 1\n[nothing]\n[deny]\nprefixes = [\"1.2.3.4/33\"]\n";
        let told = told(load(text, &[("UNDERTONE_RELAY_LOG_LEVEL", "loud")]));
        let expected = [
            "relay.toml:1: there is no setting \"lisen\"; did you mean \"listen\"?",
            "relay.toml:2: retention_days: 31 is not between 1 and 30",
            "relay.toml:5: limits.connections: \"many\" is not a whole number",
            "relay.toml:7: there is no setting \"limits.prefix.conections\"; did you mean \"limits.prefix.connections\"?",
            "relay.toml:8: there is no setting \"nothing\"; `check-config` lists all that there are",
        ];
        for line in expected {
            assert!(told.iter().any(|found| found == line), "{line}\n{told:#?}");
        }
        assert!(told.iter().any(|line| line.contains("UNDERTONE_RELAY_LOG_LEVEL")), "{told:#?}");
        assert_eq!(told.len(), 7, "{told:#?}");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let told = told(load("listen = \"[::]:1\"\nhost == 3\n", &[]));
        assert!(
            told.len() == 1 && told[0].starts_with("relay.toml:2: this is not TOML"),
            "{told:?}"
        );
        let layers = Layers { file: Some("/nowhere/relay.toml".into()), ..Layers::default() };
        assert!(layers.load().unwrap_err()[0].what.contains("can't be read"));
    }

    #[test]
    fn metrics_are_served_to_this_machine_alone() {
        let told = told(load("[monitoring]\nlisten = \"0.0.0.0:9464\"\n", &[]));
        assert!(
            told.len() == 1 && told[0].starts_with("relay.toml:2: 0.0.0.0:9464 can be"),
            "{told:?}"
        );
        assert!(load("[monitoring]\nlisten = \"[::1]:9464\"\n", &[]).is_ok());
    }

    #[test]
    fn the_example_file_says_what_holds_without_one() {
        let committed = include_str!("../../relay.example.toml");
        assert_eq!(committed, example(), "write it anew with `undertone-relay example-config`");
        let uncommented: String = committed
            .lines()
            .map(|line| {
                line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
            })
            .filter(|line| !line.ends_with('='))
            .map(|line| format!("{line}\n"))
            .collect();
        let loaded = load(&uncommented, &[]).unwrap();
        assert_eq!(loaded.settings, Settings::default());
        let from_file = loaded.sources.iter().filter(|(source, _)| *source == Source::File);
        // All keys but the four that have no default.
        assert_eq!(from_file.count(), KEYS.len() - 4);
    }

    #[test]
    fn what_check_config_prints_is_a_configuration() {
        let loaded =
            load("retention_days = 7\n[deny]\nprefixes = [\"192.0.2.0/24\"]\n", &[]).unwrap();
        let again = load(&loaded.as_toml(), &[]).unwrap();
        assert_eq!(again.settings, loaded.settings);
    }

    #[test]
    fn what_a_reload_changes_is_what_the_table_says() {
        // Every key with another value than the default.
        let mut other = Settings::default();
        for key in KEYS {
            let value = match key.shown(&other).as_deref() {
                Some("true") => "false",
                Some("false") => "true",
                _ => "7",
            };
            let values = [value, "[::1]:7", "192.0.2.7", "debug", "json", &"07".repeat(32), "::/0"];
            let before = key.shown(&other);
            let mut changed = values.iter().filter(|v| key.set(&mut other, Raw::Text(v)).is_ok());
            assert!(changed.next().is_some(), "{}", key.name);
            assert_ne!(key.shown(&other), before, "{}", key.name);
        }
        let start = Settings::default();
        let reloaded = start.with_reloaded(&other);
        let left: Vec<_> = reloaded.differences(&other).iter().map(|key| key.name).collect();
        let waits: Vec<_> =
            KEYS.iter().filter(|k| k.applies == Applies::Start).map(|k| k.name).collect();
        assert_eq!(left, waits);
    }

    proptest::proptest! {
        /// Whatever stands in the file, reading it ends with settings or with what is wrong.
        #[test]
        fn no_file_is_too_strange(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = load(&String::from_utf8_lossy(&bytes), &[]);
        }

        /// As above, nearer to what people write: pieces of the example, put together anew.
        #[test]
        fn no_mixture_is_too_strange(
            pieces in proptest::collection::vec((0_usize..4000, 0_usize..60), 0..20),
        ) {
            let example = example().replace("#", "");
            let piece = |(at, length): &(usize, usize)| {
                example.chars().skip(*at).take(*length).collect::<String>()
            };
            let text: String = pieces.iter().map(piece).collect();
            match load(&text, &[("UNDERTONE_RELAY_LIMITS_STREAMS", text.trim())]) {
                Ok(loaded) => assert_eq!(load(&loaded.as_toml(), &[]).unwrap().settings, loaded.settings),
                Err(problems) => assert!(!problems.is_empty()),
            }
        }
    }

    #[test]
    fn changes_are_told_apart() {
        let before = load("", &[]).unwrap();
        let after = load("listen = \"127.0.0.1:1\"\n[log]\nlevel = \"debug\"\n", &[]).unwrap();
        assert_eq!(before.changes(&after), (vec!["log.level"], vec!["listen"]));
    }

    #[test]
    fn variables_of_others_are_named_and_passed_over() {
        let loaded = load("", &[("UNDERTONE_RELAY_PORT", "tcp://10.0.0.1:1"), ("HOME", "/")]);
        assert_eq!(loaded.unwrap().unknown_variables, ["UNDERTONE_RELAY_PORT"]);
    }
}
