//! `demo`: a real relay, two real profiles, and what the relay knows about them.
//!
//! The relay is a process of its own, so that killing it is killing it; Alice and Bob are clients
//! of the SDK in this process, each from a loopback address of its own. [`story`] plays, [`check`]
//! compares, [`search`] looks for everything that the relay must not have.

mod canary;
mod check;
mod columns;
mod file;
mod holdings;
mod needle;
mod person;
mod relay;
mod report;
mod search;
mod step;
mod story;

use std::path::Path;

use tempfile::TempDir;

use crate::args::Demo;
use crate::failure::Failure;
use crate::output::{Output, Written};

use canary::Canaries;
use person::Person;
use relay::{RelayPlaces, RelayProcess};
use report::Report;
use search::Findings;
use step::{failed, tell};
use story::Story;

/// Runs the demonstration in a fresh directory, which goes unless it is kept or something failed.
pub(crate) async fn run(demo: Demo, output: &Output) -> Written {
    let root = fresh_directory()?;
    let result = tokio::select! {
        result = perform(&demo, root.path(), output) => result,
        _ = tokio::signal::ctrl_c() => return Err(failed("interrupted".into())),
    };
    match result {
        Ok(relay) if demo.keep => leave_running(relay, root, output).await,
        Ok(relay) => relay.stop().await,
        // A wrong file says nothing about the relay: there is nothing to look into.
        Err(failure @ Failure::Sdk(_)) => Err(failure),
        Err(failure) => {
            let kept = root.keep();
            Err(failed(format!(
                "{failure}\nEverything is left in {} to look into; remove it when done",
                kept.display()
            )))
        }
    }
}

/// A directory that only this person can look into: profiles are in it, and the frames.
fn fresh_directory() -> Result<TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("undertone-demo-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().map_err(|error| failed(format!("no directory can be made ({error})")))
}

/// Plays, checks, searches and reports. The relay that is given back holds the same store.
async fn perform(demo: &Demo, root: &Path, output: &Output) -> Result<RelayProcess, Failure> {
    let file = file::chosen(demo, root)?;
    let mut story = Story {
        output,
        places: RelayPlaces::below(root),
        canaries: Canaries::new()?,
        alice: Person::new("alice", "Alice (demo)", root, 2)?,
        bob: Person::new("bob", "Bob (demo)", root, 3)?,
        needles: Vec::new(),
        findings: Findings::default(),
    };
    let played = story.play(&file).await?;

    let alice = story.alice.history().await?;
    let bob = story.bob.history().await?;
    let mut checks = check::conversation(&story, &played, &alice, &bob).await?;
    let stored = story.places.stored()?;
    story.alice.close().await;
    story.bob.close().await;

    tell(output, "searching the relay's rows, files, log and frames");
    let search = story.search()?;
    plant(&story, &played.join).await?;
    let (join, port) = (played.join, played.port);
    played.relay.kill()?;
    let mut findings = std::mem::take(&mut story.findings);
    check::look_everywhere(&search, &story, &mut findings)?;
    let own_addresses = [&story.alice, &story.bob].iter().all(|person| person.address.is_some());
    checks.push(check::coverage(&search, own_addresses));
    checks.extend(check::search(&findings));

    let relay = RelayProcess::start(&story.places, port, None).await?;
    let report = Report {
        root,
        program: std::env::current_exe().unwrap_or_else(|_| "undertone".into()),
        people: [&story.alice, &story.bob],
        histories: [&alice, &bob],
        stored: &stored,
        checks: &checks,
        search: &search,
        findings: &findings,
        keep: demo.keep,
        join: &join,
    };
    report.print(output)?;
    let wrong: Vec<&str> =
        checks.iter().filter(|check| !check.ok).map(|check| check.detail.as_str()).collect();
    if wrong.is_empty() { Ok(relay) } else { Err(failed(wrong.join("; "))) }
}

/// Plants what the search must find. The log's was planted when the relay was started again.
async fn plant(story: &Story<'_>, join: &str) -> Written {
    story.canaries.plant_file(&story.places.directory)?;
    let join = join.parse().map_err(|error| failed(format!("the join address: {error}")))?;
    story.canaries.plant_row_and_frame(&join).await
}

/// The commands to go on by hand are printed; this process keeps the relay until Ctrl-C.
async fn leave_running(relay: RelayProcess, root: TempDir, output: &Output) -> Written {
    let kept = root.keep();
    output.remark("The relay runs until Ctrl-C.");
    tokio::signal::ctrl_c()
        .await
        .map_err(|error| failed(format!("Ctrl-C can't be waited for ({error})")))?;
    relay.stop().await?;
    output.remark(&format!("The relay has ended. Profiles and store are in {}", kept.display()));
    Ok(())
}
