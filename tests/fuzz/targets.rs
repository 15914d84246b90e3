//! What the fuzz targets do with an image, and what must hold whatever its bytes are: nothing
//! panics, a repair that says that all is well leaves an image without errors, and writing to an
//! image without errors makes none.
//!
//! An image that names a backing file or a data file gets one in memory; no file is opened. What
//! the image claims is bounded as a user would bound it: a mapping of more than [`MAX_DATA`] bytes
//! is not copied, and a header that wants many iterations to derive a key gets no password.

use std::sync::Arc;

use cowbox::image::compare::{Comparison, compare};
use cowbox::image::convert::{ConvertOptions, convert};
use cowbox::image::info::facts_of;
use cowbox::image::qcow2::address::GuestOffset;
use cowbox::image::qcow2::bitmap::Directory;
use cowbox::image::qcow2::create::{CreateOptions, create};
use cowbox::image::qcow2::explain::Explainer;
use cowbox::image::qcow2::header::{EncryptionMethod, Header};
use cowbox::image::qcow2::preallocate::Preallocation;
use cowbox::image::qcow2::repair::{Repair, check_storage};
use cowbox::image::qcow2::snapshot;
use cowbox::image::qcow2::{Parameters, Purpose, Qcow2, Writing};
use cowbox::image::{Image, RawAccess, RawImage, Result, Secret, ZeroMode};
use cowbox::storage::Storage;

use super::sparse::SparseStorage;

/// A mapping of more bytes than this is not copied, and a file takes no more.
const MAX_DATA: u64 = 64 << 20;
/// Keys are derived only from headers that want at most so many iterations.
const MAX_ITERATIONS: u32 = 20_000;
/// Extents that are looked at.
const MAX_EXTENTS: usize = 100_000;
/// The password of the encrypted seeds.
pub(crate) const PASSWORD: &str = "secret";

/// Something that can be done with an image, and its name.
pub(crate) type Target = (&'static str, fn(&[u8]) -> Result<()>);

/// All that can be done with one.
pub(crate) const TARGETS: [Target; 5] = [
    ("open", open),
    ("read", read),
    ("explain", explain),
    ("check", check),
    ("write", write),
];

/// Does with `image` what `target` says.
pub(crate) fn run(target: &str, image: &[u8]) {
    let (_, done) = TARGETS
        .into_iter()
        .find(|(name, _)| *name == target)
        .expect("a target of the table");
    // What is wrong with the image is an error, and that is all that is asked for.
    let _ = done(image);
}

fn storage(image: &[u8]) -> Arc<dyn Storage> {
    Arc::new(SparseStorage::new(image, MAX_DATA))
}

fn header(storage: &dyn Storage) -> Result<Header> {
    Header::read(storage, Purpose::Contents)
}

/// The image in `storage`, over what it names.
fn load(storage: &Arc<dyn Storage>, header: Header, writing: Writing) -> Result<Qcow2> {
    let memory = || Arc::new(SparseStorage::new(&[0xa5; 100_000], MAX_DATA));
    let base = header
        .backing_name
        .as_ref()
        .map(|_| -> Result<Arc<dyn Image>> {
            Ok(Arc::new(RawImage::new(
                memory(),
                RawAccess::ReadOnly,
                None,
            )?))
        });
    let external = header.geometry.has_external_data();
    let with = Parameters {
        backing: base.transpose()?,
        data_file: external.then(|| memory() as Arc<dyn Storage>),
        secret: derivation_is_cheap(&**storage, &header).then(|| Secret::new(PASSWORD)),
        ..Parameters::new(writing)
    };
    Qcow2::open(Arc::clone(storage), header, with)
}

/// Whether nothing in the encryption header wants many iterations.
fn derivation_is_cheap(storage: &dyn Storage, header: &Header) -> bool {
    if header.encryption != EncryptionMethod::Luks {
        return true;
    }
    let area = header.extensions.luks_header().map_or(0, |(at, _)| at.0);
    let digest = 164;
    let slots = (0..8).map(|slot| 208 + 48 * slot + 4);
    slots.chain([digest]).all(|at| {
        let mut count = [0; 4];
        let read = storage.read_at(&mut count, area.saturating_add(at));
        read.is_ok() && u32::from_be_bytes(count) <= MAX_ITERATIONS
    })
}

fn open(image: &[u8]) -> Result<()> {
    let storage = storage(image);
    let shown = Header::read(&*storage, Purpose::Inspection)?;
    facts_of(&shown);
    let snapshots = snapshot::read_all(&*storage, &shown);
    let bitmaps = Directory::read(&*storage, &shown);
    for bitmap in bitmaps.iter().flat_map(|directory| &directory.bitmaps) {
        let _ = bitmap.bits(&*storage, &shown);
    }
    for snapshot in snapshots.iter().flatten().take(4) {
        let _ = load(&storage, snapshot.header(&shown), Writing::Refused);
    }
    let _ = load(&storage, shown.clone(), Writing::Refused);
    load(&storage, shown, Writing::Allowed)?.close()
}

fn read(image: &[u8]) -> Result<()> {
    let storage = storage(image);
    let header = header(&*storage)?;
    let snapshots = snapshot::read_all(&*storage, &header).unwrap_or_default();
    for snapshot in snapshots.iter().take(2) {
        let shown = load(&storage, snapshot.header(&header), Writing::Refused);
        let _ = shown.and_then(|shown| data_bytes(&shown));
    }
    let image = load(&storage, header, Writing::Refused)?;
    if data_bytes(&image)? > MAX_DATA {
        return Ok(());
    }
    let file: Arc<dyn Storage> = Arc::new(SparseStorage::new(&[], 2 * MAX_DATA));
    let options = CreateOptions {
        size: image.size(),
        ..CreateOptions::default()
    };
    create(&*file, &options)?;
    let target = load(&file, self::header(&*file)?, Writing::Allowed)?;
    convert(&image, &target, ConvertOptions::default(), &mut |_| {})?;
    let found = compare(&image, &target)?;
    assert_eq!(found, Comparison::Same, "the copy differs");
    Ok(())
}

/// How many bytes of the disk are not known to be zeros.
fn data_bytes(image: &Qcow2) -> Result<u64> {
    let (mut at, mut data) = (0, 0);
    for _ in 0..MAX_EXTENTS {
        if at >= image.size() {
            return Ok(data);
        }
        let extent = image.extent(at, image.size() - at)?;
        assert!(extent.length > 0, "an extent without length");
        if !extent.kind.reads_zero() {
            data += extent.length;
        }
        at += extent.length;
    }
    Ok(u64::MAX)
}

/// Asks what lies at places of the disk, and of the file.
fn explain(image: &[u8]) -> Result<()> {
    let storage = storage(image);
    let header = header(&*storage)?;
    let mut explainer = Explainer::new(&*storage, &header)?;
    let cluster = header.geometry.cluster_size();
    for offset in [0, cluster, header.size / 2, header.size.saturating_sub(1)] {
        let _ = explainer.guest(offset);
    }
    let len = image.len() as u64;
    for offset in [0, cluster, header.l1_offset.0, len / 2, len, u64::MAX] {
        let _ = explainer.host(offset);
    }
    Ok(())
}

fn check(image: &[u8]) -> Result<()> {
    let found = check_storage(storage(image), None)?;
    for what in [Repair::Leaks, Repair::All] {
        let storage = storage(image);
        let Ok(report) = check_storage(Arc::clone(&storage), Some(what)) else {
            continue;
        };
        let again = check_storage(storage, None)?;
        assert_eq!(
            (report.corruptions, report.leaks),
            (again.corruptions, again.leaks),
            "{what:?} says {:?}, and then there is {:?}",
            report.messages,
            again.messages
        );
        assert!(
            found.corruptions > 0 || again.corruptions == 0,
            "{what:?} makes errors: {:?}",
            again.messages
        );
    }
    Ok(())
}

fn write(image: &[u8]) -> Result<()> {
    let storage = storage(image);
    let before = check_storage(Arc::clone(&storage), None)?;
    let header = header(&*storage)?;
    {
        let mut image = load(&storage, header, Writing::Allowed)?;
        if before.corruptions == 0 {
            reads_back(&image)?;
        }
        let _ = change_contents(&image);
        let _ = change_structure(&mut image);
        let _ = change_contents(&image);
        let _ = image.close();
    }
    let after = check_storage(storage, None)?;
    assert!(
        before.corruptions > 0 || after.corruptions == after.copied_missing,
        "writing makes errors: {:?}",
        after.messages
    );
    Ok(())
}

/// Places to write to, and what.
fn writes(image: &Qcow2) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let (size, cluster) = (image.size(), image.geometry().cluster_size());
    let places = [0, cluster, size / 2, size.saturating_sub(cluster)];
    let fill = move |(at, fill): (u64, u8)| {
        let len = 5000.min(size.saturating_sub(at));
        (at, vec![fill; len as usize])
    };
    places.into_iter().zip(1..).map(fill)
}

/// What is written is read back, unless the image lets clusters share a place.
fn reads_back(image: &Qcow2) -> Result<()> {
    for (at, written) in writes(image) {
        if image.write_at(&written, at).is_ok() {
            let mut read = vec![0; written.len()];
            image.read_at(&mut read, at)?;
            assert!(read == written, "what was written at {at:#x} is not there");
        }
    }
    Ok(())
}

/// Writes, clears and discards here and there.
fn change_contents(image: &Qcow2) -> Result<()> {
    let (size, cluster) = (image.size(), image.geometry().cluster_size());
    for (at, written) in writes(image) {
        let _ = image.write_at(&written, at);
    }
    let _ = image.write_zeroes(size / 4, size / 8, ZeroMode::KeepAllocated);
    let _ = image.discard(size / 2, size / 4);
    let _ = image.flush();
    let whole = vec![3; cluster as usize];
    if let Some(stream) = image.compressor().compress(&whole) {
        let _ = image.write_compressed(GuestOffset(0), &stream);
    }
    let _ = image.write_zeroes(0, size, ZeroMode::MayUnmap);
    image.flush()
}

fn change_structure(image: &mut Qcow2) -> Result<()> {
    let size = image.size();
    let names: Vec<_> = image
        .snapshots()
        .map(|all| all.into_iter().map(|s| s.id).collect())
        .unwrap_or_default();
    for id in names.iter().take(2) {
        let _ = image.apply_snapshot(id);
    }
    let _ = image.create_snapshot(b"fuzz", (0, 0));
    if let Some(id) = names.first() {
        let _ = image.delete_snapshot(id);
    }
    let _ = image.add_bitmap(b"fuzz", None);
    let _ = image.remove_bitmap(b"fuzz");
    let _ = image.clear_bitmap(b"changes");
    let _ = image.set_refcount_bits(64);
    let _ = image.set_backing(None);
    if size < 1 << 40 {
        let _ = image.resize(size + (1 << 20), Preallocation::Off);
        let _ = image.resize(size / 2, Preallocation::Off);
    }
    Ok(())
}
