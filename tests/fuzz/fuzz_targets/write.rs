//! Writing to an image, and changing its structure.
#![no_main]

#[path = "../sparse.rs"]
mod sparse;
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|image: &[u8]| targets::run("write", image));
