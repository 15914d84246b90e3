//! Packed integer arithmetic, logic and comparison of MMX, SSE2 to SSE4.2 and AVX2.
//! Intel SDM volume 1, sections 9.4, 11.4.2, 12.6, 12.8 and 14.6.

use iced_x86::{Instruction, Mnemonic};

use super::binary::{Binary, binary, operations};
use super::lanes::{Lane, build, get, horizontal, low, map, map2};
use super::state::Bytes;
use crate::cpu::Handler;

/// All ones where `holds`.
#[inline(always)]
fn mask<L: Lane>(holds: bool) -> L {
    L::cut(if holds { u64::MAX } else { 0 })
}

fn signed_saturate<L: Lane>(value: i32, low: i32, high: i32) -> L {
    L::cut(value.clamp(low, high) as u64)
}

/// PMADDWD: pairs of signed products, added.
#[inline(always)]
fn multiply_add(a: Bytes, b: Bytes) -> Bytes {
    build(|n| {
        let product = |k| i32::from(get::<i16>(a, k)) * i32::from(get::<i16>(b, k));
        product(2 * n).wrapping_add(product(2 * n + 1))
    })
}

/// PMADDUBSW: pairs of unsigned by signed products, added with saturation.
#[inline(always)]
fn multiply_add_bytes(a: Bytes, b: Bytes) -> Bytes {
    build(|n| {
        let product = |k| i32::from(get::<u8>(a, k)) * i32::from(get::<i8>(b, k));
        signed_saturate::<i16>(product(2 * n) + product(2 * n + 1), -0x8000, 0x7fff)
    })
}

/// PSADBW: the sum of absolute differences in each half.
#[inline(always)]
fn sum_of_differences(a: Bytes, b: Bytes) -> Bytes {
    build(|half| {
        let difference = |k| u64::from(get::<u8>(a, k).abs_diff(get::<u8>(b, k)));
        (8 * half..8 * half + 8).map(difference).sum::<u64>()
    })
}

#[inline(always)]
fn saturating_i16(x: i16, y: i16, subtract: bool) -> i16 {
    if subtract {
        x.saturating_sub(y)
    } else {
        x.saturating_add(y)
    }
}

#[inline(always)]
fn rounded_high(x: i16, y: i16) -> i16 {
    ((i32::from(x) * i32::from(y) + 0x4000) >> 15) as i16
}

/// PHMINPOSUW: the smallest word and where it stands.
fn minimum_position(b: Bytes) -> Bytes {
    let words = (0..8).map(|n| (get::<u16>(b, n), n));
    let (value, at) = words.min().unwrap_or_default();
    low(u32::from(value) | (at as u32) << 16)
}

macro_rules! sign {
    ($lane:ty) => {
        |x: $lane, y: $lane| match y.signum() {
            0 => 0,
            1 => x,
            _ => x.wrapping_neg(),
        }
    };
}

operations! {
    Paddb(a, b, n) = map2(a, b, u8::wrapping_add);
    Paddw(a, b, n) = map2(a, b, u16::wrapping_add);
    Paddd(a, b, n) = map2(a, b, u32::wrapping_add);
    Paddq(a, b, n) = map2(a, b, u64::wrapping_add);
    Psubb(a, b, n) = map2(a, b, u8::wrapping_sub);
    Psubw(a, b, n) = map2(a, b, u16::wrapping_sub);
    Psubd(a, b, n) = map2(a, b, u32::wrapping_sub);
    Psubq(a, b, n) = map2(a, b, u64::wrapping_sub);
    Paddsb(a, b, n) = map2(a, b, i8::saturating_add);
    Paddsw(a, b, n) = map2(a, b, i16::saturating_add);
    Paddusb(a, b, n) = map2(a, b, u8::saturating_add);
    Paddusw(a, b, n) = map2(a, b, u16::saturating_add);
    Psubsb(a, b, n) = map2(a, b, i8::saturating_sub);
    Psubsw(a, b, n) = map2(a, b, i16::saturating_sub);
    Psubusb(a, b, n) = map2(a, b, u8::saturating_sub);
    Psubusw(a, b, n) = map2(a, b, u16::saturating_sub);
    Pmullw(a, b, n) = map2(a, b, u16::wrapping_mul);
    Pmulld(a, b, n) = map2(a, b, u32::wrapping_mul);
    Pmulhw(a, b, n) = map2(a, b, |x: i16, y: i16| ((i32::from(x) * i32::from(y)) >> 16) as i16);
    Pmulhuw(a, b, n) = map2(a, b, |x: u16, y: u16| ((u32::from(x) * u32::from(y)) >> 16) as u16);
    Pmulhrsw(a, b, n) = map2(a, b, rounded_high);
    Pmuludq(a, b, n) = map2(a, b, |x: u64, y: u64| (x & 0xffff_ffff) * (y & 0xffff_ffff));
    Pmuldq(a, b, n) = map2(a, b, |x: u64, y: u64| {
        i64::from(x as i32).wrapping_mul(i64::from(y as i32))
    });
    Pmaddwd(a, b, n) = multiply_add(a, b);
    Pmaddubsw(a, b, n) = multiply_add_bytes(a, b);
    Psadbw(a, b, n) = sum_of_differences(a, b);
    Pavgb(a, b, n) = map2(a, b, |x: u8, y: u8| ((u16::from(x) + u16::from(y) + 1) >> 1) as u8);
    Pavgw(a, b, n) = map2(a, b, |x: u16, y: u16| ((u32::from(x) + u32::from(y) + 1) >> 1) as u16);
    Pminub(a, b, n) = map2(a, b, <u8 as Ord>::min);
    Pminsb(a, b, n) = map2(a, b, <i8 as Ord>::min);
    Pminuw(a, b, n) = map2(a, b, <u16 as Ord>::min);
    Pminsw(a, b, n) = map2(a, b, <i16 as Ord>::min);
    Pminud(a, b, n) = map2(a, b, <u32 as Ord>::min);
    Pminsd(a, b, n) = map2(a, b, <i32 as Ord>::min);
    Pmaxub(a, b, n) = map2(a, b, <u8 as Ord>::max);
    Pmaxsb(a, b, n) = map2(a, b, <i8 as Ord>::max);
    Pmaxuw(a, b, n) = map2(a, b, <u16 as Ord>::max);
    Pmaxsw(a, b, n) = map2(a, b, <i16 as Ord>::max);
    Pmaxud(a, b, n) = map2(a, b, <u32 as Ord>::max);
    Pmaxsd(a, b, n) = map2(a, b, <i32 as Ord>::max);
    Pcmpeqb(a, b, n) = map2(a, b, |x: u8, y: u8| mask::<u8>(x == y));
    Pcmpeqw(a, b, n) = map2(a, b, |x: u16, y: u16| mask::<u16>(x == y));
    Pcmpeqd(a, b, n) = map2(a, b, |x: u32, y: u32| mask::<u32>(x == y));
    Pcmpeqq(a, b, n) = map2(a, b, |x: u64, y: u64| mask::<u64>(x == y));
    Pcmpgtb(a, b, n) = map2(a, b, |x: i8, y: i8| mask::<u8>(x > y));
    Pcmpgtw(a, b, n) = map2(a, b, |x: i16, y: i16| mask::<u16>(x > y));
    Pcmpgtd(a, b, n) = map2(a, b, |x: i32, y: i32| mask::<u32>(x > y));
    Pcmpgtq(a, b, n) = map2(a, b, |x: i64, y: i64| mask::<u64>(x > y));
    And(a, b, n) = map2(a, b, |x: u64, y: u64| x & y);
    AndNot(a, b, n) = map2(a, b, |x: u64, y: u64| !x & y);
    Or(a, b, n) = map2(a, b, |x: u64, y: u64| x | y);
    Xor(a, b, n) = map2(a, b, |x: u64, y: u64| x ^ y);
    Pabsb(a, b, n) = map(b, |x: i8| x.unsigned_abs());
    Pabsw(a, b, n) = map(b, |x: i16| x.unsigned_abs());
    Pabsd(a, b, n) = map(b, |x: i32| x.unsigned_abs());
    Psignb(a, b, n) = map2(a, b, sign!(i8));
    Psignw(a, b, n) = map2(a, b, sign!(i16));
    Psignd(a, b, n) = map2(a, b, sign!(i32));
    Phaddw(a, b, n) = horizontal(a, b, n, u16::wrapping_add);
    Phaddd(a, b, n) = horizontal(a, b, n, u32::wrapping_add);
    Phaddsw(a, b, n) = horizontal(a, b, n, |x, y| saturating_i16(x, y, false));
    Phsubw(a, b, n) = horizontal(a, b, n, u16::wrapping_sub);
    Phsubd(a, b, n) = horizontal(a, b, n, u32::wrapping_sub);
    Phsubsw(a, b, n) = horizontal(a, b, n, |x, y| saturating_i16(x, y, true));
    Phminposuw(a, b, n) = minimum_position(b);
}

/// The handlers of this file.
pub(super) fn handler(instruction: &Instruction) -> Option<Handler> {
    macro_rules! table {
        ($($mnemonic:ident $(| $more:ident)* => $operation:ty,)*) => {
            match instruction.mnemonic() {
                $(
                    Mnemonic::$mnemonic $(| Mnemonic::$more)* => {
                        binary::<$operation>(instruction)
                    }
                )*
                _ => None,
            }
        };
    }
    table! {
        Paddb | Vpaddb => Paddb, Paddw | Vpaddw => Paddw, Paddd | Vpaddd => Paddd, Paddq | Vpaddq => Paddq,
        Psubb | Vpsubb => Psubb, Psubw | Vpsubw => Psubw, Psubd | Vpsubd => Psubd, Psubq | Vpsubq => Psubq,
        Paddsb | Vpaddsb => Paddsb, Paddsw | Vpaddsw => Paddsw, Paddusb | Vpaddusb => Paddusb, Paddusw | Vpaddusw => Paddusw,
        Psubsb | Vpsubsb => Psubsb, Psubsw | Vpsubsw => Psubsw, Psubusb | Vpsubusb => Psubusb, Psubusw | Vpsubusw => Psubusw,
        Pmullw | Vpmullw => Pmullw, Pmulld | Vpmulld => Pmulld, Pmulhw | Vpmulhw => Pmulhw, Pmulhuw | Vpmulhuw => Pmulhuw,
        Pmulhrsw | Vpmulhrsw => Pmulhrsw, Pmuludq | Vpmuludq => Pmuludq, Pmuldq | Vpmuldq => Pmuldq, Pmaddwd | Vpmaddwd => Pmaddwd,
        Pmaddubsw | Vpmaddubsw => Pmaddubsw, Psadbw | Vpsadbw => Psadbw, Pavgb | Vpavgb => Pavgb, Pavgw | Vpavgw => Pavgw,
        Pminub | Vpminub => Pminub, Pminsb | Vpminsb => Pminsb, Pminuw | Vpminuw => Pminuw, Pminsw | Vpminsw => Pminsw,
        Pminud | Vpminud => Pminud, Pminsd | Vpminsd => Pminsd, Pmaxub | Vpmaxub => Pmaxub, Pmaxsb | Vpmaxsb => Pmaxsb,
        Pmaxuw | Vpmaxuw => Pmaxuw, Pmaxsw | Vpmaxsw => Pmaxsw, Pmaxud | Vpmaxud => Pmaxud, Pmaxsd | Vpmaxsd => Pmaxsd,
        Pcmpeqb | Vpcmpeqb => Pcmpeqb, Pcmpeqw | Vpcmpeqw => Pcmpeqw, Pcmpeqd | Vpcmpeqd => Pcmpeqd, Pcmpeqq | Vpcmpeqq => Pcmpeqq,
        Pcmpgtb | Vpcmpgtb => Pcmpgtb, Pcmpgtw | Vpcmpgtw => Pcmpgtw, Pcmpgtd | Vpcmpgtd => Pcmpgtd, Pcmpgtq | Vpcmpgtq => Pcmpgtq,
        Pand | Andps | Andpd | Vpand | Vandps | Vandpd => And, Pandn | Andnps | Andnpd | Vpandn | Vandnps | Vandnpd => AndNot,
        Por | Orps | Orpd | Vpor | Vorps | Vorpd => Or, Pxor | Xorps | Xorpd | Vpxor | Vxorps | Vxorpd => Xor,
        Pabsb | Vpabsb => Pabsb, Pabsw | Vpabsw => Pabsw, Pabsd | Vpabsd => Pabsd,
        Psignb | Vpsignb => Psignb, Psignw | Vpsignw => Psignw, Psignd | Vpsignd => Psignd,
        Phaddw | Vphaddw => Phaddw, Phaddd | Vphaddd => Phaddd, Phaddsw | Vphaddsw => Phaddsw,
        Phsubw | Vphsubw => Phsubw, Phsubd | Vphsubd => Phsubd, Phsubsw | Vphsubsw => Phsubsw,
        Phminposuw | Vphminposuw => Phminposuw,
    }
}
