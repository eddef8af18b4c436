//! The operations of the files: one function each, from its inputs to its
//! outputs.

mod backup;
mod content;
mod files;
mod frames;
mod identity;
mod links;
mod primitives;
mod relay;

use serde_json::Value;

use crate::value::Args;
use crate::{Fail, Outcome};

/// Carries out an operation.
///
/// # Errors
/// [`Fail::Refused`], or [`Fail::Wrong`] for what is no operation or has not
/// the inputs of one.
pub fn run(op: &str, input: &Value) -> Outcome<Value> {
    let args = Args::of(input)?;
    primitives::run(op, &args)
        .or_else(|| identity::run(op, &args))
        .or_else(|| links::run(op, &args))
        .or_else(|| files::run(op, &args))
        .or_else(|| content::run(op, &args))
        .or_else(|| relay::run(op, &args))
        .or_else(|| backup::run(op, &args))
        .unwrap_or_else(|| Err(Fail::wrong(format!("no such operation: {op}"))))
}
