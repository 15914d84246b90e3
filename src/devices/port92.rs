//! Port 92h, "system control port A" of the PS/2: fast A20 and fast CPU reset.
//!
//! Source: 82371SB datasheet, section 2.4.9.

use serde::{Deserialize, Serialize};

use super::{BoardRequest, Cx, PortIo};
use crate::bus::Size;

const RESET_CPU: u8 = 1 << 0;
const A20: u8 = 1 << 1;

/// The port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Port92 {
    value: u8,
}

impl Default for Port92 {
    fn default() -> Self {
        Self::new()
    }
}

impl Port92 {
    /// After reset the gate is open.
    pub fn new() -> Self {
        Self { value: A20 }
    }
}

impl PortIo for Port92 {
    fn read(&mut self, _cx: &mut Cx<'_>, _port: u16, _size: Size) -> u32 {
        self.value.into()
    }

    fn write(&mut self, cx: &mut Cx<'_>, _port: u16, _size: Size, value: u32) {
        let value = value.to_le_bytes()[0];
        let rises = value & !self.value;
        self.value = value & 0xfb;
        cx.request(BoardRequest::SetA20(value & A20 != 0));
        if rises & RESET_CPU != 0 {
            cx.request(BoardRequest::ResetCpu);
        }
    }
}
