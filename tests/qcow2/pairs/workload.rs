//! What is done to an image, and what it must hold afterwards.
//!
//! The steps are made from a seed before anybody carries them out, so that QEMU's programs, our
//! binary and our library do the same. A discarded byte may read as before or as zero; every
//! other one is certain.

use std::path::Path;

use cowbox::image::qcow2::create::DataFileContents;

use super::configuration::Configuration;
use crate::scratch::Random;

/// One request, as qemu-io knows it.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// Writes the bytes of a source, from its start and again and again.
    Write {
        at: u64,
        len: u64,
        source: Source,
    },
    /// The same, compressed.
    Compressed {
        at: u64,
        len: u64,
    },
    Zero {
        at: u64,
        len: u64,
        unmap: bool,
    },
    Discard {
        at: u64,
        len: u64,
    },
    Flush,
}

/// Files with bytes to write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// What no compression makes smaller.
    Noise,
    /// What does get smaller.
    Text,
}

/// One step of the work.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Requests(Vec<Request>),
    Snapshot(&'static str),
    /// Adds an enabled bitmap of a granularity, and disables it unless it is to follow the writes.
    Bitmap {
        name: &'static str,
        granularity: u64,
        enabled: bool,
    },
    /// Deletes a snapshot.
    Delete(&'static str),
    /// Goes back to a snapshot.
    Apply(&'static str),
}

/// The bytes that are written.
pub(super) struct Sources {
    noise: Vec<u8>,
    text: Vec<u8>,
}

impl Sources {
    /// Lengths are odd and no multiples of anything, so that a byte tells where it belongs.
    pub(super) fn new() -> Self {
        Self {
            noise: Random(1).bytes(65_521),
            text: (0..30_011u32).map(|i| (i / 41) as u8).collect(),
        }
    }

    pub(super) fn store(&self, directory: &Path) {
        std::fs::write(directory.join("noise"), &self.noise).unwrap();
        std::fs::write(directory.join("text"), &self.text).unwrap();
    }

    pub(super) fn bytes(&self, source: Source, len: u64) -> Vec<u8> {
        let bytes = match source {
            Source::Noise => &self.noise,
            Source::Text => &self.text,
        };
        bytes.iter().copied().cycle().take(len as usize).collect()
    }
}

impl Request {
    /// The command of qemu-io.
    pub(super) fn command(&self, directory: &Path) -> String {
        let file = |name: &str| directory.join(name).display().to_string();
        match self {
            Self::Write { at, len, source } => match source {
                Source::Noise => format!("write -q -s {} {at} {len}", file("noise")),
                Source::Text => format!("write -q -s {} {at} {len}", file("text")),
            },
            Self::Compressed { at, len } => {
                format!("write -q -c -s {} {at} {len}", file("text"))
            }
            Self::Zero { at, len, unmap } => match unmap {
                true => format!("write -q -z -u {at} {len}"),
                false => format!("write -q -z {at} {len}"),
            },
            Self::Discard { at, len } => format!("discard -q {at} {len}"),
            Self::Flush => "flush".to_owned(),
        }
    }
}

/// The steps for an image.
pub(super) fn steps(configuration: &Configuration, random: &mut Random) -> Vec<Step> {
    let mut work = Work {
        configuration,
        // References that a cluster full of compressed ones can still get.
        compressed_left: match configuration.compression {
            None => 0,
            Some(_) => (configuration.max_references() / 3).clamp(1, 5),
        },
        touched: Vec::new(),
    };
    let granularity = |random: &mut Random| 512 << random.below(9);
    let mut steps = Vec::new();
    if configuration.bitmaps {
        steps.push(Step::Bitmap {
            name: "from the start",
            granularity: granularity(random),
            enabled: true,
        });
        steps.push(Step::Bitmap {
            name: "idle",
            granularity: granularity(random),
            enabled: false,
        });
    }
    if configuration.is_encrypted() && configuration.data_file == Some(DataFileContents::Raw) {
        // It is mapped from the start, to bytes that nobody has encrypted.
        let (at, len, source) = (0, configuration.size, Source::Text);
        steps.push(Step::Requests(vec![Request::Write { at, len, source }]));
    }
    steps.push(work.requests(random));
    if configuration.snapshots {
        steps.push(Step::Snapshot("one"));
        steps.push(work.requests(random));
        let second = configuration.max_references() > 3;
        match random.below(3) {
            0 if second => steps.push(Step::Snapshot("two")),
            1 => steps.push(Step::Delete("one")),
            // What a bitmap says of an image that goes back is not settled.
            _ if !configuration.bitmaps => steps.push(Step::Apply("one")),
            _ => {}
        }
    }
    if configuration.bitmaps {
        steps.push(Step::Bitmap {
            name: "later",
            granularity: granularity(random),
            enabled: true,
        });
    }
    steps.push(work.requests(random));
    steps
}

struct Work<'a> {
    configuration: &'a Configuration,
    compressed_left: u64,
    /// Ranges that have been asked for.
    touched: Vec<(u64, u64)>,
}

impl Work<'_> {
    /// Compressed writes come last: qemu-img 7.2 loses track of a cluster that the same process
    /// has freed and compresses into.
    fn requests(&mut self, random: &mut Random) -> Step {
        let mut requests: Vec<_> = (0..10).map(|_| self.request(random)).collect();
        requests.extend((0..6).filter_map(|_| self.compressed(random)));
        Step::Requests(requests)
    }

    fn request(&mut self, random: &mut Random) -> Request {
        let (at, len) = self.range(random);
        let request = match random.below(10) {
            0 => Request::Zero {
                at,
                len,
                unmap: true,
            },
            1 => Request::Zero {
                at,
                len,
                unmap: false,
            },
            2 => Request::Discard { at, len },
            3 => return Request::Flush,
            choice => Request::Write {
                at,
                len,
                source: [Source::Noise, Source::Text][choice as usize % 2],
            },
        };
        self.touched.push((at, len));
        request
    }

    /// A compressed write of a cluster in which nothing has been written: QEMU refuses others.
    fn compressed(&mut self, random: &mut Random) -> Option<Request> {
        let (size, cluster) = (self.configuration.size, self.configuration.cluster_size);
        if self.compressed_left == 0 {
            return None;
        }
        let at = random.below(size.div_ceil(cluster)) * cluster;
        let len = cluster.min(size - at);
        let free = |&(start, length): &(u64, u64)| start + length <= at || at + len <= start;
        if !self.touched.iter().all(free) {
            return None;
        }
        self.touched.push((at, len));
        self.compressed_left -= 1;
        Some(Request::Compressed { at, len })
    }

    /// A range, mostly short, of whole sectors half of the time and where images are encrypted;
    /// sometimes whole clusters.
    fn range(&self, random: &mut Random) -> (u64, u64) {
        let (size, cluster) = (self.configuration.size, self.configuration.cluster_size);
        let unit = match random.below(4) {
            0 | 1 => 512,
            2 if !self.configuration.is_encrypted() => 1,
            2 => 512,
            _ => cluster,
        };
        let longest = [1024, 16 * 1024, 200 * 1024][random.below(3) as usize];
        let start = random.below(size / unit) * unit;
        let len = (1 + random.below(longest / unit + 1)) * unit;
        (start, len.min(size - start))
    }
}

/// What a disk must hold: bytes, and which of them may as well be 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    bytes: Vec<u8>,
    or_zero: Vec<bool>,
    /// Which bytes have changed, for bitmaps: certainly, and at most.
    written: Vec<bool>,
    touched: Vec<bool>,
}

impl Disk {
    /// The disk of a new image over `base`.
    pub(super) fn new(size: u64, base: &[u8]) -> Self {
        let len = size as usize;
        let mut bytes = base.to_vec();
        bytes.resize(len, 0);
        Self {
            bytes,
            or_zero: vec![false; len],
            written: vec![false; len],
            touched: vec![false; len],
        }
    }

    /// Forgets which bytes have changed.
    pub(super) fn start_tracking(&mut self) {
        self.written.fill(false);
        self.touched.fill(false);
    }

    pub(super) fn apply(&mut self, request: &Request, sources: &Sources) {
        let (at, len, fill) = match *request {
            Request::Write { at, len, source } => (at, len, sources.bytes(source, len)),
            Request::Compressed { at, len } => (at, len, sources.bytes(Source::Text, len)),
            Request::Zero { at, len, .. } => (at, len, vec![0; len as usize]),
            Request::Discard { at, len } => {
                let range = at as usize..(at + len) as usize;
                self.or_zero[range.clone()].fill(true);
                self.touched[range].fill(true);
                return;
            }
            Request::Flush => return,
        };
        let range = at as usize..(at + len) as usize;
        self.bytes[range.clone()].copy_from_slice(&fill);
        self.or_zero[range.clone()].fill(false);
        self.written[range.clone()].fill(true);
        self.touched[range].fill(true);
    }

    /// The first byte that `found` has otherwise than it may.
    pub(super) fn differs(&self, found: &[u8]) -> Option<usize> {
        if found.len() != self.bytes.len() {
            return Some(found.len().min(self.bytes.len()));
        }
        let both = self.bytes.iter().zip(&self.or_zero).zip(found);
        both.enumerate()
            .find(|(_, ((byte, or_zero), found))| byte != found && !(**or_zero && **found == 0))
            .map(|(at, _)| at)
    }

    /// Fails unless the granules in `set` are those that have changed.
    pub(super) fn check_bitmap(&self, name: &str, granularity: u64, set: &[u64]) {
        let granules = self.bytes.len().div_ceil(granularity as usize);
        for granule in 0..granules {
            let start = granule * granularity as usize;
            let range = start..(start + granularity as usize).min(self.bytes.len());
            let is_set = set.binary_search(&(granule as u64)).is_ok();
            let changed = self.written[range.clone()].contains(&true);
            assert!(
                is_set || !changed,
                "bitmap {name}: granule {granule} is lost"
            );
            // Sectors are the unit in which changes are noted.
            let start = range.start / 512 * 512;
            let end = range.end.next_multiple_of(512).min(self.bytes.len());
            let touched = self.touched[start..end].contains(&true);
            assert!(
                !is_set || touched,
                "bitmap {name}: granule {granule} is made up"
            );
        }
    }
}
