//! Saving a machine, bringing it back, and the hash that says whether two are in the same
//! state.
//!
//! What is saved: the CPU with its TLB, every device, what the disks are doing, waiting events,
//! and the pages of the arena that are not zero. What is not: decoded blocks, the lazy form of
//! the flags, and the contents of disk images, which are the images' own.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Machine;
use super::inlet::Inlet;
use crate::cpu::{BlockCache, Cpu, Model};
use crate::memory::{ArenaOffset, Memory, PAGE_SIZE};

/// What a saved machine begins with; the number is raised when the layout changes.
const MAGIC: &[u8; 16] = b"cowbox state   6";

const ZERO_PAGE: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];

/// Why a saved machine cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// These are not the bytes of a saved machine, or of one saved by another version.
    Format,
    /// The bytes end early or say nonsense.
    Damaged(String),
    /// The machine has another amount of memory than the saved one.
    OtherMemory {
        /// In bytes, RAM and ROM together.
        saved: u64,
        /// In bytes.
        here: u64,
    },
    /// The machine has another CPU model than the saved one.
    OtherCpu {
        /// The saved machine's.
        saved: Model,
        /// This machine's.
        here: Model,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => write!(f, "not a machine saved by this version of cowbox"),
            Self::Damaged(reason) => write!(f, "the saved machine is damaged: {reason}"),
            Self::OtherMemory { saved, here } => write!(
                f,
                "the saved machine has {saved} bytes of memory and ROM, this one {here}; \
                 start it with the same -m and firmware"
            ),
            Self::OtherCpu { saved, here } => write!(
                f,
                "the saved machine has the CPU {saved}, this one {here}; start it with --cpu {saved}"
            ),
        }
    }
}

impl std::error::Error for StateError {}

/// SHA-256 over the whole state of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateHash(pub [u8; 32]);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A saved machine as it is read; as it is written, the same fields are borrowed.
#[derive(Serialize, Deserialize)]
struct Saved<C, B, I, P> {
    memory_bytes: u64,
    cpu: C,
    board: B,
    inlet: I,
    pages: P,
}

impl Machine {
    /// The machine as bytes. Disk requests under way are finished on the host first; the guest
    /// hears of them at their ticks.
    pub fn save(&mut self) -> Vec<u8> {
        let pages: Vec<(ArenaOffset, Vec<u8>)> = pages_in_use(&self.memory)
            .map(|(offset, page)| (offset, page.to_vec()))
            .collect();
        let saved = Saved {
            memory_bytes: self.memory.arena.len(),
            cpu: self.canonical_cpu(),
            board: self.board.save(),
            inlet: &self.inlet,
            pages,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(encoded(&saved));
        bytes
    }

    /// Brings a saved machine back into this one, which has the same configuration, firmware
    /// and disks. On an error the machine is as it was.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        type Pages = Vec<(ArenaOffset, Vec<u8>)>;
        let body = bytes.strip_prefix(MAGIC).ok_or(StateError::Format)?;
        let damaged = |error: postcard::Error| StateError::Damaged(error.to_string());
        let saved: Saved<Cpu, Vec<u8>, Inlet, Pages> =
            postcard::from_bytes(body).map_err(damaged)?;
        let here = self.memory.arena.len();
        if saved.memory_bytes != here {
            return Err(StateError::OtherMemory {
                saved: saved.memory_bytes,
                here,
            });
        }
        if saved.cpu.model != self.cpu.model {
            return Err(StateError::OtherCpu {
                saved: saved.cpu.model,
                here: self.cpu.model,
            });
        }
        self.board.restore(&saved.board).map_err(damaged)?;
        self.replace_memory(&saved.pages);
        self.board.lay_out_restored(&mut self.memory);
        self.cpu = saved.cpu;
        self.inlet = saved.inlet;
        self.blocks = BlockCache::default();
        Ok(())
    }

    fn replace_memory(&mut self, pages: &[(ArenaOffset, Vec<u8>)]) {
        let stale: Vec<ArenaOffset> = self.memory.pages.written_pages().collect();
        for offset in stale {
            self.memory.write_arena(offset, &ZERO_PAGE);
        }
        for (offset, page) in pages {
            self.memory.write_arena(*offset, page);
        }
        // The blocks decoded from what was there are dropped all at once.
        while self.memory.pages.take_code_write().is_some() {}
    }

    /// The hash of everything that [`Machine::save`] saves.
    pub fn state_hash(&mut self) -> StateHash {
        let mut hash = Sha256::new();
        let (cpu, board) = (self.canonical_cpu(), self.board.save());
        hash.update(encoded(&(cpu, board, &self.inlet)));
        for (offset, page) in pages_in_use(&self.memory) {
            hash.update(offset.to_le_bytes());
            hash.update(page);
        }
        StateHash(hash.finalize().into())
    }

    /// The CPU with its flags in their one saved form.
    fn canonical_cpu(&self) -> Cpu {
        let mut cpu = self.cpu.clone();
        cpu.flags = cpu.flags.canonical();
        cpu
    }
}

/// The pages that are not zero, by rising offset.
fn pages_in_use(
    memory: &Memory,
) -> impl Iterator<Item = (ArenaOffset, [u8; PAGE_SIZE as usize])> + '_ {
    memory.pages.written_pages().filter_map(|offset| {
        let mut page = ZERO_PAGE;
        memory.arena.read(offset, &mut page);
        (page != ZERO_PAGE).then_some((offset, page))
    })
}

/// The one encoding of plain data.
fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data of known length can be encoded")
}

#[cfg(test)]
mod tests {
    use super::super::board::{BoardConfig, Drives, Roms};
    use super::super::inlet::Event;
    use super::super::{Machine, Outcome};
    use super::*;
    use crate::firmware::Seed;

    /// `rom` at the reset vector's page, in a machine with 16 MiB.
    fn machine(code: &[u8]) -> Machine {
        let mut bios = vec![0; 0x1_0000];
        bios[..code.len()].copy_from_slice(code);
        bios[0xfff0..0xfff5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
        let roms = Roms {
            bios: &bios,
            vga_bios: &[],
        };
        Machine::new(BoardConfig::new(16 << 20, 0), roms, Drives::default()).unwrap()
    }

    /// `inc ax; mov [bx], ax; inc bx; inc bx; jmp start`
    const COUNTER: [u8; 7] = [0x40, 0x89, 0x07, 0x43, 0x43, 0xeb, 0xf9];

    #[test]
    fn the_same_inputs_give_the_same_hash_and_other_inputs_another() {
        let mut hashes = Vec::new();
        for byte in [b'x', b'x', b'y'] {
            let mut machine = machine(&COUNTER);
            machine.inlet().push(5000, Event::Serial(byte));
            assert_eq!(machine.run(20_000), Outcome::Ran);
            hashes.push((machine.now(), machine.state_hash()));
        }
        assert_eq!(hashes[0], hashes[1]);
        assert_ne!(hashes[1].1, hashes[2].1);
    }

    #[test]
    fn stopping_on_the_way_changes_nothing() {
        let (mut straight, mut halting) = (machine(&COUNTER), machine(&COUNTER));
        straight.run(30_000);
        for until in (7..=30_000).step_by(997).chain([30_000]) {
            halting.run(until);
        }
        assert_eq!(straight.state_hash(), halting.state_hash());
    }

    #[test]
    fn a_restored_machine_goes_on_as_the_saved_one() {
        let mut first = machine(&COUNTER);
        first.inlet().push(15_000, Event::Serial(b'z'));
        first.run(10_000);
        let saved = first.save();
        first.run(20_000);
        let mut second = machine(&COUNTER);
        second.run(12_345);
        second.restore(&saved).unwrap();
        second.run(20_000);
        assert_eq!(second.now(), first.now());
        assert_eq!(second.state_hash(), first.state_hash());
    }

    #[test]
    fn a_machine_with_another_cpu_is_refused() {
        let mut saved = machine(&COUNTER);
        saved.plug_in(Model::Pentium, Seed(0));
        let mut here = machine(&COUNTER);
        let error = here.restore(&saved.save()).unwrap_err().to_string();
        assert!(error.ends_with("start it with --cpu pentium"), "{error}");
    }

    #[test]
    fn strange_bytes_are_refused_and_leave_the_machine_alone() {
        let mut machine = machine(&COUNTER);
        machine.run(100);
        let before = machine.state_hash();
        assert_eq!(machine.restore(b"something"), Err(StateError::Format));
        let mut cut = machine.save();
        cut.truncate(cut.len() / 2);
        assert!(matches!(machine.restore(&cut), Err(StateError::Damaged(_))));
        assert_eq!(machine.state_hash(), before);
    }
}
