//! The reader: it knows a file and nothing else.

use serde_json::Value;

use crate::conversation::World;
use crate::value::{Args, agrees};
use crate::{FORMAT, Fail, Outcome, ops, random};

/// The stages, and what fails at each.
pub const STAGES: [&str; 8] =
    ["make", "read", "verify", "unseal", "exchange", "compare", "header", "body"];

/// What a step of a conversation takes and gives.
struct Step {
    name: &'static str,
    inputs: &'static [&'static str],
    results: &'static [&'static str],
}

const fn step(
    name: &'static str,
    inputs: &'static [&'static str],
    results: &'static [&'static str],
) -> Step {
    Step { name, inputs, results }
}

const STEPS: [Step; 15] = [
    step(
        "person",
        &["person", "account_secret", "devices", "device", "counter"],
        &["account", "fingerprint", "list", "record"],
    ),
    step("link", &["link", "link_secret"], &[]),
    step(
        "bundle",
        &["bundle", "person", "link", "kind", "expiry", "route", "draws"],
        &["id", "digest", "sealed", "stored"],
    ),
    step(
        "initiate",
        &[
            "session",
            "person",
            "link",
            "bundle",
            "sealed",
            "fingerprint",
            "today",
            "record",
            "route",
            "draws",
        ],
        &["id"],
    ),
    step("seal", &["session", "content", "envelope", "draws"], &["bytes"]),
    step(
        "receive",
        &["person", "link", "envelope", "bytes", "today", "record", "session", "lookup"],
        &["outcome"],
    ),
    step("open", &["session", "envelope", "bytes", "today"], &["content"]),
    step("expire", &["session", "today"], &[]),
    step("state", &["session"], &["stored"]),
    step("reload", &["session"], &[]),
    step("copy", &["session", "as"], &[]),
    step("load", &["session", "person", "stored"], &[]),
    step("delete", &["session"], &[]),
    step("edit", &["envelope", "of", "xor", "at"], &[]),
    step("forget", &["bundle"], &[]),
];

/// What `receive` gives, by its outcome.
fn received(outcome: &str) -> &'static [&'static str] {
    match outcome {
        "accepted" => &["outcome", "id", "account", "device_keys", "route", "content"],
        "repeat" | "ordinary" => &["outcome", "session", "content"],
        _ => &["outcome"],
    }
}

/// Checks one file.
///
/// # Errors
/// A sentence that says where the file and this implementation differ.
pub fn file(file: &Value) -> Result<(), String> {
    verify(file).map_err(|fail| match fail {
        Fail::Wrong(why) => why,
        Fail::Refused(rule) => format!("refused by {rule}"),
    })
}

fn verify(file: &Value) -> Outcome<()> {
    let args = Args::of(file)?;
    if args.str("format")? != FORMAT {
        return Err(Fail::wrong("another format"));
    }
    let rule = match args.str("result")? {
        "valid" => None,
        "refused" => Some(args.str("rule")?),
        other => return Err(Fail::wrong(format!("no result: {other}"))),
    };
    if rule.is_some() && !STAGES.contains(&args.str("stage")?) {
        return Err(Fail::wrong("no such stage"));
    }
    let op = args.str("op")?;
    if op == "conversation" {
        return conversation(args.list("steps")?, rule);
    }
    let result = if op == "random-conversations" {
        random::run(&Args::of(args.get("input")?)?)
    } else {
        ops::run(op, args.get("input")?)
    };
    match (rule, result) {
        (Some(rule), Err(Fail::Refused(by))) if rule == by => Ok(()),
        (Some(rule), other) => Err(Fail::wrong(format!("{rule} was expected: {other:?}"))),
        (None, result) => {
            let (result, expected) = (result?, args.get("output")?);
            let all =
                |value: &Value| value.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
            if all(&result) != all(expected) {
                return Err(Fail::wrong("the output has other members"));
            }
            compare("output", expected, &result)
        }
    }
}

fn compare(place: &str, expected: &Value, actual: &Value) -> Outcome<()> {
    if agrees(expected, actual) {
        return Ok(());
    }
    let (Value::Object(want), Value::Object(have)) = (expected, actual) else {
        return Err(Fail::wrong(format!("{place} is {actual}, expected {expected}")));
    };
    for (name, want) in want {
        let have = have.get(name).unwrap_or(&Value::Null);
        compare(&format!("{place}.{name}"), want, have)?;
    }
    Err(Fail::wrong(format!("{place} differs")))
}

fn conversation(steps: &[Value], rule: Option<&str>) -> Outcome<()> {
    let mut world = World::new();
    world.traced = true;
    let mut last = None;
    for (number, step) in steps.iter().enumerate() {
        let refused = one(&mut world, step).map_err(|fail| {
            let why = match fail {
                Fail::Wrong(why) => why,
                Fail::Refused(rule) => format!("refused by {rule}"),
            };
            Fail::wrong(format!("step {number}: {why}"))
        })?;
        last = refused.or(last);
    }
    match rule {
        Some(rule) if last != Some(rule) => {
            Err(Fail::wrong(format!("the last refused step is refused by {last:?}, not {rule}")))
        }
        _ => Ok(()),
    }
}

/// One step; the rule, if it must be refused.
fn one<'a>(world: &mut World, step: &'a Value) -> Outcome<Option<&'a str>> {
    let args = Args::of(step)?;
    let name = args.str("do")?;
    let known = STEPS.iter().find(|step| step.name == name);
    let known = known.ok_or_else(|| Fail::wrong(format!("no such step: {name}")))?;
    let refused = args.optional("refused").and_then(Value::as_str);
    let results = match refused {
        Some(_) => &[],
        None if name == "receive" => received(args.str("outcome")?),
        None => known.results,
    };
    for (member, _) in step.as_object().into_iter().flatten() {
        let member = member.as_str();
        let free =
            ["do", "refused"].contains(&member) || member == "intermediate" && refused.is_none();
        if !free && !known.inputs.contains(&member) && !results.contains(&member) {
            return Err(Fail::wrong(format!("{name} has a member {member}")));
        }
    }
    // A step of two meanings: `bytes` of a seal is a result.
    let mut inputs = step.clone();
    if let Some(inputs) = inputs.as_object_mut() {
        inputs.retain(|name, _| name == "do" || known.inputs.contains(&name.as_str()));
    }
    match (refused, world.step(&inputs)) {
        (Some(rule), Err(Fail::Refused(by))) if rule == by => Ok(refused),
        (Some(rule), other) => Err(Fail::wrong(format!("{rule} was expected: {other:?}"))),
        (None, result) => {
            let result = result?;
            for &member in results {
                let actual = result.get(member).unwrap_or(&Value::Null);
                compare(member, args.get(member)?, actual)?;
            }
            if let Some(expected) = args.optional("intermediate") {
                let actual = result.get("intermediate").unwrap_or(&Value::Null);
                compare("intermediate", expected, actual)?;
            }
            Ok(None)
        }
    }
}
