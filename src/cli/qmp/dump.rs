//! Files that a client asks for: pictures of the screen, and physical memory.

use std::fs::File;
use std::io::Write;

use super::message::Failure;
use crate::machine::{Machine, picture};

/// Memory is written in pieces of so many bytes.
const PIECE: u64 = 1 << 16;
/// The end of the physical addresses that a CPU of 40 address bits has.
const ADDRESS_END: u64 = 1 << 40;
/// Beyond RAM, so much may be asked for: the addresses below 4 GiB.
const LEAST_END: u64 = 1 << 32;

/// Writes a picture of the screen.
pub(super) fn screen(machine: &Machine, name: &str, format: &str) -> Result<(), Failure> {
    let frame = machine.frame();
    let bytes = match format {
        "ppm" => picture::ppm(&frame),
        "png" => picture::png(&frame).map_err(Failure::generic)?,
        _ => {
            let known = format!("{format}: there are the formats ppm and png");
            return Err(Failure::generic(known));
        }
    };
    std::fs::write(name, bytes).map_err(|e| Failure::generic(format!("{name}: {e}")))
}

/// Writes `size` bytes of physical memory from `address`.
pub(super) fn memory(
    machine: &mut Machine,
    address: u64,
    size: u64,
    name: &str,
) -> Result<(), Failure> {
    let ram = machine.board().ram();
    let ram_end = match ram.above_4g {
        0 => ram.below_4g,
        above => LEAST_END + above,
    };
    let end = address.checked_add(size).filter(|end| *end <= ADDRESS_END);
    if end.is_none_or(|end| end > ram_end.max(LEAST_END)) {
        let beyond = format!("{size} bytes from {address:#x} go beyond the machine's memory");
        return Err(Failure::generic(beyond));
    }
    let failed = |e| Failure::generic(format!("{name}: {e}"));
    let mut file = File::create(name).map_err(failed)?;
    let mut done = 0;
    while done < size {
        let len = PIECE.min(size - done);
        let mut piece = vec![0; len as usize];
        machine.read_physical(address + done, &mut piece);
        file.write_all(&piece).map_err(failed)?;
        done += len;
    }
    Ok(())
}
