"""Every secret of a planted corpus is gone, wherever it is cut, and ordinary output stays as it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest

from bot.model import Run, Step
from bot.pipeline import Allowance, StepStream
from bot.redact import Redactor
from bot.redact.finder import Finder
from bot.redact.stream import BLOCK_BYTES, RedactionStream
from bot.transports import Execution
from tests.near_misses import near_misses
from tests.secrets_corpus import Planted, corpus

pytestmark = pytest.mark.thorough

PLANTED = list(corpus())
FORMATS = [(name, list(plantings)) for name, plantings in groupby(PLANTED, key=lambda planted: planted.format)]
FINDER = Finder([])
MASK = rb"\[masked:[a-z-]+:[0-9a-f]{6}\]"


def redacted(text: bytes, *, block_bytes: int = BLOCK_BYTES) -> tuple[bytes, int]:
    """The output, and how many secrets were masked."""
    stream = RedactionStream(FINDER, b"salt", block_bytes=block_bytes)
    output = stream.feed(text) + stream.finish()
    return output, stream.masked.total()


def masked(planted: Planted) -> bytes:
    """What the output must look like, as a pattern: all but the secret stays."""
    return re.escape(planted.before) + MASK + re.escape(planted.after)


def test_the_corpus_is_large_and_varied() -> None:
    """At least 300 secrets in at least 20 formats."""
    assert len(PLANTED) >= 400
    assert len(FORMATS) >= 80
    assert len({planted.secret for planted in PLANTED}) == len(PLANTED)


@pytest.mark.parametrize(("name", "plantings"), FORMATS, ids=[name for name, _ in FORMATS])
def test_a_planted_secret_is_gone_and_its_surroundings_stay(name: str, plantings: list[Planted]) -> None:
    """One mask stands in the secret's place, and not a byte around it is lost."""
    for planted in plantings:
        output, count = redacted(planted.text)

        assert re.fullmatch(masked(planted), output), (planted.text, output)
        assert count == 1


def test_every_secret_is_gone_when_it_is_split_at_every_byte() -> None:
    """With blocks of one byte, every byte of every secret is at the end of what has come."""
    text = b"\n".join(planted.text for planted in PLANTED)

    output, count = redacted(text, block_bytes=1)

    assert re.fullmatch(b"\n".join(map(masked, PLANTED)), output)
    assert count == len(PLANTED)


def test_every_format_is_gone_at_every_place_around_the_end_of_a_block() -> None:
    """The same with the real block: its end falls before, on, in and behind each kind of secret."""
    for _, (planted, *_) in FORMATS:
        length = len(planted.secret)
        for split in {0, 1, 2, length // 2, length - 1, length}:
            filler = b"x" * (BLOCK_BYTES - len(planted.before) - split - 1) + b"\n"

            output, count = redacted(filler + planted.text)

            assert re.fullmatch(masked(planted), output[len(filler) :]), (planted.text, split)
            assert count == 1


def test_a_second_pass_changes_nothing() -> None:
    """A reason may be masked where it arises and again where it is told."""
    once, _ = redacted(b"\n".join(planted.text for planted in PLANTED))

    twice, count = redacted(once)

    assert twice == once
    assert count == 0


def test_ordinary_output_survives_unchanged() -> None:
    """Processes, sockets, InnoDB, threads, logs, digests, ids and the plain word "password"."""
    for line in (Path(__file__).parent / "ordinary_output.txt").read_bytes().splitlines(keepends=True):
        output, _ = redacted(line)

        assert output == line


def test_ordinary_output_survives_unchanged_as_a_whole() -> None:
    """The same in one piece, where lines have neighbours."""
    text = (Path(__file__).parent / "ordinary_output.txt").read_bytes()

    output, count = redacted(text)

    assert output == text
    assert count == 0


# --- every byte ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, _ in FORMATS])
def test_a_secret_is_gone_wherever_a_block_ends_in_it(name: str) -> None:
    """The end of a block at every byte of every planting, from before it to behind it; both halves have neighbours."""
    for planted in dict(FORMATS)[name]:
        lead = b"2026-11-22T20:55:00Z INFO nothing to see here\n"
        text = lead + planted.text + b"\nand on it goes\n"
        begins = len(lead) + len(planted.before)
        for end in range(begins - 2, begins + len(planted.secret) + 3):
            output, count = redacted(text, block_bytes=end)

            assert re.fullmatch(re.escape(lead) + masked(planted) + b"\nand on it goes\n", output), (text, end, output)
            assert count == 1


@dataclass
class Told:
    """A program whose output is *text*, in pieces of every length from 1 on."""

    text: bytes
    command: str = "cat"
    exit_status: int | None = 0
    remark: str = ""

    async def output(self) -> AsyncIterator[bytes]:
        """The pieces."""
        at, size = 0, 1
        while at < len(self.text):
            yield self.text[at : at + size]
            at, size = at + size, size % 97 + 1

    async def stop(self) -> str:
        """It has ended."""
        return ""


async def test_nothing_of_the_corpus_leaves_the_pipeline_of_a_step() -> None:
    """What a store is given, by the object that gives it in production, whatever pieces the target sends."""
    program = Told(b"\n".join(planted.text for planted in PLANTED))
    step = Step(id="s", title="S", action=Run(argv=("cat",)), timeout_s=60, limit_bytes=10**9)

    async def start() -> Execution:
        return program

    redaction = Redactor(tuple, salt=b"salt").stream()
    stream = StepStream(step, start, redaction=redaction, allowance=Allowance(10**9), now=lambda: datetime.now(UTC))
    async with aclosing(stream.chunks()) as chunks:
        kept = b"".join([chunk async for chunk in chunks])

    leaked = [planted.format for planted in PLANTED if planted.secret in kept]
    assert leaked == []
    assert redaction.masked.total() == len(PLANTED)


# --- what stays ---------------------------------------------------------------------------------


def test_what_only_looks_like_a_secret_stays() -> None:
    """SHAs, UUIDs, trace ids, times, phone and order numbers, digests: 47 kinds, at most one line in 5,000 is wrong.

    What is wrong are 16 digits that pass for a card's, with its check digit.
    """
    lines = list(near_misses(300))
    wrong = [(name, line) for name, line in lines if redacted(line + b"\n")[0] != line + b"\n"]

    assert len(lines) >= 14_000
    assert len(wrong) * 5_000 <= len(lines), wrong
