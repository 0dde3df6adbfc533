#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fallthrough_fuzz_targets::headers::trace(bytes));
