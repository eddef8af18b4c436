//! What is written for operators is what the program does: the README's tables, the packaged files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::{Command, Output};

use undertone_relay::operator::monitor;
use undertone_relay::settings::{Applies, KEYS, Layers, Settings};

const README: &str = include_str!("../README.md");

fn settings_table() -> String {
    let defaults = Settings::default();
    let mut table =
        "| setting | default | takes effect | meaning |\n|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let default = key.shown(&defaults).map_or_else(String::new, |value| format!("`{value}`"));
        let applies = match key.applies {
            Applies::Reload => "reload",
            Applies::Start => "start",
        };
        table.push_str(&format!("| `{}` | {default} | {applies} | {} |\n", key.name, key.about));
    }
    table
}

fn metrics_table() -> String {
    let mut table = "| metric | kind | meaning |\n|---|---|---|\n".to_owned();
    for metric in monitor::metrics() {
        let kind = metric.kind.name();
        table.push_str(&format!("| `{}` | {kind} | {} |\n", metric.name, metric.help));
    }
    table
}

#[test]
fn the_readme_has_every_setting_and_every_metric() {
    for table in [settings_table(), metrics_table()] {
        assert!(README.contains(&table), "the README has another table than this:\n{table}");
    }
}

fn relay(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone-relay"));
    // What the tests are run in is not what is tested.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("UNDERTONE_RELAY_")) {
        command.env_remove(name);
    }
    command.env_remove("STATE_DIRECTORY").args(arguments).output().unwrap()
}

fn packaged(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

#[test]
fn the_packaged_configuration_is_good() {
    let file = packaged("relay.toml");
    let loaded = Layers { file: Some(file.clone()), ..Layers::default() }.load().unwrap();
    assert_eq!(loaded.settings.directory().unwrap(), Path::new("/var/lib/undertone-relay"));
    let output = relay(&["check-config", "--config", file.to_str().unwrap()]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("listen = \"127.0.0.1:9464\"  # file"), "{text}");
}

#[test]
fn check_config_says_by_its_exit_code_whether_starting_makes_sense() {
    let good = relay(&["check-config", "--dir", "/nowhere", "--set", "limits.connections=7"]);
    assert_eq!(good.status.code(), Some(0));
    assert!(String::from_utf8(good.stdout).unwrap().contains("connections = 7  # command line"));
    for command in ["check-config", "run"] {
        let bad = relay(&[command, "--dir", "/nowhere", "--set", "limits.conections=7"]);
        assert_eq!(bad.status.code(), Some(2));
        let text = String::from_utf8(bad.stderr).unwrap();
        assert!(text.contains("did you mean \"limits.connections\"?"), "{text}");
        assert!(bad.stdout.is_empty());
    }
    assert_eq!(relay(&["check-config", "--set", "listen"]).status.code(), Some(1));
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let output = relay(&["man", directory.path().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for page in [
        "undertone-relay",
        "undertone-relay-run",
        "undertone-relay-root-sign",
        "undertone-relay-token-add",
    ] {
        let text = std::fs::read_to_string(directory.path().join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(relay(&["completions", shell]).stdout).unwrap();
        assert!(
            ["check-config", "token", "backup"].iter().all(|word| script.contains(word)),
            "{shell}"
        );
    }
}

#[test]
fn the_service_uses_what_there_is() {
    let unit = std::fs::read_to_string(packaged("undertone-relay.service")).unwrap();
    let starts: Vec<_> = unit
        .lines()
        .filter_map(|line| line.split_once("=/usr/bin/undertone-relay "))
        .map(|(_, arguments)| arguments)
        .collect();
    assert_eq!(starts.len(), 2);
    for arguments in starts {
        let arguments: Vec<_> = arguments.split(' ').collect();
        assert_eq!(arguments[1..], ["--config", "/etc/undertone-relay/relay.toml"]);
        let help = relay(&[arguments[0], "--help"]);
        assert!(help.status.success(), "{arguments:?}");
    }
}
