//! The SMBIOS tables: what `dmidecode` and memtest86+ show of the machine.
//!
//! Structures 0 (firmware), 1 (system), 3 (chassis), 4 (processor), 16, 17 and 19 (memory), 32
//! (boot status) and 127 (end). (DMTF DSP0134, System Management BIOS 2.8.)

use super::RamLayout;

const MANUFACTURER: &str = "Cowbox";
const PRODUCT: &str = "Cowbox PC (i440FX + PIIX3)";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const RELEASE_DATE: &str = "01/01/2026";

const ANCHOR_BYTES: u8 = 31;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const MEMORY_ARRAY: u16 = 0x1000;
const NO_ERROR_INFORMATION: u16 = 0xfffe;
const UNKNOWN: u16 = 0xffff;

/// One guest tick is a nanosecond and an instruction a tick.
const MEGAHERTZ: u16 = 1000;

/// The structures, and the entry point that leads to them.
#[derive(Clone, Debug, Default)]
pub struct SmbiosTables {
    structures: Vec<u8>,
    count: u16,
    longest: u16,
}

impl SmbiosTables {
    /// The tables of a machine with this RAM and one CPU.
    pub fn new(ram: &RamLayout) -> Self {
        let mut tables = Self::default();
        tables.firmware();
        tables.system();
        tables.chassis();
        tables.processor();
        tables.memory(ram);
        tables.add(32, 0x2000, &[0; 7], &[]);
        tables.add(127, 0x7f00, &[], &[]);
        tables
    }

    /// The fw_cfg files with which firmware installs the tables, by name.
    pub fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("etc/smbios/smbios-anchor", self.anchor(0)),
            ("etc/smbios/smbios-tables", self.structures.clone()),
        ]
    }

    /// The bytes to put at `address`, a multiple of 16 in F0000h to FFFFFh: the entry point,
    /// then the structures.
    pub fn placed_at(&self, address: u32) -> Vec<u8> {
        let structures = address + u32::from(ANCHOR_BYTES) + 1;
        let mut bytes = self.anchor(structures);
        bytes.push(0);
        bytes.extend(&self.structures);
        bytes
    }

    /// The entry point structure. (Section 5.2.1.)
    fn anchor(&self, address: u32) -> Vec<u8> {
        const INTERMEDIATE: usize = 16;
        let mut bytes = b"_SM_".to_vec();
        bytes.extend([0, ANCHOR_BYTES, 2, 8]);
        bytes.extend(self.longest.to_le_bytes());
        bytes.extend([0; 6]);
        bytes.extend(b"_DMI_\0");
        bytes.extend((self.structures.len() as u16).to_le_bytes());
        bytes.extend(address.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.push(0x28);
        bytes[INTERMEDIATE + 5] = negated_sum(&bytes[INTERMEDIATE..]);
        bytes[4] = negated_sum(&bytes);
        bytes
    }

    /// Appends a structure: `body` is what follows the header of four bytes. String numbers in
    /// it count `strings` from 1.
    fn add(&mut self, kind: u8, handle: u16, body: &[u8], strings: &[&str]) {
        let start = self.structures.len();
        self.structures.extend([kind, body.len() as u8 + 4]);
        self.structures.extend(handle.to_le_bytes());
        self.structures.extend(body);
        for string in strings {
            self.structures.extend(string.bytes());
            self.structures.push(0);
        }
        if strings.is_empty() {
            self.structures.push(0);
        }
        self.structures.push(0);
        self.count += 1;
        let len = (self.structures.len() - start) as u16;
        self.longest = self.longest.max(len);
    }

    fn firmware(&mut self) {
        const NO_CHARACTERISTICS: u64 = 1 << 3;
        const TARGETED_CONTENT_AND_VIRTUAL: u8 = 0b1_0100;
        let mut body = vec![1, 2];
        body.extend(0xf000u16.to_le_bytes());
        body.extend([3, 0]);
        body.extend(NO_CHARACTERISTICS.to_le_bytes());
        body.extend([0, TARGETED_CONTENT_AND_VIRTUAL, 0, 1, 0xff, 0xff]);
        self.add(0, 0x0000, &body, &[MANUFACTURER, VERSION, RELEASE_DATE]);
    }

    fn system(&mut self) {
        const POWER_SWITCH: u8 = 6;
        let mut body = vec![1, 2, 3, 0];
        body.extend([0; 16]);
        body.extend([POWER_SWITCH, 0, 0]);
        self.add(1, 0x0100, &body, &[MANUFACTURER, PRODUCT, VERSION]);
    }

    fn chassis(&mut self) {
        const DESKTOP: u8 = 3;
        const SAFE: u8 = 3;
        const SECURITY_NONE: u8 = 3;
        let mut body = vec![1, DESKTOP, 2, 0, 0, SAFE, SAFE, SAFE, SECURITY_NONE];
        body.extend([0; 9]);
        self.add(3, 0x0300, &body, &[MANUFACTURER, VERSION]);
    }

    fn processor(&mut self) {
        const CENTRAL: u8 = 3;
        const OTHER: u8 = 1;
        const POPULATED_ENABLED: u8 = 0x41;
        let mut body = vec![1, CENTRAL, OTHER, 2];
        body.extend([0; 8]);
        body.extend([3, 0]);
        for speed in [0, MEGAHERTZ, MEGAHERTZ] {
            body.extend(speed.to_le_bytes());
        }
        body.extend([POPULATED_ENABLED, OTHER]);
        body.extend([0xff; 6]);
        body.extend([0, 0, 0, 1, 1, 1]);
        body.extend([0, 0, OTHER, 0]);
        self.add(4, 0x0400, &body, &["CPU 0", MANUFACTURER, VERSION]);
    }

    fn memory(&mut self, ram: &RamLayout) {
        const MAX_KIB: u64 = 0x8000_0000;
        const OTHER: u8 = 1;
        const SYSTEM: u8 = 3;
        const NO_ECC: u8 = 3;
        let kib = ram.total() / KIB;
        let mut array = vec![OTHER, SYSTEM, NO_ECC];
        array.extend((kib.min(MAX_KIB) as u32).to_le_bytes());
        array.extend(NO_ERROR_INFORMATION.to_le_bytes());
        array.extend(1u16.to_le_bytes());
        let extended = if kib >= MAX_KIB { ram.total() } else { 0 };
        array.extend(extended.to_le_bytes());
        self.add(16, MEMORY_ARRAY, &array, &[]);
        self.memory_device(ram.total() / MIB);
        self.mapped_range(0x1300, 0, ram.below_4g);
        if ram.above_4g != 0 {
            self.mapped_range(0x1301, RamLayout::ABOVE_4G, ram.above_4g);
        }
    }

    fn memory_device(&mut self, mib: u64) {
        const EXTENDED_SIZE: u16 = 0x7fff;
        const DIMM: u8 = 9;
        const RAM: u8 = 7;
        const DETAIL_OTHER: u16 = 2;
        let mut body = Vec::new();
        for value in [MEMORY_ARRAY, NO_ERROR_INFORMATION, UNKNOWN, UNKNOWN] {
            body.extend(value.to_le_bytes());
        }
        let size = u16::try_from(mib)
            .unwrap_or(EXTENDED_SIZE)
            .min(EXTENDED_SIZE);
        body.extend(size.to_le_bytes());
        body.extend([DIMM, 0, 1, 0, RAM]);
        body.extend(DETAIL_OTHER.to_le_bytes());
        body.extend([0, 0, 2, 0, 0, 0, 0]);
        let extended = if size == EXTENDED_SIZE { mib as u32 } else { 0 };
        body.extend(extended.to_le_bytes());
        body.extend([0; 8]);
        self.add(17, 0x1100, &body, &["DIMM 0", MANUFACTURER]);
    }

    /// A range of addresses that the memory array answers.
    fn mapped_range(&mut self, handle: u16, start: u64, len: u64) {
        let last = start + len - 1;
        let fits = last / KIB < u64::from(u32::MAX);
        let short = |address: u64| {
            if fits {
                (address / KIB) as u32
            } else {
                u32::MAX
            }
        };
        let long = |address: u64| if fits { 0 } else { address };
        let mut body = Vec::new();
        body.extend(short(start).to_le_bytes());
        body.extend(short(last).to_le_bytes());
        body.extend(MEMORY_ARRAY.to_le_bytes());
        body.push(1);
        body.extend(long(start).to_le_bytes());
        body.extend(long(last).to_le_bytes());
        self.add(19, handle, &body, &[]);
    }
}

/// What makes the bytes sum up to zero.
fn negated_sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_sub(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type and declared length of each structure, by walking as a reader does.
    fn walk(mut bytes: &[u8]) -> Vec<(u8, u8)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (kind, len) = (bytes[0], bytes[1]);
            found.push((kind, len));
            let strings = &bytes[usize::from(len)..];
            let end = strings.windows(2).position(|w| w == [0, 0]).unwrap();
            bytes = &strings[end + 2..];
        }
        found
    }

    #[test]
    fn structures_have_the_lengths_of_the_specification_and_end_with_127() {
        let tables = SmbiosTables::new(&RamLayout::new(5 << 30));
        let expected = [
            (0, 24),
            (1, 27),
            (3, 22),
            (4, 42),
            (16, 23),
            (17, 40),
            (19, 31),
            (19, 31),
            (32, 11),
            (127, 4),
        ];
        assert_eq!(walk(&tables.structures), expected);
        assert_eq!(tables.count, 10);
    }

    #[test]
    fn the_entry_point_sums_to_zero_and_leads_to_the_structures() {
        let tables = SmbiosTables::new(&RamLayout::new(64 << 20));
        let bytes = tables.placed_at(0xf_0000);
        assert_eq!(negated_sum(&bytes[..31]), 0);
        assert_eq!(negated_sum(&bytes[16..31]), 0);
        assert_eq!(bytes[24..28], 0xf_0020u32.to_le_bytes());
        assert_eq!(bytes[32..], tables.structures);
    }
}
