//! What the firmware configuration device holds: the items and files by which SeaBIOS and our
//! own BIOS learn of memory, CPUs, tables and boot order, in QEMU's format.
//!
//! Kernel items are left out: a kernel given on the command line is entered directly. (QEMU,
//! docs/specs/fw_cfg.rst.)

use super::{AcpiTables, RamLayout, SmbiosTables};

/// Selectors of the fixed items.
mod key {
    pub(super) const SIGNATURE: u16 = 0x00;
    pub(super) const ID: u16 = 0x01;
    pub(super) const UUID: u16 = 0x02;
    pub(super) const RAM_SIZE: u16 = 0x03;
    pub(super) const NOGRAPHIC: u16 = 0x04;
    pub(super) const CPUS: u16 = 0x05;
    pub(super) const NUMA: u16 = 0x0d;
    pub(super) const BOOT_MENU: u16 = 0x0e;
    pub(super) const MAX_CPUS: u16 = 0x0f;
    pub(super) const FILE_DIRECTORY: u16 = 0x19;
    pub(super) const FIRST_FILE: u16 = 0x20;
    pub(super) const IRQ0_OVERRIDE: u16 = 0x8002;
}

/// The device has the traditional interface and DMA.
const FEATURES: u32 = 0b11;

/// S1, S3 and S4 are not there; S5 is sleep type 0.
const SYSTEM_STATES: [u8; 6] = [128, 0, 0, 1, 2, 128];

const FILE_NAME_BYTES: usize = 56;

/// One item: its selector and its bytes.
pub type FwCfgItem = (u16, Vec<u8>);

/// A device to boot from, as the firmware names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootDevice {
    /// A disk or CD drive on an IDE channel (0, 1) as master (0) or slave (1).
    Ide {
        /// Primary 0, secondary 1.
        channel: u8,
        /// Master 0, slave 1.
        unit: u8,
    },
    /// A virtio disk.
    Virtio {
        /// The PCI slot on bus 0.
        slot: u8,
    },
    /// A floppy drive.
    Floppy {
        /// A is 0.
        drive: u8,
    },
}

impl BootDevice {
    /// The OpenFirmware path that SeaBIOS looks for.
    fn path(self) -> String {
        match self {
            Self::Ide { channel, unit } => {
                format!("/pci@i0cf8/ide@1,1/drive@{channel}/disk@{unit}")
            }
            Self::Virtio { slot } => format!("/pci@i0cf8/scsi@{slot:x}/disk@0,0"),
            Self::Floppy { drive } => format!("/pci@i0cf8/isa@1/fdc@03f0/floppy@{drive:x}"),
        }
    }
}

/// All items of a machine with this RAM and one CPU that boots from `order`, first to last.
pub fn fw_cfg_items(ram: &RamLayout, order: &[BootDevice]) -> Vec<FwCfgItem> {
    let one = 1u16.to_le_bytes().to_vec();
    let mut items = vec![
        (key::SIGNATURE, b"QEMU".to_vec()),
        (key::ID, FEATURES.to_le_bytes().to_vec()),
        (key::UUID, vec![0; 16]),
        (key::RAM_SIZE, ram.total().to_le_bytes().to_vec()),
        (key::NOGRAPHIC, vec![0; 2]),
        (key::CPUS, one.clone()),
        (key::NUMA, vec![0; 16]),
        (key::BOOT_MENU, vec![0; 2]),
        (key::MAX_CPUS, one),
        (key::IRQ0_OVERRIDE, vec![1]),
    ];
    let mut files = vec![
        ("etc/e820", e820_file(ram)),
        ("etc/system-states", SYSTEM_STATES.to_vec()),
    ];
    if !order.is_empty() {
        files.push(("bootorder", boot_order(order)));
    }
    files.extend(AcpiTables::new(ram).files());
    files.extend(SmbiosTables::new(ram).files());
    files.sort_unstable_by_key(|(name, _)| *name);
    items.push((key::FILE_DIRECTORY, directory(&files)));
    let contents = files.into_iter().map(|(_, bytes)| bytes);
    items.extend((key::FIRST_FILE..).zip(contents));
    items
}

/// RAM alone: firmware cuts its own areas out.
fn e820_file(ram: &RamLayout) -> Vec<u8> {
    use super::{E820Entry, E820Kind};
    let ranges = [(0, ram.below_4g), (RamLayout::ABOVE_4G, ram.above_4g)];
    let entries = ranges.into_iter().filter(|(_, len)| *len != 0);
    let kind = E820Kind::Ram;
    entries
        .flat_map(|(base, len)| E820Entry { base, len, kind }.to_bytes())
        .collect()
}

/// Paths in lines, with a zero after the last.
fn boot_order(order: &[BootDevice]) -> Vec<u8> {
    let paths: Vec<String> = order.iter().map(|d| d.path()).collect();
    let mut bytes = paths.join("\n").into_bytes();
    bytes.push(0);
    bytes
}

/// The file directory; numbers in it are big-endian.
fn directory(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = (files.len() as u32).to_be_bytes().to_vec();
    for (select, (name, content)) in (key::FIRST_FILE..).zip(files) {
        bytes.extend((content.len() as u32).to_be_bytes());
        bytes.extend(select.to_be_bytes());
        bytes.extend([0; 2]);
        let end = bytes.len() + FILE_NAME_BYTES;
        bytes.extend(name.bytes());
        bytes.resize(end, 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(items: &[FwCfgItem], key: u16) -> &[u8] {
        &items.iter().find(|(k, _)| *k == key).unwrap().1
    }

    #[test]
    fn the_directory_names_every_file_with_its_size_and_selector() {
        let order = [
            BootDevice::Ide {
                channel: 0,
                unit: 0,
            },
            BootDevice::Virtio { slot: 4 },
        ];
        let items = fw_cfg_items(&RamLayout::new(5 << 30), &order);
        let directory = item(&items, key::FILE_DIRECTORY);
        let count = u32::from_be_bytes(directory[..4].try_into().unwrap());
        assert_eq!(directory.len(), 4 + 64 * count as usize);
        let mut names = Vec::new();
        for entry in directory[4..].chunks(64) {
            let size = u32::from_be_bytes(entry[..4].try_into().unwrap());
            let select = u16::from_be_bytes(entry[4..6].try_into().unwrap());
            assert_eq!(item(&items, select).len(), size as usize);
            let end = entry[8..].iter().position(|b| *b == 0).unwrap();
            names.push(String::from_utf8(entry[8..8 + end].to_vec()).unwrap());
        }
        let expected = [
            "bootorder",
            "etc/acpi/rsdp",
            "etc/acpi/tables",
            "etc/e820",
            "etc/smbios/smbios-anchor",
            "etc/smbios/smbios-tables",
            "etc/system-states",
            "etc/table-loader",
        ];
        assert_eq!(names, expected);
        assert_eq!(item(&items, key::FIRST_FILE + 3).len(), 40);
        let order = b"/pci@i0cf8/ide@1,1/drive@0/disk@0\n/pci@i0cf8/scsi@4/disk@0,0\0";
        assert_eq!(item(&items, key::FIRST_FILE), order);
    }
}
