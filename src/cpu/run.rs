//! The run loop: from block head to block head.
//!
//! At a head one comparison says whether the next block can run: it has to end before the
//! *horizon*, which is the deadline, or 0 when anything wants attention (an interrupt, the trap
//! flag, overwritten code, the machine). Within a block each instruction calls the next one
//! (`exec/chain.rs`) until one raises, asks to leave the block, or is the last.
//! What it carries from block to block is [`Flow`](super::flow::Flow).

use super::breakpoint::dr6;
use super::decode::{Block, BlockCache, BlockId, BlockKey, MAX_BLOCK_BYTES, Op, Repeat};
use super::fault::{Event, GP};
use super::flags;
use super::flow::{Ending, FetchWindow, NO_WINDOW, Shadow};
use super::interrupt::Delivery;
use super::mmu::Access;
use super::mode::cr4;
use super::segment::CS;
use super::{Core, Exec, Raised};
use crate::bus::Tick;
use crate::memory::{PAGE_SIZE, PhysAddr};

/// Why the CPU came back to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Guest time reached the board's deadline or the end of the run.
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

impl Core<'_> {
    /// Runs until something stops the CPU, or guest time reaches `until`. `blocks` belongs to
    /// this CPU.
    pub fn run(&mut self, blocks: &mut BlockCache, until: Tick) -> Stop {
        self.cpu.flow.until = until;
        self.cpu.flow.attend();
        self.cpu.flow.clear_ending();
        self.take_signals();
        loop {
            let done = match self.run_slowly(blocks) {
                Ok(Some(id)) => {
                    let done = self.run_linked(blocks, blocks.get(id));
                    self.cpu.flow.left = 0;
                    done
                }
                Ok(None) => Ok(()),
                Err(stop) => return stop,
            };
            if done.is_err()
                && let Err(stop) = self.deliver_event()
            {
                return stop;
            }
        }
    }

    /// Runs `block` and what follows it, as long as that is decoded and ends before the
    /// horizon.
    #[inline(always)]
    fn run_linked<'b>(&mut self, blocks: &'b BlockCache, mut block: &'b Block) -> Exec {
        loop {
            self.execute(block.ops(), block.bytes())?;
            let Some(key) = self.next_key().or_else(|| self.next_page()) else {
                return self.check_branch(block.ops());
            };
            match blocks.successor(block, key) {
                Some(next) if self.fits(next) => block = next,
                _ => return Ok(()),
            }
        }
    }

    /// Whether a whole block can run before anything needs looking at.
    #[inline(always)]
    fn fits(&self, block: &Block) -> bool {
        self.cpu.flow.end + block.ops().len() as u64 <= self.cpu.flow.horizon
    }

    /// A block head with everything that can happen there. Gives a block that fits before the
    /// horizon for [`Core::run_linked`], or runs what it can itself.
    #[cold]
    #[inline(never)]
    fn run_slowly(&mut self, blocks: &mut BlockCache) -> Result<Option<BlockId>, Stop> {
        let watched = self.cpu.breakpoints.on_instructions();
        if watched || self.cpu.flow.horizon != self.cpu.flow.deadline {
            if self.attend(blocks).is_err() {
                return self.deliver_before();
            }
            if self.cpu.flow.halted {
                return Err(Stop::Halted);
            }
            if self.bus.signals().stop {
                return Err(Stop::Requested);
            }
        }
        let room = self.cpu.flow.deadline.saturating_sub(self.cpu.flow.end);
        if room == 0 {
            return Err(Stop::Deadline);
        }
        self.cpu.flow.departed = false;
        let Ok(id) = self.next_block(blocks) else {
            return self.deliver_before();
        };
        let block = blocks.get(id);
        let runnable = self.runnable(block);
        if runnable == block.ops().len() && self.fits(block) {
            return Ok(Some(id));
        }
        let limit = if self.cpu.flow.horizon == 0 {
            1
        } else {
            room as usize
        };
        let ops = &block.ops()[..runnable.min(limit)];
        if self.run_some(ops).is_err() {
            self.deliver_event()?;
        }
        Ok(None)
    }

    /// Delivers the event of an instruction that could not even begin. It takes a tick as
    /// others do, so that time passes also where no handler can be fetched.
    fn deliver_before(&mut self) -> Result<Option<BlockId>, Stop> {
        self.cpu.flow.pass(1);
        self.deliver_event().map(|()| None)
    }

    /// Runs the first instructions of a block; one, if something wants attention behind it.
    /// Here single steps are noted, and RF ends.
    fn run_some(&mut self, ops: &[Op]) -> Exec {
        let stepping = self.cpu.flags.has(flags::TF);
        let resuming = self.cpu.flags.has(flags::RF);
        self.cpu.flags.assign(flags::RF, false);
        let start = self.cpu.rip;
        let bytes = ops.last().map_or(0, |op| u64::from(op.next));
        let done = self.execute(ops, bytes);
        let done = done.and_then(|()| self.check_branch(ops));
        self.cpu.flow.left = 0;
        done?;
        let repeats = ops.first().is_some_and(|op| op.repeat() != Repeat::None);
        if resuming && repeats && self.cpu.rip == start {
            self.cpu.flags.assign(flags::RF, true);
        }
        if stepping && !self.cpu.flow.holds_traps() {
            self.report_later(dr6::BS);
            self.cpu.flow.clear_ending();
        }
        Ok(())
    }

    /// How many instructions of a block lie before the next breakpoint: at least one.
    fn runnable(&self, block: &Block) -> usize {
        let clear = self.cpu.next_breakpoint(self.fetch_address());
        if block.bytes() <= clear {
            return block.ops().len();
        }
        let before = block.ops().iter().take_while(|op| op.start() < clear);
        before.count().max(1)
    }

    /// A relative branch to beyond the code segment's limit, or to what is not canonical, faults
    /// itself. `ops` ran last, up to where `Flow::left` says.
    fn check_branch(&mut self, ops: &[Op]) -> Exec {
        if self.is_target(self.cpu.rip) {
            return Ok(());
        }
        let start = self.cpu.regs.block_ip();
        // The instruction that ran last, or the first of a pair.
        let last = ops.len() - self.cpu.flow.left as usize;
        let branch = ops[last..]
            .iter()
            .take(2)
            .find(|op| op.is_relative_branch());
        match branch {
            Some(op) => {
                let behind = self.wrap_ip(start.wrapping_add(op.next.into()));
                let falls_through = !op.code().is_jmp_short_or_near();
                if self.cpu.rip == behind && falls_through {
                    return Ok(());
                }
                self.cpu.rip = self.wrap_ip(start.wrapping_add(op.start()));
                Err(self.fault_with(GP, 0))
            }
            None => Ok(()),
        }
    }

    /// Executes `ops`, which are `bytes` bytes long. Afterwards nothing of them is left,
    /// whatever `Flow::left` says.
    #[inline(always)]
    fn execute(&mut self, ops: &[Op], bytes: u64) -> Exec {
        let cpu = &mut *self.cpu;
        let ip = cpu.rip;
        cpu.regs.set_block_ip(ip);
        cpu.rip = ip.wrapping_add(bytes) & cpu.mode.ip_mask;
        cpu.flow.end += ops.len() as Tick;
        if self.go_on(ops).is_err() {
            self.leave_at(ip, ops);
            return Err(Raised);
        }
        if self.cpu.flow.is_ending() {
            self.leave_early(ip, ops);
        }
        Ok(())
    }

    /// A faulting instruction: the ones before it have retired, and delivery takes a tick.
    #[cold]
    fn leave_at(&mut self, block_ip: u64, ops: &[Op]) {
        let op = self.stop_at(ops);
        self.cpu.flow.clear_ending();
        if !std::mem::take(&mut self.cpu.flow.departed) {
            self.cpu.rip = self.wrap_ip(block_ip.wrapping_add(op.start()));
        }
        self.cpu.flow.horizon = 0;
    }

    /// An instruction asked to leave the block.
    #[cold]
    fn leave_early(&mut self, block_ip: u64, ops: &[Op]) {
        if self.cpu.flow.horizon != 0 {
            self.cpu.flow.departed = false;
        }
        let at_end = self.cpu.flow.left == 1;
        let op = self.stop_at(ops);
        let offset = match self.cpu.flow.clear_ending() {
            Ending::Repeat => op.start(),
            // The last instruction may have been a branch: it has set the pointer itself.
            _ if at_end => return,
            _ => u64::from(op.next),
        };
        self.cpu.rip = self.wrap_ip(block_ip.wrapping_add(offset));
    }

    /// Time stops behind the running instruction, which is the result.
    fn stop_at<'o>(&mut self, ops: &'o [Op]) -> &'o Op {
        let flow = &mut self.cpu.flow;
        let left = std::mem::take(&mut flow.left);
        flow.end -= Tick::from(left - 1);
        &ops[ops.len() - left as usize]
    }

    /// The instruction pointer wraps at the code size.
    #[inline(always)]
    fn wrap_ip(&self, ip: u64) -> u64 {
        ip & self.cpu.mode.ip_mask
    }

    /// The key of the block at the instruction pointer, if it lies in the page that is being
    /// fetched from and within the code segment.
    #[inline(always)]
    fn next_key(&self) -> Option<BlockKey> {
        let fetch = &self.cpu.flow.fetch;
        let offset = self.cpu.rip.wrapping_sub(fetch.start);
        (offset < fetch.len).then(|| fetch.key.plus(offset))
    }

    /// As [`Core::next_key`] after a move to another page, whose translation is there, when
    /// nothing wants attention first.
    fn next_page(&mut self) -> Option<BlockKey> {
        let (ip, mode) = (self.cpu.rip, &self.cpu.mode);
        if self.cpu.flow.end >= self.cpu.flow.horizon || ip > mode.ip_limit {
            return None;
        }
        let linear = self.fetch_address();
        let physical = self.cpu.tlb.physical(Access::Fetch, mode.user, linear)?;
        let key = self.open_window(linear, physical);
        (self.cpu.flow.fetch.len != 0).then_some(key)
    }

    /// The block at the instruction pointer, found or decoded.
    fn next_block(&mut self, blocks: &mut BlockCache) -> Exec<BlockId> {
        let key = match self.next_key() {
            Some(key) => key,
            None => self.fetch_page()?,
        };
        blocks.find(self, key)
    }

    /// Moves on to the page that the instruction pointer is in.
    #[cold]
    fn fetch_page(&mut self) -> Exec<BlockKey> {
        if self.cpu.rip > self.cpu.mode.ip_limit {
            return Err(self.fault_with(GP, 0));
        }
        let linear = self.fetch_address();
        let user = self.cpu.mode.user;
        let physical = self.translate(Access::Fetch, user, linear, CS)?;
        Ok(self.open_window(linear, physical))
    }

    /// The linear address of the instruction pointer.
    pub(super) fn fetch_address(&self) -> u64 {
        let mode = &self.cpu.mode;
        mode.code_base.wrapping_add(self.cpu.rip) & mode.linear_mask
    }

    /// Fetches from the page at the instruction pointer from now on: `linear`, which is
    /// `physical`. The result is the key of the block there. No window is opened where a block
    /// may have to end before a breakpoint or the segment's limit.
    fn open_window(&mut self, linear: u64, physical: PhysAddr) -> BlockKey {
        let (ip, limit) = (self.cpu.rip, self.cpu.mode.ip_limit);
        let offset = linear % PAGE_SIZE;
        let whole = (limit - ip).saturating_sub(MAX_BLOCK_BYTES - 1);
        let left = whole.min(PAGE_SIZE - offset);
        self.cpu.flow.fetch = if left == 0 || self.cpu.breaks_in_page(linear) {
            NO_WINDOW
        } else {
            FetchWindow {
                start: ip.wrapping_sub(offset),
                len: offset + left,
                key: BlockKey::new(physical - offset, &self.cpu.mode),
            }
        };
        BlockKey::new(physical, &self.cpu.mode)
    }

    /// Looks at what wants attention at a block head. A horizon of 0 afterwards: run one
    /// instruction, and look again.
    #[cold]
    fn attend(&mut self, blocks: &mut BlockCache) -> Exec {
        if std::mem::take(&mut self.cpu.flow.stale_blocks) {
            blocks.clear(self);
        }
        if self.memory.pages.has_code_writes() {
            blocks.forget_written(self);
        }
        self.cpu.flow.horizon = 0;
        let shadow = std::mem::take(&mut self.cpu.flow.shadow);
        if shadow != Shadow::Stack && self.debug_exception_is_due() {
            return self.deliver(Delivery::Debug);
        }
        if shadow != Shadow::None {
            return Ok(());
        }
        let signals = self.bus.signals();
        if signals.nmi && !self.cpu.flow.nmi_masked {
            self.bus.acknowledge_nmi();
            self.cpu.flow.halted = false;
            return self.deliver(Delivery::Nmi);
        }
        if signals.interrupt && self.cpu.flags.has(flags::IF) {
            let now = self.cpu.now();
            let vector = self.bus.acknowledge_interrupt(self.memory, now);
            self.after_bus_access();
            if let Some(vector) = vector {
                self.cpu.flow.halted = false;
                return self.deliver(Delivery::External(vector));
            }
        }
        if self.virtual_interrupt_is_due() {
            return Err(self.fault_with(GP, 0));
        }
        self.cpu.flow.clear_ending();
        if !self.cpu.flags.has(flags::TF) && !self.cpu.flags.has(flags::RF) {
            self.cpu.flow.horizon = self.cpu.flow.deadline;
        }
        Ok(())
    }

    /// Delivers the event that an instruction left, or says why the CPU stops.
    #[cold]
    fn deliver_event(&mut self) -> Result<(), Stop> {
        let delivered = match self.cpu.event {
            Event::Exception { vector, error } => {
                // What a faulting instruction hit is not reported: it will run again.
                self.cpu.breakpoints.take();
                self.deliver(Delivery::Exception { vector, error })
            }
            Event::Shutdown | Event::Unimplemented => Err(Raised),
        };
        self.cpu.flow.horizon = 0;
        self.cpu.flow.clear_ending();
        match (delivered, self.cpu.event) {
            (Ok(()), _) => Ok(()),
            (Err(Raised), Event::Unimplemented) => Err(Stop::Unimplemented),
            (Err(Raised), _) => Err(Stop::Shutdown),
        }
    }

    /// Has the next block head let in what new flags do not hold off any more.
    pub(crate) fn after_flags(&mut self) {
        self.after_access_control();
        let flags = &self.cpu.flags;
        let both = flags.has(flags::VIF) && flags.has(flags::VIP);
        let wanted = flags.has(flags::TF) || flags.has(flags::RF) || both;
        if wanted || flags.has(flags::IF) && self.bus.signals().interrupt {
            self.cpu.flow.attend();
        }
    }

    /// Takes supervisor access to user pages away again once EFLAGS.AC is clear under SMAP.
    pub(crate) fn after_access_control(&mut self) {
        if self.cpu.cr4 & cr4::SMAP != 0 && !self.cpu.flags.has(flags::AC) {
            self.cpu.tlb.close_user_pages();
        }
    }

    /// Takes over what the board wants after an access to it.
    pub(crate) fn after_bus_access(&mut self) {
        self.take_signals();
        if self.bus.take_remapped() {
            self.cpu.tlb.flush();
            self.cpu.flow.forget_fetch_page();
            self.cpu.flow.stale_blocks = true;
            self.cpu.flow.attend();
        }
        self.after_watched_write();
        self.cpu.flow.end_block();
    }

    /// Has overwritten code forgotten before the next instruction.
    pub(crate) fn after_watched_write(&mut self) {
        if self.memory.pages.has_code_writes() {
            self.cpu.flow.attend();
        }
    }

    fn take_signals(&mut self) {
        let signals = self.bus.signals();
        let flow = &mut self.cpu.flow;
        flow.deadline = signals.deadline.min(flow.until);
        let interrupt = signals.interrupt && self.cpu.flags.has(flags::IF);
        if interrupt || signals.nmi || signals.stop || flow.horizon == 0 {
            flow.horizon = 0;
        } else {
            flow.horizon = flow.deadline;
        }
    }
}
