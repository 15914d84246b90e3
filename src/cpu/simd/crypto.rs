//! AES-NI, PCLMULQDQ and SHA. Intel SDM volume 1, sections 12.13 and 14.2; volume 2 for each
//! instruction; FIPS 197 and FIPS 180-4.

use aes::Block;
use aes::hazmat::{cipher_round, equiv_inv_cipher_round, inv_mix_columns, mix_columns};
use iced_x86::{Instruction, Mnemonic as M};

use super::binary::{Binary, Immediate, binary, with_immediate};
use super::integer::Xor;
use super::lanes::{build, get};
use super::operand::{Place, Sse, Unit, has_memory};
use super::state::{Bytes, ZERO};
use crate::cpu::decode::Op;
use crate::cpu::exec::Way;
use crate::cpu::exec::one_way;
use crate::cpu::simd::operand::{Memory, Register};
use crate::cpu::{Exec, Handler};

/// `f` on a vector as a block of AES, byte 0 first.
fn on_block(vector: Bytes, f: impl Fn(&mut Block)) -> Bytes {
    let mut block = Block::from(vector);
    f(&mut block);
    block.into()
}

struct Aesenc;
struct Aesenclast;
struct Aesdec;
struct Aesdeclast;
struct Aesimc;
struct Aeskeygenassist;
struct Pclmulqdq;

impl Binary for Aesenc {
    fn apply(state: Bytes, key: Bytes, _: usize) -> Bytes {
        let key = Block::from(key);
        on_block(state, |block| cipher_round(block, &key))
    }
}

/// A last round does not mix the columns: that is undone.
impl Binary for Aesenclast {
    fn apply(state: Bytes, key: Bytes, _: usize) -> Bytes {
        let mixed = Aesenc::apply(state, ZERO, 16);
        Xor::apply(on_block(mixed, inv_mix_columns), key, 16)
    }
}

impl Binary for Aesdec {
    fn apply(state: Bytes, key: Bytes, _: usize) -> Bytes {
        let key = Block::from(key);
        on_block(state, |block| equiv_inv_cipher_round(block, &key))
    }
}

impl Binary for Aesdeclast {
    fn apply(state: Bytes, key: Bytes, _: usize) -> Bytes {
        let mixed = Aesdec::apply(state, ZERO, 16);
        Xor::apply(on_block(mixed, mix_columns), key, 16)
    }
}

impl Binary for Aesimc {
    fn apply(_: Bytes, key: Bytes, _: usize) -> Bytes {
        on_block(key, inv_mix_columns)
    }
}

/// Doublewords 1 and 3 through the S-box, and rotated with the round constant.
impl Immediate for Aeskeygenassist {
    fn apply(_: Bytes, key: Bytes, constant: u8, _: usize) -> Bytes {
        // In a block of four equal columns, shifting rows changes nothing.
        let substitute = |n| {
            let word: u32 = get(key, n);
            get::<u32>(Aesenclast::apply(build(|_| word), ZERO, 16), 0)
        };
        let (one, three) = (substitute(1), substitute(3));
        let rotate = |word: u32| word.rotate_right(8) ^ u32::from(constant);
        let words = [one, rotate(one), three, rotate(three)];
        build(|n| words[n & 3])
    }
}

/// The carry-less product of the quadwords that bits 0 and 4 of the immediate choose.
impl Immediate for Pclmulqdq {
    fn apply(a: Bytes, b: Bytes, immediate: u8, _: usize) -> Bytes {
        let a: u64 = get(a, usize::from(immediate & 1));
        let b: u64 = get(b, usize::from(immediate >> 4 & 1));
        let bits = (0..64).filter(|n| b >> n & 1 != 0);
        let product = bits.fold(0, |product, n| product ^ u128::from(a) << n);
        product.to_le_bytes()
    }
}

/// Four doublewords, the highest first: how the manual writes SHA's operands.
fn words(vector: Bytes) -> [u32; 4] {
    [3, 2, 1, 0].map(|n| get(vector, n))
}

fn vector(words: [u32; 4]) -> Bytes {
    build(|n| words[3 - (n & 3)])
}

struct Sha1rnds4;
struct Sha1nexte;
struct Sha1msg1;
struct Sha1msg2;
struct Sha256msg1;
struct Sha256msg2;

/// Four rounds of SHA-1, whose function and constant the immediate chooses.
impl Immediate for Sha1rnds4 {
    fn apply(state: Bytes, message: Bytes, immediate: u8, _: usize) -> Bytes {
        let [mut a, mut b, mut c, mut d] = words(state);
        let mut e = 0u32;
        for word in words(message) {
            let (f, k) = match immediate & 3 {
                0 => (b & c ^ !b & d, 0x5a82_7999u32),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c ^ b & d ^ c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            // E of the first round was added to the message before.
            let next = [a.rotate_left(5), f, e, k, word];
            let next = next.into_iter().fold(0, u32::wrapping_add);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        vector([a, b, c, d])
    }
}

impl Binary for Sha1nexte {
    fn apply(a: Bytes, b: Bytes, _: usize) -> Bytes {
        let [e, ..] = words(a);
        let [w0, w1, w2, w3] = words(b);
        vector([w0.wrapping_add(e.rotate_left(30)), w1, w2, w3])
    }
}

impl Binary for Sha1msg1 {
    fn apply(a: Bytes, b: Bytes, _: usize) -> Bytes {
        let [w0, w1, w2, w3] = words(a);
        let [w4, w5, ..] = words(b);
        vector([w2 ^ w0, w3 ^ w1, w4 ^ w2, w5 ^ w3])
    }
}

impl Binary for Sha1msg2 {
    fn apply(a: Bytes, b: Bytes, _: usize) -> Bytes {
        let [x0, x1, x2, x3] = words(a);
        let [_, w13, w14, w15] = words(b);
        let w16 = (x0 ^ w13).rotate_left(1);
        let w17 = (x1 ^ w14).rotate_left(1);
        let w18 = (x2 ^ w15).rotate_left(1);
        vector([w16, w17, w18, (x3 ^ w16).rotate_left(1)])
    }
}

impl Binary for Sha256msg1 {
    fn apply(a: Bytes, b: Bytes, _: usize) -> Bytes {
        let sigma = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3;
        let [w3, w2, w1, w0] = words(a);
        let [.., w4] = words(b);
        vector([(w3, w4), (w2, w3), (w1, w2), (w0, w1)].map(|(x, y)| x.wrapping_add(sigma(y))))
    }
}

impl Binary for Sha256msg2 {
    fn apply(a: Bytes, b: Bytes, _: usize) -> Bytes {
        let sigma = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10;
        let [x3, x2, x1, x0] = words(a);
        let [w15, w14, ..] = words(b);
        let w16 = x0.wrapping_add(sigma(w14));
        let w17 = x1.wrapping_add(sigma(w15));
        let w18 = x2.wrapping_add(sigma(w16));
        vector([x3.wrapping_add(sigma(w17)), w18, w17, w16])
    }
}

/// Two rounds of SHA-256: the destination holds C, D, G, H, the source A, B, E, F, and XMM0 two
/// words of the message with their constants.
fn sha256rnds2<'m, M: Way<'m>, P: Place>(core: &mut M, op: &Op) -> Exec {
    Sse::enter(core)?;
    let [source, _] = P::vector::<Sse>(core, op)?;
    let [mut a, mut b, mut e, mut f] = words(source);
    let [mut c, mut d, mut g, mut h] = words(core.cpu.sse.get(op.dst));
    let [.., second, first] = words(core.cpu.sse.get(0));
    for word in [first, second] {
        let choice = e & f ^ !e & g;
        let sum = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let one = [choice, sum, word, h]
            .into_iter()
            .fold(0, u32::wrapping_add);
        let majority = a & b ^ a & c ^ b & c;
        let sum = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let next = one.wrapping_add(majority).wrapping_add(sum);
        (h, g, f, e) = (g, f, e, one.wrapping_add(d));
        (d, c, b, a) = (c, b, a, next);
    }
    core.cpu.sse.set(op.dst, vector([a, b, e, f]));
    Ok(())
}

/// The handlers of this file.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    match i.mnemonic() {
        M::Aesenc | M::Vaesenc => binary::<Aesenc>(i),
        M::Aesenclast | M::Vaesenclast => binary::<Aesenclast>(i),
        M::Aesdec | M::Vaesdec => binary::<Aesdec>(i),
        M::Aesdeclast | M::Vaesdeclast => binary::<Aesdeclast>(i),
        M::Aesimc | M::Vaesimc => binary::<Aesimc>(i),
        M::Aeskeygenassist | M::Vaeskeygenassist => with_immediate::<Aeskeygenassist>(i),
        M::Pclmulqdq | M::Vpclmulqdq => with_immediate::<Pclmulqdq>(i),
        M::Sha1rnds4 => with_immediate::<Sha1rnds4>(i),
        M::Sha1nexte => binary::<Sha1nexte>(i),
        M::Sha1msg1 => binary::<Sha1msg1>(i),
        M::Sha1msg2 => binary::<Sha1msg2>(i),
        M::Sha256msg1 => binary::<Sha256msg1>(i),
        M::Sha256msg2 => binary::<Sha256msg2>(i),
        M::Sha256rnds2 if has_memory(i) => Some(one_way!(sha256rnds2, Memory)),
        M::Sha256rnds2 => Some(one_way!(sha256rnds2, Register)),
        _ => None,
    }
}
