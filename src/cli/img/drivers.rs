//! Driver options: `driver=qcow2,file.filename=disk.qcow2,backing.driver=raw`, as a tree of nodes.
//!
//! A node is an image (`qcow2`, `raw`) or a host file (`file`, `host_device`, `host_cdrom`). An
//! image's `file` may be another image, whose disk then holds this one's bytes, and its `backing`
//! stands in place of the backing image that it records. Options that change only speed are
//! taken; of the cache sizes it is checked that they make sense together.

use std::error::Error;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::super::zeros::{detect_zeroes, discards};
use super::caches::CacheOptions;
use super::options::{format, switch};
use super::secrets::NamedSecrets;
use super::size;
use crate::image::qcow2::{CacheSizes, DiscardedPlaces};
use crate::image::{Below, ErrorKind, Format, HostFiles, ImageError, OpenOptions, Sharing};

/// Driver options that change only speed, or what is not there to change.
const TUNING: [&str; 8] = [
    "aio",
    "auto-read-only",
    "cache-clean-interval",
    "encrypt.format",
    "lazy-refcounts",
    "locking",
    "node-name",
    "offset",
];

/// Key and value pairs.
pub(super) type Pairs = Vec<(String, String)>;

/// What driver options describe.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The host file.
    pub(super) path: Option<PathBuf>,
    /// How the image is opened.
    pub(super) options: OpenOptions,
    /// The kind of host file that is asked for.
    host: HostFile,
    caches: CacheOptions,
    /// Bytes of an entry of the cache of L2 tables.
    cache_entry: Option<u64>,
}

/// What kinds of host file a driver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostFile {
    /// Whatever there is.
    Any,
    /// A regular file, for driver `file`.
    Regular,
    /// A device, for the driver of this name.
    Device(&'static str),
}

impl HostFile {
    /// The kind that the driver of this name takes, if it is one of host files.
    fn of_driver(name: &str) -> Option<Self> {
        match name {
            "file" => Some(Self::Regular),
            "host_device" => Some(Self::Device("host_device")),
            "host_cdrom" => Some(Self::Device("host_cdrom")),
            _ => None,
        }
    }
}

impl Node {
    /// A node over the file at `path`, without options of its own.
    pub(super) fn plain(path: PathBuf, options: OpenOptions) -> Self {
        Self {
            path: Some(path),
            options,
            host: HostFile::Any,
            caches: CacheOptions::default(),
            cache_entry: None,
        }
    }

    /// The node that `pairs` describe; what they do not say is as in `options`.
    pub(super) fn parse(
        pairs: Pairs,
        options: OpenOptions,
        secrets: &NamedSecrets,
    ) -> Result<Self, Box<dyn Error>> {
        let (file, pairs) = under("file.", pairs);
        let (backing, pairs) = under("backing.", pairs);
        let above = options.clone();
        let mut node = Self {
            path: None,
            options,
            host: HostFile::Any,
            caches: CacheOptions::default(),
            cache_entry: None,
        };
        for (key, value) in pairs {
            node.set(&key, &value, secrets)?;
        }
        if !file.is_empty() {
            node.set_file(Self::parse(file, without_format(above.clone()), secrets)?);
        }
        if !backing.is_empty() {
            let below = Self::parse(backing, without_format(above), secrets)?;
            node.options.below = Some(Box::new(Below {
                path: below.path,
                options: below.options,
            }));
        }
        Ok(node)
    }

    fn set_file(&mut self, file: Self) {
        self.path = self.path.take().or(file.path);
        match file.options.format {
            Some(_) if file.host == HostFile::Any => {
                self.options.inside = Some(Box::new(file.options));
            }
            _ => {
                self.host = file.host;
                self.options.hosts = file.options.hosts;
            }
        }
    }

    fn set(
        &mut self,
        key: &str,
        value: &str,
        secrets: &NamedSecrets,
    ) -> Result<(), Box<dyn Error>> {
        if let Some(taken) = self.caches.take(key, value) {
            return Ok(taken?);
        }
        let options = &mut self.options;
        match key {
            "driver" => match HostFile::of_driver(value) {
                Some(host) => {
                    self.host = host;
                    if let HostFile::Device(_) = host {
                        options.hosts = HostFiles::Devices;
                    }
                    options.format = Some(Format::Raw);
                }
                None => options.format = Some(format(value)?),
            },
            "filename" => self.path = Some(PathBuf::from(value)),
            "encrypt.key-secret" | "key-secret" => {
                if let Some(secret) = secrets.to_open(value)? {
                    options.secrets = secret.clone().into();
                }
            }
            "data-file.driver" if value == "file" => {}
            "data-file.filename" => options.data_file = Some(PathBuf::from(value)),
            "discard" => options.discards = discards(key, value)?,
            "detect-zeroes" => options.detect_zeroes = detect_zeroes(key, value)?,
            "discard-no-unref" if switch(key, value)? => {
                options.discarded_places = DiscardedPlaces::Kept;
            }
            "discard-no-unref" => {}
            "read-only" => options.read_only |= switch(key, value)?,
            "force-share" if switch(key, value)? => options.sharing = Sharing::Everything,
            "force-share" => {}
            "l2-cache-entry-size" => self.cache_entry = Some(size::parse(value)?),
            _ if is_tuning(key) => {}
            _ => return Err(format!("Invalid parameter '{}'", key.escape_debug()).into()),
        }
        Ok(())
    }

    /// Fails if the host file at `path` is of a kind that the driver does not take. One that
    /// cannot be looked at, or not be written, is left to whoever opens it.
    pub(super) fn check_host_file(&self, path: &Path) -> Result<(), ImageError> {
        let Ok(found) = std::fs::metadata(path) else {
            return Ok(());
        };
        if found.is_dir() && !self.options.read_only {
            return Ok(());
        }
        let kind = found.file_type();
        let (name, wanted, fits) = match self.host {
            HostFile::Any => return Ok(()),
            HostFile::Regular => ("file", "a regular file", kind.is_file()),
            HostFile::Device(name) => (
                name,
                "either a character or block device",
                kind.is_char_device() || kind.is_block_device(),
            ),
        };
        match fits {
            true => Ok(()),
            false => Err(invalid(format!(
                "'{name}' driver requires '{}' to be {wanted}",
                path.display()
            ))),
        }
    }

    /// The sizes of the caches; fails if what was said of them makes no sense together.
    pub(super) fn caches(&self) -> Result<CacheSizes, ImageError> {
        self.caches.sizes().map_err(invalid)
    }

    /// Fails if an entry of the cache of L2 tables cannot have the size that is asked for, in an
    /// image with clusters of `cluster_size` bytes.
    pub(super) fn check_cache_entry(&self, cluster_size: u64) -> Result<(), ImageError> {
        match self.cache_entry {
            Some(size) if !size.is_power_of_two() || !(512..=cluster_size).contains(&size) => {
                Err(invalid(format!(
                    "L2 cache entry size must be a power of two between 512 and the cluster size \
                     ({cluster_size})"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The options of another node of the tree: which format it has is not that of its neighbour.
fn without_format(options: OpenOptions) -> OpenOptions {
    OpenOptions {
        format: None,
        ..options
    }
}

/// The pairs under `prefix`, without it, and the others.
fn under(prefix: &str, pairs: Pairs) -> (Pairs, Pairs) {
    let (inside, outside): (Pairs, Pairs) = pairs
        .into_iter()
        .partition(|(key, _)| key.starts_with(prefix));
    let strip = |(key, value): (String, String)| (key[prefix.len()..].to_owned(), value);
    (inside.into_iter().map(strip).collect(), outside)
}

/// Whether a driver option is taken and means nothing here.
fn is_tuning(key: &str) -> bool {
    let families = ["cache.", "overlap-check", "pass-discard-"];
    TUNING.contains(&key) || families.iter().any(|family| key.starts_with(family))
}

/// The leaves of a JSON object, with the names on the way to each joined by dots.
pub(super) fn flatten(prefix: &str, value: &serde_json::Value, pairs: &mut Pairs) {
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

fn invalid(detail: String) -> ImageError {
    ImageError::new(ErrorKind::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    fn node(text: &str) -> Result<Node, Box<dyn Error>> {
        let secrets = NamedSecrets::parse(&["secret,id=s,data=x".to_owned()])?;
        Node::parse(keys::parse(text), OpenOptions::default(), &secrets)
    }

    #[test]
    fn nodes_are_nested_by_their_prefixes() {
        let node = node(
            "driver=raw,file.driver=qcow2,file.file.filename=a,backing.driver=qcow2,\
             backing.file.filename=b,backing.encrypt.key-secret=s",
        )
        .unwrap();
        assert_eq!(node.path.as_deref(), Some(Path::new("a")));
        assert_eq!(node.options.format, Some(Format::Raw));
        let inside = node.options.inside.unwrap();
        assert_eq!(inside.format, Some(Format::Qcow2));
        let below = node.options.below.unwrap();
        assert_eq!(below.path.as_deref(), Some(Path::new("b")));
        assert!(below.options.secrets.own().is_some());
    }

    #[test]
    fn cache_sizes_have_to_fit_together() {
        let all = node("cache-size=2M,l2-cache-size=1M,refcount-cache-size=1M").unwrap();
        assert!(all.caches().is_err());
        let fitting = node("cache-size=2M,l2-cache-size=1M,l2-cache-entry-size=4242").unwrap();
        assert!(fitting.caches().is_ok());
        assert!(fitting.check_cache_entry(65536).is_err());
        assert!(node("driver=qcow2,colour=red").is_err());
    }
}
