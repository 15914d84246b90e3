//! What is not compared bit by bit, and why: what the manual leaves open, and where processors of
//! different vendors differ by their manuals.

use iced_x86::{Code, Instruction, Mnemonic, OpKind, RflagsBits};

use super::case::Case;
use super::encodings;
use super::operands::{segment_number, takes_image};
use super::state::{AC, End, Registers, image};

/// Whose processor runs the native side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Intel,
    Amd,
    Other,
}

impl Vendor {
    /// The host's.
    pub(crate) fn host() -> Self {
        let leaf = std::arch::x86_64::__cpuid(0);
        let name = [leaf.ebx, leaf.edx, leaf.ecx]
            .map(u32::to_le_bytes)
            .concat();
        match &name[..] {
            b"GenuineIntel" => Self::Intel,
            b"AuthenticAMD" => Self::Amd,
            _ => Self::Other,
        }
    }
}

/// How an encoding is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Every bit.
    Exact,
    /// It raises #GP or #UD at privilege 3 whatever it finds: a few states tell all.
    Refused,
    /// Everything but the values that it reads, which are the processor's own.
    Property,
    /// Not here, although the host could, for this reason.
    Left(&'static str),
    /// The host cannot show it, for this reason.
    Hidden(&'static str),
}

/// How `code` is judged in code of `bits` bits on a host of `vendor`.
pub(crate) fn judgement(code: Code, bits: u32, vendor: Vendor) -> Judgement {
    use Judgement as J;
    use Mnemonic as M;
    match code.mnemonic() {
        M::Syscall | M::Sysenter | M::Int1 | M::Int3 | M::Into => J::Left("enters the kernel"),
        M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw => {
            J::Hidden("the host's kernel answers for it (UMIP)")
        }
        M::Cpuid | M::Rdtsc | M::Rdtscp | M::Rdrand | M::Rdseed | M::Xgetbv | M::Rdpid => {
            J::Property
        }
        M::Sysexit | M::Sysexitq if vendor != Vendor::Amd => {
            J::Hidden("AMD: no instruction in long mode (APM volume 3, SYSEXIT)")
        }
        M::Sysret | M::Sysretq if vendor != Vendor::Amd && bits != 64 => {
            J::Hidden("Intel: an instruction of 64-bit mode only (SDM volume 2, SYSRET)")
        }
        M::Sysret | M::Sysretq | M::Sysexit | M::Sysexitq => J::Refused,
        M::Rdpmc | M::Ud0 | M::Ud1 | M::Ud2 | M::Rsm => J::Refused,
        M::Invd | M::Wbinvd | M::Xsetbv | M::Hlt | M::Swapgs => J::Refused,
        _ if code.is_privileged() => J::Refused,
        _ => J::Exact,
    }
}

/// Whether an INT reaches one of the vectors that Linux lets user code have. Others raise #GP.
pub(crate) fn enters_kernel(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Int && matches!(instruction.immediate8(), 3 | 4 | 0x80)
}

/// Whether the host's vendor reads the bytes as another instruction than we do, who follow AMD:
/// 66h before near branches and REX.W before far pointers count to one of them only (Intel SDM volume
/// 2, JMP and LDS; AMD APM volume 3, section 1.2.7).
pub(crate) fn reads_otherwise(bits: u32, bytes: &[u8], code: Code, vendor: Vendor) -> bool {
    vendor != Vendor::Amd && encodings::decode_intel(bits, bytes).code() != code
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Exact,
    /// A relative error of at most 1.5 * 2^-12 (Intel SDM volume 2, RCPPS).
    Reciprocal,
    /// One unit in the last place on either side (Intel SDM volume 1, section 8.3.10).
    Transcendental,
}

pub(crate) fn precision(code: Code) -> Precision {
    use Mnemonic as M;
    match code.mnemonic() {
        M::Rcpps | M::Rcpss | M::Rsqrtps | M::Rsqrtss => Precision::Reciprocal,
        M::Vrcpps | M::Vrcpss | M::Vrsqrtps | M::Vrsqrtss => Precision::Reciprocal,
        M::Fsin | M::Fcos | M::Fsincos | M::Fptan | M::Fpatan => Precision::Transcendental,
        M::F2xm1 | M::Fyl2x | M::Fyl2xp1 => Precision::Transcendental,
        _ => Precision::Exact,
    }
}

/// The flags that the manual leaves undefined after `case` has run from `before`.
pub(crate) fn undefined_flags(case: &Case, before: &Registers) -> u64 {
    use Mnemonic as M;
    const CF: u64 = 1;
    const AF: u64 = 1 << 4;
    const OF: u64 = 1 << 11;
    let i = &case.instruction;
    let bits = operand_bits(i);
    let Some(count) = shift_count(i, before) else {
        return listed_flags(i);
    };
    let is_double = matches!(i.mnemonic(), M::Shld | M::Shrd);
    match i.mnemonic() {
        _ if count == 0 => 0,
        M::Rol | M::Ror | M::Rcl | M::Rcr if count == 1 => 0,
        M::Rol | M::Ror | M::Rcl | M::Rcr => OF,
        _ if is_double && count > bits => listed_flags(i) | CF | AF | OF,
        _ if count == 1 => AF,
        M::Shl | M::Sal | M::Shr if count >= bits => CF | AF | OF,
        _ => AF | OF,
    }
}

/// How far a shift or rotation goes, if the instruction is one whose flags depend on that.
fn shift_count(i: &Instruction, before: &Registers) -> Option<u32> {
    use Mnemonic as M;
    let shifts = matches!(
        i.mnemonic(),
        M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
    );
    if !shifts {
        return None;
    }
    let last = i.op_count() - 1;
    let count = match i.op_kind(last) {
        OpKind::Register => before.general[1],
        _ => i.immediate(last),
    };
    let mask = if operand_bits(i) == 64 { 63 } else { 31 };
    Some((count & mask) as u32)
}

fn operand_bits(i: &Instruction) -> u32 {
    match i.op0_kind() {
        OpKind::Register => 8 * i.op0_register().size() as u32,
        _ => 8 * i.memory_size().size() as u32,
    }
}

/// The names of the flags that are undefined after an encoding, whatever its operands, or where a
/// shift count is not 1.
pub(crate) fn undefined_flag_names(code: Code) -> String {
    let mut instruction = Instruction::new();
    instruction.set_code(code);
    let undefined = listed_flags(&instruction);
    let names = [
        ("CF", 0),
        ("PF", 2),
        ("AF", 4),
        ("ZF", 6),
        ("SF", 7),
        ("OF", 11),
    ];
    let set = names
        .iter()
        .filter(|(_, place)| undefined >> place & 1 != 0);
    set.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

/// What iced-x86 lists of the manual.
fn listed_flags(instruction: &Instruction) -> u64 {
    let undefined = instruction.rflags_undefined();
    let pairs = [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::OF, 11),
    ];
    let set = pairs.iter().filter(|(bit, _)| undefined & bit != 0);
    set.fold(0, |mask, (_, place)| mask | 1 << place)
}

/// The bits of general register `n` that are the processor's own.
pub(crate) fn own_bits(case: &Case, n: usize) -> u64 {
    use Mnemonic as M;
    const LOW: u64 = u32::MAX as u64;
    let i = &case.instruction;
    let (owns, bits) = match i.mnemonic() {
        M::Cpuid => (n < 4, LOW),
        M::Rdtsc | M::Xgetbv => (n == 0 || n == 2, LOW),
        M::Rdtscp => (n < 3, LOW),
        _ => {
            let register = i.op0_register();
            let unused = 64 - 8 * register.size() as u32;
            (register.full_register().number() == n, u64::MAX >> unused)
        }
    };
    if owns { bits } else { 0 }
}

/// Whether singles are the same, or approximations within the bound.
pub(crate) fn reciprocals_agree(host: &[u8], ours: &[u8]) -> bool {
    // Each side may be off by the bound.
    const BOUND: f64 = 2.0 * 1.5 / 4096.0;
    let singles = |bytes: &[u8]| -> Vec<u32> {
        let (chunks, _) = bytes.as_chunks();
        chunks
            .iter()
            .map(|four| u32::from_le_bytes(*four))
            .collect()
    };
    singles(host).into_iter().zip(singles(ours)).all(|(x, y)| {
        let [a, b] = [x, y].map(|bits| f64::from(f32::from_bits(bits)));
        let close = a.is_finite() && b.is_finite() && (a - b).abs() <= BOUND * a.abs();
        x == y || close || is_about_tiny(x) && is_about_tiny(y) && x >> 31 == y >> 31
    })
}

/// Whether a result may be flushed to zero or not: the manual leaves that open where it is within
/// the bound of the smallest normal number.
fn is_about_tiny(single: u32) -> bool {
    const SMALLEST: u32 = 0x0080_0000;
    let magnitude = single & 0x7fff_ffff;
    magnitude == 0 || (SMALLEST..SMALLEST + (SMALLEST >> 11)).contains(&magnitude)
}

/// A number's place in the order of all numbers of its format.
fn order((sign_exponent, significand): (u16, u64)) -> i128 {
    // A denormal has no integer bit, a normal always has: dropping the bit joins the two ranges.
    let magnitude = i128::from(sign_exponent & 0x7fff) << 63 | i128::from(significand << 1 >> 1);
    match sign_exponent >> 15 {
        0 => magnitude,
        _ => -magnitude,
    }
}

/// The bits of the x87's status word that are not compared.
pub(crate) fn undefined_status(case: &Case, vendor: Vendor) -> u16 {
    use Mnemonic as M;
    const C1: u16 = 1 << 9;
    const CONDITIONS: u16 = 0x4700;
    let i = &case.instruction;
    match i.mnemonic() {
        // SDM volume 2: C0 to C3 undefined.
        M::Ffree | M::Ffreep => CONDITIONS,
        // SDM volume 2: C1 is 0. Intel's processors leave it.
        M::Fcomi | M::Fcomip | M::Fucomi | M::Fucomip if vendor == Vendor::Intel => C1,
        _ => 0,
    }
}

/// What an instruction of MMX may leave when it faults: it may have made the unit one for MMX (SDM
/// volume 1, section 9.5.1, which does not say in which order), or its TOP alone.
pub(crate) fn entered_mmx(registers: &Registers, host: &Registers) -> Registers {
    const TOP: u16 = 7 << 11;
    let mut entered = registers.clone();
    let status = registers.word(image::STATUS);
    let top = usize::from(status >> 11 & 7);
    for n in 0..8 {
        entered.set_st(n, registers.st((n + 8 - top) % 8));
    }
    entered.set_part(image::STATUS, (status & !TOP).to_le_bytes());
    if host.word(image::TAGS) == 0xff {
        entered.set_part(image::TAGS, [0xff, 0]);
    }
    entered
}

/// The bits of a general register that are not compared.
pub(crate) fn undefined_bits(case: &Case, register: usize, end: End) -> u64 {
    use Mnemonic as M;
    let i = &case.instruction;
    let faults = matches!(end, End::Fault { .. });
    match i.mnemonic() {
        // SDM volume 2, LAR: bits 19 to 16 are undefined.
        M::Lar if i.op0_register().full_register().number() == register => 0xf_0000,
        // SDM volume 2, POPA: registers are loaded one by one, and it may fault between them.
        M::Popa | M::Popad if faults => u64::MAX,
        _ => 0,
    }
}

/// The bits of MXCSR that are not compared: a conversion to memory may have raised its exceptions
/// before the store faults.
pub(crate) fn undefined_mxcsr(case: &Case, end: End) -> u32 {
    let faults = matches!(end, End::Fault { .. });
    match case.instruction.mnemonic() {
        Mnemonic::Vcvtps2ph if faults => 0x3f,
        _ => 0,
    }
}

/// Whether both ends are right. What is accessed in parts raises what one of them does: #AC, or that
/// it lies behind the segment's end. An image of FXSAVE and its kin at a wrong place raises #AC or
/// #GP where alignment is checked (SDM volume 2, FXSAVE and XSAVE).
pub(crate) fn ends_agree(case: &Case, before: &Registers, host: End, ours: End) -> bool {
    use Mnemonic as M;
    let vector = |end| match end {
        End::Fault { vector, .. } => vector,
        _ => 0,
    };
    let i = &case.instruction;
    let in_parts = match i.mnemonic() {
        M::Retf | M::Iret | M::Iretd | M::Iretq | M::Maskmovdqu | M::Vmaskmovdqu => true,
        M::Fldenv | M::Frstor | M::Fnstenv | M::Fnsave | M::Fstenv | M::Fsave => true,
        _ => i.memory_size().size() == 10 || takes_image(i.code()),
    };
    let vectors = [host, ours].map(vector);
    let either = matches!(vectors, [17, 12 | 13] | [12 | 13, 17]);
    host == ours || in_parts && before.flags & AC != 0 && either
}

/// Whether the host reads no more than the selector of a far return, where all of its place should
/// lie within the stack, or we fault (SDM volume 2, RET).
pub(crate) fn returns_past_limit(case: &Case, host: End, ours: End) -> bool {
    let faults = matches!(ours, End::Fault { vector: 12, .. });
    case.instruction.mnemonic() == Mnemonic::Retf && host == End::Target && faults
}

/// Where memory is not compared: a linear address and a number of bytes.
pub(crate) fn undefined_memory(
    case: &Case,
    before: &Registers,
    after: &Registers,
    (end, vendor): (End, Vendor),
) -> Option<(u64, u64)> {
    let i = &case.instruction;
    let faults = matches!(end, End::Fault { .. });
    let pushes_segment = i.mnemonic() == Mnemonic::Push && i.op0_register().is_segment_register();
    match i.mnemonic() {
        // The host's kernel makes null selectors 0 when it switches tasks.
        _ if pushes_segment && case.selectors[segment_number(i.op0_register())] < 4 => {
            Some((case.stack_linear(after), 4))
        }
        // PUSH of a segment register with a 32-bit operand writes two bytes or four (SDM volume 2).
        Mnemonic::Push
            if vendor != Vendor::Intel && pushes_segment && i.stack_pointer_increment() == -4 =>
        {
            Some((case.stack_linear(after) + 2, 2))
        }
        // Ten bytes are stored as eight and two, of which the second may fault.
        Mnemonic::Fbstp | Mnemonic::Fstp if faults && i.memory_size().size() == 10 => {
            Some((case.operand_linear(before), 8))
        }
        _ => None,
    }
}

/// Equal, but for what follows from a unit in the last place: C1, and at the edges of the range
/// also overflow and underflow, and the tag.
pub(crate) fn transcendentals_agree(a: &Registers, b: &Registers) -> bool {
    const C1: u16 = 1 << 9;
    const OVERFLOW: u16 = 1 << 3;
    let is_edge = |i: usize| matches!(a.st(i).0 & 0x7fff, 0 | 1 | 0x7ffe | 0x7fff);
    let close = (0..8).all(|i| (order(a.st(i)) - order(b.st(i))).abs() <= 2);
    let edge = (0..8).any(|i| a.st(i) != b.st(i) && is_edge(i));
    // A result that was rounded down to the largest number may have been above it.
    let largest = (0..2).any(|i| a.st(i).0 & 0x7fff == 0x7ffe && a.st(i).1 == u64::MAX);
    let ignored = match () {
        () if edge => C1 | 0x38,
        () if largest => C1 | OVERFLOW,
        () => C1,
    };
    let [x, y] = [a, b].map(|r| r.word(image::STATUS) & !ignored);
    let same = |at| a.word(at) == b.word(at);
    close && x == y && same(image::CONTROL) && same(image::TAGS)
}

/// The part of FOP, FIP and FDP that is compared, where XSAVE writes them whether an exception
/// waits or not. An instruction that raises nothing records FIP, but FOP and FDP on some processors
/// only (SDM volume 1, sections 8.1.8 and 8.1.9).
pub(crate) fn compared_pointers(
    vendor: Vendor,
    before: &Registers,
    host: &Registers,
) -> std::ops::Range<usize> {
    const ES: u16 = 1 << 7;
    let ip = image::IP..image::DATA;
    let records = host.image[ip.clone()] != before.image[ip.clone()];
    match vendor {
        Vendor::Intel if records && host.word(image::STATUS) & ES == 0 => ip,
        Vendor::Intel => image::OPCODE..image::MXCSR,
        _ => 0..0,
    }
}

/// Whether only the low halves of RCX, RSI and RDI are compared: a repeated string instruction with
/// 32-bit addresses in 64-bit code whose count is 0, or whose first element may have faulted. Intel's
/// processors clear the high halves, AMD's leave them; the manuals' pseudocode changes nothing.
pub(crate) fn clears_high_halves(
    case: &Case,
    before: &Registers,
    (end, vendor): (End, Vendor),
) -> bool {
    let i = &case.instruction;
    let repeats = i.is_string_instruction() && (i.has_rep_prefix() || i.has_repne_prefix());
    let narrow = (0..i.op_count()).any(|n| {
        matches!(
            i.op_kind(n),
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI
        )
    });
    let none = before.general[1] as u32 == 0 || matches!(end, End::Fault { .. });
    vendor == Vendor::Intel && case.bits == 64 && repeats && narrow && none
}
