//! The reset control register at port CF9h, which the FADT names as the ACPI reset register.
//!
//! Source: 82371SB datasheet, section 2.5.2 (RC).

use serde::{Deserialize, Serialize};

use super::{BoardRequest, Cx, PortIo};
use crate::bus::Size;

const RESET_CPU: u8 = 1 << 2;

/// The register.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ResetControl {
    value: u8,
}

impl PortIo for ResetControl {
    fn read(&mut self, _cx: &mut Cx<'_>, _port: u16, _size: Size) -> u32 {
        self.value.into()
    }

    fn write(&mut self, cx: &mut Cx<'_>, _port: u16, _size: Size, value: u32) {
        let value = value.to_le_bytes()[0];
        // A soft reset (bit 1 clear) resets the CPU alone on real boards; guests that ask for
        // either want the machine to start over.
        if value & !self.value & RESET_CPU != 0 {
            cx.request(BoardRequest::Reset);
        }
        self.value = value & 0x0e & !RESET_CPU;
    }
}
