//! What the run loop carries from block to block: guest time, what wants attention, what the next
//! instruction is shielded from, and the page that instructions are fetched from.
//!
//! Guest time stands in [`Flow::end`] between blocks and is exact within a block, since every
//! instruction is one tick: `end - left`.

use serde::{Deserialize, Serialize};

use super::decode::BlockKey;
use crate::bus::Tick;

/// What an instruction asked of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// Nothing.
    #[default]
    None,
    /// Leave the block behind this instruction.
    After,
    /// Leave the block and come back to this instruction, which is not finished.
    Repeat,
}

/// What the next instruction is shielded from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shadow {
    /// Nothing.
    #[default]
    None,
    /// Interrupts, after STI.
    Interrupts,
    /// Interrupts and debug traps, after a load of SS: the next instruction sets the stack
    /// pointer (section 6.8.3).
    Stack,
}

/// The page that instructions are being fetched from, as instruction pointers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FetchWindow {
    /// The instruction pointer of the page's first byte (wrapping, if CS begins in the page).
    pub(super) start: u64,
    /// How many bytes of the page lie within the code segment. 0: no page.
    pub(super) len: u64,
    /// The key of a block at the page's first byte.
    pub(super) key: BlockKey,
}

/// No page.
pub(super) const NO_WINDOW: FetchWindow = FetchWindow {
    start: 0,
    len: 0,
    key: BlockKey::DEAD,
};

/// What the loop carries from block to block, what each instruction touches first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(C)]
pub struct Flow {
    /// While a block runs: how many of its instructions are left, the running one included.
    pub(super) left: u32,
    #[serde(skip)]
    ending: Ending,
    /// Guest time at the end of the running block; between blocks, guest time.
    pub end: Tick,
    /// Blocks that end by this tick need no look at anything: the deadline, or 0 if something
    /// wants attention.
    #[serde(skip)]
    pub(super) horizon: Tick,
    pub(super) fetch: FetchWindow,
    /// When the machine wants the CPU back.
    #[serde(skip)]
    pub(super) deadline: Tick,
    /// The end of the run.
    #[serde(skip)]
    pub(super) until: Tick,
    /// Between HLT and the interrupt that ends it.
    pub halted: bool,
    pub(super) shadow: Shadow,
    /// The instruction entered a handler or another task: the instruction pointer and the
    /// flags are no longer those that it started with.
    #[serde(skip)]
    pub(super) departed: bool,
    /// An NMI handler runs: no other NMI until IRET.
    pub(crate) nmi_masked: bool,
    #[serde(skip)]
    pub(super) stale_blocks: bool,
    /// The last instruction is a repeated one that has iterations left.
    pub(super) mid_repeat: bool,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            end: 0,
            left: 0,
            deadline: 0,
            until: 0,
            halted: false,
            shadow: Shadow::None,
            departed: false,
            nmi_masked: false,
            horizon: 0,
            ending: Ending::None,
            stale_blocks: false,
            mid_repeat: false,
            fetch: NO_WINDOW,
        }
    }
}

impl Flow {
    /// Makes the next block head look at interrupts, traps and requests.
    pub fn attend(&mut self) {
        self.horizon = 0;
        self.end_block();
    }

    /// Leaves the block for elsewhere, when `behind` more instructions were to come.
    #[inline(always)]
    pub(super) fn leave(&mut self, behind: usize) {
        self.end -= behind as Tick;
    }

    /// Leaves the block behind the running instruction.
    #[inline(always)]
    pub fn end_block(&mut self) {
        if self.ending == Ending::None {
            self.ending = Ending::After;
        }
    }

    /// Leaves the block and resumes at the running instruction, which has done a part of its
    /// work (a repeated string instruction).
    pub fn repeat(&mut self) {
        self.ending = Ending::Repeat;
        self.mid_repeat = true;
    }

    /// A repeated instruction begins, or goes on.
    #[inline(always)]
    pub(super) fn begin_repeat(&mut self) {
        self.mid_repeat = false;
    }

    /// Holds interrupts off until after the next instruction.
    pub fn shadow_interrupts(&mut self) {
        self.shadow = Shadow::Interrupts;
        self.attend();
    }

    /// Holds interrupts and debug traps off until after the next instruction.
    pub fn shadow_stack_switch(&mut self) {
        self.shadow = Shadow::Stack;
        self.attend();
    }

    /// The instruction pointer is that of a handler or another task: a fault from here on
    /// does not go back to the instruction, and its single-step trap is lost.
    pub(crate) fn handler_entered(&mut self) {
        self.departed = true;
        self.end_block();
    }

    /// How many one-tick steps fit before the deadline; at least one.
    pub(crate) fn room(&self, now: Tick) -> Tick {
        self.deadline.saturating_sub(now).max(1)
    }

    /// Whether something asked to leave the block.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending != Ending::None
    }

    /// Lets `ticks` pass within the instruction.
    pub(crate) fn pass(&mut self, ticks: Tick) {
        self.end += ticks;
    }

    /// Lets `ticks` pass beyond the one of the instruction.
    pub fn spend(&mut self, ticks: Tick) {
        self.end += ticks;
        self.end_block();
    }

    /// Stops until an interrupt.
    pub fn halt(&mut self) {
        self.halted = true;
        self.attend();
    }

    /// Forgets the page that is being fetched from: translations changed.
    pub fn forget_fetch_page(&mut self) {
        self.fetch = NO_WINDOW;
        self.end_block();
    }

    /// Whether interrupts are held off until after the next instruction.
    pub fn holds_interrupts(&self) -> bool {
        self.shadow != Shadow::None
    }

    /// Whether the instruction that just ran raises no single-step trap.
    pub(super) fn holds_traps(&self) -> bool {
        self.departed || self.shadow == Shadow::Stack
    }

    pub(super) fn clear_ending(&mut self) -> Ending {
        std::mem::take(&mut self.ending)
    }
}
