//! `cowbox img create`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{NewImage, format};
use super::secrets::NamedSecrets;
use super::size;
use crate::image::qcow2::create::{CreateOptions, Encryption, L2Entries, RefcountUpdates};
use crate::image::qcow2::geometry::Version;
use crate::image::{self, BackingPolicy, Format, OpenOptions};

/// Make a new image.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Format of the new image.
    #[arg(short = 'f', default_value = "raw", value_parser = format)]
    format: Format,
    /// Backing image: what shows through where the new one holds nothing.
    #[arg(short = 'b', long = "backing", value_name = "BASE")]
    backing: Option<String>,
    /// Format of the backing image.
    #[arg(short = 'F', long = "backing-fmt", value_name = "FMT")]
    backing_format: Option<String>,
    /// Do not look whether the backing image exists.
    #[arg(short = 'u')]
    unsafe_backing: bool,
    /// Options of the format, such as cluster_size=64k,compat=1.1.
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// A password under a name: secret,id=NAME,data=TEXT or secret,id=NAME,file=PATH.
    #[arg(long = "object", value_name = "OBJECT")]
    objects: Vec<String>,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// The file.
    file: PathBuf,
    /// Length of the disk; without it, that of the backing image.
    #[arg(value_parser = size::parse)]
    size: Option<u64>,
}

impl Create {
    pub(super) fn run(self, _: Program) -> Outcome {
        let mut new = NewImage::parse(&self.options)?;
        new.encrypt_with(&NamedSecrets::parse(&self.objects)?)?;
        let backing = self.backing.clone().or(new.backing_file.take());
        let backing_format = self.backing_format.clone().or(new.backing_format.take());
        let mut size = self
            .size
            .or(Some(new.options.size).filter(|&size| size > 0));
        if let Some(base) = backing {
            if self.format != Format::Qcow2 {
                return Err("only qcow2 images have backing files; add -f qcow2".into());
            }
            let Some(base_format) = backing_format else {
                return Err(format!(
                    "the format of backing file \"{}\" is not guessed; add -F raw or -F qcow2",
                    base.escape_debug()
                )
                .into());
            };
            if !self.unsafe_backing {
                let found = self.backing_size(&base, format(&base_format)?)?;
                size = size.or(Some(found));
            }
            new.options.backing = Some((base, base_format));
        }
        new.options.size = size.ok_or("the size of the new image is missing")?;
        image::create(&self.file, self.format, &new.options)?;
        if !self.quiet {
            println!("{}", self.summary(&new.options));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The length of the backing image, which the user named and which may lie anywhere.
    fn backing_size(&self, base: &str, format: Format) -> image::Result<u64> {
        let directory = self.file.parent().unwrap_or(Path::new(""));
        let options = OpenOptions {
            backing: BackingPolicy::Any,
            ..OpenOptions::read_only()
        };
        let path = directory.join(base);
        Ok(image::open(&path, &options.with_format(Some(format)))?.size())
    }

    fn summary(&self, options: &CreateOptions) -> String {
        let file = self.file.display();
        let mut line = format!("Formatting '{file}', fmt={}", self.format);
        if self.format == Format::Raw {
            return format!("{line} size={}", options.size);
        }
        match &options.encryption {
            Encryption::None => {}
            Encryption::Aes => line += " encrypt.format=aes",
            Encryption::Luks(_) => line += " encrypt.format=luks",
        }
        line += &format!(
            " cluster_size={} extended_l2={} compression_type={} size={}",
            options.cluster_size,
            match options.entries {
                L2Entries::Standard => "off",
                L2Entries::Extended => "on",
            },
            options.compression.name(),
            options.size
        );
        if let Some((base, format)) = &options.backing {
            line += &format!(" backing_file={} backing_fmt={format}", base.escape_debug());
        }
        if options.version == Version::V2 {
            line += " compat=0.10";
        }
        let lazy = if options.refcounts == RefcountUpdates::Lazy {
            "on"
        } else {
            "off"
        };
        format!(
            "{line} lazy_refcounts={lazy} refcount_bits={}",
            options.refcount_bits
        )
    }
}
