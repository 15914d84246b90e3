"""The rows of rows/: how fast each emulator runs a bare-metal loop.

A guest doubles its work from pass to pass and marks the end of each on its serial line (guest/harness.S). A measurement
is the first pass that took PASS_SECONDS of the emulator's CPU time; by then its code is decoded or compiled.
"""

import images
import table
from emulators import Failed, Guest, Process

PASS_SECONDS = 0.25
SILENCE = 60  # seconds of the clock on the wall, for BIOS and passes alike


def measure(emulator, image, work_per_batch):
    """Work a second of the emulator's CPU time."""
    with Process(emulator, Guest(disk=image)) as process:
        while b"\x01" not in (said := process.read(SILENCE)):
            pass
        passes, since = 0, process.cpu_seconds()
        said = said.partition(b"\x01")[2]
        while True:
            now = process.cpu_seconds()
            for byte in said:
                if byte != ord("A") + passes:
                    raise Failed(f"the guest said {bytes([byte])!r} after {passes} passes"
                                 + (": an exception it did not expect" if byte == ord("!") else ""))
                passes += 1
            if said and now - since >= PASS_SECONDS and len(said) == 1:
                return work_per_batch * 2 ** (passes - 1) / (now - since)
            since = now
            said = process.read(SILENCE)


def bench(emulators, repeat, wanted):
    rows = [row for row in images.rows() if not wanted or {row.name, f"{row.name}-{row.bits}"} & set(wanted)]
    if not rows:
        raise Failed(f"no such row: {' '.join(wanted)}; there are {' '.join(sorted({r.name for r in images.rows()}))}")
    samples = {(row.name, row.bits, emulator.name): table.Samples() for row in rows for emulator in emulators}
    for row in rows:
        image = images.disk(row)
        for turn in range(repeat):
            for emulator in emulators:
                table.progress(f"{row.name}-{row.bits} {turn + 1}/{repeat} {emulator.name}")
                samples[row.name, row.bits, emulator.name].take(lambda: measure(emulator, image, row.work_per_batch))
    table.progress("")
    report(rows, samples)


def report(rows, samples):
    lines, notes = [], []
    for row in rows:
        medians = {}
        cells = []
        for name in table.NAMES:
            sample = samples.get((row.name, row.bits, name))
            medians[name] = sample and sample.median()
            cells.append("-" if not sample else row.figure(medians[name]) if medians[name] else "failed")
            if sample and sample.failure:
                notes.append(f"{row.name}-{row.bits} failed on {name}: {sample.failure}")
        to_bochs = table.ratio(medians["Cowbox"], medians["Bochs"])
        to_qemu = table.ratio(medians["Cowbox"], medians["QEMU"])
        verdict = "-" if to_bochs is None else "yes" if to_bochs >= row.aim else "no"
        lines.append([f"{row.title} ({row.name}-{row.bits})", row.unit, *cells, table.times(to_bochs),
                      f"{row.aim:g}x", verdict, table.times(to_qemu)])
    table.show(["bare-metal loop", "unit", *table.NAMES, "to Bochs", "aim", "met", "to QEMU"], lines)
    for note in notes:
        print(note)
