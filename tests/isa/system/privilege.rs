//! System calls, descriptor checks, I/O permission, unreal mode, long mode's switches.

use cowbox::cpu::Stop;
use cowbox::cpu::regs::{RAX, RBX, RCX, RDX, RSP};
use cowbox::cpu::segment::{CS, DS, FS, SS};

use super::bench::{Bench, CODE, CODE_0, CODE_3, STACK, TSS, USER_STACK};

#[test]
fn syscall_and_sysret_go_to_level_0_and_back() {
    // SYSCALL; INT 80h at level 3; the target: MOV RBX, R11; SYSRETQ.
    let mut bench = Bench::long(&[0x0f, 0x05, 0xcd, 0x80]);
    bench
        .memory
        .write(0x5000, &[0x4c, 0x89, 0xdb, 0x48, 0x0f, 0x07]);
    bench.cpu.msr.lstar = 0x5000;
    bench.cpu.msr.star = 0x0008_0008 << 32;
    bench.cpu.msr.sfmask = 0x200;
    bench.enter(3);
    bench.cpu.flags.set_bits(0x202);
    assert_eq!(bench.vector(), 0x80);
    assert_eq!(bench.reg(RBX), 0x202);
    assert_eq!(bench.reg(RCX), CODE + 2);
    assert_eq!(bench.read64(STACK - 32), u64::from(CODE_3));
    assert_eq!(bench.read64(STACK - 16), USER_STACK);
    assert_eq!(bench.read64(STACK - 24) & 0x200, 0x200);
}

#[test]
fn loading_a_segment_beyond_the_table_faults_with_its_selector() {
    // MOV DS, AX.
    let mut bench = Bench::protected(&[0x8e, 0xd8]);
    bench.cpu.regs.set(RAX, 0x73);
    assert_eq!(bench.vector(), 13);
    assert_eq!(bench.read32(STACK - 16), 0x70);
}

#[test]
fn a_null_data_segment_loads_and_faults_when_it_is_used() {
    // MOV DS, AX; MOV BL, [100h].
    let mut bench = Bench::protected(&[0x8e, 0xd8, 0x8a, 0x1d, 0, 1, 0, 0]);
    assert_eq!(bench.vector(), 13);
    assert_eq!(bench.cpu.segment(DS).selector, 0);
    assert_eq!(u64::from(bench.read32(STACK - 12)), CODE + 2);
}

#[test]
fn the_io_bitmap_opens_single_ports_to_level_3() {
    // OUT 40h, AL; OUT 41h, AL at level 3.
    let mut bench = Bench::protected(&[0xe6, 0x40, 0xe6, 0x41]);
    bench.cpu.tr.limit = 0x80;
    bench.memory.write(TSS + 0x66, &[0x68, 0]);
    bench.memory.write(TSS + 0x68 + 8, &[0xfe, 0xff]);
    bench.enter(3);
    bench.cpu.regs.set(RAX, 7);
    assert_eq!(bench.vector(), 13);
    assert_eq!(bench.board.written, [(0x40, 7)]);
    assert_eq!(u64::from(bench.read32(STACK - 20)), CODE + 2);
}

#[test]
fn limits_of_protected_mode_stay_in_real_mode_until_they_are_loaded_again() {
    // 16-bit code: LGDT, enter protected mode, load DS, leave; read above 1 MiB.
    let code = [
        0x0f, 0x01, 0x16, 0x00, 0x60, // lgdt [6000h]
        0x0f, 0x20, 0xc0, // mov eax, cr0
        0x0c, 0x01, // or al, 1
        0x0f, 0x22, 0xc0, // mov cr0, eax
        0xbb, 0x08, 0x00, // mov bx, 8
        0x8e, 0xdb, // mov ds, bx
        0x24, 0xfe, // and al, 0feh
        0x0f, 0x22, 0xc0, // mov cr0, eax
        0x31, 0xdb, // xor bx, bx
        0x8e, 0xdb, // mov ds, bx
        0x66, 0x67, 0x8b, 0x0d, 0x00, 0x00, 0x20, 0x00, // mov ecx, [200000h]
        0xf4,
    ];
    let mut bench = Bench::real(&code);
    bench.memory.write(0x6000, &[15, 0, 0, 0x61, 0, 0]);
    bench.write64(0x6108, 0x00cf_9300_0000_ffff);
    bench.write32(0x20_0000, 0xcafe);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.reg(RCX), 0xcafe);
    assert!(bench.cpu.is_real());
}

#[test]
fn a_call_gate_copies_parameters_to_the_inner_stack() {
    // PUSH 1; PUSH 2; CALL 33:0 at level 3; the target is RETF 8.
    let code = [0x6a, 1, 0x6a, 2, 0x9a, 0, 0, 0, 0, 0x33, 0, 0xcd, 0x80];
    let mut bench = Bench::protected(&code);
    let gate = 0x5000 | u64::from(CODE_0) << 16 | 0xec02 << 32;
    bench.write64(0x800 + 0x30, gate);
    // MOV EAX, [ESP+8]; RETF 8.
    bench
        .memory
        .write(0x5000, &[0x8b, 0x44, 0x24, 8, 0xca, 8, 0]);
    bench.enter(3);
    assert_eq!(bench.vector(), 0x80);
    assert_eq!(bench.reg(RAX), 2);
    assert_eq!(u64::from(bench.read32(STACK - 8)), USER_STACK);
    assert_eq!(bench.read32(STACK - 16), u32::from(CODE_3));
}

#[test]
fn paging_with_lme_set_enters_long_mode() {
    // MOV CR0, EAX; a far jump to 64-bit code there: MOV RAX, 1 << 32; HLT.
    let code = [0x0f, 0x22, 0xc0, 0xea, 0, 0x50, 0, 0, 0x30, 0];
    let mut bench = Bench::protected(&code);
    bench.write64(0x800 + 0x30, 0x00af_9b00_0000_ffff);
    bench
        .memory
        .write(0x5000, &[0x48, 0xb8, 0, 0, 0, 0, 1, 0, 0, 0, 0xf4]);
    let tables = Bench::long(&[]);
    let pages: [u8; 0x3000] = tables.memory.read_array(0x1_0000);
    bench.memory.write(0x1_0000, &pages);
    bench.cpu.cr3 = 0x1_0000;
    bench.cpu.cr4 = cowbox::cpu::cr4::PAE;
    bench.cpu.msr.efer = cowbox::cpu::efer::LME;
    bench.cpu.regs.set(RAX, 0x8000_0011);
    assert_eq!(bench.run(), Stop::Halted);
    assert!(bench.cpu.is_64_bit());
    assert_eq!(bench.reg(RAX), 1 << 32);
}

#[test]
fn wrmsr_moves_the_base_of_fs() {
    // WRMSR; MOV RBX, FS:[0]; HLT.
    let code = [0x0f, 0x30, 0x64, 0x48, 0x8b, 0x1c, 0x25, 0, 0, 0, 0, 0xf4];
    let mut bench = Bench::long(&code);
    bench.write64(0x2_0000, 0x1122_3344_5566_7788);
    bench.cpu.regs.set(RCX, 0xc000_0100);
    bench.cpu.regs.set(RAX, 0x2_0000);
    bench.cpu.regs.set(RDX, 0);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.reg(RBX), 0x1122_3344_5566_7788);
    assert_eq!(bench.cpu.segment(FS).base, 0x2_0000);
}

#[test]
fn an_unknown_msr_faults() {
    let mut bench = Bench::protected(&[0x0f, 0x32]);
    bench.cpu.regs.set(RCX, 0x1234);
    assert_eq!(bench.vector(), 13);
}

#[test]
fn the_time_stamp_is_guest_time_at_the_instruction() {
    // NOP; NOP; RDTSC; HLT.
    let mut bench = Bench::protected(&[0x90, 0x90, 0x0f, 0x31, 0xf4]);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!((bench.reg(RDX), bench.reg(RAX)), (0, 2));
}

#[test]
fn a_task_switch_saves_one_task_and_loads_the_other() {
    // JMP 38:0 to a TSS whose task runs at 5000h: INC ECX; HLT.
    let mut bench = Bench::protected(&[0xea, 0, 0, 0, 0, 0x30, 0]);
    let other = 0xb00;
    bench.write64(0x800 + 0x30, 0x0000_8900_0000_0067 | other << 16);
    bench.write32(other + 32, 0x5000);
    bench.write32(other + 36, 2);
    bench.write32(other + 44, 41);
    bench.write32(other + 56, 0x7000);
    for (at, selector) in [(72, 0x10), (76, 8), (80, 0x10), (84, 0x10)] {
        bench.write32(other + at, selector);
    }
    bench.memory.write(0x5000, &[0x41, 0xf4]);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.reg(RCX), 42);
    assert_eq!(bench.reg(RSP), 0x7000);
    assert_eq!(bench.cpu.tr.selector, 0x30);
    assert_eq!(u64::from(bench.read32(TSS + 32)), CODE + 7);
    assert_eq!(u64::from(bench.read32(TSS + 56)), STACK);
    // The old task is available again, the new one busy.
    assert_eq!(bench.memory.read_array::<1>(0x800 + 0x2d), [0x89]);
    assert_eq!(bench.memory.read_array::<1>(0x800 + 0x35), [0x8b]);
    assert_eq!(bench.cpu.segment(CS).selector, 8);
    assert_eq!(bench.cpu.segment(SS).selector, 0x10);
}
