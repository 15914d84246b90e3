//! The debug console: bytes written to port E9h (Bochs) or 402h (QEMU) leave the machine.
//!
//! Port E9h reads as E9h, by which a guest knows that somebody listens; so does 402h, as
//! SeaBIOS expects.

use serde::{Deserialize, Serialize};

use super::{Cx, PortIo};
use crate::bus::Size;

/// Both ports; there is no state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DebugConsole;

impl PortIo for DebugConsole {
    fn read(&mut self, _cx: &mut Cx<'_>, _port: u16, _size: Size) -> u32 {
        0xe9
    }

    fn write(&mut self, cx: &mut Cx<'_>, _port: u16, _size: Size, value: u32) {
        cx.outlet.debug.push(value.to_le_bytes()[0]);
    }
}
