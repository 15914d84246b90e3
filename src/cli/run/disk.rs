//! The disk option: `FILE[,bus=ide|virtio][,format=qcow2|raw][,readonly=on][,snapshot=on]`. A
//! comma in the file name is written twice.

use std::path::PathBuf;
use std::str::FromStr;

use crate::image::{self, Format, ImageError, OpenOptions};
use crate::machine::{DiskBus, DiskConfig};

/// A disk as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiskOption {
    path: PathBuf,
    bus: DiskBus,
    format: Option<Format>,
    read_only: bool,
    snapshot: bool,
}

impl FromStr for DiskOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = split(text).into_iter();
        let name = parts.next().unwrap_or_default();
        let name = name.strip_prefix("file=").unwrap_or(&name);
        if name.is_empty() {
            return Err("a disk is FILE[,bus=ide|virtio][,format=qcow2|raw]…".to_owned());
        }
        let mut disk = Self {
            path: PathBuf::from(name),
            bus: DiskBus::Ide,
            format: None,
            read_only: false,
            snapshot: false,
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
            ("format", _) => {
                let format = Format::from_name(value);
                self.format = Some(format.ok_or(format!("format={value}: qcow2 or raw"))?);
            }
            ("readonly" | "read-only", _) => self.read_only = switch(part, value)?,
            ("snapshot", _) => self.snapshot = switch(part, value)?,
            _ => {
                return Err(format!(
                    "{part}: a disk takes bus=ide|virtio, format=qcow2|raw, readonly=on|off and \
                     snapshot=on|off"
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
            read_only: self.read_only || self.snapshot,
            ..OpenOptions::default()
        };
        let mut image = image::open(&self.path, &options.with_format(self.format))?;
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
    fn nonsense_in_a_disk_option_is_refused_by_name() {
        for text in [
            "",
            "a,bus=scsi",
            "a,format=vhd",
            "a,readonly=maybe",
            "a,what",
        ] {
            assert!(text.parse::<DiskOption>().is_err(), "{text}");
        }
    }
}
