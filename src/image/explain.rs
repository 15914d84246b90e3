//! Explaining a place of an image: a guest offset through the whole chain, or a byte of the file.
//!
//! The images are not opened as disks: only their headers are read, and the table entries on the
//! way, so that damaged images are explained too. Backing files are found by the rules of
//! [`super::chain`]; where those refuse one, the explanation ends there and says so.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::{self, Seen};
use super::open::{decide_format, open_file};
use super::qcow2::Purpose;
use super::qcow2::explain::{Explainer, Place, Step, Verdict, backing_name};
use super::qcow2::header::Header;
use super::{ErrorKind, Escaped, Format, ImageError, OpenOptions, Result};
use crate::storage::{Occupancy, Storage};

/// What one image of a chain has at a guest offset.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// The file.
    pub file: String,
    /// Its format.
    pub format: &'static str,
    /// What was looked at.
    pub steps: Vec<Step>,
    /// What is there.
    pub place: Place,
    /// The backing file that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing_file: Option<String>,
    /// The external data file that it names, in which data lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_file: Option<String>,
    /// Why the next image could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// What a byte of an image file is.
#[derive(Debug, Clone, Serialize)]
pub struct FilePlace {
    /// The file.
    pub file: String,
    /// What was looked at.
    pub steps: Vec<Step>,
    /// What it comes to.
    pub verdict: Verdict,
}

/// Follows guest offset `offset` of the image at `path` down to the image that decides what is
/// there.
pub fn guest(path: &Path, options: &OpenOptions, offset: u64) -> Result<Vec<Layer>> {
    let mut seen = Seen::default();
    let (mut layer, mut next) =
        layer(path, options, offset, &mut seen).map_err(|e| e.in_file(path))?;
    let mut layers = Vec::new();
    while let Some((path, options)) = next {
        match self::layer(&path, &options, offset, &mut seen) {
            Ok((below, after)) => {
                layers.push(std::mem::replace(&mut layer, below));
                next = after;
            }
            Err(error) => {
                layer.stopped = Some(error.in_file(&path).to_string());
                next = None;
            }
        }
    }
    layers.push(layer);
    Ok(layers)
}

/// Says what byte `offset` of the file at `path` is.
pub fn host(path: &Path, options: &OpenOptions, offset: u64) -> Result<FilePlace> {
    let explained = || {
        let storage = open_file(path, options)?;
        match decide_format(&*storage, options)? {
            Format::Qcow2 => {}
            Format::Raw => {
                return Err(unsupported(
                    "in a raw image every host offset is the guest offset of the same number",
                ));
            }
            Format::Luks => return Err(unsupported(NO_TABLES)),
        }
        let header = Header::read(&*storage, Purpose::Inspection)?;
        let mut explainer = Explainer::new(&*storage, &header)?;
        let verdict = explainer.host(offset)?;
        Ok(FilePlace {
            file: shown(path),
            steps: explainer.steps,
            verdict,
        })
    };
    explained().map_err(|e: ImageError| e.in_file(path))
}

/// Where the search goes on: a file, and how it is opened.
type Next = Option<(PathBuf, OpenOptions)>;

fn layer(
    path: &Path,
    options: &OpenOptions,
    offset: u64,
    seen: &mut Seen,
) -> Result<(Layer, Next)> {
    seen.refuse_loop(path)?;
    let storage = open_file(path, options)?;
    seen.add(storage.identity())?;
    match decide_format(&*storage, options)? {
        Format::Qcow2 => {}
        Format::Raw => return Ok((raw_layer(path, &*storage, offset)?, None)),
        Format::Luks => return Err(unsupported(NO_TABLES)),
    }
    let header = Header::read(&*storage, Purpose::Inspection)?;
    let mut explainer = Explainer::new(&*storage, &header)?;
    let place = explainer.guest(offset)?;
    let mut layer = Layer {
        file: shown(path),
        format: Format::Qcow2.name(),
        steps: explainer.steps,
        place,
        backing_file: backing_name(&header),
        data_file: data_file(&header),
        stopped: None,
    };
    if place != Place::Unallocated {
        return Ok((layer, None));
    }
    match below(path, &header, options) {
        Ok(next) => Ok((layer, next)),
        Err(error) => {
            layer.stopped = Some(error.to_string());
            Ok((layer, None))
        }
    }
}

/// The backing file of the image at `path`.
fn below(path: &Path, header: &Header, options: &OpenOptions) -> Result<Next> {
    let Some(name) = &header.backing_name else {
        return Ok(None);
    };
    let format = chain::format(header.extensions.backing_format(), options, name)?;
    let base = chain::resolve(name, Some(path), options.backing)?;
    Ok(Some((base, options.clone().with_format(format))))
}

fn raw_layer(path: &Path, storage: &dyn Storage, offset: u64) -> Result<Layer> {
    let failed = |e| ImageError::io("look at the file", e);
    let len = storage.len().map_err(failed)?;
    let mut step = Step::new("raw file");
    step.field(
        "length",
        len,
        "every byte of the disk lies at its own offset",
    );
    let place = match storage.extent(offset, 1).map_err(failed)?.0 {
        _ if offset >= len => Place::PastTheEnd,
        Occupancy::Data => Place::Data { host: offset },
        Occupancy::Hole => {
            step.field("hole", "yes", "the host keeps no blocks there: zeros");
            Place::Zero
        }
    };
    Ok(Layer {
        file: shown(path),
        format: Format::Raw.name(),
        steps: vec![step],
        place,
        backing_file: None,
        data_file: None,
        stopped: None,
    })
}

const NO_TABLES: &str = "a luks image has no tables: its sectors follow the header in their order";

fn unsupported(detail: &str) -> ImageError {
    ImageError::new(ErrorKind::Unsupported, detail)
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}

fn data_file(header: &Header) -> Option<String> {
    let external = header.geometry.has_external_data();
    let name = header.extensions.data_file().filter(|_| external)?;
    Some(Escaped(name).to_string())
}
