//! `cowbox img info`: opens nothing but the image itself, unless the chain is asked for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::super::Outcome;
use super::super::program::Program;
use super::encryption_text::{self, Owner};
use super::json::text;
use super::options::{Opening, format};
use super::{bitmap_list, size, snapshot_list};
use crate::image::info::{EncryptionFacts, Info as Facts, Qcow2Facts, chain, info};
use crate::image::{ErrorKind, Escaped, Format};

/// Show what an image is.
#[derive(Debug, Args)]
pub(super) struct Info {
    /// Format of the image.
    #[arg(short = 'f', value_parser = format)]
    format: Option<Format>,
    /// Form of the answer.
    #[arg(long, default_value = "human")]
    output: Output,
    /// Show the backing images too.
    #[arg(long)]
    backing_chain: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Human,
    /// For programs.
    Json,
}

impl Info {
    pub(super) fn run(self, program: Program) -> Outcome {
        let source = self.opening.describing(&self.file, self.format, program)?;
        let images = match self.backing_chain {
            true => chain(&source.path, &source.options),
            false => info(&source.path, &source.options).map(|facts| vec![facts]),
        }
        .map_err(|error| match error.kind() {
            ErrorKind::Refused if program.is_qemu() && error.detail().contains("is a loop") => {
                let file = error.file().unwrap_or(&source.path).display();
                format!("Backing file '{file}' creates an infinite loop.").into()
            }
            _ => source.cannot_open(error),
        })?;
        match (self.output, self.backing_chain) {
            (Output::Human, _) => {
                let texts: Vec<String> = images.iter().map(human).collect();
                print!("{}", texts.join("\n"));
            }
            (Output::Json, true) => {
                println!("{}", text(&Value::Array(images.iter().map(json).collect())));
            }
            (Output::Json, false) => images
                .iter()
                .for_each(|facts| println!("{}", text(&json(facts)))),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}

fn human(facts: &Facts) -> String {
    let mut text = format!(
        "image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n",
        shown(&facts.path),
        facts.format,
        size::human(facts.size),
        facts.size,
        size::human(facts.occupied)
    );
    if is_encrypted(facts) {
        text += "encrypted: yes\n";
    }
    let Some(qcow2) = &facts.qcow2 else {
        if let Some(luks) = encryption_text::json(&facts.encryption, Owner::Luks) {
            text += "Format specific information:\n";
            text += &encryption_text::text(&luks, 1);
        }
        return text + &child_text(facts);
    };
    text += &format!("cluster_size: {}\n", qcow2.cluster_size);
    if let Some(name) = &qcow2.backing_name {
        text += &format!("backing file: {}", Escaped(name));
        let full = full_name(facts, name);
        if full != Escaped(name).to_string() {
            text += &format!(" (actual path: {full})");
        }
        text += "\n";
    }
    if let Some(format) = &qcow2.backing_format {
        text += &format!("backing file format: {}\n", Escaped(format));
    }
    if !qcow2.snapshots.is_empty() {
        text += "Snapshot list:\n";
        text += &snapshot_list::table(&qcow2.snapshots);
    }
    text + "Format specific information:\n"
        + &specific_text(qcow2, &facts.encryption)
        + &child_text(facts)
}

fn is_encrypted(facts: &Facts) -> bool {
    !matches!(facts.encryption, EncryptionFacts::None)
}

/// The name of what carries the file.
fn protocol(facts: &Facts) -> &'static str {
    match facts.file.is_device {
        true => "host_device",
        false => "file",
    }
}

/// The lines about the file that the image lies in.
fn child_text(facts: &Facts) -> String {
    format!(
        "Child node '/file':\n    filename: {}\n    protocol type: {}\n    \
         file length: {} ({} bytes)\n    disk size: {}\n",
        shown(&facts.path),
        protocol(facts),
        size::human(facts.file.len),
        facts.file.len,
        size::human(facts.occupied)
    )
}

fn child_json(facts: &Facts) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("children", json!([]));
    put("virtual-size", json!(facts.file.len));
    put("filename", json!(shown(&facts.path)));
    put("format", json!(protocol(facts)));
    put("actual-size", json!(facts.occupied));
    let specific = json!({ "type": protocol(facts), "data": {} });
    put("format-specific", specific);
    put("dirty-flag", json!(false));
    json!([{ "name": "file", "info": object }])
}

/// The lines about what only qcow2 has.
pub(super) fn specific_text(qcow2: &Qcow2Facts, encryption: &EncryptionFacts) -> String {
    let mut text = format!(
        "    compat: {}\n    compression type: {}\n",
        qcow2.compat, qcow2.compression
    );
    if qcow2.compat != "0.10" {
        text += &format!("    lazy refcounts: {}\n", qcow2.lazy_refcounts);
    }
    text += &bitmap_list::text(&qcow2.bitmaps);
    text += &format!("    refcount bits: {}\n", qcow2.refcount_bits);
    if let Some(fields) = encryption_text::json(encryption, Owner::Qcow2) {
        text += "    encrypt:\n";
        text += &encryption_text::text(&fields, 2);
    }
    if let Some((name, raw)) = &qcow2.data_file {
        let name = Escaped(name);
        text += &format!("    data file: {name}\n    data file raw: {raw}\n");
    }
    if qcow2.compat != "0.10" {
        text += &format!(
            "    corrupt: {}\n    extended l2: {}\n",
            qcow2.corrupt, qcow2.extended_l2
        );
    }
    text
}

/// The fields in the order in which qemu-img prints them.
fn json(facts: &Facts) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    let qcow2 = facts.qcow2.as_ref();
    put("children", child_json(facts));
    if let Some(format) = qcow2.and_then(|qcow2| qcow2.backing_format.as_deref()) {
        put(
            "backing-filename-format",
            json!(Escaped(format).to_string()),
        );
    }
    if let Some(qcow2) = qcow2.filter(|qcow2| !qcow2.snapshots.is_empty()) {
        put("snapshots", Value::Array(snapshots_json(qcow2)));
    }
    put("virtual-size", json!(facts.size));
    put("filename", json!(shown(&facts.path)));
    if let Some(qcow2) = qcow2 {
        put("cluster-size", json!(qcow2.cluster_size));
    }
    put("format", json!(facts.format.name()));
    put("actual-size", json!(facts.occupied));
    if let Some(luks) = encryption_text::json(&facts.encryption, Owner::Luks)
        && qcow2.is_none()
    {
        put("format-specific", json!({ "type": "luks", "data": luks }));
    }
    if let Some(qcow2) = qcow2 {
        let specific = json!({ "type": "qcow2", "data": specific(qcow2, &facts.encryption) });
        put("format-specific", specific);
    }
    if is_encrypted(facts) {
        put("encrypted", json!(true));
    }
    if let Some(name) = qcow2.and_then(|qcow2| qcow2.backing_name.as_deref()) {
        put("full-backing-filename", json!(full_name(facts, name)));
        put("backing-filename", json!(Escaped(name).to_string()));
    }
    put("dirty-flag", json!(qcow2.is_some_and(|qcow2| qcow2.dirty)));
    Value::Object(object)
}

/// The backing name as it is looked for: seen from where the program runs.
fn full_name(facts: &Facts, name: &[u8]) -> String {
    let directory = facts.path.parent().unwrap_or(Path::new(""));
    shown(&directory.join(Escaped(name).to_string()))
}

fn snapshots_json(qcow2: &Qcow2Facts) -> Vec<Value> {
    let one = |snapshot: &crate::image::qcow2::snapshot::Snapshot| {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        if let Some(instructions) = snapshot.instructions {
            put("icount", json!(instructions));
        }
        put("vm-clock-nsec", json!(snapshot.vm_clock % 1_000_000_000));
        put("name", json!(Escaped(&snapshot.name).to_string()));
        put("date-sec", json!(snapshot.date.0));
        put("date-nsec", json!(snapshot.date.1));
        put("vm-clock-sec", json!(snapshot.vm_clock / 1_000_000_000));
        put("id", json!(Escaped(&snapshot.id).to_string()));
        put("vm-state-size", json!(snapshot.vm_state_size));
        Value::Object(object)
    };
    qcow2.snapshots.iter().map(one).collect()
}

fn specific(qcow2: &Qcow2Facts, encryption: &EncryptionFacts) -> Value {
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
    put("compat", json!(qcow2.compat));
    put("compression-type", json!(qcow2.compression));
    if qcow2.compat != "0.10" {
        put("lazy-refcounts", json!(qcow2.lazy_refcounts));
    }
    if !qcow2.bitmaps.is_empty() {
        put("bitmaps", bitmap_list::json(&qcow2.bitmaps));
    }
    put("refcount-bits", json!(qcow2.refcount_bits));
    if let Some(fields) = encryption_text::json(encryption, Owner::Qcow2) {
        put("encrypt", fields);
    }
    if let Some((name, raw)) = &qcow2.data_file {
        put("data-file", json!(Escaped(name).to_string()));
        put("data-file-raw", json!(raw));
    }
    if qcow2.compat != "0.10" {
        put("corrupt", json!(qcow2.corrupt));
        put("extended-l2", json!(qcow2.extended_l2));
    }
    Value::Object(data)
}
