//! `read`, `readv` and `aio_read`.

use std::time::Instant;

use super::super::qemu_text;
use super::arguments::{Letters, MAX_REQUEST, number, pattern};
use super::pattern::{dump, verify};
use super::report::{Form, Request};
use super::session::{Command, Session};
use super::{Done, Failed};
use crate::image::Image;

/// `read [-bCqv] [-P pattern [-s off] [-l len]] off len`
pub(super) fn read(session: &mut Session, command: &Command) -> Done {
    let letters = command.letters("bCl:pP:qs:v")?;
    let [offset, len] = &*letters.rest else {
        return Err(command.misused());
    };
    let (offset, len) = (number(offset)?, request_len(len)?);
    let checked = letters.value('P').map(pattern).transpose()?;
    let start = letters.value('s').map(number).transpose()?;
    let span = letters.value('l').map(number).transpose()?;
    if checked.is_none() && (start.is_some() || span.is_some()) {
        return Err(command.misused());
    }
    let start = start.unwrap_or(0);
    let span = span.unwrap_or(len.saturating_sub(start));
    if start.checked_add(span).is_none_or(|end| end > len) {
        println!("pattern verification range exceeds end of read data");
        return Err(Failed);
    }
    let started = Instant::now();
    let data = match letters.has('b') {
        true => read_vm_state(session.image()?, offset, len)?,
        false => read_bytes(session.image()?, offset, len, "read")?,
    };
    let done = Request {
        verb: "read",
        offset,
        bytes: len,
        started,
    };
    let part = usize::try_from(start).unwrap_or(0)..usize::try_from(start + span).unwrap_or(0);
    let verified = match checked {
        Some(byte) => verify(data.get(part).unwrap_or(&[]), byte, offset + start),
        None => Ok(()),
    };
    finish(&letters, &data, done);
    verified
}

/// `readv [-Cqv] [-P pattern] off len [len..]`, and `aio_read`, which also has `-i`.
pub(super) fn readv(session: &mut Session, command: &Command) -> Done {
    let letters = command.letters("CiP:qv")?;
    if letters.has('i') {
        println!("injecting invalid read request");
        return Ok(());
    }
    let (offset, len) = vector(command, &letters)?;
    let checked = letters.value('P').map(pattern).transpose()?;
    let started = Instant::now();
    let data = read_bytes(session.image()?, offset, len, "readv")?;
    let done = Request {
        verb: "read",
        offset,
        bytes: len,
        started,
    };
    let verified = checked.map_or(Ok(()), |byte| verify(&data, byte, offset));
    finish(&letters, &data, done);
    verified
}

/// The length of one request.
pub(super) fn request_len(text: &str) -> Result<u64, Failed> {
    let len = number(text)?;
    if len > MAX_REQUEST {
        println!("length cannot exceed {MAX_REQUEST}, given {text}");
        return Err(Failed);
    }
    Ok(len)
}

/// The offset and the sum of the lengths that follow it.
pub(super) fn vector(command: &Command, letters: &Letters) -> Result<(u64, u64), Failed> {
    let [offset, lens @ ..] = &*letters.rest else {
        return Err(command.misused());
    };
    if lens.is_empty() {
        return Err(command.misused());
    }
    let offset = number(offset)?;
    let mut total = 0;
    for text in lens {
        let len = number(text)?;
        if len > MAX_REQUEST {
            println!("Argument '{text}' exceeds maximum size {MAX_REQUEST}");
            return Err(Failed);
        }
        total += len;
        if total > MAX_REQUEST {
            println!("The total number of bytes exceed the maximum size {MAX_REQUEST}");
            return Err(Failed);
        }
    }
    Ok((offset, total))
}

fn read_bytes(image: &dyn Image, offset: u64, len: u64, verb: &str) -> Result<Vec<u8>, Failed> {
    if offset.checked_add(len).is_none_or(|end| end > image.size()) {
        println!("{verb} failed: {}", qemu_text::of_number(libc::EIO));
        return Err(Failed);
    }
    let mut data = vec![0; usize::try_from(len).map_err(|_| Failed)?];
    match image.read_at(&mut data, offset) {
        Ok(()) => Ok(data),
        Err(error) => {
            println!("{verb} failed: {}", qemu_text::of_error(&error));
            Err(Failed)
        }
    }
}

fn read_vm_state(image: &dyn Image, offset: u64, len: u64) -> Result<Vec<u8>, Failed> {
    let Some(qcow2) = image.as_qcow2() else {
        println!("read failed: {}", qemu_text::of_number(libc::ENOTSUP));
        return Err(Failed);
    };
    let mut data = vec![0; usize::try_from(len).map_err(|_| Failed)?];
    match qcow2.read_vm_state(&mut data, offset) {
        Ok(()) => Ok(data),
        Err(error) => {
            println!("read failed: {}", qemu_text::of_error(&error));
            Err(Failed)
        }
    }
}

fn finish(letters: &Letters, data: &[u8], done: Request) {
    let form = Form::of(letters);
    if letters.has('v') && form != Form::Quiet {
        dump(data, done.offset);
    }
    done.report(form);
}
