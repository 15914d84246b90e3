//! Moving the sectors of a command, in buffers of up to [`CHUNK_SECTORS`]: the disk fills a
//! buffer and the host empties it, or the other way round, until no sector is left.

use super::bus_master::BusMaster;
use super::command::{Path, Power};
use super::drive::{Activity, DataPhase, Drive, Errand, Flow, Ranges, Run, Then};
use super::registers::{ABRT, BSY, DF, DRDY, DSC, ERR, IDNF, Span, UNC};
use crate::devices::Cx;
use crate::disk::{Completion, Disk, Failure, FailureKind, Request, SECTOR_SIZE};

/// The most sectors that one request to the disk moves (1 MiB).
const CHUNK_SECTORS: u32 = 2048;

/// Bytes of one range of a trim: 48 bits of address, 16 bits of count.
const RANGE_BYTES: usize = 8;

impl DataPhase {
    /// The rest of the current data request.
    fn rest_of_block(&mut self) -> &mut [u8] {
        let end = (self.moved / self.block + 1) * self.block;
        let end = end.min(self.buffer.len());
        self.buffer.get_mut(self.moved..end).unwrap_or_default()
    }
}

impl Drive {
    /// Reads the next sectors of a run into the buffer.
    pub(super) fn read_on(&mut self, cx: &mut Cx<'_>, mut run: Run) {
        let (sector, count) = take_chunk(&mut run);
        self.submit(cx, Request::Read { sector, count }, Errand::Read(run));
    }

    /// Reads the next sectors of a run to see whether they can be read.
    pub(super) fn verify_on(&mut self, cx: &mut Cx<'_>, mut run: Run) {
        let (sector, count) = take_chunk(&mut run);
        self.submit(cx, Request::Read { sector, count }, Errand::Verify(run));
    }

    /// Asks the host for the next sectors of a run.
    pub(super) fn ask_for_data(&mut self, mut run: Run) {
        let (sector, count) = take_chunk(&mut run);
        let buffer = vec![0; to_bytes(count)];
        self.begin_data(run.path, Flow::ToDrive, buffer, Then::Write(sector, run));
    }

    pub(super) fn submit_flush(&mut self, cx: &mut Cx<'_>) {
        self.submit(cx, Request::Flush, Errand::Flush);
    }

    fn submit(&mut self, cx: &mut Cx<'_>, request: Request, errand: Errand) {
        let Some(disk) = self.disk() else { return };
        self.power = Power::Active;
        self.registers.status = DRDY | DSC | BSY;
        let tag = cx.disks.submit(disk, cx.now, request);
        self.activity = Activity::Waiting(tag, errand);
    }

    /// Takes what the disk made of an errand. What was submitted before a reset is nobody's.
    pub(super) fn complete(&mut self, cx: &mut Cx<'_>, completion: Completion) {
        match std::mem::take(&mut self.activity) {
            Activity::Waiting(tag, errand) if tag == completion.tag => {
                self.finish_errand(cx, errand, completion);
            }
            other => self.activity = other,
        }
    }

    fn finish_errand(&mut self, cx: &mut Cx<'_>, errand: Errand, completion: Completion) {
        let Completion { data, result, .. } = completion;
        match (errand, result) {
            (Errand::Read(run), Ok(())) if run.left > 0 => {
                self.send(data, run.path, Then::Read(run));
            }
            (Errand::Read(run), Ok(())) => self.send(data, run.path, Then::End),
            (Errand::Read(run), Err(failure)) if !data.is_empty() => {
                self.send(data, run.path, Then::Fail(run.span, failure));
            }
            (Errand::Read(run) | Errand::Verify(run), Err(failure)) => {
                self.fail_read(cx, run.span, &failure);
            }
            (Errand::Verify(run), Ok(())) if run.left > 0 => self.verify_on(cx, run),
            (Errand::Write(run), Ok(())) if run.left > 0 => {
                self.ask_for_data(run);
                self.interrupt = true;
            }
            (Errand::Write(_), Ok(())) if !self.write_cache => self.submit_flush(cx),
            (Errand::Trim(ranges), Ok(())) => self.trim_on(cx, ranges),
            (Errand::Verify(_) | Errand::Write(_) | Errand::Flush, Ok(())) => self.succeed(),
            (Errand::Write(run), Err(failure)) => self.fail_write(cx, run.span, &failure),
            (Errand::Flush | Errand::Trim(_), Err(failure)) => {
                self.fail_write(cx, Span::Ext, &failure);
            }
        }
    }

    fn send(&mut self, buffer: Vec<u8>, path: Path, then: Then) {
        self.begin_data(path, Flow::ToHost, buffer, then);
        self.interrupt = path != Path::Dma;
    }

    fn fail_read(&mut self, cx: &Cx<'_>, span: Span, failure: &Failure) {
        let error = match failure.kind {
            FailureKind::OutOfRange => IDNF,
            FailureKind::ReadOnly | FailureKind::Medium => UNC,
        };
        self.fail_at(cx, span, failure.sector, error);
    }

    fn fail_write(&mut self, cx: &Cx<'_>, span: Span, failure: &Failure) {
        let (status, error) = match failure.kind {
            FailureKind::OutOfRange => (ERR, IDNF),
            FailureKind::ReadOnly => (ERR, ABRT),
            FailureKind::Medium => (ERR | DF, ABRT),
        };
        self.fail_at(cx, span, failure.sector, error);
        self.end_with(status, error);
    }

    /// How many bytes the data register moves before the drive has to look again.
    pub(super) fn rest_of_request(&mut self, flow: Flow) -> usize {
        self.open_block(flow).map_or(0, |block| block.len())
    }

    /// Moves bytes from the drive through the data register; returns how many.
    pub(super) fn read_data(&mut self, cx: &mut Cx<'_>, into: &mut [u8]) -> usize {
        let Some(block) = self.open_block(Flow::ToHost) else {
            return 0;
        };
        let len = block.len().min(into.len());
        into.split_at_mut(len)
            .0
            .copy_from_slice(block.split_at(len).0);
        self.advance(cx, len);
        len
    }

    /// Moves bytes to the drive through the data register; returns how many it took.
    pub(super) fn write_data(&mut self, cx: &mut Cx<'_>, from: &[u8]) -> usize {
        let Some(block) = self.open_block(Flow::ToDrive) else {
            return 0;
        };
        let len = block.len().min(from.len());
        block
            .split_at_mut(len)
            .0
            .copy_from_slice(from.split_at(len).0);
        self.advance(cx, len);
        len
    }

    /// The rest of the current data request in that direction.
    fn open_block(&mut self, flow: Flow) -> Option<&mut [u8]> {
        let Activity::Data(phase) = &mut self.activity else {
            return None;
        };
        let open = phase.path != Path::Dma && phase.flow == flow;
        open.then(|| phase.rest_of_block())
    }

    /// Notes that `moved` bytes of the current data request have passed.
    fn advance(&mut self, cx: &mut Cx<'_>, moved: usize) {
        let Activity::Data(phase) = &mut self.activity else {
            return;
        };
        phase.moved += moved;
        if phase.moved == phase.buffer.len() {
            self.finish_buffer(cx);
        } else if phase.moved.is_multiple_of(phase.block) {
            self.interrupt = true;
        }
    }

    /// Moves what can be moved by the bus master.
    pub(super) fn move_by_dma(&mut self, cx: &mut Cx<'_>, bus_master: &mut BusMaster) {
        while let Activity::Data(phase) = &mut self.activity
            && phase.path == Path::Dma
            && bus_master.is_active()
        {
            let rest = phase.buffer.get_mut(phase.moved..).unwrap_or_default();
            phase.moved += match phase.flow {
                Flow::ToHost => bus_master.store(cx.memory, rest),
                Flow::ToDrive => bus_master.load(cx.memory, rest),
            };
            if phase.moved == phase.buffer.len() {
                self.finish_buffer(cx);
            }
        }
    }

    /// The last byte of the buffer has moved.
    fn finish_buffer(&mut self, cx: &mut Cx<'_>) {
        let Activity::Data(phase) = std::mem::take(&mut self.activity) else {
            return;
        };
        match phase.then {
            Then::End => {
                let unread = self.interrupt;
                self.succeed();
                self.interrupt = unread || phase.path == Path::Dma;
            }
            Then::Fail(span, failure) => self.fail_read(cx, span, &failure),
            Then::Read(run) => self.read_on(cx, run),
            Then::Write(sector, run) => {
                let data = phase.buffer;
                self.submit(cx, Request::Write { sector, data }, Errand::Write(run));
            }
            Then::Trim => self.trim_on(cx, ranges(&phase.buffer)),
        }
    }

    /// Discards the next of `ranges`, or ends the command.
    fn trim_on(&mut self, cx: &mut Cx<'_>, mut ranges: Ranges) {
        let Some((sector, count)) = ranges.pop() else {
            return self.succeed();
        };
        let capacity = self.described(cx.disks).map_or(0, Disk::sectors);
        if sector + u64::from(count) > capacity {
            return self.fail_at(cx, Span::Ext, sector, IDNF | ABRT);
        }
        let request = Request::Discard { sector, count };
        self.submit(cx, request, Errand::Trim(ranges));
    }
}

/// Takes the sectors of one request from the front of a run: the first and how many.
fn take_chunk(run: &mut Run) -> (u64, u32) {
    let (sector, count) = (run.next, run.left.min(CHUNK_SECTORS));
    run.next += u64::from(count);
    run.left -= count;
    (sector, count)
}

fn to_bytes(sectors: u32) -> usize {
    usize::try_from(sectors).unwrap_or(usize::MAX) * SECTOR_SIZE
}

/// The ranges of a trim that are not empty, the last first.
fn ranges(buffer: &[u8]) -> Ranges {
    let (entries, _) = buffer.as_chunks::<RANGE_BYTES>();
    let ranges = entries.iter().rev().map(|entry| {
        let entry = u64::from_le_bytes(*entry);
        let count = u32::try_from(entry >> 48).unwrap_or(0);
        (entry & 0xffff_ffff_ffff, count)
    });
    ranges.filter(|(_, count)| *count > 0).collect()
}
