//! The interpreter's quick way: memory operands are a TLB hit and a host access, or nothing.
//!
//! A family reads everything and checks everything before it changes state, so an instruction
//! that needs more (a walk, a device, a fault, a page with code) is started again on
//! [`Core`](crate::cpu::Core) itself. What has no memory operand does not miss.
//!
//! Families on general registers take the quick way as a [`Backend`]; those on wide operands are
//! generic over the [`Way`].

use super::backend::{Backend, Condition, FlagRule};
use crate::cpu::decode::Op;
use crate::cpu::mmu::QuickPlace;
use crate::cpu::width::Width;
use crate::cpu::{Core, Exec, Raised};
use std::ops::{Deref, DerefMut};

/// A core on the quick way. Its [`Raised`] says only that this was not quick.
pub(in crate::cpu) struct Quick<'c, 'm>(pub(in crate::cpu) &'c mut Core<'m>);

/// Methods that are those of [`Core`].
macro_rules! as_core {
    ($(fn $name:ident<$($p:ident: $bound:ident),+>($($arg:ident: $t:ty),*) $(-> $r:ty)?;)+) => {
        $(
            #[inline(always)]
            fn $name<$($p: $bound),+>(&mut self $(, $arg: $t)*) $(-> $r)? {
                Backend::$name::<$($p),+>(self.0 $(, $arg)*)
            }
        )+
    };
}

impl Backend for Quick<'_, '_> {
    type Value<W: Width> = W;
    type Place<W: Width> = QuickPlace;

    #[inline(always)]
    fn read_memory<W: Width>(&mut self, op: &Op) -> Exec<W> {
        self.0.load_quickly(op).ok_or(Raised)
    }

    #[inline(always)]
    fn write_memory<W: Width>(&mut self, op: &Op, value: W) -> Exec {
        self.0.store_quickly(op, value).then_some(()).ok_or(Raised)
    }

    #[inline(always)]
    fn open_memory<W: Width>(&mut self, op: &Op) -> Exec<(QuickPlace, W)> {
        self.0.open_quickly(op).ok_or(Raised)
    }

    #[inline(always)]
    fn commit_memory<W: Width>(&mut self, place: QuickPlace, value: W) {
        self.0.commit_quickly(place, value);
    }

    #[inline(always)]
    fn push<W: Width>(&mut self, value: W) -> Exec {
        self.0.push_quickly(value).then_some(()).ok_or(Raised)
    }

    #[inline(always)]
    fn top<W: Width>(&mut self) -> Exec<W> {
        self.0.top_quickly().ok_or(Raised)
    }

    #[inline(always)]
    fn discard(&mut self, bytes: u64) {
        self.0.discard(bytes);
    }

    #[inline(always)]
    fn check_target<W: Width>(&mut self, target: W) -> Exec {
        let inside = self.0.is_target(target.zero_extend());
        inside.then_some(()).ok_or(Raised)
    }

    as_core! {
        fn register<W: Width>(number: u8) -> W;
        fn set_register<W: Width>(number: u8, value: W);
        fn constant<W: Width>(value: u64) -> W;
        fn address<W: Width>(op: &Op) -> W;
        fn add<W: Width>(x: W, y: W) -> W;
        fn sub<W: Width>(x: W, y: W) -> W;
        fn and<W: Width>(x: W, y: W) -> W;
        fn or<W: Width>(x: W, y: W) -> W;
        fn xor<W: Width>(x: W, y: W) -> W;
        fn carry<W: Width>() -> W;
        fn condition<C: Condition, W: Width>() -> W;
        fn select<C: Condition, W: Width>(x: W, y: W) -> W;
        fn zero_extend<V: Width, W: Width>(x: V) -> W;
        fn sign_extend<V: Width, W: Width>(x: V) -> W;
        fn set_flags<W: Width>(rule: FlagRule, x: W, y: W, r: W);
        fn set_increment_flags<W: Width>(x: W, r: W);
        fn set_decrement_flags<W: Width>(x: W, r: W);
        fn next_ip<W: Width>() -> W;
        fn relative_target<W: Width>(op: &Op) -> W;
        fn branch_to<W: Width>(target: W);
    }
}

/// A core, and how it reaches the memory operand: the quick way, or fully.
pub(in crate::cpu) trait Way<'m>: DerefMut<Target = Core<'m>> {
    /// Whether an error says only that this was not quick.
    const IS_QUICK: bool;

    /// Loads the memory operand.
    fn load<W: Width>(&mut self, op: &Op) -> Exec<W>;

    /// Stores to the memory operand.
    fn store<W: Width>(&mut self, op: &Op, value: W) -> Exec;

    /// Loads the memory operand of `N` bytes, at any alignment.
    fn load_bytes<const N: usize>(&mut self, op: &Op) -> Exec<[u8; N]>;

    /// The counterpart of [`Way::load_bytes`].
    fn store_bytes<const N: usize>(&mut self, op: &Op, bytes: [u8; N]) -> Exec;
}

/// A core on the way that leads everywhere.
pub(in crate::cpu) struct Fully<'c, 'm>(pub(in crate::cpu) &'c mut Core<'m>);

macro_rules! derefs {
    ($($way:ident),*) => {$(
        impl<'m> Deref for $way<'_, 'm> {
            type Target = Core<'m>;

            #[inline(always)]
            fn deref(&self) -> &Core<'m> {
                self.0
            }
        }

        impl<'m> DerefMut for $way<'_, 'm> {
            #[inline(always)]
            fn deref_mut(&mut self) -> &mut Core<'m> {
                self.0
            }
        }
    )*};
}

derefs!(Quick, Fully);

impl<'m> Way<'m> for Quick<'_, 'm> {
    const IS_QUICK: bool = true;

    #[inline(always)]
    fn load<W: Width>(&mut self, op: &Op) -> Exec<W> {
        self.0.load_quickly(op).ok_or(Raised)
    }

    #[inline(always)]
    fn store<W: Width>(&mut self, op: &Op, value: W) -> Exec {
        self.0.store_quickly(op, value).then_some(()).ok_or(Raised)
    }

    #[inline(always)]
    fn load_bytes<const N: usize>(&mut self, op: &Op) -> Exec<[u8; N]> {
        let offset = self.effective_address(op);
        let bytes = self.0.load_bytes_quickly(op.segment(), offset);
        bytes.ok_or(Raised)
    }

    #[inline(always)]
    fn store_bytes<const N: usize>(&mut self, op: &Op, bytes: [u8; N]) -> Exec {
        let offset = self.effective_address(op);
        let done = self.0.store_bytes_quickly(op.segment(), offset, bytes);
        done.then_some(()).ok_or(Raised)
    }
}

impl<'m> Way<'m> for Fully<'_, 'm> {
    const IS_QUICK: bool = false;

    #[inline(always)]
    fn load<W: Width>(&mut self, op: &Op) -> Exec<W> {
        self.0.load(op)
    }

    #[inline(always)]
    fn store<W: Width>(&mut self, op: &Op, value: W) -> Exec {
        self.0.store(op, value)
    }

    #[inline(always)]
    fn load_bytes<const N: usize>(&mut self, op: &Op) -> Exec<[u8; N]> {
        let offset = self.effective_address(op);
        self.0.load_bytes(op.segment(), offset)
    }

    #[inline(always)]
    fn store_bytes<const N: usize>(&mut self, op: &Op, bytes: [u8; N]) -> Exec {
        let offset = self.effective_address(op);
        self.0.store_bytes(op.segment(), offset, bytes)
    }
}
