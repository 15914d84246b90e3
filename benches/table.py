"""Tables and medians of what was measured."""

import statistics
import sys

from emulators import Failed

NAMES = ("Cowbox", "Bochs", "QEMU")  # the columns, in this order


class Samples:
    """Measurements of one thing on one emulator: numbers, or the reason why there are none."""

    def __init__(self):
        self.numbers, self.failure = [], None

    def take(self, measure):
        """Adds what `measure` returns; after a failure there are no more."""
        if self.failure is None:
            try:
                self.numbers.append(measure())
            except Failed as failure:
                self.failure = str(failure)

    def median(self, part=None):
        """Of the numbers; of their parts with this index where they are tuples."""
        if self.failure is not None or not self.numbers:
            return None
        return statistics.median(number if part is None else number[part] for number in self.numbers)


def ratio(over, under):
    return None if over is None or under is None else over / under


def times(value):
    return "-" if value is None else f"{value:.3g}x"


def show(heading, lines):
    """Prints rows of text in columns; the first column is aligned left."""
    cells = [heading, *lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heading))]
    for line in cells:
        first, *rest = (cell.ljust(width) if column == 0 else cell.rjust(width)
                        for column, (cell, width) in enumerate(zip(line, widths)))
        print("  ".join([first, *rest]))


def progress(text):
    """What is being measured, on one line of a terminal; nothing where there is none."""
    if sys.stderr.isatty():
        print(f"\r{text:<50}\r", end="", file=sys.stderr, flush=True)
