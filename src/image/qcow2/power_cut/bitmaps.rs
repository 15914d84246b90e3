//! Dirty bitmaps under test.

use std::sync::Arc;

use super::super::Qcow2;
use super::super::bitmap::{self, Bitmap, Directory};
use super::super::extension::{BITMAPS as BITMAPS_EXTENSION, encode};
use super::super::header::BITMAPS;
use super::case::{Case, open};
use super::files::Files;
use super::sectors::{SECTOR, sector};
use crate::image::Image;
use crate::storage::{MemoryStorage, Storage};

/// The same image with an enabled dirty bitmap of one bit for each sector. No name of a backing
/// file follows the header extensions.
pub(super) fn with_bitmap(bytes: Vec<u8>, case: &Case) -> Vec<u8> {
    let storage = Arc::new(MemoryStorage::new(bytes));
    let files = Files::new(Arc::clone(&storage) as Arc<dyn Storage>, 0, None);
    let image = open(&files, case).unwrap();
    let [table, directory] = {
        let mut metadata = image.lock();
        [(); 2].map(|()| metadata.space.allocate(1).unwrap())
    }
    .map(|run| run.first.offset(image.geometry()));
    let bitmap = Bitmap {
        table,
        table_entries: 1,
        flags: bitmap::AUTO,
        kind: 1,
        granularity_bits: 9,
        name: b"changes".to_vec(),
        extra: Vec::new(),
    };
    let entry = Directory::encode(&[bitmap]);
    image.host.write(&[0; 8], table, "a bitmap table").unwrap();
    image
        .host
        .write(&entry, directory, "the directory")
        .unwrap();
    image.close().unwrap();
    let mut bytes = storage.to_vec();
    let fields = [1 << 32, entry.len() as u64, directory.0].map(u64::to_be_bytes);
    let at = image.header().header_length as usize;
    let extension = encode(BITMAPS_EXTENSION, &fields.concat());
    bytes.copy_within(
        at..case.cluster_size as usize - extension.len(),
        at + extension.len(),
    );
    bytes[at..at + extension.len()].copy_from_slice(&extension);
    bytes[95] = u8::try_from(BITMAPS).unwrap();
    bytes
}

/// Whether the bitmaps that count as right have each sector that changed; `first` says what the
/// sectors held at first.
pub(super) fn bitmaps_cover(image: &Qcow2, disk: &[u8], first: &[Vec<u32>]) -> Result<(), String> {
    let storage = image.host.storage();
    let directory = Directory::read(storage, image.header()).map_err(|e| e.to_string())?;
    for bitmap in directory.bitmaps.iter().filter(|b| b.is_consistent()) {
        let bits = bitmap.bits(storage, image.header());
        let bits = bits.map_err(|e| e.to_string())?;
        let sectors = disk.as_chunks::<SECTOR>().0.iter().zip(first);
        for (number, (found, first)) in sectors.enumerate() {
            let same = first.iter().any(|&writer| *found == sector(writer, number));
            if !same && bits[number / 8] >> (number % 8) & 1 == 0 {
                return Err(format!("the bitmap misses the change of sector {number}"));
            }
        }
    }
    Ok(())
}
