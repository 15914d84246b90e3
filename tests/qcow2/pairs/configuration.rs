//! What an image can be: the factors whose levels are combined, which combinations exist, and
//! what each side is told to make one.

use std::fmt;
use std::path::Path;

use cowbox::image::crypt::options::LuksOptions;
use cowbox::image::qcow2::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates,
};
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::header::Compression;
use cowbox::image::{OpenOptions, Secret, Secrets};

use super::covering::{self, Factors, Partial, Setting};
use crate::scratch::Random;

/// The password of encrypted images.
pub(super) const PASSWORD: &str = "geheim";

/// How many levels each factor has, in the order of the fields of [`Configuration`].
const LEVELS: [usize; 11] = [2, 13, 7, 3, 2, 3, 2, 2, 3, 3, 2];

/// The levels that every combination goes with: version 3, clusters of 64 KiB, refcounts of 16
/// bits, and nothing else.
const PLAIN: [usize; 11] = [0; 11];

/// To make an encrypted image, QEMU measures twice for a second how fast it derives keys.
const LUKS: Setting = (8, 2);

/// One image of the matrix.
#[derive(Debug, Clone)]
pub(super) struct Configuration {
    pub(super) version: Version,
    pub(super) cluster_size: u64,
    pub(super) refcount_bits: u32,
    /// Whether clusters are written compressed, and how.
    pub(super) compression: Option<Compression>,
    pub(super) entries: L2Entries,
    pub(super) backing: Backing,
    pub(super) snapshots: bool,
    pub(super) bitmaps: bool,
    pub(super) encryption: Cipher,
    pub(super) data_file: Option<DataFileContents>,
    pub(super) refcounts: RefcountUpdates,
    /// Length of the disk.
    pub(super) size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backing {
    None,
    Shorter,
    Longer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    None,
    Aes,
    Luks,
}

/// All pairs, once: configurations in which every two levels meet that can.
pub(super) fn all_pairs(seed: u64) -> Vec<Configuration> {
    let mut random = Random(seed);
    let factors = Factors {
        levels: &LEVELS,
        costly: LUKS,
        valid: &exists,
    };
    let rows = covering::rows(&factors, &mut random);
    let made = rows.iter().map(|row| {
        let mut configuration = Configuration::of(row);
        // Of a few clusters at least, and mostly ending inside one.
        let clusters = (1 << 20).max(4 * configuration.cluster_size);
        configuration.size = clusters + random.below(3000) * 512;
        configuration
    });
    made.collect()
}

/// Whether what is decided of a row can be, with everything else plain.
fn exists(row: &Partial) -> bool {
    let levels = row.iter().zip(PLAIN);
    let levels: Vec<usize> = levels
        .map(|(level, plain)| level.unwrap_or(plain))
        .collect();
    Configuration::of(&levels).exists()
}

/// The level of a factor whose first one, the plain one, is the `plain`-th in order of size.
fn rotated(level: usize, plain: usize, levels: usize) -> usize {
    (level + plain) % levels
}

impl Configuration {
    fn of(levels: &[usize]) -> Self {
        Self {
            version: [Version::V3, Version::V2][levels[0]],
            cluster_size: 512 << rotated(levels[1], 7, 13),
            refcount_bits: 1 << rotated(levels[2], 4, 7),
            compression: [None, Some(Compression::Deflate), Some(Compression::Zstd)][levels[3]],
            entries: [L2Entries::Standard, L2Entries::Extended][levels[4]],
            backing: [Backing::None, Backing::Shorter, Backing::Longer][levels[5]],
            snapshots: levels[6] == 1,
            bitmaps: levels[7] == 1,
            encryption: [Cipher::None, Cipher::Aes, Cipher::Luks][levels[8]],
            data_file: [
                None,
                Some(DataFileContents::Mapped),
                Some(DataFileContents::Raw),
            ][levels[9]],
            refcounts: [RefcountUpdates::InOrder, RefcountUpdates::Lazy][levels[10]],
            size: 0,
        }
    }

    /// Whether QEMU makes such images.
    fn exists(&self) -> bool {
        let extended = self.entries == L2Entries::Extended;
        let lazy = self.refcounts == RefcountUpdates::Lazy;
        let external = self.data_file.is_some();
        let beyond_v2 = self.refcount_bits != 16
            || self.compression == Some(Compression::Zstd)
            || extended
            || self.bitmaps
            || external
            || lazy;
        let impossible = [
            self.version == Version::V2 && beyond_v2,
            extended && self.cluster_size < 16384,
            // A second reference to a cluster has no room in its refcount.
            self.snapshots && self.refcount_bits == 1,
            // What is compressed is neither encrypted nor put into a data file.
            self.compression.is_some() && (external || self.encryption != Cipher::None),
            self.snapshots && external,
            self.data_file == Some(DataFileContents::Raw) && self.backing != Backing::None,
        ];
        !impossible.contains(&true)
    }

    /// How many references the refcount of a cluster has room for.
    pub(super) fn max_references(&self) -> u64 {
        u64::MAX >> (64 - self.refcount_bits)
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.encryption != Cipher::None
    }

    /// The length of the backing image.
    pub(super) fn backing_size(&self) -> Option<u64> {
        match self.backing {
            Backing::None => None,
            Backing::Shorter => Some(self.size / 3 / 512 * 512),
            Backing::Longer => Some(self.size / 2 * 3 / 512 * 512),
        }
    }

    /// What is behind `-o`, the same for both programs.
    pub(super) fn options(&self, data: &Path) -> String {
        let compat = match self.version {
            Version::V2 => "0.10",
            Version::V3 => "1.1",
        };
        let (cluster, bits) = (self.cluster_size, self.refcount_bits);
        let mut text = format!("compat={compat},cluster_size={cluster},refcount_bits={bits}");
        if self.compression == Some(Compression::Zstd) {
            text += ",compression_type=zstd";
        }
        if self.entries == L2Entries::Extended {
            text += ",extended_l2=on";
        }
        if self.refcounts == RefcountUpdates::Lazy {
            text += ",lazy_refcounts=on";
        }
        if let Some(contents) = self.data_file {
            text += &format!(",data_file={}", data.display());
            if contents == DataFileContents::Raw {
                text += ",data_file_raw=on";
            }
        }
        text + match self.encryption {
            Cipher::None => "",
            Cipher::Aes => ",encrypt.format=aes,encrypt.key-secret=s",
            Cipher::Luks => ",encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
        }
    }

    /// The same for our library; `backing` is the format of the file "base".
    pub(super) fn create_options(&self, data: &Path, backing: &str) -> CreateOptions {
        let luks = || {
            let mut options = LuksOptions::new(Secret::new(PASSWORD));
            options.set("iter-time", "10").unwrap();
            Encryption::Luks(options)
        };
        let base = self.backing_size();
        CreateOptions {
            size: self.size,
            version: self.version,
            cluster_size: self.cluster_size,
            refcount_bits: self.refcount_bits,
            refcounts: self.refcounts,
            entries: self.entries,
            compression: self.compression.unwrap_or(Compression::Deflate),
            data_file: self.data_file.map(|contents| DataFile {
                name: data.display().to_string(),
                contents,
            }),
            backing: base.map(|_| ("base".to_owned(), backing.to_owned())),
            encryption: match self.encryption {
                Cipher::None => Encryption::None,
                Cipher::Aes => Encryption::Aes,
                Cipher::Luks => luks(),
            },
        }
    }

    /// How our library opens the image.
    pub(super) fn open_options(&self, password: &str) -> OpenOptions {
        let secrets = match self.is_encrypted() {
            true => Secret::new(password).into(),
            false => Secrets::default(),
        };
        OpenOptions {
            secrets,
            ..OpenOptions::default()
        }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, ", self.size)?;
        write!(f, "{}", self.options(Path::new("DATA")))?;
        write!(f, ", backing {:?}", self.backing)?;
        let parts = [
            (self.compression.is_some(), "compressed clusters"),
            (self.snapshots, "snapshots"),
            (self.bitmaps, "bitmaps"),
        ];
        for (_, part) in parts.iter().filter(|(there, _)| *there) {
            write!(f, ", {part}")?;
        }
        Ok(())
    }
}
