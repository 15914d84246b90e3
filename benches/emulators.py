"""Cowbox, QEMU and Bochs as processes: how each is started on a disk or a ROM, its serial line, its CPU time.

The serial line of each is a FIFO, so that a byte can be timed as it comes. CPU time is that of all threads of the
emulator's process: on a busy machine it says more than the clock on the wall.
"""

import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CYLINDER = 16 * 63 * 512


class Failed(Exception):
    """An emulator that did not do what was asked; the text says why, in one line."""


@dataclass
class Guest:
    """What to start: a disk image, a BIOS, or a kernel."""

    memory: int = 64  # MiB
    disk: Path | None = None
    format: str = "raw"  # or qcow2, which Bochs does not read
    bus: str = "ide"  # or virtio, which Bochs does not have
    keep: bool = False  # what the guest writes goes into the image itself
    bios: Path | None = None
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""


class Cowbox:
    name = "Cowbox"

    def __init__(self, program):
        self.program = str(program)

    def version(self):
        return f"{self.program}"

    def command(self, guest, scratch):
        command = [self.program, "run", "-m", f"{guest.memory}M", "--display", "none",
                   "--serial", f"file:{scratch / 'com1'}", "--no-reboot"]
        if guest.disk:
            snapshot = "" if guest.keep else ",snapshot=on"
            command += ["--disk", f"{guest.disk},format={guest.format},bus={guest.bus}{snapshot}"]
        if guest.bios:
            command += ["--bios", str(guest.bios)]
        return command + kernel_options(guest, "--")


class Qemu:
    name = "QEMU"
    program = "qemu-system-x86_64"

    def version(self):
        return first_line([self.program, "--version"])

    def command(self, guest, scratch):
        command = [self.program, "-accel", "tcg", "-machine", "pc", "-m", f"{guest.memory}M", "-display", "none",
                   "-monitor", "none", "-net", "none", "-no-reboot", "-serial", f"file:{scratch / 'com1'}"]
        if guest.disk:
            snapshot = "off" if guest.keep else "on"
            command += ["-drive", f"file={guest.disk},format={guest.format},if={guest.bus},snapshot={snapshot}"]
        if guest.bios:
            command += ["-bios", str(guest.bios)]
        return command + kernel_options(guest, "-")


class Bochs:
    """Debian's build: its debugger is compiled in, which costs it speed and cannot be turned off."""

    name = "Bochs"
    program = "bochs"

    def version(self):
        return "Bochs 2.7, Debian's build with the debugger compiled in"

    def command(self, guest, scratch):
        if guest.kernel:
            raise Failed("Bochs has no direct kernel boot")
        if guest.bus != "ide":
            raise Failed(f"Bochs has no {guest.bus}")
        bios = guest.bios or "/usr/share/bochs/BIOS-bochs-latest"
        lines = [
            f"romimage: file={bios}",
            "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest",
            f"memory: guest={guest.memory}, host={guest.memory}",
            "cpu: model=corei5_lynnfield_750, ips=50000000, reset_on_triple_fault=0",
            "clock: sync=none",
            "vga: update_freq=1",
            f"com1: enabled=1, mode=file, dev={scratch / 'com1'}",
            f"log: {scratch / 'bochs.log'}",
            "debugger_log: -",
            "error: action=report",
            "panic: action=fatal",
            "info: action=ignore",
            "display_library: term",
        ]
        if guest.disk:
            mode = "mode=flat" if guest.keep else f"mode=volatile, journal={scratch / 'redolog'}"
            cylinders = -(-guest.disk.stat().st_size // CYLINDER)
            lines += [
                "boot: disk",
                f"ata0-master: type=disk, {mode}, path={guest.disk}, cylinders={cylinders}, heads=16, spt=63",
            ]
        (scratch / "bochsrc").write_text("".join(line + "\n" for line in lines))
        (scratch / "go").write_text("c\n")
        return [self.program, "-q", "-f", str(scratch / "bochsrc"), "-rc", str(scratch / "go")]


def kernel_options(guest, dash):
    if not guest.kernel:
        return []
    return [f"{dash}kernel", str(guest.kernel), f"{dash}initrd", str(guest.initrd), f"{dash}append", guest.append]


def first_line(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def found(cowbox):
    """The emulators of a run, and what is missing. Cowbox must be there; a peer that is not is named."""
    if not os.access(cowbox, os.X_OK):
        raise Failed(f"{cowbox} is missing: run cargo build --release, or name another with --cowbox")
    emulators, missing = [Cowbox(cowbox)], []
    for peer, package in ((Bochs(), "bochs bochs-term bochsbios vgabios"), (Qemu(), "qemu-system-x86")):
        if shutil.which(peer.program):
            emulators.append(peer)
        else:
            missing.append(f"{peer.program} is missing: apt-get install {package}")
    return emulators, missing


class Process:
    """A running emulator; as a context manager it is killed, and its files removed, at the end."""

    def __init__(self, emulator, guest):
        self.scratch = Path(tempfile.mkdtemp(prefix="cowbox-bench-"))
        self.child = self.fifo = self.terminal = None
        self.unmatched = b""  # what `wait_for` has read and not used
        try:
            self.start(emulator, guest)
        except BaseException:
            self.close()
            raise

    def start(self, emulator, guest):
        os.mkfifo(self.scratch / "com1")
        command = emulator.command(guest, self.scratch)
        self.fifo = os.open(self.scratch / "com1", os.O_RDONLY | os.O_NONBLOCK)
        # Bochs draws on a terminal, and only there; nobody reads it, its driver discards.
        self.terminal, slave = os.openpty()
        self.output = open(self.scratch / "output", "w+b")
        self.started = time.monotonic()
        on_terminal = isinstance(emulator, Bochs)
        self.child = subprocess.Popen(
            command,
            stdin=slave if on_terminal else subprocess.DEVNULL,
            stdout=slave if on_terminal else self.output,
            stderr=self.output,
            env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.child:
            self.child.kill()
            self.child.wait()
        for descriptor in (self.fifo, self.terminal):
            if descriptor is not None:
                os.close(descriptor)
        shutil.rmtree(self.scratch)

    def cpu_seconds(self):
        """CPU time of all its threads so far: the process's CPU-time clock (clock_getcpuclockid(3))."""
        return time.clock_gettime((~self.child.pid << 3) | 2)

    def resident_bytes(self):
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def read(self, limit):
        """The next bytes on its serial line; Failed when it ends or says nothing for `limit` seconds."""
        end = time.monotonic() + limit
        poll = select.poll()
        poll.register(self.fifo, select.POLLIN)
        poll.register(self.terminal, select.POLLIN)
        while (left := end - time.monotonic()) > 0:
            ready = dict(poll.poll(min(left, 0.2) * 1000))
            if ready.get(self.terminal, 0) & select.POLLIN:
                os.read(self.terminal, 65536)
            if ready.get(self.fifo, 0) & select.POLLIN:
                return os.read(self.fifo, 65536)
            if self.child.poll() is not None:
                raise Failed(self.last_words())
            if any(event & select.POLLHUP for event in ready.values()):
                time.sleep(0.0005)
        raise Failed(f"nothing on the serial line for {limit:.0f} s")

    def wait_for(self, text, limit):
        """Reads the serial line up to `text`; Failed when nothing comes for `limit` seconds."""
        while text not in self.unmatched:
            self.unmatched += self.read(limit)
        self.unmatched = self.unmatched.partition(text)[2]

    def last_words(self):
        """Why it ended: the first and last line on standard error, or Bochs's panic."""
        said = (self.scratch / "output").read_text(errors="replace")
        log = self.scratch / "bochs.log"
        if log.exists():
            said = "".join(line for line in log.read_text(errors="replace").splitlines(True) if "PANIC" in line) or said
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        words = ": ".join(dict.fromkeys(lines[:1] + lines[-1:])) or "no message"
        return f"ended with status {self.child.returncode}: {words}"
