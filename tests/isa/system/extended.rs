//! Extended state: when AVX may be used, XCR0, XSAVE images, and the bases of FS and GS.

use cowbox::cpu::regs::{RAX, RCX, RDI, RDX};
use cowbox::cpu::segment::{FS, GS};
use cowbox::cpu::{cr0, cr4};

use super::bench::{Bench, CODE, STACK};

/// VADDPS YMM0, YMM1, YMM2; INT 80h.
const ADD: [u8; 6] = [0xc5, 0xf4, 0x58, 0xc2, 0xcd, 0x80];
/// VADDPS XMM0, XMM1, XMM2; INT 80h.
const ADD_XMM: [u8; 6] = [0xc5, 0xf0, 0x58, 0xc2, 0xcd, 0x80];
/// XSETBV; INT 80h.
const XSETBV: [u8; 5] = [0x0f, 0x01, 0xd1, 0xcd, 0x80];
/// Where images go.
const IMAGE: u64 = 0x3_0000;

/// In 64-bit mode, with a system that saves YMM registers.
fn avx(code: &[u8]) -> Bench {
    let mut bench = Bench::long(code);
    bench.cpu.cr4 |= cr4::OSXSAVE | cr4::OSFXSR | cr4::OSXMMEXCPT;
    bench.cpu.sse.xcr0 = 7;
    bench
}

#[test]
fn avx_works_once_the_system_saves_its_registers() {
    assert_eq!(avx(&ADD).vector(), 0x80);
    let mut without_osxsave = avx(&ADD);
    without_osxsave.cpu.cr4 &= !cr4::OSXSAVE;
    assert_eq!(without_osxsave.vector(), 6);
    for xcr0 in [1, 3] {
        for code in [ADD, ADD_XMM] {
            let mut bench = avx(&code);
            bench.cpu.sse.xcr0 = xcr0;
            assert_eq!(bench.vector(), 6, "XCR0 = {xcr0}");
        }
    }
}

#[test]
fn avx_after_a_task_switch_asks_the_system_first() {
    let mut bench = avx(&ADD);
    bench.cpu.cr0 |= cr0::TS;
    assert_eq!(bench.vector(), 7);
    assert_eq!(bench.cpu.sse.xcr0, 7);
}

#[test]
fn vex_is_an_invalid_opcode_in_real_mode() {
    let mut bench = Bench::real(&ADD);
    bench.cpu.cr4 |= cr4::OSXSAVE;
    bench.cpu.sse.xcr0 = 7;
    assert_eq!(bench.vector(), 6);
}

#[test]
fn vzeroall_of_32_bit_code_leaves_the_upper_eight_registers() {
    // VZEROALL; INT 80h in protected mode: YMM8 to YMM15 stay.
    let mut bench = Bench::protected(&[0xc5, 0xfc, 0x77, 0xcd, 0x80]);
    bench.cpu.cr4 |= cr4::OSXSAVE;
    bench.cpu.sse.xcr0 = 7;
    for n in 0..16 {
        bench.cpu.sse.set_ymm(n, [[1; 16], [2; 16]]);
    }
    assert_eq!(bench.vector(), 0x80);
    assert_eq!(bench.cpu.sse.ymm(7), [[0; 16], [0; 16]]);
    assert_eq!(bench.cpu.sse.ymm(8), [[1; 16], [2; 16]]);
}

#[test]
fn xsetbv_takes_what_makes_sense_from_level_0() {
    let set = |value, register, level| {
        let mut bench = avx(&XSETBV);
        bench.enter(level);
        bench.cpu.sse.xcr0 = 1;
        bench.cpu.regs.set(RAX, value);
        bench.cpu.regs.set(RDX, 0);
        bench.cpu.regs.set(RCX, register);
        (bench.vector(), bench.cpu.sse.xcr0)
    };
    for value in [1, 3, 7] {
        assert_eq!(set(value, 0, 0), (0x80, value));
    }
    // Without x87; AVX without SSE; a component that is not there.
    for value in [0, 2, 6, 5, 0xf] {
        assert_eq!(set(value, 0, 0), (13, 1), "XCR0 = {value}");
    }
    assert_eq!(set(7, 1, 0), (13, 1));
    assert_eq!(set(7, 0, 3), (13, 1));
}

#[test]
fn xsave_writes_what_the_mask_and_xcr0_name_and_xrstor_brings_it_back() {
    // XSAVE64 [RDI]; VZEROALL; XRSTOR64 [RDI]; INT 80h.
    let code = [
        0x48, 0x0f, 0xae, 0x27, 0xc5, 0xfc, 0x77, 0x48, 0x0f, 0xae, 0x2f, 0xcd, 0x80,
    ];
    for (mask, expected) in [(7, [5, 6]), (3, [5, 0]), (4, [0, 6]), (1, [0, 0])] {
        let mut bench = avx(&code);
        bench.cpu.sse.set_ymm(9, [[5; 16], [6; 16]]);
        bench.cpu.regs.set(RAX, mask);
        bench.cpu.regs.set(RDX, 0xffff_ffff);
        bench.cpu.regs.set(RDI, IMAGE);
        assert_eq!(bench.vector(), 0x80);
        assert_eq!(
            bench.cpu.sse.ymm(9),
            expected.map(|byte| [byte; 16]),
            "mask {mask}"
        );
        assert_eq!(bench.read64(IMAGE + 512), mask);
    }
}

#[test]
fn xrstor_initialises_what_the_image_does_not_hold() {
    // XRSTOR64 [RDI]; INT 80h.
    let mut bench = avx(&[0x48, 0x0f, 0xae, 0x2f, 0xcd, 0x80]);
    bench.cpu.sse.set_ymm(3, [[5; 16], [6; 16]]);
    bench.cpu.regs.set(RAX, 6);
    bench.cpu.regs.set(RDX, 0);
    bench.cpu.regs.set(RDI, IMAGE);
    bench.write32(IMAGE + 24, 0x1f80);
    assert_eq!(bench.vector(), 0x80);
    assert_eq!(bench.cpu.sse.ymm(3), [[0; 16], [0; 16]]);
}

#[test]
fn xrstor_refuses_images_it_cannot_read() {
    for (at, value) in [(512, 8), (520, 1), (528, 1), (24, 0x1_0000)] {
        let mut bench = avx(&[0x48, 0x0f, 0xae, 0x2f, 0xcd, 0x80]);
        bench.cpu.sse.set_ymm(3, [[5; 16], [6; 16]]);
        bench.cpu.regs.set(RAX, 7);
        bench.cpu.regs.set(RDX, 0);
        bench.cpu.regs.set(RDI, IMAGE);
        bench.write32(IMAGE + at, value);
        assert_eq!(bench.vector(), 13, "{value:#x} at {at}");
        assert_eq!(bench.cpu.sse.ymm(3), [[5; 16], [6; 16]]);
    }
}

#[test]
fn the_bases_of_fs_and_gs_are_open_to_user_code_if_the_system_says_so() {
    // WRFSBASE RAX; RDFSBASE ECX; WRGSBASE EAX; INT 80h at level 3.
    let code = [
        0xf3, 0x48, 0x0f, 0xae, 0xd0, 0xf3, 0x0f, 0xae, 0xc1, 0xf3, 0x0f, 0xae, 0xd8, 0xcd, 0x80,
    ];
    let run = |open, base| {
        let mut bench = Bench::long(&code);
        bench.cpu.cr4 |= if open { cr4::FSGSBASE } else { 0 };
        bench.enter(3);
        bench.cpu.regs.set(RAX, base);
        (bench.vector(), bench)
    };
    let base = 0x7f12_5678_9abc;
    let (vector, bench) = run(true, base);
    assert_eq!(vector, 0x80);
    assert_eq!(bench.cpu.segment(FS).base, base);
    assert_eq!(bench.reg(RCX), 0x5678_9abc);
    assert_eq!(bench.cpu.segment(GS).base, 0x5678_9abc);
    assert_eq!(run(false, base).0, 6);
    let (vector, bench) = run(true, 1 << 47);
    assert_eq!(vector, 13);
    assert_eq!(bench.read64(STACK - 40), CODE);
}
