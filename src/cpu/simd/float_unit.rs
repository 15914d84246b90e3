//! What SSE and AVX floating-point instructions share: MXCSR, and what becomes of exceptions.
//! Intel SDM volume 1, sections 11.5.2 to 11.5.4.

use crate::cpu::fault::{UD, XM};
use crate::cpu::fpu::soft::{Env, exception};
use crate::cpu::{Core, Exec, cr4};

impl Core<'_> {
    /// The environment under MXCSR.
    #[inline(always)]
    pub(super) fn sse_env(&self) -> Env {
        Env::sse(self.cpu.sse.mxcsr)
    }

    /// Takes over what an instruction raised, from all lanes together. An unmasked exception is
    /// #XM (#UD if the system does not handle that), and the destination stays; if the operands
    /// of one lane caused it, no lane reports what rounding found.
    #[inline(always)]
    pub(super) fn settle_sse(&mut self, env: &Env) -> Exec {
        if env.unmasked() == 0 {
            self.cpu.sse.mxcsr |= u32::from(env.flags);
            return Ok(());
        }
        self.refuse_result(env)
    }

    #[cold]
    fn refuse_result(&mut self, env: &Env) -> Exec {
        let before = env.unmasked() & exception::BEFORE != 0;
        let flags = if before {
            env.flags & exception::BEFORE
        } else {
            env.flags
        };
        self.cpu.sse.mxcsr |= u32::from(flags);
        let handled = self.cpu.cr4 & cr4::OSXMMEXCPT != 0;
        Err(self.fault(if handled { XM } else { UD }))
    }
}
