#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| undertone_wire_fuzz::relay::configuration(data));
