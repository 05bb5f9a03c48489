"""A report and a file on one stream: neither can be taken for the other, whatever is in them."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.transports.framing import FileNote, Unframer, read_note

# What could be taken for a frame is likely in these.
TRICKY = st.lists(st.sampled_from([b"a", b"\n", b" ", b"=", b"\0", b"\n\n=", b"\xff"]), max_size=9).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=60), max_size=6)


def framed(report: bytes, file: bytes) -> bytes:
    """What a host sends."""
    return b"".join(b" " + line for line in re.findall(rb"[^\n]*\n|[^\n]+\Z", report)) + b"\n\n=" + file


def unframed(data: bytes, cuts: list[int]) -> tuple[bytes, bytes, Unframer]:
    """What is made of it, in pieces."""
    unframer, report, file = Unframer(), b"", b""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        more, piece = unframer.feed(data[start:end])
        report, file = report + more, file + piece
    return report, file, unframer


def whole_lines(report: bytes) -> bytes:
    """A report as it arrives: its last line is ended."""
    return report if not report or report.endswith(b"\n") else report + b"\n"


@given(report=TRICKY, file=TRICKY, cuts=CUTS)
def test_both_arrive_however_they_are_chunked(report: bytes, file: bytes, cuts: list[int]) -> None:
    """Byte for byte."""
    got_report, got_file, unframer = unframed(framed(report, file), cuts)

    assert (got_report, got_file) == (whole_lines(report), file)
    assert unframer.in_file


@given(report=TRICKY, cuts=CUTS, missing=st.integers(min_value=1, max_value=40))
def test_of_a_frame_that_breaks_off_the_report_is_kept_and_nothing_else(
    report: bytes, cuts: list[int], missing: int
) -> None:
    """No byte of it is taken for the file's."""
    data = framed(report, b"")[:-missing]

    got_report, got_file, _ = unframed(data, cuts)

    assert got_file == b""
    assert whole_lines(report).startswith(got_report)


@settings(max_examples=15, deadline=None)
@given(report=st.binary(max_size=40))
def test_a_host_frames_what_its_programs_say(report: bytes) -> None:
    """The tools of the host agree with the reference above."""
    done = subprocess.run(
        ["sh", "-c", r"LC_ALL=C stdbuf -oL sed 's/^/ /' && printf '\n\n=file'"],
        input=report,
        check=True,
        capture_output=True,
    )

    got_report, got_file, _ = unframed(done.stdout, [])

    assert (got_report, got_file) == (whole_lines(report), b"file")


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("0 120 5000 9000 .zst", FileNote(status=0, size_bytes=120, free_bytes=5000, total_bytes=9000, ending=".zst")),
        ("3 -1 0 9000", FileNote(status=3, size_bytes=None, free_bytes=0, total_bytes=9000, ending="")),
        ("0 1 2 3 /../x", FileNote(status=0, size_bytes=1, free_bytes=2, total_bytes=3, ending="")),
        ("0 1 2", None),
        ("0 1 2 three", None),
        ("", None),
    ],
)
def test_a_note_is_read_or_refused(said: str, note: FileNote | None) -> None:
    """An ending that is none of ours never gets into a name."""
    assert read_note(said.split()) == note


def test_what_is_compressed_has_the_type_of_that() -> None:
    """Browsers and tools go by it."""
    note = read_note(["0", "1", "2", "3", ".gz"])

    assert note is not None
    assert note.type("application/x-coredump") == "application/gzip"
