//! The ACPI tables: root pointer, RSDT and XSDT, FADT, FACS, DSDT, MADT and HPET.
//!
//! ```text
//!   RSDP --> RSDT, XSDT --> FADT --> FACS, DSDT
//!                       --> MADT, HPET
//! ```
//!
//! All tables lie in one blob with pointers relative to its start; a loader script finishes
//! them wherever firmware, or direct boot, puts the blob. There is no MCFG (no extended
//! configuration space), no SRAT (one node) and no general-purpose event block. (ACPI
//! specification 6.4, chapter 5; IA-PC HPET specification 1.0a, section 3.2.4.)

mod aml;
mod dsdt;
mod loader;

use loader::{Command, File, RSDP_FILE, Script, TABLES_FILE, Zone};

use super::RamLayout;

/// Where firmware and direct boot put the power management registers (PMBASE).
pub const PM_BASE: u16 = 0x600;

const HEADER_BYTES: u32 = 36;
const CHECKSUM: u32 = 9;
const RSDP_BYTES: u32 = 36;

const OEM: &[u8; 6] = b"COWBOX";
const OEM_TABLE: &[u8; 8] = b"COWBOXPC";
const CREATOR: &[u8; 4] = b"COWB";

const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
const HPET: u64 = 0xfed0_0000;
/// Vendor 8086h, legacy replacement, 64-bit counter, three comparators, revision 1.
const HPET_ID: u32 = 0x8086_a201;

const SCI: u16 = 9;
const SMI_COMMAND: u32 = 0xb2;
const ACPI_ENABLE: u8 = 0xf1;
const ACPI_DISABLE: u8 = 0xf0;
const RESET_PORT: u64 = 0xcf9;
const RESET_VALUE: u8 = 0x06;
const CENTURY: u8 = 0x32;

/// The tables, and what is left to do to them once their address is known.
#[derive(Clone, Debug)]
pub struct AcpiTables {
    rsdp: Vec<u8>,
    tables: Vec<u8>,
    script: Script,
}

impl AcpiTables {
    /// The tables of a machine with this RAM and one CPU.
    pub fn new(ram: &RamLayout) -> Self {
        let mut builder = Builder::default();
        builder.push(Command::Allocate {
            file: File::Tables,
            align: 64,
            zone: Zone::High,
        });
        builder.push(Command::Allocate {
            file: File::Rsdp,
            align: 16,
            zone: Zone::BiosArea,
        });
        let facs = builder.facs();
        let dsdt = builder.table(b"DSDT", 2, &dsdt::dsdt(ram), &[]);
        let fadt = builder.fadt(facs, dsdt);
        let madt = builder.table(b"APIC", 3, &madt(), &[]);
        let hpet = builder.table(b"HPET", 1, &hpet(), &[]);
        let tables = [fadt, madt, hpet];
        let rsdt = builder.root_table(b"RSDT", &tables, 4);
        let xsdt = builder.root_table(b"XSDT", &tables, 8);
        let rsdp = builder.rsdp(rsdt, xsdt);
        Self {
            rsdp,
            tables: builder.tables,
            script: builder.script,
        }
    }

    /// The fw_cfg files with which firmware installs the tables, by name.
    pub fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        vec![
            (RSDP_FILE, self.rsdp.clone()),
            (TABLES_FILE, self.tables.clone()),
            ("etc/table-loader", self.script.to_bytes()),
        ]
    }

    /// The bytes to put at `address`, a multiple of 64: the tables, finished, and the root
    /// pointer after them, with its address.
    pub fn placed_at(&self, address: u32) -> (Vec<u8>, u64) {
        let (mut rsdp, mut bytes) = (self.rsdp.clone(), self.tables.clone());
        self.script.place(&mut rsdp, &mut bytes, address);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let rsdp_address = u64::from(address) + bytes.len() as u64;
        bytes.extend(rsdp);
        (bytes, rsdp_address)
    }
}

#[derive(Default)]
struct Builder {
    tables: Vec<u8>,
    script: Script,
}

impl Builder {
    fn push(&mut self, command: Command) {
        self.script.push(command);
    }

    fn here(&self) -> u32 {
        self.tables.len() as u32
    }

    /// Appends a table with a standard header; `pointers` are offset and size, in the table, of
    /// what the loader relocates. Returns where it lies.
    fn table(&mut self, name: &[u8; 4], revision: u8, body: &[u8], pointers: &[(u32, u8)]) -> u32 {
        self.tables.resize(self.tables.len().next_multiple_of(8), 0);
        let at = self.here();
        let len = HEADER_BYTES + body.len() as u32;
        self.tables.extend(name);
        self.tables.extend(len.to_le_bytes());
        self.tables.extend([revision, 0]);
        self.tables.extend(OEM);
        self.tables.extend(OEM_TABLE);
        self.tables.extend(1u32.to_le_bytes());
        self.tables.extend(CREATOR);
        self.tables.extend(1u32.to_le_bytes());
        self.tables.extend(body);
        for (offset, size) in pointers {
            let (offset, size) = (at + offset, *size);
            self.push(Command::AddPointer {
                file: File::Tables,
                offset,
                size,
            });
        }
        let (offset, start) = (at + CHECKSUM, at);
        self.push(Command::AddChecksum {
            file: File::Tables,
            offset,
            start,
            len,
        });
        at
    }

    /// The firmware control structure: no checksum, aligned to 64 bytes.
    fn facs(&mut self) -> u32 {
        const BYTES: u32 = 64;
        let at = self.here();
        self.tables.extend(b"FACS");
        self.tables.extend(BYTES.to_le_bytes());
        self.tables.resize((at + BYTES) as usize, 0);
        at
    }

    fn fadt(&mut self, facs: u32, dsdt: u32) -> u32 {
        let pointers = [(36, 4), (40, 4), (140, 8)];
        self.table(b"FACP", 3, &fadt(facs, dsdt), &pointers)
    }

    fn root_table(&mut self, name: &[u8; 4], tables: &[u32], size: u8) -> u32 {
        let entry = |t: &u32| u64::from(*t).to_le_bytes()[..usize::from(size)].to_vec();
        let body: Vec<u8> = tables.iter().flat_map(entry).collect();
        let offsets = (HEADER_BYTES..).step_by(usize::from(size));
        let pointers: Vec<(u32, u8)> = offsets.zip(tables).map(|(o, _)| (o, size)).collect();
        self.table(name, 1, &body, &pointers)
    }

    fn rsdp(&mut self, rsdt: u32, xsdt: u32) -> Vec<u8> {
        const FIRST_PART: u32 = 20;
        const EXTENDED_CHECKSUM: u32 = 32;
        let mut rsdp = b"RSD PTR ".to_vec();
        rsdp.push(0);
        rsdp.extend(OEM);
        rsdp.push(2);
        rsdp.extend(rsdt.to_le_bytes());
        rsdp.extend(RSDP_BYTES.to_le_bytes());
        rsdp.extend(u64::from(xsdt).to_le_bytes());
        rsdp.extend([0; 4]);
        let file = File::Rsdp;
        self.push(Command::AddPointer {
            file,
            offset: 16,
            size: 4,
        });
        self.push(Command::AddPointer {
            file,
            offset: 24,
            size: 8,
        });
        self.push(Command::AddChecksum {
            file,
            offset: 8,
            start: 0,
            len: FIRST_PART,
        });
        let (offset, len) = (EXTENDED_CHECKSUM, RSDP_BYTES);
        self.push(Command::AddChecksum {
            file,
            offset,
            start: 0,
            len,
        });
        rsdp
    }
}

/// A generic address: I/O port, width in bits, access in bytes.
fn io_address(port: u64, bits: u8) -> Vec<u8> {
    let access = match bits {
        8 => 1,
        16 => 2,
        _ => 3,
    };
    let mut address = vec![1, bits, 0, access];
    address.extend(port.to_le_bytes());
    address
}

fn fadt(facs: u32, dsdt: u32) -> Vec<u8> {
    const WBINVD: u32 = 1 << 0;
    const PROC_C1: u32 = 1 << 2;
    const NO_SLEEP_BUTTON: u32 = 1 << 5;
    const RESET_REGISTER: u32 = 1 << 10;
    const LEGACY_DEVICES: u16 = 1 << 0;
    const KEYBOARD_CONTROLLER: u16 = 1 << 1;
    const NO_C2: u16 = 0xfff;

    let events = u32::from(PM_BASE);
    let (control, timer) = (events + 4, events + 8);
    let mut body = Vec::with_capacity(208);
    body.extend(facs.to_le_bytes());
    body.extend(dsdt.to_le_bytes());
    body.extend([0, 1]); // 44: reserved, preferred profile: desktop
    body.extend(SCI.to_le_bytes());
    body.extend(SMI_COMMAND.to_le_bytes());
    body.extend([ACPI_ENABLE, ACPI_DISABLE, 0, 0]);
    for block in [events, 0, control, 0, 0, timer, 0, 0] {
        body.extend(block.to_le_bytes()); // 56: PM1a and PM1b events, controls, PM2, timer, GPEs
    }
    body.extend([4, 2, 0, 4, 0, 0, 0, 0]); // 88: lengths of the blocks, GPE1 base, C-state control
    body.extend(NO_C2.to_le_bytes());
    body.extend(NO_C2.to_le_bytes());
    body.extend([0; 8]); // 100: cache flush sizes, duty cycle, alarms
    body.push(CENTURY);
    body.extend((LEGACY_DEVICES | KEYBOARD_CONTROLLER).to_le_bytes());
    body.push(0);
    let flags = WBINVD | PROC_C1 | NO_SLEEP_BUTTON | RESET_REGISTER;
    body.extend(flags.to_le_bytes());
    body.extend(io_address(RESET_PORT, 8));
    body.extend([RESET_VALUE, 0, 0, 0]);
    body.extend(0u64.to_le_bytes()); // 132: the FACS is given by its 32-bit address alone
    body.extend(u64::from(dsdt).to_le_bytes());
    body.extend(io_address(u64::from(events), 32));
    body.extend([0; 12]);
    body.extend(io_address(u64::from(control), 16));
    body.extend([0; 24]);
    body.extend(io_address(u64::from(timer), 32));
    body.extend([0; 24]);
    body
}

/// The interrupt controllers: one local APIC, one IOAPIC, and where ISA interrupts differ from
/// the IOAPIC's inputs.
fn madt() -> Vec<u8> {
    const DUAL_8259: u32 = 1;
    const LEVEL_ACTIVE_HIGH: u16 = 0b1101;
    let mut body = Vec::new();
    body.extend(LOCAL_APIC.to_le_bytes());
    body.extend(DUAL_8259.to_le_bytes());
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
    body.extend([1, 12, 0, 0]);
    body.extend(IO_APIC.to_le_bytes());
    body.extend(0u32.to_le_bytes());
    let overrides = [
        (0, 2, 0),
        (5, 5, LEVEL_ACTIVE_HIGH),
        (9, 9, LEVEL_ACTIVE_HIGH),
        (10, 10, LEVEL_ACTIVE_HIGH),
        (11, 11, LEVEL_ACTIVE_HIGH),
    ];
    for (irq, input, flags) in overrides {
        body.extend([2, 10, 0, irq]);
        body.extend(u32::to_le_bytes(input));
        body.extend(u16::to_le_bytes(flags));
    }
    body.extend([4, 6, 0xff, 0, 0, 1]);
    body
}

fn hpet() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(HPET_ID.to_le_bytes());
    body.extend([0, 0, 0, 0]);
    body.extend(HPET.to_le_bytes());
    body.extend([0; 4]);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, b| sum.wrapping_add(*b))
    }

    fn dword(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn placed_tables_are_found_from_the_root_pointer_with_right_checksums() {
        let base = 0xf_1000;
        let tables = AcpiTables::new(&RamLayout::new(64 << 20));
        let (bytes, rsdp) = tables.placed_at(base);
        let rsdp = &bytes[usize::try_from(rsdp).unwrap() - base as usize..];
        assert_eq!(rsdp[..8], *b"RSD PTR ");
        assert_eq!((sum(&rsdp[..20]), sum(&rsdp[..36])), (0, 0));
        let at = |address: u32| &bytes[(address - base) as usize..];
        let xsdt = at(dword(rsdp, 24));
        let mut names = Vec::new();
        for entry in (36..dword(xsdt, 4) as usize).step_by(8) {
            let table = at(dword(xsdt, entry));
            assert_eq!(sum(&table[..dword(table, 4) as usize]), 0);
            names.push(table[..4].to_vec());
        }
        assert_eq!(names, [b"FACP", b"APIC", b"HPET"]);
        let fadt = at(dword(xsdt, 36));
        assert_eq!(dword(fadt, 4), 244);
        assert_eq!(at(dword(fadt, 36))[..4], *b"FACS");
        assert_eq!(at(dword(fadt, 40))[..4], *b"DSDT");
        assert_eq!(dword(fadt, 140), dword(fadt, 40));
    }

    #[test]
    fn loader_commands_are_128_bytes_and_name_their_files() {
        let tables = AcpiTables::new(&RamLayout::new(64 << 20));
        let files = tables.files();
        let script = &files[2].1;
        assert_eq!(script.len() % 128, 0);
        assert_eq!(dword(script, 0), 1);
        assert!(script[4..].starts_with(b"etc/acpi/tables\0"));
        assert_eq!((dword(script, 60), script[64]), (64, 1));
    }
}
