"""Debian's kernel as a guest of the disk suite: dd with O_DIRECT on the virtio disk, marked as guest/disk.S does.

The kernel and initramfs are those of tests/guests/build; an archive behind the initramfs adds the first process.
"""

from boot import fixture

SCRIPT = """#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/lib/modules/$module"
done < /lib/modules/order
until [ -b /dev/vda ]; do
    usleep 10000
done
printf '\\001'
if dd {operands} bs={bytes} count={count}; then
    printf '\\004'
else
    printf '\\025'
fi
while :; do
    sleep 1000
done
"""


def boot_options(row, scratch):
    """Kernel, initrd and command line of a guest that does the row's transfers."""
    reads, writes = "if=/dev/vda of=/dev/null iflag=direct", "if=/dev/zero of=/dev/vda oflag=direct conv=fsync"
    script = SCRIPT.format(operands=writes if row.write else reads, bytes=row.sectors * 512, count=row.transfers)
    initrd = scratch / "initrd.img"
    archive = member("bench", 0o100755, script.encode()) + member("TRAILER!!!", 0, b"")
    initrd.write_bytes(fixture("amd64/initrd.img").read_bytes() + archive)
    return {"kernel": fixture("amd64/vmlinuz"), "initrd": initrd,
            "append": "console=ttyS0 quiet rdinit=/bench", "memory": 256}


def member(name, mode, data):
    """A file in the "newc" format of cpio: 13 fields of 8 hexadecimal digits, then name and data, padded to 4 bytes."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = "070701" + "".join(f"{field:08x}" for field in fields) + name + "\0"
    return padded(head.encode()) + padded(data)


def padded(data):
    return data + bytes(-len(data) % 4)
