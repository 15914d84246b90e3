#!/usr/bin/env python3
"""Makes the bytes of an option ROM add up to 0 by its last byte (PCI Local Bus 2.1, 6.3.1.1)."""
import sys

path = sys.argv[1]
rom = bytearray(open(path, "rb").read())
rom[-1] = -sum(rom[:-1]) & 0xFF
open(path, "wb").write(rom)
