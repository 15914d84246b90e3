//! The run loop: from block head to block head.
//!
//! At a head the CPU looks at three things: whether anything wants attention (interrupts, a
//! trap flag, overwritten code, the machine), whether the block fits before the deadline, and
//! which block comes next. Within a block only two tests follow each instruction: did it
//! raise, and did it ask to end the block.
//!
//! Guest time stands in [`Flow::base`] at the head and is exact within the block, since every
//! instruction is one tick: `base + index`.

use serde::{Deserialize, Serialize};

use super::decode::{Block, BlockCache, BlockId, BlockKey};
use super::fault::Event;
use super::flags;
use super::interrupt::Delivery;
use super::mmu::Access;
use super::segment::CS;
use super::{Core, Exec, Raised};
use crate::bus::Tick;
use crate::memory::PAGE_SIZE;

/// Why the CPU came back to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Guest time reached the deadline.
    Deadline,
    /// HLT: nothing to do until an interrupt.
    Halted,
    /// The board or the host wants the machine to act.
    Requested,
    /// Shutdown after a triple fault. The machine resets or reports.
    Shutdown,
    /// An instruction that CPUID claims is not implemented; `rip` names it.
    Unimplemented,
}

/// What an instruction asked of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Ending {
    /// Nothing.
    #[default]
    None,
    /// Leave the block behind this instruction.
    After,
    /// Leave the block and come back to this instruction, which is not finished.
    Repeat,
}

/// The page that instructions are being fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FetchPage {
    linear: u64,
    physical: u64,
}

/// No page: equal to no page address.
const NO_PAGE: FetchPage = FetchPage {
    linear: 1,
    physical: 0,
};

/// What the loop carries from block to block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// Guest time at the head of the block.
    pub base: Tick,
    /// Instructions of the block that ran before this one.
    pub index: u32,
    /// When the machine wants the CPU back.
    pub deadline: Tick,
    /// Between HLT and the interrupt that ends it.
    pub halted: bool,
    /// Whether the last block ended in a branch that was taken.
    #[serde(skip)]
    pub(crate) taken: bool,
    /// Interrupts are held off until after the next instruction (STI, MOV SS).
    shadow: bool,
    /// An NMI handler runs: no other NMI until IRET.
    pub(crate) nmi_masked: bool,
    #[serde(skip)]
    attention: bool,
    #[serde(skip)]
    ending: Ending,
    #[serde(skip)]
    stale_blocks: bool,
    fetch: FetchPage,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            base: 0,
            index: 0,
            deadline: 0,
            halted: false,
            taken: false,
            shadow: false,
            nmi_masked: false,
            attention: true,
            ending: Ending::None,
            stale_blocks: false,
            fetch: NO_PAGE,
        }
    }
}

impl Flow {
    /// Makes the next block head look at interrupts, traps and requests.
    pub fn attend(&mut self) {
        self.attention = true;
        self.end_block();
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
    }

    /// Holds interrupts off until after the next instruction.
    pub fn shadow(&mut self) {
        self.shadow = true;
        self.attend();
    }

    /// Lets `ticks` pass beyond the one of the instruction.
    pub fn spend(&mut self, ticks: Tick) {
        self.base += ticks;
        self.end_block();
    }

    /// Stops until an interrupt.
    pub fn halt(&mut self) {
        self.halted = true;
        self.attend();
    }

    /// Forgets the page that is being fetched from: translations changed.
    pub fn forget_fetch_page(&mut self) {
        self.fetch = NO_PAGE;
        self.end_block();
    }

    fn clear_ending(&mut self) -> Ending {
        std::mem::take(&mut self.ending)
    }
}

/// No block came before.
const NO_BLOCK: BlockId = BlockId::MAX;

impl Core<'_> {
    /// Runs until something stops the CPU. `blocks` belongs to this CPU.
    pub fn run(&mut self, blocks: &mut BlockCache) -> Stop {
        self.take_signals();
        self.cpu.flow.attention = true;
        let mut last = NO_BLOCK;
        loop {
            let mut limit = usize::MAX;
            if self.cpu.flow.attention {
                match self.attend(blocks) {
                    Ok(single) => {
                        if single {
                            limit = 1;
                        }
                    }
                    Err(Raised) => match self.deliver_event() {
                        Ok(()) => continue,
                        Err(stop) => return stop,
                    },
                }
                if self.cpu.flow.halted {
                    return Stop::Halted;
                }
                if self.bus.signals().stop {
                    return Stop::Requested;
                }
            }
            if self.cpu.flow.stale_blocks {
                self.cpu.flow.stale_blocks = false;
                blocks.clear(self);
                last = NO_BLOCK;
            }
            let id = match self.next_block(blocks, last) {
                Ok(id) => id,
                Err(Raised) => match self.deliver_event() {
                    Ok(()) => {
                        last = NO_BLOCK;
                        continue;
                    }
                    Err(stop) => return stop,
                },
            };
            let block = blocks.get(id);
            let room = self.cpu.flow.deadline.saturating_sub(self.cpu.flow.base);
            if room < block.ops().len() as u64 {
                if room == 0 {
                    return Stop::Deadline;
                }
                limit = limit.min(room as usize);
            }
            last = id;
            let single_step = limit == 1 && self.cpu.flags.has(flags::TF);
            if self.execute(block, limit).is_err() {
                if let Err(stop) = self.deliver_event() {
                    return stop;
                }
                last = NO_BLOCK;
            } else if single_step {
                if let Err(stop) = self.single_step_trap() {
                    return stop;
                }
                last = NO_BLOCK;
            }
            if self.memory.pages.has_code_writes() {
                blocks.forget_written(self);
                last = NO_BLOCK;
            }
        }
    }

    /// Executes up to `limit` instructions of a block.
    #[inline(always)]
    fn execute(&mut self, block: &Block, limit: usize) -> Exec {
        let ip = self.cpu.rip;
        self.cpu.regs.set_block_ip(ip);
        let ops = block.ops();
        let ops = &ops[..ops.len().min(limit)];
        let Some(end) = ops.last() else {
            return Ok(());
        };
        self.cpu.rip = self.wrap_ip(ip.wrapping_add(u64::from(end.next)));
        self.cpu.flow.taken = false;
        let mut index = 0;
        for op in ops {
            self.cpu.flow.index = index;
            if (op.run)(self, op).is_err() {
                return self.leave_at(ip.wrapping_add(op.start()), index);
            }
            index += 1;
            if self.cpu.flow.ending != Ending::None {
                self.leave_early(ip, op.start(), op.next, index as usize == ops.len());
                break;
            }
        }
        self.cpu.flow.base += Tick::from(index);
        self.cpu.flow.index = 0;
        Ok(())
    }

    /// A faulting instruction: the ones before it have retired, and delivery takes a tick.
    #[cold]
    fn leave_at(&mut self, ip: u64, index: u32) -> Exec {
        self.cpu.flow.clear_ending();
        self.cpu.flow.base += Tick::from(index) + 1;
        self.cpu.flow.index = 0;
        self.cpu.rip = self.wrap_ip(ip);
        Err(Raised)
    }

    /// An instruction asked to leave the block.
    #[cold]
    fn leave_early(&mut self, block_ip: u64, start: u64, next: u8, at_end: bool) {
        let offset = match self.cpu.flow.clear_ending() {
            Ending::Repeat => start,
            // The last instruction may have been a branch: it has set the pointer itself.
            _ if at_end => return,
            _ => u64::from(next),
        };
        self.cpu.rip = self.wrap_ip(block_ip.wrapping_add(offset));
        self.cpu.flow.taken = true;
    }

    /// The instruction pointer wraps at the code size.
    #[inline(always)]
    fn wrap_ip(&self, ip: u64) -> u64 {
        ip & self.cpu.mode.ip_mask
    }

    /// The block at the instruction pointer.
    #[inline(always)]
    fn next_block(&mut self, blocks: &mut BlockCache, last: BlockId) -> Exec<BlockId> {
        let cs = self.cpu.segment(CS);
        if self.cpu.rip > self.cpu.mode.ip_limit {
            return Err(self.fault_with(super::fault::GP, 0));
        }
        let linear = cs.base.wrapping_add(self.cpu.rip) & self.cpu.mode.linear_mask;
        if linear & !(PAGE_SIZE - 1) != self.cpu.flow.fetch.linear {
            self.fetch_page(linear)?;
        }
        let physical = self.cpu.flow.fetch.physical | linear % PAGE_SIZE;
        let key = BlockKey::new(physical, self.cpu.mode.code);
        let taken = self.cpu.flow.taken;
        if let Some(id) = blocks.successor(last, taken, key) {
            return Ok(id);
        }
        let id = blocks.find(self, physical)?;
        blocks.link(last, taken, id);
        Ok(id)
    }

    /// Moves on to the page that holds `linear`.
    #[cold]
    fn fetch_page(&mut self, linear: u64) -> Exec {
        let user = self.cpu.mode.user;
        let physical = self.translate(Access::Fetch, user, linear, CS)?;
        self.cpu.flow.fetch = FetchPage {
            linear: linear & !(PAGE_SIZE - 1),
            physical: physical & !(PAGE_SIZE - 1),
        };
        Ok(())
    }

    /// Looks at what wants attention at a block head. True: run one instruction only.
    #[cold]
    fn attend(&mut self, blocks: &mut BlockCache) -> Exec<bool> {
        if self.memory.pages.has_code_writes() {
            blocks.forget_written(self);
        }
        let stepping = self.cpu.flags.has(flags::TF);
        if std::mem::take(&mut self.cpu.flow.shadow) {
            return Ok(true);
        }
        self.cpu.flow.attention = stepping;
        let signals = self.bus.signals();
        if signals.nmi && !self.cpu.flow.nmi_masked {
            self.bus.acknowledge_nmi();
            self.cpu.flow.halted = false;
            self.deliver(Delivery::Nmi)?;
        } else if signals.interrupt && self.cpu.flags.has(flags::IF) {
            let now = self.cpu.now();
            if let Some(vector) = self.bus.acknowledge_interrupt(self.memory, now) {
                self.cpu.flow.halted = false;
                self.after_bus_access();
                self.deliver(Delivery::External(vector))?;
            }
            self.cpu.flow.attention = true;
        }
        self.cpu.flow.clear_ending();
        Ok(stepping)
    }

    /// Delivers the event that an instruction left, or says why the CPU stops.
    #[cold]
    fn deliver_event(&mut self) -> Result<(), Stop> {
        let delivered = match self.cpu.event {
            Event::Exception { vector, error } => {
                self.deliver(Delivery::Exception { vector, error })
            }
            Event::Shutdown | Event::Unimplemented => Err(Raised),
        };
        self.cpu.flow.attention = true;
        self.cpu.flow.clear_ending();
        match (delivered, self.cpu.event) {
            (Ok(()), _) => Ok(()),
            (Err(Raised), Event::Unimplemented) => Err(Stop::Unimplemented),
            (Err(Raised), _) => Err(Stop::Shutdown),
        }
    }

    /// The #DB after an instruction that ran with TF set (Intel SDM volume 3, section 17.3.1.4).
    #[cold]
    fn single_step_trap(&mut self) -> Result<(), Stop> {
        const SINGLE_STEP: u64 = 1 << 14;
        self.cpu.dr[6] |= SINGLE_STEP;
        self.cpu.event = Event::exception(super::fault::DB);
        self.deliver_event()
    }

    /// Takes over what the board wants after an access to it.
    pub(crate) fn after_bus_access(&mut self) {
        self.take_signals();
        if self.bus.take_remapped() {
            self.cpu.tlb.flush();
            self.cpu.flow.forget_fetch_page();
            self.cpu.flow.stale_blocks = true;
        }
        self.cpu.flow.end_block();
        if self.memory.pages.has_code_writes() {
            self.cpu.flow.attend();
        }
    }

    fn take_signals(&mut self) {
        let signals = self.bus.signals();
        self.cpu.flow.deadline = signals.deadline;
        if signals.interrupt || signals.nmi || signals.stop {
            self.cpu.flow.attention = true;
        }
    }
}
