//! What operators do with the relay's data: back up and restore, account for it, hand it out and
//! remove it, search it for damage, and read what was done.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use undertone_relay::clock::{Clock as _, SystemClock};
use undertone_relay::operator::{
    Claim, IN_MEMORY, Inventory, NEVER_KEPT, Source, audit_log, backup, check, erase, export,
    inventory, record, restore, verify_audit,
};
use undertone_relay::store::audit::{Action, AuditAnchor, AuditEntry, Thing};

use super::{Result, date, has_store, inspect, print};

#[derive(Subcommand)]
pub(super) enum DataCommand {
    /// Back the relay up, all of one moment; it may be running.
    Backup {
        /// Directory for the backup; empty, or not there yet.
        #[arg(long)]
        to: PathBuf,
    },
    /// Make a relay from a backup, in a directory (`--dir`) that is empty or not there yet.
    Restore {
        /// Directory of the backup, or its part `data`.
        #[arg(long)]
        from: PathBuf,
        /// File of day keys, if it was kept elsewhere. Without it no envelope is restored.
        #[arg(long)]
        keys: Option<PathBuf>,
        /// Root key, if it was kept elsewhere.
        #[arg(long)]
        root_key: Option<PathBuf>,
    },
    /// Print what is kept, why and for how long (GDPR Art. 30), from the real tables.
    Inventory {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print everything that is stored of a mailbox, depot or blob (GDPR Art. 15), as JSON.
    Export(ClaimArguments),
    /// Remove a mailbox, depot or blob with all it holds (GDPR Art. 17); the relay may be running.
    Erase(ClaimArguments),
    /// Search the store for damage; the relay may be running.
    Check,
    /// The log of what operators did.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct ClaimArguments {
    /// A write, fetch, blob read or blob delete capability, 64 hexadecimal digits; `-` reads it
    /// from standard input, where no list of processes shows it.
    #[arg(long)]
    capability: Option<String>,
    /// The public read key of a mailbox, or a depot owner's public key: 64 hexadecimal digits.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// Print all entries, and the anchor to note down elsewhere.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check that nothing was altered, removed or cut off.
    Verify {
        /// An anchor that was noted down, as `audit show` printed it; may be given several times.
        #[arg(long)]
        expect: Vec<AuditAnchor>,
    },
}

pub(super) fn run(directory: &Path, command: DataCommand) -> Result {
    if let DataCommand::Restore { from, keys, root_key } = command {
        return restore_command(directory, &from, keys, root_key);
    }
    has_store(directory)?;
    let today = SystemClock.today();
    match command {
        DataCommand::Backup { to } => {
            let made = backup(directory, &to, today)?;
            let to = to.display();
            print(&format!(
                "{to}/data      {} files, {} bytes: unreadable without the day keys, except records and blobs\n\
                 {to}/keys      {} day keys: keep them apart, and delete them after the retention\n",
                made.files, made.bytes, made.keys
            ))?;
            print(&if made.identity {
                format!("{to}/identity  the root key: keep it apart, and keep it\n")
            } else {
                "The root key is not in this directory and not in the backup.\n".to_owned()
            })
        }
        // Done above.
        DataCommand::Restore { .. } => Ok(()),
        DataCommand::Inventory { json } => {
            record(directory, today, Action::InventoryTaken)?;
            let inventory = inventory(directory)?;
            print(&if json { inventory_json(&inventory)? } else { inventory_text(&inventory) })
        }
        DataCommand::Export(arguments) => {
            let (thing, dump) = export(directory, today, &claim(arguments)?)?;
            if thing == Thing::Nothing {
                return Err(NOTHING.into());
            }
            print(&inspect::as_json(&dump)?)
        }
        DataCommand::Erase(arguments) => match erase(directory, today, &claim(arguments)?)? {
            Thing::Nothing => Err(NOTHING.into()),
            thing => print(&format!("erased: {}\n", thing.name())),
        },
        DataCommand::Check => {
            record(directory, today, Action::Checked)?;
            let faults = check(directory)?;
            if faults.is_empty() {
                return print("everything is as it was written\n");
            }
            print(&(faults.join("\n") + "\n"))?;
            Err("the store is damaged: restore it from a backup, see the operator's guide".into())
        }
        DataCommand::Audit { command } => audit(directory, command),
    }
}

const NOTHING: &str =
    "nothing is stored under that; it may have been deleted, or never have been here";

fn claim(arguments: ClaimArguments) -> Result<Claim> {
    let parsed = match (arguments.capability, arguments.key) {
        (Some(text), _) if text == "-" => {
            let mut text = String::new();
            // More than any capability, and a bound.
            std::io::stdin().take(1024).read_to_string(&mut text)?;
            Claim::capability(&text)
        }
        (Some(text), _) => Claim::capability(&text),
        (None, Some(text)) => Claim::key(&text),
        (None, None) => None,
    };
    Ok(parsed.ok_or("give 64 hexadecimal digits")?)
}

fn restore_command(
    directory: &Path,
    from: &Path,
    keys: Option<PathBuf>,
    root_key: Option<PathBuf>,
) -> Result {
    let mut source = Source::whole(from);
    if !source.data.join("manifest.json").try_exists()? {
        source.data = from.to_owned();
    }
    source.keys = keys.unwrap_or(source.keys);
    source.root_key = root_key.unwrap_or(source.root_key);
    let made = restore(&source, directory, SystemClock.today())?;
    let mut text = format!(
        "Restored into {}: incarnation {}, {} days of envelopes, {} blobs, {} depots (empty until their owners fill them).\n",
        directory.display(),
        made.incarnation,
        made.days,
        made.blobs,
        made.depots
    );
    if made.unreadable_days > 0 {
        text.push_str(&format!(
            "{} days of envelopes were left out, since their keys are not there.\n",
            made.unreadable_days
        ));
    }
    if !made.identity {
        text.push_str("There is no root key: put it into the directory as root.key before the relay is started.\n");
    }
    print(&text)
}

fn audit(directory: &Path, command: AuditCommand) -> Result {
    match command {
        AuditCommand::Show { json } => {
            let entries = audit_log(directory)?;
            if json {
                let rows: Vec<_> = entries.iter().map(entry_json).collect();
                return print(&(serde_json::to_string_pretty(&rows)? + "\n"));
            }
            let mut text = "number  day         action\n".to_owned();
            for entry in &entries {
                let detail = if entry.detail.is_empty() {
                    String::new()
                } else {
                    format!(": {}", entry.detail)
                };
                text.push_str(&format!(
                    "{:<7} {:<11} {}{detail}\n",
                    entry.number,
                    date(entry.day),
                    entry.action
                ));
            }
            if let Some(last) = entries.last() {
                text.push_str(&format!("anchor: {}\n", last.anchor()));
            }
            print(&text)
        }
        AuditCommand::Verify { expect } => {
            let entries = verify_audit(directory, &expect)??;
            let anchor = entries.last().map_or_else(String::new, |last| last.anchor().to_string());
            print(&format!(
                "{} entries, nothing missing or altered\nanchor: {anchor}\n",
                entries.len()
            ))
        }
    }
}

fn entry_json(entry: &AuditEntry) -> serde_json::Value {
    serde_json::json!({
        "number": entry.number,
        "day": entry.day.get(),
        "date": date(entry.day),
        "action": entry.action,
        "detail": entry.detail,
        "hash": entry.hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
    })
}

fn inventory_text(inventory: &Inventory) -> String {
    let mut text = String::new();
    for entry in &inventory.entries {
        text.push_str(&format!(
            "{} / {}: {} rows\n  for: {}\n  kept: {}\n",
            entry.file, entry.table, entry.rows, entry.purpose, entry.kept
        ));
        for (name, what) in &entry.fields {
            text.push_str(&format!("    {name}: {what}\n"));
        }
        text.push('\n');
    }
    text.push_str(&format!("In memory only: {IN_MEMORY}.\nNever kept: {NEVER_KEPT}.\n"));
    text
}

fn inventory_json(inventory: &Inventory) -> Result<String> {
    let tables: Vec<_> = inventory
        .entries
        .iter()
        .map(|entry| {
            let fields: Vec<_> = entry
                .fields
                .iter()
                .map(|(name, what)| serde_json::json!({ "name": name, "what": what }))
                .collect();
            serde_json::json!({
                "file": entry.file,
                "table": entry.table,
                "rows": entry.rows,
                "purpose": entry.purpose,
                "kept": entry.kept,
                "fields": fields,
            })
        })
        .collect();
    let whole = serde_json::json!({
        "tables": tables,
        "in_memory_only": IN_MEMORY,
        "never_kept": NEVER_KEPT,
    });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}
