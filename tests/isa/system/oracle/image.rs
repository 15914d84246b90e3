//! Test images: ROMs of 128 KiB, assembled from a frame and the checks of one concept.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::emulators::Missing;

/// Where the sources are.
pub(crate) const DIRECTORY: &str = "tests/isa/system/oracle";

/// The RAM that the machine of an image has, in MiB. Bochs has 16 always: more than 2 GiB is
/// too much for it.
pub(crate) fn ram(source: &str) -> u64 {
    match source {
        "high_pages" => 5 << 10,
        _ => 16,
    }
}

/// A directory for what one image needs and leaves.
pub(crate) fn scratch(source: &str) -> PathBuf {
    let kept = std::env::var_os("COWBOX_ORACLE").map(PathBuf::from);
    let below = kept.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle"));
    let directory = below.join(source);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// The ROM of `source`.
pub(crate) fn assemble(source: &str) -> Result<PathBuf, Missing> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(DIRECTORY);
    let scratch = scratch(source);
    let (object, rom) = (scratch.join("image.o"), scratch.join("image.rom"));
    run(Command::new("gcc")
        .args(["-m64", "-c", "-I", "."])
        .arg(format!("-DCHECKS=\"../{source}.S\""))
        .arg("-o")
        .arg(&object)
        .arg("frame.S")
        .current_dir(directory.join("frame")))?;
    run(Command::new("ld")
        .args(["-m", "elf_x86_64", "-z", "noexecstack", "-Ttext", "0x10000"])
        .args(["-e", "0x10000", "--oformat", "binary", "-o"])
        .args([&rom, &object]))?;
    Ok(rom)
}

fn run(command: &mut Command) -> Result<(), Missing> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Ok(output) = command.output() else {
        return Err(Missing(format!("{program} is missing: install gcc")));
    };
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
