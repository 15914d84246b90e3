//! Asking what lies at places of the disk, and of the file.
#![no_main]

#[path = "../sparse.rs"]
mod sparse;
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|image: &[u8]| targets::run("explain", image));
