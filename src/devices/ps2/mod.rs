//! The i8042 keyboard controller (ports 60h and 64h) with a PS/2 keyboard and a PS/2 mouse.
//!
//! ```text
//!   keyboard --+                       IRQ 1
//!              +--> output buffer --> port 60h
//!   mouse -----+        ^             IRQ 12
//!                       +-- replies of the controller itself
//! ```
//!
//! A byte of a device takes [`BYTE_TICKS`] on its serial line; replies of the controller are
//! there at once. The mouse answers every command and never moves. The controller also holds
//! one hand on the A20 gate and on the CPU's reset.
//!
//! Source: IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device Controller".

mod keyboard;
mod keys;
mod mouse;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{BoardRequest, Cx, PortIo, Timed};
use crate::bus::{Size, Tick, Wire};
use keyboard::Keyboard;
pub use keys::Key;
use mouse::Mouse;

/// The time between two bytes of a device. A real line takes ten times as long, and no guest
/// minds the difference; but a handler that reads port 60h twice must find the same byte.
const BYTE_TICKS: Tick = 100_000;

const STATUS_OUTPUT_FULL: u8 = 0x01;
const STATUS_SYSTEM: u8 = 0x04;
const STATUS_COMMAND: u8 = 0x08;
const STATUS_UNLOCKED: u8 = 0x10;
const STATUS_AUX: u8 = 0x20;

const CONFIG_KEYBOARD_IRQ: u8 = 0x01;
const CONFIG_AUX_IRQ: u8 = 0x02;
const CONFIG_SYSTEM: u8 = 0x04;
const CONFIG_KEYBOARD_OFF: u8 = 0x10;
const CONFIG_AUX_OFF: u8 = 0x20;
const CONFIG_TRANSLATE: u8 = 0x40;

const OUTPUT_NOT_RESET: u8 = 0x01;
const OUTPUT_A20: u8 = 0x02;

/// Where a byte in the output buffer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Source {
    Keyboard,
    Aux,
}

/// What the next byte written to port 60h is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum DataFor {
    Keyboard,
    /// A cell of the controller's memory; cell 0 is the configuration byte.
    Cell(u8),
    OutputPort,
    /// Appears as if the device had sent it.
    Echo(Source),
    Aux,
}

/// The controller and its two devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ps2 {
    keyboard: Keyboard,
    mouse: Mouse,
    cells: [u8; 32],
    output_port: u8,
    data_for: DataFor,
    last_was_command: bool,
    replies: VecDeque<(Source, u8)>,
    output: Option<(Source, u8)>,
    last_output: u8,
    /// No device byte arrives before this tick.
    line_free_at: Tick,
    /// A release prefix was seen; the translated byte that follows gets bit 7.
    release_prefix: bool,
}

impl Default for Ps2 {
    fn default() -> Self {
        Self::new()
    }
}

impl Ps2 {
    /// The controller after its self-test, both devices on and silent.
    pub fn new() -> Self {
        let mut cells = [0; 32];
        cells[0] = CONFIG_SYSTEM | CONFIG_TRANSLATE;
        Self {
            keyboard: Keyboard::new(),
            mouse: Mouse::new(),
            cells,
            output_port: 0xcc | OUTPUT_NOT_RESET | OUTPUT_A20,
            data_for: DataFor::Keyboard,
            last_was_command: false,
            replies: VecDeque::new(),
            output: None,
            last_output: 0,
            line_free_at: 0,
            release_prefix: false,
        }
    }

    /// A key goes down.
    pub fn press(&mut self, cx: &mut Cx<'_>, key: Key) {
        self.keyboard.press(key);
        self.advance(cx);
    }

    /// A key comes up.
    pub fn release(&mut self, cx: &mut Cx<'_>, key: Key) {
        self.keyboard.release(key);
        self.advance(cx);
    }

    fn config(&self) -> u8 {
        self.cells[0]
    }

    fn set_config(&mut self, value: u8) {
        self.cells[0] = value;
    }

    fn status(&self) -> u8 {
        let mut status = STATUS_UNLOCKED;
        match self.output {
            Some((Source::Keyboard, _)) => status |= STATUS_OUTPUT_FULL,
            Some((Source::Aux, _)) => status |= STATUS_OUTPUT_FULL | STATUS_AUX,
            None => {}
        }
        if self.config() & CONFIG_SYSTEM != 0 {
            status |= STATUS_SYSTEM;
        }
        if self.last_was_command {
            status |= STATUS_COMMAND;
        }
        status
    }

    /// Fills the output buffer if it is empty, drives the interrupts, and waits for the line.
    fn advance(&mut self, cx: &mut Cx<'_>) {
        if self.output.is_none() {
            self.output = self.replies.pop_front();
        }
        if self.output.is_none() && cx.now >= self.line_free_at {
            self.output = self.next_device_byte();
        }
        self.drive_irqs(cx);
        if self.output.is_none() && self.device_waits() {
            cx.wake_at(self.line_free_at);
        } else {
            cx.sleep();
        }
    }

    fn device_waits(&self) -> bool {
        let keyboard = self.config() & CONFIG_KEYBOARD_OFF == 0 && self.keyboard.has_byte();
        let aux = self.config() & CONFIG_AUX_OFF == 0 && self.mouse.has_byte();
        keyboard || aux
    }

    fn next_device_byte(&mut self) -> Option<(Source, u8)> {
        if self.config() & CONFIG_KEYBOARD_OFF == 0 {
            while let Some(byte) = self.keyboard.take_byte() {
                if let Some(byte) = self.translated(byte) {
                    return Some((Source::Keyboard, byte));
                }
            }
        }
        if self.config() & CONFIG_AUX_OFF == 0 {
            let byte = self.mouse.take_byte()?;
            return Some((Source::Aux, byte));
        }
        None
    }

    /// The byte in set 1, if the controller translates; nothing for a release prefix, which
    /// becomes bit 7 of the byte that follows.
    fn translated(&mut self, byte: u8) -> Option<u8> {
        if self.config() & CONFIG_TRANSLATE == 0 {
            return Some(byte);
        }
        if byte == keys::RELEASE {
            self.release_prefix = true;
            return None;
        }
        let release = if std::mem::take(&mut self.release_prefix) {
            0x80
        } else {
            0
        };
        Some(keys::translate(byte) | release)
    }

    fn drive_irqs(&self, cx: &mut Cx<'_>) {
        let enabled = |bit: u8| self.config() & bit != 0;
        let source = self.output.map(|(source, _)| source);
        let keyboard = source == Some(Source::Keyboard) && enabled(CONFIG_KEYBOARD_IRQ);
        let aux = source == Some(Source::Aux) && enabled(CONFIG_AUX_IRQ);
        cx.set_irq(Wire::Isa(1), keyboard);
        cx.set_irq(Wire::Isa(12), aux);
    }

    fn read_data(&mut self, cx: &mut Cx<'_>) -> u8 {
        if let Some((_, byte)) = self.output.take() {
            self.last_output = byte;
            self.line_free_at = cx.now + BYTE_TICKS;
            // The request drops before the next byte can raise it again.
            self.drive_irqs(cx);
            self.advance(cx);
        }
        self.last_output
    }

    fn write_data(&mut self, cx: &mut Cx<'_>, value: u8) {
        self.last_was_command = false;
        match std::mem::replace(&mut self.data_for, DataFor::Keyboard) {
            DataFor::Keyboard => {
                // Talking to a device switches its line on.
                self.set_config(self.config() & !CONFIG_KEYBOARD_OFF);
                self.keyboard.command(value);
                self.occupy_line(cx.now);
            }
            DataFor::Aux => {
                self.set_config(self.config() & !CONFIG_AUX_OFF);
                self.mouse.command(value);
                self.occupy_line(cx.now);
            }
            DataFor::Cell(at) => {
                if let Some(cell) = self.cells.get_mut(usize::from(at & 31)) {
                    *cell = value;
                }
            }
            DataFor::OutputPort => self.write_output_port(cx, value),
            DataFor::Echo(source) => self.replies.push_back((source, value)),
        }
        self.advance(cx);
    }

    fn occupy_line(&mut self, now: Tick) {
        self.line_free_at = self.line_free_at.max(now + BYTE_TICKS);
    }

    fn write_output_port(&mut self, cx: &mut Cx<'_>, value: u8) {
        self.output_port = value;
        cx.request(BoardRequest::SetA20(value & OUTPUT_A20 != 0));
        if value & OUTPUT_NOT_RESET == 0 {
            self.output_port |= OUTPUT_NOT_RESET;
            cx.request(BoardRequest::ResetCpu);
        }
    }

    fn reply(&mut self, value: u8) {
        // A controller answers one command at a time; an answer nobody read is lost.
        self.replies.clear();
        self.replies.push_back((Source::Keyboard, value));
    }

    fn command(&mut self, cx: &mut Cx<'_>, command: u8) {
        self.last_was_command = true;
        self.data_for = DataFor::Keyboard;
        match command {
            0x20..=0x3f => {
                let cell = self.cells.get(usize::from(command & 31));
                let value = cell.copied().unwrap_or(0);
                self.reply(value);
            }
            0x60..=0x7f => self.data_for = DataFor::Cell(command & 31),
            0xa7 => self.set_config(self.config() | CONFIG_AUX_OFF),
            0xa8 => self.set_config(self.config() & !CONFIG_AUX_OFF),
            // Tests of the two lines: no fault.
            0xa9 | 0xab => self.reply(0x00),
            0xaa => self.self_test(),
            0xad => self.set_config(self.config() | CONFIG_KEYBOARD_OFF),
            0xae => self.set_config(self.config() & !CONFIG_KEYBOARD_OFF),
            // The input port: keyboard not locked.
            0xc0 => self.reply(0x80),
            0xd0 => self.reply(self.output_port_now()),
            0xd1 => self.data_for = DataFor::OutputPort,
            0xd2 => self.data_for = DataFor::Echo(Source::Keyboard),
            0xd3 => self.data_for = DataFor::Echo(Source::Aux),
            0xd4 => self.data_for = DataFor::Aux,
            0xdd => self.write_output_port(cx, self.output_port & !OUTPUT_A20),
            0xdf => self.write_output_port(cx, self.output_port | OUTPUT_A20),
            0xe0 => self.reply(0x00),
            // Pulses output lines low; line 0 is the CPU's reset.
            0xf0..=0xff if command & OUTPUT_NOT_RESET == 0 => cx.request(BoardRequest::ResetCpu),
            _ => {}
        }
        self.advance(cx);
    }

    fn self_test(&mut self) {
        self.set_config(self.config() | CONFIG_SYSTEM);
        self.output = None;
        self.release_prefix = false;
        self.reply(0x55);
    }

    fn output_port_now(&self) -> u8 {
        let full = |source| self.output.is_some_and(|(from, _)| from == source);
        self.output_port & 0xcf
            | u8::from(full(Source::Keyboard)) << 4
            | u8::from(full(Source::Aux)) << 5
    }
}

impl PortIo for Ps2 {
    fn read(&mut self, cx: &mut Cx<'_>, port: u16, _size: Size) -> u32 {
        match port {
            0x60 => self.read_data(cx).into(),
            _ => self.status().into(),
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, port: u16, _size: Size, value: u32) {
        let value = value.to_le_bytes()[0];
        match port {
            0x60 => self.write_data(cx, value),
            _ => self.command(cx, value),
        }
    }
}

impl Timed for Ps2 {
    fn expire(&mut self, cx: &mut Cx<'_>) {
        self.advance(cx);
    }
}
