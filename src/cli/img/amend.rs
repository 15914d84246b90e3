//! `cowbox img amend`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::super::Outcome;
use super::super::program::Program;
use super::options::{ENCRYPTION, Opening, format, switch, version};
use super::secrets::NamedSecrets;
use super::{keys, qemu_text, size};
use crate::image::crypt::options::LuksOptions;
use crate::image::crypt::slots::{Caution, KeyChange};
use crate::image::qcow2::Qcow2;
use crate::image::qcow2::create::RefcountUpdates;
use crate::image::qcow2::geometry::Version;
use crate::image::qcow2::preallocate::Preallocation;
use crate::image::{Format, Image, Secret};

/// Change what an existing image is.
#[derive(Debug, Args)]
pub(super) struct Amend {
    /// Format of the image.
    #[arg(short = 'f', long, value_parser = format)]
    format: Option<Format>,
    /// What is changed: compat=0.10|1.1, lazy_refcounts=on|off, refcount_bits=N, size=N; keys by
    /// state=active,new-secret=ID or state=inactive,old-secret=ID, both with keyslot=N, the first
    /// with iter-time=MILLISECONDS; in qcow2 with encrypt. in front of each.
    #[arg(short = 'o', value_name = "OPTIONS", required = true)]
    options: Vec<String>,
    /// Accepted for the sake of scripts: when writes become durable. They are at the end.
    #[arg(short = 't', long)]
    cache: Option<String>,
    /// Overwrite a key that is in use, or destroy the last, without which nobody can read the
    /// contents.
    #[arg(long)]
    force: bool,
    /// Show how far it is.
    #[arg(short = 'p', long)]
    progress: bool,
    /// Say nothing.
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    opening: Opening,
    /// The image.
    file: PathBuf,
}

/// The options that change keys.
const KEYS: [&str; 5] = ["state", "new-secret", "old-secret", "keyslot", "iter-time"];

/// What is to be changed.
#[derive(Debug, Default)]
struct Changes {
    version: Option<Version>,
    updates: Option<RefcountUpdates>,
    refcount_bits: Option<u32>,
    /// The new length of the disk in bytes.
    size: Option<u64>,
    keys: Option<KeyChange>,
    caution: Caution,
}

impl Amend {
    pub(super) fn run(self, program: Program) -> Outcome {
        let mut source = self.opening.writing(&self.file, self.format, program)?;
        let secrets = self.opening.named_secrets()?;
        let options = self.options.iter().flat_map(|list| keys::parse(list));
        let options: Vec<(String, String)> = options.collect();
        let done = if options.iter().all(|(key, _)| KEYS.contains(&&**key)) {
            source.options.format = source.options.format.or(Some(Format::Luks));
            let change = key_change(&options, &secrets)?;
            let mut image = source.open_luks()?;
            image.change_keys(source.options.secrets.own(), &change, self.caution())
        } else {
            let changes = self.changes(&options, &secrets, program)?;
            let mut image = source.open_qcow2()?;
            if changes.size.is_some_and(|size| size < image.size()) && !program.is_qemu() {
                return Err(format!(
                    "the disk would lose what lies past its new end; if that may go: cowbox img \
                     resize --shrink {} SIZE",
                    self.file.display()
                )
                .into());
            }
            let secret = source.options.secrets.own();
            let done = changes.apply(&mut image, secret);
            done.and_then(|()| image.close())
        };
        done.map_err(|error| qemu_text::of_change(error, program))?;
        if self.progress {
            println!("    (100.00/100%)");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn caution(&self) -> Caution {
        match self.force {
            true => Caution::Waived,
            false => Caution::Kept,
        }
    }

    fn changes(
        &self,
        options: &[(String, String)],
        secrets: &NamedSecrets,
        program: Program,
    ) -> Result<Changes, String> {
        let mut changes = Changes {
            caution: self.caution(),
            ..Changes::default()
        };
        let mut of_keys = Vec::new();
        for (key, value) in options {
            let own = key.strip_prefix("encrypt.");
            if let Some(own) = own.filter(|own| KEYS.contains(own)) {
                of_keys.push((own.to_owned(), value.clone()));
                continue;
            }
            match &**key {
                "compat" => {
                    let known = version(value);
                    let said = || format!("Unknown compatibility level {value}");
                    changes.version = Some(match program.is_qemu() {
                        true => known.map_err(|_| said())?,
                        false => known?,
                    });
                }
                "lazy_refcounts" => {
                    changes.updates = Some(match switch(key, value)? {
                        true => RefcountUpdates::Lazy,
                        false => RefcountUpdates::InOrder,
                    });
                }
                "refcount_bits" => {
                    let bits = value.parse();
                    let bits = bits.map_err(|_| format!("option {key}={value} is not a number"))?;
                    changes.refcount_bits = Some(bits);
                }
                "size" => changes.size = Some(size::parse(value)?),
                "backing_file" | "backing_fmt" if program.is_qemu() => {
                    return Err("Cannot amend the backing file".to_owned());
                }
                "backing_file" | "backing_fmt" => {
                    return Err(format!(
                        "the backing image is changed by: cowbox img rebase -b BASE -F FORMAT {}",
                        self.file.display()
                    ));
                }
                _ if own.is_some_and(|own| ENCRYPTION.contains(&own)) => {
                    return Err(format!(
                        "Invalid parameter '{key}'\nThis option is only supported for image \
                         creation"
                    ));
                }
                _ => return Err(format!("Invalid parameter '{}'", key.escape_debug())),
            }
        }
        if !of_keys.is_empty() {
            changes.keys = Some(key_change(&of_keys, secrets)?);
        }
        Ok(changes)
    }
}

/// What options of [`KEYS`] mean together.
fn key_change(options: &[(String, String)], secrets: &NamedSecrets) -> Result<KeyChange, String> {
    let given = |wanted: &str| {
        let last = options.iter().rfind(|(key, _)| key == wanted);
        last.map(|(_, value)| value.as_str())
    };
    let number = |key: &str| {
        let number = given(key).map(|text| text.parse::<u64>());
        let wrong = |_| format!("Parameter '{key}' expects a number");
        number.transpose().map_err(wrong)
    };
    let secret = |key: &str| given(key).map(|id| secrets.get(id).cloned()).transpose();
    let slot = number("keyslot")?.map(|slot| usize::try_from(slot).unwrap_or(usize::MAX));
    let time = number("iter-time")?.map(Duration::from_millis);
    let refused = |key: &str, when: &str| match given(key) {
        Some(_) => Err(format!("'{key}' must not be given when {when}")),
        None => Ok(()),
    };
    match given("state") {
        None => Err("Parameter 'state' is missing".to_owned()),
        Some("active") => {
            let needed = "'new-secret' is required to activate a keyslot";
            let secret = secret("new-secret")?.ok_or(needed)?;
            refused("old-secret", "activating keyslots")?;
            Ok(KeyChange::Add {
                secret,
                iteration_time: time.unwrap_or(LuksOptions::ITERATION_TIME),
                slot,
            })
        }
        Some("inactive") => {
            refused("new-secret", "erasing keyslots")?;
            refused("iter-time", "erasing keyslots")?;
            match (slot, secret("old-secret")?) {
                (Some(slot), secret) => Ok(KeyChange::EraseSlot(slot, secret)),
                (None, Some(secret)) => Ok(KeyChange::EraseMatching(secret)),
                (None, None) => Err("To erase keyslot(s), either explicit keyslot index or the \
                                     password currently contained in them must be given"
                    .to_owned()),
            }
        }
        Some(other) => Err(format!(
            "Parameter 'state' does not accept value '{}'",
            other.escape_debug()
        )),
    }
}

impl Changes {
    /// Makes the changes, each in a version that knows it.
    fn apply(&self, image: &mut Qcow2, secret: Option<&Secret>) -> crate::image::Result<()> {
        if let Some(change) = &self.keys {
            image.change_keys(secret, change, self.caution)?;
        }
        if self.version == Some(Version::V3) {
            image.set_version(Version::V3)?;
        }
        if let Some(bits) = self.refcount_bits {
            image.set_refcount_bits(bits)?;
        }
        if let Some(updates) = self.updates {
            image.set_refcount_updates(updates)?;
        }
        if let Some(size) = self.size {
            image.resize(size, Preallocation::Off)?;
        }
        match self.version {
            Some(Version::V2) => image.set_version(Version::V2),
            _ => Ok(()),
        }
    }
}
