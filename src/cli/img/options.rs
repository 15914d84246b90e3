//! Options that several commands share: formats, backing files, passwords, `-o` lists.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::program::Program;
use super::drivers::Pairs;
use super::secrets::NamedSecrets;
use super::source::{self, Source};
use super::{keys, preallocation, qemu_text, size};
use crate::image::crypt::options::LuksOptions;
use crate::image::qcow2::address::GuestOffset;
use crate::image::qcow2::create::{
    CreateOptions, DataFile, DataFileContents, Encryption, L2Entries, RefcountUpdates,
};
use crate::image::qcow2::geometry::Version;
use crate::image::qcow2::header::Compression;
use crate::image::qcow2::preallocate::Preallocation;
use crate::image::{self, BackingPolicy, Format, Guessing, OpenOptions, Secret, Secrets, Sharing};

/// The options of a new image's encryption, in the order in which QEMU names them.
pub(super) const ENCRYPTION: [&str; 9] = [
    "format",
    "key-secret",
    "cipher-alg",
    "cipher-mode",
    "ivgen-alg",
    "ivgen-hash-alg",
    "hash-alg",
    "iter-time",
    "detached-header",
];

/// How an image that exists is opened.
#[derive(Debug, Clone, Args)]
pub(super) struct Opening {
    /// Look on while another process may be writing.
    #[arg(short = 'U', long = "force-share")]
    share: bool,
    /// Images are given as driver options: driver=qcow2,file.filename=disk.qcow2,…
    #[arg(long)]
    image_opts: bool,
    /// A password under a name: secret,id=NAME,data=TEXT or secret,id=NAME,file=PATH.
    #[arg(long = "object", value_name = "OBJECT")]
    objects: Vec<String>,
    /// Open backing files outside the image's own directory too.
    #[arg(long)]
    backing_any: bool,
    /// Format of backing files where the image does not record it.
    #[arg(long = "backing-format", value_name = "FMT", value_parser = format)]
    unrecorded_format: Option<Format>,
    /// File whose first line is the password of an encrypted image.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// What is done with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is read.
    Read,
    /// It is looked at, and nothing of its contents is read.
    Describe,
    /// It is changed: never shared, also with `-U`.
    Change,
}

impl Opening {
    /// The image that `name` means, to be read.
    pub(super) fn reading(
        &self,
        name: &Path,
        format: Option<Format>,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
        self.source(name, format, Use::Read, program)
    }

    /// The image that `name` means, to tell what it is.
    pub(super) fn describing(
        &self,
        name: &Path,
        format: Option<Format>,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
        self.source(name, format, Use::Describe, program)
    }

    /// The image that `name` means, to be changed.
    pub(super) fn writing(
        &self,
        name: &Path,
        format: Option<Format>,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
        self.source(name, format, Use::Change, program)
    }

    /// The image that `name` means by itself, whatever `--image-opts` says of others, to be
    /// changed.
    pub(super) fn plain_target(
        &self,
        name: &Path,
        format: Option<Format>,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
        let plain = Self {
            image_opts: false,
            ..self.clone()
        };
        plain.writing(name, format, program)
    }

    /// The image that the driver options in `name` describe, to be changed.
    pub(super) fn described_target(
        &self,
        name: &Path,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
        let described = Self {
            image_opts: true,
            ..self.clone()
        };
        described.writing(name, None, program)
    }

    /// The image that `name` means.
    pub(super) fn source(
        &self,
        name: &Path,
        format: Option<Format>,
        purpose: Use,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
        let options = self.options_for(purpose, format, program)?;
        let mut secrets = self.named_secrets()?;
        if purpose == Use::Describe {
            secrets = secrets.unneeded();
        }
        if !self.image_opts {
            return Source::named(name, options, &secrets, program);
        }
        if format.is_some() {
            return Err("--image-opts and --format are mutually exclusive".into());
        }
        let pairs = source::pairs(&name.to_string_lossy());
        Source::described(pairs, options, &secrets, program)
    }

    /// The image that driver options describe, in the file called `name` if there is one.
    pub(super) fn described(
        &self,
        name: Option<&Path>,
        pairs: Pairs,
        purpose: Use,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
        let options = self.options_for(purpose, None, program)?;
        let secrets = self.named_secrets()?;
        match name {
            Some(name) => Source::named_with(name, pairs, options, &secrets, program),
            None => Source::described(pairs, options, &secrets, program),
        }
    }

    fn options_for(
        &self,
        purpose: Use,
        format: Option<Format>,
        program: Program,
    ) -> Result<OpenOptions, Box<dyn Error>> {
        let mut options = self.options(program)?;
        options.format = format;
        options.read_only = purpose != Use::Change;
        if self.share && options.read_only {
            options.sharing = Sharing::Everything;
        }
        Ok(options)
    }

    /// The passwords that `--object` names.
    pub(super) fn named_secrets(&self) -> Result<NamedSecrets, String> {
        NamedSecrets::parse(&self.objects)
    }

    fn options(&self, program: Program) -> Result<OpenOptions, Box<dyn Error>> {
        let trusting = self.backing_any || program.is_qemu();
        Ok(OpenOptions {
            backing: match trusting {
                true => BackingPolicy::Any,
                false => BackingPolicy::SameDirectory,
            },
            guessing: match program.is_qemu() {
                true => Guessing::Allowed,
                false => Guessing::Refused,
            },
            backing_format: self.unrecorded_format,
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

    /// Whether others may write at the same time.
    pub(super) fn shares(&self) -> bool {
        self.share
    }
}

/// A format's name on the command line.
pub(super) fn format(name: &str) -> Result<Format, String> {
    Format::from_name(name).ok_or_else(|| {
        format!(
            "unknown format \"{}\"; there are raw, qcow2 and luks",
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
    /// The options of [`ENCRYPTION`], with `encrypt.` in front where that was said.
    encrypt: Vec<(String, String)>,
    /// The password that `key-secret` names.
    secret: Option<Secret>,
    /// `data_file`
    data_file: Option<String>,
    /// `data_file_raw`
    data_file_raw: bool,
    /// `preallocation`
    preallocation: Option<Preallocation>,
    /// Whether `encryption=on` was said, the older form of `encrypt.format=aes`.
    legacy_encryption: bool,
}

impl NewImage {
    /// Makes the image; the result is what opens it for writing.
    pub(super) fn create(
        mut self,
        file: &Path,
        format: Format,
        opening: &Opening,
        program: Program,
    ) -> Result<Source, Box<dyn Error>> {
        self.encrypt_with(format, &opening.named_secrets()?)
            .map_err(|error| match program.is_qemu() {
                true => format!("{}: {error}", file.display()).into(),
                false => error,
            })?;
        let mut target = opening.plain_target(file, Some(format), program)?;
        let directory = target.path.parent().unwrap_or(Path::new(""));
        target.options = self.open_with(directory, target.options.clone());
        if self.options.backing.is_some() {
            // Named by the user, not by an image.
            target.options.backing = BackingPolicy::Any;
        }
        let created = image::create(&target.path, format, &self.options);
        created.map_err(|error| qemu_text::of_creation(error, &target.path, program))?;
        self.preallocate(&target, format)?;
        Ok(target)
    }

    fn preallocate(&self, target: &Source, format: Format) -> Result<(), Box<dyn Error>> {
        let preallocation = self.preallocation.unwrap_or_default();
        if preallocation == Preallocation::Off {
            return Ok(());
        }
        if self.options.backing.is_some() && self.options.entries == L2Entries::Standard {
            return Err(
                "Backing file and preallocation can only be used at the same time if \
                        extended_l2 is enabled"
                    .into(),
            );
        }
        if format != Format::Qcow2 {
            image::resize(&target.path, &target.options, 0, Preallocation::Off)?;
            image::resize(
                &target.path,
                &target.options,
                self.options.size,
                preallocation,
            )?;
            return Ok(());
        }
        let image = target.open()?;
        if let Some(qcow2) = image.as_qcow2() {
            let end = GuestOffset(image.size());
            qcow2.preallocate(GuestOffset(0), end, preallocation)?;
            image.close()?;
        }
        Ok(())
    }

    /// Whether space is to be there before it is written to.
    pub(super) fn has_preallocation(&self) -> bool {
        self.preallocation
            .is_some_and(|how| how != Preallocation::Off)
    }

    /// Whether the file gets space for all of the disk.
    pub(super) fn takes_all_space(&self) -> bool {
        matches!(
            self.preallocation,
            Some(Preallocation::Falloc | Preallocation::Full)
        )
    }

    /// The preallocation that was asked for, if one was.
    pub(super) fn preallocation(&self) -> Option<Preallocation> {
        self.preallocation
    }

    /// Whether guest data is to be encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        !self.encrypt.is_empty()
    }

    /// What a summary says about encryption.
    pub(super) fn encryption_text(&self) -> String {
        if self.legacy_encryption {
            return " encryption=on".to_owned();
        }
        let mut pairs: Vec<_> = self.encrypt.iter().collect();
        let place = |key: &str| ENCRYPTION.iter().position(|name| key.ends_with(name));
        pairs.sort_by_key(|(key, _)| place(key));
        let pairs = pairs.into_iter();
        pairs
            .map(|(key, value)| format!(" {key}={}", value.escape_debug()))
            .collect()
    }

    /// Reads `-o` lists: `key=value` pairs with commas between them, a comma in a value doubled.
    pub(super) fn parse(lists: &[String]) -> Result<Self, String> {
        let mut new = Self::default();
        for list in lists {
            for (key, value) in keys::parse(list) {
                new.set(&key, &value)?;
            }
        }
        new.set_data_file()?;
        Ok(new)
    }

    /// What the options of encryption mean together for an image of `format`, with the passwords
    /// that `--object` names. In qcow2 they have `encrypt.` in front.
    pub(super) fn encrypt_with(
        &mut self,
        format: Format,
        secrets: &NamedSecrets,
    ) -> Result<(), Box<dyn Error>> {
        let (prefix, mut method) = match format {
            Format::Luks => ("", Some("luks".to_owned())),
            Format::Qcow2 | Format::Raw => ("encrypt.", None),
        };
        let mut others = Vec::new();
        for (key, value) in self.encrypt.clone() {
            let own = key.strip_prefix(prefix).filter(|_| format != Format::Raw);
            let own = own.filter(|own| ENCRYPTION.contains(own));
            match own.ok_or_else(|| unknown(&key, &value))? {
                "format" => method = Some(value),
                "key-secret" => self.secret = Some(secrets.get(&value)?.clone()),
                own => others.push((own.to_owned(), value)),
            }
        }
        self.options.encryption = match (method.as_deref(), &self.secret) {
            (None, None) if others.is_empty() => return Ok(()),
            (Some("aes"), _) if others.is_empty() => Encryption::Aes,
            (Some("luks"), None) => {
                let text = format!("Parameter '{prefix}key-secret' is required for cipher");
                return Err(text.into());
            }
            (Some("luks"), Some(secret)) => {
                let mut luks = LuksOptions::new(secret.clone());
                for (key, value) in others {
                    luks.set(&key, &value)?;
                }
                Encryption::Luks(luks)
            }
            _ => return Err("encrypt.format is luks, or aes without further options".into()),
        };
        Ok(())
    }

    /// The options to open the new image with, for its contents.
    fn open_with(&self, directory: &Path, mut options: OpenOptions) -> OpenOptions {
        if let Some(secret) = &self.secret {
            options.secrets = secret.clone().into();
        }
        // The user named the file, wherever it lies.
        let data_file = self.options.data_file.as_ref();
        options.data_file = data_file.map(|file| directory.join(&file.name));
        options
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
            "encryption" if switch(key, value)? => {
                self.legacy_encryption = true;
                self.encrypt
                    .push(("encrypt.format".to_owned(), "aes".to_owned()));
            }
            "encryption" => self.encrypt.clear(),
            // How a file system lays the file out is left to it.
            "extent_size_hint" | "nocow" => {}
            "backing_file" => self.backing_file = Some(value.to_owned()),
            "backing_fmt" => self.backing_format = Some(value.to_owned()),
            "preallocation" => self.preallocation = Some(preallocation(value)?),
            "data_file" => self.data_file = Some(value.to_owned()),
            "data_file_raw" => self.data_file_raw = switch(key, value)?,
            "compression_type" => {
                options.compression = Compression::from_name(value)
                    .ok_or_else(|| not_a(key, value, "compression type (zlib or zstd)"))?;
            }
            "extended_l2" if switch(key, value)? => options.entries = L2Entries::Extended,
            "extended_l2" => options.entries = L2Entries::Standard,
            _ if key.starts_with("encrypt.") || ENCRYPTION.contains(&key) => {
                self.encrypt.push((key.to_owned(), value.to_owned()));
            }
            _ => return Err(unknown(key, value)),
        }
        Ok(())
    }
}

pub(super) fn version(value: &str) -> Result<Version, String> {
    match value {
        "0.10" | "v2" => Ok(Version::V2),
        "1.1" | "v3" => Ok(Version::V3),
        _ => Err(not_a("compat", value, "version (0.10 or 1.1)")),
    }
}

pub(super) fn switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(not_a(key, value, "switch (on or off)")),
    }
}

fn unknown(key: &str, value: &str) -> String {
    format!(
        "option {key}={} is not known or not supported",
        value.escape_debug()
    )
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
