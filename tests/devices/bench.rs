//! What a controller is plugged into: wires, memory, a clock and a disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cowbox::bus::{IrqLines, Messages, NEVER, Tick};
use cowbox::devices::{BoardRequest, Cx, DiskUser, Outlet};
use cowbox::disk::{Disk, DiskId, Disks};
use cowbox::image::qcow2::create::{CreateOptions, create};
use cowbox::image::qcow2::header::Header;
use cowbox::image::qcow2::{Parameters, Purpose, Qcow2, Writing};
use cowbox::image::{Extent, Format, Image, RawAccess, RawImage, Result, ZeroMode};
use cowbox::memory::Memory;
use cowbox::storage::{MemoryStorage, Storage};

/// The size of the disk: 8 MiB.
pub(crate) const SECTORS: u64 = 16384;

const RAM: u64 = 1 << 20;

/// An empty qcow2 overlay, and the contents of the raw image below it.
pub(crate) fn new_image() -> (Arc<dyn Storage>, Vec<u8>) {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(Vec::new()));
    let options = CreateOptions {
        size: SECTORS * 512,
        cluster_size: 4096,
        ..CreateOptions::default()
    };
    create(&*storage, &options).unwrap();
    (storage, Random(1).bytes(SECTORS as usize * 512))
}

pub(crate) fn open_image(storage: &Arc<dyn Storage>, base: &[u8]) -> Arc<dyn Image> {
    let below = Arc::new(MemoryStorage::new(base.to_vec()));
    let parameters = Parameters {
        backing: Some(Arc::new(
            RawImage::new(below, RawAccess::ReadOnly, None).unwrap(),
        )),
        ..Parameters::new(Writing::Allowed)
    };
    let header = Header::read(&**storage, Purpose::Contents).unwrap();
    Arc::new(Qcow2::open(Arc::clone(storage), header, parameters).unwrap())
}

/// All that a [`Cx`] borrows.
pub(crate) struct Bench {
    pub(crate) now: Tick,
    pub(crate) memory: Memory,
    pub(crate) disks: Disks,
    pub(crate) disk: DiskId,
    pub(crate) irq: IrqLines,
    /// What the disk holds at first.
    pub(crate) base: Vec<u8>,
    /// When requests completed.
    pub(crate) ticks: Vec<Tick>,
    deadline: Tick,
    messages: Messages,
    requests: Vec<BoardRequest>,
    outlet: Outlet,
}

impl Bench {
    pub(crate) fn new(image: Arc<dyn Image>, base: Vec<u8>) -> Self {
        let mut memory = Memory::new(RAM).unwrap();
        memory.map.map_ram(0, RAM, 0);
        let mut disks = Disks::default();
        let disk = disks.add(Disk::new("hd0", image));
        Self {
            now: 0,
            memory,
            disk,
            disks,
            irq: IrqLines::default(),
            base,
            ticks: Vec::new(),
            deadline: NEVER,
            messages: Messages::new(),
            requests: Vec::new(),
            outlet: Outlet::default(),
        }
    }

    pub(crate) fn cx(&mut self) -> Cx<'_> {
        Cx {
            now: self.now,
            deadline: &mut self.deadline,
            irq: &mut self.irq,
            messages: &mut self.messages,
            memory: &mut self.memory,
            disks: &mut self.disks,
            requests: &mut self.requests,
            outlet: &mut self.outlet,
        }
    }

    /// Halts until the disk has done something.
    pub(crate) fn wait(&mut self, device: &mut dyn DiskUser) {
        assert_ne!(self.disks.deadline(), NEVER, "nothing is under way");
        self.now = self.now.max(self.disks.deadline());
        while let Some((disk, completion)) = self.disks.take_due(self.now) {
            self.ticks.push(self.now);
            device.complete(&mut self.cx(), disk, completion);
        }
    }
}

/// An image behind a host that takes its time.
#[derive(Debug)]
pub(crate) struct Slow {
    image: Arc<dyn Image>,
    delay: Duration,
}

impl Slow {
    pub(crate) fn new(image: Arc<dyn Image>, delay: Duration) -> Self {
        Self { image, delay }
    }

    fn slowly(&self) -> &dyn Image {
        std::thread::sleep(self.delay);
        &*self.image
    }
}

impl Image for Slow {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn format(&self) -> Format {
        self.image.format()
    }

    fn read_only(&self) -> bool {
        self.image.read_only()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.slowly().read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.slowly().write_at(buf, offset)
    }

    fn write_zeroes(&self, offset: u64, len: u64, mode: ZeroMode) -> Result<()> {
        self.slowly().write_zeroes(offset, len, mode)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.slowly().discard(offset, len)
    }

    fn flush(&self) -> Result<()> {
        self.slowly().flush()
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        self.image.extent(offset, len)
    }

    fn path(&self) -> Option<&Path> {
        self.image.path()
    }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let numbers = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        numbers.take(len).collect()
    }
}
