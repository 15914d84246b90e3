"""Drives a running Cowbox by the public client library of QEMU's machine protocol, qemu.qmp.

    qmp.py SCENARIO SOCKET DIRECTORY

Files that Cowbox is asked to write go into the directory. Ends with status 0 if everything is as it
should be; otherwise with a traceback.
"""
import asyncio
import pathlib
import re
import struct
import sys
import zlib

from qemu.qmp import ExecuteError, QMPClient

LIMIT = 60
TEXT_BUFFER = 0xB8000
TEXT_BYTES = 80 * 25 * 2
BIOS = pathlib.Path(__file__).parents[2] / "firmware/bios.bin"


class Machine:
    def __init__(self, client, directory):
        self.client = client
        self.directory = pathlib.Path(directory)

    async def do(self, command, **arguments):
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        return await asyncio.wait_for(self.client.execute(command, arguments), LIMIT)

    async def monitor(self, line):
        return await self.do("human-monitor-command", command_line=line)

    async def type(self, keys):
        for key in keys.split():
            await self.do("send-key", keys=[{"type": "qcode", "data": key}], hold_time=20)

    async def screen(self):
        """The characters in the VGA's text buffer."""
        file = self.directory / "text"
        await self.do("pmemsave", val=TEXT_BUFFER, size=TEXT_BYTES, filename=str(file))
        cells = file.read_bytes()
        assert len(cells) == TEXT_BYTES
        return cells[::2].decode("cp437")

    async def until(self, condition):
        """Waits until the screen is as the condition wants it."""
        for _ in range(LIMIT * 20):
            screen = await self.screen()
            if condition(screen):
                return screen
            await asyncio.sleep(0.05)
        raise AssertionError(f"the screen stays:\n{screen}")

    async def picture(self, name, **arguments):
        file = self.directory / name
        await self.do("screendump", filename=str(file), **arguments)
        return file.read_bytes()

    async def fails(self, command, **arguments):
        try:
            answer = await self.do(command, **arguments)
        except ExecuteError as error:
            return error.error_class
        raise AssertionError(f"{command} {arguments} gave {answer}")


def read_ppm(data):
    header = re.match(rb"P6\n(\d+) (\d+)\n255\n", data)
    width, height = int(header[1]), int(header[2])
    dots = data[header.end():]
    assert len(dots) == width * height * 3
    return width, height, dots


def read_png(data):
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        assert checksum == zlib.crc32(kind + body)
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    width, height, depth, colours, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colours) == (8, 2)
    lines = zlib.decompress(chunks[b"IDAT"])
    step = width * 3 + 1
    assert len(lines) == step * height
    assert all(lines[y * step] == 0 for y in range(height)), "a filter that this does not know"
    return width, height, b"".join(lines[y * step + 1:(y + 1) * step] for y in range(height))


async def queries(machine):
    assert await machine.do("query-status") == {
        "status": "running", "running": True, "singlestep": False}
    assert (await machine.do("query-version"))["qemu"]["major"] >= 7
    names = {command["name"] for command in await machine.do("query-commands")}
    assert {"qmp_capabilities", "stop", "cont", "quit", "send-key", "query-block"} <= names
    assert await machine.do("query-name") == {}

    (disk,) = await machine.do("query-block")
    assert disk["device"] == "ide0-hd0" and not disk["removable"] and not disk["locked"]
    inserted = disk["inserted"]
    assert inserted["file"].endswith("demo.qcow2")
    assert (inserted["drv"], inserted["ro"]) == ("qcow2", False)
    assert inserted["backing_file_depth"] == 1
    backing = inserted["image"]["backing-image"]
    assert backing["virtual-size"] == inserted["image"]["virtual-size"] == 16 << 20
    assert backing["format-specific"]["data"]["compat"] == "1.1"


async def stop_and_type(machine):
    """What is typed while the machine is stopped appears when it goes on."""
    await machine.until(lambda screen: "cow> " in screen)
    with machine.client.listener(("STOP", "RESUME")) as events:
        await machine.do("stop")
        assert (await events.get())["event"] == "STOP"
        assert (await machine.do("query-status"))["status"] == "paused"
        before = await machine.screen()
        registers = await machine.monitor("info registers")
        await machine.type("e c h o spc m o o")
        await asyncio.sleep(0.3)
        assert await machine.screen() == before
        assert await machine.monitor("info registers") == registers
        await machine.do("cont")
        assert (await events.get())["event"] == "RESUME"
    await machine.until(lambda screen: "cow> echo moo" in screen)


async def pictures(machine):
    await machine.do("stop")
    ppm = read_ppm(await machine.picture("screen.ppm"))
    png = read_png(await machine.picture("screen.png", format="png"))
    assert ppm == png and ppm[:2] == (720, 400)
    assert len(set(ppm[2])) > 1, "the picture is all of one colour"
    await machine.do("cont")
    await machine.type("x")
    await machine.until(lambda screen: "moox" in screen)
    assert read_ppm(await machine.picture("screen.ppm")) != ppm
    await machine.type("backspace ret")


async def human_monitor(machine):
    registers = await machine.monitor("info registers")
    assert re.search(r"^EIP=[0-9a-f]{8} EFL=[0-9a-f]{8} \[.{7}\] CPL=0", registers, re.M)
    assert re.search(r"^CR0=[0-9a-f]{8} CR2=", registers, re.M)
    assert re.search(r"^CS =[0-9a-f]{4} .* CS32 \[", registers, re.M)
    assert await machine.monitor("info status") == "VM status: running\r\n"
    assert "sendkey" in await machine.monitor("help")
    assert "nonsense" in await machine.monitor("nonsense")
    for key in ("m", "o", "0x18", "shift-1", "ret"):
        assert await machine.monitor(f"sendkey {key} 20") == ""
    await machine.until(lambda screen: "moo!" in screen)
    file = machine.directory / "monitor"
    assert await machine.monitor(f'screendump "{file}"') == ""
    read_ppm(file.read_bytes())
    assert await machine.monitor(f'pmemsave 0xffff0 16 "{file}"') == ""
    assert file.read_bytes() == BIOS.read_bytes()[-16:]


async def errors(machine):
    assert (await machine.fails("nonsense")) == "CommandNotFound"
    assert (await machine.fails("qmp_capabilities")) == "CommandNotFound"
    for command, arguments in [
        ("send-key", {}),
        ("send-key", {"keys": [{"type": "qcode", "data": "nokey"}]}),
        ("screendump", {"filename": str(machine.directory / "no" / "such")}),
        ("screendump", {"filename": "x", "format": "gif"}),
        ("pmemsave", {"val": 0, "size": 1 << 63, "filename": "x"}),
        ("pmemsave", {"val": -1, "size": 1, "filename": "x"}),
        ("stop", {"extra": 1}),
    ]:
        assert (await machine.fails(command, **arguments)) == "GenericError"


async def reset(machine):
    with machine.client.listener("RESET") as events:
        await machine.do("system_reset")
        event = await asyncio.wait_for(events.get(), LIMIT)
        assert event["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
    await machine.until(lambda screen: "moo" not in screen)
    await machine.until(lambda screen: "cow> " in screen)
    with machine.client.listener("RESET") as events:
        await machine.type("r e b o o t ret")
        event = await asyncio.wait_for(events.get(), LIMIT)
        assert event["data"] == {"guest": True, "reason": "guest-reset"}
    await machine.until(lambda screen: "cow> " in screen)


async def power_button(machine):
    with machine.client.listener("POWERDOWN") as events:
        await machine.do("system_powerdown")
        await asyncio.wait_for(events.get(), LIMIT)


async def shut_down(machine, command, **data):
    with machine.client.listener("SHUTDOWN") as events:
        await command
        event = await asyncio.wait_for(events.get(), LIMIT)
        assert event["data"] == data, event


async def control(machine):
    await queries(machine)
    await stop_and_type(machine)
    await pictures(machine)
    await human_monitor(machine)
    await errors(machine)
    await reset(machine)
    # The demo guest does not look at the button.
    await power_button(machine)
    await shut_down(machine, machine.do("quit"), guest=False, reason="host-qmp-quit")


async def powerdown(machine):
    """Linux hears of the button, and switches the machine off."""
    await shut_down(machine, power_button(machine), guest=True, reason="guest-shutdown")


async def main(scenario, socket, directory):
    client = QMPClient("cowbox")
    await client.connect(socket)
    try:
        await scenario(Machine(client, directory))
    finally:
        try:
            await client.disconnect()
        except EOFError:
            # The machine was faster.
            pass


if __name__ == "__main__":
    scenarios = {"control": control, "powerdown": powerdown}
    asyncio.run(main(scenarios[sys.argv[1]], *sys.argv[2:]))
