//! The virtio disk, driven as a driver drives it: registers, and rings built in memory.

use std::sync::Arc;

use super::*;
use crate::bus::{NEVER, Wire};
use crate::devices::Workbench;
use crate::disk::{Disks, TestImage, test_pattern as pattern};

const MODERN: Region = Region::Bar(4);
const LEGACY: Region = Region::Bar(0);

const SIZE: u16 = 8;
const DESCRIPTORS: u64 = 0x1_0000;
const AVAILABLE: u64 = 0x1_1000;
const USED: u64 = 0x1_2000;
const HEADERS: u64 = 0x2_0000;
const STATUSES: u64 = 0x2_8000;
const DATA: u64 = 0x3_0000;

const VERSION_1: u64 = 1 << 32;
const EVENT_IDX: u64 = 1 << 29;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

struct Driver {
    bench: Workbench,
    device: VirtioBlock,
    image: Arc<TestImage>,
    made_available: u16,
}

/// A descriptor: address, length, flags, next.
type Descriptor = (u64, u32, u16, u16);

impl Driver {
    /// A device that was only found so far.
    fn probed() -> Self {
        let image = TestImage::with_sectors(100_000);
        let mut bench = Workbench::new();
        let disk = bench.disks.add(Disk::new("vd0", image.clone()));
        let device = VirtioBlock::new(0x20, disk, bench.disks.get(disk).unwrap());
        Self {
            bench,
            device,
            image,
            made_available: 0,
        }
    }

    /// A virtio 1 driver that is ready to make requests.
    fn with_features(features: u64) -> Self {
        let mut driver = Self::probed();
        driver.set_up(features | VERSION_1);
        assert_eq!(driver.common(20, Size::Byte) & 0x4f, 0x0f);
        driver
    }

    fn set_up(&mut self, features: u64) {
        self.set_common(20, Size::Byte, 3);
        for half in 0..2 {
            self.set_common(8, Size::Dword, half);
            self.set_common(12, Size::Dword, features >> (32 * half) & 0xffff_ffff);
        }
        self.set_common(20, Size::Byte, 11);
        self.set_common(24, Size::Word, u64::from(SIZE));
        for (offset, address) in [(32, DESCRIPTORS), (40, AVAILABLE), (48, USED)] {
            self.set_common(offset, Size::Dword, address);
            self.set_common(offset + 4, Size::Dword, 0);
        }
        self.set_common(28, Size::Word, 1);
        self.set_common(20, Size::Byte, 15);
    }

    fn read(&mut self, region: Region, offset: u64, size: Size) -> u64 {
        self.device
            .read_region(&mut self.bench.cx(), region, offset, size)
    }

    fn write(&mut self, region: Region, offset: u64, size: Size, value: u64) {
        self.device
            .write_region(&mut self.bench.cx(), region, offset, size, value);
    }

    fn common(&mut self, offset: u64, size: Size) -> u64 {
        self.read(MODERN, offset, size)
    }

    fn set_common(&mut self, offset: u64, size: Size, value: u64) {
        self.write(MODERN, offset, size, value);
    }

    fn needs_reset(&mut self) -> bool {
        self.common(20, Size::Byte) & 64 != 0
    }

    fn poke(&mut self, at: u64, bytes: &[u8]) {
        self.bench.memory.write(at, bytes);
    }

    fn peek(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bench.memory.read(at, &mut bytes);
        bytes
    }

    fn peek_u16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.bench.memory.read_array(at))
    }

    fn describe(&mut self, table: u64, index: u16, descriptor: Descriptor) {
        let (address, len, flags, next) = descriptor;
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.poke(table + 16 * u64::from(index), &bytes);
    }

    fn header(&mut self, place: u64, kind: u32, sector: u64) -> u64 {
        let at = HEADERS + 16 * place;
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(sector.to_le_bytes());
        self.poke(at, &bytes);
        at
    }

    /// Describes a request in three descriptors from `head` on, its data at `data`.
    fn request(&mut self, head: u16, kind: u32, sector: u64, data: (u64, u32, u16)) {
        let header = self.header(u64::from(head), kind, sector);
        let status = STATUSES + u64::from(head);
        self.poke(status, &[0xee]);
        let (at, len, flags) = data;
        self.describe(DESCRIPTORS, head, (header, 16, NEXT, head + 1));
        self.describe(DESCRIPTORS, head + 1, (at, len, flags | NEXT, head + 2));
        self.describe(DESCRIPTORS, head + 2, (status, 1, WRITE, 0));
    }

    /// Describes a flush in two descriptors.
    fn flush(&mut self, head: u16) {
        let header = self.header(u64::from(head), 4, 0);
        let status = STATUSES + u64::from(head);
        self.describe(DESCRIPTORS, head, (header, 16, NEXT, head + 1));
        self.describe(DESCRIPTORS, head + 1, (status, 1, WRITE, 0));
    }

    fn offer(&mut self, head: u16) {
        let slot = u64::from(self.made_available % SIZE);
        self.poke(AVAILABLE + 4 + 2 * slot, &head.to_le_bytes());
        self.made_available += 1;
        let index = self.made_available.to_le_bytes();
        self.poke(AVAILABLE + 2, &index);
    }

    fn kick(&mut self) {
        self.write(MODERN, 0x3000, Size::Word, 0);
    }

    fn wait(&mut self) {
        assert_ne!(self.bench.disks.deadline(), NEVER, "nothing is under way");
        self.bench.now = self.bench.disks.deadline();
        while let Some((disk, completion)) = self.bench.disks.take_due(self.bench.now) {
            assert!(self.device.owns(disk));
            self.device.complete(&mut self.bench.cx(), disk, completion);
        }
    }

    fn run(&mut self, head: u16) -> u8 {
        self.offer(head);
        self.kick();
        while self.bench.disks.deadline() != NEVER {
            self.wait();
        }
        self.status(head)
    }

    fn status(&self, head: u16) -> u8 {
        self.peek(STATUSES + u64::from(head), 1)[0]
    }

    /// The used ring's index, and its entries.
    fn used(&self) -> Vec<(u32, u32)> {
        let number = |at| u32::from_le_bytes(self.bench.memory.read_array(at));
        (0..u64::from(self.peek_u16(USED + 2)))
            .map(|i| USED + 4 + 8 * (i % u64::from(SIZE)))
            .map(|at| (number(at), number(at + 4)))
            .collect()
    }

    fn interrupted(&mut self) -> bool {
        let level = self.bench.irq.levels() & Wire::IntA(4).bit() != 0;
        let isr = self.read(MODERN, 0x1000, Size::Byte);
        assert_eq!(level, isr != 0);
        assert_eq!(self.bench.irq.levels(), 0);
        level
    }
}

#[test]
fn a_read_fills_the_buffer_and_interrupts() {
    let mut driver = Driver::with_features(0);
    driver.request(0, 0, 77, (DATA, 1024, WRITE));
    assert_eq!(driver.run(0), 0);
    assert_eq!(driver.peek(DATA, 1024), [pattern(77), pattern(78)].concat());
    assert_eq!(driver.used(), [(0, 1025)]);
    assert!(driver.interrupted());
    assert!(!driver.interrupted());
}

#[test]
fn a_write_and_a_flush_reach_the_image_in_order() {
    let mut driver = Driver::with_features(FLUSH);
    driver.poke(DATA, &[0x5a; 512]);
    driver.request(0, 1, 9, (DATA, 512, 0));
    driver.flush(3);
    driver.offer(0);
    driver.offer(3);
    driver.kick();
    driver.poke(DATA, &[0; 512]);
    driver.wait();
    driver.wait();
    assert_eq!((driver.status(0), driver.status(3)), (0, 0));
    assert_eq!(driver.used(), [(0, 1), (3, 1)]);
    assert_eq!(driver.image.sectors(9, 1), [0x5a; 512]);
    assert_eq!(driver.image.log(), ["write 9 1", "flush"]);
}

#[test]
fn requests_are_given_back_in_the_order_in_which_they_are_done() {
    let mut driver = Driver::with_features(FLUSH);
    driver.flush(0);
    driver.request(3, 0, 5, (DATA, 512, WRITE));
    driver.offer(0);
    driver.offer(3);
    driver.kick();
    driver.wait();
    assert_eq!(driver.used(), [(3, 513)]);
    driver.wait();
    assert_eq!(driver.used(), [(3, 513), (0, 1)]);
}

#[test]
fn an_indirect_table_holds_a_request_of_any_layout() {
    let mut driver = Driver::with_features(0);
    let table = 0x2_9000;
    let header = driver.header(0, 0, 30);
    driver.describe(table, 0, (header, 7, NEXT, 2));
    driver.describe(table, 2, (header + 7, 9, NEXT, 1));
    driver.describe(table, 1, (DATA, 100, WRITE | NEXT, 3));
    driver.describe(table, 3, (DATA + 0x1000, 413, WRITE, 0));
    driver.describe(DESCRIPTORS, 5, (table, 64, INDIRECT, 0));
    driver.run(5);
    assert_eq!(driver.used(), [(5, 513)]);
    let mut bytes = driver.peek(DATA, 100);
    bytes.extend(driver.peek(DATA + 0x1000, 412));
    assert_eq!(bytes, pattern(30));
    assert_eq!(driver.peek(DATA + 0x1000 + 412, 1), [0]);
}

#[test]
fn an_indirect_table_may_end_a_chain() {
    let mut driver = Driver::with_features(0);
    let table = 0x2_9000;
    let header = driver.header(0, 0, 31);
    driver.describe(DESCRIPTORS, 0, (header, 16, NEXT, 1));
    driver.describe(DESCRIPTORS, 1, (table, 32, INDIRECT, 0));
    driver.describe(table, 0, (DATA, 512, WRITE | NEXT, 1));
    driver.describe(table, 1, (STATUSES, 1, WRITE, 0));
    assert_eq!(driver.run(0), 0);
    assert_eq!(driver.peek(DATA, 512), pattern(31));
}

#[test]
fn with_the_event_index_only_the_awaited_request_interrupts() {
    let mut driver = Driver::with_features(EVENT_IDX);
    driver.poke(AVAILABLE + 4 + 2 * u64::from(SIZE), &1_u16.to_le_bytes());
    driver.request(0, 0, 1, (DATA, 512, WRITE));
    driver.run(0);
    assert!(!driver.interrupted());
    driver.run(0);
    assert!(driver.interrupted());
    driver.run(0);
    assert!(!driver.interrupted());
    let awaited = driver.peek_u16(USED + 4 + 8 * u64::from(SIZE));
    assert_eq!(awaited, 3, "the device waits for the fourth chain");
}

#[test]
fn without_it_a_flag_of_the_available_ring_holds_interrupts_back() {
    let mut driver = Driver::with_features(0);
    driver.request(0, 0, 1, (DATA, 512, WRITE));
    driver.poke(AVAILABLE, &1_u16.to_le_bytes());
    driver.run(0);
    assert!(!driver.interrupted());
}

#[test]
fn msi_x_sends_the_message_of_the_queue_instead_of_intx() {
    let mut driver = Driver::with_features(0);
    driver.set_common(26, Size::Word, 1);
    assert_eq!(driver.common(26, Size::Word), 1);
    driver.set_common(26, Size::Word, 7);
    assert_eq!(driver.common(26, Size::Word), 0xffff, "no such vector");
    driver.set_common(26, Size::Word, 1);
    let capability = driver.capability(0x11, 0);
    let mut cx = driver.bench.cx();
    driver
        .device
        .write_config(&mut cx, capability + 2, Size::Word, 0x8000);
    for (offset, value) in [(16, 0xfee0_0000), (20, 0), (24, 0x31), (28, 0)] {
        driver.write(Region::Bar(1), offset, Size::Dword, value);
    }
    driver.request(0, 0, 1, (DATA, 512, WRITE));
    driver.run(0);
    let sent: Vec<_> = driver.bench.messages.iter().map(|m| m.data).collect();
    assert_eq!(sent, [0x31]);
    assert_eq!(driver.bench.irq.levels(), 0);
}

#[test]
fn the_serial_number_discards_and_zeros_work() {
    let mut driver = Driver::with_features(FLUSH | DISCARD | WRITE_ZEROES);
    driver.request(0, 8, 0, (DATA, 20, WRITE));
    assert_eq!(driver.run(0), 0);
    assert_eq!(driver.peek(DATA, 20), *b"COWBOX-vd0\0\0\0\0\0\0\0\0\0\0");
    let mut range = 40_u64.to_le_bytes().to_vec();
    range.extend(8_u32.to_le_bytes());
    range.extend(0_u32.to_le_bytes());
    driver.poke(DATA, &range);
    driver.request(0, 11, 0, (DATA, 16, 0));
    assert_eq!(driver.run(0), 0);
    driver.poke(DATA + 12, &[1]);
    assert_eq!(driver.run(0), 2, "a discard has no flags");
    driver.request(0, 13, 0, (DATA, 16, 0));
    assert_eq!(driver.run(0), 0);
    assert_eq!(driver.image.log(), ["discard 40 8", "zero 40 8 MayUnmap"]);
}

#[test]
fn with_the_write_cache_off_a_write_is_done_once_it_is_flushed() {
    let mut driver = Driver::with_features(FLUSH | CONFIG_WCE);
    assert_eq!(driver.read(MODERN, 0x2020, Size::Byte), 1);
    driver.write(MODERN, 0x2020, Size::Byte, 0);
    assert_eq!(driver.read(MODERN, 0x2020, Size::Byte), 0);
    driver.request(0, 1, 4, (DATA, 512, 0));
    driver.offer(0);
    driver.kick();
    driver.wait();
    assert_eq!(driver.used(), []);
    driver.wait();
    assert_eq!(driver.used(), [(0, 1)]);
    assert_eq!(driver.image.log(), ["write 4 1", "flush"]);
}

#[test]
fn a_driver_that_cannot_flush_gets_its_writes_flushed() {
    let mut driver = Driver::with_features(0);
    driver.request(0, 1, 4, (DATA, 512, 0));
    driver.run(0);
    assert_eq!(driver.image.log(), ["write 4 1", "flush"]);
}

#[test]
fn wrong_requests_fail_alone() {
    let mut driver = Driver::with_features(0);
    let cases = [
        (0, 99_999, 1024, WRITE, 1, "past the end"),
        (0, u64::MAX, 512, WRITE, 1, "far past the end"),
        (0, 0, 511, WRITE, 1, "no whole sector"),
        (0, 0, u32::MAX, WRITE, 1, "four gigabytes"),
        (1, 99_999, 1024, 0, 1, "a write past the end"),
        (2, 0, 512, WRITE, 2, "an unknown type"),
        (11, 0, 512, 0, 2, "a discard of many ranges"),
    ];
    for (kind, sector, len, flags, expected, what) in cases {
        driver.request(0, kind, sector, (DATA, len, flags));
        assert_eq!(driver.run(0), expected, "{what}");
    }
    assert!(!driver.needs_reset());
    assert_eq!(driver.image.log(), [""; 0]);
}

#[test]
fn a_host_failure_is_an_i_o_error_and_a_notice() {
    let mut driver = Driver::with_features(0);
    driver.image.spoil(6);
    driver.request(0, 0, 5, (DATA, 1024, WRITE));
    assert_eq!(driver.run(0), 1);
    assert_eq!(driver.bench.disks.take_notices().len(), 1);
}

#[test]
fn hostile_rings_stop_the_device_until_it_is_reset() {
    type Attack = fn(&mut Driver);
    let attacks: [(&str, Attack); 9] = [
        ("head outside", |d| d.offer(SIZE)),
        ("loop", |d| {
            d.describe(DESCRIPTORS, 0, (DATA, 16, NEXT, 0));
            d.offer(0);
        }),
        ("next outside", |d| {
            d.describe(DESCRIPTORS, 0, (DATA, 16, NEXT, 999));
            d.offer(0);
        }),
        ("ring runs ahead", |d| d.poke(AVAILABLE + 2, &[0xff, 0x7f])),
        ("no header", |d| {
            d.describe(DESCRIPTORS, 0, (DATA, 15, 0, 0));
            d.offer(0);
        }),
        ("read after write", |d| {
            d.describe(DESCRIPTORS, 0, (DATA, 16, WRITE | NEXT, 1));
            d.describe(DESCRIPTORS, 1, (DATA, 16, 0, 0));
            d.offer(0);
        }),
        ("wrapping address", |d| {
            d.describe(DESCRIPTORS, 0, (u64::MAX, 16, 0, 0));
            d.offer(0);
        }),
        ("indirect in indirect", |d| {
            d.describe(DESCRIPTORS, 0, (DATA, 16, INDIRECT, 0));
            d.describe(DATA, 0, (DATA, 16, INDIRECT, 0));
            d.offer(0);
        }),
        ("indirect of odd length", |d| {
            d.describe(DESCRIPTORS, 0, (DATA, 24, INDIRECT, 0));
            d.offer(0);
        }),
    ];
    for (what, attack) in attacks {
        let mut driver = Driver::with_features(0);
        attack(&mut driver);
        driver.kick();
        assert!(driver.needs_reset(), "{what}");
        assert_eq!(driver.bench.outlet.misuse.len(), 1, "{what}");
        assert!(driver.interrupted(), "{what}");
        driver.kick();
        assert_eq!(driver.bench.outlet.misuse.len(), 1, "{what}");
        driver.set_common(20, Size::Byte, 0);
        assert_eq!(driver.common(20, Size::Byte), 0, "{what}");
        driver.made_available = 0;
        driver.poke(AVAILABLE, &[0; 64]);
        driver.poke(USED, &[0; 96]);
        driver.set_up(VERSION_1);
        driver.request(0, 0, 3, (DATA, 512, WRITE));
        assert_eq!(driver.run(0), 0, "{what}");
    }
}

#[test]
fn rings_laid_over_each_other_do_not_keep_the_device_busy() {
    let mut driver = Driver::probed();
    driver.set_up(VERSION_1);
    driver.device.transport.queue.used = AVAILABLE;
    driver.request(0, 8, 0, (DATA, 20, WRITE));
    driver.offer(0);
    driver.kick();
    driver.kick();
}

#[test]
fn rings_outside_of_memory_stop_the_device() {
    let mut driver = Driver::with_features(0);
    driver.device.transport.queue.available = 0x4000_0000_0000;
    driver.kick();
    assert!(driver.needs_reset());
}

#[test]
fn a_reset_forgets_what_is_under_way() {
    let mut driver = Driver::with_features(0);
    driver.request(0, 0, 3, (DATA, 512, WRITE));
    driver.offer(0);
    driver.kick();
    driver.set_common(20, Size::Byte, 0);
    driver.wait();
    assert_eq!(driver.used(), []);
    assert_eq!(driver.status(0), 0xee);
}

#[test]
fn features_that_are_not_offered_are_not_agreed_on() {
    let mut driver = Driver::probed();
    driver.set_up(VERSION_1 | 1 << 40);
    assert_eq!(driver.common(20, Size::Byte) & 8, 0);
    driver.set_common(20, Size::Byte, 0);
    driver.set_up(0);
    assert_eq!(
        driver.common(20, Size::Byte) & 8,
        0,
        "virtio 1 is a must here"
    );
}

#[test]
fn a_protected_disk_says_so_and_takes_no_writes() {
    let mut driver = Driver::probed();
    driver.image.protect();
    let mut disks = Disks::default();
    let disk = disks.add(Disk::new("vd0", driver.image.clone()));
    driver.device = VirtioBlock::new(0x20, disk, disks.get(disk).unwrap());
    driver.bench.disks = disks;
    assert_eq!(driver.common(4, Size::Dword) & RO, RO);
    assert_eq!(driver.common(4, Size::Dword) & DISCARD, 0);
    driver.set_up(VERSION_1 | RO);
    driver.request(0, 1, 0, (DATA, 512, 0));
    assert_eq!(driver.run(0), 1);
}

#[test]
fn the_legacy_interface_drives_the_same_device() {
    let mut driver = Driver::probed();
    let size = driver.read(LEGACY, 12, Size::Word);
    assert_eq!(size, 256);
    assert_eq!(driver.read(LEGACY, 20, Size::Dword), 100_000);
    driver.write(LEGACY, 18, Size::Byte, 3);
    driver.write(LEGACY, 4, Size::Dword, 0);
    driver.write(LEGACY, 8, Size::Dword, 0x40);
    assert_eq!(driver.read(LEGACY, 8, Size::Dword), 0x40);
    driver.write(LEGACY, 18, Size::Byte, 7);
    let (descriptors, available, used) = (0x4_0000, 0x4_1000, 0x4_2000);
    let header = driver.header(0, 0, 200);
    driver.describe(descriptors, 0, (header, 16, NEXT, 1));
    driver.describe(descriptors, 1, (DATA, 512, WRITE | NEXT, 2));
    driver.describe(descriptors, 2, (STATUSES, 1, WRITE, 0));
    driver.poke(available + 2, &[1, 0]);
    driver.write(LEGACY, 16, Size::Word, 0);
    driver.wait();
    assert_eq!(driver.peek(DATA, 512), pattern(200));
    assert_eq!(driver.peek_u16(used + 2), 1);
    assert_eq!(driver.read(LEGACY, 19, Size::Byte), 1);
    assert_eq!(driver.read(LEGACY, 19, Size::Byte), 0);
}

impl Driver {
    /// Where the capability of that ID lies; of vendor capabilities, that of the type.
    fn capability(&self, id: u8, kind: u8) -> u8 {
        let config = self.device.config();
        let mut at = config.byte(0x34);
        while at != 0 {
            if config.byte(at) == id && (id != 9 || config.byte(at + 3) == kind) {
                return at;
            }
            at = config.byte(at + 1);
        }
        panic!("no capability {id:#x}");
    }
}

#[test]
fn the_capabilities_lead_to_every_register() {
    let mut driver = Driver::probed();
    let place = |driver: &Driver, kind| {
        let at = driver.capability(9, kind);
        let config = driver.device.config();
        (config.byte(at + 4), config.dword(at + 8))
    };
    assert_eq!(place(&driver, 1), (4, 0));
    assert_eq!(place(&driver, 2), (4, 0x3000));
    assert_eq!(place(&driver, 3), (4, 0x1000));
    assert_eq!(place(&driver, 4), (4, 0x2000));
    let notify = driver.capability(9, 2);
    assert_eq!(driver.device.config().dword(notify + 16), 4);
    assert_eq!(driver.read(MODERN, 0x2000, Size::Qword), 100_000);
    assert_eq!(driver.read(MODERN, 18, Size::Word), 1, "one queue");
}

#[test]
fn firmware_reaches_the_registers_through_configuration_space() {
    let mut driver = Driver::probed();
    let window = driver.capability(9, 5);
    let mut set = |offset: u8, size, value| {
        let mut cx = driver.bench.cx();
        driver
            .device
            .write_config(&mut cx, window + offset, size, value);
    };
    set(4, Size::Byte, 4);
    set(8, Size::Dword, 20);
    set(12, Size::Dword, 1);
    set(16, Size::Byte, 3);
    let mut cx = driver.bench.cx();
    assert_eq!(
        driver.device.read_config(&mut cx, window + 16, Size::Byte),
        3
    );
    assert_eq!(driver.common(20, Size::Byte), 3);
    let mut cx = driver.bench.cx();
    driver
        .device
        .write_config(&mut cx, window + 8, Size::Dword, 0x7fff_ffff);
    assert_eq!(
        driver.device.read_config(&mut cx, window + 16, Size::Byte),
        3
    );
}

#[test]
fn a_saved_device_finishes_its_requests() {
    let mut driver = Driver::with_features(0);
    driver.request(0, 0, 60, (DATA, 512, WRITE));
    driver.offer(0);
    driver.kick();
    let saved = postcard::to_stdvec(&driver.device).unwrap();
    driver.set_common(20, Size::Byte, 0);
    driver.device = postcard::from_bytes(&saved).unwrap();
    driver.wait();
    assert_eq!(driver.peek(DATA, 512), pattern(60));
}

#[test]
fn no_memory_contents_and_no_register_writes_upset_the_device() {
    let mut seed = 7_u64;
    for round in 0..300_u64 {
        let mut driver = Driver::with_features(if round % 2 == 0 { EVENT_IDX } else { 0 });
        for step in 0..60_u64 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(step | 1);
            let [_, _, _, a, b, c, d, e] = seed.to_le_bytes();
            let index = u16::from(a % 8);
            let address = [DATA, DESCRIPTORS, AVAILABLE, USED, u64::MAX - 40][usize::from(b % 5)];
            let len = [0, 1, 16, 512, 513, 64, 1 << 31][usize::from(c % 7)];
            let descriptor = (address, len, u16::from(d % 8), u16::from(e % 9));
            driver.describe(DESCRIPTORS, index, descriptor);
            driver.offer(u16::from(e % 9));
            match a >> 5 {
                0 => driver.write(MODERN, u64::from(b), Size::Dword, u64::from(c)),
                1 => driver.write(LEGACY, u64::from(b % 32), Size::Word, u64::from(c)),
                2 => driver.request(index % 4, u32::from(d % 16), 0, (DATA, 512, WRITE)),
                _ => driver.kick(),
            }
            driver.bench.now += 30_000;
            while let Some((disk, completion)) = driver.bench.disks.take_due(driver.bench.now) {
                driver
                    .device
                    .complete(&mut driver.bench.cx(), disk, completion);
            }
        }
    }
}
