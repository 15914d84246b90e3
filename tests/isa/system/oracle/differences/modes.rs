//! Differences of the images that go to long mode, to real mode, or through a reset.

use super::Right::{Bochs, Neither, Qemu};
use super::protected::{
    BAD_MSR, CODE_LIMIT, DOUBLE_FAULT_RF, EXT, INT1, NO_LIMITS, READ_MODIFY_WRITE, REP_TRAP_RF,
    RESERVED_BIT, VIRTUAL_FLAGS,
};
use super::{Known, known};

const FAULTING_ENTRY: &str =
    "SDM 3, 4.8: an entry that forbids the access leads to no page, and is not accessed";
const RESERVED_CR3: &str = "SDM 3, 4.10.1: CR4.PCIDE with CR3[11:0] other than 0 raises #GP(0)";
const ACCESSED_BYTE: &str = "SDM 3, 3.4.5.1 and 4.7: the accessed bit is in byte 5 of the \
    descriptor, and CR2 is where the access was";
const STACK_SELECTOR: &str =
    "SDM 3, 6.14.4: SS becomes NULL if the privilege level changes, and else stays";
const VECTOR_IN_CODE: &str =
    "SDM 3, 6.13: the index in an error code is the vector, also where gates have 16 bytes";
const NEW_STACK: &str = "SDM 2, INT n and CALL: a stack pointer of the TSS that is not canonical \
    raises #SS; the new SS is NULL, so that the error code has no index, and EXT as for every \
    exception";
const NEW_RIP: &str = "SDM 2, INT n, CALL and JMP: a gate to what is not canonical raises #GP \
    before anything changes";
const NOT_CANONICAL: &str =
    "SDM 1, 3.3.7.1: what is not canonical raises #GP(0), and #SS(0) through the stack";
const TARGET: &str =
    "SDM 2, JMP, CALL, RET and IRET: a target that is not canonical raises #GP(0) in the branch";
const SEGMENT_PREFIX: &str = "SDM 1, 3.3.7.1: by RSP and RBP an access is to the stack; prefixes \
    but of FS and GS do not count";
const BOTH_SIZES: &str = "SDM 3, 5.2.1: L and D both set raise #GP(selector)";
const LONG_IRET_VM: &str = "SDM 2, IRET/IRETD: in IA-32e mode VM of the image is ignored";
const RETURN_LIMIT: &str =
    "SDM 2, IRET/IRETD: an instruction pointer beyond the limit raises #GP(0)";
const NULL_STACK: &str = "SDM 2, IRET/IRETD: SS may be NULL only where 64-bit code follows";
const AMD_SYSENTER: &str = "APM 2, 6.1.2: SYSENTER and SYSEXIT are #UD in long mode";
const AMD_SYSCALL: &str =
    "APM 3, SYSCALL and SYSRET: there are no checks, and compatibility mode has them too";
const SYSCALL_FLAGS: &str = "SDM 2, SYSCALL: R11 and the new flags hold all of RFLAGS";
const SYSRET_FLAGS: &str = "SDM 2, SYSRET: RFLAGS from R11 without RF and VM, also VIF and VIP";
const SYSRET_TF: &str =
    "SDM 3, 17.3.1.4: TF counts from the instruction behind the one that sets it";
const SYSCALL_TF: &str =
    "SDM 3, 17.3.1.4: an instruction that clears TF, as INT n does, raises no trap";
const SELECTOR_ADDITION: &str = "SDM 2, SYSRET: selectors have 16 bits";
const AMD_FAR: &str = "APM 3, JMP (Far): the offset has 16 or 32 bits, also with REX.W";
const NEAR_16: &str = "APM 3, Jcc, JrCXZ, LOOPcc, JMP (Near), CALL (Near) and RET (Near): with 66h \
    displacement, target and what is pushed have 16 bits, and the sum is truncated to them; \
    Intel's processors, as Bochs, take no notice of the prefix";
const LONG_SWITCH: &str = "SDM 3, 9.8.5, and APM 2, 14.6.2: LME changed while paging, PAE missing \
    or cleared, and CS.L with PG set raise #GP(0); SDM 2, MOV: so does PG cleared in 64-bit mode \
    or with PCIDE";
const SHORT_TSS: &str = "APM 2, 14.6.2: entering long mode is not checked for a 16-bit TSS, as it is \
    by SDM 3, 9.8.5";
const RESERVED_REGISTER: &str = "SDM 2, MOV and WRMSR: reserved bits of EFER and CR8 raise #GP(0)";
const ALTERNATE_CR8: &str = "APM 3, MOV CRn: LOCK means CR8 only where CPUID 80000001h ECX bit 4 \
    says so; else it is #UD";
const NO_REGISTER: &str = "SDM 2, MOV: a control register that does not exist is #UD in every ring";
const STACK_RPL: &str = "SDM 2, MOV: a NULL selector for SS needs an RPL of CPL";
const COMPATIBILITY: &str = "SDM 3, 5.3, 5.3.1 and 5.4: limits and rights count but in 64-bit mode";
const NULL_OUTSIDE: &str =
    "SDM 2, IRET and RET: a return to an outer ring makes NULL selectors 0, whatever their RPL";
const AMD_POINTER: &str = "APM 3, LDS, LES, LFS, LGS and LSS: an offset of 16 or 32 bits and the \
    selector behind it, also with REX.W";
const WIDE_DESCRIPTOR: &str = "SDM 3, 7.2.3 and table 3-2: a system descriptor has 16 bytes, type 0 \
    above; 16-bit TSSs and task gates are gone; SDM 2, LTR: no NULL selector";
const LAR_LIMIT: &str = "SDM 2, LAR: of the limit nothing is defined";
const INVPCID_ADDRESS: &str = "SDM 2, INVPCID; QEMU's TCG does not have it";
const BASE_ADDRESS: &str =
    "SDM 2, WRFSBASE, LGDT, LIDT, LTR and LLDT: a base that is not canonical raises #GP";
const REAL_LIMITS: &str = "SDM 3, 20.1.1: offsets beyond the limit, FFFFh or what protected mode \
    left, raise #GP, and #SS with SS; no push finds room at SP = 1";
const REAL_SHADOW: &str =
    "SDM 3, 6.8.3: MOV SS holds interrupts off until behind the next instruction, also with STI";
const NO_REAL_SYSRET: &str = "APM 3, SYSRET: without EFER.SCE it is #UD";
const PG_NEEDS_PE: &str = "SDM 2, MOV: PG without PE raises #GP(0)";
const IRET_UNBLOCKS: &str = "SDM 3, 6.7.1: IRET unblocks NMIs even if it faults";
const PDPTE_REGISTERS: &str = "SDM 3, 4.4.1: the PDPTEs are registers, loaded with CR3 and by \
    changes of CR0.CD, NW, PG and CR4.PAE, PGE, PSE, SMEP; reserved bits then raise #GP(0)";
const PDPTE_ACCESSED: &str = "SDM 3, table 4-8: a PDPTE of PAE paging has no accessed bit";
const REP_TRAP: &str = "SDM 3, 17.3.1.2: the trap comes behind the iteration that hit";
const REP_RF: &str = "SDM 3, 17.3.1.1: RF lasts until the instruction has completed";
const REP_FLAGS: &str = "SDM 2, REP: a fault brings back the flags from before the instruction";

/// The differences.
pub(super) const KNOWN: &[Known] = &[
    known("long_paging", "change *", Bochs, READ_MODIFY_WRITE),
    known("long_paging", "* nxe 0 with NX in *", Bochs, RESERVED_BIT),
    known(
        "long_paging",
        "* in the upper half of *",
        Bochs,
        RESERVED_BIT,
    ),
    known("long_paging", "* GiB page 0x8*", Bochs, FAULTING_ENTRY),
    known("long_paging", "* MiB page 0x8*", Bochs, FAULTING_ENTRY),
    known("long_paging", "1 GiB page *", Bochs, RESERVED_BIT),
    known("long_paging", "2 MiB page *", Bochs, RESERVED_BIT),
    known("long_paging", "PS in the top level", Bochs, RESERVED_BIT),
    known(
        "long_paging",
        "ring 3 loads a descriptor from a page 1",
        Bochs,
        ACCESSED_BYTE,
    ),
    known(
        "long_paging",
        "push to a page not present",
        Bochs,
        STACK_SELECTOR,
    ),
    known("long_paging", "PCIDE set with *", Bochs, RESERVED_CR3),
    known(
        "long_interrupts",
        "int through a gate of access *",
        Bochs,
        VECTOR_IN_CODE,
    ),
    known(
        "long_interrupts",
        "int from *ring 3 through *",
        Bochs,
        VECTOR_IN_CODE,
    ),
    known(
        "long_interrupts",
        "int beyond the limit of the idt",
        Bochs,
        VECTOR_IN_CODE,
    ),
    known(
        "long_interrupts",
        "int with an idt of limit *",
        Bochs,
        VECTOR_IN_CODE,
    ),
    known("long_interrupts", "ring 3 * int3", Bochs, VECTOR_IN_CODE),
    known("long_interrupts", "ring 3 int3", Bochs, VECTOR_IN_CODE),
    known(
        "long_interrupts",
        "into in compatibility mode",
        Bochs,
        VECTOR_IN_CODE,
    ),
    known("long_interrupts", "ring 3 *.byte 0xF1", Bochs, INT1),
    known("long_interrupts", "IST1 at *", Bochs, STACK_SELECTOR),
    known(
        "long_interrupts",
        "ring 0 through stack *",
        Bochs,
        STACK_SELECTOR,
    ),
    known(
        "long_interrupts",
        "IST1 with a tss of limit 0x67",
        Bochs,
        STACK_SELECTOR,
    ),
    known(
        "long_interrupts",
        "IST1 with a tss of limit 0x2B",
        Bochs,
        STACK_SELECTOR,
    ),
    known("long_interrupts", "IST1 with a tss of limit *", Bochs, EXT),
    known("long_interrupts", "#GP on the way to #UD", Bochs, EXT),
    known(
        "long_interrupts",
        "#* on the way to #*",
        Qemu,
        DOUBLE_FAULT_RF,
    ),
    known(
        "long_interrupts",
        "a double fault on IST1",
        Qemu,
        DOUBLE_FAULT_RF,
    ),
    known("long_interrupts", "RSP0 not canonical", Neither, NEW_STACK),
    known("long_interrupts", "IST1 not canonical", Neither, NEW_STACK),
    known(
        "long_interrupts",
        "a handler not canonical*",
        Bochs,
        NEW_RIP,
    ),
    known(
        "long_interrupts",
        "rsp not canonical in ring 0*",
        Bochs,
        NOT_CANONICAL,
    ),
    known(
        "long_interrupts",
        "iretq to 32-bit code in ring 0 with ss *",
        Bochs,
        NULL_STACK,
    ),
    known(
        "long_interrupts",
        "iretq to 32-bit code beyond 4 GiB",
        Neither,
        RETURN_LIMIT,
    ),
    known(
        "long_interrupts",
        "*iretq with flags *",
        Bochs,
        VIRTUAL_FLAGS,
    ),
    known(
        "long_interrupts",
        "iretl in compatibility mode with flags 0x20000",
        Bochs,
        LONG_IRET_VM,
    ),
    known(
        "long_interrupts",
        "iretl in compatibility mode with flags *",
        Bochs,
        VIRTUAL_FLAGS,
    ),
    known("long_interrupts", "iretq to *0x*", Bochs, TARGET),
    known("long_interrupts", "iretq to *HOLE", Bochs, TARGET),
    known(
        "long_interrupts",
        "iretq to code of both sizes",
        Bochs,
        BOTH_SIZES,
    ),
    known(
        "long_interrupts",
        "iretq with a frame not canonical",
        Bochs,
        NOT_CANONICAL,
    ),
    known("long_transfers", "l* to code of flags *", Bochs, BOTH_SIZES),
    known(
        "long_transfers",
        "lcalll to selector 0x78",
        Bochs,
        CODE_LIMIT,
    ),
    known(
        "long_transfers",
        "lcalll to 32-bit code beyond its limit",
        Bochs,
        CODE_LIMIT,
    ),
    known("long_transfers", "ljmpq to a selector", Neither, AMD_FAR),
    known(
        "long_transfers",
        "l* through a gate not canonical",
        Bochs,
        NEW_RIP,
    ),
    known(
        "long_transfers",
        "lcall through a gate with RSP0 not canonical",
        Neither,
        NEW_STACK,
    ),
    known("long_transfers", "sysretq to *", Qemu, AMD_SYSCALL),
    known("long_transfers", "*jmp to *", Bochs, TARGET),
    known("long_transfers", "call to *", Bochs, TARGET),
    known("long_transfers", "ret *", Bochs, TARGET),
    known("long_transfers", "lretq to *", Bochs, TARGET),
    known("long_transfers", "a * into the hole*", Bochs, TARGET),
    known(
        "long_transfers",
        "ring 3 in compatibility mode syscall *",
        Qemu,
        AMD_SYSCALL,
    ),
    known(
        "long_transfers",
        "sysretl in compatibility mode",
        Qemu,
        AMD_SYSCALL,
    ),
    known("long_transfers", "syscall with *", Bochs, SYSCALL_FLAGS),
    known(
        "long_transfers",
        "ring 3 syscall with 0x*",
        Bochs,
        SYSCALL_FLAGS,
    ),
    known(
        "long_transfers",
        "ring 3 syscall with TF and mask *",
        Qemu,
        SYSCALL_TF,
    ),
    known(
        "long_transfers",
        "sysret* with 0xFFFFFFFF",
        Bochs,
        SELECTOR_ADDITION,
    ),
    known(
        "long_transfers",
        "sysretq with flags *",
        Bochs,
        SYSRET_FLAGS,
    ),
    known("long_transfers", "sysretq with TF", Bochs, SYSRET_TF),
    known(
        "long_transfers",
        "ring 3 in compatibility mode sysenter *",
        Neither,
        AMD_SYSENTER,
    ),
    known("long_transfers", "sysenter *", Qemu, AMD_SYSENTER),
    known("long_transfers", "sysexit* with *", Qemu, AMD_SYSENTER),
    known("long_transfers", "ring 3 sysenter", Qemu, AMD_SYSENTER),
    known("long_transfers", "ring 3 sysexitl", Qemu, AMD_SYSENTER),
    known("long_branches", "0xE* at *", Neither, NEAR_16),
    known("long_branches", "* through a register at *", Qemu, NEAR_16),
    known("long_branches", "ret at *", Qemu, NEAR_16),
    known("long_branches", "je by 16 bits at * zf 0", Qemu, NEAR_16),
    known("long_branches", "* by 16 bits at BELOW *", Qemu, NEAR_16),
    known("long_branches", "* by * bits at *", Neither, NEAR_16),
    known(
        "long_system",
        "PG with LME and a 16-bit TSS",
        Qemu,
        SHORT_TSS,
    ),
    known("long_system", "PG with LME *", Bochs, LONG_SWITCH),
    known("long_system", "cr4 without PAE", Bochs, LONG_SWITCH),
    known(
        "long_system",
        "cr0 without PG in 64-bit mode",
        Bochs,
        LONG_SWITCH,
    ),
    known(
        "long_system",
        "leaving long mode with PCIDE",
        Bochs,
        LONG_SWITCH,
    ),
    known("long_system", "efer of 0x0", Bochs, LONG_SWITCH),
    known("long_system", "efer of 0x40*", Bochs, LONG_SWITCH),
    known("long_system", "efer of *", Bochs, RESERVED_REGISTER),
    known("long_system", "cr8 of *", Bochs, RESERVED_REGISTER),
    known("long_system", "cr8 by lock mov cr0", Bochs, ALTERNATE_CR8),
    known("long_system", "ring 3 mov to cr*", Bochs, NO_REGISTER),
    known("long_system", "the upper half after lar *", Qemu, LAR_LIMIT),
    known("long_system", "mov * to ss", Bochs, STACK_RPL),
    known(
        "long_system",
        "* in compatibility mode",
        Bochs,
        COMPATIBILITY,
    ),
    known(
        "long_system",
        "*(%rbp)*not canonical",
        Bochs,
        SEGMENT_PREFIX,
    ),
    known(
        "long_system",
        "clflush (%rbx) not canonical",
        Bochs,
        NOT_CANONICAL,
    ),
    known("long_system", "wr* not canonical", Bochs, BASE_ADDRESS),
    known(
        "long_system",
        "invpcid * not canonical",
        Bochs,
        INVPCID_ADDRESS,
    ),
    known(
        "long_system",
        "* with rsp not canonical",
        Bochs,
        NOT_CANONICAL,
    ),
    known("long_system", "push across the hole", Bochs, NOT_CANONICAL),
    known("long_system", "l* of base *", Bochs, BASE_ADDRESS),
    known(
        "long_system",
        "l* as the upper half of its base",
        Bochs,
        BASE_ADDRESS,
    ),
    known("long_system", "l*", Bochs, WIDE_DESCRIPTOR),
    known(
        "long_null",
        "* by far pointer of 64 bits in *",
        Qemu,
        AMD_POINTER,
    ),
    known(
        "long_null",
        "*access *compatibility mode*",
        Bochs,
        COMPATIBILITY,
    ),
    known("long_null", "an access * in ring 3", Bochs, COMPATIBILITY),
    known(
        "long_null",
        "* in the segment registers",
        Bochs,
        NULL_OUTSIDE,
    ),
    known("real_mode", ".byte 0xF1", Bochs, INT1),
    known(
        "real_mode",
        "wrmsr of a register that is not there",
        Neither,
        BAD_MSR,
    ),
    known("real_mode", "sysretl is there", Bochs, NO_REAL_SYSRET),
    known("real_mode", "PG without PE", Bochs, PG_NEEDS_PE),
    known(
        "real_mode",
        "an interrupt pending and *",
        Bochs,
        REAL_SHADOW,
    ),
    known("real_mode", "* beyond 64 KiB*", Bochs, REAL_LIMITS),
    known("real_mode", "* 0xFFF*", Bochs, REAL_LIMITS),
    known("real_mode", "*:0xFFF*", Bochs, REAL_LIMITS),
    known("real_mode", "lodsw", Bochs, REAL_LIMITS),
    known(
        "real_mode",
        "* over the end of its segment",
        Bochs,
        REAL_LIMITS,
    ),
    known(
        "real_mode",
        "* across the end of its segment",
        Bochs,
        REAL_LIMITS,
    ),
    known("real_mode", "pop* below the end", Bochs, REAL_LIMITS),
    known("real_mode", "* with sp of *", Bochs, REAL_LIMITS),
    known("real_mode", "a small limit in *", Bochs, REAL_LIMITS),
    known("faults", "#gp on the way to #db", Bochs, INT1),
    known("faults", "#* on the way to #db", Bochs, INT1),
    known("faults", "#* on the way to #*", Qemu, DOUBLE_FAULT_RF),
    known("faults", "#* on the way to #*", Bochs, EXT),
    known(
        "faults",
        "a table that ends before #GP",
        Qemu,
        DOUBLE_FAULT_RF,
    ),
    known("faults", "no stack", Bochs, NO_LIMITS),
    known(
        "faults",
        "an NMI blocked until an iret that faults",
        Bochs,
        IRET_UNBLOCKS,
    ),
    known("faults", "an NMI through *", Bochs, EXT),
    known("faults", "PG with a fourth PDPTE *", Bochs, PDPTE_REGISTERS),
    known(
        "faults",
        "mov to cr3 with a PDPTE *",
        Bochs,
        PDPTE_REGISTERS,
    ),
    known("faults", "a PDPTE changed*", Bochs, PDPTE_REGISTERS),
    known(
        "faults",
        "a PDPTE with reserved bits, and 0x*",
        Bochs,
        PDPTE_REGISTERS,
    ),
    known(
        "faults",
        "a PDPTE with reserved bits, and CR0_*",
        Qemu,
        PDPTE_REGISTERS,
    ),
    known(
        "faults",
        "the accessed bit of a PDPTE is not set",
        Bochs,
        PDPTE_ACCESSED,
    ),
    known("faults", "a data breakpoint on the last *", Bochs, REP_TRAP),
    known("faults", "RF over *", Bochs, REP_RF),
    known("faults", "PAE set while paging*", Bochs, PDPTE_REGISTERS),
    known("faults", "repne scasb that faults *", Neither, REP_FLAGS),
    known(
        "faults",
        "a step over a repeated instruction*",
        Qemu,
        REP_TRAP_RF,
    ),
    known(
        "faults",
        "a data breakpoint in a repeated instruction",
        Qemu,
        REP_TRAP_RF,
    ),
];
