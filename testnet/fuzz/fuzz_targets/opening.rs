#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pbft_fuzz_targets::run("opening", bytes));
