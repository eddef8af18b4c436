//! The daemon `undertone-relay`.
fn main() {}
