//! The board, driven by a CPU that is a test.

use super::*;
use crate::bus::TICKS_PER_SECOND;

const LAPIC: u64 = 0xfee0_0000;
const IOAPIC: u64 = 0xfec0_0000;

/// A test in the CPU's socket.
struct Host {
    board: Board,
    memory: Memory,
    now: Tick,
}

impl Host {
    fn new() -> Self {
        let config = BoardConfig::new(32 << 20, 0);
        let (board, memory) = Board::new(config, Roms::default(), Drives::default()).unwrap();
        let mut host = Self {
            board,
            memory,
            now: 0,
        };
        host.board.take_remapped();
        host
    }

    fn out(&mut self, port: u16, value: u8) {
        self.write(port, Size::Byte, value.into());
    }

    fn write(&mut self, port: u16, size: Size, value: u32) {
        self.now += 501;
        self.board
            .write_port(&mut self.memory, self.now, port, size, value);
    }

    fn read(&mut self, port: u16, size: Size) -> u32 {
        self.now += 501;
        self.board.read_port(&mut self.memory, self.now, port, size)
    }

    fn store(&mut self, at: u64, value: u32) {
        self.now += 1;
        self.board
            .write_memory(&mut self.memory, self.now, at, Size::Dword, value.into());
    }

    fn load(&mut self, at: u64) -> u64 {
        self.now += 1;
        self.board
            .read_memory(&mut self.memory, self.now, at, Size::Dword)
    }

    fn config_write(&mut self, devfn: u32, offset: u32, size: Size, value: u32) {
        self.write(
            0xcf8,
            Size::Dword,
            0x8000_0000 | devfn << 8 | (offset & 0xfc),
        );
        self.write(0xcfc + (offset & 3) as u16, size, value);
    }

    /// Initializes both 8259s as a PC BIOS does, with everything unmasked.
    fn init_pics(&mut self) {
        for (port, base, wiring) in [(0x20, 8, 4), (0xa0, 0x70, 2)] {
            self.out(port, 0x11);
            for value in [base, wiring, 1, 0] {
                self.out(port + 1, value);
            }
        }
    }

    /// Halts until the next deadline.
    fn halt(&mut self) {
        let deadline = self.board.signals().deadline;
        assert_ne!(deadline, crate::bus::NEVER, "nothing to wait for");
        self.now = self.now.max(deadline);
        self.board.advance(&mut self.memory, self.now);
    }

    fn acknowledge(&mut self) -> Option<u8> {
        self.board.acknowledge_interrupt(&mut self.memory, self.now)
    }
}

#[test]
fn the_timer_tick_arrives_as_the_vector_that_the_bios_chose() {
    let mut host = Host::new();
    host.init_pics();
    host.out(0x43, 0x34);
    host.out(0x40, 0);
    host.out(0x40, 0);
    let started = host.now;
    while host.board.signals().interrupt {
        assert_eq!(host.acknowledge(), Some(8));
        host.out(0x20, 0x20);
    }
    for period in 1..=3_u64 {
        host.halt();
        assert!(host.board.signals().interrupt);
        assert_eq!(host.acknowledge(), Some(8));
        assert!(!host.board.signals().interrupt);
        host.out(0x20, 0x20);
        let elapsed = host.now - started;
        let expected = period * 65_536 * TICKS_PER_SECOND / 1_193_182;
        assert!(elapsed.abs_diff(expected) < 3_000, "{elapsed} {expected}");
    }
}

#[test]
fn an_access_after_a_missed_deadline_does_not_lose_the_interrupt() {
    let mut host = Host::new();
    host.init_pics();
    host.out(0x43, 0x34);
    host.out(0x40, 0);
    host.out(0x40, 4);
    while host.acknowledge().is_some() {
        host.out(0x20, 0x20);
    }
    host.now = host.board.signals().deadline + 5;
    host.out(0x43, 0);
    assert!(host.board.signals().interrupt);
}

#[test]
fn unclaimed_ports_and_addresses_read_as_ones() {
    let mut host = Host::new();
    assert_eq!(host.read(0x300, Size::Byte), 0xff);
    assert_eq!(host.read(0x300, Size::Dword), 0xffff_ffff);
    assert_eq!(host.load(0xe000_0000), 0xffff_ffff);
    host.write(0x300, Size::Dword, 0);
    host.store(0xe000_0000, 0);
}

#[test]
fn a_wide_access_reaches_each_byte_wide_device_in_turn() {
    let mut host = Host::new();
    host.write(0x70, Size::Word, 0x5a_50);
    host.out(0x70, 0x50);
    assert_eq!(host.read(0x70, Size::Word), 0x5aff);
}

#[test]
fn a_closed_a20_gate_folds_addresses_and_says_that_the_map_changed() {
    let mut host = Host::new();
    host.out(0x92, 0);
    assert!(host.board.take_remapped());
    host.memory.write(0x10_0000, &[7]);
    assert_eq!(host.memory.read_array(0), [7]);
    host.out(0x64, 0xdf);
    assert!(host.board.take_remapped());
    assert!(!host.board.take_remapped());
}

#[test]
fn a_level_interrupt_comes_again_after_eoi_while_its_wire_is_up() {
    let mut host = Host::new();
    host.out(0xa1, 0xff);
    host.store(LAPIC + 0xf0, 0x1ff);
    host.store(IOAPIC, 0x10 + 2 * 13);
    host.store(IOAPIC + 0x10, 0x8000 | 0x41);
    host.board.set_ferr(&mut host.memory, 0, true);
    assert_eq!(host.acknowledge(), Some(0x41));
    assert!(!host.board.signals().interrupt);
    host.store(LAPIC + 0xb0, 0);
    assert_eq!(host.acknowledge(), Some(0x41));
    host.out(0xf0, 0);
    host.store(LAPIC + 0xb0, 0);
    assert!(!host.board.signals().interrupt);
}

#[test]
fn the_local_apic_moves_with_its_base_register() {
    let mut host = Host::new();
    assert_eq!(host.load(LAPIC + 0x30), 0x0005_0014);
    host.board.set_apic_base(&mut host.memory, 0, 0xfd00_0800);
    assert!(host.board.take_remapped());
    assert_eq!(host.load(LAPIC + 0x30), 0xffff_ffff);
    assert_eq!(host.load(0xfd00_0030), 0x0005_0014);
}

#[test]
fn acpi_registers_appear_where_pmbase_puts_them_and_power_off() {
    let mut host = Host::new();
    assert_eq!(host.read(0x608, Size::Dword), 0xffff_ffff);
    host.config_write(0x0b, 0x40, Size::Dword, 0x601);
    host.config_write(0x0b, 0x80, Size::Byte, 1);
    host.now += TICKS_PER_SECOND;
    let timer = host.read(0x608, Size::Dword);
    assert!((3_579_545..3_600_000).contains(&timer), "{timer}");
    host.write(0x604, Size::Word, 0x2000);
    assert!(host.board.signals().stop);
    assert_eq!(host.board.take_stops(), [BoardRequest::PowerOff]);
    assert!(!host.board.signals().stop);
}

#[test]
fn hpet_legacy_replacement_silences_the_8254() {
    let mut host = Host::new();
    host.init_pics();
    host.out(0x43, 0x34);
    host.out(0x40, 0);
    host.out(0x40, 1);
    let hpet = 0xfed0_0000;
    host.store(hpet + 0x100, 0x144);
    host.store(hpet + 0x108, 100_000);
    host.store(hpet + 0x10, 3);
    let started = host.now;
    while host.board.signals().interrupt {
        host.acknowledge();
        host.out(0x20, 0x20);
    }
    host.halt();
    assert_eq!(host.now - started, 1_000_000);
    assert_eq!(host.acknowledge(), Some(8));
}

#[test]
fn debug_ports_speak_and_leave() {
    let mut host = Host::new();
    assert_eq!(host.read(0xe9, Size::Byte), 0xe9);
    host.out(0xe9, b'x');
    host.out(0x402, b'y');
    assert_eq!(host.board.outlet().debug, b"xy");
    host.write(0xf4, Size::Dword, 0x1234);
    assert_eq!(host.board.take_stops(), [BoardRequest::DebugExit(0x1234)]);
}

#[test]
fn a_reset_leaves_ram_and_date_and_takes_back_what_the_guest_set_up() {
    let mut host = Host::new();
    host.memory.write(0x5000, &[9]);
    host.out(0x70, 0x0f);
    host.out(0x71, 0x0a);
    host.config_write(0x0b, 0x40, Size::Dword, 0x601);
    host.config_write(0x0b, 0x80, Size::Byte, 1);
    host.out(0xcf9, 2);
    host.out(0xcf9, 6);
    assert_eq!(host.board.take_stops(), [BoardRequest::Reset]);
    host.board.reset(&mut host.memory, host.now);
    assert_eq!(host.memory.read_array(0x5000), [9]);
    assert_eq!(host.read(0x608, Size::Dword), 0xffff_ffff);
    host.out(0x70, 0x0f);
    assert_eq!(host.read(0x71, Size::Byte), 0x0a);
}

#[test]
fn without_a_local_apic_the_8259_reaches_the_cpu() {
    let mut host = Host::new();
    host.board.set_apic_base(&mut host.memory, 0, LAPIC);
    host.init_pics();
    host.board.set_ferr(&mut host.memory, 0, true);
    assert_eq!(host.acknowledge(), Some(0x75));
}

#[test]
fn firmware_reads_the_configuration_items_in_bulk() {
    let mut host = Host::new();
    host.write(0x510, Size::Word, 0);
    let mut signature = [0; 4];
    let (board, memory) = (&mut host.board, &mut host.memory);
    let read = board.read_port_block(memory, host.now, 0x511, Size::Byte, &mut signature);
    assert_eq!((read, &signature), (4, b"QEMU"));
    assert_eq!(host.read(0x514, Size::Dword), u32::from_le_bytes(*b"QEMU"));
}

#[test]
fn text_written_to_display_memory_is_what_the_vga_holds() {
    let mut host = Host::new();
    host.out(0x3c2, 0x67);
    for (index, value) in [(4, 0x02), (2, 0x03)] {
        host.out(0x3c4, index);
        host.out(0x3c5, value);
    }
    for (index, value) in [(5, 0x10), (6, 0x0e), (8, 0xff)] {
        host.out(0x3ce, index);
        host.out(0x3cf, value);
    }
    host.store(0xb_8000, 0x1f42_1f41);
    assert_eq!(host.load(0xb_8000), 0x1f42_1f41);
    let start = host.board.layout().vga_ram();
    let mut planes = [0; 6];
    host.memory.arena.read(start, &mut planes);
    assert_eq!(planes, [0x41, 0x1f, 0, 0, 0x42, 0x1f]);
}

#[test]
fn the_frame_buffer_is_plain_memory_where_its_base_address_puts_it() {
    let mut host = Host::new();
    host.config_write(0x10, 0x10, Size::Dword, 0xfd00_0000);
    host.config_write(0x10, 0x04, Size::Word, 3);
    assert!(host.board.take_remapped());
    let start = host.board.layout().vga_ram();
    let mapping = host.memory.map.lookup(0xfd00_1000).unwrap();
    assert_eq!(mapping.write, Some(start + 0x1000));
}

#[test]
fn each_disk_sits_in_a_slot_of_its_own() {
    let mut host = Host::new();
    host.write(0xcf8, Size::Dword, 0x8000_1800);
    assert_eq!(host.read(0xcfc, Size::Dword), 0xffff_ffff);
    host.write(0xcf8, Size::Dword, 0x8000_0900);
    assert_eq!(host.read(0xcfc, Size::Dword), 0x7010_8086);
}

#[test]
fn a_guest_cannot_fill_the_host_with_complaints() {
    let mut host = Host::new();
    host.config_write(0x0b, 0x40, Size::Dword, 0x601);
    host.config_write(0x0b, 0x80, Size::Byte, 1);
    for _ in 0..2000 {
        host.write(0x604, Size::Word, 0x2400);
    }
    assert_eq!(host.board.outlet().misuse.len(), MOST_MISUSE_LINES);
}

#[test]
fn a_key_of_the_outside_does_not_hide_a_timer_that_is_due() {
    let mut host = Host::new();
    host.init_pics();
    host.config_write(0x0b, 0x40, Size::Dword, 0x601);
    host.config_write(0x0b, 0x80, Size::Byte, 1);
    host.out(0xb2, 0xf1);
    host.write(0x602, Size::Word, 1);
    host.now = host.board.signals().deadline;
    host.board.press_power_button(&mut host.memory, host.now);
    assert!(host.board.signals().interrupt);
}
