"""What surrounds the loops: from exec to the first guest instruction, memory, and Debian's kernel up to its init.

The kernel and the disk are the fixtures of tests/guests/build (target/guests, or $COWBOX_GUESTS), which runs first.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import images
import table
from emulators import CYLINDER, Guest, Process

SILENCE = 300  # seconds of the clock on the wall
MIB = 1 << 20


@dataclass
class Figure:
    """One line of the table. Small is good; an aim is a limit for Cowbox, or a multiple of a peer's speed."""

    title: str
    unit: str
    measure: Callable
    limit: float | None = None
    aim: float | None = None  # times Bochs
    aim_to_qemu: float | None = None

    def verdict(self, cowbox, to_bochs, to_qemu):
        if self.limit is not None and cowbox is not None:
            return f"<= {self.limit:g}", "yes" if cowbox <= self.limit else "no"
        if self.aim is not None and to_bochs is not None:
            return f"{self.aim:g}x", "yes" if to_bochs >= self.aim else "no"
        if self.aim_to_qemu is not None and to_qemu is not None:
            return f"{self.aim_to_qemu:g}x QEMU", "yes" if to_qemu >= self.aim_to_qemu else "no"
        return "-", "-"


def first_instruction(emulator):
    with Process(emulator, Guest(memory=512, bios=images.halting_rom())) as process:
        process.wait_for(b"B", SILENCE)
        return (time.monotonic() - process.started) * 1000


def cpu_to_first_instruction(emulator):
    with Process(emulator, Guest(memory=512, bios=images.halting_rom())) as process:
        process.wait_for(b"B", SILENCE)
        return process.cpu_seconds() * 1000


def memory_of_its_own(emulator):
    with Process(emulator, Guest(memory=512, bios=images.touching_rom())) as process:
        process.wait_for(b"M", SILENCE)
        return process.resident_bytes() / MIB - images.TOUCHED_MIB


def direct_boot(emulator):
    guest = Guest(memory=256, kernel=fixture("amd64/vmlinuz"), initrd=fixture("amd64/initrd.img"),
                  append="console=ttyS0")
    with Process(emulator, guest) as process:
        process.wait_for(b"INIT-OK", SILENCE)
        return process.cpu_seconds()


def grub_load(emulator):
    """Kernel and initrd, 16 MB, which GRUB reads by INT 13h."""
    with Process(emulator, Guest(memory=256, disk=root_disk())) as process:
        process.wait_for(b"GRUB-OK", SILENCE)
        start = process.cpu_seconds()
        process.wait_for(b"LOADED-OK", SILENCE)
        return process.cpu_seconds() - start


def grub_to_init(emulator):
    with Process(emulator, Guest(memory=256, disk=root_disk())) as process:
        process.wait_for(b"GRUB-OK", SILENCE)
        start = process.cpu_seconds()
        process.wait_for(b"INIT-OK", SILENCE)
        return process.cpu_seconds() - start


def build_fixtures():
    """Does nothing when they are current."""
    images.run([images.HERE.parent / "tests/guests/build"])


def fixture(name):
    return images.HERE.parent / os.environ.get("COWBOX_GUESTS", "target/guests") / name


def root_disk():
    """The root disk as a raw image of whole cylinders: what all three can read."""
    source, raw = fixture("root.qcow2"), images.BUILT / "root.img"
    if not raw.exists() or raw.stat().st_mtime < source.stat().st_mtime:
        images.BUILT.mkdir(parents=True, exist_ok=True)
        fresh = Path(f"{raw}.new")
        images.run(["qemu-img", "convert", "-O", "raw", source, fresh])
        os.truncate(fresh, -(-fresh.stat().st_size // CYLINDER) * CYLINDER)
        fresh.rename(raw)
    return raw


FIGURES = [
    Figure("exec to first guest instruction (wall time)", "ms", first_instruction, limit=10),
    Figure("exec to first guest instruction (CPU time)", "ms", cpu_to_first_instruction),
    Figure(f"resident beyond the {images.TOUCHED_MIB} MiB touched", "MiB", memory_of_its_own, limit=40),
    Figure("Debian amd64, direct boot to init (CPU time)", "s", direct_boot),
    Figure("GRUB loads kernel and initrd, IDE disk (CPU time)", "s", grub_load, aim_to_qemu=1),
    Figure("Debian amd64, from GRUB to init, IDE disk (CPU time)", "s", grub_to_init, aim=4),
]


def bench(emulators, repeat):
    build_fixtures()
    lines, notes = [], []
    for figure in FIGURES:
        samples = {emulator.name: table.Samples() for emulator in emulators}
        for turn in range(repeat):
            for emulator in emulators:
                table.progress(f"{figure.title} {turn + 1}/{repeat} {emulator.name}")
                samples[emulator.name].take(lambda: figure.measure(emulator))
        table.progress("")
        lines.append(line(figure, samples))
        notes += [f"{figure.title}: failed on {name}: {sample.failure}"
                  for name, sample in samples.items() if sample.failure]
    table.show(["boot and memory", "unit", *table.NAMES, "to Bochs", "aim", "met", "to QEMU"], lines)
    print("\n".join(notes))


def line(figure, samples):
    medians = [samples[name].median() if name in samples else None for name in table.NAMES]
    cells = ["-" if name not in samples else "failed" if median is None else f"{median:.3g}"
             for name, median in zip(table.NAMES, medians)]
    cowbox, bochs, qemu = medians
    to_bochs, to_qemu = table.ratio(bochs, cowbox), table.ratio(qemu, cowbox)
    aim, met = figure.verdict(cowbox, to_bochs, to_qemu)
    return [figure.title, figure.unit, *cells, table.times(to_bochs), aim, met, table.times(to_qemu)]
