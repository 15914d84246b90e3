//! The VGA driven as a VGA BIOS and guests drive it: by its ports and its window.

use super::*;
use crate::devices::Workbench;

/// Display memory begins here in the bench's memory.
const START: ArenaOffset = 1 << 20;

struct Card {
    bench: Workbench,
    vga: Vga,
}

impl Card {
    fn new() -> Self {
        let bench = Workbench::with_ram(START + (16 << 20));
        let vga = Vga::new(START, 16 << 20, 0x8000);
        let mut card = Self { bench, vga };
        card.out(0x3c2, 0x67);
        card
    }

    fn out(&mut self, port: u16, value: u8) {
        PortIo::write(
            &mut self.vga,
            &mut self.bench.cx(),
            port,
            Size::Byte,
            u32::from(value),
        );
    }

    fn input(&mut self, port: u16) -> u32 {
        PortIo::read(&mut self.vga, &mut self.bench.cx(), port, Size::Byte)
    }

    /// Index and data in one word, as most programs write them.
    fn set(&mut self, port: u16, index: u8, value: u8) {
        let word = u32::from(value) << 8 | u32::from(index);
        PortIo::write(&mut self.vga, &mut self.bench.cx(), port, Size::Word, word);
    }

    fn set_all(&mut self, port: u16, values: &[u8]) {
        for (index, value) in (0..).zip(values) {
            self.set(port, index, *value);
        }
    }

    fn set_attributes(&mut self, values: &[u8]) {
        self.input(0x3da);
        for (index, value) in (0..).zip(values) {
            self.out(0x3c0, index);
            self.out(0x3c0, *value);
        }
        self.out(0x3c0, 0x20);
    }

    fn dispi(&mut self, index: u32, value: u32) {
        let mut port = |port, value| {
            PortIo::write(&mut self.vga, &mut self.bench.cx(), port, Size::Word, value);
        };
        port(DISPI_INDEX, index);
        port(DISPI_DATA, value);
    }

    fn store(&mut self, address: u64, value: u8) {
        let (vga, mut cx) = (&mut self.vga, self.bench.cx());
        vga.write_window(&mut cx, address, Size::Byte, u64::from(value));
    }

    fn load(&mut self, address: u64) -> u64 {
        self.vga
            .read_window(&mut self.bench.cx(), address, Size::Byte)
    }

    fn frame(&self) -> Frame {
        self.vga.frame(&self.bench.memory)
    }

    /// Grey of `index` for each colour number, so that frames show numbers.
    fn set_grey_dac(&mut self) {
        self.out(0x3c8, 0);
        for index in 0..=255u8 {
            for _ in 0..3 {
                self.out(0x3c9, index & 0x3f);
            }
        }
    }
}

const IDENTITY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Mode 3: 80 by 25 cells of 9 by 16 dots.
fn text_card() -> Card {
    let mut card = Card::new();
    card.set_all(0x3c4, &[0x03, 0x00, 0x03, 0x00, 0x02]);
    card.set_all(0x3ce, &[0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff]);
    let crtc = [
        0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c,
        0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
    ];
    card.set_all(0x3d4, &crtc);
    card.set_attributes(&[&IDENTITY[..], &[0x0c, 0x00, 0x0f, 0x08, 0x00]].concat());
    card.set_grey_dac();
    card
}

/// Mode 12h: 640 by 480 dots of 16 colours in four planes.
fn planar_card() -> Card {
    let mut card = text_card();
    card.set_all(0x3c4, &[0x03, 0x01, 0x0f, 0x00, 0x06]);
    card.set_all(0x3ce, &[0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff]);
    card.set(0x3d4, 0x11, 0);
    let crtc = [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x0c,
        0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff,
    ];
    card.set_all(0x3d4, &crtc);
    card.set_attributes(&[&IDENTITY[..], &[0x01, 0x00, 0x0f, 0x00, 0x00]].concat());
    card
}

fn text_of(card: &Card) -> TextScreen {
    match card.vga.screen(&card.bench.memory) {
        Screen::Text(text) => text,
        other => panic!("no text: {other:?}"),
    }
}

#[test]
fn characters_and_attributes_written_to_b8000_are_on_the_text_screen() {
    let mut card = text_card();
    let row_2 = 0xb_8000 + 2 * 160;
    card.vga
        .write_window(&mut card.bench.cx(), row_2 + 6, Size::Dword, 0x1f42_0741);
    card.set(0x3d4, 0x0f, 80 + 5);
    let text = text_of(&card);
    assert_eq!((text.columns, text.cells.len()), (80, 2000));
    let cell = |character, attribute| Cell {
        character,
        attribute,
    };
    assert_eq!(text.cells[163..165], [cell(b'A', 7), cell(b'B', 0x1f)]);
    assert_eq!(text.cursor, Some((5, 1)));
    assert_eq!(card.load(row_2 + 8), u64::from(b'B'));
}

#[test]
fn scrolling_by_the_start_address_moves_text_and_cursor() {
    let mut card = text_card();
    card.store(0xb_8000 + 160, b'X');
    card.set(0x3d4, 0x0d, 80);
    card.set(0x3d4, 0x0f, 81);
    let text = text_of(&card);
    assert_eq!(text.cells[0].character, b'X');
    assert_eq!(text.cursor, Some((1, 0)));
    card.set(0x3d4, 0x0a, 0x20);
    assert_eq!(text_of(&card).cursor, None);
}

#[test]
fn a_font_loaded_into_plane_2_shapes_the_dots_of_text() {
    let mut card = text_card();
    card.set(0x3c4, 2, 4);
    card.set(0x3c4, 4, 6);
    card.set(0x3ce, 5, 0);
    card.set(0x3ce, 6, 4);
    card.store(0xa_0000 + 0x41 * 32 + 3, 0b1000_0001);
    card.store(0xa_0000 + 0xc4 * 32 + 3, 0b0000_0001);
    card.set(0x3c4, 2, 3);
    card.set(0x3c4, 4, 2);
    card.set(0x3ce, 5, 0x10);
    card.set(0x3ce, 6, 0x0e);
    card.set(0x3d4, 0x0a, 0x20);
    card.vga
        .write_window(&mut card.bench.cx(), 0xb_8000, Size::Dword, 0x07c4_1741);
    let frame = card.frame();
    assert_eq!((frame.width, frame.height), (720, 400));
    let line: Vec<u8> = frame.rgb[3 * 720 * 3..]
        .iter()
        .step_by(3)
        .copied()
        .take(18)
        .collect();
    let (ink, paper) = (7 << 2, 1 << 2);
    let a = [ink, paper, paper, paper, paper, paper, paper, ink, paper];
    let joined = [0, 0, 0, 0, 0, 0, 0, ink, ink];
    assert_eq!(line, [a, joined].concat());
}

#[test]
fn write_mode_0_masks_rotates_and_combines_with_the_latches() {
    let mut card = planar_card();
    card.store(0xa_0000, 0xff);
    card.set(0x3c4, 2, 0x05);
    card.set(0x3ce, 8, 0x0f);
    assert_eq!(card.load(0xa_0000), 0xff);
    card.store(0xa_0000, 0x00);
    let planes = card.bench.memory.read_array::<4>(START);
    assert_eq!(planes, [0xf0, 0xff, 0xf0, 0xff]);
    card.set(0x3ce, 8, 0xff);
    card.set(0x3ce, 3, 0x18 | 4);
    card.load(0xa_0000);
    card.store(0xa_0000, 0x0f);
    assert_eq!(card.bench.memory.read_array::<1>(START), [0x00]);
}

#[test]
fn write_modes_1_2_and_3_copy_fill_and_mask() {
    let mut card = planar_card();
    card.set(0x3ce, 5, 2);
    card.store(0xa_0001, 0x0a);
    let filled = [0, 0xff, 0, 0xff];
    assert_eq!(card.bench.memory.read_array::<4>(START + 4), filled);
    card.set(0x3ce, 5, 1);
    card.load(0xa_0001);
    card.store(0xa_0002, 0x55);
    assert_eq!(card.bench.memory.read_array::<4>(START + 8), filled);
    card.set(0x3ce, 5, 3);
    card.set(0x3ce, 0, 0x01);
    card.load(0xa_0002);
    card.store(0xa_0002, 0x18);
    assert_eq!(
        card.bench.memory.read_array::<4>(START + 8),
        [0x18, 0xe7, 0, 0xe7]
    );
}

#[test]
fn read_mode_1_finds_the_dots_of_a_colour() {
    let mut card = planar_card();
    card.set(0x3ce, 5, 2);
    card.set(0x3ce, 8, 0x3c);
    card.store(0xa_0000, 0x06);
    card.set(0x3ce, 5, 8);
    card.set(0x3ce, 2, 0x06);
    card.set(0x3ce, 7, 0x0f);
    assert_eq!(card.load(0xa_0000), 0x3c);
}

#[test]
fn mode_12h_shows_the_bits_of_four_planes_as_colours() {
    let mut card = planar_card();
    card.set(0x3c4, 2, 0x01);
    card.store(0xa_0000 + 80, 0x80);
    card.set(0x3c4, 2, 0x04);
    card.store(0xa_0000 + 80, 0xc0);
    let frame = card.frame();
    assert_eq!((frame.width, frame.height), (640, 480));
    let line = &frame.rgb[640 * 3..];
    assert_eq!((line[0], line[3], line[6]), (5 << 2, 4 << 2, 0));
}

#[test]
fn mode_13h_is_mapped_without_a_trap_and_shows_a_byte_a_dot() {
    let mut card = planar_card();
    card.bench.requests.clear();
    card.set(0x3c4, 4, 0x0e);
    card.set(0x3ce, 5, 0x40);
    let direct = Some(START);
    let window = MemoryWindow {
        base: 0xa_0000,
        len: 0x1_0000,
        direct,
    };
    assert_eq!(card.vga.window(), Some(window));
    assert_eq!(card.bench.requests, [BoardRequest::Remap(Remap::Vga)]);
    for (index, value) in [(0x07, 0x1f), (0x09, 0x41), (0x12, 0x8f), (0x17, 0xa3)] {
        card.set(0x3d4, index, value);
    }
    card.set_attributes(&[&IDENTITY[..], &[0x41, 0x00, 0x0f, 0x00, 0x00]].concat());
    card.bench.memory.write_arena(START + 320, &[9, 10]);
    let frame = card.frame();
    assert_eq!((frame.width, frame.height), (640, 400));
    let lines: Vec<&[u8]> = frame.rgb.chunks(640 * 3).collect();
    assert_eq!(lines[2], lines[3]);
    let dots = [
        lines[2][0],
        lines[2][3],
        lines[2][6],
        lines[2][9],
        lines[2][12],
    ];
    assert_eq!(dots, [36, 36, 40, 40, 0]);
}

#[test]
fn a_linear_mode_shows_memory_line_by_line_and_banks_the_window() {
    let mut card = text_card();
    for (index, value) in [(1, 1024), (2, 768), (3, 32), (4, 0x41), (5, 3)] {
        card.dispi(index, value);
    }
    card.store(0xa_0000, 0x11);
    assert_eq!(card.bench.memory.read_array::<1>(START + 0x3_0000), [0x11]);
    card.bench
        .memory
        .write_arena(START + 4096 + 4, &[1, 2, 3, 0]);
    let frame = card.frame();
    assert_eq!((frame.width, frame.height), (1024, 768));
    assert_eq!(frame.rgb[(1024 + 1) * 3..][..3], [3, 2, 1]);
    card.dispi(4, 0);
    assert!(matches!(
        card.vga.screen(&card.bench.memory),
        Screen::Text(_)
    ));
}

#[test]
fn the_same_registers_answer_in_the_memory_window_of_bar_2() {
    let mut card = text_card();
    let bar = Region::Bar(2);
    let (vga, bench) = (&mut card.vga, &mut card.bench);
    assert_eq!(
        vga.read_region(&mut bench.cx(), bar, 0x40c, Size::Byte),
        0x67
    );
    assert_eq!(
        vga.read_region(&mut bench.cx(), bar, 0x500, Size::Word),
        0xb0c5
    );
    vga.write_region(&mut bench.cx(), bar, 0x502, Size::Word, 800);
    assert_eq!(vga.dispi.read(1), 800);
}

#[test]
fn vertical_retrace_comes_seventy_times_a_second_of_guest_time() {
    let mut card = text_card();
    let (mut rises, mut before) = (0, 0);
    for now in (0..1_000_000_000).step_by(20_000) {
        card.bench.now = now;
        let retrace = card.input(0x3da) & 8;
        rises += u32::from(retrace != 0 && before == 0);
        before = retrace;
    }
    assert_eq!(rises, 70);
}

#[test]
fn protected_crtc_registers_keep_their_values_but_for_line_compare() {
    let mut card = text_card();
    card.set(0x3d4, 0x11, 0x8e);
    card.set(0x3d4, 0x00, 0x12);
    card.set(0x3d4, 0x07, 0x00);
    card.out(0x3d4, 0x00);
    assert_eq!(card.input(0x3d5), 0x5f);
    card.out(0x3d4, 0x07);
    assert_eq!(card.input(0x3d5), 0x0f);
}

#[test]
fn no_register_value_makes_a_snapshot_fail() {
    let mut seed = 1u32;
    for _ in 0..300 {
        let mut card = Card::new();
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_le_bytes()[3]
        };
        for port in [0x3c4, 0x3ce, 0x3d4] {
            for index in 0..25 {
                card.set(port, index, random());
            }
        }
        card.set_attributes(&std::array::from_fn::<u8, 21, _>(|_| random()));
        card.bench.now = u64::from(random()) << 20;
        card.input(0x3da);
        card.store(0xa_0000 | u64::from(random()) << 9, random());
        card.frame();
    }
}

#[test]
fn a_saved_card_goes_on_as_it_was() {
    let mut card = text_card();
    card.store(0xb_8000, b'S');
    let saved = postcard::to_stdvec(&card.vga).unwrap();
    let shown = text_of(&card);
    card.vga = postcard::from_bytes(&saved).unwrap();
    assert_eq!(text_of(&card), shown);
}
