//! LUKS1: the header with its key slots, unlocking it, and making a new one.
//!
//! ```text
//!   header (592 bytes) │ key material of slot 0 │ … │ of slot 7 │ payload (not of the area)
//! ```
//!
//! All that the header says is checked before a key is derived: ciphers and hashes that are known,
//! key material inside the area that the image set aside, and no more iterations than a machine
//! does in half a minute. LUKS1 On-Disk Format Specification 1.2.3.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::super::fields::{buffer_len, put, u16_at, u32_at, zeroed};
use super::super::{ErrorKind, Escaped, ImageError, Result, SECTOR, Secret};
use super::derive::Hash;
use super::options::LuksOptions;
use super::sector::{CipherSpec, SectorCipher};
use super::split;
use crate::storage::Storage;

const MAGIC: &[u8; 6] = b"LUKS\xba\xbe";
/// Bytes of the header on disk.
const HEADER: usize = 592;
/// Where the key slots start in it, and how long each is.
pub(super) const AT_SLOTS: u64 = 208;
pub(super) const SLOT: u64 = 48;
/// Key slots of a header.
pub const SLOTS: usize = 8;
pub(super) const ACTIVE: u32 = 0x00ac_71f3;
pub(super) const INACTIVE: u32 = 0x0000_dead;
/// Stripes over which the splitter spreads a key.
pub const STRIPES: u32 = 4000;
const DIGEST: usize = 20;
pub(super) const SALT: usize = 32;
const UUID: usize = 40;
/// Key material starts at a multiple of this many sectors.
const ALIGNMENT: u64 = 4096 / SECTOR;
/// More iterations than this are refused.
const MAX_ITERATIONS: u32 = 50_000_000;
const MIN_ITERATIONS: u64 = 1000;

/// Whether a file that starts with `bytes` has a LUKS1 header.
pub fn is_luks(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) && u16_at(bytes, 6) == Some(1)
}

/// Where the header and its key material stand in a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Where the header starts.
    pub start: u64,
    /// How long all of it is.
    pub len: u64,
}

/// The master key of an unlocked header.
pub struct MasterKey {
    pub(super) spec: CipherSpec,
    pub(super) key: Zeroizing<Vec<u8>>,
}

impl MasterKey {
    /// The cipher of the data.
    pub fn cipher(&self) -> SectorCipher {
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
pub struct Luks {
    area: Area,
    pub(super) spec: CipherSpec,
    pub(super) hash: Hash,
    digest: [u8; DIGEST],
    salt: [u8; SALT],
    iterations: u32,
    uuid: [u8; UUID],
    /// The sector of the area where the payload starts, where that is in the same file.
    payload: u32,
    pub(super) slots: [KeySlot; SLOTS],
}

/// A place for the master key under a password.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeySlot {
    /// What the master key is encrypted with there, if it is there.
    pub(super) key: Option<SlotKey>,
    /// The sector of the area where its key material starts.
    pub(super) sector: u32,
}

/// How the key of a slot follows from the password.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotKey {
    pub(super) iterations: u32,
    pub(super) salt: [u8; SALT],
}

impl KeySlot {
    /// How often the password is hashed; `None` if the slot has no key.
    pub fn iterations(&self) -> Option<u32> {
        self.key.map(|key| key.iterations)
    }

    /// Where its key material starts in the area, in bytes.
    pub fn offset(&self) -> u64 {
        u64::from(self.sector) * SECTOR
    }
}

impl Luks {
    /// Reads and checks the header in `area` of `storage`.
    pub fn read(storage: &dyn Storage, area: Area) -> Result<Self> {
        let mut bytes = [0; HEADER];
        read(storage, &mut bytes, area.start)?;
        Self::parse(&bytes, area).map_err(|e| e.at(area.start))
    }

    /// Reads and checks the header at the start of a file of `len` bytes, with the payload behind
    /// it.
    ///
    /// Errors: [`ErrorKind::Unsupported`] for a header whose payload lies in another file.
    pub fn read_with_payload(storage: &dyn Storage, len: u64) -> Result<Self> {
        let luks = Self::read(storage, Area { start: 0, len })?;
        if luks.payload == 0 {
            return Err(unsupported(
                "the LUKS header stands alone; images whose data lies in another file are not \
                 supported"
                    .to_owned(),
            ));
        }
        if luks.payload_offset() > len {
            return Err(ImageError::corrupt(
                "the data lies past the end of the file; the file is truncated",
            )
            .at(luks.payload_offset()));
        }
        let area = Area {
            start: 0,
            len: luks.payload_offset(),
        };
        luks.check_material(area)?;
        Ok(Self { area, ..luks })
    }

    fn parse(bytes: &[u8; HEADER], area: Area) -> Result<Self> {
        if area.len < HEADER as u64 {
            return Err(ImageError::corrupt(format!(
                "{} bytes are too few for a LUKS header",
                area.len
            )));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(ImageError::corrupt("the LUKS header has no LUKS magic"));
        }
        if u16_at(bytes, 6) != Some(1) {
            return Err(unsupported("only version 1 of LUKS is known".to_owned()));
        }
        let (spec, hash) = parse_names(bytes)?;
        let mut luks = Self {
            area,
            spec,
            hash,
            payload: u32_at(bytes, 104).unwrap_or(0),
            digest: array(bytes, 112),
            salt: array(bytes, 132),
            iterations: iterations(u32_at(bytes, 164), "the master key")?,
            uuid: array(bytes, 168),
            slots: [KeySlot::default(); SLOTS],
        };
        for (index, slot) in luks.slots.iter_mut().enumerate() {
            *slot = parse_slot(bytes, index)?;
        }
        luks.check_material(area)?;
        Ok(luks)
    }

    /// Fails if key material lies outside the area, on the header, or on other key material.
    fn check_material(&self, area: Area) -> Result<()> {
        let mut used: Vec<(u64, u64)> = vec![(0, (HEADER as u64).div_ceil(SECTOR))];
        for slot in &self.slots {
            let start = u64::from(slot.sector);
            used.push((start, start + material_sectors(&self.spec)));
        }
        used.sort_unstable();
        let apart = used.windows(2).all(|pair| match pair {
            [(_, end), (start, _)] => end <= start,
            _ => true,
        });
        let end = used.last().map_or(0, |&(_, end)| end);
        if apart && end * SECTOR <= area.len.next_multiple_of(SECTOR) {
            return Ok(());
        }
        Err(ImageError::corrupt(
            "the key slots of the LUKS header overlap or reach past its end",
        ))
    }

    /// Where it stands in the file.
    pub fn area(&self) -> Area {
        self.area
    }

    /// The cipher of the data.
    pub fn spec(&self) -> &CipherSpec {
        &self.spec
    }

    /// The hash that derives keys.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// How often the master key is hashed for its digest.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The key slots.
    pub fn slots(&self) -> &[KeySlot; SLOTS] {
        &self.slots
    }

    /// The UUID as it stands in the header, up to its first NUL.
    pub fn uuid(&self) -> &[u8] {
        until_nul(&self.uuid)
    }

    /// Where the payload starts behind the start of the header, in bytes.
    pub fn payload_offset(&self) -> u64 {
        u64::from(self.payload) * SECTOR
    }

    /// The master key, by way of the first key slot that the password opens.
    ///
    /// Errors: [`ErrorKind::Password`] if it opens none.
    pub fn unlock(&self, storage: &dyn Storage, secret: &Secret) -> Result<MasterKey> {
        for slot in &self.slots {
            if let Some(master) = self.open_slot(slot, storage, secret)? {
                return Ok(master);
            }
        }
        Err(ImageError::new(
            ErrorKind::Password,
            "the password is wrong: it opens none of the key slots",
        ))
    }

    /// The master key in `slot`, if it has one under this password.
    pub(super) fn open_slot(
        &self,
        slot: &KeySlot,
        storage: &dyn Storage,
        secret: &Secret,
    ) -> Result<Option<MasterKey>> {
        let Some(key) = &slot.key else {
            return Ok(None);
        };
        let mut material = Zeroizing::new(zeroed(material_bytes(&self.spec)));
        read(storage, &mut material, self.area.start + slot.offset())?;
        self.slot_cipher(key, secret).decrypt(&mut material, 0);
        let key = split::merge(&material, self.spec.key_bytes(), self.hash);
        let right = same(&self.digest_of(&key), &self.digest);
        let spec = self.spec;
        Ok(right.then_some(MasterKey { spec, key }))
    }

    /// Key material that holds `master` under a password.
    pub(super) fn material(
        &self,
        key: &SlotKey,
        master: &MasterKey,
        secret: &Secret,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let mut material = Zeroizing::new(zeroed(material_bytes(&self.spec)));
        random(&mut material)?;
        split::split(&master.key, &mut material, self.hash);
        self.slot_cipher(key, secret).encrypt(&mut material, 0);
        Ok(material)
    }

    fn slot_cipher(&self, key: &SlotKey, secret: &Secret) -> SectorCipher {
        let len = self.spec.key_bytes();
        let key = self
            .hash
            .derive(secret.bytes(), &key.salt, key.iterations, len);
        SectorCipher::new(&self.spec, &key)
    }

    fn digest_of(&self, key: &[u8]) -> Zeroizing<Vec<u8>> {
        self.hash.derive(key, &self.salt, self.iterations, DIGEST)
    }

    /// Bytes of the area that an image made with `cipher` sets aside.
    pub fn area_len(cipher: &CipherSpec) -> u64 {
        (ALIGNMENT + SLOTS as u64 * slot_sectors(cipher)) * SECTOR
    }

    /// The area of a new image: the header, and a random master key in the first key slot. Gives
    /// the bytes and the key.
    pub fn format(options: &LuksOptions) -> Result<(Vec<u8>, MasterKey)> {
        let spec = options.cipher;
        let mut key = Zeroizing::new(vec![0; spec.key_bytes()]);
        random(&mut key)?;
        let master = MasterKey { spec, key };
        let area = Area {
            start: 0,
            len: Self::area_len(&spec),
        };
        let counted = counted(options.hash, options.iteration_time, &spec);
        let mut luks = Self {
            area,
            spec,
            hash: options.hash,
            digest: [0; DIGEST],
            salt: random_salt()?,
            iterations: bounded(counted / 8),
            uuid: uuid()?,
            payload: u32::try_from(area.len / SECTOR).unwrap_or(u32::MAX),
            slots: [KeySlot::default(); SLOTS],
        };
        luks.digest = array(&luks.digest_of(&master.key), 0);
        for (slot, index) in luks.slots.iter_mut().zip(0..) {
            slot.sector = slot_start(&spec, index);
        }
        let key = SlotKey {
            iterations: bounded(counted),
            salt: random_salt()?,
        };
        let material = luks.material(&key, &master, &options.secret)?;
        let [first, ..] = &mut luks.slots;
        first.key = Some(key);
        let start = buffer_len(first.offset());
        let mut bytes = luks.encode();
        bytes.resize(buffer_len(area.len), 0);
        put(&mut bytes, start, &material);
        Ok((bytes, master))
    }

    /// The header on disk.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let key_bytes = u32::try_from(self.spec.key_bytes()).unwrap_or(u32::MAX);
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 6, &1u16.to_be_bytes());
        put(&mut bytes, 8, b"aes");
        put(&mut bytes, 40, self.spec.luks_mode().as_bytes());
        put(&mut bytes, 72, self.hash.to_string().as_bytes());
        put(&mut bytes, 104, &self.payload.to_be_bytes());
        put(&mut bytes, 108, &key_bytes.to_be_bytes());
        put(&mut bytes, 112, &self.digest);
        put(&mut bytes, 132, &self.salt);
        put(&mut bytes, 164, &self.iterations.to_be_bytes());
        put(&mut bytes, 168, &self.uuid);
        for (slot, index) in self.slots.iter().zip(0..) {
            put(
                &mut bytes,
                buffer_len(AT_SLOTS + index * SLOT),
                &slot.encode(),
            );
        }
        bytes
    }
}

impl KeySlot {
    /// The 48 bytes of the header.
    fn encode(&self) -> Vec<u8> {
        let state = if self.key.is_some() { ACTIVE } else { INACTIVE };
        let key = self.key.unwrap_or(SlotKey {
            iterations: 0,
            salt: [0; SALT],
        });
        let mut bytes = state.to_be_bytes().to_vec();
        bytes.extend(key.iterations.to_be_bytes());
        bytes.extend(key.salt);
        bytes.extend(self.sector.to_be_bytes());
        bytes.extend(STRIPES.to_be_bytes());
        bytes
    }
}

/// The cipher and the hash that the header names.
fn parse_names(bytes: &[u8; HEADER]) -> Result<(CipherSpec, Hash)> {
    let [cipher, mode, hash] =
        [8, 40, 72].map(|at| until_nul(bytes.get(at..at + 32).unwrap_or(&[])));
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
    let known = std::str::from_utf8(hash).ok().and_then(|h| h.parse().ok());
    let unknown = || unsupported(format!("the LUKS hash {} is not known", Escaped(hash)));
    Ok((spec, known.ok_or_else(unknown)?))
}

fn parse_slot(bytes: &[u8; HEADER], index: usize) -> Result<KeySlot> {
    let at = buffer_len(AT_SLOTS) + index * buffer_len(SLOT);
    let word = |field| u32_at(bytes, at + field);
    if word(44) != Some(STRIPES) {
        return Err(unsupported(format!(
            "LUKS key slot {index} does not have {STRIPES} stripes"
        )));
    }
    let key = match word(0) {
        Some(INACTIVE) => None,
        Some(ACTIVE) => Some(SlotKey {
            iterations: iterations(word(4), &format!("key slot {index}"))?,
            salt: array(bytes, at + 8),
        }),
        _ => {
            return Err(ImageError::corrupt(format!(
                "LUKS key slot {index} is neither active nor inactive"
            )));
        }
    };
    let sector = word(40).unwrap_or(0);
    Ok(KeySlot { key, sector })
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

/// How many iterations a key for `spec` can have in `time` on this machine.
pub(super) fn counted(hash: Hash, time: Duration, spec: &CipherSpec) -> u64 {
    hash.iterations_in(time, spec.key_bytes())
}

pub(super) fn bounded(iterations: u64) -> u32 {
    let iterations = iterations.clamp(MIN_ITERATIONS, u64::from(MAX_ITERATIONS));
    u32::try_from(iterations).unwrap_or(MAX_ITERATIONS)
}

pub(super) fn material_bytes(spec: &CipherSpec) -> u64 {
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

fn until_nul(field: &[u8]) -> &[u8] {
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

fn read(storage: &dyn Storage, buf: &mut [u8], at: u64) -> Result<()> {
    let done = storage.read_at(buf, at);
    done.map_err(|e| ImageError::io("read the LUKS header", e).at(at))
}

pub(super) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|e| ImageError::io("get random bytes for a key", e.into()))
}

pub(super) fn random_salt() -> Result<[u8; SALT]> {
    let mut salt = [0; SALT];
    random(&mut salt)?;
    Ok(salt)
}

/// A random UUID (version 4) as text, with NULs behind it.
fn uuid() -> Result<[u8; UUID]> {
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
    let mut field = [0; UUID];
    put(&mut field, 0, text.as_bytes());
    Ok(field)
}

fn unsupported(detail: String) -> ImageError {
    ImageError::new(ErrorKind::Unsupported, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    fn new_area() -> Vec<u8> {
        let options = LuksOptions {
            iteration_time: Duration::from_millis(1),
            ..LuksOptions::new(Secret::new("geheim"))
        };
        Luks::format(&options).unwrap().0
    }

    fn parse(area: &[u8]) -> Result<Luks> {
        let header = area[..HEADER].try_into().unwrap();
        let len = area.len() as u64;
        Luks::parse(header, Area { start: 0, len })
    }

    #[test]
    fn the_right_password_opens_a_new_header_and_a_wrong_one_does_not() {
        let area = new_area();
        let luks = parse(&area).unwrap();
        assert_eq!(luks.encode(), area[..HEADER]);
        let storage = MemoryStorage::new(area);
        luks.unlock(&storage, &Secret::new("geheim")).unwrap();
        let wrong = luks.unlock(&storage, &Secret::new("Geheim")).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Password);
    }

    #[test]
    fn a_header_that_claims_too_much_is_refused_before_a_key_is_derived() {
        let area = new_area();
        let (at_slots, slot) = (buffer_len(AT_SLOTS), buffer_len(SLOT));
        let huge = (MAX_ITERATIONS + 1).to_be_bytes();
        let cases: [(usize, &[u8], &str); 11] = [
            (0, b"X", "magic"),
            (7, &[2], "version 1"),
            (8, b"serpent", "serpent-xts-plain64"),
            (40, b"xts-plain65", "xts-plain65"),
            (72, b"md5\0", "hash md5"),
            (164, &huge, "50000001 iterations"),
            (at_slots + 4, &huge, "50000001 iterations"),
            (at_slots + 40, &[0x7f; 4], "reach past its end"),
            (at_slots + 44, &[0x7f; 4], "stripes"),
            (at_slots + slot + 40, &[0, 0, 0, 8], "overlap"),
            (at_slots + slot + 40, &[0; 4], "overlap"),
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
    }

    #[test]
    fn a_header_whose_payload_is_elsewhere_is_refused() {
        let area = new_area();
        let len = area.len() as u64;
        let refusal = |field: u32, len| {
            let mut bytes = area.clone();
            bytes[104..108].copy_from_slice(&field.to_be_bytes());
            let storage = MemoryStorage::new(bytes);
            let error = Luks::read_with_payload(&storage, len).unwrap_err();
            error.to_string()
        };
        assert!(refusal(0, len).contains("another file"));
        assert!(refusal(u32::MAX, len).contains("truncated"));
        assert!(refusal(100, len).contains("reach past its end"));
    }
}
