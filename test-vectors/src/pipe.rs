//! A party for live conversations: steps as JSON lines.

use std::io::{self, BufRead, Read, Write};

use serde_json::{Value, json};

use crate::conversation::World;
use crate::value::Args;
use crate::{Fail, Outcome, trace};

/// The longest line that is read.
const MAX_LINE: u64 = 1 << 20;

/// Answers lines until there are no more.
///
/// # Errors
/// Those of reading and writing, and a line that is too long.
pub fn serve(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut world = World::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && u64::try_from(read) == Ok(MAX_LINE) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of more than 1 MiB"));
        }
        let answer = match answer(&mut world, &line) {
            Ok(mut result) => {
                trace::put(&mut result, "ok", json!(true));
                result
            }
            Err(Fail::Refused(rule)) => json!({ "ok": false, "refused": rule }),
            Err(Fail::Wrong(why)) => json!({ "ok": false, "error": why }),
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
}

fn answer(world: &mut World, line: &[u8]) -> Outcome<Value> {
    let step: Value =
        serde_json::from_slice(line).map_err(|error| Fail::wrong(format!("no JSON: {error}")))?;
    let args = Args::of(&step)?;
    match args.str("do")? {
        "seed" => {
            world.seed(args.array("seed")?);
            Ok(json!({}))
        }
        "reset" => {
            world.reset();
            Ok(json!({}))
        }
        _ => world.step(&step),
    }
}
