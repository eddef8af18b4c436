#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_fuzz::harness::prekey_state(data));
