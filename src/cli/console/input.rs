//! What the user types, read by a thread of its own so that the machine never waits for it.

use std::io::{self, Read};
use std::thread;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

/// How much is read at once: a terminal sends an escape sequence in one piece.
const CHUNK: usize = 256;
/// How many chunks wait for the machine before the reader does.
const CHUNKS: usize = 64;

/// Bytes from stdin.
pub struct Input {
    chunks: Receiver<Vec<u8>>,
    ended: bool,
}

impl Input {
    /// Starts to read stdin. The thread ends with the process or with the input. Errors: the
    /// host starts no thread.
    pub fn start() -> io::Result<Self> {
        let (sender, chunks) = bounded(CHUNKS);
        thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || {
                let mut buffer = [0; CHUNK];
                while let Ok(len @ 1..) = io::stdin().lock().read(&mut buffer) {
                    if sender.send(buffer[..len].to_vec()).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            chunks,
            ended: false,
        })
    }

    /// What came in since the last call, if anything did: one chunk.
    pub fn poll(&mut self) -> Option<Vec<u8>> {
        match self.chunks.try_recv() {
            Ok(chunk) => Some(chunk),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.ended = true;
                None
            }
        }
    }

    /// Whether the input ended: nothing will come any more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// For waiting on several things at once.
    pub fn receiver(&self) -> &Receiver<Vec<u8>> {
        &self.chunks
    }
}
