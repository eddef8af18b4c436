//! A real value, edited: inputs stay short, and most of what a parser checks
//! is right from the start.

use super::input::Input;

/// Longer values than any parser takes are of no interest.
const MAX_LEN: usize = 70_000;

/// Either the rest of the input itself, or `sample` with edits.
pub fn value(sample: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    if input.u8() & 1 == 0 {
        return input.rest().to_vec();
    }
    let mut value = sample.to_vec();
    edit(&mut value, input);
    value
}

/// Applies edits until the input ends.
pub fn edit(value: &mut Vec<u8>, input: &mut Input<'_>) {
    while !input.is_empty() {
        step(value, input);
    }
}

fn step(value: &mut Vec<u8>, input: &mut Input<'_>) {
    let kind = input.u8();
    let at = input.below(value.len() + 1);
    match kind % 5 {
        0 => {
            let len = usize::from(input.u8() % 64);
            let end = (at + len).min(value.len());
            let bytes = input.take(end - at);
            value[at..at + bytes.len()].copy_from_slice(bytes);
        }
        1 => {
            if let Some(byte) = value.get_mut(at) {
                *byte ^= 1 << (input.u8() % 8);
            }
        }
        2 => value.truncate(at),
        3 => {
            let len = usize::from(input.u8());
            let bytes = input.take(len);
            value.splice(at..at, bytes.iter().copied());
            value.truncate(MAX_LEN);
        }
        _ => {
            let end = (at + usize::from(input.u8())).min(value.len());
            value.drain(at..end);
        }
    }
}
