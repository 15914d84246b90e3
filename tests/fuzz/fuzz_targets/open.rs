//! Opening an image and reading what stands in its header, its snapshot table and its bitmap directory.
#![no_main]

#[path = "../sparse.rs"]
mod sparse;
#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|image: &[u8]| targets::run("open", image));
