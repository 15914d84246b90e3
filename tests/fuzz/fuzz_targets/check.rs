//! Checking an image and repairing it.
#![no_main]

#[path = "../sparse.rs"]
mod sparse;
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|image: &[u8]| targets::run("check", image));
