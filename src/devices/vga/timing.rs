//! Where the beam is: input status register 1, from guest time and the CRT controller's
//! registers. (IBM VGA XGA Technical Reference Manual, section 2-44.)

use super::registers::Registers;
use crate::bus::{TICKS_PER_SECOND, Tick, rescale};

const DOT_CLOCK_25: u64 = 25_175_000;
const DOT_CLOCK_28: u64 = 28_322_000;

const DISPLAY_DISABLED: u8 = 1 << 0;
const VERTICAL_RETRACE: u8 = 1 << 3;

/// Input status register 1 at `now`.
pub(super) fn input_status_1(registers: &Registers, now: Tick) -> u8 {
    let dot_clock = match registers.misc >> 2 & 3 {
        1 => DOT_CLOCK_28,
        _ => DOT_CLOCK_25,
    };
    let halved = u64::from(registers.sequencer.get(1) >> 3 & 1);
    let dots = rescale(now, TICKS_PER_SECOND, dot_clock) >> halved;
    let characters = dots / registers.cell_width() as u64;
    let line_length = u64::from(registers.crtc.get(0)) + 5;
    let column = characters % line_length;
    let line = characters / line_length % registers.total_lines();

    let start = registers.retrace_start();
    let in_retrace = (start..start + registers.retrace_lines()).contains(&line);
    let shown = column < registers.columns() as u64 && line < registers.lines() as u64;
    let mut status = 0;
    if !shown {
        status |= DISPLAY_DISABLED;
    }
    if in_retrace {
        status |= VERTICAL_RETRACE | DISPLAY_DISABLED;
    }
    status
}
