"""Fetches an operator's programs from S3 into a folder, from where steps carry them to hosts that lack them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from bot.errors import SecretMissing, StoreError
from bot.secrets import Renewing
from bot.settings import S3
from bot.stores.bucket import Bucket
from bot.tools import FetchedTool

TOOL_BYTES = 32_000_000
FETCH_S = 15.0  # for all of them, before others wait no longer
AGAIN_S = 60.0  # after S3 did not give one

log = structlog.get_logger()


class ToolFetcher:
    """Fetches *tools*, each once, with the credentials of *s3*; what is not what it must be is not kept."""

    def __init__(self, tools: Sequence[FetchedTool], s3: S3, secrets: Renewing, folder: Path) -> None:
        self._tools = tools
        self._s3 = s3
        self._secrets = secrets
        self._folder = folder

    async def check(self) -> list[str]:
        """For each tool a line of "ok: …" or "fault: …"; those that are well lie in the folder then."""
        return [await self._line(tool) for tool in self._tools]

    async def fetch(self) -> bool:
        """Whether all are there now, after at most FETCH_S; what is not is logged with its cure."""
        missing = [tool for tool in self._tools if not (self._folder / tool.name).exists()]
        try:
            async with asyncio.timeout(FETCH_S):
                lines = [await self._line(tool) for tool in missing]
        except TimeoutError:
            lines = [f"fault: S3 did not give the tools within {FETCH_S:g} s"]
        faults = [line for line in lines if line.startswith("fault: ")]
        for line in faults:
            log.warning("tool not fetched", reason=line.removeprefix("fault: "), again_in_s=AGAIN_S)
        return not faults

    async def fetch_until_all_are_there(self) -> None:
        """Try again and again."""
        while True:
            await asyncio.sleep(AGAIN_S)
            if await self.fetch():
                return

    async def _line(self, tool: FetchedTool) -> str:
        try:
            program = await self._read(tool)
        except (StoreError, SecretMissing) as error:
            return f"fault: {tool.place}: {error.reason}"
        if (sha256 := hashlib.sha256(program).hexdigest()) != tool.sha256:
            cure = "correct `sha256` in capturebot.yml, if you know why it is another one"
            return f"fault: {tool.place} has the checksum {sha256}, not that of `fetched_tools` — {cure}"
        await asyncio.to_thread(self._keep, tool.name, program)
        return f"ok: {tool.place} is what it must be"

    async def _read(self, tool: FetchedTool) -> bytes:
        settings = replace(self._s3, bucket=tool.bucket, prefix="", retention={}, keys={})
        bucket = await Bucket.open(settings, self._secrets)
        try:
            return await bucket.fetch(tool.key, limit_bytes=TOOL_BYTES)
        finally:
            await bucket.close()

    def _keep(self, name: str, program: bytes) -> None:
        """Whole or not at all, because a step may look for it at any time."""
        part = self._folder / f".{name}.part"
        part.write_bytes(program)
        part.replace(self._folder / name)
