//! `cowbox img info`: opens nothing but the image itself, unless the chain is asked for.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, format};
use super::{size, snapshot_list};
use crate::image::info::{Info as Facts, Qcow2Facts, chain, info};
use crate::image::{Escaped, Format};

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
        let source = self.opening.reading(&self.file, self.format, program)?;
        let images = match self.backing_chain {
            true => chain(&source.path, &source.options),
            false => info(&source.path, &source.options).map(|facts| vec![facts]),
        }
        .map_err(|e| source.cannot_open(e))?;
        match (self.output, self.backing_chain) {
            (Output::Human, _) => {
                let texts: Vec<String> = images.iter().map(human).collect();
                print!("{}", texts.join("\n"));
            }
            (Output::Json, true) => {
                println!("{:#}", Value::Array(images.iter().map(json).collect()));
            }
            (Output::Json, false) => images
                .iter()
                .for_each(|facts| println!("{:#}", json(facts))),
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
    let Some(qcow2) = &facts.qcow2 else {
        return text;
    };
    if qcow2.encrypted {
        text += "encrypted: yes\n";
    }
    text += &format!("cluster_size: {}\n", qcow2.cluster_size);
    if let Some(name) = &qcow2.backing_name {
        text += &format!("backing file: {}\n", Escaped(name));
    }
    if let Some(format) = &qcow2.backing_format {
        text += &format!("backing file format: {}\n", Escaped(format));
    }
    if !qcow2.snapshots.is_empty() {
        text += "Snapshot list:\n";
        text += &snapshot_list::table(&qcow2.snapshots);
    }
    text + "Format specific information:\n" + &specific_text(qcow2)
}

/// The lines about what only qcow2 has.
pub(super) fn specific_text(qcow2: &Qcow2Facts) -> String {
    let mut text = format!(
        "    compat: {}\n    compression type: {}\n",
        qcow2.compat, qcow2.compression
    );
    if qcow2.compat != "0.10" {
        text += &format!("    lazy refcounts: {}\n", qcow2.lazy_refcounts);
    }
    text += &format!("    refcount bits: {}\n", qcow2.refcount_bits);
    if qcow2.compat != "0.10" {
        text += &format!(
            "    corrupt: {}\n    extended l2: {}\n",
            qcow2.corrupt, qcow2.extended_l2
        );
    }
    text
}

fn json(facts: &Facts) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("filename", json!(shown(&facts.path)));
    put("format", json!(facts.format.name()));
    put("virtual-size", json!(facts.size));
    put("actual-size", json!(facts.occupied));
    put(
        "dirty-flag",
        json!(facts.qcow2.as_ref().is_some_and(|qcow2| qcow2.dirty)),
    );
    if let Some(qcow2) = &facts.qcow2 {
        put("cluster-size", json!(qcow2.cluster_size));
        if qcow2.encrypted {
            put("encrypted", json!(true));
        }
        if let Some(name) = &qcow2.backing_name {
            let name = Escaped(name).to_string();
            let directory = facts.path.parent().unwrap_or(Path::new(""));
            put(
                "full-backing-filename",
                json!(shown(&directory.join(&name))),
            );
            put("backing-filename", json!(name));
        }
        if let Some(format) = &qcow2.backing_format {
            put(
                "backing-filename-format",
                json!(Escaped(format).to_string()),
            );
        }
        if !qcow2.snapshots.is_empty() {
            put("snapshots", Value::Array(snapshots_json(qcow2)));
        }
        put(
            "format-specific",
            json!({ "type": "qcow2", "data": specific(qcow2) }),
        );
    }
    Value::Object(object)
}

fn snapshots_json(qcow2: &Qcow2Facts) -> Vec<Value> {
    let one = |snapshot: &crate::image::qcow2::snapshot::Snapshot| {
        json!({
            "id": Escaped(&snapshot.id).to_string(),
            "name": Escaped(&snapshot.name).to_string(),
            "vm-state-size": snapshot.vm_state_size,
            "date-sec": snapshot.date.0,
            "date-nsec": snapshot.date.1,
            "vm-clock-sec": snapshot.vm_clock / 1_000_000_000,
            "vm-clock-nsec": snapshot.vm_clock % 1_000_000_000,
        })
    };
    qcow2.snapshots.iter().map(one).collect()
}

fn specific(qcow2: &Qcow2Facts) -> Value {
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
    put("compat", json!(qcow2.compat));
    put("compression-type", json!(qcow2.compression));
    put("refcount-bits", json!(qcow2.refcount_bits));
    if qcow2.compat != "0.10" {
        put("lazy-refcounts", json!(qcow2.lazy_refcounts));
        put("corrupt", json!(qcow2.corrupt));
        put("extended-l2", json!(qcow2.extended_l2));
    }
    Value::Object(data)
}
