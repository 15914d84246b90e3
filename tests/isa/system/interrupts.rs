//! Delivery of interrupts and exceptions, and the way back.

use cowbox::cpu::Stop;
use cowbox::cpu::flags;
use cowbox::cpu::regs::{RAX, RSP};
use cowbox::cpu::segment::{CS, SS};

use super::bench::{Bench, CODE, CODE_0, CODE_3, DATA_3, IDT, STACK, TSS, USER_STACK};

#[test]
fn a_real_mode_interrupt_goes_through_the_vector_table_and_iret_comes_back() {
    // STI; INT 21h; HLT, and the handler: INC AX; IRET.
    let mut bench = Bench::real(&[0xfb, 0xcd, 0x21, 0xf4]);
    bench.memory.write(0x2000 + 0x21 * 16, &[0x40, 0xcf]);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.reg(RAX), 1);
    assert_eq!(bench.cpu.rip, CODE + 4);
    assert_eq!(bench.reg(RSP), STACK);
    assert!(bench.cpu.flags.has(flags::IF));
}

#[test]
fn a_divide_error_names_the_instruction_itself() {
    // XOR CX, CX; DIV CX.
    let mut bench = Bench::real(&[0x31, 0xc9, 0xf7, 0xf1]);
    assert_eq!(bench.vector(), 0);
    assert_eq!(u64::from(bench.read16(STACK - 6)), CODE + 2);
}

#[test]
fn an_interrupt_from_level_3_switches_to_the_stack_of_the_tss() {
    // INT 80h at level 3.
    let mut bench = Bench::protected(&[0xcd, 0x80]);
    bench.enter(3);
    assert_eq!(bench.vector(), 0x80);
    assert_eq!(bench.cpu.cpl, 0);
    assert_eq!(bench.reg(RSP), STACK - 20);
    assert_eq!(u64::from(bench.read32(STACK - 20)), CODE + 2);
    assert_eq!(bench.read32(STACK - 16), u32::from(CODE_3));
    assert_eq!(u64::from(bench.read32(STACK - 8)), USER_STACK);
    assert_eq!(bench.read32(STACK - 4), u32::from(DATA_3));
}

#[test]
fn iret_to_level_3_restores_stack_and_privilege() {
    // INT 80h; INT 81h at level 3; the handler of 80h is IRET.
    let mut bench = Bench::protected(&[0xcd, 0x80, 0xcd, 0x81]);
    bench.memory.write(0x2000 + 0x80 * 16, &[0xcf]);
    bench.enter(3);
    assert_eq!(bench.vector(), 0x81);
    assert_eq!(u64::from(bench.read32(STACK - 20)), CODE + 4);
    assert_eq!(u64::from(bench.read32(STACK - 8)), USER_STACK);
}

#[test]
fn a_program_may_not_use_a_gate_that_is_not_for_its_level() {
    // INT 80h at level 3 through a gate of level 0: #GP with the IDT's index.
    let mut bench = Bench::protected(&[0xcd, 0x80]);
    bench.set_gate(0x80, 0x2800 | u64::from(CODE_0) << 16 | 0x8e00 << 32);
    bench.enter(3);
    assert_eq!(bench.vector(), 13);
    assert_eq!(bench.read32(STACK - 24), 0x80 * 8 + 2);
    assert_eq!(u64::from(bench.read32(STACK - 20)), CODE);
}

#[test]
fn three_faults_in_a_row_shut_the_cpu_down_and_the_chain_is_remembered() {
    // UD2 without an IDT.
    let mut bench = Bench::protected(&[0x0f, 0x0b]);
    bench.cpu.idtr.limit = 0;
    assert_eq!(bench.run(), Stop::Shutdown);
    let chain: Vec<u8> = bench.cpu.incidents.iter().map(|i| i.vector).collect();
    assert_eq!(chain, [6, 13, 8]);
    assert_eq!(bench.cpu.incidents.iter().next().unwrap().rip, CODE);
}

#[test]
fn an_external_interrupt_waits_for_the_instruction_behind_sti() {
    // STI; INC EAX; INC EAX.
    let mut bench = Bench::protected(&[0xfb, 0x40, 0x40]);
    bench.board.interrupt = Some(0x30);
    assert_eq!(bench.vector(), 0x30);
    assert_eq!(bench.reg(RAX), 1);
    assert_eq!(u64::from(bench.read32(STACK - 12)), CODE + 2);
}

#[test]
fn a_single_step_trap_follows_each_instruction_but_not_a_load_of_ss() {
    // PUSH 0x102; POPF; MOV SS, AX; INC EAX; INC EAX.
    let code = [0x68, 0x02, 0x01, 0, 0, 0x9d, 0x8e, 0xd0, 0x40, 0x40];
    let mut bench = Bench::protected(&code);
    bench.cpu.regs.set(RAX, 0x10);
    assert_eq!(bench.vector(), 1);
    assert_eq!(u64::from(bench.read32(STACK - 12)), CODE + 9);
    assert_eq!(bench.cpu.dr[6] & 1 << 14, 1 << 14);
}

#[test]
fn an_interrupt_in_virtual_8086_mode_leaves_all_segments_on_the_stack_of_level_0() {
    // IRETD to virtual-8086 mode at 0400:0100, which has INT 20h.
    let mut bench = Bench::protected(&[0xcf]);
    bench.memory.write(0x4100, &[0xcd, 0x20]);
    let frame = [0x100, 0x400, 0x2_3202, 0x7000, 0x111, 1, 2, 3, 4];
    for (at, value) in (0x7000..).step_by(4).zip(frame) {
        bench.write32(at, value);
    }
    bench.cpu.regs.set(RSP, 0x7000);
    assert_eq!(bench.vector(), 0x20);
    assert!(!bench.cpu.is_v86());
    assert_eq!(bench.reg(RSP), STACK - 36);
    let saved = [0x102, 0x400, 0x2_3202, 0x7000, 0x111, 1, 2, 3, 4];
    for (at, value) in (STACK - 36..).step_by(4).zip(saved) {
        assert_eq!(bench.read32(at), value);
    }
}

#[test]
fn vme_redirects_software_interrupts_to_the_program_itself() {
    // INT 20h in virtual-8086 mode at IOPL 0 with VME, its bit in the map clear.
    let mut bench = Bench::protected(&[0xcf]);
    bench.memory.write(0x4100, &[0xcd, 0x20]);
    bench.memory.write(0x500, &[0xcd, 0x21]);
    bench.write32(0x20 * 4, 0x500);
    let frame = [0x100, 0x400, 0x2_0202, 0x7000, 0, 0, 0, 0, 0];
    for (at, value) in (0x7000..).step_by(4).zip(frame) {
        bench.write32(at, value);
    }
    bench.cpu.regs.set(RSP, 0x7000);
    bench.cpu.cr4 = cowbox::cpu::cr4::VME;
    // The map is before the I/O map; INT 21h is intercepted, and faults below IOPL 3.
    bench.cpu.tr.limit = 0x200;
    bench.memory.write(TSS + 0x66, &[0x88, 0]);
    bench.memory.write(TSS + 0x68 + 4, &[2]);
    assert_eq!(bench.vector(), 13);
    assert_eq!(bench.read32(STACK - 36), 0x500);
    assert_eq!(bench.read16(0x7000 - 6), 0x102);
    // IOPL reads as 3, and the interrupt flag as the virtual one.
    assert_eq!(bench.read16(0x7000 - 2), 0x3002);
}

#[test]
fn a_gate_of_long_mode_can_name_its_own_stack() {
    // INT 80h at level 0 through the second interrupt stack.
    let mut bench = Bench::long(&[0xcd, 0x80]);
    bench.set_interrupt_stack(0x80, 2);
    assert_eq!(bench.vector(), 0x80);
    let top = USER_STACK + 0x1000;
    assert_eq!(bench.reg(RSP), top - 40);
    assert_eq!(bench.read64(top - 40), CODE + 2);
    assert_eq!(bench.read64(top - 16), STACK);
}

#[test]
fn iretq_goes_back_to_level_3() {
    // INT 80h; INT 81h at level 3; the handler of 80h is IRETQ.
    let mut bench = Bench::long(&[0xcd, 0x80, 0xcd, 0x81]);
    bench.memory.write(0x2000 + 0x80 * 16, &[0x48, 0xcf]);
    bench.enter(3);
    assert_eq!(bench.vector(), 0x81);
    assert_eq!(bench.read64(STACK - 40), CODE + 4);
    assert_eq!(bench.read64(STACK - 32), u64::from(CODE_3));
    assert_eq!(bench.read64(STACK - 16), USER_STACK);
    assert_eq!(bench.cpu.segment(SS).selector, 0);
    assert_eq!(bench.cpu.segment(CS).selector, CODE_0);
}

#[test]
fn time_passes_while_a_handler_cannot_be_fetched() {
    // MOV AL, [200000h], which is not present, and there the handler of #PF would be.
    let mut bench = Bench::long(&[0x8a, 0x04, 0x25, 0, 0, 0x20, 0]);
    bench.unmap(1);
    bench
        .memory
        .write(IDT + 14 * 16 + 6, &0x20_u16.to_le_bytes());
    bench.set_interrupt_stack(14, 2);
    assert_eq!(bench.run_until(1000), Stop::Deadline);
    assert_eq!(bench.cpu.cr2 >> 21, 1);
}

#[test]
fn alignment_checks_on_the_way_to_their_own_handler_are_a_shutdown() {
    // MOV EAX, [ESP] at level 3, where the handler is too, on a stack that is not aligned.
    let mut bench = Bench::protected(&[0x8b, 0x04, 0x24]);
    let handler = 0x2000 + 17 * 16;
    bench.set_gate(17, handler | u64::from(CODE_3) << 16 | 0xee00 << 32);
    bench.enter(3);
    bench.cpu.cr0 |= cowbox::cpu::cr0::AM;
    bench.cpu.flags.assign(cowbox::cpu::flags::AC, true);
    bench.cpu.regs.set(RSP, USER_STACK + 1);
    assert_eq!(bench.run(), Stop::Shutdown);
}
