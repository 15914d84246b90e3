//! `cowbox img bitmap`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{Opening, format};
use super::size;
use crate::image::qcow2::Qcow2;
use crate::image::qcow2::bitmaps::Recording;
use crate::image::{Format, Image, ImageError};

/// Change the dirty bitmaps of a qcow2 image. Several changes are made in this order: add, clear,
/// merge, enable, disable, remove.
#[derive(Debug, Args)]
pub(super) struct Bitmap {
    /// Add the bitmap.
    #[arg(long)]
    add: bool,
    /// Clear all its bits.
    #[arg(long)]
    clear: bool,
    /// Set in it what is set in this bitmap.
    #[arg(long, value_name = "SOURCE")]
    merge: Vec<String>,
    /// Let it follow changes of the disk.
    #[arg(long)]
    enable: bool,
    /// Let it follow changes no more.
    #[arg(long)]
    disable: bool,
    /// Remove it.
    #[arg(long)]
    remove: bool,
    /// The image that holds the bitmaps to merge.
    #[arg(short = 'b', long = "source-file", value_name = "FILE")]
    source_file: Option<PathBuf>,
    /// Format of that image.
    #[arg(short = 'F', long = "source-format", value_parser = format)]
    source_format: Option<Format>,
    /// Bytes of the disk that a bit of a new bitmap stands for.
    #[arg(short = 'g', long, value_name = "SIZE", value_parser = size::parse)]
    granularity: Option<u64>,
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
    /// The bitmap.
    name: String,
}

impl Bitmap {
    pub(super) fn run(self, program: Program) -> Outcome {
        self.check()?;
        let mut image = self
            .opening
            .writing(&self.file, self.format, program)?
            .open_qcow2()?;
        let name = self.name.as_bytes();
        let failed = |action: &'static str| {
            let name = self.name.clone();
            move |error: ImageError| -> Box<dyn Error> {
                match program.is_qemu() {
                    true => {
                        let why = error.detail();
                        format!("Operation {action} on bitmap {name} failed: {why}").into()
                    }
                    false => error.into(),
                }
            }
        };
        if self.add {
            let added = image.add_bitmap(name, self.granularity);
            added.map_err(failed("add"))?;
            if self.disable {
                let disabled = image.record_bitmap(name, Recording::Disabled);
                disabled.map_err(failed("disable"))?;
            }
        }
        if self.clear {
            image.clear_bitmap(name).map_err(failed("clear"))?;
        }
        for source in &self.merge {
            self.merge(&mut image, source, program)?;
        }
        if self.enable {
            let enabled = image.record_bitmap(name, Recording::Enabled);
            enabled.map_err(failed("enable"))?;
        }
        if self.disable && !self.add {
            let disabled = image.record_bitmap(name, Recording::Disabled);
            disabled.map_err(failed("disable"))?;
        }
        if self.remove {
            image.remove_bitmap(name).map_err(failed("remove"))?;
        }
        image.close()?;
        Ok(ExitCode::SUCCESS)
    }

    fn check(&self) -> Result<(), &'static str> {
        let some = self.add || self.clear || self.enable || self.disable || self.remove;
        if !some && self.merge.is_empty() {
            return Err(
                "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge",
            );
        }
        if self.granularity.is_some() && !self.add {
            return Err("granularity only supported with --add");
        }
        if self.source_format.is_some() && self.source_file.is_none() {
            return Err("-F only supported with -b");
        }
        if self.source_file.is_some() && self.merge.is_empty() {
            return Err("Merge bitmap source file only supported with --merge");
        }
        Ok(())
    }

    /// Sets in the bitmap what is set in `source`, of this image or of the one that `-b` names.
    fn merge(
        &self,
        image: &mut Qcow2,
        source: &str,
        program: Program,
    ) -> Result<(), Box<dyn Error>> {
        let bits = match &self.source_file {
            None => image.bitmap_bits(source.as_bytes())?,
            Some(file) => {
                let other = self.opening.reading(file, self.source_format, program)?;
                other.open_qcow2()?.bitmap_bits(source.as_bytes())?
            }
        };
        Ok(image.merge_bitmap(self.name.as_bytes(), &bits)?)
    }
}
