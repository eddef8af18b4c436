//! `health`

use std::time::Duration;

use undertone::{Client, HealthReport, Latency};

use crate::output::{Output, Written};
use crate::{json, safe_text};

pub(super) async fn run(client: &Client, output: &Output) -> Written {
    let health = client.health().await?;
    output.result(|| said(&health), || json::health(&health))
}

fn said(health: &HealthReport) -> String {
    let mut lines = vec![
        format!(
            "Post-quantum secrets renewed: {} of {} conversations",
            health.conversations.iter().filter(|one| one.epochs > 0).count(),
            health.conversations.len(),
        ),
        format!("Last renewal longest ago:     {}", ago(health.oldest_healing())),
        format!(
            "Envelopes not opened:         {} of {} in 30 days ({} kept)",
            health.unopenable,
            health.opened.saturating_add(health.unopenable),
            health.parked,
        ),
        format!("Contacts not verified:        {}", health.unverified),
        format!("Encrypting a message:         {}", latency(health.seal)),
        format!("Opening one:                  {}", latency(health.open)),
    ];
    for one in &health.conversations {
        let healed =
            one.healed_at.map(|at| Duration::from_millis(health.at.get().saturating_sub(at.get())));
        let verified = if one.verified { "verified" } else { "not verified" };
        lines.push(format!(
            "  {}: {} renewals, the last {}; {verified}; {}",
            safe_text::line(&one.name),
            one.epochs,
            ago(healed),
            json::contact_state(one.state),
        ));
    }
    lines.push("Counted and measured on this machine, and told to nobody.".into());
    lines.join("\n")
}

fn latency(latency: Latency) -> String {
    let micros = |time: Duration| time.as_micros();
    format!("{} us (slowest {} us)", micros(latency.median), micros(latency.slowest))
}

fn ago(age: Option<Duration>) -> String {
    let Some(age) = age else { return "none yet".into() };
    let minutes = age.as_secs() / 60;
    match minutes {
        0 => "just now".into(),
        1..60 => format!("{minutes} min ago"),
        60..2880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}
