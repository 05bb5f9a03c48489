r"""A Windows host without Windows: Wine behind an SSH server that hands commands on as OpenSSH for Windows does.

Real: cmd.exe's reading of the command line, processes and their trees, jobs, limits, the C runtime's splitting of
arguments, files over SFTP. Not real: powershell.exe, whose place tests/wine/powershell.c takes; what stands for a script
is put into C:\standins. Nobody has run any of this on Windows itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from bot.model import SecretRef, Ssh, Target, Windows, WindowsShell
from bot.transports.powershell import WHICH_SHELL

HERE = Path(__file__).parent
COMPILER = "x86_64-w64-mingw32-gcc"
FLAGS = {
    "sshd": [],
    "probe": ["-municode", "-lshell32"],
    "powershell": ["-municode", "-lcrypt32"],
    "procdump": ["-municode", "-ldbghelp"],
}
PLACES = {"procdump": "tools/procdump64"}  # in a folder that no PATH names
MAKE_S = 120.0
PIECE_BYTES = 65536

Source = asyncio.StreamReader | asyncssh.SSHReader[bytes]
Sink = asyncio.StreamWriter | asyncssh.SSHWriter[bytes]
# No browser, no .NET, no menus; Wine says nothing of its own on a program's stderr.
ENVIRONMENT = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree=d;mshtml=d;winemenubuilder.exe=d"}


@dataclass(frozen=True, slots=True)
class Prefix:
    """An installed Wine, and its drive C."""

    folder: Path

    @property
    def drive(self) -> Path:
        """Where C: lies."""
        return self.folder / "drive_c"

    @property
    def environment(self) -> dict[str, str]:
        """What Wine is run with: nothing of ours that it would hand on."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "WINEPREFIX": str(self.folder), **ENVIRONMENT}

    def run(self, *argv: str | Path) -> bytes:
        """What a program prints."""
        done = subprocess.run(["wine", *argv], env=self.environment, capture_output=True, timeout=MAKE_S, check=True)
        return done.stdout


def programs() -> None:
    """Skip where what is needed is not installed."""
    if missing := [name for name in ("wine", COMPILER) if not shutil.which(name)]:
        packages = "apt-get install --no-install-recommends wine wine64 gcc-mingw-w64-x86-64"
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"{' and '.join(missing)} are not installed: {packages}")


@contextmanager
def wine() -> Iterator[Prefix]:
    """A prefix with the programs of this folder, made once beside the tests' own Python and kept for the next run.

    Tests of several files may want it at once: it is made under a lock, and Wine's server ends with the last of them.
    """
    programs()
    place = Path(sys.prefix) / "wine"
    place.mkdir(mode=0o700, exist_ok=True)
    prefix = Prefix(place / "prefix")
    with (place / "making").open("w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        _make(place, prefix)
    with (place / "using").open("w") as using:
        fcntl.flock(using, fcntl.LOCK_SH)
        subprocess.run(["wineserver", "-p"], env=prefix.environment, check=False)  # stays, so that each start is quick
        # Services that the first program brings up keep what it had open, so that is nothing of a test's.
        subprocess.run(["wine", "cmd.exe", "/c", "ver"], env=prefix.environment, stdout=subprocess.DEVNULL, check=True)
        try:
            yield prefix
        finally:
            with suppress(BlockingIOError):
                fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
                subprocess.run(["wineserver", "-k"], env=prefix.environment, check=False, timeout=MAKE_S)


def _make(place: Path, prefix: Prefix) -> None:
    if not (place / "installed").exists():
        shutil.rmtree(prefix.folder, ignore_errors=True)
        subprocess.run(["wineboot", "-i"], env=prefix.environment, capture_output=True, timeout=MAKE_S, check=True)
        (prefix.drive / "standins").mkdir()
        (place / "installed").touch()
    for name, flags in FLAGS.items():
        source, program = HERE / f"{name}.c", prefix.drive / f"{PLACES.get(name, f'windows/{name}')}.exe"
        program.parent.mkdir(exist_ok=True)
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run([COMPILER, "-O1", "-Wall", "-Werror", "-o", program, source, *flags], check=True)


@dataclass(frozen=True, slots=True)
class WindowsHost:
    """A host that is up: its target, and the connections that a test may break."""

    prefix: Prefix
    temp: Path  # where its steps have their scratch folders
    target: Target
    connections: list[asyncssh.SSHServerConnection]
    children: list[asyncio.subprocess.Process]


@asynccontextmanager
async def windows_host(
    prefix: Prefix, folder: Path, shell: WindowsShell = WindowsShell.CMD
) -> AsyncIterator[WindowsHost]:
    """An SSH server in front of *prefix*. PowerShell as the default shell only passes on what cmd.exe is asked then."""
    temp = Path(tempfile.mkdtemp(dir=prefix.drive / "windows" / "temp"))
    keys = {name: asyncssh.generate_private_key("ssh-ed25519") for name in ("host", "key")}
    connections: list[asyncssh.SSHServerConnection] = []
    children: list[asyncio.subprocess.Process] = []

    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

    async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        environment = {**prefix.environment, "SESSION_TEMP": f"C:\\windows\\temp\\{temp.name}"}
        await _hand_on(process, environment, shell, children)

    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[keys["host"]],
        authorized_client_keys=asyncssh.import_authorized_keys(keys["key"].export_public_key().decode()),
        process_factory=handle,
        sftp_factory=lambda channel: _Files(channel, prefix),
        encoding=None,
    )
    port = listener.get_port()
    (folder / "known_hosts").write_bytes(f"[127.0.0.1]:{port} ".encode() + keys["host"].export_public_key())
    keys["key"].write_private_key(folder / "key")
    (folder / "key").chmod(0o600)
    key = SecretRef(f"file:{folder / 'key'}")
    ssh = Ssh(host="127.0.0.1", port=port, user="capture", known_hosts=folder / "known_hosts", key=key)
    try:
        yield WindowsHost(prefix, temp, Target(name="win1", windows=Windows(ssh=ssh)), connections, children)
    finally:
        listener.close()
        await listener.wait_closed()
        for child in children:
            with suppress(ProcessLookupError):
                child.kill()
            child._transport.close()  # type: ignore[attr-defined]  # its own children may hold the pipes, for which it would wait
            await child.wait()
        shutil.rmtree(temp)


async def _hand_on(
    process: asyncssh.SSHServerProcess[bytes],
    environment: dict[str, str],
    shell: WindowsShell,
    children: list[asyncio.subprocess.Process],
) -> None:
    """Run a command; where the connection goes, it runs on, as on Windows."""
    command = process.command or ""
    if shell is WindowsShell.POWERSHELL:
        if command == WHICH_SHELL:
            process.stdout.write(b"%OS%\r\nC:\\Windows\\System32\\WindowsPowerShell\\v1.0\r\n")
            process.exit(0)
            return
        assert command.startswith("$input | ")
        command = command.removeprefix("$input | ")
    child = await asyncio.create_subprocess_exec(
        "wine",
        "C:\\windows\\sshd.exe",
        env={**environment, "RAW_COMMAND": command},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    children.append(child)
    assert child.stdin
    assert child.stdout
    assert child.stderr
    await asyncio.gather(
        _copy(process.stdin, child.stdin),
        _copy(child.stdout, process.stdout),
        _copy(child.stderr, process.stderr),
        return_exceptions=True,  # whoever went away
    )
    process.exit(await child.wait())


async def _copy(source: Source, sink: Sink) -> None:
    while data := await source.read(PIECE_BYTES):
        sink.write(data)
        await sink.drain()
    sink.write_eof()


class _Files(asyncssh.SFTPServer):
    """SFTP as Windows has it: drives are folders of the root."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], prefix: Prefix) -> None:
        super().__init__(channel)
        self._drive = prefix.drive

    def map_path(self, path: bytes) -> bytes:
        """``/C:/a`` is on drive C."""
        if path[:4].lower() != b"/c:/":
            raise asyncssh.SFTPNoSuchFile("there is no such drive")
        return bytes(self._drive) + path[3:]
