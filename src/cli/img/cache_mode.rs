//! Cache modes by QEMU's names.

use crate::image::WriteCache;

/// The mode called `name`.
pub(super) fn mode(name: &str) -> Result<WriteCache, String> {
    WriteCache::from_name(name)
        .ok_or_else(|| format!("Invalid cache option: {}", name.escape_debug()))
}
