"""A private, real OpenSSH server with keys of its own, on loopback, ended with its context."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import psutil

from bot.errors import UserError
from bot.model import SecretRef, Ssh

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.02
PORT_ATTEMPTS = 3  # somebody may take a free port before sshd does
LOG_TAIL_BYTES = 2000
PRIVILEGE_SEPARATION = Path("/run/sshd")  # made by the service elsewhere; sshd refuses to start for root without it

CONFIG = """\
ListenAddress {host}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowUsers {user}
MaxSessions {max_sessions}
MaxStartups {max_startups}
# Else bash reads ~/.bashrc for every command, which can take longer than the command.
SetEnv SHLVL=2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateSshd:
    """A running server: *user* logs in with *key*, and *known_hosts* knows its key. *pid* is the listener's."""

    host: str
    port: int
    user: str
    known_hosts: Path
    key: Path
    pid: int

    @property
    def ssh(self) -> Ssh:
        """How a target reaches it."""
        return Ssh(
            host=self.host,
            port=self.port,
            user=self.user,
            known_hosts=self.known_hosts,
            key=SecretRef(f"file:{self.key}"),
        )


@asynccontextmanager
async def private_sshd(
    folder: Path,
    *,
    user: str | None = None,
    max_sessions: int = 10,
    max_startups: str = "10:30:100",
    options: Mapping[str, str] | None = None,
) -> AsyncIterator[PrivateSshd]:
    """Run a server whose files lie in *folder*, which is made when it is missing and kept at the end.

    Only *user* may log in: by default whoever runs this; another one takes root. *options* are further
    lines of sshd_config. What was started in its sessions may outlive it. Raises UserError when sshd
    is not installed or does not start.
    """
    program = shutil.which("sshd", path=f"/usr/sbin:/usr/local/sbin:{os.environ.get('PATH', '')}")
    if program is None:
        raise UserError("sshd is not installed.", cure="On Debian: apt-get install openssh-server")
    user = user or pwd.getpwuid(os.geteuid()).pw_name
    folder, host_key = _lay_out(folder)
    settings = {"user": user, "max_sessions": max_sessions, "max_startups": max_startups, "folder": folder}
    process, port = await _start(program, folder, settings, options or {})
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[{HOST}]:{port} {host_key}\n")
    try:
        yield PrivateSshd(host=HOST, port=port, user=user, known_hosts=known_hosts, key=folder / "key", pid=process.pid)
    finally:
        await _end(process)


def _lay_out(folder: Path) -> tuple[Path, str]:
    """Make the folders and the host's and the user's keys; the folder's full path and the host's public key."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    public = {}
    for name in ("host_key", "key"):
        path = folder / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        public[name] = asyncssh.read_private_key(path).export_public_key().decode().strip()
    (folder / "authorized_keys").write_text(public["key"] + "\n")
    return folder, public["host_key"]


async def _start(
    program: str, folder: Path, settings: Mapping[str, object], options: Mapping[str, str]
) -> tuple[asyncio.subprocess.Process, int]:
    config, log = folder / "sshd_config", folder / "sshd.log"
    for _ in range(PORT_ATTEMPTS):
        port = _free_port()
        # sshd takes the first of two lines that set the same.
        lines = [f"{name} {value}\n" for name, value in options.items()]
        config.write_text("".join(lines) + CONFIG.format(host=HOST, port=port, **settings))
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                program, "-D", "-e", "-f", config, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        if await _answers(process, port):
            return process, port
    said = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
    raise UserError(f"sshd did not start: {said}", cure=f"Try it by hand: {program} -D -e -f {config}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def _answers(process: asyncio.subprocess.Process, port: int) -> bool:
    """Whether it greets within its time; False ends it."""
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while process.returncode is None:
                try:
                    reader, writer = await asyncio.open_connection(HOST, port)
                except OSError:
                    await asyncio.sleep(POLL_S)
                    continue
                greeting = await reader.readline()
                writer.close()
                if greeting.startswith(b"SSH-"):
                    return True
    except TimeoutError:
        pass
    await _end(process)
    return False


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the listener and the servers of open sessions, which would outlive it."""
    servers = []
    with suppress(psutil.NoSuchProcess):
        listener = psutil.Process(process.pid)
        servers = [listener, *(child for child in listener.children(recursive=True) if "sshd" in child.name())]
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for server in servers:
            with suppress(psutil.NoSuchProcess):
                server.send_signal(sign)
                server.send_signal(signal.SIGCONT)  # one that a test stopped hears nothing else
        for _ in range(int(STOP_TIMEOUT_S / POLL_S)):
            if not any(map(_lives, servers)):
                await process.wait()
                return
            await asyncio.sleep(POLL_S)


def _lives(server: psutil.Process) -> bool:
    try:
        return server.is_running() and server.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
