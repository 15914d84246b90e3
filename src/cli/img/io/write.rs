//! `write`, `writev`, `aio_write`, `discard` and `truncate`.

use std::time::Instant;

use super::super::qemu_text;
use super::arguments::{MAX_REQUEST, check_sectors, number, pattern};
use super::pattern::from_file;
use super::read::{request_len, vector};
use super::report::{Form, Request};
use super::session::{Command, Session};
use super::{Done, Failed};
use crate::image::{self, Image, ImageError, ZeroMode};

/// The byte that is written where no other is given.
const USUAL: u8 = 0xcd;

/// `write [-bcCfnquz] [-P pattern | -s file] off len`
pub(super) fn write(session: &mut Session, command: &Command) -> Done {
    let letters = command.letters("bcCfnpP:qs:uz")?;
    let [offset, len] = &*letters.rest else {
        return Err(command.misused());
    };
    let zero = letters.has('z');
    let refused = [
        (
            letters.has('b') && zero,
            "-b and -z cannot be specified at the same time",
        ),
        (
            letters.has('f') && (letters.has('b') || letters.has('c')),
            "-f and -b or -c cannot be specified at the same time",
        ),
        (letters.has('n') && !zero, "-n requires -z to be specified"),
        (letters.has('u') && !zero, "-u requires -z to be specified"),
        (
            [zero, letters.has('P'), letters.has('s')]
                .iter()
                .filter(|&&set| set)
                .count()
                > 1,
            "Only one of -z, -P, and -s can be specified at the same time",
        ),
    ];
    if let Some((_, why)) = refused.iter().find(|(wrong, _)| *wrong) {
        println!("{why}");
        return Err(Failed);
    }
    let byte = letters.value('P').map_or(Ok(USUAL), pattern)?;
    let (offset, text) = (number(offset)?, len);
    let len = number(text)?;
    if len > MAX_REQUEST && !letters.has('n') {
        println!("length cannot exceed {MAX_REQUEST} without -n, given {text}");
        return Err(Failed);
    }
    if letters.has('b') || letters.has('c') {
        check_sectors(offset, "offset")?;
        check_sectors(len, "count")?;
    }
    let data = match letters.value('s') {
        Some(file) => from_file(file, usize::try_from(len).map_err(|_| Failed)?)?,
        None if zero => Vec::new(),
        None => vec![byte; usize::try_from(len).map_err(|_| Failed)?],
    };
    let work = match (letters.has('b'), zero, letters.has('c')) {
        (true, ..) => Work::MachineState(&data),
        (_, true, _) => Work::Zero(zero_mode(letters.has('u'))),
        (_, _, true) => Work::Compressed(&data),
        _ => Work::Data(&data),
    };
    let started = Instant::now();
    carry_out(session, work, (offset, len), letters.has('f'), "write")?;
    let done = Request {
        verb: "wrote",
        offset,
        bytes: len,
        started,
    };
    done.report(Form::of(&letters));
    Ok(())
}

/// `writev [-Cfq] [-P pattern] off len [len..]`, and `aio_write`, which also has `-i`, `-u`, `-z`.
pub(super) fn writev(session: &mut Session, command: &Command) -> Done {
    let letters = command.letters("CfiqP:uz")?;
    if letters.has('i') {
        println!("injecting invalid write request");
        return Ok(());
    }
    let zero = letters.has('z');
    let refused = [
        (
            zero && letters.rest.len() > 2,
            "-z supports only a single length parameter",
        ),
        (letters.has('u') && !zero, "-u requires -z to be specified"),
        (
            zero && letters.has('P'),
            "-z and -P cannot be specified at the same time",
        ),
    ];
    if let Some((_, why)) = refused.iter().find(|(wrong, _)| *wrong) {
        println!("{why}");
        return Err(Failed);
    }
    let (offset, len) = vector(command, &letters)?;
    let byte = letters.value('P').map_or(Ok(USUAL), pattern)?;
    let data = match zero {
        true => Vec::new(),
        false => vec![byte; usize::try_from(len).map_err(|_| Failed)?],
    };
    let work = match zero {
        true => Work::Zero(zero_mode(letters.has('u'))),
        false => Work::Data(&data),
    };
    let started = Instant::now();
    carry_out(
        session,
        work,
        (offset, len),
        letters.has('f'),
        command.name(),
    )?;
    let done = Request {
        verb: "wrote",
        offset,
        bytes: len,
        started,
    };
    done.report(Form::of(&letters));
    Ok(())
}

/// `discard [-Cq] off len`
pub(super) fn discard(session: &mut Session, command: &Command) -> Done {
    let letters = command.letters("Cq")?;
    let [offset, len] = &*letters.rest else {
        return Err(command.misused());
    };
    let (offset, len) = (number(offset)?, request_len(len)?);
    let started = Instant::now();
    carry_out(session, Work::Discard, (offset, len), false, "discard")?;
    let done = Request {
        verb: "discard",
        offset,
        bytes: len,
        started,
    };
    done.report(Form::of(&letters));
    Ok(())
}

/// What is done to a range.
#[derive(Debug, Clone, Copy)]
enum Work<'a> {
    Data(&'a [u8]),
    Zero(ZeroMode),
    Compressed(&'a [u8]),
    Discard,
    MachineState(&'a [u8]),
}

fn zero_mode(unmap: bool) -> ZeroMode {
    match unmap {
        true => ZeroMode::MayUnmap,
        false => ZeroMode::KeepAllocated,
    }
}

fn carry_out(
    session: &mut Session,
    work: Work<'_>,
    (offset, len): (u64, u64),
    durable: bool,
    verb: &str,
) -> Done {
    let image = session.image()?;
    if image.read_only() {
        eprintln!("{}: Block node is read-only", session.program().name());
        return Err(Failed);
    }
    if let Work::MachineState(data) = work {
        return session.write_vm_state(data, offset);
    }
    if offset.checked_add(len).is_none_or(|end| end > image.size()) {
        println!("{verb} failed: {}", qemu_text::of_number(libc::EIO));
        return Err(Failed);
    }
    let done = request(image, work, offset, len);
    let done = done.and_then(|()| if durable { image.flush() } else { Ok(()) });
    done.map_err(|error| {
        println!("{verb} failed: {}", qemu_text::of_error(&error));
        Failed
    })
}

fn request(image: &dyn Image, work: Work<'_>, offset: u64, len: u64) -> Result<(), ImageError> {
    let unsupported = || ImageError::new(image::ErrorKind::Unsupported, "not for this image");
    match work {
        Work::Data(data) => image.write_at(data, offset),
        Work::Zero(mode) => image.write_zeroes(offset, len, mode),
        Work::Discard => image.discard(offset, len),
        // Needs the image to itself: see the session.
        Work::MachineState(_) => Err(unsupported()),
        Work::Compressed(data) => {
            let target = image.as_qcow2().ok_or_else(unsupported)?;
            image::convert::write_compressed(target, data, offset)
        }
    }
}
