//! LUKS1: the header with its key slots, unlocking it, and making a new one.
//!
//! All that the header says is checked before a key is derived: ciphers and hashes that are known,
//! key material inside the area that the image set aside, and no more iterations than a machine
//! does in half a minute. LUKS1 On-Disk Format Specification 1.2.3; format description, "Full disk
//! encryption header pointer".

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::super::super::fields::{buffer_len, put, u16_at, u32_at, zeroed};
use super::super::super::{ErrorKind, Escaped, ImageError, Result, SECTOR, Secret};
use super::super::address::HostOffset;
use super::super::header::Header;
use super::derive::Hash;
use super::sector::{CipherSpec, IvKind, KeyLength, Mode, SectorCipher};
use super::split;
use crate::storage::Storage;

const MAGIC: &[u8; 6] = b"LUKS\xba\xbe";
/// Bytes of the header on disk.
const HEADER: usize = 592;
/// Where the key slots start in it, and how long each is.
const AT_SLOTS: usize = 208;
const SLOT: usize = 48;
const SLOTS: usize = 8;
const ACTIVE: u32 = 0x00ac_71f3;
const INACTIVE: u32 = 0x0000_dead;
const STRIPES: u32 = 4000;
const DIGEST: usize = 20;
const SALT: usize = 32;
/// Key material starts at a multiple of this many sectors.
const ALIGNMENT: u64 = 4096 / SECTOR;
/// More iterations than this are refused.
const MAX_ITERATIONS: u32 = 50_000_000;
const MIN_ITERATIONS: u64 = 1000;
/// The largest area that is looked at: eight slots of the longest key take 2 MiB.
const MAX_AREA: u64 = 64 << 20;

/// How the data of a new image is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LuksOptions {
    /// `encrypt.key-secret`
    pub secret: Secret,
    /// `encrypt.cipher-alg`, `encrypt.cipher-mode`, `encrypt.ivgen-alg`, `encrypt.ivgen-hash-alg`
    pub cipher: CipherSpec,
    /// `encrypt.hash-alg`
    pub hash: Hash,
    /// `encrypt.iter-time`: how long deriving the key from the password takes.
    pub iteration_time: Duration,
}

impl LuksOptions {
    /// QEMU's choices for an image with this password.
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            cipher: CipherSpec {
                key: KeyLength::Aes256,
                mode: Mode::Xts,
                iv: IvKind::Plain64,
            },
            hash: Hash::Sha256,
            iteration_time: Duration::from_secs(2),
        }
    }

    /// Sets one of QEMU's options `encrypt.…` except the format and the password: `cipher-alg`,
    /// `cipher-mode`, `ivgen-alg`, `ivgen-hash-alg`, `hash-alg`, `iter-time` (milliseconds).
    pub fn set(&mut self, option: &str, value: &str) -> Result<()> {
        let cipher = &mut self.cipher;
        let known = match option {
            "cipher-alg" => value.parse().map(|key| cipher.key = key).is_ok(),
            "cipher-mode" => value.parse().map(|mode| cipher.mode = mode).is_ok(),
            "ivgen-alg" if value == "essiv" => {
                cipher.iv = IvKind::EssivSha256;
                true
            }
            "ivgen-alg" => value.parse().map(|iv| cipher.iv = iv).is_ok(),
            // The only one with a digest that is a key of AES.
            "ivgen-hash-alg" => value == "sha256",
            "hash-alg" => value.parse().map(|hash| self.hash = hash).is_ok(),
            "iter-time" => {
                let time = value.parse().map(Duration::from_millis);
                time.map(|time| self.iteration_time = time).is_ok()
            }
            _ => false,
        };
        if known {
            return Ok(());
        }
        Err(ImageError::new(
            ErrorKind::Invalid,
            format!(
                "option encrypt.{}={} is not known or not supported",
                option.escape_debug(),
                value.escape_debug()
            ),
        ))
    }
}

/// The master key of an unlocked header.
pub(in super::super) struct MasterKey {
    spec: CipherSpec,
    key: Zeroizing<Vec<u8>>,
}

impl MasterKey {
    /// The cipher of the guest's data.
    pub(in super::super) fn cipher(&self) -> SectorCipher {
        SectorCipher::new(&self.spec, &self.key)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

/// A LUKS header.
#[derive(Debug, Clone)]
pub(in super::super) struct Luks {
    /// Where it stands in the image file.
    area: HostOffset,
    spec: CipherSpec,
    hash: Hash,
    digest: [u8; DIGEST],
    salt: [u8; SALT],
    iterations: u32,
    slots: [Option<KeySlot>; SLOTS],
}

/// A key slot that holds the master key.
#[derive(Debug, Clone, Copy)]
struct KeySlot {
    iterations: u32,
    salt: [u8; SALT],
    /// The sector of the area where its key material starts.
    sector: u32,
}

impl Luks {
    /// Reads and checks the header of the image in `storage`.
    pub(in super::super) fn read(storage: &dyn Storage, header: &Header) -> Result<Self> {
        let Some((area, len)) = header.extensions.luks_header() else {
            return Err(ImageError::corrupt(
                "the image is encrypted with LUKS, but does not say where its LUKS header lies",
            ));
        };
        if !area.is_aligned(&header.geometry) || len < HEADER as u64 || len > MAX_AREA {
            return Err(ImageError::corrupt(format!(
                "a LUKS header of {len} bytes cannot lie there"
            ))
            .at(area.0));
        }
        let mut bytes = [0; HEADER];
        read(storage, &mut bytes, area)?;
        Self::parse(&bytes, area, len).map_err(|e| e.at(area.0))
    }

    fn parse(bytes: &[u8; HEADER], area: HostOffset, len: u64) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(ImageError::corrupt("the LUKS header has no LUKS magic"));
        }
        if u16_at(bytes, 6) != Some(1) {
            return Err(unsupported("only version 1 of LUKS is known".to_owned()));
        }
        let [cipher, mode, hash] = [8, 40, 72].map(|at| text(bytes, at));
        let key_bytes = u32_at(bytes, 108).unwrap_or(0);
        let spec = std::str::from_utf8(mode).ok().filter(|_| cipher == b"aes");
        let spec = spec.and_then(|mode| CipherSpec::from_luks(mode, buffer_len(key_bytes.into())));
        let Some(spec) = spec else {
            return Err(unsupported(format!(
                "the LUKS cipher {}-{} with a key of {key_bytes} bytes is not known",
                Escaped(cipher),
                Escaped(mode)
            )));
        };
        let Some(known) = std::str::from_utf8(hash).ok().and_then(|h| h.parse().ok()) else {
            return Err(unsupported(format!(
                "the LUKS hash {} is not known",
                Escaped(hash)
            )));
        };
        let mut luks = Self {
            area,
            spec,
            hash: known,
            digest: array(bytes, 112),
            salt: array(bytes, 132),
            iterations: iterations(u32_at(bytes, 164), "the master key")?,
            slots: [None; SLOTS],
        };
        for (index, slot) in luks.slots.iter_mut().enumerate() {
            *slot = parse_slot(bytes, index)?;
        }
        luks.check_material(len)?;
        Ok(luks)
    }

    /// Fails if key material lies outside the area, on the header, or on other key material.
    fn check_material(&self, len: u64) -> Result<()> {
        let mut used: Vec<(u64, u64)> = vec![(0, (HEADER as u64).div_ceil(SECTOR))];
        for slot in self.slots.iter().flatten() {
            let start = u64::from(slot.sector);
            used.push((start, start + material_sectors(&self.spec)));
        }
        used.sort_unstable();
        let apart = used.windows(2).all(|pair| match pair {
            [(_, end), (start, _)] => end <= start,
            _ => true,
        });
        let end = used.last().map_or(0, |&(_, end)| end);
        if apart && end * SECTOR <= len.next_multiple_of(SECTOR) {
            return Ok(());
        }
        Err(ImageError::corrupt(
            "the key slots of the LUKS header overlap or reach past its end",
        ))
    }

    /// The master key, by way of the first key slot that the password opens.
    pub(in super::super) fn unlock(
        &self,
        storage: &dyn Storage,
        secret: &Secret,
    ) -> Result<MasterKey> {
        for slot in self.slots.iter().flatten() {
            let mut material = Zeroizing::new(zeroed(material_bytes(&self.spec)));
            let at = self.area.plus(u64::from(slot.sector) * SECTOR);
            read(storage, &mut material, at)?;
            self.slot_cipher(slot, secret).decrypt(&mut material, 0);
            let key = split::merge(&material, self.spec.key_bytes(), self.hash);
            if same(&self.digest_of(&key), &self.digest) {
                return Ok(MasterKey {
                    spec: self.spec,
                    key,
                });
            }
        }
        Err(ImageError::new(
            ErrorKind::Password,
            "the password is wrong: it opens none of the key slots",
        ))
    }

    fn slot_cipher(&self, slot: &KeySlot, secret: &Secret) -> SectorCipher {
        let len = self.spec.key_bytes();
        let key = self
            .hash
            .derive(secret.bytes(), &slot.salt, slot.iterations, len);
        SectorCipher::new(&self.spec, &key)
    }

    fn digest_of(&self, key: &[u8]) -> Zeroizing<Vec<u8>> {
        self.hash.derive(key, &self.salt, self.iterations, DIGEST)
    }

    /// Bytes of the area that an image made with `cipher` sets aside.
    pub(in super::super) fn area_len(cipher: &CipherSpec) -> u64 {
        (ALIGNMENT + SLOTS as u64 * slot_sectors(cipher)) * SECTOR
    }

    /// The area of a new image, `at` its place in the file: the header, and a random master key in
    /// the first key slot.
    pub(in super::super) fn format(at: HostOffset, options: &LuksOptions) -> Result<Vec<u8>> {
        let spec = options.cipher;
        let mut key = Zeroizing::new(vec![0; spec.key_bytes()]);
        random(&mut key)?;
        let counted = options
            .hash
            .iterations_in(options.iteration_time, spec.key_bytes());
        let (mut salt, mut slot_salt) = ([0; SALT], [0; SALT]);
        random(&mut salt)?;
        random(&mut slot_salt)?;
        let slot = KeySlot {
            iterations: bounded(counted),
            salt: slot_salt,
            sector: slot_start(&spec, 0),
        };
        let mut luks = Self {
            area: at,
            spec,
            hash: options.hash,
            digest: [0; DIGEST],
            salt,
            iterations: bounded(counted / 8),
            slots: [None; SLOTS],
        };
        let digest = luks.digest_of(&key);
        luks.digest = array(&digest, 0);
        if let Some(first) = luks.slots.first_mut() {
            *first = Some(slot);
        }
        let mut material = Zeroizing::new(zeroed(material_bytes(&spec)));
        random(&mut material)?;
        split::split(&key, &mut material, luks.hash);
        luks.slot_cipher(&slot, &options.secret)
            .encrypt(&mut material, 0);
        let mut area = luks.encode()?;
        area.resize(buffer_len(Self::area_len(&spec)), 0);
        let start = u64::from(slot.sector) * SECTOR;
        put(&mut area, buffer_len(start), &material);
        Ok(area)
    }

    /// The header on disk.
    fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; HEADER];
        let payload = Self::area_len(&self.spec) / SECTOR;
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 6, &1u16.to_be_bytes());
        put(&mut bytes, 8, b"aes");
        put(&mut bytes, 40, self.spec.luks_mode().as_bytes());
        put(&mut bytes, 72, self.hash.to_string().as_bytes());
        put(&mut bytes, 104, &number(payload));
        put(&mut bytes, 108, &number(self.spec.key_bytes() as u64));
        put(&mut bytes, 112, &self.digest);
        put(&mut bytes, 132, &self.salt);
        put(&mut bytes, 164, &self.iterations.to_be_bytes());
        put(&mut bytes, 168, uuid()?.as_bytes());
        for (slot, index) in self.slots.iter().zip(0..) {
            let at = AT_SLOTS + index * SLOT;
            let state = if slot.is_some() { ACTIVE } else { INACTIVE };
            let empty = KeySlot {
                iterations: 0,
                salt: [0; SALT],
                sector: slot_start(&self.spec, index as u64),
            };
            let slot = slot.unwrap_or(empty);
            put(&mut bytes, at, &state.to_be_bytes());
            put(&mut bytes, at + 4, &slot.iterations.to_be_bytes());
            put(&mut bytes, at + 8, &slot.salt);
            put(&mut bytes, at + 40, &slot.sector.to_be_bytes());
            put(&mut bytes, at + 44, &STRIPES.to_be_bytes());
        }
        Ok(bytes)
    }
}

fn parse_slot(bytes: &[u8; HEADER], index: usize) -> Result<Option<KeySlot>> {
    let at = AT_SLOTS + index * SLOT;
    let word = |field| u32_at(bytes, at + field);
    match word(0) {
        Some(INACTIVE) => return Ok(None),
        Some(ACTIVE) => {}
        _ => {
            return Err(ImageError::corrupt(format!(
                "LUKS key slot {index} is neither active nor inactive"
            )));
        }
    }
    if word(44) != Some(STRIPES) {
        return Err(unsupported(format!(
            "LUKS key slot {index} does not have {STRIPES} stripes"
        )));
    }
    Ok(Some(KeySlot {
        iterations: iterations(word(4), &format!("key slot {index}"))?,
        salt: array(bytes, at + 8),
        sector: word(40).unwrap_or(0),
    }))
}

fn iterations(count: Option<u32>, of: &str) -> Result<u32> {
    match count {
        Some(count) if (1..=MAX_ITERATIONS).contains(&count) => Ok(count),
        count => Err(ImageError::new(
            ErrorKind::Refused,
            format!(
                "{of} of the LUKS header wants {} iterations; from 1 to {MAX_ITERATIONS} are \
                 accepted",
                count.unwrap_or(0)
            ),
        )),
    }
}

fn bounded(iterations: u64) -> u32 {
    let iterations = iterations.clamp(MIN_ITERATIONS, u64::from(MAX_ITERATIONS));
    u32::try_from(iterations).unwrap_or(MAX_ITERATIONS)
}

fn material_bytes(spec: &CipherSpec) -> u64 {
    spec.key_bytes() as u64 * u64::from(STRIPES)
}

fn material_sectors(spec: &CipherSpec) -> u64 {
    material_bytes(spec).div_ceil(SECTOR)
}

fn slot_sectors(spec: &CipherSpec) -> u64 {
    material_sectors(spec).next_multiple_of(ALIGNMENT)
}

fn slot_start(spec: &CipherSpec, index: u64) -> u32 {
    u32::try_from(ALIGNMENT + index * slot_sectors(spec)).unwrap_or(u32::MAX)
}

/// A name of at most 32 bytes, up to its first NUL.
fn text(bytes: &[u8], at: usize) -> &[u8] {
    let field = bytes.get(at..at + 32).unwrap_or(&[]);
    field.split(|&byte| byte == 0).next().unwrap_or(&[])
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let field = bytes
        .get(at..at + N)
        .and_then(|field| field.try_into().ok());
    field.unwrap_or([0; N])
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

fn read(storage: &dyn Storage, buf: &mut [u8], at: HostOffset) -> Result<()> {
    let done = storage.read_at(buf, at.0);
    done.map_err(|e| ImageError::io("read the LUKS header", e).at(at.0))
}

fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|e| ImageError::io("get random bytes for a key", e.into()))
}

/// A random UUID (version 4) as text.
fn uuid() -> Result<String> {
    let mut bytes = [0; 16];
    random(&mut bytes)?;
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let mut text = String::new();
    for (byte, index) in bytes.iter().zip(0..) {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    Ok(text)
}

fn unsupported(detail: String) -> ImageError {
    ImageError::new(ErrorKind::Unsupported, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    fn options() -> LuksOptions {
        LuksOptions {
            iteration_time: Duration::from_millis(1),
            ..LuksOptions::new(Secret::new("geheim"))
        }
    }

    fn parse(area: &[u8]) -> Result<Luks> {
        let header = area[..HEADER].try_into().unwrap();
        Luks::parse(header, HostOffset(0), area.len() as u64)
    }

    #[test]
    fn the_right_password_opens_a_new_header_and_a_wrong_one_does_not() {
        let area = Luks::format(HostOffset(0), &options()).unwrap();
        let luks = parse(&area).unwrap();
        let storage = MemoryStorage::new(area);
        luks.unlock(&storage, &Secret::new("geheim")).unwrap();
        let wrong = luks.unlock(&storage, &Secret::new("Geheim")).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Password);
    }

    #[test]
    fn a_header_that_claims_too_much_is_refused_before_a_key_is_derived() {
        let area = Luks::format(HostOffset(0), &options()).unwrap();
        let huge = (MAX_ITERATIONS + 1).to_be_bytes();
        let cases: [(usize, &[u8], &str); 9] = [
            (0, b"X", "magic"),
            (7, &[2], "version 1"),
            (8, b"serpent", "serpent-xts-plain64"),
            (40, b"xts-plain65", "xts-plain65"),
            (72, b"md5\0", "hash md5"),
            (164, &huge, "50000001 iterations"),
            (AT_SLOTS + 4, &huge, "50000001 iterations"),
            (AT_SLOTS + 40, &[0x7f; 4], "reach past its end"),
            (AT_SLOTS + 44, &[0x7f; 4], "stripes"),
        ];
        for (at, field, expected) in cases {
            let mut bytes = area.clone();
            bytes[at..at + field.len()].copy_from_slice(field);
            let error = parse(&bytes).unwrap_err().to_string();
            assert!(
                error.contains(expected),
                "{error:?} does not say {expected:?}"
            );
        }
        let mut twice = area.clone();
        let first = twice[AT_SLOTS..AT_SLOTS + SLOT].to_vec();
        twice[AT_SLOTS + SLOT..AT_SLOTS + 2 * SLOT].copy_from_slice(&first);
        assert!(parse(&twice).unwrap_err().to_string().contains("overlap"));
    }
}
