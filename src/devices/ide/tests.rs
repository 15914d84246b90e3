//! The controller, driven as a driver drives it.

use std::sync::Arc;

use super::*;
use crate::bus::{NEVER, PORT_ACCESS_TICKS, Wire};
use crate::devices::Workbench;
use crate::disk::{Disk, SECTOR_SIZE, TestImage, test_pattern as pattern};

const PRIMARY: u16 = 0x1f0;
const CONTROL: u16 = 0x3f6;

/// A host with one drive, and the ports of its channel.
struct Host {
    bench: Workbench,
    ide: Ide,
    image: Arc<TestImage>,
}

impl Host {
    /// A drive of 100,000 sectors as primary 0.
    fn new() -> Self {
        Self::with_sectors(100_000)
    }

    fn with_sectors(sectors: u64) -> Self {
        let image = TestImage::with_sectors(sectors);
        let mut bench = Workbench::new();
        let disk = bench.disks.add(Disk::new("hd0", image.clone()));
        let ide = Ide::new([Some(disk), None, None, None]);
        Self { bench, ide, image }
    }

    fn out(&mut self, register: u16, value: u8) {
        self.out_at(PRIMARY + register, value);
    }

    fn out_at(&mut self, port: u16, value: u8) {
        let value = u32::from(value);
        self.ide
            .write(&mut self.bench.cx(), port, Size::Byte, value);
    }

    fn read(&mut self, register: u16) -> u8 {
        self.read_at(PRIMARY + register)
    }

    fn read_at(&mut self, port: u16) -> u8 {
        u8::try_from(self.ide.read(&mut self.bench.cx(), port, Size::Byte)).unwrap()
    }

    fn lba28(&mut self, lba: u32, count: u8, command: u8) {
        let [low, mid, high, top] = lba.to_le_bytes();
        for (register, value) in [(2, count), (3, low), (4, mid), (5, high), (6, 0xe0 | top)] {
            self.out(register, value);
        }
        self.out(7, command);
    }

    fn lba48(&mut self, lba: u64, count: u16, command: u8) {
        let [b0, b1, b2, b3, b4, b5, ..] = lba.to_le_bytes();
        let [c0, c1] = count.to_le_bytes();
        self.out(6, 0x40);
        for (register, value) in [(2, c1), (3, b3), (4, b4), (5, b5)] {
            self.out(register, value);
        }
        for (register, value) in [(2, c0), (3, b0), (4, b1), (5, b2)] {
            self.out(register, value);
        }
        self.out(7, command);
    }

    /// Lets time pass until the disk has done what it was asked.
    fn wait(&mut self) {
        assert_ne!(self.bench.disks.deadline(), NEVER, "nothing is under way");
        self.bench.now = self.bench.disks.deadline();
        while let Some((disk, completion)) = self.bench.disks.take_due(self.bench.now) {
            assert!(self.ide.owns(disk));
            self.ide.complete(&mut self.bench.cx(), disk, completion);
        }
    }

    /// REP INSW of up to `bytes`; gives what the drive had.
    fn insw(&mut self, bytes: usize) -> Vec<u8> {
        let mut into = vec![0; bytes];
        let mut cx = self.bench.cx();
        let words = self
            .ide
            .read_data_block(&mut cx, PRIMARY, Size::Word, &mut into);
        into.truncate(words * 2);
        into
    }

    /// REP OUTSW; gives how many bytes the drive took.
    fn outsw(&mut self, bytes: &[u8]) -> usize {
        let mut cx = self.bench.cx();
        2 * self
            .ide
            .write_data_block(&mut cx, PRIMARY, Size::Word, bytes)
    }

    fn irq(&self) -> bool {
        self.bench.irq.levels() & Wire::Isa(14).bit() != 0
    }

    /// The status, having found the interrupt line high.
    fn acknowledge(&mut self) -> u8 {
        assert!(self.irq(), "no interrupt");
        let status = self.read(7);
        assert!(!self.irq());
        status
    }

    fn bus_master(&mut self, offset: u64, size: Size, value: u64) {
        let mut cx = self.bench.cx();
        self.ide
            .write_region(&mut cx, BUS_MASTER, offset, size, value);
    }

    fn bus_master_status(&mut self) -> u64 {
        let mut cx = self.bench.cx();
        self.ide.read_region(&mut cx, BUS_MASTER, 2, Size::Byte)
    }

    /// Lays a descriptor table at 1000h and starts the bus master.
    fn start_dma(&mut self, regions: &[(u32, u16)], to_memory: bool) {
        let mut table = Vec::new();
        for (i, (base, count)) in regions.iter().enumerate() {
            let last = i + 1 == regions.len();
            table.extend(base.to_le_bytes());
            table.extend(count.to_le_bytes());
            table.extend(if last { [0, 0x80] } else { [0, 0] });
        }
        self.bench.memory.write(0x1000, &table);
        self.bus_master(4, Size::Dword, 0x1000);
        self.bus_master(2, Size::Byte, 6);
        self.bus_master(0, Size::Byte, 1 | u64::from(to_memory) << 3);
    }

    fn memory(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bench.memory.read(at, &mut bytes);
        bytes
    }
}

fn words(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks();
    pairs.iter().map(|p| u16::from_le_bytes(*p)).collect()
}

fn text(words: &[u16]) -> String {
    let bytes = words.iter().flat_map(|w| w.to_be_bytes()).collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn identify_describes_the_drive_truly() {
    let mut host = Host::new();
    host.out(6, 0xa0);
    host.out(7, 0xec);
    assert_eq!(host.acknowledge(), 0x58);
    let bytes = host.insw(SECTOR_SIZE);
    assert_eq!(bytes.iter().fold(0, |s: u8, b| s.wrapping_add(*b)), 0);
    let id = words(&bytes);
    assert_eq!(text(&id[27..47]).trim_end(), "COWBOX HARDDISK");
    assert_eq!(text(&id[10..20]).trim_end(), "COWBOX-hd0");
    assert_eq!((id[1], id[3], id[6]), (99, 16, 63));
    assert_eq!(u32::from(id[60]) | u32::from(id[61]) << 16, 100_000);
    assert_eq!(u32::from(id[100]) | u32::from(id[101]) << 16, 100_000);
    assert_ne!(id[83] & 1 << 10, 0, "LBA48");
    assert_eq!(id[88] & 0x3f, 0x3f, "Ultra DMA 5");
    assert_eq!(id[93] & 0xe000, 0x6000, "80 conductors");
    assert_eq!(host.read(7), 0x50);
}

#[test]
fn pio_reads_one_sector_for_each_interrupt() {
    let mut host = Host::new();
    host.lba28(70_000, 3, 0x20);
    assert_eq!(host.read(7), 0xd0);
    assert!(!host.irq());
    host.wait();
    for sector in 70_000..70_003 {
        assert_eq!(host.acknowledge(), 0x58);
        assert_eq!(host.insw(4 * SECTOR_SIZE), pattern(sector));
    }
    assert!(!host.irq());
    assert_eq!(host.read(7), 0x50);
    assert!(host.insw(SECTOR_SIZE).is_empty());
}

#[test]
fn single_words_and_dwords_read_the_same_bytes_as_a_block() {
    let mut host = Host::new();
    host.lba28(0x1234, 1, 0x20);
    host.wait();
    let word = host.ide.read(&mut host.bench.cx(), PRIMARY, Size::Word);
    let dword = host.ide.read(&mut host.bench.cx(), PRIMARY, Size::Dword);
    assert_eq!((word, dword), (0x1234, 0));
    assert_eq!(host.insw(SECTOR_SIZE), pattern(0x1234)[6..]);
}

#[test]
fn pio_writes_reach_the_image_once_the_drive_says_so() {
    let mut host = Host::new();
    host.lba28(5, 2, 0x30);
    assert_eq!(host.read(7), 0x58);
    assert!(!host.irq(), "the first data request has no interrupt");
    assert_eq!(host.outsw(&[1; 2 * SECTOR_SIZE]), SECTOR_SIZE);
    assert_eq!(host.acknowledge(), 0x58);
    assert_eq!(host.outsw(&[2; SECTOR_SIZE]), SECTOR_SIZE);
    assert_eq!(host.read(7), 0xd0);
    host.wait();
    assert_eq!(host.acknowledge(), 0x50);
    let written = [[1; SECTOR_SIZE], [2; SECTOR_SIZE]];
    assert_eq!(host.image.sectors(5, 2), written.as_flattened());
    assert_eq!(host.image.log(), ["write 5 2"]);
}

#[test]
fn read_multiple_moves_whole_blocks_and_a_rest() {
    let mut host = Host::new();
    host.lba28(0, 0, 0xc6);
    assert_eq!(host.acknowledge(), 0x50);
    host.lba28(0, 5, 0xc4);
    assert_eq!(host.acknowledge() & 1, 1, "multiple mode is off");
    host.lba28(0, 4, 0xc6);
    assert_eq!(host.acknowledge(), 0x50);
    host.lba28(100, 5, 0xc4);
    host.wait();
    assert_eq!(host.acknowledge(), 0x58);
    assert_eq!(host.insw(5 * SECTOR_SIZE).len(), 4 * SECTOR_SIZE);
    assert_eq!(host.acknowledge(), 0x58);
    assert_eq!(host.insw(5 * SECTOR_SIZE), pattern(104));
    assert_eq!(host.read(7), 0x50);
}

#[test]
fn a_long_transfer_goes_on_in_chunks() {
    let mut host = Host::new();
    host.lba48(10, 4000, 0x24);
    for sector in 10..4010 {
        if host.bench.disks.deadline() != NEVER {
            host.wait();
        }
        assert_eq!(host.insw(SECTOR_SIZE), pattern(sector));
    }
    assert_eq!(host.read(7), 0x50);
}

#[test]
fn a_bulk_transfer_ends_at_the_tick_of_its_last_element() {
    let mut one_by_one = Host::new();
    let mut bulk = Host::new();
    for host in [&mut one_by_one, &mut bulk] {
        host.lba28(0, 1, 0x30);
    }
    for _ in 0..256 {
        let mut cx = one_by_one.bench.cx();
        one_by_one.ide.write(&mut cx, PRIMARY, Size::Word, 0);
        one_by_one.bench.now += PORT_ACCESS_TICKS + 1;
    }
    bulk.outsw(&[0; SECTOR_SIZE]);
    assert_eq!(
        one_by_one.bench.disks.deadline(),
        bulk.bench.disks.deadline()
    );
}

#[test]
fn chs_addresses_go_through_the_translation() {
    let mut host = Host::new();
    for (register, value) in [(2, 1), (3, 2), (4, 1), (5, 0), (6, 0xa3)] {
        host.out(register, value);
    }
    host.out(7, 0x20);
    host.wait();
    assert_eq!(host.insw(SECTOR_SIZE), pattern((16 + 3) * 63 + 1));
    host.out(2, 17);
    host.out(6, 0xa7);
    host.out(7, 0x91);
    assert_eq!(host.acknowledge(), 0x50);
    for (register, value) in [(2, 1), (3, 2), (4, 1), (5, 0), (6, 0xa3), (7, 0x20)] {
        host.out(register, value);
    }
    host.wait();
    assert_eq!(host.insw(SECTOR_SIZE), pattern((8 + 3) * 17 + 1));
}

#[test]
fn a_sector_that_cannot_be_read_is_reported_with_its_address() {
    let mut host = Host::new();
    host.image.spoil(0x1_0002);
    host.lba28(0x1_0000, 8, 0x20);
    host.wait();
    assert_eq!(host.insw(SECTOR_SIZE), pattern(0x1_0000));
    assert_eq!(host.insw(SECTOR_SIZE), pattern(0x1_0001));
    assert_eq!(host.acknowledge(), 0x51);
    assert_eq!(host.read(1), 0x40);
    assert_eq!([3, 4, 5, 6].map(|r| host.read(r)), [2, 0, 1, 0xe0]);
    assert_eq!(host.bench.disks.take_notices().len(), 1);
}

#[test]
fn a_write_that_fails_is_a_device_fault_at_its_sector() {
    let mut host = Host::new();
    host.image.spoil(9);
    host.lba48(8, 2, 0x34);
    host.outsw(&[0; SECTOR_SIZE]);
    host.outsw(&[0; SECTOR_SIZE]);
    host.wait();
    assert_eq!(host.acknowledge(), 0x71);
    assert_eq!((host.read(1), host.read(3)), (0x04, 9));
}

#[test]
fn sectors_past_the_end_do_not_exist() {
    let mut host = Host::new();
    host.lba28(99_999, 2, 0x20);
    assert_eq!(host.acknowledge(), 0x51);
    assert_eq!(host.read(1), 0x10);
    host.lba48(u64::MAX >> 16, 0, 0x24);
    assert_eq!(host.acknowledge(), 0x51);
    for (register, value) in [(2, 1), (3, 0), (4, 0), (5, 0), (6, 0xa0), (7, 0x20)] {
        host.out(register, value);
    }
    assert_eq!(host.acknowledge(), 0x51, "there is no sector 0 in CHS");
}

#[test]
fn native_max_and_high_order_bytes_show_the_last_sector() {
    let mut host = Host::new();
    host.out(6, 0xe0);
    host.out(7, 0x27);
    assert_eq!(host.acknowledge(), 0x50);
    assert_eq!([3, 4, 5].map(|r| host.read(r)), [0x9f, 0x86, 0x01]);
    host.lba48(0x0102_0304_0506, 0x0708, 0x00);
    host.out_at(CONTROL, 0x80);
    assert_eq!([2, 3, 4, 5].map(|r| host.read(r)), [7, 3, 2, 1]);
}

#[test]
fn unknown_commands_and_smart_are_aborted() {
    let mut host = Host::new();
    for command in [0x00, 0xb0, 0xa1, 0xff] {
        host.lba28(0, 1, command);
        assert_eq!(host.acknowledge(), 0x51);
        assert_eq!(host.read(1), 0x04);
    }
}

#[test]
fn a_reset_ends_what_was_under_way_and_shows_the_signature() {
    let mut host = Host::new();
    host.lba28(1, 1, 0x20);
    host.out_at(CONTROL, 0x04);
    assert_eq!(host.read_at(CONTROL), 0x80);
    host.out_at(CONTROL, 0x00);
    assert_eq!(host.read_at(CONTROL), 0x50);
    assert_eq!([1, 2, 3, 4, 5].map(|r| host.read(r)), [1, 1, 1, 0, 0]);
    host.wait();
    assert_eq!(host.read(7), 0x50);
    assert!(!host.irq());
}

#[test]
fn nien_holds_the_interrupt_back_until_it_is_cleared() {
    let mut host = Host::new();
    host.out_at(CONTROL, 0x02);
    host.out(7, 0xec);
    assert!(!host.irq());
    host.out_at(CONTROL, 0x00);
    assert!(host.irq());
    assert_eq!(host.read_at(CONTROL), 0x58);
    assert!(host.irq(), "the alternate status acknowledges nothing");
}

#[test]
fn drives_that_are_not_there_read_as_zero_and_take_no_commands() {
    let mut host = Host::new();
    host.out(6, 0xb0);
    assert_eq!(host.read(7), 0);
    host.out(7, 0xec);
    assert_eq!(host.read(7), 0);
    assert!(!host.irq());
    for port in 0x170..0x178 {
        host.out_at(port, 0x55);
        assert_eq!(host.read_at(port), 0);
    }
    assert_eq!(host.read_at(0x376), 0);
    host.out(6, 0xa0);
    assert_eq!(host.read(7), 0x50);
}

#[test]
fn a_protected_drive_aborts_writes() {
    let mut host = Host::new();
    host.image.protect();
    let disk = host.bench.disks.add(Disk::new("cd", host.image.clone()));
    host.ide = Ide::new([Some(disk), None, None, None]);
    host.lba28(0, 1, 0x30);
    assert_eq!(host.acknowledge(), 0x51);
    assert_eq!(host.read(1), 0x04);
}

#[test]
fn flush_and_writes_without_the_cache_reach_the_host_file() {
    let mut host = Host::new();
    host.out(7, 0xe7);
    host.wait();
    assert_eq!(host.acknowledge(), 0x50);
    host.out(1, 0x82);
    host.out(7, 0xef);
    assert_eq!(host.acknowledge(), 0x50);
    host.lba28(3, 1, 0x30);
    host.outsw(&[0; SECTOR_SIZE]);
    host.wait();
    assert_eq!(host.read(7), 0xd0);
    host.wait();
    assert_eq!(host.acknowledge(), 0x50);
    assert_eq!(host.image.log(), ["flush", "write 3 1", "flush"]);
}

#[test]
fn dma_scatters_over_the_regions_of_the_table() {
    let mut host = Host::new();
    host.lba28(40, 4, 0xc8);
    host.start_dma(&[(0x2000, 512), (0x8000, 1024), (0x4000, 512)], true);
    assert_eq!(host.bus_master_status(), 1);
    host.wait();
    assert_eq!(host.bus_master_status(), 4);
    assert_eq!(host.acknowledge(), 0x50);
    assert_eq!(host.memory(0x2000, 512), pattern(40));
    assert_eq!(
        host.memory(0x8000, 1024),
        [pattern(41), pattern(42)].concat()
    );
    assert_eq!(host.memory(0x4000, 512), pattern(43));
}

#[test]
fn dma_gathers_what_a_write_sends_however_late_it_is_started() {
    let mut host = Host::new();
    host.bench.memory.write(0x2000, &[7; 512]);
    host.bench.memory.write(0x9000, &[8; 512]);
    host.lba48(50, 2, 0x35);
    assert_eq!(host.read(7), 0xd0);
    host.start_dma(&[(0x2000, 512), (0x9000, 512)], false);
    host.wait();
    assert_eq!(host.acknowledge(), 0x50);
    let written = [[7; SECTOR_SIZE], [8; SECTOR_SIZE]];
    assert_eq!(host.image.sectors(50, 2), written.as_flattened());
}

#[test]
fn a_table_that_ends_early_stops_the_bus_master_and_leaves_the_drive_waiting() {
    let mut host = Host::new();
    host.lba28(0, 2, 0xc8);
    host.start_dma(&[(0x2000, 512)], true);
    host.wait();
    assert_eq!(host.bus_master_status(), 0);
    assert_eq!(host.read(7), 0xd0);
    assert!(!host.irq());
    host.out_at(CONTROL, 0x04);
    host.out_at(CONTROL, 0x00);
    assert_eq!(host.read(7), 0x50);
}

#[test]
fn a_count_of_zero_in_the_table_is_64_kib_and_the_rest_stays_active() {
    let mut host = Host::new();
    host.lba28(0, 2, 0xc8);
    host.start_dma(&[(0x1_0000, 0)], true);
    host.wait();
    assert_eq!(host.bus_master_status(), 5);
    host.bus_master(0, Size::Byte, 0);
    assert_eq!(host.bus_master_status(), 4);
    assert_eq!(
        host.memory(0x1_0000, 1024),
        [pattern(0), pattern(1)].concat()
    );
}

#[test]
fn a_long_dma_write_goes_on_in_chunks() {
    let mut host = Host::new();
    host.lba48(0, 3000, 0x35);
    let regions = [(0x1_0000, 0); 24];
    host.start_dma(&regions, false);
    host.wait();
    host.wait();
    assert_eq!(host.acknowledge(), 0x50);
    assert_eq!(host.image.log(), ["write 0 2048", "write 2048 952"]);
}

#[test]
fn trim_discards_each_range() {
    let mut host = Host::new();
    let mut ranges = vec![0; SECTOR_SIZE];
    ranges[..8].copy_from_slice(&(100 | 8_u64 << 48).to_le_bytes());
    ranges[16..24].copy_from_slice(&(300 | 1_u64 << 48).to_le_bytes());
    host.bench.memory.write(0x2000, &ranges);
    host.out(1, 1);
    host.lba48(0, 1, 0x06);
    host.start_dma(&[(0x2000, 512)], false);
    host.wait();
    host.wait();
    assert_eq!(host.acknowledge(), 0x50);
    assert_eq!(host.image.log(), ["discard 100 8", "discard 300 1"]);
}

#[test]
fn a_saved_controller_goes_on_where_it_was() {
    let mut host = Host::new();
    host.lba28(12, 2, 0x20);
    host.wait();
    host.insw(100);
    let saved = postcard::to_stdvec(&host.ide).unwrap();
    host.out_at(CONTROL, 0x04);
    host.ide = postcard::from_bytes(&saved).unwrap();
    assert_eq!(host.insw(SECTOR_SIZE), pattern(12)[100..]);
    assert_eq!(host.insw(SECTOR_SIZE), pattern(13));
}

#[test]
fn no_sequence_of_register_writes_upsets_the_controller() {
    let mut host = Host::with_sectors(300);
    let mut seed = 1_u64;
    for step in 0..20_000_u64 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(step | 1);
        let [_, _, _, _, a, b, c, d] = seed.to_le_bytes();
        let size = [Size::Byte, Size::Word, Size::Dword][usize::from(a % 3)];
        let port = [0x1f0, 0x170][usize::from(b % 2)] + u16::from(b >> 2 & 7);
        match a >> 4 {
            0..=8 => {
                let mut cx = host.bench.cx();
                host.ide
                    .write(&mut cx, port, size, u32::from(c) | u32::from(d) << 8);
            }
            9 => host.bus_master(u64::from(b & 15), size, u64::from(c)),
            10 => host.out(
                7,
                [0x20, 0x30, 0x35, 0xc5, 0x25, 0xec, 0x06][usize::from(c % 7)],
            ),
            11 => drop(host.insw(usize::from(c) * 16)),
            12 => drop(host.outsw(&vec![d; usize::from(c) * 16])),
            13 => host.out_at(CONTROL, c & 0x84),
            _ => drop(host.ide.read(&mut host.bench.cx(), port, size)),
        }
        host.bench.now += 5_000;
        while let Some((disk, completion)) = host.bench.disks.take_due(host.bench.now) {
            host.ide.complete(&mut host.bench.cx(), disk, completion);
        }
    }
}
