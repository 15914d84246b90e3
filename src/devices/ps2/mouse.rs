//! A PS/2 mouse that answers every command and never moves.
//!
//! Source: IBM PS/2 Technical Reference, "Mouse".

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const SELF_TEST_PASSED: u8 = 0xaa;
const STANDARD_MOUSE: u8 = 0x00;
const QUEUE_BYTES: usize = 16;

/// The mouse.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Mouse {
    queue: VecDeque<u8>,
    /// The command whose parameter comes next.
    awaits: Option<u8>,
    reporting: bool,
    remote: bool,
    wrap: bool,
    scaling: bool,
    resolution: u8,
    rate: u8,
}

impl Mouse {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            awaits: None,
            reporting: false,
            remote: false,
            wrap: false,
            scaling: false,
            resolution: 2,
            rate: 100,
        }
    }

    pub(super) fn has_byte(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn take_byte(&mut self) -> Option<u8> {
        self.queue.pop_front()
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.queue.len() + bytes.len() <= QUEUE_BYTES {
            self.queue.extend(bytes);
        }
    }

    pub(super) fn command(&mut self, value: u8) {
        if self.wrap && !matches!(value, 0xec | 0xff) {
            self.send(&[value]);
            return;
        }
        if let Some(command) = self.awaits.take() {
            match command {
                0xe8 => self.resolution = value & 3,
                _ => self.rate = value,
            }
            self.send(&[ACK]);
            return;
        }
        // A new command cuts off what an older one still had to say.
        self.queue.clear();
        match value {
            0xff => {
                *self = Self::new();
                self.send(&[ACK, SELF_TEST_PASSED, STANDARD_MOUSE]);
            }
            0xf6 => {
                *self = Self::new();
                self.send(&[ACK]);
            }
            0xf2 => self.send(&[ACK, STANDARD_MOUSE]),
            0xe9 => {
                let status = [self.status(), self.resolution, self.rate];
                self.send(&[ACK]);
                self.send(&status);
            }
            // Read data: a packet without movement.
            0xeb => self.send(&[ACK, 0x08, 0, 0]),
            0xe8 | 0xf3 => {
                self.awaits = Some(value);
                self.send(&[ACK]);
            }
            _ => self.set_mode(value),
        }
    }

    fn set_mode(&mut self, command: u8) {
        match command {
            0xe6 => self.scaling = false,
            0xe7 => self.scaling = true,
            0xea => self.remote = false,
            0xec => self.wrap = false,
            0xee => self.wrap = true,
            0xf0 => self.remote = true,
            0xf4 => self.reporting = true,
            0xf5 => self.reporting = false,
            _ => {
                self.send(&[RESEND]);
                return;
            }
        }
        self.send(&[ACK]);
    }

    fn status(&self) -> u8 {
        u8::from(self.remote) << 6 | u8::from(self.reporting) << 5 | u8::from(self.scaling) << 4
    }
}
