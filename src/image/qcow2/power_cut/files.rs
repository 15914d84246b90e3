//! The files of an image under test, whose writes and flushes stand in one log.

use std::sync::Arc;

use crate::storage::{MemoryStorage, RecordingStorage, Storage};

/// The numbers of the files in the log: the image, its external data file, its backing file.
pub(super) const IMAGE: usize = 0;
pub(super) const DATA: usize = 1;
pub(super) const BELOW: usize = 2;

/// What the files hold.
pub(super) type Contents = [Vec<u8>; 3];

/// The open files.
pub(super) struct Files {
    pub(super) image: Arc<dyn Storage>,
    pub(super) data: Arc<dyn Storage>,
    pub(super) below: Arc<dyn Storage>,
    /// Where it is written down what happens to them.
    pub(super) journal: Option<Arc<RecordingStorage>>,
}

impl Files {
    /// Files of which nothing is recorded.
    pub(super) fn new(contents: Contents) -> Self {
        let [image, data, below] = contents.map(|bytes| Arc::new(MemoryStorage::new(bytes)));
        let journal = None;
        Self {
            image,
            data,
            below,
            journal,
        }
    }

    /// Files of which everything is recorded.
    pub(super) fn recorded(contents: Contents) -> Self {
        let [image, data, below] = contents;
        let image = Arc::new(RecordingStorage::new(image));
        Self {
            data: Arc::new(image.beside(DATA, data)),
            below: Arc::new(image.beside(BELOW, below)),
            journal: Some(Arc::clone(&image)),
            image,
        }
    }

    /// What the files hold now.
    pub(super) fn contents(&self) -> Contents {
        [&self.image, &self.data, &self.below].map(|file| {
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            bytes
        })
    }
}
