//! The virtio disk. (Virtio 1.2, section 5.2; transitional, PCI 1AF4:1001.)
//!
//! Requests of the queue go to the disk as they come and are given back as they are done, in
//! whatever order. With the write cache off, or for a driver that cannot flush, a write is done
//! when it is flushed.

mod request;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::request::{Asked, ID_BYTES, MOST_DISCARD_SECTORS, Status, parse};
use super::chain::{Broken, Chain};
use super::queue::MOST_ENTRIES;
use super::transport::{Event, Kind, Transport};
use crate::bus::Size;
use crate::devices::pci::{ConfigSpace, DevFn, PciFunction, Region};
use crate::devices::{Cx, DiskUser};
use crate::disk::{Completion, Disk, DiskId, Request, Tag};

const KIND: Kind = Kind {
    pci_device: 0x1001,
    class: 0x01_0000,
    device: 2,
};

const SEG_MAX: u64 = 1 << 2;
const GEOMETRY: u64 = 1 << 4;
const RO: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
const FLUSH: u64 = 1 << 9;
const TOPOLOGY: u64 = 1 << 10;
const CONFIG_WCE: u64 = 1 << 11;
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// The place of the write cache setting in the configuration.
const WRITEBACK: usize = 32;

/// The buffers of one request besides header and status.
const MOST_SEGMENTS: u32 = MOST_ENTRIES as u32 - 2;

/// While that many bytes are on their way, the queue waits: it bounds the host's memory.
const MOST_BYTES_UNDER_WAY: u64 = 64 << 20;

/// A request that the disk works on.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    tag: Tag,
    chain: Chain,
    /// A flush follows before the driver hears of it.
    flush_after: bool,
}

/// The virtio disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VirtioBlock {
    transport: Transport,
    disk: DiskId,
    writeback: bool,
    pending: Vec<Pending>,
}

impl VirtioBlock {
    /// A device after power-on, at a place on the bus. `described` is what `disk` names.
    pub fn new(devfn: DevFn, disk: DiskId, described: &Disk) -> Self {
        let always = SEG_MAX | GEOMETRY | BLK_SIZE | FLUSH | TOPOLOGY | CONFIG_WCE;
        let features = match described.is_read_only() {
            true => RO,
            false => DISCARD | WRITE_ZEROES,
        };
        Self {
            transport: Transport::new(devfn, KIND, always | features),
            disk,
            writeback: true,
            pending: Vec::new(),
        }
    }

    /// The device's configuration as the driver reads it.
    fn configuration(&self, disk: &Disk) -> Vec<u8> {
        let geometry = disk.geometry();
        let mut bytes = Vec::with_capacity(60);
        bytes.extend(disk.sectors().to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(MOST_SEGMENTS.to_le_bytes());
        bytes.extend(geometry.cylinders.to_le_bytes());
        bytes.extend([geometry.heads, geometry.sectors]);
        bytes.extend(512_u32.to_le_bytes());
        // Topology: physical blocks of one sector, aligned, no preferred sizes.
        bytes.extend([0, 0, 1, 0, 0, 0, 0, 0]);
        bytes.extend([u8::from(self.writeback), 0, 1, 0]);
        let discard = [MOST_DISCARD_SECTORS, 1, 1];
        let write_zeroes = [MOST_DISCARD_SECTORS, 1, 1];
        for number in discard.into_iter().chain(write_zeroes) {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    fn configuration_now(&self, cx: &Cx<'_>) -> Vec<u8> {
        let disk = cx.disks.get(self.disk);
        disk.map_or_else(Vec::new, |disk| self.configuration(disk))
    }

    fn handle(&mut self, cx: &mut Cx<'_>, event: Event) {
        match event {
            Event::None => {}
            Event::Notify => self.serve(cx),
            Event::Reset => {
                self.pending.clear();
                self.writeback = true;
            }
            Event::Configure(WRITEBACK, value) if self.transport.has(CONFIG_WCE) => {
                self.writeback = value & 1 != 0;
            }
            Event::Configure(..) => {}
        }
    }

    /// Takes chains off the queue. At most as many as the queue is long: a driver that puts its
    /// rings one over the other could keep it from ever being empty.
    fn serve(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..self.transport.queue.size {
            if !self.transport.is_running() || !self.has_room() {
                break;
            }
            match self.transport.queue.pop(cx.memory) {
                Ok(Some(chain)) => self.begin(cx, chain),
                Ok(None) => break,
                Err(broken) => self.transport.stop(cx, broken),
            }
        }
        if self.transport.is_running() {
            self.transport.want_notification(cx);
        }
    }

    fn has_room(&self) -> bool {
        let bytes = |p: &Pending| p.chain.readable.len().max(p.chain.writable.len());
        let under_way: u64 = self.pending.iter().map(bytes).sum();
        self.pending.len() < usize::from(MOST_ENTRIES) && under_way < MOST_BYTES_UNDER_WAY
    }

    fn begin(&mut self, cx: &mut Cx<'_>, chain: Chain) {
        let Some(disk) = cx.disks.get(self.disk) else {
            return self.transport.stop(cx, Broken("the disk is gone"));
        };
        match parse(cx.memory, &chain, disk) {
            Err(broken) => self.transport.stop(cx, broken),
            Ok(Err(status)) => self.finish(cx, &chain, status, 0),
            Ok(Ok(Asked::Id)) => {
                let mut id: Vec<u8> = disk.serial().bytes().take(ID_BYTES).collect();
                id.resize(ID_BYTES, 0);
                self.answer(cx, &chain, &id);
            }
            Ok(Ok(Asked::Disk(request))) => {
                let changes = !matches!(request, Request::Read { .. } | Request::Flush);
                let tag = cx.disks.submit(self.disk, cx.now, request);
                self.pending.push(Pending {
                    tag,
                    chain,
                    flush_after: changes && !self.caches_writes(),
                });
            }
        }
    }

    /// Whether a write may be done before it is on stable storage.
    fn caches_writes(&self) -> bool {
        match self.transport.has(CONFIG_WCE) {
            true => self.writeback,
            false => self.transport.has(FLUSH),
        }
    }

    /// Gives the driver the data that it asked for.
    fn answer(&mut self, cx: &mut Cx<'_>, chain: &Chain, data: &[u8]) {
        let room = usize::try_from(chain.writable.len() - 1).unwrap_or(0);
        let (data, _) = data.split_at(data.len().min(room));
        chain.writable.write(cx.memory, 0, data);
        self.finish(cx, chain, Status::Ok, data.len());
    }

    /// Ends a request, of which `written` bytes of data lie in the driver's buffers.
    fn finish(&mut self, cx: &mut Cx<'_>, chain: &Chain, status: Status, written: usize) {
        let data = chain.writable.len().saturating_sub(1);
        chain.writable.write(cx.memory, data, &[status.code()]);
        let written = written as u64;
        let all = if written == data { data + 1 } else { written };
        let len = u32::try_from(all).unwrap_or(u32::MAX);
        self.transport.finish(cx, chain.head, len);
    }
}

impl PciFunction for VirtioBlock {
    fn config(&self) -> &ConfigSpace {
        &self.transport.config
    }

    fn read_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size) -> u32 {
        let configuration = self.configuration_now(cx);
        self.transport
            .read_config(cx, (offset, size), &configuration)
    }

    fn write_config(&mut self, cx: &mut Cx<'_>, offset: u8, size: Size, value: u32) {
        let event = self.transport.write_config(cx, (offset, size), value);
        self.handle(cx, event);
    }

    fn read_region(&mut self, cx: &mut Cx<'_>, region: Region, offset: u64, size: Size) -> u64 {
        let configuration = self.configuration_now(cx);
        self.transport
            .read(cx, (region, offset), size, &configuration)
    }

    fn write_region(
        &mut self,
        cx: &mut Cx<'_>,
        region: Region,
        offset: u64,
        size: Size,
        value: u64,
    ) {
        let event = self.transport.write(cx, (region, offset), size, value);
        self.handle(cx, event);
    }
}

impl DiskUser for VirtioBlock {
    fn owns(&self, disk: DiskId) -> bool {
        self.disk == disk
    }

    fn complete(&mut self, cx: &mut Cx<'_>, _: DiskId, completion: Completion) {
        let mut pending = self.pending.iter();
        let Some(place) = pending.position(|p| p.tag == completion.tag) else {
            // It was submitted before the driver reset the device.
            return;
        };
        let mut pending = self.pending.swap_remove(place);
        if pending.flush_after && completion.result.is_ok() {
            pending.flush_after = false;
            pending.tag = cx.disks.submit(self.disk, cx.now, Request::Flush);
            self.pending.push(pending);
            return;
        }
        match completion.result {
            Ok(()) => self.answer(cx, &pending.chain, &completion.data),
            Err(_) => self.finish(cx, &pending.chain, Status::IoError, 0),
        }
        self.serve(cx);
    }
}
