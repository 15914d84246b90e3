//! The debug exit port (QEMU's `isa-debug-exit`): a write ends the machine.
//!
//! Writing `v` makes the exit status `(v << 1) | 1`. Test guests report with it.

use serde::{Deserialize, Serialize};

use super::{BoardRequest, Cx, PortIo};
use crate::bus::Size;

/// The port; there is no state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DebugExit;

impl PortIo for DebugExit {
    fn read(&mut self, _cx: &mut Cx<'_>, _port: u16, _size: Size) -> u32 {
        0
    }

    fn write(&mut self, cx: &mut Cx<'_>, _port: u16, _size: Size, value: u32) {
        cx.request(BoardRequest::DebugExit(value));
    }
}
