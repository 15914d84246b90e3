//! The controller, driven as a BIOS, as Linux's i8042 driver and as DOS programs drive it.

use super::*;
use crate::bus::NEVER;
use crate::devices::Workbench;

struct Host {
    ps2: Ps2,
    bench: Workbench,
}

impl Host {
    fn new() -> Self {
        let mut host = Self {
            ps2: Ps2::new(),
            bench: Workbench::new(),
        };
        host.command(0x60);
        host.data(0x47);
        host
    }

    fn command(&mut self, value: u8) {
        self.ps2
            .write(&mut self.bench.cx(), 0x64, Size::Byte, value.into());
    }

    fn data(&mut self, value: u8) {
        self.ps2
            .write(&mut self.bench.cx(), 0x60, Size::Byte, value.into());
    }

    fn status(&mut self) -> u8 {
        self.ps2
            .read(&mut self.bench.cx(), 0x64, Size::Byte)
            .to_le_bytes()[0]
    }

    /// Waits for the output buffer and reads it.
    fn read(&mut self) -> u8 {
        while self.status() & STATUS_OUTPUT_FULL == 0 {
            assert_ne!(self.bench.deadline, NEVER, "nothing comes");
            self.bench.now = self.bench.deadline;
            self.bench.deadline = NEVER;
            self.ps2.expire(&mut self.bench.cx());
        }
        self.ps2
            .read(&mut self.bench.cx(), 0x60, Size::Byte)
            .to_le_bytes()[0]
    }

    fn read_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.bench.deadline != NEVER || self.status() & STATUS_OUTPUT_FULL != 0 {
            bytes.push(self.read());
        }
        bytes
    }

    fn press(&mut self, key: Key) {
        self.ps2.press(&mut self.bench.cx(), key);
    }

    fn release(&mut self, key: Key) {
        self.ps2.release(&mut self.bench.cx(), key);
    }
}

#[test]
fn controller_and_lines_pass_their_tests() {
    let mut host = Host::new();
    for (command, answer) in [(0xaa, 0x55), (0xab, 0x00), (0xa9, 0x00)] {
        host.command(command);
        assert_eq!(host.read(), answer);
    }
    host.command(0x20);
    assert_eq!(host.read(), 0x47);
}

#[test]
fn a_reset_keyboard_says_that_it_is_well() {
    let mut host = Host::new();
    host.data(0xff);
    assert_eq!(host.read_all(), [0xfa, 0xaa]);
    host.data(0xf2);
    // The identity's second byte passes the translation like any byte.
    assert_eq!(host.read_all(), [0xfa, 0xab, 0x41]);
}

#[test]
fn keys_arrive_translated_to_set_1_with_their_interrupt() {
    let mut host = Host::new();
    host.press(Key::A);
    assert_eq!(host.bench.irq.levels(), 1 << 1);
    host.release(Key::A);
    assert_eq!(host.read(), 0x1e);
    assert_eq!(host.bench.irq.levels(), 0);
    assert_eq!(host.read_all(), [0x9e]);
    host.press(Key::Right);
    host.release(Key::Right);
    assert_eq!(host.read_all(), [0xe0, 0x4d, 0xe0, 0xcd]);
}

#[test]
fn a_handler_that_reads_twice_finds_the_same_byte() {
    let mut host = Host::new();
    host.press(Key::A);
    host.release(Key::A);
    let mut port60 = || host.ps2.read(&mut host.bench.cx(), 0x60, Size::Byte);
    assert_eq!((port60(), port60()), (0x1e, 0x1e));
    assert_eq!(host.read(), 0x9e);
}

#[test]
fn without_translation_keys_are_in_set_2() {
    let mut host = Host::new();
    host.command(0x60);
    host.data(0x07);
    host.press(Key::Return);
    host.release(Key::Return);
    assert_eq!(host.read_all(), [0x5a, 0xf0, 0x5a]);
}

#[test]
fn print_and_pause_send_their_sequences() {
    let mut host = Host::new();
    host.press(Key::Print);
    host.release(Key::Print);
    assert_eq!(
        host.read_all(),
        [0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa]
    );
    host.press(Key::Pause);
    host.release(Key::Pause);
    assert_eq!(host.read_all(), [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
}

#[test]
fn every_key_translates_from_set_2_to_its_code_in_set_1() {
    for name in [
        "esc", "f12", "kp_enter", "delete", "less", "menu", "f7", "num_lock",
    ] {
        let key = Key::from_name(name).unwrap();
        let translated: Vec<u8> = keys::make_codes(key, 2)
            .into_iter()
            .map(keys::translate)
            .collect();
        assert_eq!(translated, keys::make_codes(key, 1), "{name}");
    }
    assert_eq!(Key::from_name("nonsense"), None);
}

#[test]
fn leds_and_rate_take_their_parameter() {
    let mut host = Host::new();
    for byte in [0xed, 0x02, 0xf3, 0x20, 0xf4] {
        host.data(byte);
        assert_eq!(host.read(), 0xfa);
    }
    host.data(0xf0);
    host.read();
    host.data(0x00);
    // Set 2 reads as 41h through the translation.
    host.command(0x60);
    host.data(0x07);
    assert_eq!(host.read_all(), [0xfa, 0x02]);
}

#[test]
fn a_disabled_keyboard_sends_nothing_until_enabled() {
    let mut host = Host::new();
    host.command(0xad);
    host.press(Key::B);
    assert_eq!(host.bench.deadline, NEVER);
    assert_eq!(host.status() & STATUS_OUTPUT_FULL, 0);
    host.command(0xae);
    assert_eq!(host.read(), 0x30);
}

#[test]
fn the_mouse_answers_on_its_own_interrupt() {
    let mut host = Host::new();
    host.command(0xd4);
    host.data(0xff);
    assert_eq!(host.bench.deadline, BYTE_TICKS);
    assert_eq!(host.read(), 0xfa);
    host.bench.now = host.bench.deadline;
    host.ps2.expire(&mut host.bench.cx());
    assert_eq!(host.bench.irq.levels(), 1 << 12);
    assert_ne!(host.status() & STATUS_AUX, 0);
    assert_eq!(host.read_all(), [0xaa, 0x00]);
    host.command(0xd4);
    host.data(0xf2);
    assert_eq!(host.read_all(), [0xfa, 0x00]);
}

#[test]
fn the_echo_command_loops_bytes_through_the_aux_port() {
    let mut host = Host::new();
    host.command(0xd3);
    host.data(0x5a);
    assert_ne!(host.status() & STATUS_AUX, 0);
    assert_eq!(host.read(), 0x5a);
}

#[test]
fn a20_and_reset_go_to_the_board() {
    let mut host = Host::new();
    host.command(0xd1);
    host.data(0xdd);
    host.command(0xdf);
    host.command(0xfe);
    assert_eq!(
        host.bench.requests,
        [
            BoardRequest::SetA20(false),
            BoardRequest::SetA20(true),
            BoardRequest::ResetCpu
        ]
    );
    host.command(0xd0);
    assert_eq!(host.read() & 3, 3);
}
