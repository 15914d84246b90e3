//! Writing ACPI machine language: the few terms that the DSDT needs.
//!
//! A term with a body takes a closure that writes the body; its length is put in front when the
//! closure returns. (ACPI specification 6.4, chapter 20.)

const ZERO: u8 = 0x00;
const ONE: u8 = 0x01;
const NAME: u8 = 0x08;
const BYTE: u8 = 0x0a;
const WORD: u8 = 0x0b;
const DWORD: u8 = 0x0c;
const STRING: u8 = 0x0d;
const SCOPE: u8 = 0x10;
const BUFFER: u8 = 0x11;
const PACKAGE: u8 = 0x12;
const METHOD: u8 = 0x14;
const DUAL_NAME: u8 = 0x2e;
const MULTI_NAME: u8 = 0x2f;
const EXTENDED: u8 = 0x5b;
const REGION: u8 = 0x80;
const FIELD: u8 = 0x81;
const DEVICE: u8 = 0x82;
const STORE: u8 = 0x70;
const AND: u8 = 0x7b;
const OR: u8 = 0x7d;
const CREATE_DWORD_FIELD: u8 = 0x8a;
const IF: u8 = 0xa0;
const RETURN: u8 = 0xa4;
const ARG0: u8 = 0x68;

const METHOD_SERIALIZED: u8 = 1 << 3;
const PCI_CONFIG_SPACE: u8 = 2;
const FIELD_BYTE_ACCESS: u8 = 1;

/// A sequence of AML terms under construction.
#[derive(Debug, Default)]
pub(super) struct Aml {
    bytes: Vec<u8>,
}

impl Aml {
    /// The terms written so far.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// `Scope (path) { body }`
    pub(super) fn scope(&mut self, path: &str, body: impl FnOnce(&mut Self)) {
        self.bytes.push(SCOPE);
        self.package_length(|aml| {
            aml.path(path);
            body(aml);
        });
    }

    /// `Device (name) { body }`
    pub(super) fn device(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
        self.bytes.extend([EXTENDED, DEVICE]);
        self.package_length(|aml| {
            aml.path(name);
            body(aml);
        });
    }

    /// `Method (name, arguments, Serialized) { body }`: bodies create names
    pub(super) fn method(&mut self, name: &str, arguments: u8, body: impl FnOnce(&mut Self)) {
        self.bytes.push(METHOD);
        self.package_length(|aml| {
            aml.path(name);
            aml.bytes.push(arguments & 7 | METHOD_SERIALIZED);
            body(aml);
        });
    }

    /// `Name (name, <value>)`
    pub(super) fn name(&mut self, name: &str, value: impl FnOnce(&mut Self)) {
        self.bytes.push(NAME);
        self.path(name);
        value(self);
    }

    /// `Package () { elements }`, of `count` elements.
    pub(super) fn package(&mut self, count: u8, elements: impl FnOnce(&mut Self)) {
        self.bytes.push(PACKAGE);
        self.package_length(|aml| {
            aml.bytes.push(count);
            elements(aml);
        });
    }

    /// A buffer that holds a resource template.
    pub(super) fn resources(&mut self, resources: Resources) {
        let bytes = resources.into_bytes();
        self.bytes.push(BUFFER);
        self.package_length(|aml| {
            aml.integer(bytes.len() as u64);
            aml.bytes.extend(bytes);
        });
    }

    /// `OperationRegion (name, PCI_Config, offset, length)` and its fields of a byte each.
    pub(super) fn pci_config_bytes(&mut self, region: &str, offset: u8, fields: &[&str]) {
        self.bytes.extend([EXTENDED, REGION]);
        self.path(region);
        self.bytes.push(PCI_CONFIG_SPACE);
        self.integer(u64::from(offset));
        self.integer(fields.len() as u64);
        self.bytes.extend([EXTENDED, FIELD]);
        self.package_length(|aml| {
            aml.path(region);
            aml.bytes.push(FIELD_BYTE_ACCESS);
            for field in fields {
                aml.path(field);
                aml.bytes.push(8);
            }
        });
    }

    /// `If (And (name, mask)) { body }`
    pub(super) fn if_any_bit(&mut self, name: &str, mask: u8, body: impl FnOnce(&mut Self)) {
        self.bytes.push(IF);
        self.package_length(|aml| {
            aml.bytes.push(AND);
            aml.path(name);
            aml.integer(u64::from(mask));
            aml.bytes.push(ZERO);
            body(aml);
        });
    }

    /// `Or (name, mask, name)`
    pub(super) fn set_bits(&mut self, name: &str, mask: u8) {
        self.bytes.push(OR);
        self.path(name);
        self.integer(u64::from(mask));
        self.path(name);
    }

    /// `Store (from, to)`
    pub(super) fn store(&mut self, from: &str, to: &str) {
        self.bytes.push(STORE);
        self.path(from);
        self.path(to);
    }

    /// `Store (Zero, to)`
    pub(super) fn clear(&mut self, to: &str) {
        self.bytes.extend([STORE, ZERO]);
        self.path(to);
    }

    /// `CreateDWordField (Arg0, offset, name)`
    pub(super) fn dword_field_of_argument(&mut self, offset: u8, name: &str) {
        self.bytes.extend([CREATE_DWORD_FIELD, ARG0]);
        self.integer(u64::from(offset));
        self.path(name);
    }

    /// `CreateDWordField (buffer, offset, name)`
    pub(super) fn dword_field(&mut self, buffer: &str, offset: u8, name: &str) {
        self.bytes.push(CREATE_DWORD_FIELD);
        self.path(buffer);
        self.integer(u64::from(offset));
        self.path(name);
    }

    /// `Return (<value>)`
    pub(super) fn ret(&mut self, value: impl FnOnce(&mut Self)) {
        self.bytes.push(RETURN);
        value(self);
    }

    /// An integer in its shortest form, up to a dword.
    pub(super) fn integer(&mut self, value: u64) {
        match value {
            0 => self.bytes.push(ZERO),
            1 => self.bytes.push(ONE),
            2..=0xff => self.constant(BYTE, value, 1),
            0x100..=0xffff => self.constant(WORD, value, 2),
            _ => self.constant(DWORD, value, 4),
        }
    }

    fn constant(&mut self, prefix: u8, value: u64, bytes: usize) {
        self.bytes.push(prefix);
        self.bytes.extend(&value.to_le_bytes()[..bytes]);
    }

    /// A string.
    pub(super) fn string(&mut self, value: &str) {
        self.bytes.push(STRING);
        self.bytes.extend(value.bytes());
        self.bytes.push(0);
    }

    /// `EisaId (id)`: three capital letters and four hexadecimal digits as a dword.
    pub(super) fn eisa_id(&mut self, id: &str) {
        let (letters, digits) = id.split_at(3);
        let maker = letters.bytes().fold(0, |v, c| v << 5 | u16::from(c & 0x1f));
        let product = u16::from_str_radix(digits, 16).unwrap_or(0);
        self.bytes.push(DWORD);
        self.bytes.extend(maker.to_be_bytes());
        self.bytes.extend(product.to_be_bytes());
    }

    /// A name or a path of names: `_CRS`, `\_SB`, `LNKA`.
    pub(super) fn path(&mut self, path: &str) {
        let relative = path.strip_prefix('\\');
        if relative.is_some() {
            self.bytes.push(b'\\');
        }
        let segments: Vec<&str> = relative.unwrap_or(path).split('.').collect();
        match segments.len() {
            1 => {}
            2 => self.bytes.push(DUAL_NAME),
            count => self.bytes.extend([MULTI_NAME, count as u8]),
        }
        for segment in segments {
            let padded = segment.bytes().chain(std::iter::repeat(b'_'));
            self.bytes.extend(padded.take(4));
        }
    }

    /// Writes `body` and puts its length, which counts itself, in front.
    fn package_length(&mut self, body: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        body(&mut inner);
        let len = inner.bytes.len();
        match len {
            0..=62 => self.bytes.push((len + 1) as u8),
            63..=0xffd => {
                let total = len + 2;
                self.bytes.push(0x40 | (total & 15) as u8);
                self.bytes.push((total >> 4) as u8);
            }
            _ => {
                let total = len + 3;
                self.bytes.push(0x80 | (total & 15) as u8);
                self.bytes.extend([(total >> 4) as u8, (total >> 12) as u8]);
            }
        }
        self.bytes.extend(inner.bytes);
    }
}

/// The kind of an address window in a resource template.
#[derive(Clone, Copy)]
pub(super) enum AddressSpace {
    Memory,
    Io,
    Bus,
}

/// A resource template under construction. (Section 6.4.)
#[derive(Default)]
pub(super) struct Resources {
    bytes: Vec<u8>,
}

impl Resources {
    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.extend([0x79, 0]);
        self.bytes
    }

    /// `IO (Decode16, port, port, 1, len)`
    pub(super) fn io(mut self, port: u16, len: u8) -> Self {
        self.bytes.extend([0x47, 1]);
        self.bytes.extend(port.to_le_bytes());
        self.bytes.extend(port.to_le_bytes());
        self.bytes.extend([1, len]);
        self
    }

    /// `IRQNoFlags () { irq }`
    pub(super) fn irq(mut self, irq: u8) -> Self {
        self.bytes.push(0x22);
        self.bytes.extend((1u16 << irq).to_le_bytes());
        self
    }

    /// `Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { irqs }`
    pub(super) fn shared_interrupts(mut self, irqs: &[u32]) -> Self {
        let len = 2 + 4 * irqs.len();
        self.bytes
            .extend([0x89, len as u8, 0, 0b1001, irqs.len() as u8]);
        self.bytes.extend(irqs.iter().flat_map(|i| i.to_le_bytes()));
        self
    }

    /// `Memory32Fixed (ReadWrite, base, len)`
    pub(super) fn memory(mut self, base: u32, len: u32) -> Self {
        self.bytes.extend([0x86, 9, 0, 1]);
        self.bytes.extend(base.to_le_bytes());
        self.bytes.extend(len.to_le_bytes());
        self
    }

    /// A window of word addresses that a bridge passes on, `first` to `last`.
    pub(super) fn word_window(mut self, space: AddressSpace, first: u16, last: u16) -> Self {
        let len = (last - first).wrapping_add(1);
        self.window_header(0x88, 13, space);
        for value in [0, first, last, 0, len] {
            self.bytes.extend(value.to_le_bytes());
        }
        self
    }

    /// A window of dword memory addresses that a bridge passes on, `first` to `last`.
    pub(super) fn dword_window(mut self, first: u32, last: u32) -> Self {
        self.window_header(0x87, 23, AddressSpace::Memory);
        for value in [0, first, last, 0, last - first + 1] {
            self.bytes.extend(value.to_le_bytes());
        }
        self
    }

    fn window_header(&mut self, tag: u8, len: u8, space: AddressSpace) {
        const MIN_AND_MAX_FIXED: u8 = 0b1100;
        let (kind, specific) = match space {
            AddressSpace::Memory => (0, 1),
            AddressSpace::Io => (1, 3),
            AddressSpace::Bus => (2, 0),
        };
        self.bytes
            .extend([tag, len, 0, kind, MIN_AND_MAX_FIXED, specific]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Aml)) -> Vec<u8> {
        let mut aml = Aml::default();
        write(&mut aml);
        aml.into_bytes()
    }

    #[test]
    fn lengths_count_themselves_in_one_two_and_three_bytes() {
        let of = |n: usize| written(|a| a.package_length(|a| a.bytes.extend(vec![0; n])));
        assert_eq!(of(62)[..1], [63]);
        assert_eq!(of(63)[..2], [0x41, 4]);
        assert_eq!(of(0xffd)[..2], [0x4f, 0xff]);
        assert_eq!(of(0xffe)[..3], [0x81, 0x00, 0x01]);
    }

    #[test]
    fn eisa_ids_are_compressed_to_five_bits_a_letter() {
        assert_eq!(
            written(|a| a.eisa_id("PNP0A03")),
            [DWORD, 0x41, 0xd0, 0x0a, 0x03]
        );
    }

    #[test]
    fn paths_are_padded_and_prefixed() {
        assert_eq!(written(|a| a.path("\\_SB")), *b"\\_SB_");
        assert_eq!(written(|a| a.path("ISA.PRQA")), *b"\x2eISA_PRQA");
    }
}
