//! One disk: an image, and what a drive says about itself.

use std::fmt;
use std::sync::Arc;

use super::geometry::Geometry;
use super::request::{Completion, Request, SECTOR_SIZE, Tag};
use super::worker::Worker;
use crate::image::{Image, ImageError};

/// A disk of the machine: the host side of one drive.
///
/// None of this is state of the machine: whoever restores a saved machine gives it disks over
/// the same images.
pub struct Disk {
    name: String,
    serial: String,
    image: Arc<dyn Image>,
    read_only: bool,
    geometry: Geometry,
    worker: Option<Worker>,
}

impl Disk {
    /// A disk over `image`. The name appears in messages to the user ("hd0").
    pub fn new(name: &str, image: Arc<dyn Image>) -> Self {
        let capacity = image.size() / SECTOR_SIZE as u64;
        Self {
            name: name.to_owned(),
            serial: format!("COWBOX-{name}"),
            read_only: image.read_only(),
            geometry: Geometry::of_capacity(capacity),
            worker: None,
            image,
        }
    }

    /// The same disk with another serial number. Drives show up to 20 ASCII characters of it.
    pub fn with_serial(self, serial: &str) -> Self {
        Self {
            serial: serial.to_owned(),
            ..self
        }
    }

    /// The same disk, write-protected.
    pub fn write_protected(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// What messages call the disk.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image behind it.
    pub fn image(&self) -> &Arc<dyn Image> {
        &self.image
    }

    /// The serial number that the drive reports.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The capacity in sectors.
    pub fn sectors(&self) -> u64 {
        self.image.size() / SECTOR_SIZE as u64
    }

    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The default translation.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Gives a request to the worker, which is started for the first one.
    pub(super) fn start(&mut self, tag: Tag, request: Request) {
        let (name, image, read_only) = (&self.name, &self.image, self.read_only);
        self.worker
            .get_or_insert_with(|| Worker::start(name, Arc::clone(image), read_only))
            .submit(tag, request);
    }

    /// Lets the worker finish, then has the image closed.
    pub(super) fn close(mut self) -> Result<(), ImageError> {
        self.worker = None;
        self.image.close()
    }

    /// Waits for the next request to end, in the order of submission.
    pub(super) fn wait(&self) -> Option<Completion> {
        self.worker.as_ref()?.wait()
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            image,
            serial,
            ..
        } = self;
        write!(f, "Disk({name}, serial {serial}, over {image:?})")
    }
}
