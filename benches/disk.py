"""Guest disk I/O: sequential and random transfers by bus master DMA, PIO and INT 13h (guest/disk.S), and by Linux.

Cowbox and QEMU have the disk as qcow2, Bochs as a flat file, for lack of qcow2 there; virtio is theirs alone. Two
figures for each: by the emulator's CPU time, and by the clock on the wall. The host's page cache holds the image.
"""

import os
import random
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import images
import linux
import table
from boot import build_fixtures
from emulators import CYLINDER, Bochs, Failed, Guest, Process

SILENCE = 120  # seconds of the clock on the wall
MIB = 1 << 20
CLOCKS = ("CPU time", "wall time")
CYLINDERS = 134  # 1 MiB for the guest's code and the area of 64 MiB, rounded up


@dataclass
class Row:
    """One workload: `transfers` of `sectors` each."""

    title: str
    way: str  # dma, pio or bios: guest/disk_*.S; or linux
    sectors: int
    transfers: int
    bus: str = "ide"
    random: bool = False
    write: bool = False
    aim: float | None = None  # the speed wanted by CPU time, in multiples of QEMU's

    def rate(self, seconds):
        """Random transfers in thousands a second, the others in MiB a second."""
        return self.transfers / seconds / (1000 if self.random else MIB / (self.sectors * 512))

    def defines(self):
        return [f'-DWAY_FILE="disk_{self.way}.S"', f"-DSECTORS={self.sectors}", f"-DCOMMANDS={self.transfers}",
                f"-DRANDOM={int(self.random)}", f"-DWRITE={int(self.write)}"]


ROWS = [
    Row("IDE DMA, read 256 MiB by 64 KiB", "dma", 128, 4096),
    Row("IDE DMA, write 256 MiB by 64 KiB", "dma", 128, 4096, write=True),
    Row("IDE DMA, random reads of 4 KiB", "dma", 8, 8192, random=True),
    Row("IDE DMA, random writes of 4 KiB", "dma", 8, 8192, random=True, write=True),
    Row("IDE PIO, read 32 MiB by 64 KiB", "pio", 128, 512),
    Row("IDE PIO, write 32 MiB by 64 KiB", "pio", 128, 512, write=True),
    Row("IDE, INT 13h, load 16 MiB by 32 KiB", "bios", 64, 512, aim=1),
    Row("virtio, INT 13h, load 16 MiB by 32 KiB", "bios", 64, 512, bus="virtio"),
    Row("virtio, INT 13h, random reads of 4 KiB", "bios", 8, 4096, bus="virtio", random=True),
    Row("virtio, Linux, read 64 MiB by 64 KiB", "linux", 128, 1024, bus="virtio"),
    Row("virtio, Linux, write 64 MiB by 64 KiB", "linux", 128, 1024, bus="virtio", write=True),
]


class Disks:
    """The disk of one row in the format of each emulator; gone at the end."""

    def __init__(self, row):
        self.row = row
        images.BUILT.mkdir(parents=True, exist_ok=True)
        self.scratch = tempfile.TemporaryDirectory(prefix="disk-", dir=images.BUILT)
        self.master = {format: Path(self.scratch.name, f"master.{format}") for format in ("raw", "qcow2")}

    def __enter__(self):
        code = b""
        if self.row.way != "linux":
            code = images.assemble("disk.S", "disk", 0x7C00, self.row.defines()).read_bytes()
        numbers = random.Random(0)
        with open(self.master["raw"], "wb") as image:
            image.write(code)
            image.seek(MIB)
            for sector in range(MIB // 512, CYLINDERS * CYLINDER // 512):
                image.write(sector.to_bytes(4, "little") + numbers.randbytes(508))
        images.run(["qemu-img", "convert", "-O", "qcow2", self.master["raw"], self.master["qcow2"]])
        return self

    def __exit__(self, *_):
        self.scratch.cleanup()

    def seconds(self, emulator):
        """CPU time and time on the wall, from the guest's first mark to its last."""
        format = "raw" if isinstance(emulator, Bochs) else "qcow2"
        disk = self.master[format]
        with tempfile.TemporaryDirectory(dir=self.scratch.name) as scratch:
            if self.row.write:
                disk = Path(shutil.copy(disk, scratch))
                with open(disk, "rb") as copy:
                    os.fsync(copy.fileno())
            options = linux.boot_options(self.row, Path(scratch)) if self.row.way == "linux" else {}
            guest = Guest(disk=disk, format=format, bus=self.row.bus, keep=self.row.write, **options)
            with Process(emulator, guest) as process:
                start = self.mark(process, b"\x01")
                return tuple(end - begin for begin, end in zip(start, self.mark(process, b"\x04")))

    @staticmethod
    def mark(process, wanted):
        while wanted not in (said := process.read(SILENCE)):
            if b"\x15" in said:
                raise Failed("the guest's transfer failed")
        return process.cpu_seconds(), time.monotonic()


def bench(emulators, repeat):
    build_fixtures()
    lines, notes = [], []
    for row in ROWS:
        able = [emulator for emulator in emulators if row.bus == "ide" or not isinstance(emulator, Bochs)]
        samples = {emulator.name: table.Samples() for emulator in able}
        with Disks(row) as disks:
            for turn in range(repeat):
                for emulator in able:
                    table.progress(f"{row.title} {turn + 1}/{repeat} {emulator.name}")
                    samples[emulator.name].take(lambda: disks.seconds(emulator))
        table.progress("")
        lines += [line(row, samples, clock) for clock in range(len(CLOCKS))]
        notes += [f"{row.title}: failed on {name}: {sample.failure}"
                  for name, sample in samples.items() if sample.failure]
    table.show(["guest disk I/O", "unit", *table.NAMES, "to Bochs", "to QEMU", "aim", "met"], lines)
    print("\n".join(notes))


def line(row, samples, clock):
    cells, rates = [], []
    for name in table.NAMES:
        median = samples[name].median(clock) if name in samples else None
        rates.append(row.rate(median) if median else None)
        cells.append("-" if name not in samples else f"{rates[-1]:.4g}" if median else "failed")
    cowbox, bochs, qemu = rates
    to_qemu = table.ratio(cowbox, qemu)
    aim, met = "-", "-"
    if row.aim and to_qemu and CLOCKS[clock] == "CPU time":
        aim, met = f"{row.aim:g}x QEMU", "yes" if to_qemu >= row.aim else "no"
    return [f"{row.title} ({CLOCKS[clock]})", "k/s" if row.random else "MiB/s", *cells,
            table.times(table.ratio(cowbox, bochs)), table.times(to_qemu), aim, met]
