//! Repeated string instructions: time, interrupts, overlap, limits.

use cowbox::cpu::Stop;
use cowbox::cpu::regs::{RAX, RCX, RDI, RSI};

use super::bench::{Bench, CODE, STACK};

/// REP MOVSB; HLT.
const REP_MOVSB: &[u8] = &[0xf3, 0xa4, 0xf4];
/// REP STOSD; HLT.
const REP_STOSD: &[u8] = &[0xf3, 0xab, 0xf4];

#[test]
fn an_overlapping_copy_upwards_repeats_its_first_byte() {
    let mut bench = Bench::protected(REP_MOVSB);
    bench.memory.write(0x2_0ff0, &[7, 1, 2, 3]);
    bench.cpu.regs.set(RSI, 0x2_0ff0);
    bench.cpu.regs.set(RDI, 0x2_0ff1);
    bench.cpu.regs.set(RCX, 0x1800);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.memory.read_array::<0x1801>(0x2_0ff0), [7; 0x1801]);
    assert_eq!(bench.memory.read_array::<1>(0x2_27f1), [0]);
    assert_eq!(bench.reg(RDI), 0x2_27f1);
    assert_eq!(bench.reg(RCX), 0);
    // An iteration is a tick, and HLT is one.
    assert_eq!(bench.cpu.now(), 0x1801);
}

#[test]
fn a_repeated_store_stops_at_the_tick_asked_for_and_goes_on_from_there() {
    let mut bench = Bench::protected(REP_STOSD);
    bench.cpu.regs.set(RAX, 0x1234_5678);
    bench.cpu.regs.set(RDI, 0x2_0002);
    bench.cpu.regs.set(RCX, 5000);
    assert_eq!(bench.run_until(3000), Stop::Deadline);
    assert_eq!(bench.cpu.now(), 3000);
    assert_eq!(bench.reg(RCX), 2000);
    assert_eq!(bench.reg(RDI), 0x2_0002 + 12000);
    assert_eq!(bench.cpu.rip, CODE);
    assert_eq!(bench.read32(0x2_0002 + 11996), 0x1234_5678);
    assert_eq!(bench.read32(0x2_0002 + 12000), 0);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.read32(0x2_0002 + 19996), 0x1234_5678);
    assert_eq!(bench.cpu.now(), 5001);
}

#[test]
fn a_repeated_store_into_its_own_code_takes_effect_at_once() {
    // STOSB over what follows: the HLT becomes INC EAX; HLT.
    let mut bench = Bench::protected(&[0xf3, 0xaa, 0xf4, 0xf4, 0xf4]);
    bench.cpu.regs.set(RAX, 0x40);
    bench.cpu.regs.set(RDI, CODE + 2);
    bench.cpu.regs.set(RCX, 2);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.reg(RAX), 0x42);
}

#[test]
fn a_fault_within_a_repetition_leaves_what_was_done() {
    let mut bench = Bench::protected(REP_STOSD);
    let es = &mut bench.cpu.segments[usize::from(cowbox::cpu::segment::ES)];
    *es = cowbox::cpu::Segment::new(es.selector, 0, 0x2_000f, es.attributes);
    bench.cpu.regs.set(RDI, 0x2_0000);
    bench.cpu.regs.set(RCX, 100);
    assert_eq!(bench.vector(), 13);
    assert_eq!(bench.reg(RCX), 96);
    assert_eq!(bench.reg(RDI), 0x2_0010);
}

#[test]
fn a_fault_within_repeated_comparisons_brings_the_flags_back() {
    // REPE SCASB over zeros, up to the limit of ES.
    let mut bench = Bench::protected(&[0xf3, 0xae, 0xf4]);
    let es = &mut bench.cpu.segments[usize::from(cowbox::cpu::segment::ES)];
    *es = cowbox::cpu::Segment::new(es.selector, 0, 0x2_000f, es.attributes);
    bench.cpu.regs.set(RDI, 0x2_0000);
    bench.cpu.regs.set(RCX, 100);
    bench.cpu.flags.set_cf(true);
    assert_eq!(bench.vector(), 13);
    assert_eq!(bench.reg(RCX), 84);
    let (cf, zf) = (1, 1 << 6);
    assert_eq!(bench.read32(STACK - 4) & (cf | zf), cf);
}

#[test]
fn maskmovdqu_writes_nothing_if_a_byte_that_it_writes_cannot_be() {
    // MASKMOVDQU XMM0, XMM1; HLT.
    let mut bench = Bench::protected(&[0x66, 0x0f, 0xf7, 0xc1, 0xf4]);
    bench.cpu.cr4 |= cowbox::cpu::cr4::OSFXSR;
    let ds = &mut bench.cpu.segments[usize::from(cowbox::cpu::segment::DS)];
    *ds = cowbox::cpu::Segment::new(ds.selector, 0, 0x2_0007, ds.attributes);
    bench.cpu.regs.set(RDI, 0x2_0000);
    bench.cpu.sse.set(0, [0xff; 16]);
    bench.cpu.sse.set(1, [0xff; 16]);
    assert_eq!(bench.vector(), 13);
    assert_eq!(bench.memory.read_array::<8>(0x2_0000), [0; 8]);
}

#[test]
fn scasb_stops_behind_the_byte_it_looks_for() {
    // REPNE SCASB; HLT.
    let mut bench = Bench::protected(&[0xf2, 0xae, 0xf4]);
    bench.memory.write(0x2_0000, b"needle\0");
    bench.cpu.regs.set(RDI, 0x2_0000);
    bench.cpu.regs.set(RCX, 100);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.reg(RDI), 0x2_0007);
    assert_eq!(bench.reg(RCX), 93);
    assert!(bench.cpu.flags.zf());
}

#[test]
fn downward_copies_and_16_bit_addresses_wrap_within_64_kib() {
    // STD; REP MOVSW; HLT in real mode.
    let mut bench = Bench::real(&[0xfd, 0xf3, 0xa5, 0xf4]);
    bench.memory.write(0x9000, &[1, 2, 3, 4]);
    bench.cpu.regs.set(RSI, 0x9002);
    bench.cpu.regs.set(RDI, 0xffff_0000);
    bench.cpu.regs.set(RCX, 0xabcd_0002);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.memory.read_array::<2>(0), [3, 4]);
    assert_eq!(bench.memory.read_array::<2>(0xfffe), [1, 2]);
    assert_eq!(bench.reg(RDI), 0xffff_fffc);
    assert_eq!(bench.reg(RCX), 0xabcd_0000);
}
