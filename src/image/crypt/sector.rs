//! Sector ciphers: AES in XTS or CBC mode, with an initialisation vector from the sector's number.
//!
//! The modes stand here and not in a crate because many sectors go through the block cipher at
//! once, which keeps the processor's AES units busy. IEEE 1619 (XTS), NIST SP 800-38A (CBC); the
//! vectors are those of dm-crypt: plain, plain64 and essiv.

use std::fmt;
use std::str::FromStr;

use aes::cipher::consts::U16;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::inout::InOutBuf;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::super::fields::buffer_len;
use super::super::{SECTOR, Secret};

const BLOCK: usize = 16;
/// Blocks in a sector.
const BLOCKS: usize = 32;
/// Sectors that go through the block cipher at once; what belongs to them fits the L1 cache.
const BATCH: usize = 16;

type Block = GenericArray<u8, U16>;

/// Key lengths of AES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLength {
    /// 128 bits.
    Aes128,
    /// 192 bits.
    Aes192,
    /// 256 bits.
    Aes256,
}

impl KeyLength {
    const ALL: [Self; 3] = [Self::Aes128, Self::Aes192, Self::Aes256];

    fn bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

/// Modes of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// XEX with ciphertext stealing, of which whole sectors need none.
    Xts,
    /// Cipher block chaining.
    Cbc,
}

/// How the number of a sector becomes an initialisation vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IvKind {
    /// Its low 32 bits, little endian.
    Plain,
    /// All of it.
    Plain64,
    /// Encrypted with AES-256 under the SHA-256 of the key.
    EssivSha256,
}

/// Everything about a sector cipher but its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CipherSpec {
    /// Length of an AES key.
    pub key: KeyLength,
    /// Mode of operation.
    pub mode: Mode,
    /// Initialisation vectors.
    pub iv: IvKind,
}

impl CipherSpec {
    /// Bytes of key that the cipher takes: XTS has two keys.
    pub fn key_bytes(&self) -> usize {
        match self.mode {
            Mode::Xts => 2 * self.key.bytes(),
            Mode::Cbc => self.key.bytes(),
        }
    }

    /// The spec of a LUKS cipher mode such as `xts-plain64` with a key of `key_bytes`.
    pub(super) fn from_luks(mode: &str, key_bytes: usize) -> Option<Self> {
        let (mode, iv) = mode.split_once('-')?;
        let (mode, iv) = (mode.parse().ok()?, iv.parse().ok()?);
        let all = KeyLength::ALL.map(|key| Self { key, mode, iv });
        all.into_iter().find(|spec| spec.key_bytes() == key_bytes)
    }

    /// The algorithm in QEMU's words.
    pub fn algorithm(&self) -> &'static str {
        match self.key {
            KeyLength::Aes128 => "aes-128",
            KeyLength::Aes192 => "aes-192",
            KeyLength::Aes256 => "aes-256",
        }
    }

    /// The mode in the words of a LUKS header.
    pub(super) fn luks_mode(&self) -> String {
        format!("{}-{}", self.mode, self.iv)
    }
}

impl FromStr for KeyLength {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "aes-128" => Ok(Self::Aes128),
            "aes-192" => Ok(Self::Aes192),
            "aes-256" => Ok(Self::Aes256),
            _ => Err(()),
        }
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "xts" => Ok(Self::Xts),
            "cbc" => Ok(Self::Cbc),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xts => "xts",
            Self::Cbc => "cbc",
        })
    }
}

impl FromStr for IvKind {
    type Err = ();

    /// A hash behind the plain kinds means nothing.
    fn from_str(name: &str) -> Result<Self, ()> {
        let (kind, hash) = name.split_once(':').unwrap_or((name, ""));
        match kind {
            "plain" => Ok(Self::Plain),
            "plain64" => Ok(Self::Plain64),
            "essiv" if hash == "sha256" => Ok(Self::EssivSha256),
            _ => Err(()),
        }
    }
}

impl fmt::Display for IvKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Plain64 => "plain64",
            Self::EssivSha256 => "essiv:sha256",
        })
    }
}

/// A block cipher with its key.
trait Blocks: Send + Sync {
    fn encrypt(&self, blocks: &mut [Block]);
    fn decrypt(&self, blocks: &mut [Block]);
}

impl<C> Blocks for C
where
    C: BlockEncrypt<BlockSize = U16> + BlockDecrypt<BlockSize = U16> + Send + Sync,
{
    fn encrypt(&self, blocks: &mut [Block]) {
        self.encrypt_blocks(blocks);
    }

    fn decrypt(&self, blocks: &mut [Block]) {
        self.decrypt_blocks(blocks);
    }
}

fn aes(key: &[u8]) -> Box<dyn Blocks> {
    match key.len() {
        16 => Box::new(Aes128::new(GenericArray::from_slice(key))),
        24 => Box::new(Aes192::new(GenericArray::from_slice(key))),
        32 => Box::new(Aes256::new(GenericArray::from_slice(key))),
        other => unreachable!("a CipherSpec has no AES key of {other} bytes"),
    }
}

/// A cipher for sectors, with its key.
pub struct SectorCipher {
    data: Box<dyn Blocks>,
    /// The second key of XTS; CBC has none.
    tweak: Option<Box<dyn Blocks>>,
    iv: Iv,
}

enum Iv {
    Plain,
    Plain64,
    Essiv(Box<dyn Blocks>),
}

impl SectorCipher {
    /// The cipher that `spec` describes, with a key of as many bytes as it takes.
    pub fn new(spec: &CipherSpec, key: &[u8]) -> Self {
        let (data, tweak) = key.split_at(spec.key.bytes());
        Self {
            data: aes(data),
            tweak: (spec.mode == Mode::Xts).then(|| aes(tweak)),
            iv: match spec.iv {
                IvKind::Plain => Iv::Plain,
                IvKind::Plain64 => Iv::Plain64,
                IvKind::EssivSha256 => {
                    let salt = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(key)));
                    Iv::Essiv(aes(&*salt))
                }
            },
        }
    }

    /// The cipher of the legacy method: the password, cut or padded with zeros, is the key.
    pub fn legacy(password: &Secret) -> Self {
        let mut key = Zeroizing::new([0; BLOCK]);
        let given = password.bytes().iter();
        key.iter_mut()
            .zip(given)
            .for_each(|(byte, &given)| *byte = given);
        let spec = CipherSpec {
            key: KeyLength::Aes128,
            mode: Mode::Cbc,
            iv: IvKind::Plain64,
        };
        Self::new(&spec, &*key)
    }

    /// Decrypts sectors, of which the first has number `first`; the last may be cut short at a
    /// cipher block.
    pub fn decrypt(&self, sectors: &mut [u8], first: u64) {
        for_each_batch(sectors, first, |blocks, number| {
            let vectors = self.vectors(number);
            let Some(tweak) = &self.tweak else {
                return self.decrypt_chained(blocks, &vectors);
            };
            let tweaks = tweaks(&**tweak, vectors);
            mask(blocks, &tweaks);
            self.data.decrypt(blocks);
            mask(blocks, &tweaks);
        });
    }

    /// Encrypts sectors, as [`Self::decrypt`] decrypts them.
    pub fn encrypt(&self, sectors: &mut [u8], first: u64) {
        for_each_batch(sectors, first, |blocks, number| {
            let vectors = self.vectors(number);
            let Some(tweak) = &self.tweak else {
                return self.encrypt_chained(blocks, vectors);
            };
            let tweaks = tweaks(&**tweak, vectors);
            mask(blocks, &tweaks);
            self.data.encrypt(blocks);
            mask(blocks, &tweaks);
        });
    }

    /// Within a sector each block needs the one before, so the sectors of a batch go side by side.
    fn encrypt_chained(&self, blocks: &mut [Block], mut chains: [Block; BATCH]) {
        for index in 0..BLOCKS {
            let mut count = 0;
            for (chain, sector) in chains.iter_mut().zip(blocks.chunks(BLOCKS)) {
                if let Some(block) = sector.get(index) {
                    *chain = xor(*chain, *block);
                    count += 1;
                }
            }
            let (chains, _) = chains.split_at_mut(count);
            self.data.encrypt(chains);
            for (chain, sector) in chains.iter().zip(blocks.chunks_mut(BLOCKS)) {
                if let Some(block) = sector.get_mut(index) {
                    *block = *chain;
                }
            }
        }
    }

    fn decrypt_chained(&self, blocks: &mut [Block], vectors: &[Block; BATCH]) {
        let mut before = [Block::default(); BATCH * BLOCKS];
        let (before, _) = before.split_at_mut(blocks.len());
        before.copy_from_slice(blocks);
        self.data.decrypt(blocks);
        let sectors = blocks.chunks_mut(BLOCKS).zip(before.chunks(BLOCKS));
        for ((sector, before), vector) in sectors.zip(vectors) {
            let chain = std::iter::once(vector).chain(before);
            for (block, before) in sector.iter_mut().zip(chain) {
                *block = xor(*block, *before);
            }
        }
    }

    /// The initialisation vectors of a batch that starts with sector `first`.
    fn vectors(&self, first: u64) -> [Block; BATCH] {
        let mut number = first;
        let mut vectors = [(); BATCH].map(|()| {
            let this = match self.iv {
                Iv::Plain => number & u64::from(u32::MAX),
                Iv::Plain64 | Iv::Essiv(_) => number,
            };
            number = number.wrapping_add(1);
            Block::from(u128::from(this).to_le_bytes())
        });
        if let Iv::Essiv(salt) = &self.iv {
            salt.encrypt(&mut vectors);
        }
        vectors
    }
}

impl fmt::Debug for SectorCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SectorCipher")
    }
}

/// Calls `work` with the cipher blocks of each batch of sectors, and the number of its first.
fn for_each_batch(sectors: &mut [u8], first: u64, work: impl Fn(&mut [Block], u64)) {
    let batches = sectors.chunks_mut(BATCH * buffer_len(SECTOR));
    for (batch, index) in batches.zip(0..) {
        let (mut blocks, _) = InOutBuf::from(batch).into_chunks::<U16>();
        work(blocks.get_out(), first.wrapping_add(index * BATCH as u64));
    }
}

/// The tweak of each block of each sector: the encrypted vector, doubled from block to block in
/// GF(2^128).
fn tweaks(tweak: &dyn Blocks, mut vectors: [Block; BATCH]) -> [[u128; BLOCKS]; BATCH] {
    tweak.encrypt(&mut vectors);
    vectors.map(|vector| {
        let mut value = u128::from_le_bytes(vector.into());
        [(); BLOCKS].map(|()| {
            let this = value;
            value = (this << 1) ^ ((this >> 127) * 0x87);
            this
        })
    })
}

fn mask(blocks: &mut [Block], tweaks: &[[u128; BLOCKS]; BATCH]) {
    for (sector, tweaks) in blocks.chunks_mut(BLOCKS).zip(tweaks) {
        for (block, tweak) in sector.iter_mut().zip(tweaks) {
            *block = xor(*block, Block::from(tweak.to_le_bytes()));
        }
    }
}

fn xor(a: Block, b: Block) -> Block {
    let [a, b] = [a, b].map(|block| u128::from_ne_bytes(block.into()));
    Block::from((a ^ b).to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let digits = digits.map(|pair| std::str::from_utf8(pair).unwrap());
        digits
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    const SPEC: CipherSpec = CipherSpec {
        key: KeyLength::Aes128,
        mode: Mode::Xts,
        iv: IvKind::Plain64,
    };

    /// IEEE 1619-2007, annex B, vector 2.
    #[test]
    fn xts_gives_the_vector_of_the_standard() {
        let key = unhex(&["11".repeat(16), "22".repeat(16)].concat());
        let cipher = SectorCipher::new(&SPEC, &key);
        let mut data = [0x44; 32];
        cipher.encrypt(&mut data, 0x33_3333_3333);
        let expected = "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0";
        assert_eq!(data[..], unhex(expected));
    }

    /// NIST SP 800-38A, F.2.1, with the vector that sector 0 has: the first block is then
    /// encrypted as it is (F.1.1).
    #[test]
    fn cbc_gives_the_vector_of_the_standard() {
        let mut key = unhex("2b7e151628aed2a6abf7158809cf4f3c");
        let spec = CipherSpec {
            mode: Mode::Cbc,
            ..SPEC
        };
        let cipher = SectorCipher::new(&spec, &key);
        let mut data = unhex("6bc1bee22e409f96e93d7e117393172a");
        cipher.encrypt(&mut data, 0);
        assert_eq!(data, unhex("3ad77bb40d7a3660a89ecaf32466ef97"));
        key.reverse();
        SectorCipher::new(&spec, &key).decrypt(&mut data, 0);
        assert_ne!(data, unhex("6bc1bee22e409f96e93d7e117393172a"));
    }

    #[test]
    fn sectors_survive_encryption_by_every_cipher() {
        let plain: Vec<u8> = (0..20_000u32).map(|i| i.to_le_bytes()[0]).collect();
        for key in KeyLength::ALL {
            for mode in [Mode::Xts, Mode::Cbc] {
                for iv in [IvKind::Plain, IvKind::Plain64, IvKind::EssivSha256] {
                    let spec = CipherSpec { key, mode, iv };
                    let bytes: Vec<u8> = (1..).take(spec.key_bytes()).collect();
                    let cipher = SectorCipher::new(&spec, &bytes);
                    let mut data = plain.clone();
                    cipher.encrypt(&mut data, u64::from(u32::MAX));
                    let mut one_by_one = plain.clone();
                    for (sector, number) in one_by_one.chunks_mut(512).zip(u64::from(u32::MAX)..) {
                        cipher.encrypt(sector, number);
                    }
                    assert_eq!(data, one_by_one);
                    assert_ne!(data[..512], plain[..512]);
                    assert_ne!(
                        data[..16],
                        data[512..528],
                        "sectors of the same text differ"
                    );
                    cipher.decrypt(&mut data, u64::from(u32::MAX));
                    assert_eq!(data, plain);
                }
            }
        }
    }
}
