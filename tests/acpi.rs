//! The ACPI tables as the reference compiler sees them: each disassembles without a complaint,
//! and the DSDT's source compiles back without an error or a warning. Needs `iasl` (Debian:
//! acpica-tools).

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it meets what it does not expect"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cowbox::firmware::{AcpiTables, RamLayout};

const BASE: u32 = 0xf_1000;
/// RSDP, XSDT and table headers, ACPI specification 6.4, chapter 5.
const XSDT_IN_RSDP: usize = 24;
const LENGTH: usize = 4;
const HEADER: usize = 36;
const DSDT_IN_FADT: usize = 40;

fn scratch() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("acpi");
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn dword(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The tables that the root pointer leads to, the DSDT last, each with its name.
fn tables() -> Vec<(String, Vec<u8>)> {
    let (bytes, rsdp) = AcpiTables::new(&RamLayout::new(5 << 30)).placed_at(BASE);
    let at = |address: u32| &bytes[(address - BASE) as usize..];
    let table = |address: u32| {
        let table = at(address);
        let name = String::from_utf8(table[..4].to_vec()).unwrap();
        (name, table[..dword(table, LENGTH) as usize].to_vec())
    };
    let rsdp = at(u32::try_from(rsdp).unwrap());
    let (_, xsdt) = table(dword(rsdp, XSDT_IN_RSDP));
    let entries = (HEADER..xsdt.len()).step_by(8).map(|e| dword(&xsdt, e));
    let mut tables: Vec<(String, Vec<u8>)> = entries.map(table).collect();
    let (_, fadt) = &tables[0];
    let dsdt = table(dword(fadt, DSDT_IN_FADT));
    tables.push(dsdt);
    tables
}

/// Runs iasl; returns all that it said, once it said that it succeeded.
fn iasl(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("iasl")
        .args(arguments)
        .current_dir(dir)
        .output();
    let output = output.unwrap_or_else(|e| panic!("iasl: {e}; install acpica-tools"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "iasl {arguments:?}: {said}");
    said
}

#[test]
fn the_reference_compiler_reads_every_table_and_compiles_the_dsdt_again() {
    let dir = scratch();
    for (name, bytes) in tables() {
        let file = format!("{name}.dat");
        fs::write(dir.join(&file), bytes).unwrap();
        let said = iasl(&dir, &["-d", &file]);
        let complaint = said
            .lines()
            .find(|l| l.contains("Error") || l.contains("Warning"));
        assert_eq!(complaint, None, "{name}");
    }
    let said = iasl(&dir, &["-tc", "DSDT.dsl"]);
    assert!(said.contains("0 Errors, 0 Warnings"), "{said}");
}
