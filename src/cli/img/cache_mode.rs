//! Cache modes by QEMU's names.
//!
//! The host's page cache is always used: what goes around it in QEMU (none, directsync) does here
//! what the mode does besides.

use crate::image::WriteCache;

/// The mode called `name`.
pub(super) fn mode(name: &str) -> Result<WriteCache, String> {
    match name {
        "none" | "off" | "writeback" => Ok(WriteCache::WriteBack),
        "writethrough" | "directsync" => Ok(WriteCache::WriteThrough),
        "unsafe" => Ok(WriteCache::Unsafe),
        _ => Err(format!("Invalid cache option: {}", name.escape_debug())),
    }
}
