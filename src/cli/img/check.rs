//! `cowbox img check`: exit status 0 fine, 1 could not check, 2 corrupt, 3 leaks only, 63 the
//! format has nothing to check.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::super::Outcome;
use super::super::program::Program;
use super::info::Output;
use super::json;
use super::options::{Opening, Use, format};
use crate::image::qcow2::check::Report;
use crate::image::qcow2::repair::Repair;
use crate::image::{self, Escaped, Format, Sharing};

/// Check the tables of a qcow2 image, and mend them.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Format of the image.
    #[arg(short = 'f', value_parser = format)]
    format: Option<Format>,
    /// What to mend.
    #[arg(short = 'r', value_name = "WHAT")]
    repair: Option<What>,
    /// Form of the report.
    #[arg(long, default_value = "human")]
    output: Output,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Lost space.
    Leaks,
    /// Everything that can be mended.
    All,
}

impl Check {
    pub(super) fn run(self, program: Program) -> Outcome {
        let purpose = match self.repair {
            None => Use::Read,
            Some(_) => Use::Change,
        };
        let source = self
            .opening
            .source(&self.file, self.format, purpose, program)?;
        let repair = self.repair.map(|what| match what {
            What::Leaks => Repair::Leaks,
            What::All => Repair::All,
        });
        let checked = match (source.options.sharing, repair) {
            (Sharing::Everything, None) => image::live::check(&source.path, &source.options),
            _ => image::check(&source.path, &source.options, repair),
        };
        let Some(report) = checked.map_err(|e| source.cannot_open(e))? else {
            eprintln!(
                "{}: This image format does not support checks",
                program.name()
            );
            return Ok(ExitCode::from(63));
        };
        match self.output {
            Output::Json => println!("{}", json::text(&self.json(&report))),
            Output::Human if self.quiet => {}
            Output::Human => print!("{}", human(&report)),
        }
        Ok(ExitCode::from(match (report.corruptions, report.leaks) {
            (0, 0) => 0,
            (0, _) => 3,
            _ => 2,
        }))
    }

    fn json(&self, report: &Report) -> Value {
        let mut object = Map::new();
        let mut always = |key: &str, value: Value| object.insert(key.to_owned(), value);
        always("image-end-offset", json!(report.image_end));
        always("total-clusters", json!(report.total_clusters));
        always("check-errors", json!(0));
        let nonzero = [
            ("corruptions", report.corruptions),
            ("leaks", report.leaks),
            ("corruptions-fixed", report.corruptions_fixed),
            ("leaks-fixed", report.leaks_fixed),
            ("allocated-clusters", report.allocated_clusters),
            ("fragmented-clusters", report.fragmented_clusters),
            ("compressed-clusters", report.compressed_clusters),
        ];
        for (key, value) in nonzero.into_iter().filter(|&(_, value)| value != 0) {
            object.insert(key.to_owned(), json!(value));
        }
        let file = Escaped(self.file.as_os_str().as_encoded_bytes()).to_string();
        object.insert("filename".to_owned(), json!(file));
        object.insert("format".to_owned(), json!("qcow2"));
        Value::Object(object)
    }
}

fn human(report: &Report) -> String {
    let mut text = String::new();
    for line in &report.messages {
        text += &format!("{line}\n");
    }
    if report.leaks_fixed + report.corruptions_fixed > 0 {
        text += &format!(
            "The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    \
             {} corruptions\n\n",
            report.leaks_fixed, report.corruptions_fixed
        );
    }
    if report.corruptions == 0 && report.leaks == 0 {
        text += "No errors were found on the image.\n";
    }
    if report.corruptions > 0 {
        text += &format!(
            "\n{} errors were found on the image.\nData may be corrupted, or further writes to the \
             image may corrupt it.\n",
            report.corruptions
        );
    }
    if report.leaks > 0 {
        text += &format!(
            "\n{} leaked clusters were found on the image.\nThis means waste of disk space, but no \
             harm to data.\n",
            report.leaks
        );
    }
    text + &statistics(report)
}

fn statistics(report: &Report) -> String {
    let percent = |part: u64, of: u64| part as f64 * 100.0 / of.max(1) as f64;
    let mut text = String::new();
    if report.total_clusters > 0 && report.allocated_clusters > 0 {
        text = format!(
            "{}/{} = {:.2}% allocated, {:.2}% fragmented, {:.2}% compressed clusters\n",
            report.allocated_clusters,
            report.total_clusters,
            percent(report.allocated_clusters, report.total_clusters),
            percent(report.fragmented_clusters, report.allocated_clusters),
            percent(report.compressed_clusters, report.allocated_clusters)
        );
    }
    text + &format!("Image end offset: {}\n", report.image_end)
}
