//! Differences of the images that stay in 32-bit protected mode and virtual-8086 mode.

use super::Right::{Bochs, Neither, Qemu};
use super::{Known, known};

pub(super) const CODE_LIMIT: &str =
    "SDM 3, 5.3: a transfer to beyond the limit of its code segment raises #GP(0)";
const STACK_FAULT: &str = "SDM 2, CALL and INT; SDM 3, 6.15: a stack of the TSS that is not present \
    or has no room for the frame raises #SS(selector)";
pub(super) const INT1: &str = "SDM 2, INT n/INTO/INT3/INT1: F1 is INT1, which raises #DB as a trap";
pub(super) const EXT: &str = "SDM 3, 6.13: EXT is set for a fault while an exception is delivered";
pub(super) const DOUBLE_FAULT_RF: &str =
    "SDM 3, 17.3.1.1: only faults push RF set; #DF is an abort and pushes it as it was, clear";
pub(super) const VIRTUAL_FLAGS: &str =
    "SDM 2, IRET/IRETD: at CPL 0 VIF and VIP come from the image";
const RF_CLEARED: &str = "SDM 3, 17.3.1.1: an instruction that completes clears RF";

pub(super) const NO_LIMITS: &str =
    "SDM 3, 5.3: offsets are checked against the limit, #GP(0), with SS #SS(0)";
const NO_RIGHTS: &str = "SDM 3, 5.4: writes want a writable data segment, reads a readable one";
const NULL_SEGMENT: &str = "SDM 3, 3.4.2: an access through a null selector raises #GP(0)";
const PUSH_SELECTOR: &str = "APM 3, PUSH: a selector is zero-extended to the operand size; \
    SDM 2, PUSH, allows that and a 16-bit write";
const NEW_TASK: &str = "SDM 3, 7.3 and table 7-1: the new task's CPL is the RPL of its CS, and what \
    is wrong with its segments is raised in the new task, with the return address of its TSS";
const LOCAL_ENABLE: &str = "SDM 3, 17.2.4: a task switch clears L0 to L3; of LE it says nothing";
const TASK_TRAP: &str = "SDM 3, 17.3.1.5: the T bit raises #DB with BT after the switch";
const TASK_OF_GATE: &str =
    "SDM 2, JMP, CALL and INT n: a task gate that leads to the LDT raises #GP";
const VME: &str = "SDM 3, 20.3 and table 20-2: with CR4.VME below IOPL 3 CLI, STI, PUSHF, POPF and \
    IRET use VIF, and INT n goes by the redirection map";
const V86_HANDLER: &str =
    "SDM 3, 20.3.1: a handler for virtual-8086 mode is at level 0, else #GP(CS)";
const PVI: &str = "SDM 3, 20.4: with CR4.PVI CLI and STI at CPL 3 use VIF; VIF and VIP are plain \
    bits of EFLAGS, which IRET at CPL 0 loads";
const DEBUG_ADDRESS: &str =
    "SDM 3, 17.2.5: of an address as many low bits as the length has are ignored";
const DEBUG_LENGTH: &str = "SDM 3, 17.2.5: an access hits if a byte of it lies in the breakpoint";
const EFLAGS_OF_TASK: &str = "SDM 3, 7.3: the new task's EFLAGS are those of its TSS";
const TASK_TF: &str = "SDM 3, 7.3: TF of the new task counts from its first instruction on";
const GENERAL_DETECT: &str = "SDM 3, 17.2.4: with GD an access to a debug register raises #DB with \
    BD before it happens, and clears GD; 17.2.2: DR4 and DR5 under CR4.DE are #UD all the same";
const NO_REGISTER: &str = "SDM 2, MOV: a control register that does not exist is #UD in every ring";
const MMX_STATE: &str = "SDM 2, EMMS; SDM 3, table 12-1: EM makes it #UD, TS #NM";
const EM_FIRST: &str = "SDM 3, tables 12-1 and 13-1: with EM set it is #UD, whatever TS says";
const SSE_EXCEPTION: &str =
    "SDM 3, 6.15, #XM: an unmasked exception is raised, #UD without OSXMMEXCPT";
pub(super) const BAD_MSR: &str = "SDM 2, RDMSR and WRMSR: a register that does not exist is #GP(0)";
const MSR_VALUE: &str = "SDM 2, WRMSR; SDM 3, 11.11, 11.12.4; SDM 4: reserved bits, memory types and \
    addresses that are not canonical raise #GP(0)";
const INVPCID: &str = "SDM 2, INVPCID; QEMU's TCG does not have it";
const INVALID_OPCODE: &str = "SDM 2, appendix A: no such encoding, #UD";
pub(super) const READ_MODIFY_WRITE: &str =
    "SDM 3, 4.7: what will be written is accessed as a write";
pub(super) const RESERVED_BIT: &str = "SDM 3, 4.7: RSVD comes with P set";
const HIGH_PAGE: &str = "SDM 3, table 4-4: bits 20:13 are address bits 39:32, and there is RAM; Bochs \
    has 2 GiB at most";
const MOV_SS: &str = "SDM 3, 6.8.3: no debug exception is delivered before the instruction behind \
    MOV SS or POP SS has completed; LSS holds nothing off";
const MOV_SS_INT: &str = "SDM 3, 6.8.3 and 17.3.1.2: the trap is held off, not lost, so it comes when \
    INT has entered its handler";
const DEBUG_FAULT: &str = "SDM 3, 6.9, table 6-2: an instruction that faults raises no trap";
const DEBUG_BOTH: &str =
    "SDM 3, 17.3.1.4 and 17.2.3: one #DB reports all that an instruction raised";
const REP_INTERRUPT_RF: &str = "SDM 3, 17.3.1.1: an interrupt after any iteration but the last pushes \
    RF set, which IRET brings back for the rest of the instruction";
pub(super) const REP_TRAP_RF: &str =
    "SDM 3, 17.3.1.1: a trap of any iteration but the last pushes RF set";

/// The differences.
pub(super) const KNOWN: &[Known] = &[
    known(
        "shadows",
        "sti and a single step",
        Bochs,
        "SDM 2, STI: it holds off interrupts, not #DB",
    ),
    known(
        "alignment",
        "*",
        Bochs,
        "SDM 3, 6.15, #AC, and table 6-7; QEMU's TCG has no alignment checks",
    ),
    known(
        "arrivals",
        "an interrupt in rep stosb, where a breakpoint *",
        Neither,
        REP_INTERRUPT_RF,
    ),
    known("arrivals", "an * in *", Qemu, REP_INTERRUPT_RF),
    known(
        "fast_calls",
        "sysenter * with a null CS",
        Bochs,
        "SDM 2, SYSENTER: IA32_SYSENTER_CS of 0 to 3 is #GP(0)",
    ),
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
    known(
        "control",
        "NW without CD",
        Bochs,
        "SDM 3, 2.5, and MOV: NW without CD raises #GP(0)",
    ),
    known(
        "control",
        "cr4 of CR4_PCIDE",
        Bochs,
        "SDM 3, 4.10.1: CR4.PCIDE outside IA-32e mode is #GP",
    ),
    known("control", "ring 3 mov from cr*", Bochs, NO_REGISTER),
    known("control", "emms with CR0_*", Bochs, MMX_STATE),
    known("control", "* with CR0_*EM+CR0_TS *", Bochs, EM_FIRST),
    known(
        "control",
        "ldmxcsr of reserved bits",
        Bochs,
        "SDM 2, LDMXCSR: reserved bits are #GP(0)",
    ),
    known(
        "control",
        "an unmasked SSE exception *",
        Bochs,
        SSE_EXCEPTION,
    ),
    known("control", "wrmsr of no register", Neither, BAD_MSR),
    known("control", "rdmsr of no register", Neither, BAD_MSR),
    known("control", "wrmsr EFER reserved*", Bochs, MSR_VALUE),
    known("control", "wrmsr PAT type *", Bochs, MSR_VALUE),
    known("control", "wrmsr * MTRR *", Bochs, MSR_VALUE),
    known("control", "wrmsr MTRR *", Bochs, MSR_VALUE),
    known("control", "wrmsr APIC base reserved", Bochs, MSR_VALUE),
    known("control", "wrmsr * not canonical", Bochs, MSR_VALUE),
    known("control", "*invpcid*", Bochs, INVPCID),
    known(
        "lock",
        "lock *",
        Bochs,
        "SDM 2, LOCK: with another instruction, or a register, it is #UD",
    ),
    known("lock", "bytes 0xF1", Bochs, INT1),
    known("lock", "bytes *", Bochs, INVALID_OPCODE),
    known("paging", "change *", Bochs, READ_MODIFY_WRITE),
    known("paging", "4 MiB page 0x200087 *", Bochs, RESERVED_BIT),
    known("paging", "pae * nxe 0 high *", Bochs, RESERVED_BIT),
    known("paging", "pae * high *", Bochs, RESERVED_BIT),
    known("high_pages", "read * and 0x200000", Bochs, RESERVED_BIT),
    known(
        "high_pages",
        "an entry of bits 7 and 21 *",
        Bochs,
        RESERVED_BIT,
    ),
    known("high_pages", "a write across *", Bochs, RESERVED_BIT),
    known(
        "high_pages",
        "what * written to a high page *",
        Qemu,
        HIGH_PAGE,
    ),
    known(
        "high_pages",
        "what a write across * has left",
        Qemu,
        HIGH_PAGE,
    ),
    known("high_pages", "a high page *", Qemu, HIGH_PAGE),
    known("high_pages", "code in a high page", Qemu, HIGH_PAGE),
    known("high_pages", "* that is global", Qemu, HIGH_PAGE),
    known("limits", "up limit *", Bochs, NO_LIMITS),
    known("limits", "down *", Bochs, NO_LIMITS),
    known("limits", "ss limit *", Bochs, NO_LIMITS),
    known("limits", "push* stack*", Bochs, NO_LIMITS),
    known("limits", "* that does not fit", Bochs, NO_LIMITS),
    known("limits", "write to *", Bochs, NO_RIGHTS),
    known("limits", "read cs that only executes", Bochs, NO_RIGHTS),
    known("limits", "* the limit of a code segment", Bochs, CODE_LIMIT),
    known("limits", "near ret beyond the limit", Bochs, CODE_LIMIT),
    known("segments", "null *", Bochs, NULL_SEGMENT),
    known(
        "segments",
        "push fs 32 bits wide over ones",
        Bochs,
        PUSH_SELECTOR,
    ),
    known(
        "segments",
        "ltr selector *",
        Bochs,
        "SDM 2, LTR: a null selector raises #GP(0)",
    ),
    known(
        "tasks",
        "l* to a 32-bit task through a task gate",
        Bochs,
        EFLAGS_OF_TASK,
    ),
    known(
        "tasks",
        "l* through a task gate to the LDT",
        Bochs,
        TASK_OF_GATE,
    ),
    known(
        "tasks",
        "local breakpoints after a task switch",
        Qemu,
        LOCAL_ENABLE,
    ),
    known("tasks", "#DF through a task gate", Qemu, DOUBLE_FAULT_RF),
    known(
        "tasks",
        "#UD through a task gate to a task not present",
        Bochs,
        EXT,
    ),
    known(
        "tasks",
        "an * through a task gate to a busy task",
        Bochs,
        EXT,
    ),
    known(
        "tasks",
        "an * through a task gate to a task not present",
        Bochs,
        EXT,
    ),
    known("tasks", "an * through a task gate not present", Bochs, EXT),
    known(
        "tasks",
        "an * through a task gate to a task too short",
        Bochs,
        EXT,
    ),
    known(
        "tasks",
        "an * through a task gate to the LDT",
        Bochs,
        TASK_OF_GATE,
    ),
    known(
        "tasks",
        "an * through a task gate to a task with ss 0",
        Bochs,
        NEW_TASK,
    ),
    known("tasks", "task with cs *", Bochs, NEW_TASK),
    known("tasks", "task with ss *", Bochs, NEW_TASK),
    known("tasks", "task with ds *", Bochs, NEW_TASK),
    known("tasks", "task with es *", Bochs, NEW_TASK),
    known("tasks", "task with gs *", Bochs, NEW_TASK),
    known("tasks", "task with ldt *", Bochs, NEW_TASK),
    known("tasks", "task with an ldt *", Bochs, NEW_TASK),
    known("tasks", "task with eip beyond the limit", Bochs, CODE_LIMIT),
    known("tasks", "task with the T bit*", Bochs, TASK_TRAP),
    known(
        "tasks",
        "task switch with TF in the old task",
        Bochs,
        TASK_TF,
    ),
    known("v86", "*.byte 0xF1*", Bochs, INT1),
    known("v86", "* at iopl 0 vme 1", Bochs, VME),
    known("v86", "int 21h * at iopl 3 vme 1", Bochs, VME),
    known("v86", "fault in virtual-8086 mode *", Bochs, V86_HANDLER),
    known("v86", "* offset * virtual-8086 mode", Bochs, NO_LIMITS),
    known("v86", "ring 3 * pvi *", Bochs, PVI),
    known("debug", "*.byte 0xF1*", Bochs, INT1),
    known("debug", "step over lss", Bochs, MOV_SS),
    known("debug", "breakpoint behind mov ss", Bochs, MOV_SS),
    known(
        "debug",
        "data breakpoint on mov ss from memory",
        Bochs,
        MOV_SS,
    ),
    known(
        "debug",
        "data breakpoint on an operand of mov ss, then int",
        Neither,
        MOV_SS_INT,
    ),
    known("debug", "*RF*", Bochs, RF_CLEARED),
    known("debug", "data * len *", Bochs, DEBUG_LENGTH),
    known(
        "debug",
        "data breakpoint at an address not aligned *",
        Bochs,
        DEBUG_ADDRESS,
    ),
    known(
        "debug",
        "data breakpoint on a write that faults",
        Bochs,
        DEBUG_FAULT,
    ),
    known(
        "debug",
        "data breakpoint and single step",
        Bochs,
        DEBUG_BOTH,
    ),
    known("debug", "two data breakpoints", Bochs, DEBUG_BOTH),
    known("debug", "general detect *", Bochs, GENERAL_DETECT),
    known(
        "debug",
        "dr6 of *",
        Bochs,
        "SDM 3, 17.2.3: bit 12 of DR6 is 0",
    ),
    known(
        "debug",
        "dr7 of *",
        Bochs,
        "SDM 3, 17.2.4: bits 12, 14 and 15 of DR7 are 0",
    ),
    known(
        "debug",
        "step over a repeated instruction",
        Qemu,
        REP_TRAP_RF,
    ),
    known(
        "debug",
        "data breakpoint in a repeated *",
        Qemu,
        REP_TRAP_RF,
    ),
];
