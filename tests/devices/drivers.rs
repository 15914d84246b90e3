//! Three small disk drivers, as a kernel would have them.

use cowbox::bus::{PORT_ACCESS_TICKS, Size, Wire};
use cowbox::devices::PortIo;
use cowbox::devices::ide::Ide;
use cowbox::devices::pci::{PciFunction, Region};
use cowbox::devices::virtio::VirtioBlock;

use crate::bench::Bench;

const READ_MULTIPLE_EXT: u8 = 0x29;
const WRITE_MULTIPLE_EXT: u8 = 0x39;
const READ_DMA_EXT: u8 = 0x25;
const WRITE_DMA_EXT: u8 = 0x35;
const FLUSH_CACHE_EXT: u8 = 0xea;

const DATA: u16 = 0x1f0;
const BUS_MASTER: Region = Region::Bar(4);
const DESCRIPTORS: u64 = 0x1000;
const BUFFER: u32 = 0x1_0000;

/// A driver of one disk. Each call waits until the disk has done what it was asked.
pub(crate) trait Driver {
    fn read(&mut self, bench: &mut Bench, sector: u64, count: u64) -> Vec<u8>;
    fn write(&mut self, bench: &mut Bench, sector: u64, bytes: &[u8]);
    fn flush(&mut self, bench: &mut Bench);
}

/// The registers that both IDE drivers use.
struct Registers(Ide);

impl Registers {
    fn new(bench: &Bench) -> Self {
        Self(Ide::new([Some(bench.disk), None, None, None]))
    }

    fn write(&mut self, bench: &mut Bench, register: u16, value: u8) {
        let port = DATA + register;
        self.0
            .write(&mut bench.cx(), port, Size::Byte, value.into());
        bench.now += PORT_ACCESS_TICKS;
    }

    fn command(&mut self, bench: &mut Bench, sector: u64, count: u64, command: u8) {
        let [b0, b1, b2, b3, b4, b5, ..] = sector.to_le_bytes();
        let [c0, c1, ..] = count.to_le_bytes();
        let high = [(2, c1), (3, b3), (4, b4), (5, b5)];
        let low = [(2, c0), (3, b0), (4, b1), (5, b2), (6, 0x40)];
        for (register, value) in high.into_iter().chain(low) {
            self.write(bench, register, value);
        }
        self.write(bench, 7, command);
    }

    /// Waits for the interrupt, and reads the status.
    fn interrupt(&mut self, bench: &mut Bench) -> u32 {
        while bench.irq.levels() & Wire::Isa(14).bit() == 0 {
            bench.wait(&mut self.0);
        }
        self.0.read(&mut bench.cx(), DATA + 7, Size::Byte)
    }

    fn flush(&mut self, bench: &mut Bench) {
        self.command(bench, 0, 0, FLUSH_CACHE_EXT);
        assert_eq!(self.interrupt(bench), 0x50);
    }
}

/// READ and WRITE MULTIPLE through the data register.
pub(crate) struct IdePio(Registers);

impl IdePio {
    pub(crate) fn new(bench: &mut Bench) -> Self {
        Self(Registers::new(bench))
    }
}

impl Driver for IdePio {
    fn read(&mut self, bench: &mut Bench, sector: u64, count: u64) -> Vec<u8> {
        self.0.command(bench, sector, count, READ_MULTIPLE_EXT);
        let mut bytes = vec![0; count as usize * 512];
        for block in bytes.chunks_mut(16 * 512) {
            assert_eq!(self.0.interrupt(bench), 0x58);
            let ide = &mut self.0.0;
            let moved = ide.read_data_block(&mut bench.cx(), DATA, Size::Dword, block);
            assert_eq!(moved * 4, block.len());
        }
        bytes
    }

    fn write(&mut self, bench: &mut Bench, sector: u64, bytes: &[u8]) {
        let count = bytes.len() as u64 / 512;
        self.0.command(bench, sector, count, WRITE_MULTIPLE_EXT);
        for (place, block) in bytes.chunks(16 * 512).enumerate() {
            if place > 0 {
                assert_eq!(self.0.interrupt(bench), 0x58);
            }
            let ide = &mut self.0.0;
            let moved = ide.write_data_block(&mut bench.cx(), DATA, Size::Word, block);
            assert_eq!(moved * 2, block.len());
        }
        assert_eq!(self.0.interrupt(bench), 0x50);
    }

    fn flush(&mut self, bench: &mut Bench) {
        self.0.flush(bench);
    }
}

/// DMA through a table of uneven regions.
pub(crate) struct IdeDma(Registers);

impl IdeDma {
    pub(crate) fn new(bench: &mut Bench) -> Self {
        Self(Registers::new(bench))
    }

    fn transfer(&mut self, bench: &mut Bench, bytes: usize, to_memory: bool) {
        let mut table = Vec::new();
        let mut at = 0;
        while at < bytes {
            let len = (bytes - at).min(10_242);
            let last = if at + len == bytes { 0x8000 } else { 0 };
            table.extend((BUFFER + at as u32).to_le_bytes());
            table.extend((len as u16).to_le_bytes());
            table.extend(u16::to_le_bytes(last));
            at += len;
        }
        bench.memory.write(DESCRIPTORS, &table);
        let start = 1 | u64::from(to_memory) << 3;
        for (offset, size, value) in [
            (0, Size::Byte, 0),
            (4, Size::Dword, DESCRIPTORS),
            (2, Size::Byte, 6),
            (0, Size::Byte, start),
        ] {
            let ide = &mut self.0.0;
            ide.write_region(&mut bench.cx(), BUS_MASTER, offset, size, value);
        }
        assert_eq!(self.0.interrupt(bench), 0x50);
        let ide = &mut self.0.0;
        let status = ide.read_region(&mut bench.cx(), BUS_MASTER, 2, Size::Byte);
        assert_eq!(status, 4);
    }
}

impl Driver for IdeDma {
    fn read(&mut self, bench: &mut Bench, sector: u64, count: u64) -> Vec<u8> {
        let mut bytes = vec![0; count as usize * 512];
        self.0.command(bench, sector, count, READ_DMA_EXT);
        self.transfer(bench, bytes.len(), true);
        bench.memory.read(BUFFER.into(), &mut bytes);
        bytes
    }

    fn write(&mut self, bench: &mut Bench, sector: u64, bytes: &[u8]) {
        bench.memory.write(BUFFER.into(), bytes);
        let count = bytes.len() as u64 / 512;
        self.0.command(bench, sector, count, WRITE_DMA_EXT);
        self.transfer(bench, bytes.len(), false);
    }

    fn flush(&mut self, bench: &mut Bench) {
        self.0.flush(bench);
    }
}

/// Virtio 1 with a split ring, three requests at a time.
pub(crate) struct Virtio {
    device: VirtioBlock,
    made_available: u16,
}

const QUEUE: u16 = 64;
const RING: u64 = 0x4000;
const AVAILABLE: u64 = 0x5000;
const USED: u64 = 0x6000;
const HEADERS: u64 = 0x7000;
const STATUSES: u64 = 0x7800;

const MODERN: Region = Region::Bar(4);
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;

const NEXT: u16 = 1;
const WRITE: u16 = 2;

impl Virtio {
    pub(crate) fn new(bench: &mut Bench) -> Self {
        let disk = bench.disks.get(bench.disk).unwrap();
        let device = VirtioBlock::new(0x20, bench.disk, disk);
        let mut driver = Self {
            device,
            made_available: 0,
        };
        let flush = 1 << 9;
        for (offset, size, value) in [
            (20, Size::Byte, 3),
            (8, Size::Dword, 0),
            (12, Size::Dword, flush),
            (8, Size::Dword, 1),
            (12, Size::Dword, 1),
            (20, Size::Byte, 11),
            (24, Size::Word, QUEUE.into()),
            (32, Size::Qword, RING),
            (40, Size::Qword, AVAILABLE),
            (48, Size::Qword, USED),
            (28, Size::Word, 1),
            (20, Size::Byte, 15),
        ] {
            driver.set(bench, offset, size, value);
        }
        driver
    }

    fn set(&mut self, bench: &mut Bench, offset: u64, size: Size, value: u64) {
        let mut cx = bench.cx();
        self.device
            .write_region(&mut cx, MODERN, offset, size, value);
        bench.now += 100;
    }

    /// Offers a request in the descriptors of `place`.
    fn offer(&mut self, bench: &mut Bench, place: u16, header: (u32, u64), data: (u64, u32)) {
        let (kind, sector) = header;
        let header_at = HEADERS + 16 * u64::from(place);
        let mut header = u64::from(kind).to_le_bytes().to_vec();
        header.extend(sector.to_le_bytes());
        bench.memory.write(header_at, &header);
        let status_at = STATUSES + u64::from(place);
        bench.memory.write(status_at, &[0xff]);
        let head = 3 * place;
        let (at, len) = data;
        let way = if kind == IN { WRITE } else { 0 };
        let mut chain = vec![(header_at, 16, 0)];
        if len > 0 {
            chain.push((at, len, way));
        }
        chain.push((status_at, 1, WRITE));
        let last = chain.len() as u16 - 1;
        for (i, (at, len, flags)) in (0_u16..).zip(chain) {
            let flags = if i == last { flags } else { flags | NEXT };
            let mut descriptor = at.to_le_bytes().to_vec();
            descriptor.extend(u32::to_le_bytes(len));
            descriptor.extend(flags.to_le_bytes());
            descriptor.extend((head + i + 1).to_le_bytes());
            bench
                .memory
                .write(RING + 16 * u64::from(head + i), &descriptor);
        }
        let slot = AVAILABLE + 4 + 2 * u64::from(self.made_available % QUEUE);
        bench.memory.write(slot, &head.to_le_bytes());
        self.made_available = self.made_available.wrapping_add(1);
        let index = self.made_available.to_le_bytes();
        bench.memory.write(AVAILABLE + 2, &index);
    }

    /// Waits until the device has used everything it was offered.
    fn finish(&mut self, bench: &mut Bench, requests: u16) {
        self.set(bench, 0x3000, Size::Word, 0);
        while bench.memory.read_array(USED + 2) != self.made_available.to_le_bytes() {
            bench.wait(&mut self.device);
        }
        for place in 0..requests {
            let status = bench.memory.read_array(STATUSES + u64::from(place));
            assert_eq!(status, [0]);
        }
        let mut cx = bench.cx();
        let isr = self.device.read_region(&mut cx, MODERN, 0x1000, Size::Byte);
        assert_eq!(isr, 1);
    }

    /// Cuts a transfer into three requests that are under way together.
    fn transfer(&mut self, bench: &mut Bench, kind: u32, sector: u64, count: u64) {
        let third = count.div_ceil(3);
        let mut requests = 0;
        for first in (0..count).step_by(third as usize) {
            let sectors = third.min(count - first);
            let data = (u64::from(BUFFER) + first * 512, sectors as u32 * 512);
            self.offer(bench, requests, (kind, sector + first), data);
            requests += 1;
        }
        self.finish(bench, requests);
    }
}

impl Driver for Virtio {
    fn read(&mut self, bench: &mut Bench, sector: u64, count: u64) -> Vec<u8> {
        self.transfer(bench, IN, sector, count);
        let mut bytes = vec![0; count as usize * 512];
        bench.memory.read(BUFFER.into(), &mut bytes);
        bytes
    }

    fn write(&mut self, bench: &mut Bench, sector: u64, bytes: &[u8]) {
        bench.memory.write(BUFFER.into(), bytes);
        self.transfer(bench, OUT, sector, bytes.len() as u64 / 512);
    }

    fn flush(&mut self, bench: &mut Bench) {
        self.offer(bench, 0, (FLUSH, 0), (0, 0));
        self.finish(bench, 1);
    }
}
