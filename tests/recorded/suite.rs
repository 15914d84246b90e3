//! A suite: its files, its metadata, and the verdict on each instruction form.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use cowbox::cpu::Model;
use flate2::read::GzDecoder;
use serde_json::Value;

use super::chip::Chip;
use super::moo::{self, FLAGS, IP, REGISTERS, SP, SS, Test};

/// How many differences of one form are told.
const TOLD: usize = 3;

/// Where the tests of a chip come from.
pub(crate) struct Suite {
    pub(crate) variable: &'static str,
    pub(crate) url: &'static str,
    model: Model,
    /// Where the files of tests lie in it.
    tests: &'static str,
    /// And the metadata.
    metadata: &'static str,
    /// Whether each test ends with an HLT that is not in the model's own instruction.
    ends_with_halt: bool,
    /// Tests, by hash, whose recording contradicts all others of their kind.
    contradictory: &'static [&'static str],
}

pub(crate) const I8086: Suite = Suite {
    variable: "COWBOX_RECORDED_8086",
    url: "https://github.com/SingleStepTests/8086",
    model: Model::I8086,
    tests: "v1_binary",
    metadata: "v1/metadata.json",
    ends_with_halt: false,
    contradictory: &[],
};

pub(crate) const I80286: Suite = Suite {
    variable: "COWBOX_RECORDED_80286",
    url: "https://github.com/SingleStepTests/80286",
    model: Model::I286,
    tests: "v1_real_mode",
    metadata: "v1_real_mode/metadata.json",
    ends_with_halt: true,
    // One INT, one INTO and one #UD of thousands each: SS stands on the stack where CS belongs.
    contradictory: &[
        "ba5bb16b5a4306333a359c3abd2169b871ffa42c",
        "7df1d2a948c416f5a4416e2f747d2d357d497570",
        "ab0cea0f2b89ae469a98eaf20dedc9ff2ca08c91",
    ],
};

/// What came of a suite.
pub(crate) struct Report {
    model: Model,
    forms: usize,
    tests: usize,
    passed: usize,
    revoked: usize,
    /// Tests that went through a vector of which they do not have all bytes.
    incomplete: usize,
    contradictory: usize,
    /// Opcodes of the metadata without a file, by what the metadata calls them.
    left_out: Vec<String>,
    pub(crate) differences: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} instruction forms, {} tests, {} passed; left out: {} revoked by the suite, \
             {} without all bytes of the interrupt vector that they use, {} in which SS was \
             recorded in place of CS",
            self.model,
            self.forms,
            self.tests,
            self.passed,
            self.revoked,
            self.incomplete,
            self.contradictory
        )?;
        let left_out = self.left_out.join(" ");
        write!(
            f,
            "{}: forms without recorded tests: {left_out}",
            self.model
        )
    }
}

impl Suite {
    /// Where it is checked out, if anywhere.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        let set: Option<OsString> = std::env::var_os(self.variable);
        set.filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// Runs all of it.
    pub(crate) fn run(&self, directory: &Path) -> Result<Report, String> {
        let metadata = read(&directory.join(self.metadata))?;
        let metadata: Value = serde_json::from_slice(&metadata).map_err(|e| e.to_string())?;
        let revoked = fs::read_to_string(directory.join("revocation_list.txt"));
        let revoked: BTreeSet<String> = revoked
            .unwrap_or_default()
            .lines()
            .map(|line| line.trim().to_lowercase())
            .collect();
        let files = self.files(directory)?;
        let mut report = Report {
            model: self.model,
            forms: files.len(),
            tests: 0,
            passed: 0,
            revoked: 0,
            incomplete: 0,
            contradictory: 0,
            left_out: missing(&metadata, &files),
            differences: Vec::new(),
        };
        let mut chip = Chip::new(self.model);
        for (form, path) in &files {
            let mut file = Vec::new();
            let packed = read(path)?;
            let unpacked = GzDecoder::new(packed.as_slice()).read_to_end(&mut file);
            unpacked.map_err(|e| format!("{}: {e}", path.display()))?;
            let tests = moo::read(&file).ok_or(format!("{}: damaged", path.display()))?;
            let mask = defined_flags(&metadata, form);
            let mut told = 0;
            for test in &tests {
                if revoked.contains(&hex(&test.hash)) {
                    report.revoked += 1;
                    continue;
                }
                if test.lacks_vector() {
                    report.incomplete += 1;
                    continue;
                }
                if self.contradictory.contains(&hex(&test.hash).as_str()) {
                    report.contradictory += 1;
                    continue;
                }
                report.tests += 1;
                match self.judge(&mut chip, test, mask) {
                    Ok(()) => report.passed += 1,
                    Err(difference) if told < TOLD => {
                        told += 1;
                        let bytes = hex(&test.bytes);
                        let line = format!("{form}: {} ({bytes}): {difference}", test.name);
                        report.differences.push(line);
                    }
                    Err(_) => {}
                }
                chip.clear(test);
            }
            if let Some(at) = chip.stray() {
                let line = format!("{form}: something wrote at {at:#x}");
                report.differences.push(line);
                chip = Chip::new(self.model);
            }
        }
        Ok(report)
    }

    /// The files of tests with their instruction forms, such as `F6.7`.
    fn files(&self, directory: &Path) -> Result<Vec<(String, PathBuf)>, String> {
        let tests = directory.join(self.tests);
        let entries = fs::read_dir(&tests).map_err(|e| format!("{}: {e}", tests.display()))?;
        let mut files: Vec<(String, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?;
                let form = name.strip_suffix(".MOO.gz")?.to_owned();
                Some((form, path))
            })
            .collect();
        files.sort();
        if files.is_empty() {
            return Err(format!("{}: no tests", tests.display()));
        }
        Ok(files)
    }

    fn judge(&self, chip: &mut Chip, test: &Test, mask: u16) -> Result<(), String> {
        let ours = chip.run(test)?;
        let mut theirs = ours;
        for ((value, before), after) in theirs
            .iter_mut()
            .zip(test.before.registers)
            .zip(test.after.registers)
        {
            *value = after.or(before).ok_or("a register is missing")?;
        }
        // Their instruction pointer is behind the HLT that ends the test.
        if self.ends_with_halt && !test.name.ends_with("hlt") {
            theirs[IP] = theirs[IP].wrapping_sub(1);
        }
        if test.after.registers[FLAGS].is_none() {
            let sticks = self.model.traits().real_mode_flags as u16 | 2;
            theirs[FLAGS] &= sticks | self.model.traits().fixed_flags as u16;
        }
        for (n, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
            let mask = if n == FLAGS { mask } else { u16::MAX };
            if (ours ^ theirs) & mask != 0 {
                return Err(format!("{} is {ours:#x}, not {theirs:#x}", REGISTERS[n]));
            }
        }
        let pushed = self.pushed_flags(test);
        for (address, theirs) in expected_memory(test) {
            let mask = match pushed.map(|at| address.wrapping_sub(at)) {
                Some(0) => mask as u8,
                Some(1) => (mask >> 8) as u8,
                _ => u8::MAX,
            };
            let ours = chip.byte(address);
            if (ours ^ theirs) & mask != 0 {
                return Err(format!("{address:#x} holds {ours:#x}, not {theirs:#x}"));
            }
        }
        Ok(())
    }

    /// Where the flags lie that an exception pushed. The 8086 suite does not say when there was
    /// one, but has vector 0 point to an address of its own; the 80286 suite names an even
    /// address also where the stack pointer is odd.
    fn pushed_flags(&self, test: &Test) -> Option<u32> {
        const HANDLER: u16 = 0x400;
        let after = &test.after.registers;
        let divided = after[IP] == Some(HANDLER) && after[moo::CS] == Some(0);
        if test.vector.is_none() && !(self.model == Model::I8086 && divided) {
            return None;
        }
        let ss = after[SS].or(test.before.registers[SS])?;
        let at = after[SP]?.wrapping_add(4);
        let linear_mask = self.model.traits().linear_mask as u32;
        Some(((u32::from(ss) << 4) + u32::from(at)) & linear_mask)
    }
}

/// The memory after the test: what it says, and what it said before of the rest.
fn expected_memory(test: &Test) -> impl Iterator<Item = (u32, u8)> + '_ {
    let after = &test.after.memory;
    let kept = test.before.memory.iter().filter(move |(address, _)| {
        let mut changed = after.iter();
        !changed.any(|(a, _)| a == address)
    });
    after.iter().chain(kept).copied()
}

/// The metadata of a form: of an opcode, or of its ModR/M extension.
fn form_metadata<'m>(metadata: &'m Value, form: &str) -> &'m Value {
    let (opcode, extension) = match form.split_once('.') {
        Some((opcode, extension)) => (opcode, Some(extension)),
        None => (form, None),
    };
    let of_opcode = &metadata["opcodes"][opcode];
    match extension {
        Some(extension) => &of_opcode["reg"][extension],
        None => of_opcode,
    }
}

/// The flags that are defined after an instruction.
fn defined_flags(metadata: &Value, form: &str) -> u16 {
    let mask = form_metadata(metadata, form)["flags-mask"].as_u64();
    mask.map_or(u16::MAX, |mask| mask as u16)
}

/// The forms of the metadata that have no file of tests.
fn missing(metadata: &Value, files: &[(String, PathBuf)]) -> Vec<String> {
    let mut missing = Vec::new();
    let opcodes = metadata["opcodes"].as_object();
    for (opcode, of_opcode) in opcodes.into_iter().flatten() {
        let forms: Vec<(String, &Value)> = match of_opcode["reg"].as_object() {
            Some(extensions) => extensions
                .iter()
                .map(|(n, value)| (format!("{opcode}.{n}"), value))
                .collect(),
            None => vec![(opcode.clone(), of_opcode)],
        };
        for (form, value) in forms {
            let has_file = |name: &str| files.iter().any(|(file, _)| file == name);
            if !has_file(&form) && !has_file(opcode) {
                let status = value["status"].as_str().unwrap_or("unknown");
                missing.push(format!("{form} ({status})"));
            }
        }
    }
    missing
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}
