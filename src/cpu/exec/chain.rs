//! How the instructions of a block follow each other: each ends by calling the next one, as its
//! last act, so that an optimising compiler makes it a jump. No block is longer than
//! `MAX_OPS`, which bounds the stack where it stays a call.
//!
//! Whoever stops the chain leaves [`Flow::left`](crate::cpu::flow::Flow::left) at the instruction
//! that ran last, and the run loop goes on from there.

use crate::cpu::decode::Op;
use crate::cpu::{Core, Exec};

impl Core<'_> {
    /// Goes on with the rest of the block.
    #[inline(always)]
    pub(in crate::cpu) fn go_on(&mut self, rest: &[Op]) -> Exec {
        let Some((op, behind)) = rest.split_first() else {
            return Ok(());
        };
        self.cpu.flow.left = rest.len() as u32;
        (op.run)(self, op, behind)
    }

    /// Goes on with the rest of the block, unless the instruction asked to leave it.
    #[inline(always)]
    pub(in crate::cpu) fn go_on_unless_ending(&mut self, rest: &[Op]) -> Exec {
        if self.cpu.flow.is_ending() {
            return Ok(());
        }
        self.go_on(rest)
    }

    /// Executes `function`, and goes on with the rest of the block.
    #[cold]
    #[inline(never)]
    pub(in crate::cpu) fn run_fully(
        &mut self,
        op: &Op,
        rest: &[Op],
        function: fn(&mut Core<'_>, &Op) -> Exec,
    ) -> Exec {
        function(self, op)?;
        self.go_on_unless_ending(rest)
    }
}

/// The [`Handler`](super::Handler) of a plain function on an [`Op`].
macro_rules! run {
    ($function:expr) => {{
        use crate::cpu::{Core, Exec, Handler, decode::Op};
        let handler: Handler = |core: &mut Core<'_>, op: &Op, rest: &[Op]| -> Exec {
            $function(core, op)?;
            core.go_on_unless_ending(rest)
        };
        handler
    }};
}

/// The handler of one instance of a generic family on the interpreter: at first the quick
/// way, and from the start again if memory wants more than that. Only then can the
/// instruction ask to leave the block.
macro_rules! instance {
    ($family:ident $(, $parameter:ty)*) => {{
        use crate::cpu::{Core, Exec, decode::Op, exec::quick::Quick};
        #[cold]
        #[inline(never)]
        fn run_fully(core: &mut Core<'_>, op: &Op, rest: &[Op]) -> Exec {
            $family::<Core<'_> $(, $parameter)*>(core, op)?;
            core.go_on_unless_ending(rest)
        }
        fn run(core: &mut Core<'_>, op: &Op, rest: &[Op]) -> Exec {
            match $family::<Quick<'_, '_> $(, $parameter)*>(&mut Quick(core), op) {
                Ok(()) => core.go_on(rest),
                Err(_) => run_fully(core, op, rest),
            }
        }
        run as super::Handler
    }};
}

/// The handler of a function that is generic over the [`Way`](super::quick::Way), without the quick
/// one.
macro_rules! one_way {
    ($function:ident $(, $parameter:ty)*) => {{
        use crate::cpu::exec::{Fully, run};
        run!(|core, op| $function::<Fully<'_, '_> $(, $parameter)*>(&mut Fully(core), op))
    }};
}

/// The handler of a function that is generic over the [`Way`](super::quick::Way): at first the
/// quick one, and from the start again if that does not lead there.
macro_rules! both_ways {
    ($function:ident $(, $parameter:ty)*) => {{
        use crate::cpu::exec::{Fully, Quick};
        use crate::cpu::{Core, Exec, Handler, decode::Op};
        let handler: Handler = |core: &mut Core<'_>, op: &Op, rest: &[Op]| -> Exec {
            match $function::<Quick<'_, '_> $(, $parameter)*>(&mut Quick(core), op) {
                Ok(()) => core.go_on(rest),
                Err(_) => core.run_fully(op, rest, |core, op| {
                    $function::<Fully<'_, '_> $(, $parameter)*>(&mut Fully(core), op)
                }),
            }
        };
        handler
    }};
}

pub(super) use instance;
pub(in crate::cpu) use {both_ways, one_way, run};
