#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_session_fuzz::backups::backups(data));
