//! The answer to IDENTIFY DEVICE: 256 words about the drive. (ATA/ATAPI-7 volume 1, 6.17; words
//! 105 and 169 from ATA8-ACS, 7.18.)

use crate::disk::{Disk, Geometry, SECTOR_SIZE};

/// The most sectors that SET MULTIPLE MODE takes.
pub(super) const MOST_MULTIPLE: u8 = 16;
/// The most sectors of ranges that DATA SET MANAGEMENT takes.
pub(super) const MOST_TRIM_BLOCKS: u8 = 8;
/// The most sectors that 28-bit addresses reach.
pub(super) const MOST_LBA28: u64 = 0x0fff_ffff;

const MODEL: &str = "COWBOX HARDDISK";

/// What a drive's settings contribute to the answer.
pub(super) struct Settings {
    /// The translation in force.
    pub(super) translation: Geometry,
    /// Sectors per block, 0 if multiple mode is off.
    pub(super) multiple: u8,
    /// The transfer mode, as SET FEATURES takes it.
    pub(super) transfer_mode: u8,
    pub(super) write_cache: bool,
    /// Drive 1 of its cable.
    pub(super) is_second: bool,
}

/// The sector that IDENTIFY DEVICE sends.
pub(super) fn identify(disk: &Disk, settings: &Settings) -> Vec<u8> {
    let mut words = Words([0; 256]);
    words.describe_addressing(disk, settings);
    words.describe_transfers(settings);
    words.describe_commands(disk, settings);
    words.set_string(10, 10, disk.serial());
    words.set_string(23, 4, env!("CARGO_PKG_VERSION"));
    words.set_string(27, 20, MODEL);
    words.into_bytes()
}

struct Words([u16; 256]);

impl Words {
    fn set(&mut self, word: usize, value: u16) {
        if let Some(place) = self.0.get_mut(word) {
            *place = value;
        }
    }

    /// A number over several words, the lowest first.
    fn set_number(&mut self, word: usize, words: usize, value: u64) {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_le_bytes();
        let pairs = [[b0, b1], [b2, b3], [b4, b5], [b6, b7]];
        for (i, pair) in pairs.into_iter().enumerate().take(words) {
            self.set(word + i, u16::from_le_bytes(pair));
        }
    }

    /// Text padded with spaces, two characters a word, the first in the high byte.
    fn set_string(&mut self, word: usize, words: usize, text: &str) {
        let printable = text.bytes().filter(|b| (b' '..=b'~').contains(b));
        let mut padded = printable.chain(std::iter::repeat(b' '));
        for i in 0..words {
            let pair = [padded.next().unwrap_or(b' '), padded.next().unwrap_or(b' ')];
            self.set(word + i, u16::from_be_bytes(pair));
        }
    }

    fn describe_addressing(&mut self, disk: &Disk, settings: &Settings) {
        let default = disk.geometry();
        self.set(0, 0x0040);
        self.set(1, default.cylinders);
        self.set(3, u16::from(default.heads));
        self.set(6, u16::from(default.sectors));
        let current = settings.translation;
        self.set(53, 0x0007);
        self.set(54, current.cylinders);
        self.set(55, u16::from(current.heads));
        self.set(56, u16::from(current.sectors));
        self.set_number(57, 2, current.reach());
        self.set_number(60, 2, disk.sectors().min(MOST_LBA28));
        self.set_number(100, 4, disk.sectors());
        self.set(106, 0x4000);
        self.set(217, 1);
    }

    fn describe_transfers(&mut self, settings: &Settings) {
        self.set(47, 0x8000 | u16::from(MOST_MULTIPLE));
        self.set(49, 0x0f00);
        self.set(50, 0x4000);
        self.set(51, 0x0200);
        if settings.multiple != 0 {
            self.set(59, 0x0100 | u16::from(settings.multiple));
        }
        let number = u16::from(settings.transfer_mode & 7);
        let selected = |kind| match settings.transfer_mode & 0xf8 == kind {
            true => 0x0100 << number,
            false => 0,
        };
        self.set(63, 0x0007 | selected(0x20));
        self.set(88, 0x003f | selected(0x40));
        self.set(64, 0x0003);
        for word in 65..=68 {
            self.set(word, 120);
        }
        // The cable has 80 conductors; the drive found its number by jumper.
        self.set(93, if settings.is_second { 0x6300 } else { 0x6003 });
    }

    fn describe_commands(&mut self, disk: &Disk, settings: &Settings) {
        const POWER: u16 = 1 << 3;
        const WRITE_CACHE: u16 = 1 << 5;
        const LOOK_AHEAD: u16 = 1 << 6;
        const LBA48: u16 = 1 << 10;
        const FLUSH: u16 = 1 << 12;
        const FLUSH_EXT: u16 = 1 << 13;
        let write_cache = if settings.write_cache { WRITE_CACHE } else { 0 };
        self.set(80, 0x00f0);
        self.set(82, LOOK_AHEAD | WRITE_CACHE | POWER);
        self.set(83, 0x4000 | FLUSH_EXT | FLUSH | LBA48);
        self.set(84, 0x4000);
        self.set(85, LOOK_AHEAD | write_cache | POWER);
        self.set(86, FLUSH_EXT | FLUSH | LBA48);
        self.set(87, 0x4000);
        if !disk.is_read_only() {
            self.set(105, u16::from(MOST_TRIM_BLOCKS));
            self.set(169, 1);
        }
    }

    /// The bytes as they pass the data register, with signature and checksum in the last word.
    fn into_bytes(mut self) -> Vec<u8> {
        self.set(255, 0x00a5);
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|w| w.to_le_bytes()).collect();
        debug_assert_eq!(bytes.len(), SECTOR_SIZE);
        let sum = bytes
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        if let Some(last) = bytes.last_mut() {
            *last = sum.wrapping_neg();
        }
        bytes
    }
}
