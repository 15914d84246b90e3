//! Which encodings the checks of an image execute: it runs on our machine, an instruction at a
//! time, and what stands behind the frame is decoded.

use std::collections::BTreeSet;
use std::process::Command;

use cowbox::cpu::segment::CS;
use cowbox::machine::{Machine, MachineConfig, Outcome};
use iced_x86::{Code, Decoder, DecoderOptions};

use crate::emulators::Missing;
use crate::exercised::EXERCISED;
use crate::image;

/// Where the frame copies the image to.
const IMAGE: u64 = 0x1_0000;
/// Where the ROM itself begins. Checks do not run there, and what they run above 1 MiB may lie at
/// other physical addresses.
const ROM: u64 = 0xe_0000;
/// More steps than any image takes.
const PATIENCE: u64 = 1 << 26;

/// Looks whether every encoding of [`EXERCISED`] is executed by some image.
pub(crate) fn judge(sources: &[String]) -> Result<(), Missing> {
    let mut executed = BTreeSet::new();
    for source in sources {
        executed.extend(by_checks_of(source)?);
    }
    let names: Vec<_> = executed
        .iter()
        .filter_map(|&code| Code::try_from(code).ok())
        .map(|code| format!("Code::{code:?}"))
        .collect();
    println!("executed by the checks: {}", names.join(", "));
    let claimed = EXERCISED.iter().map(|&code| code as usize);
    let untrue: Vec<_> = claimed.filter(|code| !executed.contains(code)).collect();
    let untrue = untrue
        .into_iter()
        .filter_map(|code| Code::try_from(code).ok());
    let untrue: Vec<_> = untrue.collect();
    assert!(untrue.is_empty(), "no image executes {untrue:?}");
    Ok(())
}

/// The numbers of the encodings that the checks of `source` execute.
fn by_checks_of(source: &str) -> Result<BTreeSet<usize>, Missing> {
    let rom = image::assemble(source)?;
    let start = checks_start(source)?;
    let bytes = std::fs::read(rom).unwrap();
    let mut config = MachineConfig::new(image::ram(source) << 20, 0);
    config.bios = Some(bytes);
    let mut machine = config.assemble().unwrap_or_else(|why| panic!("{why}"));
    let mut said = Vec::new();
    let mut executed = BTreeSet::new();
    for _ in 0..PATIENCE {
        if said.ends_with(b"end\n") {
            return Ok(executed);
        }
        let linear = machine.cpu().segments[usize::from(CS)].base + machine.cpu().rip;
        if linear < IMAGE || (start..ROM).contains(&linear) {
            executed.extend(code_at(&machine, linear));
        }
        if let Outcome::TripleFault = machine.run(machine.now() + 1) {
            machine.reset();
        }
        said.extend(machine.take_serial());
    }
    panic!("{source} does not end");
}

/// The encoding at a linear address that is a physical one.
fn code_at(machine: &Machine, linear: u64) -> Option<usize> {
    let attributes = machine.cpu().segments[usize::from(CS)].attributes;
    let bits = match () {
        () if attributes.long() && machine.cpu().is_long() => 64,
        () if attributes.big() => 32,
        () => 16,
    };
    let mut bytes = [0; 15];
    machine.read_physical(linear, &mut bytes);
    let instruction = Decoder::new(bits, &bytes, DecoderOptions::AMD).decode();
    (!instruction.is_invalid()).then(|| instruction.code() as usize)
}

/// Where the checks begin in the copied image.
fn checks_start(source: &str) -> Result<u64, Missing> {
    let object = image::scratch(source).join("image.o");
    let Ok(output) = Command::new("nm").arg(object).output() else {
        return Err(Missing("nm is missing: install binutils".into()));
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.ends_with(" checks"));
    let offset = line.and_then(|line| line.split(' ').next());
    let offset = offset.and_then(|offset| u64::from_str_radix(offset, 16).ok());
    Ok(IMAGE + offset.unwrap_or_else(|| panic!("{source} has no checks")))
}
