"""Files of Windows hosts, over SFTP: read while others write them, a log's end as a step of its own.

Nothing runs on the host for it but sshd's own file server, which ends with the connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import cast

import asyncssh

from bot.errors import StepFailed
from bot.model import Log, Outcome, Ssh
from bot.transports import Piece
from bot.transports.sshpool import SshPool
from bot.transports.windows_text import Unifier, encoding_of

CHUNK_BYTES = 1024 * 1024  # asked for at once, in parts that are under way together
HEAD_BYTES = 2  # which tell UTF-16
LINE_BYTES = 64 * 1024  # looked through for the beginning of a line
ASK_S = 10.0  # for a host to say what a file is

LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ConnectionLost, ConnectionError)


def sftp_path(path: str) -> str:
    r"""A path of Windows as its SFTP server has it: ``C:\a b`` is ``/C:/a b``. Raises StepFailed for one without a drive."""
    if not re.match(r"[A-Za-z]:[\\/]", path):
        raise StepFailed(f"{path} names no drive; write the whole path, such as C:\\logs\\app.log.")
    return "/" + path.replace("\\", "/")


class FileReader:
    """Reads one file from *start* to the size that it had at the beginning, so that one that grows has an end."""

    def __init__(self, host: str, path: str, file: asyncssh.SFTPClientFile, size: int) -> None:
        self.size_bytes = size
        self.read_bytes = 0
        self._host = host
        self._path = path
        self._file = file

    async def close(self) -> None:
        """Let go of the file, so that it can be deleted."""
        try:
            async with asyncio.timeout(ASK_S):
                await self._file.close()
        except (TimeoutError, asyncssh.Error, OSError):
            pass  # it is let go of with the session

    async def at(self, start: int, size: int, *, until: float) -> bytes:
        """At most *size* bytes that begin at *start*. Raises StepFailed, TIMED_OUT at *until* on the loop's clock."""
        try:
            async with asyncio.timeout_at(until):
                return cast("bytes", await self._file.read(min(size, self.size_bytes - start), start))
        except TimeoutError:
            reason = f"{self._path} on {self._host} could not be read to its end in time; what had come is kept."
            raise StepFailed(reason, outcome=Outcome.TIMED_OUT) from None
        except (asyncssh.Error, OSError) as error:
            raise refusal(error, self._host, self._path) from error

    async def chunks(self, start: int, *, until: float) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from *start* on. Raises as `at` does."""
        while start < self.size_bytes:
            chunk = await self.at(start, CHUNK_BYTES, until=until)
            if not chunk:  # it was made shorter
                return
            start += len(chunk)
            self.read_bytes += len(chunk)
            yield chunk


async def open_file(sftp: asyncssh.SFTPClient, host: str, path: str) -> FileReader:
    """A reader of the file at *path*, as Windows writes it. Raises StepFailed with host, cause and cure."""
    where = sftp_path(path)
    try:
        async with asyncio.timeout(ASK_S):
            if (await sftp.stat(where)).type != asyncssh.FILEXFER_TYPE_REGULAR:
                raise StepFailed(f"{host}: {path} is not a regular file.")
            file = await sftp.open(where, "rb", encoding=None)
            size = (await file.stat()).size or 0
    except (asyncssh.Error, OSError) as error:
        raise refusal(error, host, path) from error
    except TimeoutError:
        raise StepFailed(f"{host} did not open {path} within {ASK_S:g} s.", outcome=Outcome.TIMED_OUT) from None
    return FileReader(host, path, file, size)


def refusal(error: Exception, host: str, path: str) -> StepFailed:
    """Why a file could not be had, in words that lead to a cure."""
    match error:
        case asyncssh.SFTPNoSuchFile() | asyncssh.SFTPNoSuchPath():
            return StepFailed(f"{host}: {path} does not exist, or our account may not look there.")
        case asyncssh.SFTPPermissionDenied():
            return StepFailed(f"{host}: {path} may not be read by our account; give it the right to read it.")
        case asyncssh.SFTPFailure():
            return StepFailed(f"{host}: {path} cannot be read; another program may have locked it.")
        case _ if isinstance(error, LOST):
            return StepFailed(f"The connection to {host} was lost while {path} was read.", outcome=Outcome.LOST)
        case _:
            return StepFailed(f"{host}: {path} cannot be read: {error}.")


class LogExecution:
    """A log file of a Windows host on its way. Fulfils `bot.transports.Execution`."""

    def __init__(self, host: str, ssh: Ssh, pool: SshPool, log: Log, *, timeout_s: float) -> None:
        self.exit_status: int | None = None
        self.remark = ""
        self._host = host
        self._ssh = ssh
        self._pool = pool
        self._path = log.path or ""
        self._last_bytes = log.last_bytes
        self._timeout_s = timeout_s
        self._way = AsyncExitStack()
        self._text = Unifier()
        self._file: FileReader | None = None
        self._ended = False
        self._stopped = False

    @property
    def command(self) -> str:
        """What it does, as people would."""
        last = "" if self._last_bytes is None else f", its last {self._last_bytes} bytes"
        return f"read {self._path} over SFTP{last}"

    async def begin(self) -> None:
        """Open the file. Raises StepFailed."""
        try:
            sftp = await self._way.enter_async_context(self._pool.files(self._ssh))
            self._file = await open_file(sftp, self._host, self._path)
        except BaseException:
            await self._way.aclose()
            raise

    async def output(self) -> AsyncGenerator[Piece, None]:
        """Yield the text, from the beginning of a line on."""
        if self._file is None:
            return
        until = asyncio.get_running_loop().time() + self._timeout_s
        try:
            start = await self._start(self._file, until=until)
            async for chunk in self._file.chunks(start, until=until):
                if text := self._text.feed(chunk):
                    yield text
            if rest := self._text.finish():
                yield rest
            self._ended = not self._stopped
        except StepFailed:
            if not self._stopped:
                raise
        finally:
            self.remark = self._text.remark(self._path)
            await self._way.aclose()
        if self._stopped:
            raise StepFailed(f"Reading {self._path} on {self._host} was stopped.", outcome=Outcome.STOPPED)

    async def _start(self, file: FileReader, *, until: float) -> int:
        """Where the wanted part begins; the text's encoding is known from the file's own beginning."""
        encoding = encoding_of(await file.at(0, HEAD_BYTES, until=until)) if file.size_bytes else "utf-8"
        start = 0 if self._last_bytes is None else max(file.size_bytes - self._last_bytes, 0)
        if start == 0:
            return 0
        self._text = Unifier(encoding)
        unit = 1 if encoding == "utf-8" else 2
        start -= start % unit
        end_of_line = "\n".encode(encoding)
        before = await file.at(start - unit, LINE_BYTES, until=until)
        at = before.find(end_of_line)
        while at > 0 and at % unit:
            at = before.find(end_of_line, at + 1)
        return start if at < 0 else start - unit + at + unit

    async def stop(self) -> str:
        """Leave the file alone."""
        if self._ended or self._stopped:
            return ""
        self._stopped = True
        await self._way.aclose()
        return "nothing ran there but sshd's own file server"
