//! Who makes and writes an image: QEMU's programs, our binary with the same words, our library.

use std::path::{Path, PathBuf};

use cowbox::image::qcow2::bitmaps::Recording;
use cowbox::image::{Image, OpenOptions, ZeroMode, convert};

use super::configuration::{Configuration, PASSWORD};
use super::workload::{Request, Source, Sources, Step};
use crate::programs::{self, COWBOX, qemu, text};
use crate::scratch::Scratch;

/// An image of the matrix in its directory.
pub(super) struct Place<'a> {
    pub(super) scratch: Scratch,
    pub(super) configuration: &'a Configuration,
    /// The format of the file "base".
    pub(super) base_format: &'static str,
    pub(super) sources: &'a Sources,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Qemu,
    Binary,
    Library,
}

impl Place<'_> {
    pub(super) fn image(&self) -> PathBuf {
        self.scratch.path("image.qcow2")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.scratch.path("data")
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path("")
    }

    /// What says to either program which image is meant, opened with `password`.
    pub(super) fn named(&self, password: &str) -> Vec<String> {
        let file = self.image();
        if !self.configuration.is_encrypted() {
            return vec!["-f".to_owned(), "qcow2".to_owned(), text(&file).to_owned()];
        }
        let mut words = described(password);
        words.push(self.description());
        words
    }

    /// The image as `--image-opts` describe it.
    pub(super) fn description(&self) -> String {
        let mut text = format!("driver=qcow2,file.filename={}", self.image().display());
        if self.configuration.is_encrypted() {
            text += ",encrypt.key-secret=s";
        }
        text
    }
}

/// What goes before images that are given as driver options.
pub(super) fn described(password: &str) -> Vec<String> {
    let secret = format!("secret,id=s,data={password}");
    ["--object", &secret, "--image-opts"]
        .map(str::to_owned)
        .to_vec()
}

/// Runs `qemu-img`, or our binary's commands of that name, which must succeed.
pub(super) fn img(ours: bool, words: &[&str], rest: &[String]) -> String {
    let words = words.iter().map(|word| (*word).to_owned());
    let args: Vec<String> = words.chain(rest.iter().cloned()).collect();
    match ours {
        true => qemu(COWBOX, &[&["img".to_owned()], &args[..]].concat()),
        false => qemu("qemu-img", &args),
    }
}

impl Author {
    pub(super) fn create(self, place: &Place<'_>) {
        let (file, data) = (place.image(), place.data());
        if self == Self::Library {
            let options = place.configuration.create_options(&data, place.base_format);
            return programs::create(&file, &options);
        }
        let options = place.configuration.options(&data);
        let mut words = vec!["create", "-q", "-f", "qcow2", "-o", &options];
        let secret = format!("secret,id=s,data={PASSWORD}");
        if place.configuration.is_encrypted() {
            words.extend(["--object", &secret]);
        }
        if place.configuration.backing_size().is_some() {
            words.extend(["-b", "base", "-F", place.base_format]);
        }
        let size = place.configuration.size.to_string();
        words.extend([text(&file), &size]);
        img(self == Self::Binary, &words, &[]);
    }

    pub(super) fn carry_out(self, step: &Step, place: &Place<'_>) {
        match self {
            Self::Qemu | Self::Binary => self.by_program(step, place),
            Self::Library => by_library(step, place),
        }
    }

    fn by_program(self, step: &Step, place: &Place<'_>) {
        let ours = self == Self::Binary;
        let image = place.named(PASSWORD);
        // A snapshot's image is qcow2 and nothing else, so its command has no -f.
        let of_snapshot = match place.configuration.is_encrypted() {
            true => image.clone(),
            false => vec![text(&place.image()).to_owned()],
        };
        let change = |letter: &str, name: &str| {
            img(ours, &["snapshot", letter, name], &of_snapshot);
        };
        match step {
            Step::Requests(requests) => {
                let mut args: Vec<String> = match ours {
                    true => vec!["img".to_owned(), "io".to_owned()],
                    false => Vec::new(),
                };
                args.extend(["-t".to_owned(), "writeback".to_owned()]);
                for request in requests {
                    args.extend(["-c".to_owned(), request.command(&place.directory())]);
                }
                args.extend(image);
                qemu(if ours { COWBOX } else { "qemu-io" }, &args);
            }
            Step::Snapshot(name) => change("-c", name),
            Step::Delete(name) => change("-d", name),
            Step::Apply(name) => change("-a", name),
            Step::Bitmap {
                name,
                granularity,
                enabled,
            } => {
                let granularity = granularity.to_string();
                let mut words = vec!["bitmap", "--add", "-g", &granularity];
                if !enabled {
                    words.push("--disable");
                }
                let rest = [&image[..], &[(*name).to_owned()]].concat();
                img(ours, &words, &rest);
            }
        }
    }
}

fn by_library(step: &Step, place: &Place<'_>) {
    let options = place.configuration.open_options(PASSWORD);
    let file = place.image();
    if let Step::Requests(requests) = step {
        let image = programs::open(&file, &options);
        for request in requests {
            request_of(&*image, request, place.sources);
        }
        return image.close().unwrap();
    }
    change_structure(step, &file, &options);
}

fn change_structure(step: &Step, file: &Path, options: &OpenOptions) {
    let mut image = programs::open_qcow2(file, options);
    match step {
        Step::Requests(_) => {}
        Step::Snapshot(name) => {
            image.create_snapshot(name.as_bytes(), (1, 2)).unwrap();
        }
        Step::Delete(name) => image.delete_snapshot(name.as_bytes()).unwrap(),
        Step::Apply(name) => image.apply_snapshot(name.as_bytes()).unwrap(),
        Step::Bitmap {
            name,
            granularity,
            enabled,
        } => {
            let name = name.as_bytes();
            image.add_bitmap(name, Some(*granularity)).unwrap();
            if !enabled {
                image.record_bitmap(name, Recording::Disabled).unwrap();
            }
        }
    }
    image.close().unwrap();
}

fn request_of(image: &dyn Image, request: &Request, sources: &Sources) {
    match *request {
        Request::Write { at, len, source } => {
            image.write_at(&sources.bytes(source, len), at).unwrap();
        }
        Request::Compressed { at, len } => {
            let bytes = sources.bytes(Source::Text, len);
            convert::write_compressed(image.as_qcow2().unwrap(), &bytes, at).unwrap();
        }
        Request::Zero { at, len, unmap } => {
            let mode = match unmap {
                true => ZeroMode::MayUnmap,
                false => ZeroMode::KeepAllocated,
            };
            image.write_zeroes(at, len, mode).unwrap();
        }
        Request::Discard { at, len } => image.discard(at, len).unwrap(),
        Request::Flush => image.flush().unwrap(),
    }
}
