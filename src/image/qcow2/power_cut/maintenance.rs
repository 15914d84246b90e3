//! What a workload does to an image that the guest does not see.

use super::super::Qcow2;
use super::super::compact::Zeros;
use super::super::create::RefcountUpdates;
use super::super::geometry::Version;
use super::super::header::{Header, LAZY_REFCOUNTS};
use super::super::preallocate::Preallocation;
use super::super::{Parameters, Purpose, Writing};
use super::bitmaps::{self, BitmapChange};
use super::case::{self, Case, backing, open, open_below, parameters};
use super::files::Files;
use super::random::Random;
use super::workload::Op;
use crate::image::commit::{Afterwards, commit_between};
use crate::image::rebase::{NewBacking, rebase_onto};
use crate::image::resize::resize_raw;
use crate::image::{Format, Image, Result};

/// One such thing; a refused one leaves a flushed image.
pub(super) fn step(
    image: &mut Qcow2,
    files: &Files,
    case: &Case,
    (random, number): (&mut Random, u32),
) -> Op {
    let (name, done) = match random.below(10) {
        0 | 6 if case.below.is_some() => ("commit", commit(image, files, case)),
        1 if case.below.is_some() => ("rebase", rebase(image, files, case, random)),
        2 if case.below.is_some() => ("amend backing", rename(image)),
        3 => ("amend compat", change_version(image)),
        4 => ("amend lazy_refcounts", change_updates(image)),
        5 => ("amend refcount_bits", {
            let bits = 1 << random.below(7);
            image.set_refcount_bits(bits)
        }),
        _ => return change_bitmaps(image, random, number),
    };
    match done {
        Ok(()) => Op::Maintain(name),
        Err(_) => {
            image.close().unwrap();
            // What is below may have been replaced already, in memory.
            *image = open(files, case).unwrap();
            Op::Flush
        }
    }
}

/// Compacts the image.
pub(super) fn compact(image: &mut Qcow2, random: &mut Random) -> Op {
    let zeros = match random.below(2) {
        0 => Zeros::Kept,
        _ => Zeros::Freed,
    };
    image.compact(zeros, &mut |_, _| ()).unwrap();
    Op::Maintain("compact")
}

/// After an operation that the image cannot have.
pub(super) fn refused(image: &Qcow2) -> Op {
    image.close().unwrap();
    Op::Flush
}

fn is_over_below(image: &Qcow2) -> bool {
    let name = image.header().backing_name.as_deref();
    name.is_some_and(|name| name != case::OTHER.as_bytes())
}

fn commit(image: &mut Qcow2, files: &Files, case: &Case) -> Result<()> {
    image.close()?;
    if !is_over_below(image) {
        return Ok(());
    }
    let header = Header::read(&*files.image, Purpose::Contents)?;
    let alone = Parameters {
        backing: None,
        ..parameters(files, case, &header, Writing::Allowed)?
    };
    let overlay = case::open_with(files, header, alone)?;
    if open_below(files, case, Writing::Refused)?.size() < overlay.size() {
        grow_below(files, case, overlay.size())?;
    }
    let base = open_below(files, case, Writing::Allowed)?;
    commit_between(&overlay, &*base, Afterwards::Empty, &mut |_| {})?;
    drop(overlay);
    *image = open(files, case)?;
    Ok(())
}

fn grow_below(files: &Files, case: &Case, size: u64) -> Result<()> {
    if case.below == Some(Format::Raw) {
        return resize_raw(&*files.below, size, Preallocation::Off);
    }
    let header = Header::read(&*files.below, Purpose::Contents)?;
    let with = Parameters::new(Writing::Allowed);
    let mut base = Qcow2::open(files.below.clone(), header, with)?;
    base.resize(size, Preallocation::Off)
}

fn rebase(image: &mut Qcow2, files: &Files, case: &Case, random: &mut Random) -> Result<()> {
    let below = [case::BELOW, case::BELOW_BY_ANOTHER_NAME];
    let name = match image.header().backing_name.as_deref() {
        Some(name) if name != case::OTHER.as_bytes() => [case::OTHER, ""][random.below(2) as usize],
        _ => below[random.below(2) as usize],
    };
    let named = (!name.is_empty()).then_some(name);
    let format = match (name, case.below) {
        (case::OTHER, _) | (_, None) => Format::Raw,
        (_, Some(format)) => format,
    };
    let recorded = NewBacking {
        name,
        format: Some(format.name()),
    };
    let new = backing(named.map(str::as_bytes), files, case)?;
    rebase_onto(image, new, Some(recorded), &mut |_| {})
}

/// Calls the same file by another name.
fn rename(image: &mut Qcow2) -> Result<()> {
    if !is_over_below(image) {
        return image.close();
    }
    let header = image.header();
    let format = header.extensions.backing_format().map(<[u8]>::to_vec);
    let name = match header.backing_name.as_deref() {
        Some(name) if name == case::BELOW.as_bytes() => case::BELOW_BY_ANOTHER_NAME,
        _ => case::BELOW,
    };
    image.set_backing(Some((name.as_bytes(), format.as_deref())))
}

fn change_version(image: &mut Qcow2) -> Result<()> {
    let version = match image.geometry().version() {
        Version::V2 => Version::V3,
        Version::V3 => Version::V2,
    };
    image.set_version(version)
}

fn change_updates(image: &mut Qcow2) -> Result<()> {
    let updates = match image.header().compatible & LAZY_REFCOUNTS {
        0 => RefcountUpdates::Lazy,
        _ => RefcountUpdates::InOrder,
    };
    image.set_refcount_updates(updates)
}

fn change_bitmaps(image: &mut Qcow2, random: &mut Random, number: u32) -> Op {
    use super::super::bitmaps::Recording;
    let directory = super::super::bitmap::Directory::read(image.host.storage(), image.header());
    let all: Vec<u32> = directory.unwrap().bitmaps.iter().map(number_of).collect();
    let mut pick = || {
        all.get(random.below(all.len().max(1) as u64) as usize)
            .copied()
    };
    let (some, other) = (pick(), pick());
    let change = match (some, other, random.below(6)) {
        (Some(some), _, 0) => BitmapChange::Remove(some),
        (Some(some), _, 1) => BitmapChange::Clear(some),
        (Some(some), _, 2) => BitmapChange::Enable(some),
        (Some(some), _, 3) => BitmapChange::Disable(some),
        (Some(some), Some(other), 4) if some != other => BitmapChange::Merge(some, other),
        _ => BitmapChange::Add(number),
    };
    let named = |number: &u32| bitmaps::name(*number).into_bytes();
    let done = match &change {
        BitmapChange::Add(new) => image.add_bitmap(&named(new), Some(512)),
        BitmapChange::Remove(gone) => image.remove_bitmap(&named(gone)),
        BitmapChange::Clear(some) => image.clear_bitmap(&named(some)),
        BitmapChange::Enable(some) => image.record_bitmap(&named(some), Recording::Enabled),
        BitmapChange::Disable(some) => image.record_bitmap(&named(some), Recording::Disabled),
        BitmapChange::Merge(into, from) => {
            let bits = image.bitmap_bits(&named(from));
            bits.and_then(|bits| image.merge_bitmap(&named(into), &bits))
        }
    };
    match done {
        Ok(()) => Op::Bitmaps(change),
        Err(_) => refused(image),
    }
}

fn number_of(bitmap: &super::super::bitmap::Bitmap) -> u32 {
    let name = std::str::from_utf8(&bitmap.name).unwrap();
    name[1..].parse().unwrap()
}
