"""`cowbox img` beside qemu-img on whole images, on tmpfs: time on the wall, CPU time, peak memory.

The two take turns on the same files. "of it" is our time in multiples of qemu-img's, "limit" the most that we allow
ourselves, "machine" how long the bare work takes on this machine (a copy, reading, the codec alone), "over it" our time
in multiples of that.
"""

import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import dataclass, field

import table
from disk_images import ENCRYPT, ENCRYPTED, MIB, SECRET, SIZE, Fixtures, apart, clone
from emulators import Failed, first_line

SPARE = 32 * MIB  # so much more memory than qemu-img may be used
BEST = ["-W", "-m", "8"]
BENCH = ["bench", "-f", "qcow2", "-c", "200000", "-s", "4096", "-S", "266240"]


@dataclass
class Row:
    """One command. {name} is the file of that name; a file in `fresh` is a copy for each run, as is {out}."""

    title: str
    command: list
    limit: float  # the most wall time, in multiples of qemu-img's
    theirs: list = field(default_factory=list)  # what qemu-img gets besides
    ours: list = field(default_factory=list)  # what we get besides
    fresh: tuple = ()
    beside: tuple = ()  # files that have to be there
    size: float | None = None  # the most that the result may be bigger, as a part of qemu-img's
    machine: object = None  # gives the seconds of the bare work
    repeat: int = 1  # commands a measurement, for those that are over at once

    def names(self):
        words = [word[1:-1] for word in self.command if word.startswith("{")]
        return [*(word for word in words if word != "out"), *self.beside]


def convert(source, *options, to="qcow2"):
    kind = "raw" if source.endswith(".raw") else "qcow2"
    return ["convert", "-f", kind, "-O", to, *options, f"{{{source}}}", "{out}"]


def copy(*names):
    return lambda files: sum(timed(lambda name=name: clone(files[name], files.directory / "machine")) for name in names)


def read(*names):
    """Reads what the files hold and not their holes."""
    def work(files):
        buffer = bytearray(MIB)
        for name in names:
            with open(files[name], "rb", buffering=0) as file:
                at, end = 0, file.seek(0, os.SEEK_END)
                while at < end:
                    try:
                        at = file.seek(at, os.SEEK_DATA)
                    except OSError:
                        break
                    hole = file.seek(at, os.SEEK_HOLE)
                    file.seek(at)
                    while at < hole:
                        at += file.readinto(memoryview(buffer)[:min(MIB, hole - at)])
    return lambda files: timed(lambda: work(files))


def start(_):
    return timed(lambda: [subprocess.run(["true"], check=True) for _ in range(10)]) / 10


def requests(name):
    """200,000 reads of 4 KiB."""
    def work(files):
        with open(files[name], "rb", buffering=0) as file:
            number, end, buffer = file.fileno(), os.fstat(file.fileno()).st_size - 4096, [bytearray(4096)]
            for index in range(200_000):
                os.preadv(number, buffer, index * 266240 % end)
    return lambda files: timed(lambda: work(files))


def clusters(files):
    """The clusters of the disk that are not zeros."""
    disk, zeros = files["disk.raw"].read_bytes(), bytes(65536)
    parts = (disk[at:at + 65536] for at in range(0, len(disk), 65536))
    return [part for part in parts if part != zeros]


def codec(work, prepare=lambda part: part):
    """`work` on every cluster, on as many threads as there are processors."""
    def measure(files):
        parts, count = [prepare(part) for part in clusters(files)], len(os.sched_getaffinity(0))
        threads = [threading.Thread(target=lambda first=first: [work(part) for part in parts[first::count]])
                   for first in range(count)]
        return timed(lambda: ([thread.start() for thread in threads], [thread.join() for thread in threads]))
    return measure


def deflate(level=-1):
    def work(part):
        coder = zlib.compressobj(level, zlib.DEFLATED, -12)
        return coder.compress(part) + coder.flush()
    return work


def inflate(stream):
    return zlib.decompress(stream, -15, 65536)


def zstd(part):
    library, out = ctypes.CDLL("libzstd.so.1"), ctypes.create_string_buffer(70000)
    library.ZSTD_compress.restype = ctypes.c_size_t
    return out.raw[:library.ZSTD_compress(out, ctypes.c_size_t(70000), part, ctypes.c_size_t(len(part)), 3)]


def unzstd(stream):
    library, out = ctypes.CDLL("libzstd.so.1"), ctypes.create_string_buffer(65536)
    library.ZSTD_decompress(out, ctypes.c_size_t(65536), stream, ctypes.c_size_t(len(stream)))


PLAIN = [
    Row(f"convert {title}, their {'best' if theirs else 'default'}", command, limit, theirs=theirs, machine=copy("disk.raw"))
    for title, command in (("raw -> qcow2", convert("disk.raw")), ("qcow2 -> raw", convert("disk.qcow2", to="raw")),
                           ("qcow2 -> qcow2", convert("disk.qcow2")))
    for limit, theirs in ((0.8, []), (1.0, BEST))
]
ZSTD = ["-c", "-o", "compression_type=zstd"]
CODED = [
    Row("convert -c zlib", convert("disk.raw", "-c"), 0.8, theirs=BEST, size=1.02, machine=codec(deflate())),
    Row("convert -c zlib, faster", convert("disk.raw", "-c"), 0.5, theirs=BEST, ours=["--compression-level", "fast"], size=1.1,
        machine=codec(deflate(1))),
    Row("convert -c zstd", convert("disk.raw", *ZSTD), 0.8, theirs=BEST, size=1.02, machine=codec(zstd)),
    Row("convert -c zstd, faster", convert("disk.raw", *ZSTD), 0.65, theirs=BEST, ours=["--compression-level", "fast"],
        size=1.06, machine=codec(zstd)),
    Row("convert zlib -> raw", convert("zlib.qcow2", to="raw"), 0.6, machine=codec(inflate, deflate())),
    Row("convert zstd -> raw", convert("zstd.qcow2", to="raw"), 0.6, machine=codec(unzstd, zstd)),
]
TABLES = [
    Row("check 1 TiB of tables", ["check", "-f", "qcow2", "{tables.qcow2}"], 0.2, machine=read("tables.qcow2")),
    Row("map 1 TiB of tables", ["map", "-f", "qcow2", "--output=json", "{tables.qcow2}"], 0.2, machine=read("tables.qcow2")),
    Row("snapshot -c on it", ["snapshot", "-c", "two", "{tables.qcow2}"], 0.2, fresh=("tables.qcow2",),
        machine=copy("tables.qcow2")),
    Row("snapshot -a on it", ["snapshot", "-a", "one", "{tables-with-snapshot.qcow2}"], 0.2,
        fresh=("tables-with-snapshot.qcow2",), machine=copy("tables.qcow2")),
    Row("snapshot -d on it", ["snapshot", "-d", "one", "{tables-with-snapshot.qcow2}"], 0.2,
        fresh=("tables-with-snapshot.qcow2",), machine=copy("tables.qcow2")),
]
PAIRS = [
    Row("compare raw with qcow2", ["compare", "-f", "raw", "-F", "qcow2", "{disk.raw}", "{disk.qcow2}"], 0.8,
        machine=read("disk.raw", "disk.qcow2")),
    Row("commit 1 GiB", ["commit", "-q", "-f", "qcow2", "{over.qcow2}"], 0.8, fresh=("over.qcow2", "base.qcow2"),
        machine=copy("full.raw")),
    Row("safe rebase of 1 GiB", ["rebase", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "{shown.qcow2}"], 0.8,
        fresh=("shown.qcow2",), beside=("base.qcow2", "full.qcow2"), machine=copy("full.raw")),
    Row("create 100 GiB", ["create", "-q", "-f", "qcow2", "{out}", "100G"], 0.3, machine=start, repeat=10),
    Row("info of it", ["info", "{empty.qcow2}"], 0.3, machine=start, repeat=10),
]
REQUESTS = [
    Row(f"200,000 {kind} of 4 KiB, depth {depth}", [*BENCH, "-d", str(depth), *option, "{full.qcow2}"], 0.7,
        fresh=("full.qcow2",) if option else (), machine=requests("full.qcow2"))
    for kind, option in (("reads", []), ("writes", ["-w"])) for depth in (1, 64)
] + [
    Row(f"the reads through {count} overlays", [*BENCH, "-d", "64", f"{{overlays.{count}}}"], limit, machine=requests("full.qcow2"))
    for count, limit in ((50, 0.5), (200, 0.2))
]
LUKS = [
    Row(f"raw -> LUKS, {ENCRYPTED} MiB",
        ["convert", *SECRET, "-f", "raw", "-O", "qcow2", "-o", ENCRYPT, "{plain.raw}", "{out}"], 1.0, machine=copy("plain.raw")),
    Row(f"LUKS -> raw, {ENCRYPTED} MiB",
        ["convert", *SECRET, "--image-opts", "-O", "raw", "driver=qcow2,file.filename=luks.qcow2,encrypt.key-secret=s", "{out}"],
        1.0, beside=("luks.qcow2",), machine=copy("plain.raw")),
]
GROUPS = [[*PLAIN, *LUKS, *CODED], TABLES, PAIRS, REQUESTS]  # each has files of its own
HEADING = ["whole images", "Cowbox s", "qemu-img s", "of it", "limit", "met", "CPU", "memory", "size", "machine s", "over it"]


def timed(work):
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


@dataclass
class Run:
    """What one command took: seconds on the wall and of all processors, bytes of memory and of the result."""

    wall: float
    cpu: float
    memory: int
    size: int | None


class Workshop:
    """Runs the commands of rows in the directory of their files."""

    def __init__(self, files):
        self.files = files

    def run(self, row, words):
        """One measurement of `row` by a program called with `words`."""
        for name in row.names():
            self.files[name]  # is made if it is not there
        for name in row.fresh:
            clone(self.files[name], self.files.directory / f"master-{name}")
        try:
            runs = [self.run_once(words) for _ in range(row.repeat)]
            return Run(statistics.mean(run.wall for run in runs), statistics.mean(run.cpu for run in runs),
                       max(run.memory for run in runs), runs[-1].size)
        finally:
            for name in row.fresh:
                os.rename(self.files.directory / f"master-{name}", self.files.directory / name)

    def run_once(self, words):
        out = self.files.directory / "out"
        out.unlink(missing_ok=True)
        said = self.files.directory / "said"
        with open(said, "w+b") as output:
            begin = time.monotonic()
            child = subprocess.Popen(words, stdout=output, stderr=output, cwd=self.files.directory)
            _, status, usage = os.wait4(child.pid, 0)
            wall = time.monotonic() - begin
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise Failed(f"{' '.join(words)}: status {child.returncode}: {said.read_text(errors='replace').strip()[-300:]}")
        size = out.stat().st_blocks * 512 if out.exists() else None
        out.unlink(missing_ok=True)
        return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, size)


def bench(cowbox, qemu_img, repeat, wanted):
    """Measures the rows whose title has one of `wanted` in it, all where that is empty."""
    if not shutil.which(qemu_img):
        raise Failed(f"{qemu_img} is missing: apt-get install qemu-utils, or name another with --qemu-img")
    print(first_line([qemu_img, "--version"]))
    for group in GROUPS:
        rows = [row for row in group if not wanted or any(word in row.title for word in wanted)]
        with Fixtures(qemu_img) as files:
            lines = [measure(row, Workshop(files), ([str(cowbox), "img"], [qemu_img]), repeat) for row in rows]
        if lines:
            table.show(HEADING, lines)
            sys.stdout.flush()


def measure(row, shop, programs, repeat):
    cowbox, qemu = programs
    ours, theirs, machine = [], [], []
    words = [word if not word.startswith("{") else str(shop.files.directory / word[1:-1]) for word in row.command]
    for turn in range(repeat):
        table.progress(f"{row.title} {turn + 1}/{repeat}")
        ours.append(shop.run(row, [*cowbox, words[0], *row.ours, *words[1:]]))
        theirs.append(shop.run(row, [*qemu, words[0], *row.theirs, *words[1:]]))
    if row.machine:
        machine.append(apart(lambda: row.machine(shop.files)))
    (shop.files.directory / "machine").unlink(missing_ok=True)
    table.progress("")
    return line(row, ours, theirs, machine)


def line(row, ours, theirs, machine):
    def middle(runs, part):
        return statistics.median(getattr(run, part) for run in runs)
    ratio = middle(ours, "wall") / middle(theirs, "wall")
    memory = max(run.memory for run in ours) - max(run.memory for run in theirs)
    met = ratio <= row.limit and memory <= SPARE
    size = "-"
    if row.size:
        bigger = middle(ours, "size") / middle(theirs, "size")
        met, size = met and bigger <= row.size, f"{bigger:.3f}"
    bare = machine[0] if machine else None
    return [row.title, f"{middle(ours, 'wall'):.3f}", f"{middle(theirs, 'wall'):.3f}", f"{ratio:.2f}x", f"{row.limit:g}x",
            "yes" if met else "no", f"{middle(ours, 'cpu') / max(middle(theirs, 'cpu'), 1e-9):.2f}x", f"{memory / MIB:+.0f} MiB",
            size, f"{bare:.3f}" if bare else "-", f"{middle(ours, 'wall') / bare:.2f}x" if bare else "-"]
