//! The images that are mutated: small, and together with everything that the format has.

use std::sync::Arc;
use std::time::Duration;

use cowbox::image::crypt::options::LuksOptions;
use cowbox::image::qcow2::address::GuestOffset;
use cowbox::image::qcow2::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates, create,
};
use cowbox::image::qcow2::geometry::Version;
use cowbox::image::qcow2::header::{Compression, Header};
use cowbox::image::qcow2::{Parameters, Purpose, Qcow2, Writing};
use cowbox::image::{Image, RawAccess, RawImage, Secret, ZeroMode};
use cowbox::storage::{MemoryStorage, Storage};

use super::targets::PASSWORD;

/// Name of the backing file and of the data file that seeds with such a file record.
pub(super) const BACKING: &str = "base.raw";
pub(super) const DATA: &str = "data.raw";

/// An image to be mutated.
pub(super) struct Seed {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// All of them.
pub(super) fn seeds() -> Vec<Seed> {
    let plain = |cluster_size| CreateOptions {
        size: 64 * cluster_size,
        cluster_size,
        ..CreateOptions::default()
    };
    let small = plain(512);
    let usual = plain(4096);
    let mut v2 = usual.clone();
    v2.version = Version::V2;
    let mut wide = small.clone();
    wide.refcount_bits = 64;
    let mut narrow = usual.clone();
    narrow.refcount_bits = 1;
    let mut lazy = usual.clone();
    lazy.refcounts = RefcountUpdates::Lazy;
    let mut zstd = usual.clone();
    zstd.compression = Compression::Zstd;
    let mut extended = plain(16384);
    extended.size = 20 * 16384;
    extended.entries = L2Entries::Extended;
    let mut backed = usual.clone();
    backed.backing = Some((BACKING.to_owned(), "raw".to_owned()));
    let mut external = usual.clone();
    external.data_file = Some(DataFile {
        name: DATA.to_owned(),
        contents: DataFileContents::Mapped,
    });
    let mut raw = external.clone();
    raw.data_file = Some(DataFile {
        name: DATA.to_owned(),
        contents: DataFileContents::Raw,
    });
    let mut luks = usual.clone();
    let mut keys = LuksOptions::new(Secret::new(PASSWORD));
    keys.iteration_time = Duration::ZERO;
    luks.encryption = Encryption::Luks(keys);
    let mut aes = usual.clone();
    aes.encryption = Encryption::Aes;
    let all = [
        ("small", small),
        ("usual", usual),
        ("v2", v2),
        ("wide-counts", wide),
        ("narrow-counts", narrow),
        ("lazy", lazy),
        ("zstd", zstd),
        ("extended-l2", extended),
        ("backed", backed),
        ("external-data", external),
        ("raw-data", raw),
        ("luks", luks),
        ("aes", aes),
    ];
    all.into_iter()
        .map(|(name, options)| Seed {
            name,
            bytes: filled(&options),
        })
        .collect()
}

fn open(storage: &Arc<MemoryStorage>) -> Qcow2 {
    let header = Header::read(&**storage, Purpose::Contents).unwrap();
    let memory = || Arc::new(MemoryStorage::new(vec![0xa5; 100_000])) as Arc<dyn Storage>;
    let base = header.backing_name.is_some().then(|| {
        Arc::new(RawImage::new(memory(), RawAccess::ReadOnly, None).unwrap()) as Arc<dyn Image>
    });
    let with = Parameters {
        backing: base,
        data_file: header.geometry.has_external_data().then(memory),
        secret: Some(Secret::new(PASSWORD)),
        ..Parameters::new(Writing::Allowed)
    };
    Qcow2::open(Arc::clone(storage) as Arc<dyn Storage>, header, with).unwrap()
}

/// An image with data, compressed data, zeros, snapshots and bitmaps, as far as it can have them.
fn filled(options: &CreateOptions) -> Vec<u8> {
    let storage = Arc::new(MemoryStorage::new(Vec::new()));
    create(&*storage, options).unwrap();
    let mut image = open(&storage);
    let cluster = options.cluster_size;
    image
        .write_at(&vec![7; 3 * cluster as usize], cluster / 2)
        .unwrap();
    let compress = |at: u64| {
        let stream = image.compressor().compress(&vec![9; cluster as usize]);
        // Encrypted images and those with a data file have no compressed clusters.
        let _ = stream.map(|stream| image.write_compressed(GuestOffset(at * cluster), &stream));
    };
    (8..11).for_each(compress);
    image
        .write_zeroes(12 * cluster, 2 * cluster, ZeroMode::KeepAllocated)
        .unwrap();
    image.close().unwrap();
    // Images whose counts have one bit, or whose data is elsewhere, have no snapshots; version 2
    // has no bitmaps.
    let _ = image.create_snapshot(b"before", (1, 2));
    image
        .write_at(&vec![8; cluster as usize], 2 * cluster)
        .unwrap();
    let _ = image.create_snapshot(b"after", (3, 4));
    let _ = image.add_bitmap(b"changes", Some(512));
    let _ = image.add_bitmap(b"coarse", Some(65536));
    image.write_at(&vec![6; 1024], 5 * cluster).unwrap();
    image.close().unwrap();
    drop(image);
    storage.to_vec()
}
