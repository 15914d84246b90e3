//! `cowbox img dd`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{NewImage, Opening, format};
use super::size;
use crate::image::convert::{ConvertOptions, Span, convert_span};
use crate::image::{self, Format};

/// Copy a part of an image into a new one.
#[derive(Debug, Args)]
pub(super) struct Dd {
    /// Format of the source.
    #[arg(short = 'f', value_parser = format)]
    source_format: Option<Format>,
    /// Format of the target.
    #[arg(short = 'O', default_value = "raw", value_parser = format)]
    target_format: Format,
    #[command(flatten)]
    opening: Opening,
    /// if=SOURCE and of=TARGET, and perhaps bs=SIZE (512), count=BLOCKS, skip=BLOCKS.
    #[arg(required = true)]
    operands: Vec<String>,
}

/// What the operands say.
#[derive(Debug)]
struct Operands {
    source: Option<PathBuf>,
    target: Option<PathBuf>,
    block: u64,
    count: Option<u64>,
    skip: u64,
}

impl Dd {
    pub(super) fn run(self, program: Program) -> Outcome {
        let operands = self.parse()?;
        let (Some(source), Some(target)) = (&operands.source, &operands.target) else {
            return Err("Must specify both input and output files".into());
        };
        let source = self.opening.reading(source, self.source_format, program)?;
        let source = source.open()?;
        let wanted = operands
            .count
            .map(|count| count.saturating_mul(operands.block));
        let end = wanted.unwrap_or(u64::MAX).min(source.size());
        let start = operands.skip.saturating_mul(operands.block);
        if start > source.size() {
            eprintln!(
                "{}: {}: cannot skip to specified offset",
                program.name(),
                operands.source.as_deref().unwrap_or("".as_ref()).display()
            );
        }
        let end = match wanted {
            Some(wanted) => start.saturating_add(wanted).min(source.size()),
            None => end,
        };
        let len = end.saturating_sub(start);
        let mut new = NewImage::default();
        new.options.size = len;
        image::create(target, self.target_format, &new.options)?;
        let opened = self
            .opening
            .writing(target, Some(self.target_format), program)?;
        let span = Span { start, len };
        convert_span(&*source, &*opened.open()?, span, ConvertOptions::default())?;
        Ok(ExitCode::SUCCESS)
    }

    fn parse(&self) -> Result<Operands, String> {
        let mut operands = Operands {
            source: None,
            target: None,
            block: 512,
            count: None,
            skip: 0,
        };
        for operand in &self.operands {
            let unknown = || format!("unrecognized operand {operand}");
            let (key, value) = operand.split_once('=').ok_or_else(unknown)?;
            let number = || size::parse(value).map_err(|_| format!("invalid number: '{value}'"));
            match key {
                "if" => operands.source = Some(value.into()),
                "of" => operands.target = Some(value.into()),
                "bs" => operands.block = number()?.max(1),
                "count" => operands.count = Some(number()?),
                "skip" => operands.skip = number()?,
                _ => return Err(format!("unrecognized operand {key}")),
            }
        }
        Ok(operands)
    }
}
