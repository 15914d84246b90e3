//! Encryption of disks: LUKS1 headers, passwords to keys, and the ciphers of sectors. The `luks`
//! format and encrypted qcow2 images share it.
//!
//! ```text
//!   password ──derive──> slot key ──sector──> key material ──split──> master key
//!                                                                         │
//!   sectors of the disk <───────── sector (AES, XTS or CBC, an IV per sector) <──┘
//! ```
//!
//! [`luks`] is the LUKS header with its key slots, [`slots`] adding and erasing keys, [`options`]
//! what a new header is to be, [`split`] the anti-forensic splitter, [`derive`] passwords to keys,
//! [`sector`] the ciphers. Keys are wiped from memory when they are dropped. Left out on purpose:
//! LUKS2, and headers that stand in another file than their data (`detached-header`).

pub mod derive;
pub mod luks;
pub mod options;
pub mod sector;
pub mod slots;
mod split;
