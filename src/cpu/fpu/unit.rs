//! What every x87 instruction does before and after its own work: device-not-available and
//! waiting exceptions first, then flags, stack faults and the record of the last instruction.
//! Intel SDM volume 1, sections 8.1.8 to 8.1.10 and 8.5 to 8.7; volume 3, section 2.5.

use super::soft::{Env, Float80, Format, exception};
use super::state::status;
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::fault::{MF, NM};
use crate::cpu::segment::CS;
use crate::cpu::{Core, Exec, Raised, cr0};

/// A stack fault: IE with SF, and C1 telling the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StackFault {
    /// An empty register was read.
    Underflow,
    /// A push met a register in use.
    Overflow,
}

/// [`Core::enter_x87`], either way.
#[inline(always)]
pub(super) fn enter<'m, M: Way<'m>>(core: &mut M) -> Exec {
    if core.is_x87_ready() {
        return Ok(());
    }
    leave_if_quick(core)?;
    core.enter_x87()
}

/// Ends the quick way where something rare begins.
#[inline(always)]
pub(super) fn leave_if_quick<'m, M: Way<'m>>(_: &M) -> Exec {
    if M::IS_QUICK { Err(Raised) } else { Ok(()) }
}

impl Core<'_> {
    /// Whether a waiting instruction has nothing to check.
    #[inline(always)]
    fn is_x87_ready(&self) -> bool {
        self.cpu.cr0 & (cr0::EM | cr0::TS) == 0 && !self.cpu.fpu.has_pending()
    }

    /// What a waiting instruction checks: #NM, then #MF for an exception that still waits.
    #[inline(always)]
    pub(crate) fn enter_x87(&mut self) -> Exec {
        if self.is_x87_ready() {
            return Ok(());
        }
        self.enter_x87_slow()
    }

    #[cold]
    #[inline(never)]
    fn enter_x87_slow(&mut self) -> Exec {
        self.enter_control()?;
        self.check_pending()
    }

    /// What a control instruction that does not wait checks: #NM alone.
    pub(super) fn enter_control(&mut self) -> Exec {
        if self.cpu.cr0 & (cr0::EM | cr0::TS) != 0 {
            return Err(self.fault(NM));
        }
        Ok(())
    }

    /// #MF if an exception waits. With CR0.NE clear the board heard of it through FERR# when it
    /// was raised; whoever gets here has dismissed that interrupt (IGNNE#), and goes on.
    pub(crate) fn check_pending(&mut self) -> Exec {
        if self.cpu.fpu.has_pending() && self.cpu.cr0 & cr0::NE != 0 {
            return Err(self.fault(MF));
        }
        Ok(())
    }

    /// Tells the board through FERR# whether an exception waits, where CR0.NE asks for that.
    #[cold]
    pub(crate) fn drive_ferr(&mut self) {
        if self.cpu.cr0 & cr0::NE == 0 {
            let now = self.cpu.now();
            let pending = self.cpu.fpu.has_pending();
            self.bus.set_ferr(self.memory, now, pending);
            self.after_bus_access();
        }
    }

    /// Records the running instruction as the last one of the unit.
    #[inline(always)]
    pub(super) fn note(&mut self, op: &Op) {
        let cs = self.cpu.segment(CS).selector;
        let ip = self.cpu.regs.block_ip().wrapping_add(op.start());
        let last = &mut self.cpu.fpu.last;
        last.ip = ip;
        last.cs = cs;
        last.opcode = op.immediate as u16;
    }

    /// Records its memory operand too.
    #[inline(always)]
    pub(super) fn note_operand(&mut self, op: &Op) {
        let data = self.effective_address(op);
        let ds = self.cpu.segment(op.segment()).selector;
        self.cpu.fpu.last.data = data;
        self.cpu.fpu.last.ds = ds;
    }

    /// Takes over what arithmetic raised. False: an unmasked exception was found in the operands,
    /// and the destination and the stack stay as they are.
    #[inline(always)]
    pub(super) fn settle(&mut self, env: &Env) -> bool {
        let flags = u16::from(env.flags);
        if env.unmasked() == 0 {
            self.cpu.fpu.raise(flags, env.rounded_up);
            return true;
        }
        self.cpu.fpu.raise(flags | status::PENDING, env.rounded_up);
        self.drive_ferr();
        env.unmasked() & exception::BEFORE == 0
    }

    /// Raises a stack fault. True: it is masked, and the instruction goes on with the default NaN.
    #[cold]
    pub(super) fn stack_fault(&mut self, fault: StackFault) -> bool {
        let flags = u16::from(exception::INVALID) | status::SF;
        let c1 = fault == StackFault::Overflow;
        let masked = self.cpu.fpu.control() & u16::from(exception::INVALID) != 0;
        if masked {
            self.cpu.fpu.raise(flags, c1);
        } else {
            self.cpu.fpu.raise(flags | status::PENDING, c1);
            self.drive_ferr();
        }
        masked
    }

    /// Raises a stack underflow. True: it is masked, and ST(`i`) is the default NaN.
    #[cold]
    pub(super) fn stack_underflow(&mut self, i: u8) -> bool {
        let masked = self.stack_fault(StackFault::Underflow);
        if masked {
            self.cpu.fpu.set_st(i, Float80::indefinite());
        }
        masked
    }

    /// Pushes a result, or raises a stack overflow.
    #[inline(always)]
    pub(super) fn push_x87(&mut self, value: Float80) {
        if self.cpu.fpu.is_empty(7) {
            self.cpu.fpu.push(value);
        } else if self.stack_fault(StackFault::Overflow) {
            self.cpu.fpu.push(Float80::indefinite());
        }
    }
}
