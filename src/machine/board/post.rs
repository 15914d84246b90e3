//! What a BIOS leaves behind: for kernels that are started without one.
//!
//! The registers are written through the ports, as POST does: PCI interrupt routes, base
//! addresses and interrupt lines, shadow RAM, PMBASE. (PCI Firmware Specification 3.0,
//! section 3.5, for what an operating system may expect.)

use super::Board;
use crate::bus::Size;
use crate::cpu::Bus;
use crate::memory::Memory;

/// Where the ACPI registers go; the FADT says the same.
pub const PM_BASE: u16 = 0x600;

/// The interrupts of PIRQA# to PIRQD#.
const PIRQ_ROUTES: u32 = 0x0b0b_0a0a;
const LEVEL_TRIGGERED: u32 = 1 << (10 - 8) | 1 << (11 - 8);

const FIRST_PORT: u64 = 0xc000;
const FIRST_ADDRESS: u64 = 0xfe00_0000;
/// Windows of this size and more (frame buffers) go below the others.
const LARGE: u64 = 1 << 20;
const FIRST_LARGE_ADDRESS: u64 = 0xfd00_0000;

const HOST_BRIDGE: u8 = 0x00;
const ISA_BRIDGE: u8 = 0x08;
const POWER_FUNCTION: u8 = 0x0b;

const COMMAND: u8 = 0x04;
const BARS: [u8; 6] = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24];
const INTERRUPT_LINE: u8 = 0x3c;
const INTERRUPT_PIN: u8 = 0x3d;

/// What a base address register asks for.
enum Wanted {
    Ports(u64),
    Memory(u64),
}

/// Hands out addresses.
struct Allocator {
    port: u64,
    address: u64,
    /// Large windows grow downwards.
    large: u64,
}

impl Board {
    /// Sets the chipset and the PCI functions up as firmware does.
    pub fn set_up_without_firmware(&mut self, memory: &mut Memory) {
        self.config_out(memory, ISA_BRIDGE, 0x60, Size::Dword, PIRQ_ROUTES);
        self.write_port(memory, 0, 0x4d1, Size::Byte, LEVEL_TRIGGERED);
        self.config_out(memory, HOST_BRIDGE, 0x59, Size::Byte, 0x30);
        for pam in 0x5a..=0x5f {
            self.config_out(memory, HOST_BRIDGE, pam, Size::Byte, 0x33);
        }
        let base = u32::from(PM_BASE) | 1;
        self.config_out(memory, POWER_FUNCTION, 0x40, Size::Dword, base);
        self.config_out(memory, POWER_FUNCTION, 0x80, Size::Byte, 1);
        let mut free = Allocator {
            port: FIRST_PORT,
            address: FIRST_ADDRESS,
            large: FIRST_LARGE_ADDRESS,
        };
        for devfn in self.devices.functions() {
            self.assign_addresses(memory, devfn, &mut free);
            self.assign_interrupt(memory, devfn);
        }
    }

    fn assign_addresses(&mut self, memory: &mut Memory, devfn: u8, free: &mut Allocator) {
        let mut skip = false;
        for bar in BARS {
            if std::mem::take(&mut skip) {
                continue;
            }
            self.config_out(memory, devfn, bar, Size::Dword, u32::MAX);
            let sizing = self.config_in(memory, devfn, bar, Size::Dword);
            if sizing == 0 {
                continue;
            }
            let base = free.take(Wanted::from_sizing(sizing));
            self.config_out(memory, devfn, bar, Size::Dword, base as u32);
            // A 64-bit register takes two.
            if sizing & 7 == 4 {
                self.config_out(memory, devfn, bar + 4, Size::Dword, 0);
                skip = true;
            }
        }
        let command = self.config_in(memory, devfn, COMMAND, Size::Word);
        self.config_out(memory, devfn, COMMAND, Size::Word, command | 0x0003);
    }

    fn assign_interrupt(&mut self, memory: &mut Memory, devfn: u8) {
        if devfn == POWER_FUNCTION || self.config_in(memory, devfn, INTERRUPT_PIN, Size::Byte) == 0
        {
            return;
        }
        let pirq = (devfn >> 3).wrapping_sub(1) & 3;
        let irq = PIRQ_ROUTES.to_le_bytes()[usize::from(pirq)];
        self.config_out(memory, devfn, INTERRUPT_LINE, Size::Byte, irq.into());
    }

    fn config_out(&mut self, memory: &mut Memory, devfn: u8, offset: u8, size: Size, value: u32) {
        let address = 0x8000_0000 | u32::from(devfn) << 8 | u32::from(offset & 0xfc);
        self.write_port(memory, 0, 0xcf8, Size::Dword, address);
        self.write_port(memory, 0, 0xcfc + u16::from(offset & 3), size, value);
    }

    fn config_in(&mut self, memory: &mut Memory, devfn: u8, offset: u8, size: Size) -> u32 {
        let address = 0x8000_0000 | u32::from(devfn) << 8 | u32::from(offset & 0xfc);
        self.write_port(memory, 0, 0xcf8, Size::Dword, address);
        self.read_port(memory, 0, 0xcfc + u16::from(offset & 3), size)
    }
}

impl Wanted {
    /// Reads what a register gives back after all ones were written.
    fn from_sizing(value: u32) -> Self {
        if value & 1 != 0 {
            Self::Ports(u64::from((value & !3).wrapping_neg() & 0xffff))
        } else {
            Self::Memory(u64::from((value & !15).wrapping_neg()))
        }
    }
}

impl Allocator {
    /// An aligned range; sizes are powers of two.
    fn take(&mut self, wanted: Wanted) -> u64 {
        let (next, size) = match wanted {
            Wanted::Memory(size) if size >= LARGE => {
                self.large = (self.large - size) & !(size - 1);
                return self.large;
            }
            Wanted::Memory(size) => (&mut self.address, size),
            Wanted::Ports(size) => (&mut self.port, size),
        };
        let base = next.next_multiple_of(size);
        *next = base + size;
        base
    }
}
