//! See `undertone_relay::mailboxes::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| undertone_relay::mailboxes::fuzz::run(bytes));
