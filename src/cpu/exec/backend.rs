//! What the hot instruction families are written against.
//!
//! With values that are integers, [`Core`] is the interpreter. A compiler implements the same
//! trait with values that are host registers, and the same instruction sources then emit code.

use crate::cpu::decode::Op;
use crate::cpu::mmu::Place;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, flags};

/// The sixteen conditions of Jcc, SETcc and CMOVcc, by the low four bits of their opcodes
/// (Intel SDM volume 1, appendix B).
pub trait Condition {
    /// Bits 3..0 of the opcode.
    const CODE: u8;
}

/// Two-operand arithmetic whose flags are those of a sum, a difference or a logical result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagRule {
    /// As after `x + y (+ CF) = r`.
    Add,
    /// As after `x - y (- CF) = r`.
    Sub,
    /// CF, OF and AF clear.
    Logic,
}

/// A machine that instructions act on.
pub trait Backend {
    /// A value of some width.
    type Value<W: Width>: Copy;
    /// A memory operand that was read and will be written.
    type Place<W: Width>: Copy;

    /// Reads a general register.
    fn register<W: Width>(&mut self, number: u8) -> Self::Value<W>;
    /// Writes a general register.
    fn set_register<W: Width>(&mut self, number: u8, value: Self::Value<W>);
    /// A constant, cut to the width.
    fn constant<W: Width>(&mut self, value: u64) -> Self::Value<W>;
    /// Reads the memory operand.
    fn read_memory<W: Width>(&mut self, op: &Op) -> Exec<Self::Value<W>>;
    /// Writes the memory operand.
    fn write_memory<W: Width>(&mut self, op: &Op, value: Self::Value<W>) -> Exec;
    /// Reads the memory operand, checked for the write that follows.
    fn open_memory<W: Width>(&mut self, op: &Op) -> Exec<(Self::Place<W>, Self::Value<W>)>;
    /// Writes what [`Backend::open_memory`] read.
    fn commit_memory<W: Width>(&mut self, place: Self::Place<W>, value: Self::Value<W>);
    /// Pushes a value.
    fn push<W: Width>(&mut self, value: Self::Value<W>) -> Exec;
    /// Reads the top of the stack.
    fn top<W: Width>(&mut self) -> Exec<Self::Value<W>>;
    /// Raises the stack pointer by `bytes`.
    fn discard(&mut self, bytes: u64);
    /// The effective address of the memory operand, cut to the width.
    fn address<W: Width>(&mut self, op: &Op) -> Self::Value<W>;

    /// x + y.
    fn add<W: Width>(&mut self, x: Self::Value<W>, y: Self::Value<W>) -> Self::Value<W>;
    /// x - y.
    fn sub<W: Width>(&mut self, x: Self::Value<W>, y: Self::Value<W>) -> Self::Value<W>;
    /// x AND y.
    fn and<W: Width>(&mut self, x: Self::Value<W>, y: Self::Value<W>) -> Self::Value<W>;
    /// x OR y.
    fn or<W: Width>(&mut self, x: Self::Value<W>, y: Self::Value<W>) -> Self::Value<W>;
    /// x XOR y.
    fn xor<W: Width>(&mut self, x: Self::Value<W>, y: Self::Value<W>) -> Self::Value<W>;
    /// CF, as 0 or 1.
    fn carry<W: Width>(&mut self) -> Self::Value<W>;
    /// A condition, as 0 or 1.
    fn condition<C: Condition, W: Width>(&mut self) -> Self::Value<W>;
    /// `x` if the condition holds, else `y`.
    fn select<C: Condition, W: Width>(
        &mut self,
        x: Self::Value<W>,
        y: Self::Value<W>,
    ) -> Self::Value<W>;
    /// `x` at another width, cut or zero-extended.
    fn zero_extend<V: Width, W: Width>(&mut self, x: Self::Value<V>) -> Self::Value<W>;
    /// `x` at another width, sign-extended.
    fn sign_extend<V: Width, W: Width>(&mut self, x: Self::Value<V>) -> Self::Value<W>;

    /// Leaves the six arithmetic flags of an operation.
    fn set_flags<W: Width>(
        &mut self,
        rule: FlagRule,
        x: Self::Value<W>,
        y: Self::Value<W>,
        r: Self::Value<W>,
    );
    /// Leaves the flags of `x + 1 = r`; CF stays.
    fn set_increment_flags<W: Width>(&mut self, x: Self::Value<W>, r: Self::Value<W>);
    /// Leaves the flags of `x - 1 = r`; CF stays.
    fn set_decrement_flags<W: Width>(&mut self, x: Self::Value<W>, r: Self::Value<W>);
    /// The address of the instruction behind a branch, which ends its block.
    fn next_ip<W: Width>(&mut self) -> Self::Value<W>;
    /// The target of `op`, a relative branch.
    fn relative_target<W: Width>(&mut self, op: &Op) -> Self::Value<W>;
    /// Faults if `target` lies outside the code segment.
    fn check_target<W: Width>(&mut self, target: Self::Value<W>) -> Exec;
    /// Continues at `target`, which was checked or is checked when it is fetched.
    fn branch_to<W: Width>(&mut self, target: Self::Value<W>);
}

impl Backend for Core<'_> {
    type Value<W: Width> = W;
    type Place<W: Width> = Place;

    #[inline(always)]
    fn register<W: Width>(&mut self, number: u8) -> W {
        self.cpu.regs.read(number)
    }

    #[inline(always)]
    fn set_register<W: Width>(&mut self, number: u8, value: W) {
        self.cpu.regs.write(number, value);
    }

    #[inline(always)]
    fn constant<W: Width>(&mut self, value: u64) -> W {
        W::truncate(value)
    }

    #[inline(always)]
    fn read_memory<W: Width>(&mut self, op: &Op) -> Exec<W> {
        self.load(op)
    }

    #[inline(always)]
    fn write_memory<W: Width>(&mut self, op: &Op, value: W) -> Exec {
        self.store(op, value)
    }

    #[inline(always)]
    fn open_memory<W: Width>(&mut self, op: &Op) -> Exec<(Place, W)> {
        self.open(op)
    }

    #[inline(always)]
    fn commit_memory<W: Width>(&mut self, place: Place, value: W) {
        self.commit(place, value);
    }

    #[inline(always)]
    fn push<W: Width>(&mut self, value: W) -> Exec {
        Core::push(self, value)
    }

    #[inline(always)]
    fn top<W: Width>(&mut self) -> Exec<W> {
        self.peek_stack(0)
    }

    #[inline(always)]
    fn discard(&mut self, bytes: u64) {
        let top = self.cpu.regs.get(crate::cpu::regs::RSP);
        self.set_stack_pointer(top.wrapping_add(bytes));
    }

    #[inline(always)]
    fn address<W: Width>(&mut self, op: &Op) -> W {
        W::truncate(self.effective_address(op))
    }

    #[inline(always)]
    fn add<W: Width>(&mut self, x: W, y: W) -> W {
        W::truncate(x.zero_extend().wrapping_add(y.zero_extend()))
    }

    #[inline(always)]
    fn sub<W: Width>(&mut self, x: W, y: W) -> W {
        W::truncate(x.zero_extend().wrapping_sub(y.zero_extend()))
    }

    #[inline(always)]
    fn and<W: Width>(&mut self, x: W, y: W) -> W {
        W::truncate(x.zero_extend() & y.zero_extend())
    }

    #[inline(always)]
    fn or<W: Width>(&mut self, x: W, y: W) -> W {
        W::truncate(x.zero_extend() | y.zero_extend())
    }

    #[inline(always)]
    fn xor<W: Width>(&mut self, x: W, y: W) -> W {
        W::truncate(x.zero_extend() ^ y.zero_extend())
    }

    #[inline(always)]
    fn carry<W: Width>(&mut self) -> W {
        W::truncate(u64::from(self.cpu.flags.cf()))
    }

    #[inline(always)]
    fn condition<C: Condition, W: Width>(&mut self) -> W {
        W::truncate(u64::from(holds::<C>(&self.cpu.flags)))
    }

    #[inline(always)]
    fn select<C: Condition, W: Width>(&mut self, x: W, y: W) -> W {
        if holds::<C>(&self.cpu.flags) { x } else { y }
    }

    #[inline(always)]
    fn zero_extend<V: Width, W: Width>(&mut self, x: V) -> W {
        W::truncate(x.zero_extend())
    }

    #[inline(always)]
    fn sign_extend<V: Width, W: Width>(&mut self, x: V) -> W {
        W::truncate(x.sign_extend())
    }

    #[inline(always)]
    fn set_flags<W: Width>(&mut self, rule: FlagRule, x: W, y: W, r: W) {
        match rule {
            FlagRule::Add => self.cpu.flags.set_add(x, y, r),
            FlagRule::Sub => self.cpu.flags.set_sub(x, y, r),
            FlagRule::Logic => self.cpu.flags.set_logic(r),
        }
    }

    #[inline(always)]
    fn set_increment_flags<W: Width>(&mut self, x: W, r: W) {
        self.cpu.flags.set_increment(x, r);
    }

    #[inline(always)]
    fn set_decrement_flags<W: Width>(&mut self, x: W, r: W) {
        self.cpu.flags.set_decrement(x, r);
    }

    #[inline(always)]
    fn next_ip<W: Width>(&mut self) -> W {
        W::truncate(self.cpu.rip)
    }

    #[inline(always)]
    fn relative_target<W: Width>(&mut self, op: &Op) -> W {
        W::truncate(self.cpu.regs.block_ip().wrapping_add(op.immediate))
    }

    #[inline(always)]
    fn check_target<W: Width>(&mut self, target: W) -> Exec {
        Core::check_target(self, target.zero_extend())
    }

    #[inline(always)]
    fn branch_to<W: Width>(&mut self, target: W) {
        self.cpu.rip = target.zero_extend();
    }
}

/// Whether a condition holds.
#[inline(always)]
pub(super) fn holds<C: Condition>(flags: &flags::Flags) -> bool {
    let plain = match C::CODE >> 1 {
        0 => flags.of(),
        1 => flags.cf(),
        2 => flags.zf(),
        3 => flags.cf() || flags.zf(),
        4 => flags.sf(),
        5 => flags.pf(),
        6 => flags.less(),
        _ => flags.less() || flags.zf(),
    };
    plain ^ (C::CODE & 1 != 0)
}
