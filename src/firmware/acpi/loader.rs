//! The table loader: a script that tells firmware where to put the tables and which pointers
//! and checksums to finish, in the format of QEMU's fw_cfg file `etc/table-loader`.
//!
//! Direct boot has no firmware, so [`Script::place`] carries the same script out on the host.
//! (QEMU, docs/specs and hw/acpi/bios-linker-loader: commands of 128 bytes, little-endian.)

/// The file with the root pointer.
pub(super) const RSDP_FILE: &str = "etc/acpi/rsdp";
/// The file with all tables.
pub(super) const TABLES_FILE: &str = "etc/acpi/tables";

const COMMAND_BYTES: usize = 128;
const FILE_NAME_BYTES: usize = 56;

/// Which of the two files a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    Rsdp,
    Tables,
}

impl File {
    fn name(self) -> &'static str {
        match self {
            Self::Rsdp => RSDP_FILE,
            Self::Tables => TABLES_FILE,
        }
    }
}

/// Where firmware may allocate a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// Anywhere below 4 GiB.
    High = 1,
    /// In F0000h to FFFFFh, where root pointers are looked for.
    BiosArea = 2,
}

/// One step of the script.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Put `file` into memory.
    Allocate { file: File, align: u32, zone: Zone },
    /// Add the address of the tables to the `size` bytes at `offset`.
    AddPointer { file: File, offset: u32, size: u8 },
    /// Make the bytes of a range sum up to zero by the byte at `offset`.
    AddChecksum {
        file: File,
        offset: u32,
        start: u32,
        len: u32,
    },
}

impl Command {
    fn to_bytes(self) -> [u8; COMMAND_BYTES] {
        let mut bytes = Vec::with_capacity(COMMAND_BYTES);
        let name = |bytes: &mut Vec<u8>, file: File| {
            let end = bytes.len() + FILE_NAME_BYTES;
            bytes.extend(file.name().bytes());
            bytes.resize(end, 0);
        };
        match self {
            Self::Allocate { file, align, zone } => {
                bytes.extend(1u32.to_le_bytes());
                name(&mut bytes, file);
                bytes.extend(align.to_le_bytes());
                bytes.push(zone as u8);
            }
            Self::AddPointer { file, offset, size } => {
                bytes.extend(2u32.to_le_bytes());
                name(&mut bytes, file);
                name(&mut bytes, File::Tables);
                bytes.extend(offset.to_le_bytes());
                bytes.push(size);
            }
            Self::AddChecksum {
                file,
                offset,
                start,
                len,
            } => {
                bytes.extend(3u32.to_le_bytes());
                name(&mut bytes, file);
                for value in [offset, start, len] {
                    bytes.extend(value.to_le_bytes());
                }
            }
        }
        let mut command = [0; COMMAND_BYTES];
        command[..bytes.len()].copy_from_slice(&bytes);
        command
    }
}

/// The whole script.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    commands: Vec<Command>,
}

impl Script {
    pub(super) fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// The file `etc/table-loader`.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.commands.iter().flat_map(|c| c.to_bytes()).collect()
    }

    /// Finishes pointers and checksums for tables that lie at `tables_address`.
    pub(super) fn place(&self, rsdp: &mut [u8], tables: &mut [u8], tables_address: u32) {
        for command in &self.commands {
            match *command {
                Command::Allocate { .. } => {}
                Command::AddPointer { file, offset, size } => {
                    let bytes = select(file, rsdp, tables);
                    let place = &mut bytes[offset as usize..][..usize::from(size)];
                    let relative = place.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
                    let address = relative + u64::from(tables_address);
                    place.copy_from_slice(&address.to_le_bytes()[..usize::from(size)]);
                }
                Command::AddChecksum {
                    file,
                    offset,
                    start,
                    len,
                } => {
                    let bytes = select(file, rsdp, tables);
                    let range = &bytes[start as usize..][..len as usize];
                    let sum = range.iter().fold(0u8, |sum, b| sum.wrapping_add(*b));
                    let place = &mut bytes[offset as usize];
                    *place = place.wrapping_sub(sum);
                }
            }
        }
    }
}

fn select<'a>(file: File, rsdp: &'a mut [u8], tables: &'a mut [u8]) -> &'a mut [u8] {
    match file {
        File::Rsdp => rsdp,
        File::Tables => tables,
    }
}
