//! Options that several commands share: formats, backing files, passwords, `-o` lists.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;

use crate::image::qcow2::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates,
};
use crate::image::qcow2::geometry::Version;
use crate::image::qcow2::header::Compression;
use crate::image::{BackingPolicy, Format, OpenOptions, Secret, Secrets, Sharing};

use super::size;

/// How an image that exists is opened.
#[derive(Debug, Args)]
pub(super) struct Opening {
    /// Look on while another process may be writing.
    #[arg(short = 'U', long = "force-share")]
    share: bool,
    /// Open backing files outside the image's own directory too.
    #[arg(long)]
    backing_any: bool,
    /// Format of backing files where the image does not record it.
    #[arg(long, value_name = "FMT", value_parser = format)]
    backing_format: Option<Format>,
    /// File whose first line is the password of an encrypted image.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Opening {
    /// The options for an image of a given format, to be read.
    pub(super) fn reading(&self, format: Option<Format>) -> Result<OpenOptions, Box<dyn Error>> {
        let sharing = match self.share {
            true => Sharing::Everything,
            false => Sharing::Readers,
        };
        Ok(OpenOptions {
            read_only: true,
            sharing,
            ..self.writing(format)?
        })
    }

    /// The options for an image of a given format, to be changed: never shared, also with `-U`.
    pub(super) fn writing(&self, format: Option<Format>) -> Result<OpenOptions, Box<dyn Error>> {
        Ok(OpenOptions {
            format,
            backing: match self.backing_any {
                true => BackingPolicy::Any,
                false => BackingPolicy::SameDirectory,
            },
            backing_format: self.backing_format,
            secrets: self.secrets()?,
            ..OpenOptions::default()
        })
    }

    fn secrets(&self) -> Result<Secrets, Box<dyn Error>> {
        let Some(path) = &self.password_file else {
            return Ok(Secrets::default());
        };
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read the password file {}: {e}", path.display()))?;
        Ok(Secret::new(text.lines().next().unwrap_or("")).into())
    }
}

/// A format's name on the command line.
pub(super) fn format(name: &str) -> Result<Format, String> {
    Format::from_name(name).ok_or_else(|| {
        format!(
            "unknown format \"{}\"; there are raw and qcow2",
            name.escape_debug()
        )
    })
}

/// What `-o` lists say about a new image.
#[derive(Debug, Default)]
pub(super) struct NewImage {
    /// The options of the format.
    pub(super) options: CreateOptions,
    /// `backing_file`
    pub(super) backing_file: Option<String>,
    /// `backing_fmt`
    pub(super) backing_format: Option<String>,
    /// `data_file`
    data_file: Option<String>,
    /// `data_file_raw`
    data_file_raw: bool,
}

impl NewImage {
    /// Reads `-o` lists: `key=value` pairs with commas between them, a comma in a value doubled.
    pub(super) fn parse(lists: &[String]) -> Result<Self, String> {
        let mut new = Self::default();
        for list in lists {
            // A doubled comma is hidden behind a character that no option has.
            let hidden = list.replace(",,", "\0");
            for pair in hidden.split(',').filter(|pair| !pair.is_empty()) {
                let (key, value) = pair.split_once('=').unwrap_or((pair, "on"));
                new.set(key, &value.replace('\0', ","))?;
            }
        }
        new.set_data_file()?;
        Ok(new)
    }

    /// What `data_file` and `data_file_raw` mean together.
    fn set_data_file(&mut self) -> Result<(), String> {
        let contents = if self.data_file_raw {
            DataFileContents::Raw
        } else {
            DataFileContents::Mapped
        };
        if self.data_file_raw && self.data_file.is_none() {
            return Err("data_file_raw needs data_file".to_owned());
        }
        let name = self.data_file.take();
        self.options.data_file = name.map(|name| DataFile { name, contents });
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let options = &mut self.options;
        match key {
            "size" => options.size = size::parse(value)?,
            "compat" => options.version = version(value)?,
            "cluster_size" => options.cluster_size = size::parse(value)?,
            "refcount_bits" => {
                options.refcount_bits = value.parse().map_err(|_| not_a(key, value, "number"))?;
            }
            "lazy_refcounts" if switch(key, value)? => options.refcounts = RefcountUpdates::Lazy,
            "lazy_refcounts" => options.refcounts = RefcountUpdates::InOrder,
            "encryption" if switch(key, value)? => options.encryption = Encryption::Aes,
            "encryption" => options.encryption = Encryption::None,
            "encrypt.format" if value == "aes" => options.encryption = Encryption::Aes,
            "backing_file" => self.backing_file = Some(value.to_owned()),
            "backing_fmt" => self.backing_format = Some(value.to_owned()),
            "preallocation" if value == "off" => {}
            "data_file" => self.data_file = Some(value.to_owned()),
            "data_file_raw" => self.data_file_raw = switch(key, value)?,
            "compression_type" => {
                options.compression = Compression::from_name(value)
                    .ok_or_else(|| not_a(key, value, "compression type (zlib or zstd)"))?;
            }
            "extended_l2" if switch(key, value)? => options.entries = L2Entries::Extended,
            "extended_l2" => options.entries = L2Entries::Standard,
            _ => {
                return Err(format!(
                    "option {key}={} is not known or not supported",
                    value.escape_debug()
                ));
            }
        }
        Ok(())
    }
}

fn version(value: &str) -> Result<Version, String> {
    match value {
        "0.10" | "v2" => Ok(Version::V2),
        "1.1" | "v3" => Ok(Version::V3),
        _ => Err(not_a("compat", value, "version (0.10 or 1.1)")),
    }
}

fn switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(not_a(key, value, "switch (on or off)")),
    }
}

fn not_a(key: &str, value: &str, what: &str) -> String {
    format!("option {key}={} is not a {what}", value.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_lists_are_pairs_with_commas() {
        let lists = [
            "cluster_size=4k,refcount_bits=1".to_owned(),
            "backing_file=a,,b".to_owned(),
        ];
        let new = NewImage::parse(&lists).unwrap();
        assert_eq!(new.options.cluster_size, 4096);
        assert_eq!(new.options.refcount_bits, 1);
        assert_eq!(new.backing_file.as_deref(), Some("a,b"));
        assert!(NewImage::parse(&["data_file_raw=on".to_owned()]).is_err());
    }
}
