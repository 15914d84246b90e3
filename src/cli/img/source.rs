//! An image that a command line names, by a file name or by driver options, with what the other
//! options say about opening it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::program::Program;
use super::super::zeros::{detect_zeroes, discards};
use super::caches::CacheOptions;
use super::options::{format, switch};
use super::secrets::NamedSecrets;
use super::{keys, qemu_text};
use crate::image::qcow2::{DiscardedPlaces, Qcow2};
use crate::image::{self, Image, ImageError, OpenOptions, Sharing};

/// Driver options that change only speed, or what is not there to change.
const TUNING: [&str; 9] = [
    "aio",
    "auto-read-only",
    "cache-clean-interval",
    "file.aio",
    "file.locking",
    "l2-cache-entry-size",
    "lazy-refcounts",
    "locking",
    "node-name",
];

/// An image and how it is opened.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The file.
    pub(super) path: PathBuf,
    /// How it is opened.
    pub(super) options: OpenOptions,
    /// Who opens it.
    program: Program,
    /// Whether the user gave driver options and no file name.
    described: bool,
}

impl Source {
    /// The image that `name` names: a file, or under QEMU's names also `file:PATH` and
    /// `json:{…}`.
    pub(super) fn named(
        name: &Path,
        options: OpenOptions,
        secrets: &NamedSecrets,
        program: Program,
    ) -> Result<Self, Box<dyn Error>> {
        let text = name.to_str().filter(|_| program.is_qemu()).unwrap_or("");
        if let Some(json) = text.strip_prefix("json:") {
            let value = serde_json::from_str(json)?;
            let mut pairs = Vec::new();
            flatten("", &value, &mut pairs);
            return Self::described(pairs, options, secrets, program);
        }
        let path = text.strip_prefix("file:").map_or(name, Path::new);
        Ok(Self {
            path: path.to_path_buf(),
            options,
            program,
            described: false,
        })
    }

    /// The image that driver options describe, such as `driver=qcow2`,
    /// `file.filename=disk.qcow2` and `encrypt.key-secret=sec0`.
    pub(super) fn described(
        pairs: Vec<(String, String)>,
        mut options: OpenOptions,
        secrets: &NamedSecrets,
        program: Program,
    ) -> Result<Self, Box<dyn Error>> {
        let mut path = None;
        let mut caches = CacheOptions::default();
        for (key, value) in pairs {
            if let Some(taken) = caches.take(&key, &value) {
                taken?;
                continue;
            }
            match &*key {
                "driver" | "file.driver" if value == "file" => {}
                "driver" => options.format = Some(format(&value)?),
                "file.filename" | "filename" => path = Some(PathBuf::from(&value)),
                "encrypt.key-secret" | "key-secret" => {
                    options.secrets = secrets.get(&value)?.clone().into();
                }
                "encrypt.format" => {}
                "data-file.driver" if value == "file" => {}
                "data-file.filename" => options.data_file = Some(PathBuf::from(&value)),
                "discard" => options.discards = discards(&key, &value)?,
                "detect-zeroes" => options.detect_zeroes = detect_zeroes(&key, &value)?,
                "discard-no-unref" if switch(&key, &value)? => {
                    options.discarded_places = DiscardedPlaces::Kept;
                }
                "discard-no-unref" => {}
                "read-only" => options.read_only |= switch(&key, &value)?,
                "force-share" if switch(&key, &value)? => options.sharing = Sharing::Everything,
                "force-share" => {}
                "backing.driver" => options.backing_format = Some(format(&value)?),
                _ if is_tuning(&key) => {}
                _ => return Err(format!("Invalid parameter '{}'", key.escape_debug()).into()),
            }
        }
        options.caches = caches.sizes()?;
        let missing = "A block device must be specified for \"file\"";
        Ok(Self {
            path: path.ok_or(missing)?,
            options,
            program,
            described: true,
        })
    }

    /// Opens it.
    pub(super) fn open(&self) -> Result<Arc<dyn Image>, Box<dyn Error>> {
        image::open(&self.path, &self.options).map_err(|e| self.cannot_open(e))
    }

    /// Opens it for changes that only qcow2 images know.
    pub(super) fn open_qcow2(&self) -> Result<Qcow2, Box<dyn Error>> {
        image::open_qcow2(&self.path, &self.options).map_err(|e| self.cannot_open(e))
    }

    /// The failure to open it, in the words of the program that this one is.
    pub(super) fn cannot_open(&self, error: ImageError) -> Box<dyn Error> {
        match (self.program, self.described) {
            (Program::Cowbox, _) => error.into(),
            (Program::QemuIo, true) => {
                format!("can't open: {}", qemu_text::of_opening(&error, &self.path)).into()
            }
            (Program::QemuIo, false) => format!(
                "can't open device {}: {}",
                self.path.display(),
                qemu_text::of_opening(&error, &self.path)
            )
            .into(),
            (Program::QemuImg, _) => format!(
                "Could not open '{}': {}",
                self.path.display(),
                qemu_text::of_opening(&error, &self.path)
            )
            .into(),
        }
    }
}

/// Whether a driver option is taken and means nothing here.
fn is_tuning(key: &str) -> bool {
    let families = ["cache.", "file.cache.", "overlap-check", "pass-discard-"];
    TUNING.contains(&key) || families.iter().any(|family| key.starts_with(family))
}

/// The leaves of a JSON object, with the names on the way to each joined by dots.
fn flatten(prefix: &str, value: &serde_json::Value, pairs: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{name}"), field, pairs);
            }
        }
        serde_json::Value::String(text) => pairs.push((prefix.to_owned(), text.clone())),
        serde_json::Value::Bool(on) => {
            let text = if *on { "on" } else { "off" };
            pairs.push((prefix.to_owned(), text.to_owned()));
        }
        other => pairs.push((prefix.to_owned(), other.to_string())),
    }
}

/// The image that `--image-opts` describes in `text`.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    keys::parse_with_first(text, "driver")
}
