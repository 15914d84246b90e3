//! Where QEMU 7.2 (TCG), Bochs 2.7 and Cowbox differ, and what the manual says.
//!
//! SDM is Intel's Software Developer's Manual (2023), APM is AMD's Architecture Programmer's Manual.

/// Who does what the manual says. Cowbox always has to.
#[derive(Clone, Copy)]
pub(crate) enum Right {
    /// QEMU and Cowbox; Bochs is wrong.
    Qemu,
    /// Bochs and Cowbox; QEMU is wrong.
    Bochs,
    /// Cowbox alone.
    Neither,
}

/// A difference that the manual decides.
pub(crate) struct Known {
    pub(crate) image: &'static str,
    /// The check's name; a `*` in it stands for anything.
    pub(crate) check: &'static str,
    pub(crate) right: Right,
    /// The section, and what it says.
    #[expect(dead_code, reason = "for those who read the table")]
    pub(crate) manual: &'static str,
}

impl Known {
    /// Whether this is about the check `name`.
    pub(crate) fn names(&self, name: &str) -> bool {
        let mut parts = self.check.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut last = None;
        for part in parts {
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
            last = Some(part);
        }
        rest.is_empty() || last == Some("")
    }
}

const fn known(
    image: &'static str,
    check: &'static str,
    right: Right,
    manual: &'static str,
) -> Known {
    Known {
        image,
        check,
        right,
        manual,
    }
}

/// Bits that QEMU leaves clear everywhere: in words of the stack and of `mem`.
///
/// - RF in the flags that a fault pushes (SDM 3, 17.3.1.1: it is 1 for every fault but one on an
///   instruction breakpoint).
/// - The accessed bit of a code segment that a far transfer loads (SDM 3, 3.4.5.1).
pub(crate) const QEMU_LEAVES_CLEAR: [u32; 2] = [0x1_0000, 0x100];

use Right::{Bochs, Neither, Qemu};

const CODE_LIMIT: &str =
    "SDM 3, 5.3: a transfer to beyond the limit of its code segment raises #GP(0)";
const STACK_FAULT: &str = "SDM 2, CALL and INT; SDM 3, 6.15: a stack of the TSS that is not present \
    or has no room for the frame raises #SS(selector)";
const INT1: &str = "SDM 2, INT n/INTO/INT3/INT1: F1 is INT1, which raises #DB as a trap";
const EXT: &str = "SDM 3, 6.13: EXT is set for a fault while an exception is delivered";
const DOUBLE_FAULT_RF: &str =
    "SDM 3, 17.3.1.1: only faults push RF set; #DF is an abort and pushes it as it was, clear";
const VIRTUAL_FLAGS: &str = "SDM 2, IRET/IRETD: at CPL 0 VIF and VIP come from the image";
const RF_CLEARED: &str = "SDM 3, 17.3.1.1: an instruction that completes clears RF";

/// The differences.
pub(crate) const KNOWN: &[Known] = &[
    known(
        "gates",
        "lcall gate to ring 1 with a stack not present",
        Bochs,
        STACK_FAULT,
    ),
    known(
        "gates",
        "lcall gate to ring 1 with a stack too small",
        Bochs,
        STACK_FAULT,
    ),
    known("gates", "l* beyond the limit*", Bochs, CODE_LIMIT),
    known("interrupts", "i* beyond the limit*", Bochs, CODE_LIMIT),
    known(
        "interrupts",
        "int to ring 1 with a stack *",
        Bochs,
        STACK_FAULT,
    ),
    known("interrupts", "*.byte 0xF1*", Bochs, INT1),
    known("interrupts", "#* on the way to #UD", Bochs, EXT),
    known("interrupts", "#NP on the way to #BR", Bochs, EXT),
    known("interrupts", "#NP on the way to #NM", Bochs, EXT),
    known("interrupts", "*double fault*", Qemu, DOUBLE_FAULT_RF),
    known(
        "interrupts",
        "iret with flags 0x180000",
        Bochs,
        VIRTUAL_FLAGS,
    ),
    known(
        "interrupts",
        "*iret with flags 0xFFFFCEFF",
        Bochs,
        RF_CLEARED,
    ),
    known("interrupts", "*iret with flags 0x10000", Bochs, RF_CLEARED),
    known(
        "interrupts",
        "ring 3 iret with VM *",
        Bochs,
        "SDM 2, IRET/IRETD: VM comes from the image at CPL 0 alone",
    ),
    known(
        "interrupts",
        "iret to virtual-8086 mode beyond 64 KiB",
        Neither,
        "SDM 2, IRET/IRETD, RETURN-TO-VIRTUAL-8086-MODE: EIP beyond the limit raises #GP(0)",
    ),
];
