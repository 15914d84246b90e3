"""The bootable images: assembled from rows/ and guest/ with GNU as and ld into target/benches/.

A row's file opens with what it is: `title`, `modes` (16 32 64), `unit` (MIPS, ns or GB/s), `work` (instructions,
round trips or bytes an iteration), `aim` (the speed wanted, in multiples of Bochs).
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from emulators import CYLINDER, Failed

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent / "target" / "benches"
TOUCHED_MIB = 256


@dataclass
class Row:
    """One loop, in code of one width."""

    name: str
    bits: int
    title: str
    unit: str
    work_per_batch: int
    aim: float
    source: Path

    def figure(self, rate):
        """`rate` (work a second) in the row's unit."""
        match self.unit:
            case "MIPS":
                return f"{rate / 1e6:.4g}"
            case "ns":
                return f"{1e9 / rate:.4g}"
            case "GB/s":
                return f"{rate / 1e9:.3g}"
        raise Failed(f"{self.source}: no such unit: {self.unit}")


def rows():
    """All rows, those of one width together."""
    every = [row for source in sorted((HERE / "rows").glob("*.S")) for row in read(source)]
    return sorted(every, key=lambda row: row.bits)


def read(source):
    text = source.read_text()
    header = dict(re.findall(r"^// (\w+): (.+)$", text, re.M))
    batch = re.search(r"^#define BATCH (\d+)", text, re.M)
    iterations = int(batch[1]) if batch else 1000
    for bits in header["modes"].split():
        yield Row(source.stem, int(bits), header["title"], header["unit"], int(header["work"]) * iterations,
                  float(header["aim"]), source)


def disk(row):
    """The disk image of a row: four cylinders, the boot sector and its payload in front."""
    path = assemble("harness.S", f"{row.name}-{row.bits}", 0x7C00,
                    [f"-DBITS={row.bits}", f'-DROW_FILE="{row.source}"'])
    with open(path, "r+b") as image:
        image.truncate(4 * CYLINDER)
    return path


def halting_rom():
    """The BIOS of guest/first_instruction.S that says 'B' and halts."""
    return assemble("first_instruction.S", "halting", 0, [])


def touching_rom():
    """The BIOS of guest/first_instruction.S that says 'M' when it has touched TOUCHED_MIB of memory."""
    return assemble("first_instruction.S", "touching", 0, [f"-DTOUCHED_END={(1 + TOUCHED_MIB) << 20:#x}"])


def assemble(source, name, address, defines):
    BUILT.mkdir(parents=True, exist_ok=True)
    compiled, linked = BUILT / f"{name}.o", BUILT / f"{name}.img"
    run(["gcc", "-m64", "-c", "-I", HERE / "guest", *defines, "-o", compiled, HERE / "guest" / source])
    run(["ld", "-m", "elf_x86_64", "-z", "noexecstack", "-Ttext", hex(address), "-e", hex(address),
         "--oformat", "binary", "-o", linked, compiled])
    return linked


def run(command):
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Failed(f"{error.filename} is missing: install the package that has it") from error
    if result.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {result.stderr.strip()}")
