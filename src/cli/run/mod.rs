//! `cowbox run`: a machine from power-on until the guest or the user is done.
//!
//! ```text
//!   Options --assemble--> Machine --Session: slices of guest time--> Ending --> exit status
//!                                     |        ^
//!                        serial, screen        typed keys and bytes, --send
//! ```
//!
//! Exit status: 0 the guest powered off, 1 our failure, 2 usage, 70 triple fault, 124 time limit,
//! 128 + n signal n; a value v written to the debug exit port gives (v << 1) | 1.

mod aliases;
mod boot;
mod disk;
mod ending;
mod options;
mod pace;
mod script;
mod serial;
mod session;
mod signals;
mod values;

pub(super) use aliases::expand;
pub(super) use options::Run;
pub(super) use serial::SerialTarget;
pub(super) use session::{Display, Session};
