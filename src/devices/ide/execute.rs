//! Starting commands. (ATA/ATAPI-6, clause 8.)

use super::command::{Command, Path, Power};
use super::drive::{Drive, Flow, Run, Then};
use super::identify::{MOST_LBA28, MOST_MULTIPLE, MOST_TRIM_BLOCKS};
use super::registers::{ERR, IDNF, Span};
use crate::devices::Cx;
use crate::disk::{Disk, Geometry, SECTOR_SIZE};

/// Features of DATA SET MANAGEMENT: the ranges are to be trimmed.
const FEATURE_TRIM: u8 = 0x01;

impl Drive {
    /// Takes a command code. A busy drive and one asleep take none.
    pub(super) fn execute(&mut self, cx: &mut Cx<'_>, code: u8) {
        if self.disk().is_none() || self.is_busy() || self.power == Power::Sleep {
            return;
        }
        self.interrupt = false;
        self.registers.error = 0;
        match Command::decode(code) {
            Some(command) => self.start(cx, command),
            None => self.abort(),
        }
    }

    fn start(&mut self, cx: &mut Cx<'_>, command: Command) {
        match command {
            Command::Seek => self.succeed(),
            Command::Read(span, path) => self.start_read(cx, span, path),
            Command::Write(span, path) => self.start_write(cx, span, path),
            Command::Verify(span) => self.start_verify(cx, span),
            Command::NativeMax(span) => self.report_native_max(cx, span),
            Command::Trim => self.start_trim(cx),
            Command::SetTranslation => self.set_translation(cx),
            Command::SetMultiple => self.set_multiple(),
            Command::SetPower(power) => self.set_power(power),
            Command::CheckPower => self.report_power(),
            Command::Flush => self.submit_flush(cx),
            Command::Identify => self.send_identity(cx),
            Command::SetFeatures => self.set_features(),
        }
    }

    fn start_read(&mut self, cx: &mut Cx<'_>, span: Span, path: Path) {
        if let Some(run) = self.addressed_run(cx, span, path) {
            self.read_on(cx, run);
        }
    }

    fn start_verify(&mut self, cx: &mut Cx<'_>, span: Span) {
        if let Some(run) = self.addressed_run(cx, span, Path::Pio) {
            self.verify_on(cx, run);
        }
    }

    fn start_write(&mut self, cx: &mut Cx<'_>, span: Span, path: Path) {
        if self.described(cx.disks).is_none_or(Disk::is_read_only) {
            return self.abort();
        }
        if let Some(run) = self.addressed_run(cx, span, path) {
            self.ask_for_data(run);
        }
    }

    /// The sectors that the registers name, or an error to the host and `None`.
    fn addressed_run(&mut self, cx: &Cx<'_>, span: Span, path: Path) -> Option<Run> {
        if path == Path::Multiple && self.multiple == 0 {
            self.abort();
            return None;
        }
        let capacity = self.described(cx.disks).map_or(0, Disk::sectors);
        let address = self.registers.address(span, self.translation(cx.disks));
        let left = self.registers.sectors(span);
        let Some(next) = address else {
            self.end_with(ERR, IDNF);
            return None;
        };
        if next + u64::from(left) > capacity {
            self.fail_at(cx, span, next.max(capacity), IDNF);
            return None;
        }
        Some(Run {
            span,
            path,
            next,
            left,
        })
    }

    fn start_trim(&mut self, cx: &mut Cx<'_>) {
        let features = self.registers.features.byte();
        let blocks = self.registers.sectors(Span::Ext);
        let refused = self.described(cx.disks).is_none_or(Disk::is_read_only);
        if refused || features != FEATURE_TRIM || blocks > u32::from(MOST_TRIM_BLOCKS) {
            return self.abort();
        }
        let blocks = usize::try_from(blocks).unwrap_or(0);
        let buffer = vec![0; blocks * SECTOR_SIZE];
        self.begin_data(Path::Dma, Flow::ToDrive, buffer, Then::Trim);
    }

    fn send_identity(&mut self, cx: &Cx<'_>) {
        let Some(disk) = self.described(cx.disks) else {
            return self.abort();
        };
        let buffer = self.identity(disk, self.translation(cx.disks));
        self.begin_data(Path::Pio, Flow::ToHost, buffer, Then::End);
        self.interrupt = true;
    }

    fn report_native_max(&mut self, cx: &Cx<'_>, span: Span) {
        let capacity = self.described(cx.disks).map_or(0, Disk::sectors);
        let reach = match span {
            Span::Short => capacity.min(MOST_LBA28),
            Span::Ext => capacity,
        };
        let translation = self.translation(cx.disks);
        let last = reach.saturating_sub(1);
        self.registers.set_address(span, translation, last);
        self.succeed();
    }

    fn set_translation(&mut self, cx: &Cx<'_>) {
        let heads = (self.registers.device & 0x0f) + 1;
        let sectors = self.registers.count.byte();
        let capacity = self.described(cx.disks).map_or(0, Disk::sectors);
        if sectors == 0 {
            return self.abort();
        }
        let wanted = Geometry {
            cylinders: 0,
            heads,
            sectors,
        };
        self.translation = Some(wanted.fitted(capacity));
        self.succeed();
    }

    fn set_multiple(&mut self) {
        let sectors = self.registers.count.byte();
        if sectors > MOST_MULTIPLE || sectors != 0 && !sectors.is_power_of_two() {
            return self.abort();
        }
        self.multiple = sectors;
        self.succeed();
    }

    fn set_power(&mut self, power: Power) {
        self.power = power;
        self.succeed();
    }

    fn report_power(&mut self) {
        self.registers.count.push(match self.power {
            Power::Active => 0xff,
            Power::Idle => 0x80,
            Power::Standby | Power::Sleep => 0x00,
        });
        self.succeed();
    }

    fn set_features(&mut self) {
        let mode = self.registers.count.byte();
        match self.registers.features.byte() {
            0x02 => self.write_cache = true,
            0x82 => self.write_cache = false,
            0x03 if is_transfer_mode(mode) => self.transfer_mode = mode,
            // Read look-ahead, and whether a reset reverts settings: nothing depends on them.
            0x55 | 0xaa | 0x66 | 0xcc => {}
            _ => return self.abort(),
        }
        self.succeed();
    }
}

/// Whether the drive has a mode of SET FEATURES 03h: PIO to 4, multiword DMA to 2, Ultra DMA to 5.
fn is_transfer_mode(mode: u8) -> bool {
    matches!(mode, 0x00 | 0x01 | 0x08..=0x0c | 0x20..=0x22 | 0x40..=0x45)
}
