//! Keeps the layers of the crate: imports go down only, devices do not know each other, and
//! `unsafe` stands only where it is needed.
//!
//! Reads the sources as text: `crate::…` paths anywhere, and `use super::…` at the start of a line,
//! which it resolves against the file's place in the tree. Macros that build paths are not seen;
//! the crate has none.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Each layer, and the layers it may name. What is not listed may name nothing.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "machine", "debug", "firmware", "devices", "cpu", "disk", "image", "storage", "memory",
            "bus",
        ],
    ),
    (
        "machine",
        &[
            "debug", "firmware", "devices", "cpu", "disk", "image", "storage", "memory", "bus",
        ],
    ),
    ("debug", &["cpu", "memory", "bus"]),
    ("firmware", &["memory", "bus"]),
    ("devices", &["disk", "memory", "bus"]),
    ("cpu", &["memory", "bus"]),
    ("disk", &["image", "storage", "bus"]),
    ("image", &["storage"]),
];

/// Devices that others are built from: PCI configuration space is a part of every PCI function.
const SHARED_DEVICES: &[&str] = &["pci"];

/// Where `unsafe` may stand, as the start of a path below `src`.
const MAY_BE_UNSAFE: &[&str] = &[
    "memory/",
    "cpu/mmu/",
    "cpu/jit/",
    "cpu/fpu/host",
    "cpu/simd/host",
    "storage/file",
    "cli/console/raw_terminal",
];

struct Source {
    /// Below `src`, with forward slashes.
    path: String,
    /// `["devices", "ide", "drive"]`; `mod` and `lib` name their directory.
    module: Vec<String>,
    /// Without comments.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(!files.is_empty(), "no sources below {}", root.display());
    files.iter().map(|file| read(&root, file)).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(root: &Path, file: &Path) -> Source {
    let path = file
        .strip_prefix(root)
        .unwrap()
        .to_str()
        .unwrap()
        .replace('\\', "/");
    let mut module: Vec<String> = path
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if module
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        module.pop();
    }
    let code = fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(without_comment)
        .collect();
    Source { path, module, code }
}

/// Cuts a line comment off. A `//` inside a string only hides the rest of that line.
fn without_comment(line: &str) -> String {
    format!("{}\n", line.split("//").next().unwrap_or_default())
}

impl Source {
    /// The crate's modules that this file names, as paths from the root.
    fn named_modules(&self) -> Vec<Vec<String>> {
        let absolute = Regex::new(r"\bcrate::([a-z_0-9]+)(?:::([a-z_0-9]+))?").unwrap();
        let relative = Regex::new(r"(?m)^(?:pub(?:\([a-z]+\))? )?use ((?:super::)+)([a-z_0-9]+)");
        let absolute = absolute.captures_iter(&self.code).map(|found| {
            found
                .iter()
                .skip(1)
                .flatten()
                .map(|part| part.as_str().to_owned())
                .collect()
        });
        let relative = relative.unwrap();
        let relative = relative.captures_iter(&self.code).map(|found| {
            let up = found[1].matches("super").count();
            let mut path = self.module[..self.module.len().saturating_sub(up)].to_vec();
            path.push(found[2].to_owned());
            path
        });
        absolute.chain(relative).collect()
    }
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(layer) = source.module.first() else {
            continue;
        };
        let allowed = MAY_NAME
            .iter()
            .find(|(name, _)| name == layer)
            .map_or(&[][..], |(_, below)| below);
        for named in source.named_modules() {
            if named[0] != *layer && !allowed.contains(&named[0].as_str()) {
                wrong.push(format!(
                    "src/{}: {layer} names {}",
                    source.path,
                    named.join("::")
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that go up:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn devices_do_not_name_each_other() {
    let sources = sources();
    let devices: Vec<&String> = sources
        .iter()
        .filter_map(|source| device(&source.module))
        .collect();
    let mut wrong = Vec::new();
    for source in &sources {
        let Some(this) = device(&source.module) else {
            continue;
        };
        for named in source.named_modules() {
            let Some(other) = device(&named) else {
                continue;
            };
            let shared = SHARED_DEVICES.contains(&other.as_str()) || other == "workbench";
            if other != this && devices.contains(&other) && !shared {
                wrong.push(format!("src/{}: {this} names {other}", source.path));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "devices that know each other:\n{}",
        wrong.join("\n")
    );
}

/// The device that a module is a part of.
fn device(module: &[String]) -> Option<&String> {
    if module.first()? == "devices" {
        module.get(1)
    } else {
        None
    }
}

#[test]
fn unsafe_stands_only_where_it_is_needed() {
    let keyword = Regex::new(r"\bunsafe\s*(?:[{(]|fn\b|impl\b|extern\b|trait\b)").unwrap();
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|source| keyword.is_match(&source.code))
        .map(|source| source.path)
        .filter(|path| !MAY_BE_UNSAFE.iter().any(|start| path.starts_with(start)))
        .collect();
    assert!(wrong.is_empty(), "unsafe code in:\n{}", wrong.join("\n"));
}
