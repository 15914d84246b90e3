//! One request of virtio-blk: a header, data, a status byte. (Virtio 1.2, section 5.2.6.)

use super::super::chain::{Broken, Buffer, Chain};
use crate::disk::{Disk, Request, SECTOR_SIZE, Space};
use crate::memory::Memory;

/// The most bytes that one request moves. Drivers stay far below; it bounds what a request
/// makes the host allocate.
const MOST_BYTES: u64 = 32 << 20;

/// The most sectors that a discard or a write of zeros names (2 GiB).
pub(super) const MOST_DISCARD_SECTORS: u32 = 1 << 22;

/// Bytes of the serial number that GET_ID gives.
pub(super) const ID_BYTES: usize = 20;

const HEADER_BYTES: u64 = 16;
const RANGE_BYTES: u64 = 16;
const FLAG_UNMAP: u32 = 1;

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;
const TYPE_DISCARD: u32 = 11;
const TYPE_WRITE_ZEROES: u32 = 13;

/// How a request ended, as its last byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    /// The request was wrong, or the disk failed.
    IoError,
    /// The device does not do that.
    Unsupported,
}

impl Status {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::IoError => 1,
            Self::Unsupported => 2,
        }
    }
}

/// What a driver asks.
#[derive(Debug)]
pub(super) enum Asked {
    /// Something of the disk.
    Disk(Request),
    /// The serial number.
    Id,
}

/// Reads the request of a chain. One that has no header or no place for its status is no
/// request at all; another may have a status at once.
pub(super) fn parse(
    memory: &Memory,
    chain: &Chain,
    disk: &Disk,
) -> Result<Result<Asked, Status>, Broken> {
    let data_out = chain.readable.len().checked_sub(HEADER_BYTES);
    let data_in = chain.writable.len().checked_sub(1);
    let (Some(data_out), Some(data_in)) = (data_out, data_in) else {
        return Err(Broken("a disk request lacks its header or its status byte"));
    };
    let mut header = [0; 16];
    chain.readable.read(memory, 0, &mut header);
    let [t0, t1, t2, t3, _, _, _, _, s0, s1, s2, s3, s4, s5, s6, s7] = header;
    let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let asked = match u32::from_le_bytes([t0, t1, t2, t3]) {
        TYPE_IN => read_request(disk, sector, data_in),
        TYPE_OUT => write_request(memory, &chain.readable, disk, (sector, data_out)),
        TYPE_FLUSH => Ok(Asked::Disk(Request::Flush)),
        TYPE_GET_ID => Ok(Asked::Id),
        TYPE_DISCARD => range(memory, &chain.readable).and_then(|r| r.discard(disk)),
        TYPE_WRITE_ZEROES => range(memory, &chain.readable).and_then(|r| r.zero(disk)),
        _ => Err(Status::Unsupported),
    };
    Ok(asked)
}

fn read_request(disk: &Disk, sector: u64, bytes: u64) -> Result<Asked, Status> {
    let count = sectors_of(disk, sector, bytes)?;
    Ok(Asked::Disk(Request::Read { sector, count }))
}

fn write_request(
    memory: &Memory,
    from: &Buffer,
    disk: &Disk,
    (sector, bytes): (u64, u64),
) -> Result<Asked, Status> {
    sectors_of(disk, sector, bytes)?;
    if disk.is_read_only() {
        return Err(Status::IoError);
    }
    let len = usize::try_from(bytes).map_err(|_| Status::IoError)?;
    let mut data = vec![0; len];
    from.read(memory, HEADER_BYTES, &mut data);
    Ok(Asked::Disk(Request::Write { sector, data }))
}

/// How many sectors `bytes` bytes are, if they are whole and the disk has them.
fn sectors_of(disk: &Disk, sector: u64, bytes: u64) -> Result<u32, Status> {
    let size = SECTOR_SIZE as u64;
    if !bytes.is_multiple_of(size) || bytes > MOST_BYTES {
        return Err(Status::IoError);
    }
    let count = bytes / size;
    check_range(disk, sector, count)?;
    u32::try_from(count).map_err(|_| Status::IoError)
}

fn check_range(disk: &Disk, sector: u64, count: u64) -> Result<(), Status> {
    match sector.checked_add(count) {
        Some(end) if end <= disk.sectors() => Ok(()),
        _ => Err(Status::IoError),
    }
}

/// The range of a discard or a write of zeros.
struct Range {
    sector: u64,
    count: u32,
    flags: u32,
}

/// The one range that a discard or a write of zeros may have.
fn range(memory: &Memory, from: &Buffer) -> Result<Range, Status> {
    if from.len() != HEADER_BYTES + RANGE_BYTES {
        return Err(Status::Unsupported);
    }
    let mut bytes = [0; 16];
    from.read(memory, HEADER_BYTES, &mut bytes);
    let [
        s0,
        s1,
        s2,
        s3,
        s4,
        s5,
        s6,
        s7,
        c0,
        c1,
        c2,
        c3,
        f0,
        f1,
        f2,
        f3,
    ] = bytes;
    Ok(Range {
        sector: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        count: u32::from_le_bytes([c0, c1, c2, c3]),
        flags: u32::from_le_bytes([f0, f1, f2, f3]),
    })
}

impl Range {
    fn discard(self, disk: &Disk) -> Result<Asked, Status> {
        if self.flags != 0 {
            return Err(Status::Unsupported);
        }
        self.check(disk)?;
        let Self { sector, count, .. } = self;
        Ok(Asked::Disk(Request::Discard { sector, count }))
    }

    fn zero(self, disk: &Disk) -> Result<Asked, Status> {
        if self.flags & !FLAG_UNMAP != 0 {
            return Err(Status::Unsupported);
        }
        self.check(disk)?;
        Ok(Asked::Disk(Request::WriteZeroes {
            sector: self.sector,
            count: self.count,
            space: match self.flags & FLAG_UNMAP {
                0 => Space::Keep,
                _ => Space::MayFree,
            },
        }))
    }

    fn check(&self, disk: &Disk) -> Result<(), Status> {
        if disk.is_read_only() || self.count > MOST_DISCARD_SECTORS {
            return Err(Status::IoError);
        }
        check_range(disk, self.sector, u64::from(self.count))
    }
}
