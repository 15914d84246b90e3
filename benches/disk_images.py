"""What the rows of img.py work on, made anew for each run and the same each time: a file system full of files, images
of it in several formats, a big image that is all tables, overlays.

All but the file system is made by qemu-img, so that both programs read what neither can have made for itself.
"""

import multiprocessing
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

from emulators import Failed

MIB = 1 << 20
SIZE = 1024  # MiB of the file system
ENCRYPTED = 512  # MiB of the disk that is encrypted
TEXT, BINARY, RANDOM = 300, 180, 220  # MiB of files of each kind
TIME = 1_600_000_000
POOL = 24 * MIB
ENCRYPT = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
SECRET = ["--object", "secret,id=s,data=secret"]


class Fixtures:
    """Files by name in a directory on tmpfs; each is made when it is first asked for. Gone at the end."""

    def __init__(self, qemu_img):
        self.qemu_img = qemu_img

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="cowbox-img-", dir="/dev/shm"))
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory)

    def __getitem__(self, name):
        path = self.directory / name
        if not path.exists():
            make = getattr(self, "make_" + name.partition(".")[0].replace("-", "_"))
            apart(lambda: make(path))
        return path

    def qemu(self, *arguments):
        command(self.qemu_img, *arguments, directory=self.directory)

    def make_disk(self, path):
        if path.suffix == ".raw":
            file_system(path)
        else:
            self.qemu("convert", "-O", "qcow2", self["disk.raw"], path)

    def make_zlib(self, path):
        self.qemu("convert", "-c", "-W", "-m", "8", "-O", "qcow2", self["disk.raw"], path)

    def make_zstd(self, path):
        self.qemu("convert", "-c", "-W", "-m", "8", "-O", "qcow2", "-o", "compression_type=zstd", self["disk.raw"], path)

    def make_tables(self, path):
        self.qemu("create", "-f", "qcow2", "-o", "preallocation=metadata", path, "1T")

    def make_tables_with_snapshot(self, path):
        clone(self["tables.qcow2"], path)
        self.qemu("snapshot", "-c", "one", path)

    def make_empty(self, path):
        self.qemu("create", "-f", "qcow2", path, "100G")

    def make_full(self, path):
        """1 GiB of random data."""
        numbers = random.Random(7)
        with open(path.with_suffix(".raw"), "wb") as image:
            for _ in range(1024 // 16):
                image.write(numbers.randbytes(16 * MIB))
        if path.suffix == ".qcow2":
            self.qemu("convert", "-O", "qcow2", path.with_suffix(".raw"), path)
            path.with_suffix(".raw").unlink()

    def make_base(self, path):
        self.qemu("create", "-f", "qcow2", path, "1G")

    def make_over(self, path):
        """1 GiB of data over nothing."""
        base = self["base.qcow2"].name
        self.qemu("convert", "-O", "qcow2", "-B", base, "-F", "qcow2", self["full.raw"], path)

    def make_shown(self, path):
        """Nothing over 1 GiB of data."""
        self.qemu("create", "-f", "qcow2", "-b", self["full.qcow2"].name, "-F", "qcow2", path)

    def make_overlays(self, path):
        """As many overlays as the suffix says, the last of which is `path`; the data is in the bottom file."""
        below = self["full.qcow2"].name
        for number in range(int(path.suffix[1:])):
            name = f"{path.name}-{number}"
            self.qemu("create", "-f", "qcow2", "-b", below, "-F", "qcow2", name)
            below = name
        os.rename(self.directory / below, path)

    def make_plain(self, path):
        """What gets encrypted."""
        clone(self["disk.raw"], path)
        os.truncate(path, ENCRYPTED * MIB)

    def make_luks(self, path):
        self.qemu("convert", *SECRET, "-O", "qcow2", "-o", ENCRYPT, self["plain.raw"], path)


def apart(work):
    """The result of `work`, done by a process of its own: a child inherits the peak memory of this one."""
    reader, writer = multiprocessing.Pipe(False)
    process = multiprocessing.get_context("fork").Process(target=lambda: writer.send(work()))
    process.start()
    writer.close()
    try:
        return reader.recv()
    except EOFError as error:
        raise Failed("a part of the benchmark failed") from error
    finally:
        process.join()


def file_system(path):
    """An ext4 with files of text, of records and of random bytes."""
    numbers = random.Random(1)
    with tempfile.TemporaryDirectory(dir=path.parent) as tree:
        for kind, pool, mib, biggest in (("text", text(numbers), TEXT, 1 << 19), ("binary", records(numbers), BINARY, 1 << 22),
                                         ("random", numbers.randbytes(POOL), RANDOM, 1 << 23)):
            left, number = mib * MIB, 0
            while left > 0:
                size = min(left, int(biggest ** numbers.uniform(0.55, 1)))
                start = numbers.randrange(POOL - size)
                folder = Path(tree, f"{kind}-{number // 100}")
                folder.mkdir(exist_ok=True)
                file = folder / str(number)
                file.write_bytes(pool[start:start + size])
                os.utime(file, (TIME, TIME))
                left, number = left - size, number + 1
        identity = "5a1ad000-0000-4000-8000-000000000001"
        command("mke2fs", "-q", "-F", "-t", "ext4", "-U", identity, "-E", f"hash_seed={identity},nodiscard",
                "-d", tree, path, f"{SIZE}M", environment={"E2FSPROGS_FAKE_TIME": str(TIME)})


def text(numbers):
    """Words of a made-up language, the frequent ones short."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(numbers.choices(letters, range(26, 0, -1), k=2 + index.bit_length() * 2 // 3)) for index in range(4000)]
    weights = [1 / (index + 3) for index in range(len(words))]
    parts = numbers.choices(words, weights, k=POOL // 4)
    line = "".join(word + (" " if index % 11 else ",\n") for index, word in enumerate(parts))
    return line.encode()[:POOL]


def records(numbers):
    """Numbers that grow slowly, flags, and some bytes of no pattern, as in programs and data bases."""
    pool, count = bytearray(), 0
    while len(pool) < POOL:
        count += numbers.randrange(64)
        pool += count.to_bytes(4, "little") + bytes(numbers.choices((0, 0, 0, 1, 0x48, 0x8b, 0xff), k=6)) + numbers.randbytes(6)
    return bytes(pool[:POOL])


def clone(source, target):
    command("cp", "--sparse=always", source, target)


def command(*words, directory=None, environment=None):
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, cwd=directory,
                              env={**os.environ, **(environment or {})})
    except FileNotFoundError as error:
        raise Failed(f"{error.filename} is missing: install the package that has it") from error
    if done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
