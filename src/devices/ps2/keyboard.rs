//! The PS/2 keyboard: an MF2 with scan code sets 1 and 2.
//!
//! Left out: set 3, whose selection is refused, and typematic repeat, which the terminal or
//! whoever presses the keys makes.
//!
//! Source: IBM PS/2 Technical Reference, "Keyboards (101- and 102-Key)".

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::keys::{self, Key};

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const ECHO: u8 = 0xee;
const SELF_TEST_PASSED: u8 = 0xaa;
const IDENTITY: [u8; 2] = [0xab, 0x83];

/// How many bytes of keys wait at most; a key that does not fit is lost, as on the real thing.
const QUEUE_BYTES: usize = 256;

/// The keyboard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Keyboard {
    queue: VecDeque<u8>,
    /// Answers to commands, which go before keys.
    answers: VecDeque<u8>,
    last_sent: u8,
    /// The command whose parameter comes next.
    awaits: Option<u8>,
    scanning: bool,
    set: u8,
    leds: u8,
}

impl Keyboard {
    pub(super) fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            answers: VecDeque::new(),
            last_sent: 0,
            awaits: None,
            scanning: true,
            set: 2,
            leds: 0,
        }
    }

    pub(super) fn press(&mut self, key: Key) {
        self.send(keys::make_codes(key, self.set));
    }

    pub(super) fn release(&mut self, key: Key) {
        self.send(keys::break_codes(key, self.set));
    }

    fn send(&mut self, codes: Vec<u8>) {
        if !self.scanning {
            return;
        }
        if self.queue.len() + codes.len() <= QUEUE_BYTES {
            self.queue.extend(codes);
        }
    }

    pub(super) fn has_byte(&self) -> bool {
        !(self.answers.is_empty() && self.queue.is_empty())
    }

    pub(super) fn take_byte(&mut self) -> Option<u8> {
        // Keys wait while a command still expects its parameter.
        let byte = match self.answers.pop_front() {
            None if self.awaits.is_none() => self.queue.pop_front(),
            answer => answer,
        }?;
        self.last_sent = byte;
        Some(byte)
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.answers.clear();
        self.answers.extend(bytes);
    }

    pub(super) fn command(&mut self, value: u8) {
        match self.awaits.take() {
            // A parameter is never as high as a command.
            Some(command) if value < 0xed => self.parameter(command, value),
            _ => self.new_command(value),
        }
    }

    fn new_command(&mut self, command: u8) {
        match command {
            0xed | 0xf0 | 0xf3 => self.awaits = Some(command),
            0xee => {
                self.answer(&[ECHO]);
                return;
            }
            0xf2 => {
                let [first, second] = IDENTITY;
                self.answer(&[ACK, first, second]);
                return;
            }
            0xf4 => self.start(true),
            0xf5 => self.start(false),
            0xf6 => self.start(true),
            // Set 3's make and break modes, which have no effect in the other sets.
            0xf7..=0xfa => {}
            0xfe => {
                self.answer(&[self.last_sent]);
                return;
            }
            0xff => {
                *self = Self::new();
                self.answer(&[ACK, SELF_TEST_PASSED]);
                return;
            }
            _ => {
                self.answer(&[RESEND]);
                return;
            }
        }
        self.answer(&[ACK]);
    }

    /// Clears what waits, and starts or stops sending keys.
    fn start(&mut self, scanning: bool) {
        self.queue.clear();
        self.scanning = scanning;
    }

    fn parameter(&mut self, command: u8, value: u8) {
        match (command, value) {
            (0xed, _) => self.leds = value & 7,
            (0xf0, 0) => {
                self.answer(&[ACK, self.set]);
                return;
            }
            (0xf0, 1 | 2) => self.set = value,
            (0xf0, _) => {
                self.answer(&[RESEND]);
                return;
            }
            _ => {}
        }
        self.answer(&[ACK]);
    }
}
