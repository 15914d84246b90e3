//! `cowbox img create`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{NewImage, Opening, format};
use super::{qemu_text, size};
use crate::image::info::info;
use crate::image::qcow2::create::{DataFileContents, L2Entries, RefcountUpdates};
use crate::image::qcow2::geometry::Version;
use crate::image::{self, BackingPolicy, ErrorKind, Format};

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
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    opening: Opening,
    /// The file.
    file: PathBuf,
    /// Length of the disk; without it, that of the backing image.
    #[arg(value_parser = size::parse)]
    size: Option<u64>,
}

impl Create {
    pub(super) fn run(self, program: Program) -> Outcome {
        let mut new = NewImage::parse(&self.options)?;
        let backing = self.backing.clone().or(new.backing_file.take());
        let backing_format = self.backing_format.clone().or(new.backing_format.take());
        let mut size = self
            .size
            .or(Some(new.options.size).filter(|&size| size > 0));
        if let Some(base) = backing {
            if self.format != Format::Qcow2 {
                return Err("only qcow2 images have backing files; add -f qcow2".into());
            }
            if !self.unsafe_backing {
                let found = self.backing_size(&base, backing_format.as_deref(), program)?;
                size = size.or(Some(found));
            }
            let Some(base_format) = backing_format else {
                return Err(self.missing_format(&base, program).into());
            };
            new.options.backing = Some((base, base_format));
        }
        let missing = match program.is_qemu() {
            true => "Image creation needs a size parameter",
            false => "the size of the new image is missing",
        };
        new.options.size = size.ok_or_else(|| self.of_file(missing, program))?;
        if !self.quiet {
            println!("{}", self.summary(&new));
        }
        new.create(&self.file, self.format, &self.opening, program)?;
        Ok(ExitCode::SUCCESS)
    }

    /// A text of QEMU's with the file in front.
    fn of_file(&self, text: &str, program: Program) -> String {
        match program.is_qemu() {
            true => format!("{}: {text}", self.file.display()),
            false => text.to_owned(),
        }
    }

    fn missing_format(&self, base: &str, program: Program) -> String {
        let ours = format!(
            "the format of backing file \"{}\" is not guessed; add -F raw or -F qcow2",
            base.escape_debug()
        );
        match program.is_qemu() {
            true => self.of_file("Backing file specified without backing format", program),
            false => ours,
        }
    }

    /// The length of the backing image, which the user named and which may lie anywhere.
    fn backing_size(
        &self,
        base: &str,
        format_name: Option<&str>,
        program: Program,
    ) -> Result<u64, Box<dyn Error>> {
        let format = match format_name {
            Some(name) => Some(format(name)?),
            None if program.is_qemu() => None,
            None => return Err(self.missing_format(base, program).into()),
        };
        let directory = self.file.parent().unwrap_or(Path::new(""));
        let mut source = self.opening.reading(Path::new(base), format, program)?;
        source.path = directory.join(&source.path);
        source.options.backing = BackingPolicy::Any;
        let size = match image::open(&source.path, &source.options) {
            // How long an encrypted disk is takes no password.
            Err(error) if error.kind() == ErrorKind::Password => {
                info(&source.path, &source.options).map(|facts| facts.size)
            }
            opened => opened.map(|image| image.size()),
        };
        size.map_err(|error| match program.is_qemu() {
            true => {
                let why = qemu_text::of_opening(&error, &source.path);
                let text = format!("{why}\nCould not open backing image.");
                Box::<dyn Error>::from(self.of_file(&text, program))
            }
            false => error.into(),
        })
    }

    fn summary(&self, new: &NewImage) -> String {
        let options = &new.options;
        let file = self.file.display();
        let mut line = format!("Formatting '{file}', fmt={}", self.format);
        if self.format == Format::Qcow2 {
            line += &new.encryption_text();
            line += &format!(
                " cluster_size={} extended_l2={}",
                options.cluster_size,
                match options.entries {
                    L2Entries::Standard => "off",
                    L2Entries::Extended => "on",
                }
            );
        }
        let preallocation = new.preallocation();
        let preallocation = preallocation.map_or(String::new(), |how| {
            format!(" preallocation={}", how.name())
        });
        match self.format {
            Format::Raw => return format!("{line}{preallocation} size={}", options.size),
            Format::Luks => {
                let encryption = new.encryption_text();
                return format!("{line} size={}{encryption}{preallocation}", options.size);
            }
            Format::Qcow2 => line += &preallocation,
        }
        line += &format!(
            " compression_type={} size={}",
            options.compression.name(),
            options.size
        );
        if let Some((base, format)) = &options.backing {
            line += &format!(" backing_file={} backing_fmt={format}", base.escape_debug());
        }
        if let Some(file) = &options.data_file {
            line += &format!(" data_file={}", file.name.escape_debug());
            if file.contents == DataFileContents::Raw {
                line += " data_file_raw=on";
            }
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
