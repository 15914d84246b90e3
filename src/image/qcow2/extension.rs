//! Header extensions: typed, length-prefixed blocks after the header.
//!
//! Format description, "Header extensions", "Feature name table", "Bitmaps extension". An unknown
//! extension is kept where it is; each known one stands at most once, but for the backing format,
//! of which the last counts.

use super::super::fields::{buffer_len, u32_at, u64_at};
use super::super::{ImageError, Result};
use super::address::HostOffset;

/// Ends the extensions.
pub(super) const END: u32 = 0;
/// Name of the backing image's format.
pub(super) const BACKING_FORMAT: u32 = 0xe279_2aca;
/// Names of feature bits.
pub(super) const FEATURE_NAMES: u32 = 0x6803_f857;
/// Where the bitmap directory lies.
pub(super) const BITMAPS: u32 = 0x2385_2875;
/// Where the LUKS header lies.
pub(super) const LUKS_HEADER: u32 = 0x0537_be77;
/// Name of the external data file.
pub(super) const DATA_FILE: u32 = 0x4441_5441;

/// Rows of the feature name table: type, bit, and a name of 46 bytes.
const FEATURE_ROW: usize = 48;

/// The extensions of an image, in the order in which they stand there.
#[derive(Debug, Clone, Default)]
pub struct Extensions {
    list: Vec<Extension>,
}

/// One extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The type.
    pub kind: u32,
    /// The data, without padding.
    pub data: Vec<u8>,
}

/// The bitmaps extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitmapsExtension {
    /// How many bitmaps there are.
    pub count: u32,
    /// Bytes of the directory.
    pub directory_size: u64,
    /// Where the directory starts.
    pub directory: HostOffset,
}

impl Extensions {
    /// Reads the extensions that stand in `bytes` from `start` to `end`.
    pub(super) fn parse(bytes: &[u8], start: u64, end: u64) -> Result<Self> {
        let mut list = Vec::new();
        let mut at = start;
        while at + 8 <= end {
            let kind = u32_at(bytes, buffer_len(at)).unwrap_or(END);
            let len = u64::from(u32_at(bytes, buffer_len(at) + 4).unwrap_or(0));
            if kind == END {
                break;
            }
            let data_end = at + 8 + len;
            let data = bytes.get(buffer_len(at + 8)..buffer_len(data_end));
            let Some(data) = data.filter(|_| data_end <= end) else {
                return Err(ImageError::corrupt(format!(
                    "header extension {kind:#010x} of {len} bytes reaches past the first cluster"
                ))
                .at(at));
            };
            list.push(Extension {
                kind,
                data: data.to_vec(),
            });
            at = data_end.next_multiple_of(8);
        }
        let extensions = Self { list };
        extensions.check()?;
        Ok(extensions)
    }

    fn check(&self) -> Result<()> {
        let lengths = [(BITMAPS, 24), (LUKS_HEADER, 16)];
        for known in [FEATURE_NAMES, BITMAPS, LUKS_HEADER, DATA_FILE] {
            if self.list.iter().filter(|e| e.kind == known).count() > 1 {
                return Err(ImageError::corrupt(format!(
                    "header extension {known:#010x} stands twice"
                )));
            }
        }
        for (kind, len) in lengths {
            if self.find(kind).is_some_and(|data| data.len() != len) {
                return Err(ImageError::corrupt(format!(
                    "header extension {kind:#010x} is not {len} bytes long"
                )));
            }
        }
        Ok(())
    }

    fn find(&self, kind: u32) -> Option<&[u8]> {
        self.list.iter().find(|e| e.kind == kind).map(|e| &*e.data)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Extension> {
        self.list.iter()
    }

    /// The recorded format of the backing image. Of several the last counts, as for other
    /// programs: tools have appended one without looking for the one before.
    pub fn backing_format(&self) -> Option<&[u8]> {
        let mut formats = self.list.iter().filter(|e| e.kind == BACKING_FORMAT);
        formats.next_back().map(|e| &*e.data)
    }

    /// The recorded name of the external data file.
    pub fn data_file(&self) -> Option<&[u8]> {
        self.find(DATA_FILE)
    }

    /// The bitmaps extension.
    pub fn bitmaps(&self) -> Option<BitmapsExtension> {
        let data = self.find(BITMAPS)?;
        Some(BitmapsExtension {
            count: u32_at(data, 0)?,
            directory_size: u64_at(data, 8)?,
            directory: HostOffset(u64_at(data, 16)?),
        })
    }

    /// Offset and length in bytes of the LUKS header.
    pub fn luks_header(&self) -> Option<(HostOffset, u64)> {
        let data = self.find(LUKS_HEADER)?;
        Some((HostOffset(u64_at(data, 0)?), u64_at(data, 8)?))
    }

    /// The name that the image gives to feature `bit` of type `kind` (0 incompatible,
    /// 1 compatible, 2 autoclear).
    pub fn feature_name(&self, kind: u8, bit: u8) -> Option<&[u8]> {
        // The zeros at the end of the last row may be left out.
        let rows = self.find(FEATURE_NAMES)?.chunks(FEATURE_ROW);
        let mut names = rows.filter_map(|row| match row {
            [k, b, name @ ..] if *k == kind && *b == bit => Some(name),
            _ => None,
        });
        let name = names.next()?;
        name.split(|&byte| byte == 0)
            .next()
            .filter(|name| !name.is_empty())
    }
}

/// The bytes of one extension with its padding.
pub(super) fn encode(kind: u32, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).expect("an extension fits the first cluster");
    let mut bytes = [kind.to_be_bytes(), len.to_be_bytes()].concat();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// The feature name table that is written into new images.
pub(super) fn feature_names() -> Vec<u8> {
    let rows: [(u8, u8, &str); 8] = [
        (0, 0, "dirty bit"),
        (0, 1, "corrupt bit"),
        (0, 2, "external data file"),
        (0, 3, "compression type"),
        (0, 4, "extended L2 entries"),
        (1, 0, "lazy refcounts"),
        (2, 0, "bitmaps"),
        (2, 1, "raw external data"),
    ];
    let row = |(kind, bit, name): (u8, u8, &str)| {
        let mut row = vec![kind, bit];
        row.extend_from_slice(name.as_bytes());
        row.resize(FEATURE_ROW, 0);
        row
    };
    rows.into_iter().flat_map(row).collect()
}
