//! Port 80h, the POST code: the last value written, and a delay of one ISA cycle.

use serde::{Deserialize, Serialize};

use super::{Cx, PortIo};
use crate::bus::Size;

/// The port.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PostCode {
    value: u8,
}

impl PostCode {
    /// The last code written.
    pub fn value(&self) -> u8 {
        self.value
    }
}

impl PortIo for PostCode {
    fn read(&mut self, _cx: &mut Cx<'_>, _port: u16, _size: Size) -> u32 {
        self.value.into()
    }

    fn write(&mut self, _cx: &mut Cx<'_>, _port: u16, _size: Size, value: u32) {
        self.value = value.to_le_bytes()[0];
    }
}
