//! The disk option: `FILE[,bus=ide|virtio][,format=qcow2|raw|luks][,readonly=on][,snapshot=on]`, and
//! `[,backing=any][,backing-format=qcow2|raw|luks]` for backing files that lie outside the image's
//! directory or whose format it does not record, `[,password-file=PATH]` for an encrypted image,
//! and QEMU's `discard`, `detect-zeroes` and `cache`. A comma in a name is written twice.

use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::super::zeros::{detect_zeroes, discards};
use crate::image::{
    self, BackingPolicy, DetectZeroes, Discards, Format, ImageError, OpenOptions, Secret, Secrets,
    WriteCache,
};
use crate::machine::{DiskBus, DiskConfig};

/// A disk as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiskOption {
    path: PathBuf,
    bus: DiskBus,
    format: Option<Format>,
    backing: BackingPolicy,
    backing_format: Option<Format>,
    read_only: bool,
    snapshot: bool,
    password_file: Option<PathBuf>,
    discards: Discards,
    detect_zeroes: DetectZeroes,
    cache: WriteCache,
}

impl FromStr for DiskOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = split(text).into_iter();
        let name = parts.next().unwrap_or_default();
        let name = name.strip_prefix("file=").unwrap_or(&name);
        if name.is_empty() {
            return Err("a disk is FILE[,bus=ide|virtio][,format=qcow2|raw|luks]…".to_owned());
        }
        let mut disk = Self {
            path: PathBuf::from(name),
            bus: DiskBus::Ide,
            format: None,
            backing: BackingPolicy::default(),
            backing_format: None,
            read_only: false,
            snapshot: false,
            password_file: None,
            discards: Discards::default(),
            detect_zeroes: DetectZeroes::default(),
            cache: WriteCache::default(),
        };
        for part in parts {
            disk.set(&part)?;
        }
        Ok(disk)
    }
}

impl DiskOption {
    fn set(&mut self, part: &str) -> Result<(), String> {
        let (key, value) = part.split_once('=').unwrap_or((part, "on"));
        match (key, value) {
            ("bus" | "if", "ide") => self.bus = DiskBus::Ide,
            ("bus" | "if", "virtio") => self.bus = DiskBus::Virtio,
            ("format", _) => self.format = Some(format(part, value)?),
            ("backing", "any") => self.backing = BackingPolicy::Any,
            ("backing-format", _) => self.backing_format = Some(format(part, value)?),
            ("readonly" | "read-only", _) => self.read_only = switch(part, value)?,
            ("snapshot", _) => self.snapshot = switch(part, value)?,
            ("password-file", _) => self.password_file = Some(PathBuf::from(value)),
            ("discard", _) => self.discards = discards(key, value)?,
            ("detect-zeroes", _) => self.detect_zeroes = detect_zeroes(key, value)?,
            ("cache", _) => self.cache = cache(part, value)?,
            _ => {
                return Err(format!(
                    "{part}: a disk takes bus=ide|virtio, format=qcow2|raw|luks, readonly=on|off, \
                     snapshot=on|off, backing=any, backing-format=qcow2|raw|luks, password-file=PATH, \
                     discard=ignore|unmap, detect-zeroes=off|on|unmap and \
                     cache=none|writeback|writethrough|directsync|unsafe"
                ));
            }
        }
        Ok(())
    }

    /// Makes all writes go to a throw-away overlay.
    pub(super) fn set_snapshot(&mut self) {
        self.snapshot = true;
    }

    /// Opens the image.
    pub(super) fn open(self) -> Result<DiskConfig, ImageError> {
        let options = OpenOptions {
            format: self.format,
            read_only: self.read_only || self.snapshot,
            backing: self.backing,
            backing_format: self.backing_format,
            secrets: self.secrets()?,
            discards: self.discards,
            detect_zeroes: self.detect_zeroes,
            cache: self.cache,
            ..OpenOptions::default()
        };
        let mut image = image::open(&self.path, &options)?;
        if self.snapshot {
            image = image::overlay(image, &std::env::temp_dir())?;
        }
        Ok(DiskConfig {
            name: self.path.display().to_string(),
            image,
            bus: self.bus,
            read_only: self.read_only,
        })
    }
}

impl DiskOption {
    /// The first line of the password file.
    fn secrets(&self) -> Result<Secrets, ImageError> {
        let Some(path) = &self.password_file else {
            return Ok(Secrets::default());
        };
        let text = Zeroizing::new(
            std::fs::read_to_string(path)
                .map_err(|e| ImageError::io("read the password file", e).in_file(path))?,
        );
        Ok(Secret::new(text.lines().next().unwrap_or("")).into())
    }
}

fn format(part: &str, value: &str) -> Result<Format, String> {
    Format::from_name(value).ok_or_else(|| format!("{part}: qcow2, raw or luks"))
}

fn cache(part: &str, value: &str) -> Result<WriteCache, String> {
    WriteCache::from_name(value)
        .ok_or_else(|| format!("{part}: none, writeback, writethrough, directsync or unsafe"))
}

fn switch(part: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{part}: on or off")),
    }
}

/// Splits at single commas.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, parts.last_mut()) {
            (',', Some(part)) if rest.peek() == Some(&',') => {
                rest.next();
                part.push(',');
            }
            (',', _) => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_option_is_read_with_doubled_commas_in_its_name() {
        let disk: DiskOption = "a,,b.img,bus=virtio,format=raw,snapshot=on"
            .parse()
            .unwrap();
        assert_eq!(disk.path, PathBuf::from("a,b.img"));
        assert_eq!(disk.bus, DiskBus::Virtio);
        assert_eq!(disk.format, Some(Format::Raw));
        assert!(disk.snapshot && !disk.read_only);
    }

    #[test]
    fn backing_files_are_trusted_and_given_a_format_by_name() {
        let disk: DiskOption = "a,backing=any,backing-format=raw".parse().unwrap();
        assert_eq!(disk.backing, BackingPolicy::Any);
        assert_eq!(disk.backing_format, Some(Format::Raw));
        let disk: DiskOption = "a".parse().unwrap();
        assert_eq!(disk.backing, BackingPolicy::SameDirectory);
        assert_eq!(disk.backing_format, None);
    }

    #[test]
    fn nonsense_in_a_disk_option_is_refused_by_name() {
        for text in [
            "",
            "a,bus=scsi",
            "a,format=vhd",
            "a,readonly=maybe",
            "a,what",
            "a,backing=some",
            "a,backing-format=vhd",
            "a,cache=often",
        ] {
            assert!(text.parse::<DiskOption>().is_err(), "{text}");
        }
    }
}
