"""One session over SSH whose output goes into a pipe."""

from __future__ import annotations

import asyncssh

from bot.transports.pipe import Pipe
from bot.transports.sshpool import PooledSession


class PipedSession(PooledSession):
    """Hands what a shell says to its pipe."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def say(self, program: bytes) -> None:
        """All that the shell gets to read."""
        if self.channel is not None and not self.channel.is_closing():
            self.channel.write(program)
            self.channel.write_eof()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Let the pipe hold the channel back."""
        super().connection_made(chan)
        self._pipe.source = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Take a piece of stdout or stderr."""
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._pipe.feed_stderr(data)
        else:
            self._pipe.feed(data)

    def exit_status_received(self, status: int) -> None:
        """Keep how it ended."""
        self._pipe.end(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: FBT001  asyncssh's signature
        """Keep what ended it."""
        del core_dumped, msg, lang
        self._pipe.end(None, signal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes but what was held back."""
        if self.channel is not None:
            self.channel.resume_reading()  # delivers what was held back, which else were dropped now
        self._pipe.close()
        super().connection_lost(exc)
