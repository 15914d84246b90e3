//! Decoded blocks: where they may be cut, and code that changes under them.

use cowbox::cpu::Stop;
use cowbox::cpu::regs::{RAX, RBX};

use super::bench::{Bench, CODE};

/// A loop of comparisons with branches both ways, and a counter: 32-bit code.
#[rustfmt::skip]
const BRANCHES: &[u8] = &[
    0xb9, 100, 0, 0, 0, // mov ecx, 100
    0x01, 0xc8,         // add eax, ecx
    0x83, 0xf8, 0x40,   // cmp eax, 40h
    0x72, 1,            // jb +1
    0x43,               // inc ebx
    0xa8, 4,            // test al, 4
    0x74, 2,            // je +2
    0x89, 0xc2,         // mov edx, eax
    0x39, 0xd8,         // cmp eax, ebx
    0x7f, 1,            // jg +1
    0x46,               // inc esi
    0x49,               // dec ecx
    0x75, 0xea,         // jnz to the add
    0xf4,               // hlt
];

/// What a program left: time, registers and flags.
fn outcome(bench: &Bench) -> (u64, [u64; 8], u32) {
    let registers = std::array::from_fn(|n| bench.reg(n as u8));
    (bench.cpu.now(), registers, bench.cpu.flags.bits())
}

#[test]
fn a_block_cut_at_any_instruction_ends_as_when_it_runs_at_once() {
    let mut whole = Bench::protected(BRANCHES);
    assert_eq!(whole.run(), Stop::Halted);
    for step in [1, 2, 3, 5, 7, 11] {
        let mut bench = Bench::protected(BRANCHES);
        let mut until = step;
        while bench.run_until(until) == Stop::Deadline {
            assert_eq!(bench.cpu.now(), until);
            until += step;
        }
        assert_eq!(outcome(&bench), outcome(&whole), "in steps of {step}");
    }
}

#[test]
fn a_branch_that_is_turned_round_behind_its_comparison_obeys_at_once() {
    let branch = (CODE + 15).to_le_bytes();
    #[rustfmt::skip]
    let code = [
        0xb9, 6, 0, 0, 0, // mov ecx, 6
        0x80, 0x35, branch[0], branch[1], branch[2], branch[3], 1, // xor byte [branch], 1
        0x83, 0xff, 0,    // cmp edi, 0
        0x74, 1,          // je +1, or jne +1
        0x43,             // inc ebx
        0x49,             // dec ecx
        0x75, 0xf0,       // jnz to the xor
        0xf4,             // hlt
    ];
    let mut bench = Bench::protected(&code);
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!(bench.reg(RBX), 3);
}

#[test]
fn an_instruction_goes_on_behind_the_last_address() {
    // INC EAX, whose first byte nobody answers for: FFh. Then HLT.
    let mut bench = Bench::long(&[]);
    bench.map_top();
    bench.memory.write(0, &[0xc0, 0xf4]);
    bench.cpu.rip = u64::MAX;
    assert_eq!(bench.run(), Stop::Halted);
    assert_eq!((bench.reg(RAX), bench.cpu.rip), (1, 2));
}
