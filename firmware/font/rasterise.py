#!/usr/bin/env python3
"""Turns the drawn glyphs of this directory into the three fonts of the VGA BIOS, as C.

Cells are 8 pixels wide and 8, 14 or 16 lines high, 256 characters in the order of code page 437.
ASCII is drawn twice (ascii-8.txt, ascii-16.txt); symbols once, for 8 lines, and stretched; accents
are put on letters; lines and blocks are computed. A cell of 14 lines is that of 16 without its
first and last line. `rasterise.py --show` prints the fonts instead.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH = 8


def records(name):
    """The lines of a file that are not comments. '#' is ink too: a comment goes on with a space."""
    with open(os.path.join(HERE, name)) as file:
        return [line.rstrip("\n") for line in file if not line.startswith("# ")]


def is_row(line):
    return len(line) > 2 and set(line) <= {"#", "."}


def drawings(name):
    """Blocks of a title line and rows of pixels, as {title: [row, ...]}."""
    glyphs, title = {}, None
    for line in records(name):
        if is_row(line):
            glyphs[title].append(sum(0x80 >> i for i, c in enumerate(line) if c == "#"))
        else:
            title = line
            glyphs[title] = []
    return glyphs


def table(name):
    return [line.split() for line in records(name)]


def placed(rows, height, first):
    """A cell with `rows` from line `first` on."""
    cell = [0] * height
    for i, row in enumerate(rows):
        cell[first + i] = row
    return cell


def ascii_font(height):
    first = 0 if height == 8 else 2
    glyphs = drawings("ascii-8.txt" if height == 8 else "ascii-16.txt")
    return {ord(title): placed(rows, height, first) for title, rows in glyphs.items()}


def stretched(rows, height):
    """Eight rows on twelve lines: every other one twice."""
    if height == 8:
        return rows
    tall = [row for i, row in enumerate(rows) for _ in range(1 + i % 2)]
    return placed(tall, height, 2)


def squeezed(cell, height):
    """A capital without two of its middle rows, so that an accent fits above it."""
    drop = {2, 4} if height == 8 else {4, 9}
    rows = [row for i, row in enumerate(cell) if i not in drop]
    return [0, 0] + rows


def without_dot(cell, height):
    return [0 if i < (2 if height == 8 else 5) else row for i, row in enumerate(cell)]


def composed_font(letters, height):
    accents, cells = drawings("accents.txt"), {}
    for code, letter, accent in table("composed.txt"):
        cell = letters[ord(letter)]
        if letter.isupper():
            cell = squeezed(cell, height)
        elif letter == "i":
            cell = without_dot(cell, height)
        top = next(i for i, row in enumerate(cell) if row)
        rows = accents[accent]
        gap = 0 if height == 8 else 1
        first = max(0, top - len(rows) - gap)
        cells[int(code, 16)] = [
            row | (rows[i - first] if first <= i < first + len(rows) else 0)
            for i, row in enumerate(cell)
        ]
    return cells


def line_cell(left, right, up, down, height):
    """Single strokes run through the centre (column 3-4, one line); double ones beside it."""
    middle = height // 2 - 1
    strokes = {0: [], 1: [0], 2: [-1, 1]}
    vertical = max(up, down)
    cell = [0] * height
    def column(offset):
        return 0x18 if offset == 0 else 0x20 if offset < 0 else 0x04
    def horizontal(arm, mask, other_up, other_down):
        for offset in strokes[arm]:
            reach = mask
            blocked = other_up if offset < 0 else other_down
            if vertical == 2 and blocked == 2:
                reach = mask & (0xE0 if mask & 0x80 else 0x07)
            cell[middle + offset] |= reach
    horizontal(left, 0xF8 if vertical < 2 else 0xFC, up, down)
    horizontal(right, 0x1F if vertical < 2 else 0x3F, up, down)
    for arm, lines in ((up, range(0, middle + 1)), (down, range(middle, height))):
        for offset in strokes[arm]:
            side = left if offset < 0 else right
            for i in lines:
                inside = abs(i - middle) < 1 and max(left, right) == 2
                if arm and not (inside and (side == 2 or offset == 0)):
                    cell[i] |= column(offset)
    across = max(left, right)
    if across == 2:
        # A double horizontal's strokes end at a vertical one that goes on to one side only.
        for offset in strokes[max(up, down)]:
            for arm, line in ((up, middle - 1), (down, middle + 1)):
                if arm:
                    cell[line] |= column(offset)
            if not up or not down:
                side = left if offset < 0 else right
                if side == 0 or (left and right and offset == 0):
                    edge = middle + 1 if up else middle - 1
                    cell[edge] |= column(offset)
    return cell


def line_font(height):
    return {
        int(code, 16): line_cell(*(int(arm) for arm in arms), height)
        for code, *arms in table("lines.txt")
    }


def block_font(height):
    """Shades, the full block and its halves."""
    half = height // 2
    return {
        0xB0: [0x22 if i % 2 else 0x88 for i in range(height)],
        0xB1: [0x55 if i % 2 else 0xAA for i in range(height)],
        0xB2: [0xDD if i % 2 else 0x77 for i in range(height)],
        0xDB: [0xFF] * height,
        0xDC: [0] * half + [0xFF] * (height - half),
        0xDD: [0xF0] * height,
        0xDE: [0x0F] * height,
        0xDF: [0xFF] * half + [0] * (height - half),
    }


def font(height):
    letters = ascii_font(height)
    cells = {code: [0] * height for code in (0x00, 0x20, 0xFF)}
    symbols = drawings("symbols.txt").items()
    cells.update({int(code, 16): stretched(rows, height) for code, rows in symbols})
    cells.update(letters)
    cells.update(composed_font(letters, height))
    cells.update(line_font(height))
    cells.update(block_font(height))
    missing = [f"{code:02x}" for code in range(256) if code not in cells]
    if missing:
        sys.exit(f"no glyph for {' '.join(missing)}")
    return [cells[code] for code in range(256)]


def shortened(cells):
    """Sixteen lines to fourteen; lines and blocks are computed for their height."""
    cells = [cell[1:15] for cell in cells]
    for code, cell in {**line_font(14), **block_font(14)}.items():
        cells[code] = cell
    return cells


def show(cells):
    for start in range(0, 256, 8):
        print(" ".join(f"{code:02x}      " for code in range(start, start + 8)))
        for line in range(len(cells[0])):
            print(" ".join(f"{cells[code][line]:08b}".replace("0", ".").replace("1", "#")
                           for code in range(start, start + 8)))


def main():
    tall = font(16)
    fonts = {8: font(8), 14: shortened(tall), 16: tall}
    if "--show" in sys.argv:
        for cells in fonts.values():
            show(cells)
        return
    print('#include "vga.h"')
    for height, cells in fonts.items():
        data = ", ".join(f"0x{row:02x}" for cell in cells for row in cell)
        print(f"ROM_DATA u8 font_8x{height}[256 * {height}] = {{{data}}};")


main()
