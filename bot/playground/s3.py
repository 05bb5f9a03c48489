"""A private S3 server on this machine: rclone's, which verifies signatures. One folder is all it leaves."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.errors import UserError
from bot.tasks import Tasks

START_S = 20.0
STOP_S = 5.0
LAST_LINES = 5  # of what it said, told when it does not start

_ADDRESS = re.compile(rb"Starting s3 server on \[(http://127\.0\.0\.1:\d+)/\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateS3:
    """Where it is and who may come in. Objects are the files below *folder*/*bucket*; use path style."""

    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str
    folder: Path
    pid: int


@asynccontextmanager
async def private_s3(
    folder: Path,
    *,
    bucket: str = "incident-evidence",
    access_key: str = "playground",
    secret_key: str = "playground-secret",  # noqa: S107  # opens a server on loopback that lives as long as its test
    port: int = 0,
) -> AsyncIterator[PrivateS3]:
    """Run the server on *port* (0: a free one) of loopback with *folder* as its disk and *bucket* in it; end it on leaving.

    Raises UserError when rclone is missing or does not start.
    """
    program = _rclone()
    await asyncio.to_thread((folder / bucket).mkdir, mode=0o700, parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", "", str(folder),
        env=_environment(access_key, secret_key),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for whoever runs it, who then ends it in order
    )  # fmt: skip
    tasks = Tasks(on_error=lambda _name, _error: None)
    try:
        assert process.stderr is not None  # noqa: S101  # it is a pipe, as asked for above
        endpoint_url = await _address(process.stderr)
        tasks.start(_drain(process.stderr), name="s3 server's messages")
        yield PrivateS3(
            endpoint_url=endpoint_url,
            bucket=bucket,
            access_key=access_key,
            secret_key=secret_key,
            folder=folder,
            pid=process.pid,
        )
    finally:
        await _end(process)
        await tasks.cancel(STOP_S)


def _rclone() -> str:
    # The wheel's own program comes first: Debian's rclone is older than `serve s3` as it is used here.
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if program := shutil.which("rclone", path=path):
        return program
    raise UserError(
        "The private S3 server needs the program rclone, which is not installed.",
        cure="Install it with: pip install 'capturebot[playground]'",
    )


def _environment(access_key: str, secret_key: str) -> dict[str, str]:
    """Return this process's environment without settings of rclone, and with the key where `ps` does not show it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
    # A real server knows the ETag of an object; rclone reads all of it at the first look, for MD5 by default.
    return kept | {"RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"', "RCLONE_ETAG_HASH": "xxh3"}


async def _address(messages: asyncio.StreamReader) -> str:
    said: list[str] = []
    try:
        async with asyncio.timeout(START_S):
            async for line in messages:
                if found := _ADDRESS.search(line):
                    return found.group(1).decode()
                said.append(line.decode(errors="replace").strip())
    except TimeoutError:
        said.append(f"not ready within {START_S:.0f} s")
    raise UserError(f"The private S3 server did not start: {' '.join(said[-LAST_LINES:])}")


async def _drain(messages: asyncio.StreamReader) -> None:
    """Read what it says, so that it never waits for a reader."""
    while await messages.read(65536):
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
