//! See `undertone_relay::store::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let memory = std::path::Path::new("/dev/shm");
    let scratch =
        if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    undertone_relay::store::fuzz::run(scratch.expect("a directory").path(), bytes);
});
