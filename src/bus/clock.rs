//! Guest time: one integer counter that every clock of the machine reads.
//!
//! A tick passes for each retired instruction and each iteration of a repeated string
//! instruction; a port access costs [`PORT_ACCESS_TICKS`] more, PAUSE [`PAUSE_TICKS`]; and while
//! the CPU is halted the counter jumps to the next deadline. No host clock takes part, so the
//! same inputs give the same state at the same tick.

/// A point in guest time, or a span of it, in ticks of one nanosecond since power-on.
pub type Tick = u64;

/// How many ticks make a guest second.
pub const TICKS_PER_SECOND: Tick = 1_000_000_000;

/// What one access to an I/O port costs beyond its instruction. An ISA bus cycle takes about
/// half a microsecond, and guests that poll a port count on it being slow.
pub const PORT_ACCESS_TICKS: Tick = 500;

/// What PAUSE costs beyond its instruction: about 140 cycles since Skylake (Intel's Optimization
/// Reference Manual, 2.5.4). A guest that waits for a time to pass keeps the host that much less
/// busy.
pub const PAUSE_TICKS: Tick = 139;

/// The deadline of a device that waits for nothing.
pub const NEVER: Tick = Tick::MAX;

/// `value * to / from`, exactly, rounded down: ticks of one frequency as ticks of another.
///
/// The result saturates at [`NEVER`].
pub fn rescale(value: u64, from: u64, to: u64) -> u64 {
    let wide = u128::from(value) * u128::from(to) / u128::from(from);
    u64::try_from(wide).unwrap_or(NEVER)
}
