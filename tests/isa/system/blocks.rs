//! Decoded blocks: where they may be cut, and code that changes under them.

use cowbox::bus::Tick;
use cowbox::cpu::Stop;
use cowbox::cpu::regs::{RAX, RBX, RCX};

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

/// Instructions with immediate operands of each form, and how long these are.
#[rustfmt::skip]
const WITH_IMMEDIATES: &[(&[u8], usize)] = &[
    (&[0xb0, 0x11], 1),                               // mov al, 11h
    (&[0x66, 0xbb, 0x22, 0x11], 2),                   // mov bx, 1122h
    (&[0xba, 1, 2, 3, 4], 4),                         // mov edx, 4030201h
    (&[0x04, 0x7f], 1),                               // add al, 7fh
    (&[0x66, 0x15, 0xff, 0x7f], 2),                   // adc ax, 7fffh
    (&[0x2d, 0xfe, 0xff, 0xff, 0x7f], 4),             // sub eax, 7ffffffeh
    (&[0x83, 0xc3, 0x7e], 1),                         // add ebx, 7eh
    (&[0x66, 0x83, 0xdb, 0x7e], 1),                   // sbb bx, 7eh
    (&[0x81, 0xf3, 0xfe, 0xff, 0xff, 0x7f], 4),       // xor ebx, 7ffffffeh
    (&[0x80, 0xca, 0x05], 1),                         // or dl, 5
    (&[0x6b, 0xf6, 0x7d], 1),                         // imul esi, esi, 7dh
    (&[0x69, 0xf6, 3, 0, 0, 0x7f], 4),                // imul esi, esi, 7f000003h
    (&[0xa8, 0x0f], 1),                               // test al, 0fh
    (&[0xf7, 0xc3, 1, 0, 0, 0x7f], 4),                // test ebx, 7f000001h
    (&[0x3c, 0x80], 1),                               // cmp al, 80h
    (&[0x83, 0xfb, 0x10, 0x72, 0], 0),                // cmp ebx, 10h; jb +0
    (&[0x6a, 0x7f, 0x5f], 0),                         // push 7fh; pop edi
    (&[0x68, 1, 2, 3, 0x7f, 0x5f], 0),                // push 7f030201h; pop edi
    (&[0xc1, 0xc3, 1], 1),                            // rol ebx, 1
    (&[0xc0, 0xe8, 1], 1),                            // shr al, 1
    (&[0x0f, 0xba, 0xe3, 3], 1),                      // bt ebx, 3
    (&[0x0f, 0xa4, 0xd3, 3], 1),                      // shld ebx, edx, 3
    (&[0x8d, 0x43, 0x40], 1),                         // lea eax, [ebx + 40h]
];

/// As [`WITH_IMMEDIATES`], of 64-bit mode.
#[rustfmt::skip]
const LONG_IMMEDIATES: &[(&[u8], usize)] = &[
    (&[0x48, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8], 8),       // mov rbx, 807060504030201h
    (&[0x48, 0xc7, 0xc2, 1, 2, 3, 0x7f], 4),          // mov rdx, 7f030201h
    (&[0x48, 0x05, 1, 2, 3, 0x7f], 4),                // add rax, 7f030201h
    (&[0x48, 0x83, 0xeb, 0x7f], 1),                   // sub rbx, 7fh
    (&[0x48, 0x6b, 0xf6, 0x7f], 1),                   // imul rsi, rsi, 7fh
    (&[0x40, 0xb6, 0x12], 1),                         // mov sil, 12h
];

/// Some numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// A loop of instructions with immediates, with stores between them that change bytes of it:
/// mostly of the immediates, at times any.
fn changing_loop(numbers: &mut Numbers, long: bool) -> Vec<u8> {
    let mut code = vec![0xb9, 12, 0, 0, 0]; // mov ecx, 12
    let (mut immediates, mut stores) = (Vec::new(), Vec::new());
    for _ in 0..4 + numbers.below(12) {
        if numbers.below(3) == 0 {
            match (numbers.below(2), long) {
                (0, false) => code.extend([0x80, 0x05]), // add byte [...], ...
                (0, true) => code.extend([0x80, 0x04, 0x25]),
                (_, false) => code.extend([0x80, 0x35]), // xor byte [...], ...
                (_, true) => code.extend([0x80, 0x34, 0x25]),
            }
            stores.push(code.len());
            code.extend([0, 0, 0, 0, numbers.below(256) as u8]);
            continue;
        }
        let both = [WITH_IMMEDIATES, LONG_IMMEDIATES];
        let all = both[usize::from(long && numbers.below(2) == 0)];
        let (instruction, len) = all[numbers.below(all.len())];
        code.extend(instruction);
        immediates.extend(code.len() - len..code.len());
    }
    code.extend([0xff, 0xc9, 0x0f, 0x85]); // dec ecx; jnz to behind the first
    let back = 5 - (code.len() as i32 + 4);
    code.extend(back.to_le_bytes());
    code.push(0xf4);
    for store in stores {
        let target = match numbers.below(16) {
            0 => numbers.below(code.len()),
            _ if immediates.is_empty() => code.len() + 100,
            _ => immediates[numbers.below(immediates.len())],
        };
        let address = (CODE as u32 + target as u32).to_le_bytes();
        code[store..store + 4].copy_from_slice(&address);
    }
    code
}

/// What a program has done at `until`, one instruction at a time, each decoded anew.
fn run_without_blocks(mut bench: Bench, until: Tick) -> (Bench, Stop) {
    loop {
        let next = bench.cpu.now() + 1;
        let stop = bench.run_until(next);
        if stop != Stop::Deadline || bench.cpu.now() >= until {
            return (bench, stop);
        }
        bench.forget_blocks();
    }
}

#[test]
fn code_that_changes_itself_runs_as_if_each_instruction_was_decoded_anew() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for n in 0..600 {
        let long = n % 2 == 1;
        let code = changing_loop(&mut numbers, long);
        let bench = || match long {
            true => Bench::long(&code),
            false => Bench::protected(&code),
        };
        let mut cached = bench();
        let stop = cached.run_until(400);
        let (anew, expected) = run_without_blocks(bench(), 400);
        assert_eq!(stop, expected, "{n}: {code:02x?}");
        assert_eq!(outcome(&cached), outcome(&anew), "{n}: {code:02x?}");
        let left = |bench: &Bench| bench.memory.read_array::<0x400>(CODE);
        assert_eq!(left(&cached), left(&anew), "{n}: {code:02x?}");
    }
}

#[test]
fn code_that_became_a_counter_is_no_longer_watched() {
    // 1: add dword [2f + 1], 1; dec ecx; jnz 1b; jmp 2f
    let mut code = [
        0x83, 0x05, 0, 0, 0, 0, 1, 0xff, 0xc9, 0x75, 0xf5, 0xe9, 0xf0, 0, 0, 0,
    ];
    let counter = CODE + 0x101;
    code[2..6].copy_from_slice(&(counter as u32).to_le_bytes());
    let mut bench = Bench::protected(&code);
    bench.memory.write(counter - 1, &[0xb8, 0, 0, 0, 0, 0xf4]); // 2: mov eax, 0; hlt
    for count in 1..=3 {
        bench.cpu.rip = CODE;
        bench.cpu.flow.halted = false;
        bench.cpu.regs.set(RCX, 300);
        assert_eq!(bench.run(), Stop::Halted);
        assert_eq!(bench.reg(RAX), 300 * count);
    }
    bench.cpu.rip = CODE;
    bench.cpu.flow.halted = false;
    bench.cpu.regs.set(RCX, 300);
    assert_eq!(bench.run_until(bench.cpu.now() + 900), Stop::Deadline);
    assert_eq!(bench.memory.pages.hits_code(counter, 4), Some(false));
}

#[test]
fn an_instruction_that_comes_to_cross_a_page_is_looked_at_on_both() {
    // A loop by way of the last byte before 2 MiB: NOP at first, then the opcode of MOV AL, whose
    // operand lies behind, and is another after a change of the mapping.
    const EDGE: u64 = 0x20_0000;
    let jump = |from: u64, to: u64| {
        let [a, b, c, d] = (to.wrapping_sub(from + 5) as u32).to_le_bytes();
        [0xe9, a, b, c, d]
    };
    let mut bench = Bench::long(&jump(CODE, EDGE - 1));
    bench.memory.write(CODE + 5, &[0xf4, 0xeb, 0xf8]); // hlt; jmp to the beginning
    for (page, first) in [(0x30_0000, 0x91), (0x40_0000, 0x92)] {
        bench.memory.write(page, &[first]); // xchg eax, ecx or edx
        bench.memory.write(page + 1, &jump(EDGE + 1, CODE + 5));
    }
    bench.map_small(1, 0x30_0000);
    bench.memory.write(EDGE - 1, &[0x90]);
    let run = |bench: &mut Bench| {
        bench.cpu.flow.halted = false;
        assert_eq!(bench.run(), Stop::Halted);
        bench.reg(RAX) & 0xff
    };
    bench.cpu.regs.set(RCX, 7);
    assert_eq!([(); 4].map(|()| run(&mut bench)), [7, 0, 7, 0]);
    bench.memory.write(EDGE - 1, &[0xb0]);
    for (page, operand) in [(0x30_0000, 0x91), (0x40_0000, 0x92), (0x30_0000, 0x91)] {
        bench.map_small(1, page);
        assert_eq!([(); 3].map(|()| run(&mut bench)), [operand; 3]);
    }
}

#[test]
fn a_block_that_could_not_be_fetched_leaves_nothing_of_the_one_before_in_its_place() {
    const EDGE: u64 = 0x40_0000;
    let mut bench = Bench::long(&[0xff, 0xc0, 0xf4]); // inc eax; hlt
    bench.memory.write(EDGE - 1, &[0x0f]);
    bench.unmap(EDGE >> 21);
    let run_at = |bench: &mut Bench, ip| {
        bench.cpu.rip = ip;
        bench.cpu.flow.halted = false;
        assert_eq!(bench.run(), Stop::Halted);
    };
    run_at(&mut bench, CODE);
    run_at(&mut bench, EDGE - 1);
    bench.memory.write(CODE, &[0xff]); // the same, but a write
    run_at(&mut bench, EDGE - 1);
    run_at(&mut bench, CODE);
    assert_eq!((bench.reg(RAX), bench.cpu.rip), (2, CODE + 3));
}
