//! What single instructions do, each case a file `cases/NAME.asm`: code for the GNU assembler in
//! Intel's syntax, below a header that says where it runs and how it ends.
//!
//! ```text
//! # What the processor does here, with the manual's section.
//! #
//! # mode: 64               16 (real mode), 32 (flat protected mode) or 64; at level 0
//! # cpu: core2             the model, if not the newest
//! # vector: 13             the exception that ends it; none: the code runs to its end
//! # error: 0x18            the error code on the stack
//! # rax: 0x1234            a general-purpose register, or MXCSR, at the end
//! ```

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cowbox::cpu::regs::RSP;

use crate::system::bench::{Bench, CODE};

/// The vector of the INT that is appended to each case.
const END: u64 = 0x80;
/// The general-purpose registers, in the order of their numbers.
const REGISTERS: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

#[test]
fn cases_end_as_their_headers_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/isa/cases");
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let wrong: Vec<String> = paths.iter().flat_map(|path| differences(path)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{} cases", paths.len());
}

/// What a case does otherwise than its header says.
fn differences(path: &Path) -> Vec<String> {
    let source = std::fs::read_to_string(path).unwrap();
    let mut header = header(&source);
    let mode = header.remove("mode").unwrap_or("64");
    let code = assemble(&source, mode);
    let mut bench = match mode {
        "16" => Bench::real(&code),
        "32" => Bench::protected(&code),
        _ => Bench::long(&code),
    };
    if let Some(model) = header.remove("cpu") {
        bench.set_model(model.parse().unwrap());
    }
    let vector = number(header.remove("vector")).unwrap_or(END);
    let mut seen = vec![("vector", vector, bench.vector())];
    if let Some(error) = number(header.remove("error")) {
        // What the exception pushed last.
        let pushed = bench.read32(bench.reg(RSP));
        seen.push(("error", error, pushed.into()));
    }
    if let Some(mxcsr) = number(header.remove("mxcsr")) {
        seen.push(("mxcsr", mxcsr, bench.cpu.sse.mxcsr.into()));
    }
    for (name, value) in header {
        let register = REGISTERS.iter().position(|register| *register == name);
        let register = register.unwrap_or_else(|| panic!("{}: {name}?", path.display()));
        seen.push((
            name,
            number(Some(value)).unwrap(),
            bench.reg(register as u8),
        ));
    }
    let name = path.file_stem().unwrap().to_string_lossy();
    seen.iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(what, expected, found)| format!("{name}: {what} {found:#x}, not {expected:#x}"))
        .collect()
}

/// The words of the header by their names.
fn header(source: &str) -> HashMap<&str, &str> {
    let lines = source.lines().map_while(|line| line.strip_prefix('#'));
    let pairs = lines.filter_map(|line| line.trim().split_once(": "));
    pairs.filter(|(name, _)| !name.contains(' ')).collect()
}

fn number(text: Option<&str>) -> Option<u64> {
    let text = text?;
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    Some(parsed.unwrap_or_else(|_| panic!("{text} is no number")))
}

/// The bytes of the code, which lie at [`CODE`].
fn assemble(source: &str, mode: &str) -> Vec<u8> {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let out = scratch.join("case.bin");
    let mut compiler = Command::new("gcc")
        .args(["-nostdlib", "-static", "-x", "assembler", "-", "-o"])
        .arg(&out)
        .arg(format!(
            "-Wl,-Ttext={CODE:#x},-e,{CODE:#x},--oformat=binary,--build-id=none,-z,noexecstack"
        ))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("gcc: {error}: install gcc"));
    let mut input = compiler.stdin.take().unwrap();
    write!(
        input,
        ".intel_syntax noprefix\n.code{mode}\n{source}\nint {END}\n"
    )
    .unwrap();
    drop(input);
    assert!(compiler.wait().unwrap().success(), "{source}");
    std::fs::read(out).unwrap()
}
