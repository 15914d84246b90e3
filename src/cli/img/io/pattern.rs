//! What is written and what read data is compared with, and dumps of it.

use std::io::Read;

use super::{Done, Failed};

/// The bytes of a file, repeated to `len` bytes.
pub(super) fn from_file(name: &str, len: usize) -> Result<Vec<u8>, Failed> {
    let failed = |e: std::io::Error| {
        println!(
            "{name}: {}",
            super::super::qemu_text::of_number(e.raw_os_error().unwrap_or(0))
        );
        Failed
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(name).map_err(failed)?;
    let limit = u64::try_from(len).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.is_empty() && len > 0 {
        eprintln!("{name}: file is empty");
        return Err(Failed);
    }
    Ok(bytes.iter().copied().cycle().take(len).collect())
}

/// Fails, and says so, if `data`, read from `offset`, is anything but `pattern`.
pub(super) fn verify(data: &[u8], pattern: u8, offset: u64) -> Done {
    if data.iter().all(|&byte| byte == pattern) {
        return Ok(());
    }
    let len = data.len();
    println!("Pattern verification failed at offset {offset}, {len} bytes");
    Err(Failed)
}

/// Prints `data`, read from `offset`, as bytes and characters.
pub(super) fn dump(data: &[u8], offset: u64) {
    for (line, at) in data.chunks(16).zip((offset..).step_by(16)) {
        let bytes: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let text: String = line
            .iter()
            .map(|&byte| match byte.is_ascii_alphanumeric() {
                true => char::from(byte),
                false => '.',
            })
            .collect();
        println!("{at:08x}:  {bytes} {text}");
    }
}
