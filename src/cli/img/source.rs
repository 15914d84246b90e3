//! An image that a command line names, by a file name or by driver options, with what the other
//! options say about opening it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::program::Program;
use super::drivers::{Node, Pairs, flatten};
use super::secrets::NamedSecrets;
use super::{json, keys, qemu_text};
use crate::image::qcow2::Qcow2;
use crate::image::{self, Image, ImageError, LuksImage, OpenOptions};

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
    /// What the driver options said besides.
    node: Node,
}

impl Source {
    /// The image that `name` names: a file, driver options as `json:{…}`, or under QEMU's names
    /// also `file:PATH`.
    pub(super) fn named(
        name: &Path,
        options: OpenOptions,
        secrets: &NamedSecrets,
        program: Program,
    ) -> Result<Self, Box<dyn Error>> {
        let text = name.to_str().unwrap_or("");
        // Under its own name the program has no other use for names of this form either.
        let described = program.is_qemu() || text.starts_with("json:{");
        if let Some(json) = text.strip_prefix("json:").filter(|_| described) {
            let value = serde_json::from_str(&json::double_quoted(json))?;
            let mut pairs = Vec::new();
            flatten("", &value, &mut pairs);
            return Self::described(pairs, options, secrets, program);
        }
        let node = Node::plain(file_name(name, program), options);
        Self::of_node(node, program)
    }

    /// The image that driver options describe, such as `driver=qcow2`,
    /// `file.filename=disk.qcow2` and `encrypt.key-secret=sec0`.
    pub(super) fn described(
        pairs: Pairs,
        options: OpenOptions,
        secrets: &NamedSecrets,
        program: Program,
    ) -> Result<Self, Box<dyn Error>> {
        let source = Self::of_node(Node::parse(pairs, options, secrets)?, program)?;
        Ok(Self {
            described: true,
            ..source
        })
    }

    /// The image in the file called `name`, with driver options.
    pub(super) fn named_with(
        name: &Path,
        pairs: Pairs,
        options: OpenOptions,
        secrets: &NamedSecrets,
        program: Program,
    ) -> Result<Self, Box<dyn Error>> {
        let mut node = Node::parse(pairs, options, secrets)?;
        node.path = Some(file_name(name, program));
        Self::of_node(node, program)
    }

    fn of_node(node: Node, program: Program) -> Result<Self, Box<dyn Error>> {
        let missing = "A block device must be specified for \"file\"";
        Ok(Self {
            path: node.path.clone().ok_or(missing)?,
            options: node.options.clone(),
            program,
            described: false,
            node,
        })
    }

    /// Opens it.
    pub(super) fn open(&self) -> Result<Arc<dyn Image>, Box<dyn Error>> {
        let opened = || {
            self.node.check_host_file(&self.path)?;
            let mut options = self.options.clone();
            options.caches = self.node.caches()?;
            let image = image::open(&self.path, &options)?;
            if let Some(qcow2) = image.as_qcow2() {
                let size = qcow2.geometry().cluster_size();
                self.node.check_cache_entry(size)?;
            }
            Ok(image)
        };
        opened().map_err(|e| self.cannot_open(e))
    }

    /// Opens it for changes that only qcow2 images know.
    pub(super) fn open_qcow2(&self) -> Result<Qcow2, Box<dyn Error>> {
        image::open_qcow2(&self.path, &self.options).map_err(|e| self.cannot_open(e))
    }

    /// Opens it for changes of the keys of an image of the luks format.
    pub(super) fn open_luks(&self) -> Result<LuksImage, Box<dyn Error>> {
        image::open_luks(&self.path, &self.options).map_err(|e| self.cannot_open(e))
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

/// The file that `name` means: without the `file:` that QEMU's programs take, and told from a
/// protocol where it has a colon itself.
fn file_name(name: &Path, program: Program) -> PathBuf {
    let text = name.to_str().filter(|_| program.is_qemu()).unwrap_or("");
    match text.strip_prefix("file:") {
        Some(path)
            if path
                .split('/')
                .next()
                .is_some_and(|first| first.contains(':')) =>
        {
            Path::new(".").join(path)
        }
        Some(path) => PathBuf::from(path),
        None => name.to_path_buf(),
    }
}

/// The image that `--image-opts` describes in `text`.
pub(super) fn pairs(text: &str) -> Pairs {
    keys::parse_with_first(text, "driver")
}
