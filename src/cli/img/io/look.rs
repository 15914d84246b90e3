//! `length`, `map`, `alloc` and `info`.

use super::super::info::specific_text;
use super::super::qemu_text;
use super::arguments::number;
use super::report::amount;
use super::session::{Command, Session};
use super::{Done, Failed};
use crate::image::info::{EncryptionFacts, facts_of};
use crate::image::{ExtentKind, Image};

/// `length`
pub(super) fn length(session: &mut Session, _: &Command) -> Done {
    println!("{}", amount(session.image()?.size() as f64));
    Ok(())
}

/// `map`: runs that the image itself has, and runs that it has not.
pub(super) fn map(session: &mut Session, _: &Command) -> Done {
    let image = session.image()?;
    let mut at = 0;
    while at < image.size() {
        let (allocated, mut len) = run(image, at, image.size() - at)?;
        while at + len < image.size() {
            match run(image, at + len, image.size() - at - len)? {
                (same, more) if same == allocated => len += more,
                _ => break,
            }
        }
        let what = if allocated {
            "    allocated"
        } else {
            "not allocated"
        };
        println!(
            "{} ({len:#x}) bytes {what} at offset {} ({at:#x})",
            amount(len as f64),
            amount(at as f64)
        );
        at += len;
    }
    Ok(())
}

/// `alloc offset [count]`
pub(super) fn alloc(session: &mut Session, command: &Command) -> Done {
    let words = command.words();
    let start = number(&words[0])?;
    let mut count = words.get(1).map_or(Ok(512), |text| number(text))?;
    let image = session.image()?;
    count = count.min(image.size().saturating_sub(start));
    let (mut at, mut sum) = (start, 0);
    while at < start + count {
        let (allocated, len) = run(image, at, start + count - at)?;
        sum += if allocated { len } else { 0 };
        at += len;
    }
    println!(
        "{sum}/{count} bytes allocated at offset {}",
        amount(start as f64)
    );
    Ok(())
}

/// `info`
pub(super) fn info(session: &mut Session, _: &Command) -> Done {
    let image = session.image()?;
    println!("format name: {}", image.format());
    let Some(qcow2) = image.as_qcow2() else {
        return Ok(());
    };
    let geometry = qcow2.geometry();
    let state = image.size().next_multiple_of(geometry.l2_reach());
    println!(
        "cluster size: {}\nvm state offset: {}",
        amount(geometry.cluster_size() as f64),
        amount(state as f64)
    );
    let encryption = qcow2.encryption().unwrap_or(EncryptionFacts::None);
    let text = specific_text(&facts_of(qcow2.header()), &encryption);
    println!("Format specific information:\n{}", text.trim_end());
    Ok(())
}

/// Whether the image itself has what is at `at`, and for how many bytes.
fn run(image: &dyn Image, at: u64, len: u64) -> Result<(bool, u64), Failed> {
    let extent = image.extent(at, len).map_err(|error| {
        println!("is_allocated failed: {}", qemu_text::of_error(&error));
        Failed
    })?;
    let here = extent.depth == 0 && extent.kind != ExtentKind::Unallocated;
    Ok((here, extent.length))
}
