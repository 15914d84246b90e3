//! MSI-X: interrupts as memory writes, one address and datum for each vector.
//!
//! The table and the pending bits lie in a window of the function, which routes accesses here;
//! enable and function mask are in the capability. (PCI Local Bus Specification 3.0, section
//! 6.8.2.)

use serde::{Deserialize, Serialize};

use super::ConfigSpace;
use crate::bus::{Message, Size};
use crate::devices::Cx;

const CAPABILITY_ID: u8 = 0x11;
const CONTROL: u8 = 2;
const CONTROL_ENABLE: u16 = 1 << 15;
const CONTROL_FUNCTION_MASK: u16 = 1 << 14;

const ENTRY_BYTES: u64 = 16;
const VECTOR_MASKED: u32 = 1;

/// One table entry: message address (low, high), message data, vector control.
type Entry = [u32; 4];

/// Where the table or the pending bits lie.
#[derive(Clone, Copy, Debug)]
pub struct MsixPlace {
    /// The base address register, 0 to 5.
    pub bar: u8,
    /// The offset in its window, a multiple of 8.
    pub offset: u32,
}

/// The MSI-X table, its pending bits, and where its capability is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Msix {
    capability: u8,
    table: Vec<Entry>,
    pending: Vec<bool>,
}

impl Msix {
    /// Adds the capability for `vectors` vectors (1 to 2048) to `config`. The pending bits are
    /// as long as the vectors need, in whole qwords.
    pub fn new(
        config: &mut ConfigSpace,
        vectors: u16,
        table: MsixPlace,
        pending: MsixPlace,
    ) -> Self {
        let vectors = vectors.clamp(1, 2048);
        let mut body = Vec::with_capacity(10);
        body.extend((vectors - 1).to_le_bytes());
        for place in [table, pending] {
            body.extend((place.offset & !7 | u32::from(place.bar & 7)).to_le_bytes());
        }
        let capability = config.add_capability(CAPABILITY_ID, &body);
        let control = CONTROL_ENABLE | CONTROL_FUNCTION_MASK;
        config.allow_writes(capability + CONTROL, &control.to_le_bytes());
        Self {
            capability,
            table: vec![[0, 0, 0, VECTOR_MASKED]; usize::from(vectors)],
            pending: vec![false; usize::from(vectors)],
        }
    }

    /// How many bytes the table takes.
    pub fn table_bytes(&self) -> u64 {
        self.table.len() as u64 * ENTRY_BYTES
    }

    /// Whether the guest enabled MSI-X: the function sends no INTx then.
    pub fn is_enabled(&self, config: &ConfigSpace) -> bool {
        self.control(config) & CONTROL_ENABLE != 0
    }

    fn control(&self, config: &ConfigSpace) -> u16 {
        config.word(self.capability + CONTROL)
    }

    /// Sends the message of `vector`, or notes it as pending while masked. A vector that the
    /// table does not have sends nothing (0xffff is virtio's "no vector").
    pub fn notify(&mut self, cx: &mut Cx<'_>, config: &ConfigSpace, vector: u16) {
        let control = self.control(config);
        if control & CONTROL_ENABLE == 0 {
            return;
        }
        let at = usize::from(vector);
        let (Some(entry), Some(pending)) = (self.table.get(at), self.pending.get_mut(at)) else {
            return;
        };
        if control & CONTROL_FUNCTION_MASK != 0 || is_masked(entry) {
            *pending = true;
        } else {
            *pending = false;
            cx.messages.push(message(entry));
        }
    }

    /// Sends what is pending and no longer masked. Call after each write to configuration
    /// space; writes to the table do it by themselves.
    pub fn flush(&mut self, cx: &mut Cx<'_>, config: &ConfigSpace) {
        let control = self.control(config);
        if control & CONTROL_ENABLE == 0 || control & CONTROL_FUNCTION_MASK != 0 {
            return;
        }
        for (entry, pending) in self.table.iter().zip(&mut self.pending) {
            if *pending && !is_masked(entry) {
                *pending = false;
                cx.messages.push(message(entry));
            }
        }
    }

    /// Reads `size` at `offset` in the table.
    pub fn read_table(&self, offset: u64, size: Size) -> u64 {
        let low = u64::from(self.table_dword(offset));
        let value = match size {
            Size::Qword => low | u64::from(self.table_dword(offset + 4)) << 32,
            _ => low >> (8 * (offset & 3)),
        };
        value & size.mask()
    }

    fn table_dword(&self, offset: u64) -> u32 {
        let (entry, field) = entry_and_field(offset);
        let entry = self.table.get(entry);
        entry.and_then(|e| e.get(field)).copied().unwrap_or(0)
    }

    /// Writes dwords and qwords of the table; narrower writes are undefined and ignored.
    pub fn write_table(
        &mut self,
        cx: &mut Cx<'_>,
        config: &ConfigSpace,
        offset: u64,
        size: Size,
        value: u64,
    ) {
        let low = u32::try_from(value & 0xffff_ffff).unwrap_or(0);
        let high = u32::try_from(value >> 32).unwrap_or(0);
        match size {
            Size::Dword => self.set_table_dword(offset, low),
            Size::Qword => {
                self.set_table_dword(offset, low);
                self.set_table_dword(offset + 4, high);
            }
            Size::Byte | Size::Word => {}
        }
        self.flush(cx, config);
    }

    fn set_table_dword(&mut self, offset: u64, value: u32) {
        let (entry, field) = entry_and_field(offset);
        let entry = self.table.get_mut(entry);
        if let Some(place) = entry.and_then(|e| e.get_mut(field)) {
            *place = value;
        }
    }

    /// Reads `size` at `offset` in the pending bits, which no write changes.
    pub fn read_pending(&self, offset: u64, size: Size) -> u64 {
        let first = usize::try_from(offset.saturating_mul(8)).unwrap_or(usize::MAX);
        let bits = self.pending.iter().skip(first).take(64);
        let value = (0u32..)
            .zip(bits)
            .fold(0, |v, (i, bit)| v | u64::from(*bit) << i);
        value & size.mask()
    }
}

fn entry_and_field(offset: u64) -> (usize, usize) {
    let entry = usize::try_from(offset / ENTRY_BYTES).unwrap_or(usize::MAX);
    let field = usize::try_from(offset % ENTRY_BYTES / 4).unwrap_or(0);
    (entry, field)
}

fn is_masked(entry: &Entry) -> bool {
    let [.., control] = entry;
    control & VECTOR_MASKED != 0
}

fn message(entry: &Entry) -> Message {
    let [low, high, data, _] = *entry;
    Message {
        address: u64::from(low) | u64::from(high) << 32,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;
    use crate::devices::Workbench;

    fn two_vectors() -> (ConfigSpace, Msix) {
        let identity = Identity {
            vendor: 0x1af4,
            device: 0x1042,
            revision: 1,
            class: 0x01_0000,
            subsystem: (0x1af4, 2),
        };
        let mut config = ConfigSpace::new(0x20, identity);
        let table = MsixPlace { bar: 1, offset: 0 };
        let pending = MsixPlace {
            bar: 1,
            offset: 0x800,
        };
        let msix = Msix::new(&mut config, 2, table, pending);
        (config, msix)
    }

    fn set_control(bench: &mut Workbench, config: &mut ConfigSpace, control: u32) {
        config.write(&mut bench.cx(), 0x42, Size::Word, control);
    }

    #[test]
    fn the_capability_says_how_many_vectors_and_where_the_table_lies() {
        let (config, msix) = two_vectors();
        assert_eq!(config.dword(0x40), 0x0001_0011);
        assert_eq!(config.dword(0x44), 1);
        assert_eq!(config.dword(0x48), 0x801);
        assert_eq!(msix.table_bytes(), 32);
    }

    #[test]
    fn an_unmasked_vector_sends_its_message_and_a_masked_one_waits_for_its_mask() {
        let (mut config, mut msix) = two_vectors();
        let mut bench = Workbench::new();
        set_control(&mut bench, &mut config, 0x8000);
        let address = 0xfee0_1000;
        msix.write_table(&mut bench.cx(), &config, 16, Size::Qword, address);
        msix.write_table(&mut bench.cx(), &config, 24, Size::Dword, 0x4041);
        msix.notify(&mut bench.cx(), &config, 1);
        assert!(bench.messages.is_empty());
        assert_eq!(msix.read_pending(0, Size::Qword), 2);
        msix.write_table(&mut bench.cx(), &config, 28, Size::Dword, 0);
        let expected = Message {
            address,
            data: 0x4041,
        };
        assert_eq!(bench.messages, [expected]);
        assert_eq!(msix.read_pending(0, Size::Qword), 0);
        msix.notify(&mut bench.cx(), &config, 1);
        assert_eq!(bench.messages, [expected, expected]);
    }

    #[test]
    fn the_function_mask_holds_every_vector_back() {
        let (mut config, mut msix) = two_vectors();
        let mut bench = Workbench::new();
        set_control(&mut bench, &mut config, 0xc000);
        msix.write_table(&mut bench.cx(), &config, 12, Size::Dword, 0);
        msix.notify(&mut bench.cx(), &config, 0);
        assert!(bench.messages.is_empty());
        set_control(&mut bench, &mut config, 0x8000);
        msix.flush(&mut bench.cx(), &config);
        assert_eq!(bench.messages.len(), 1);
    }

    #[test]
    fn vectors_beyond_the_table_and_a_disabled_capability_send_nothing() {
        let (mut config, mut msix) = two_vectors();
        let mut bench = Workbench::new();
        msix.notify(&mut bench.cx(), &config, 0);
        set_control(&mut bench, &mut config, 0x8000);
        msix.notify(&mut bench.cx(), &config, 0xffff);
        assert!(bench.messages.is_empty());
        assert_eq!(msix.read_pending(0, Size::Byte), 0);
        assert_eq!(msix.read_table(0x1_0000_0000_0000, Size::Qword), 0);
    }
}
