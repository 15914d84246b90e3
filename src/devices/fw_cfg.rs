//! The firmware configuration device: named items that the host leaves for firmware.
//!
//! ```text
//!   510h  selector (word)        514h..51Bh  address of a DMA command, big-endian
//!   511h  data, a byte a read                 (written low half last, which runs it)
//! ```
//!
//! What the items hold is decided in `crate::firmware`. Writes to items are left out: nothing
//! here wants an answer from firmware. (QEMU, docs/specs/fw_cfg.rst.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cx, PortIo};
use crate::bus::Size;

const SELECTOR: u16 = 0x510;
/// The data port.
pub const DATA: u16 = 0x511;
const DMA: u16 = 0x514;
const DMA_END: u16 = 0x51b;

/// What the DMA address register reads as: the sign that DMA is there.
const DMA_SIGNATURE: u64 = u64::from_be_bytes(*b"QEMU CFG");

const CONTROL_ERROR: u32 = 1 << 0;
const CONTROL_READ: u32 = 1 << 1;
const CONTROL_SKIP: u32 = 1 << 2;
const CONTROL_SELECT: u32 = 1 << 3;
const CONTROL_WRITE: u32 = 1 << 4;

/// Keys have two flag bits (write channel, architecture): the first is ignored.
const KEY_MASK: u16 = 0xbfff;

/// How much is copied at once.
const CHUNK: usize = 4096;

/// The device, with its items.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FwCfg {
    items: BTreeMap<u16, Vec<u8>>,
    selected: u16,
    offset: u64,
    dma_address: u64,
}

impl FwCfg {
    /// A device that holds `items`, by selector.
    pub fn new(items: impl IntoIterator<Item = (u16, Vec<u8>)>) -> Self {
        Self {
            items: items.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Back to the state after power-on; the items stay.
    pub fn reset(&mut self) {
        self.select(0);
        self.dma_address = 0;
    }

    /// Fills `into` as that many byte reads of the data port do: for repeated INS.
    pub fn read_data(&mut self, into: &mut [u8]) {
        let rest = self.rest();
        let known = rest.len().min(into.len());
        for (place, byte) in into.iter_mut().zip(rest) {
            *place = *byte;
        }
        if let Some(past) = into.get_mut(known..) {
            past.fill(0);
        }
        self.offset = self.offset.saturating_add(into.len() as u64);
    }

    fn select(&mut self, key: u16) {
        self.selected = key & KEY_MASK;
        self.offset = 0;
    }

    /// What is left of the selected item.
    fn rest(&self) -> &[u8] {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let item = self.items.get(&self.selected);
        item.and_then(|bytes| bytes.get(start..)).unwrap_or(&[])
    }

    /// Runs the command at the DMA address: control, length and address, big-endian. Its
    /// control word is replaced by the outcome.
    fn run_dma(&mut self, cx: &mut Cx<'_>) {
        let command = self.dma_address;
        let control = u32::from_be_bytes(cx.memory.read_array(command));
        let len = u32::from_be_bytes(cx.memory.read_array(command.wrapping_add(4)));
        let address = u64::from_be_bytes(cx.memory.read_array(command.wrapping_add(8)));
        if control & CONTROL_SELECT != 0 {
            let [high, low, ..] = control.to_be_bytes();
            self.select(u16::from_be_bytes([high, low]));
        }
        let mut outcome = 0;
        if control & CONTROL_READ != 0 {
            self.copy_out(cx, address, u64::from(len));
        } else if control & CONTROL_WRITE != 0 {
            cx.outlet
                .misuse
                .push(format!("fw_cfg: write to item {:#x}", self.selected));
            outcome = CONTROL_ERROR;
        } else if control & CONTROL_SKIP != 0 {
            self.offset = self.offset.saturating_add(u64::from(len));
        }
        cx.memory.write(command, &outcome.to_be_bytes());
    }

    fn copy_out(&mut self, cx: &mut Cx<'_>, address: u64, len: u64) {
        let mut chunk = [0; CHUNK];
        let mut done = 0;
        while done < len {
            let run = usize::try_from(len - done).unwrap_or(CHUNK).min(CHUNK);
            let Some(part) = chunk.get_mut(..run) else {
                return;
            };
            self.read_data(part);
            cx.memory.write(address.wrapping_add(done), part);
            done += run as u64;
        }
    }
}

impl PortIo for FwCfg {
    fn read(&mut self, _cx: &mut Cx<'_>, port: u16, size: Size) -> u32 {
        match (port, size) {
            (DATA, Size::Byte) => {
                let mut byte = [0];
                self.read_data(&mut byte);
                let [byte] = byte;
                u32::from(byte)
            }
            (DMA..=DMA_END, _) => {
                let bytes = DMA_SIGNATURE.to_be_bytes();
                let from = bytes.iter().skip(usize::from(port - DMA)).take(4);
                let value = (0u32..).zip(from);
                value.fold(0, |v, (i, byte)| v | u32::from(*byte) << (8 * i))
            }
            _ => 0xffff_ffff,
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, port: u16, size: Size, value: u32) {
        const LOW: u16 = DMA + 4;
        match (port, size) {
            (SELECTOR, Size::Word) => {
                let [low, high, ..] = value.to_le_bytes();
                self.select(u16::from_le_bytes([low, high]));
            }
            (DMA, Size::Dword) => {
                self.dma_address = u64::from(value.swap_bytes()) << 32;
            }
            (LOW, Size::Dword) => {
                self.dma_address |= u64::from(value.swap_bytes());
                self.run_dma(cx);
                self.dma_address = 0;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Workbench;

    fn device() -> FwCfg {
        FwCfg::new([(0, b"QEMU".to_vec()), (0x20, (0..=255).collect())])
    }

    fn run(bench: &mut Workbench, device: &mut FwCfg, control: u32, len: u32) -> u32 {
        let mut command = control.to_be_bytes().to_vec();
        command.extend(len.to_be_bytes());
        command.extend(0x2000u64.to_be_bytes());
        bench.memory.write(0x1000, &command);
        device.write(
            &mut bench.cx(),
            DMA + 4,
            Size::Dword,
            0x1000u32.swap_bytes(),
        );
        u32::from_be_bytes(bench.memory.read_array(0x1000))
    }

    #[test]
    fn a_selected_item_reads_byte_by_byte_and_then_as_zeroes() {
        let (mut device, mut bench) = (device(), Workbench::new());
        device.write(&mut bench.cx(), SELECTOR, Size::Word, 0);
        let mut read = || device.read(&mut bench.cx(), DATA, Size::Byte);
        let bytes = [read(), read(), read(), read(), read()];
        assert_eq!(bytes, [0x51, 0x45, 0x4d, 0x55, 0]);
    }

    #[test]
    fn dma_selects_skips_and_copies_in_one_place() {
        let (mut device, mut bench) = (device(), Workbench::new());
        let select = 0x20 << 16 | CONTROL_SELECT;
        assert_eq!(run(&mut bench, &mut device, select | CONTROL_SKIP, 16), 0);
        assert_eq!(run(&mut bench, &mut device, CONTROL_READ, 5000), 0);
        assert_eq!(bench.memory.read_array(0x2000), [16, 17, 18, 19]);
        assert_eq!(bench.memory.read_array(0x20ef), [255, 0]);
    }

    #[test]
    fn the_dma_register_shows_its_signature_and_writes_to_items_fail() {
        let (mut device, mut bench) = (device(), Workbench::new());
        let low = device.read(&mut bench.cx(), DMA, Size::Dword);
        assert_eq!(low.to_le_bytes(), *b"QEMU");
        let outcome = run(&mut bench, &mut device, CONTROL_WRITE, 4);
        assert_eq!(outcome, CONTROL_ERROR);
        assert_eq!(bench.outlet.misuse.len(), 1);
    }

    #[test]
    fn a_dma_of_four_gib_to_nowhere_ends() {
        let (mut device, mut bench) = (device(), Workbench::new());
        bench.memory.map.unmap(0x2000, 0xf_e000);
        assert_eq!(run(&mut bench, &mut device, CONTROL_READ, u32::MAX), 0);
    }
}
