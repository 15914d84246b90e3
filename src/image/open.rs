//! Opening images: which format a file has, what is locked, and which chain belongs to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain::{self, Seen};
use super::crypt::luks::is_luks;
use super::data_file;
use super::nested::ImageStorage;
use super::qcow2::census::Census;
use super::qcow2::check::Report;
use super::qcow2::create::CreateOptions;
use super::qcow2::header::{Header, is_qcow2};
use super::qcow2::repair::{Repair, check_storage};
use super::qcow2::{
    self, CacheSizes, DiscardedPlaces, Parameters, Purpose, Qcow2, Writing, snapshot,
};
use super::raw::RawAccess;
use super::sector_wise::SectorWise;
use super::write_cache::WriteCached;
use super::zeros::{DetectZeroes, Discards, ZeroAware};
use super::{ErrorKind, Format, Image, ImageError, LuksImage, RawImage, Result, Secrets};
use crate::storage::file::Mode;
use crate::storage::{Access, FileStorage, LockError, MemoryStorage, Storage};

/// How an image is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// The format; `None` takes a file with a qcow2 header as qcow2, and refuses any other file
    /// that is to be written.
    pub format: Option<Format>,
    /// Whether the image may be changed.
    pub read_only: bool,
    /// What others may do with the file at the same time.
    pub sharing: Sharing,
    /// When writes become durable, and whether the host's page cache is used.
    pub cache: WriteCache,
    /// What becomes of discards.
    pub discards: Discards,
    /// What becomes of writes that are all zeros.
    pub detect_zeroes: DetectZeroes,
    /// What becomes of the place of a discarded qcow2 cluster.
    pub discarded_places: DiscardedPlaces,
    /// How much memory the cached tables of a qcow2 image may take.
    pub caches: CacheSizes,
    /// Which backing files the image may name.
    pub backing: BackingPolicy,
    /// The file with the guest data of an image that has an external data file, in place of the
    /// one that the image names.
    pub data_file: Option<PathBuf>,
    /// The format of backing files whose image does not record it.
    pub backing_format: Option<Format>,
    /// The passwords of encrypted images.
    pub secrets: Secrets,
    /// What is done about a format that nobody says.
    pub guessing: Guessing,
    /// The internal snapshot (identifier or name) to show in place of the disk, for reading only.
    pub snapshot: Option<Vec<u8>>,
    /// The chain ends above this file: what it holds reads as zeros.
    pub end_above: Option<PathBuf>,
    /// The file is itself an image, opened so, and its disk holds the bytes of this one.
    pub inside: Option<Box<OpenOptions>>,
    /// What the user says of the backing image, in place of what the image records.
    pub below: Option<Box<Below>>,
    /// Which host files may be opened.
    pub hosts: HostFiles,
}

/// What the user says of a backing image.
#[derive(Debug, Clone, Default)]
pub struct Below {
    /// The file; without one, that which the image records.
    pub path: Option<PathBuf>,
    /// How it is opened, always for reading only; without a format, in the recorded one.
    pub options: OpenOptions,
}

impl OpenOptions {
    /// For reading, with everything else as by default.
    pub fn read_only() -> Self {
        Self {
            read_only: true,
            ..Self::default()
        }
    }

    /// The same options with a format.
    #[must_use]
    pub fn with_format(mut self, format: Option<Format>) -> Self {
        self.format = format;
        self
    }

    fn access(&self) -> Access {
        match (self.sharing, self.read_only) {
            (Sharing::Everything, _) => Access::ShareAll,
            (Sharing::Readers, true) => Access::Read,
            (Sharing::Readers, false) => Access::Write,
        }
    }

    fn writing(&self) -> Writing {
        if self.read_only {
            Writing::Refused
        } else {
            Writing::Allowed
        }
    }
}

/// What others may do with an image that is open here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Others may read, if this opener only reads.
    #[default]
    Readers,
    /// Others may do what they like (`-U`); what is read may be in the middle of a change.
    Everything,
}

/// Which host files may be opened as images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostFiles {
    /// Regular files and block devices.
    #[default]
    Disks,
    /// Character devices too, which a user has to name as such.
    Devices,
}

/// When writes become durable, and whether the host's page cache is between the image and the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteCache {
    /// At the next flush.
    #[default]
    WriteBack,
    /// Before each write returns.
    WriteThrough,
    /// At the next flush, going around the page cache (O_DIRECT).
    None,
    /// Before each write returns, going around the page cache.
    DirectSync,
    /// Never on request: flushes are ignored, for images that may be lost.
    Unsafe,
}

impl WriteCache {
    /// The mode that a name of QEMU's means.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "writeback" => Some(Self::WriteBack),
            "writethrough" => Some(Self::WriteThrough),
            "none" | "off" => Some(Self::None),
            "directsync" => Some(Self::DirectSync),
            "unsafe" => Some(Self::Unsafe),
            _ => None,
        }
    }

    /// Whether the host's page cache is gone around.
    fn is_direct(self) -> bool {
        matches!(self, Self::None | Self::DirectSync)
    }

    /// The mode of the images below one with this mode.
    fn below(self) -> Self {
        match self.is_direct() {
            true => Self::None,
            false => Self::WriteBack,
        }
    }
}

/// What is done about a format that neither the user nor the image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guessing {
    /// A file without a known header is not opened for writing, and no format is guessed for a
    /// backing file: guests could choose it.
    #[default]
    Refused,
    /// A file without a known header is raw, as other programs have it.
    Allowed,
}

/// Which backing files an image may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackingPolicy {
    /// Files in or under the image's own directory.
    #[default]
    SameDirectory,
    /// Any file.
    Any,
    /// None is opened: what the backing image holds reads as zeros. For looking at one layer.
    Ignore,
}

/// The format that the first bytes of `storage` show; `None` if they are not those of a format
/// that can be told from raw.
pub fn probe(storage: &dyn Storage) -> Result<Option<Format>> {
    let mut start = [0; 8];
    storage
        .read_at(&mut start, 0)
        .map_err(|e| ImageError::io("read the first sector", e))?;
    let known = [
        (is_qcow2(&start), Format::Qcow2),
        (is_luks(&start), Format::Luks),
    ];
    let found = known.into_iter().find(|(is, _)| *is);
    Ok(found.map(|(_, format)| format))
}

/// Opens the image at `path` with its backing chain.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Arc<dyn Image>> {
    open_link(path, options, &mut Seen::default()).map_err(|e| e.in_file(path))
}

/// Opens the image in `storage`; a backing file that it names is looked for as if the image lay
/// in the current directory.
pub fn open_storage(storage: Arc<dyn Storage>, options: &OpenOptions) -> Result<Arc<dyn Image>> {
    open_image(storage, None, options, &mut Seen::default())
}

/// Opens the image whose file is `bytes`, part of the program.
pub fn open_embedded(bytes: &'static [u8], options: &OpenOptions) -> Result<Arc<dyn Image>> {
    open_storage(Arc::new(MemoryStorage::from_static(bytes)), options)
}

/// A new image over `base` in an unnamed file in `directory`, which is gone when the image is
/// dropped. Writes go there; `base` stays as it is.
pub fn overlay(base: Arc<dyn Image>, directory: &Path) -> Result<Arc<dyn Image>> {
    let storage: Arc<dyn Storage> = Arc::new(
        FileStorage::temporary(directory)
            .map_err(|e| ImageError::io("create a temporary file", e).in_file(directory))?,
    );
    let options = CreateOptions {
        size: base.size(),
        ..CreateOptions::default()
    };
    qcow2::create::create(&*storage, &options)?;
    let header = Header::read(&*storage, Purpose::Contents)?;
    let parameters = Parameters {
        path: base.path().map(Path::to_path_buf),
        backing: Some(base),
        ..Parameters::new(Writing::Allowed)
    };
    let image: Arc<dyn Image> = Arc::new(Qcow2::open(storage, header, parameters)?);
    // The file is gone after a power cut, so nothing in it need survive one.
    Ok(WriteCached::wrap(image, WriteCache::Unsafe))
}

/// Checks the image at `path`, and mends what `repair` says; `None` if its format has nothing to
/// check.
pub fn check(path: &Path, options: &OpenOptions, repair: Option<Repair>) -> Result<Option<Report>> {
    let checked = || {
        let storage = open_file(path, options)?;
        match decide_format(&*storage, options)? {
            Format::Raw | Format::Luks => Ok(None),
            Format::Qcow2 => check_storage(storage, repair).map(Some),
        }
    };
    checked().map_err(|e: ImageError| e.in_file(path))
}

/// What each cluster of the image at `path` is used for; `None` if its format has none. The image
/// may be damaged, and is not opened.
pub fn census(path: &Path, options: &OpenOptions) -> Result<Option<(Header, Census)>> {
    let taken = || {
        let storage = open_file(path, options)?;
        if decide_format(&*storage, options)? != Format::Qcow2 {
            return Ok(None);
        }
        let header = Header::read(&*storage, Purpose::Inspection)?;
        let census = Census::take(&*storage, &header)?;
        Ok(Some((header, census)))
    };
    taken().map_err(|e: ImageError| e.in_file(path))
}

/// Opens the qcow2 image at `path` with its backing chain, for changes of its structure.
pub fn open_qcow2(path: &Path, options: &OpenOptions) -> Result<Qcow2> {
    let opened = || {
        let seen = &mut Seen::default();
        let storage = open_file(path, options)?;
        seen.add(storage.identity())?;
        match decide_format(&*storage, options)? {
            Format::Qcow2 => open_layer(storage, Some(path), options, seen),
            format @ (Format::Raw | Format::Luks) => Err(ImageError::new(
                ErrorKind::Unsupported,
                format!("a {format} image has nothing of the kind; only qcow2 images do"),
            )),
        }
    };
    opened().map_err(|e: ImageError| e.in_file(path))
}

/// Opens the image of the luks format at `path`, for changes of its keys.
pub fn open_luks(path: &Path, options: &OpenOptions) -> Result<LuksImage> {
    let opened = || {
        let storage = open_file(path, options)?;
        let secret = options.secrets.own();
        LuksImage::open(storage, secret, options.writing(), Some(path))
    };
    opened().map_err(|e: ImageError| e.in_file(path))
}

fn open_link(path: &Path, options: &OpenOptions, seen: &mut Seen) -> Result<Arc<dyn Image>> {
    // Before its lock is asked for: a loop would meet the lock of its own first image.
    seen.refuse_loop(path)?;
    let storage = open_file(path, options)?;
    open_image(storage, Some(path), options, seen)
}

/// Opens and locks a host file.
pub(super) fn open_file(path: &Path, options: &OpenOptions) -> Result<Arc<dyn Storage>> {
    let mode = if options.read_only {
        Mode::Read
    } else {
        Mode::Write
    };
    if let Some(inside) = &options.inside {
        let inside = OpenOptions {
            read_only: options.read_only,
            ..(**inside).clone()
        };
        return Ok(Arc::new(ImageStorage::new(open(path, &inside)?)));
    }
    let opened = match (options.hosts, options.cache.is_direct()) {
        (HostFiles::Disks, false) => FileStorage::open(path, mode),
        (HostFiles::Disks, true) => FileStorage::open_direct(path, mode),
        (HostFiles::Devices, _) => FileStorage::open_device(path, mode),
    };
    let storage = opened.map_err(|e| ImageError::io("open the image", e))?;
    lock(&storage, options.access())?;
    Ok(Arc::new(storage))
}

/// Locks `storage`, or says who is in the way.
pub(super) fn lock(storage: &dyn Storage, access: Access) -> Result<()> {
    storage.lock(access).map_err(|error| match error {
        LockError::Io(e) => ImageError::io("lock the image", e),
        LockError::Held { holder, conflict } => {
            let holder = holder.unwrap_or_else(|| "another process".to_owned());
            let advice = match access {
                Access::Read => "; wait until it ends, or look on with -U",
                _ => "; wait until it ends",
            };
            ImageError::new(
                ErrorKind::Locked,
                format!("the image is in use: {holder} {conflict}{advice}"),
            )
        }
    })
}

fn open_image(
    storage: Arc<dyn Storage>,
    path: Option<&Path>,
    options: &OpenOptions,
    seen: &mut Seen,
) -> Result<Arc<dyn Image>> {
    seen.add(storage.identity())?;
    let image: Arc<dyn Image> = match decide_format(&*storage, options)? {
        Format::Raw => {
            let access = if options.read_only {
                RawAccess::ReadOnly
            } else {
                RawAccess::ReadWrite
            };
            Arc::new(RawImage::new(storage, access, path)?)
        }
        Format::Qcow2 => {
            let image = open_layer(storage, path, options, seen)?;
            match image.is_encrypted() {
                true => SectorWise::wrap(Arc::new(image)),
                false => Arc::new(image),
            }
        }
        Format::Luks => {
            let secret = options.secrets.own();
            let image = LuksImage::open(storage, secret, options.writing(), path)?;
            SectorWise::wrap(Arc::new(image))
        }
    };
    let image = ZeroAware::wrap(image, options.discards, options.detect_zeroes);
    Ok(WriteCached::wrap(image, options.cache))
}

/// The qcow2 image in `storage`, or a snapshot in it.
fn open_layer(
    storage: Arc<dyn Storage>,
    path: Option<&Path>,
    options: &OpenOptions,
    seen: &mut Seen,
) -> Result<Qcow2> {
    let mut header = Header::read(&*storage, Purpose::Contents)?;
    let parameters = Parameters {
        writing: options.writing(),
        secret: options.secrets.own().cloned(),
        data_file: data_file::open(&header, path, options, seen)?,
        backing: open_backing(&header, path, options, seen)?,
        path: path.map(Path::to_path_buf),
        discarded_places: options.discarded_places,
        caches: options.caches,
    };
    if let Some(wanted) = &options.snapshot {
        if !options.read_only {
            return Err(ImageError::new(
                ErrorKind::ReadOnly,
                "a snapshot can only be read",
            ));
        }
        let snapshots = snapshot::read_all(&*storage, &header)?;
        header = snapshot::find_or_fail(&snapshots, wanted)?.header(&header);
    }
    Qcow2::open(storage, header, parameters)
}

/// The format to open a file in: what the user says, else what is certain.
pub(super) fn decide_format(storage: &dyn Storage, options: &OpenOptions) -> Result<Format> {
    match (options.format, probe(storage)?) {
        (Some(format), _) => Ok(format),
        (None, Some(found)) => Ok(found),
        (None, None) if options.read_only || options.guessing == Guessing::Allowed => {
            Ok(Format::Raw)
        }
        (None, None) => Err(ImageError::new(
            ErrorKind::Refused,
            "the file has no qcow2 or LUKS header, and raw is never guessed for writing; if it is a raw \
             disk, say so with format=raw (--disk FILE,format=raw) or -f raw (img)",
        )),
    }
}

/// Whether two names lead to one file.
pub(super) fn same_file(one: &Path, other: &Path) -> bool {
    one == other
        || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn open_backing(
    header: &Header,
    image: Option<&Path>,
    options: &OpenOptions,
    seen: &mut Seen,
) -> Result<Option<Arc<dyn Image>>> {
    if options.backing == BackingPolicy::Ignore {
        return Ok(None);
    }
    let Some((path, below)) = below(header, image, options)? else {
        return Ok(None);
    };
    let ends = |end: &Path| same_file(end, &path);
    if options.end_above.as_deref().is_some_and(ends) {
        return Ok(None);
    }
    let opened = open_link(&path, &below, seen);
    opened.map(Some).map_err(|e| e.in_file(&path))
}

/// The backing image of the image at `image`, and how it is opened for reading: as the user says,
/// else as the image records.
pub(super) fn below(
    header: &Header,
    image: Option<&Path>,
    options: &OpenOptions,
) -> Result<Option<(PathBuf, OpenOptions)>> {
    let said = options.below.as_deref();
    let name = header.backing_name.as_deref();
    let path = match (said.and_then(|said| said.path.clone()), name) {
        (Some(path), _) => path,
        (None, Some(name)) => chain::resolve(name, image, options.backing)?,
        (None, None) => return Ok(None),
    };
    let format = match said.and_then(|said| said.options.format) {
        Some(format) => Some(format),
        None => {
            let recorded = header.extensions.backing_format();
            chain::format(recorded, options, name.unwrap_or_default())?
        }
    };
    let below = match said {
        Some(said) => OpenOptions {
            format,
            read_only: true,
            end_above: options.end_above.clone(),
            ..said.options.clone()
        },
        None => OpenOptions {
            format,
            read_only: true,
            snapshot: None,
            cache: options.cache.below(),
            caches: CacheSizes::default(),
            data_file: None,
            secrets: options.secrets.below(),
            inside: None,
            hosts: HostFiles::Disks,
            ..options.clone()
        },
    };
    Ok(Some((path, below)))
}
