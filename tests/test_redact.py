"""What the redactor promises besides its patterns: any chunking, any input, bounded work and memory."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.redact import RedactionStream, Redactor
from bot.redact.finder import Finder, Spots
from bot.redact.known import literals
from bot.redact.patterns import Rule
from bot.redact.stream import BLOCK_BYTES, WINDOW_BYTES
from tests.secrets_corpus import corpus

pytestmark = pytest.mark.thorough

SMALL = {"block_bytes": 2048, "window_bytes": 1024}
KNOWN = [b"hunter2secret", b"p@ss, w;rd&x=1", b"abcabcabc", b"first line of a key\nsecond line of a key\n"]
FINDER = Finder(literals(KNOWN))
PLANTED = [planted.text for planted in corpus(2)]
TRICKY = [
    *KNOWN,
    *(b"\n", b"\r\n", b" ", b"\t", b"\0", b'"', b"'", b"\\", b'\\"', b",", b";", b"&", b"=", b":", b"[", b"]", b"\xff"),
    *(b"password=", b"password: ", b'"password":"', b"token=", b"Authorization: Bearer ", b"Cookie: a=b; ", b"://u:"),
    *(b"@host/", b"eyJ", b"mysql -p", b"--password ", b" -u a:", b"Q~", b"IDENTIFIED BY '", b"4111 1111 1111 1111"),
    *(b"-----BEGIN RSA PRIVATE KEY-----", b"-----END RSA PRIVATE KEY-----", b"A" * 64, b"[masked:password:abcdef]"),
]
TEXTS = st.lists(st.one_of(st.sampled_from(TRICKY), st.sampled_from(PLANTED), st.binary(max_size=20)), max_size=15)


def redacted(
    text: bytes, *, cuts: tuple[int, ...] = (), block_bytes: int = BLOCK_BYTES, window_bytes: int = WINDOW_BYTES
) -> tuple[bytes, Counter[str]]:
    """The output and the counts, fed in pieces that end at *cuts*."""
    stream = RedactionStream(FINDER, b"salt", block_bytes=block_bytes, window_bytes=window_bytes)
    edges = (0, *sorted(cuts), len(text))
    output = b"".join(stream.feed(text[start:end]) for start, end in pairwise(edges))
    return output + stream.finish(), stream.masked


# --- any chunking -------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data(), pieces=TEXTS)
def test_the_same_bytes_in_any_chunking_give_the_same_output(data: st.DataObject, pieces: list[bytes]) -> None:
    """Output and counts depend on the bytes alone, not on how they came nor on where the blocks end."""
    text = b"".join(pieces)
    cuts = tuple(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    block_bytes = data.draw(st.integers(3, 300))

    whole = redacted(text)

    assert redacted(text, cuts=cuts) == whole
    assert redacted(text, cuts=cuts, block_bytes=block_bytes) == whole


@settings(max_examples=25, deadline=None)
@given(pieces=TEXTS, block_bytes=st.integers(3, 300))
def test_no_known_secret_is_left_in_any_text(pieces: list[bytes], block_bytes: int) -> None:
    """Whatever stands around it, touching or overlapping."""
    output, _ = redacted(b"".join(pieces), block_bytes=block_bytes)

    for line in (line for value in KNOWN for line in value.splitlines()):
        assert line not in output


@settings(max_examples=25, deadline=None)
@given(text=st.binary(max_size=400))
def test_text_without_secrets_comes_out_whole(text: bytes) -> None:
    """Nothing is lost or doubled: without a mask the output is the input."""
    output, masked = redacted(text, block_bytes=7)

    assert masked or output == text


@settings(max_examples=25, deadline=None)
@given(text=st.text(st.characters(codec=None), max_size=200))
def test_short_texts_of_any_characters_are_taken(text: str) -> None:
    """Lone surrogates do not raise."""
    masked = Redactor(tuple, salt=b"salt").text(text + " password=hunter2")

    assert re.search(r"password=\[masked:password:[0-9a-f]{6}\]$", masked)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), pieces=TEXTS, window_bytes=st.integers(200, 2000))
def test_lines_longer_than_the_window_leak_nothing_in_any_chunking(
    data: st.DataObject, pieces: list[bytes], window_bytes: int
) -> None:
    """Where no newline says what is whole, the output still depends on the bytes alone, and known secrets are gone."""
    text = b" ".join(pieces * 3).replace(b"\n", b" ")
    cuts = tuple(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))

    whole = redacted(text, block_bytes=64, window_bytes=window_bytes)

    assert redacted(text, cuts=cuts, block_bytes=64, window_bytes=window_bytes) == whole
    for line in (line for value in KNOWN for line in value.splitlines()):
        assert line not in whole[0]


# --- masks --------------------------------------------------------------------------------------


def test_the_same_secret_has_the_same_mask_within_one_salt_only() -> None:
    """People see that it is the same secret; another incident shows another mask."""
    one, other = Redactor(tuple, salt=b"one"), Redactor(tuple, salt=b"other")

    first = one.text("user=bob password=hunter2 port=1\nPASSWORD: hunter2")
    masks = re.findall(r"\[masked:password:[0-9a-f]{6}\]", first)

    assert len(masks) == 2
    assert masks[0] == masks[1]
    assert masks[0] not in one.text("password=hunter3")
    assert masks[0] not in other.text("password=hunter2")


def test_a_key_has_the_same_mask_in_a_file_and_in_json() -> None:
    """Line ends, indentation and escapes do not count."""
    lines = ["QUJD" * 16, "REVG" * 16, "R0hJ=="]
    file = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END PRIVATE KEY-----\n"

    masked = Redactor(tuple, salt=b"s").text(file + json.dumps(file) + "\n" + file.replace("\n", "\n    "))

    masks = re.findall(r"\[masked:private-key:[0-9a-f]{6}\]", masked)
    assert len(masks) == 3
    assert len(set(masks)) == 1


def test_masks_are_counted_by_kind() -> None:
    """The receipt in the thread is made of these."""
    _, masked = redacted(b"password=hunter2\nghp_" + b"a1B2" * 9 + b"\npassword=other3\n")

    assert masked == {"password": 2, "github-token": 1}


@pytest.mark.parametrize(
    "value",
    [
        '"<Zx9"',
        '"{abc"',
        '"${X:-hunter2}"',
        "$ecret",
        ":hunter",
        "-hunter",
        '"a b \\" c"',
        "'it''s'",
        "x,y;z",
        "Yes!pw",
        "/hunter",
    ],
)
def test_a_value_that_only_begins_like_a_placeholder_is_masked(value: str) -> None:
    """Harmless words and references are told from passwords by the whole value."""
    masked = Redactor(tuple, salt=b"s").text(f"user=bob db_password={value} port=1")

    assert re.fullmatch(r"user=bob db_password=[\"']?\[masked:password:\w+\][\"']? port=1", masked)


def test_addresses_and_people_stay() -> None:
    """They are what an incident is about."""
    text = "bob@example.com from 10.0.0.5:3306 to [fe80::1]:22 https://bob@example.com/x user=bob host=db-1\n"

    assert Redactor(tuple, salt=b"s").text(text) == text


# --- known secrets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        lambda s: s,
        lambda s: f"before{s}after",
        lambda s: quote(s, safe=""),
        quote,
        quote_plus,
        lambda s: re.sub("%..", lambda escape: escape[0].lower(), quote(s, safe="")),
        lambda s: json.dumps({"x": s}),
        lambda s: json.dumps({"x": s}).replace("/", "\\/"),
        lambda s: base64.b64encode(s.encode()).decode(),
        lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
        lambda s: base64.b64encode(f"u:{s}".encode()).decode(),
        lambda s: base64.b64encode(f"us:{s}\n".encode()).decode(),
        lambda s: base64.b64encode(f"use:{s}!!".encode()).decode(),
    ],
)
@pytest.mark.parametrize("secret", ["hunter2hunter", 'p@ss w/rd&"x"\\1', "ünïcode-Größe", "a/b?c>d~e~f"])
def test_a_known_secret_is_found_in_every_writing(written: Callable[[str], str], secret: str) -> None:
    """As it is, URL-quoted, in JSON, in base64 at each of its three alignments."""
    text = written(secret)
    redactor = Redactor(lambda: [secret.encode()], salt=b"s")

    masked = redactor.text(text)

    assert "[masked:known-secret:" in masked
    assert secret not in masked
    assert len(masked.replace("[masked:known-secret:", "")) < len(text) + 40


def test_a_known_key_file_is_found_line_by_line() -> None:
    """Whoever prints it may indent it, cut it, or write a time before each line."""
    key = "-----BEGIN X-----\nQUJDREVGR0hJSktMTU5P\nUFFSU1RVVldYWVo=\n-----END X-----\n"
    redactor = Redactor(lambda: [key.encode()], salt=b"s")

    masked = redactor.text("12:00 QUJDREVGR0hJSktMTU5P\n12:01 UFFSU1RVVldYWVo=\n-----END X-----")

    assert re.fullmatch(r"12:00 \[masked:\S+\]\n12:01 \[masked:\S+\]\n-----END X-----", masked)


def test_a_very_short_known_secret_is_not_looked_for() -> None:
    """It would be found in every line."""
    redactor = Redactor(lambda: [b"abc", b""], salt=b"s")

    masked = redactor.text("abc abcabc")

    assert masked == "abc abcabc"


def test_a_part_of_a_long_known_secret_is_found() -> None:
    """Long ones are looked for in pieces, so a cut print of one is masked too."""
    secret = bytes(Random(5).choices(b"abcdefghijklmnopqrstuvwxyz", k=5000))
    stream = RedactionStream(Finder(literals([secret])), b"s")

    output = stream.feed(b"x " + secret[:3000] + b" y " + secret + b" z") + stream.finish()

    assert secret[:2500] not in output
    assert output.endswith(b"] z")
    assert output.startswith(b"x [masked:known-secret:")


def test_overlapping_secrets_are_masked_as_one() -> None:
    """No end of the second is left behind the first."""
    redactor = Redactor(lambda: [b"abcdef", b"defghi", b"ghi,jkl"], salt=b"s")

    masked = [redactor.text(text) for text in ("x abcdefghi,jkl y", "x password=zzzghi,jkl y")]

    assert re.fullmatch(r"x \[masked:known-secret:\w+\] y", masked[0])
    assert re.fullmatch(r"x password=\[masked:password:\w+\] y", masked[1])


def test_a_secret_that_became_known_is_masked_from_the_next_stream_on() -> None:
    """Rotation needs no restart; a stream under way keeps what it knew."""
    known = [b"old-hunter"]
    redactor = Redactor(lambda: known, salt=b"s")
    under_way = redactor.stream()
    known.append(b"new-hunter")

    before = under_way.feed(b"old-hunter new-hunter") + under_way.finish()
    after = redactor.text("old-hunter new-hunter")

    assert before.endswith(b"] new-hunter")
    assert "hunter" not in after


# --- hostile input ------------------------------------------------------------------------------

LONG = bytes(Random(4).choices(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", k=150_000))
LONG_VALUES = {
    "token": (b"x ghp_", LONG, b" next\n"),
    "quoted": (b'{"password":"', LONG.replace(b"A", b'\\"'), b'","port":1}\n'),
    "backslashes": (b'{"password":"', b"\\\\" * 75_001, b'","port":1}\n'),
    "unquoted": (b"x password=", LONG, b" next\n"),
    "url": (b"x://user:", LONG, b"@host/ next\n"),
    "jwt": (b"x eyJhbGciOiJIUzI1NiJ9.eyJ", LONG, b" next\n"),
    "key block": (b"-----BEGIN PRIVATE KEY-----\n", re.sub(rb"(.{64})", rb"\1\n", LONG), b"\n-----END PRIVATE KEY-----\nnext\n"),
    "cookie": (b"Cookie: a=", LONG.replace(b"A", b"; b="), b"\nnext\n"),
    "statement": (b"IDENTIFIED BY '", LONG.replace(b"A", b"''"), b"' next\n"),
    "known at the end": (b"x password=", LONG + b"p@ss, w;rd&x=1", b" next\n"),
}  # fmt: skip


@pytest.mark.parametrize("before", [0, 65_536, 262_000])
@pytest.mark.parametrize("name", LONG_VALUES)
def test_a_value_longer_than_the_window_leaves_no_tail(name: str, before: int) -> None:
    """Wherever it lies, none of it comes out, and what stands behind it does."""
    head, value, tail = LONG_VALUES[name]
    text = b"word " * (before // 5) + b"\n" + head + value + tail

    output, masked = redacted(text)

    assert output.endswith(tail[-6:])
    assert masked.total() >= 1
    assert len(output) < len(text) - len(value) + 100
    assert not any(value[at : at + 12] in output for at in (*range(0, len(value), 997), len(value) - 12))


def test_a_key_block_without_an_end_ends_where_lines_stop_looking_like_a_key() -> None:
    """A `head` of a key file must not cost the rest of the evidence."""
    body = "\n".join(["QUJD" * 16] * 5)

    masked = Redactor(tuple, salt=b"s").text(f"-----BEGIN PRIVATE KEY-----\n{body}\nroot 1 0 nginx\nload 0.1\n")

    assert re.fullmatch(r"-----BEGIN PRIVATE KEY-----\n\[masked:private-key:\w+\]\nroot 1 0 nginx\nload 0.1\n", masked)


def test_a_begin_line_that_is_only_spoken_of_stays() -> None:
    """Nothing follows it that could be a key."""
    text = "-----BEGIN PRIVATE KEY----- is how they start\nroot 1 0 nginx\n-----BEGIN PRIVATE KEY-----\n$ ls -l\n"

    masked = Redactor(tuple, salt=b"s").text(text)

    assert masked == text


@pytest.mark.parametrize("unit", [b"\0", b"\xff\xfe", b"a", b" ", b"\n", b"\r", b"\\", b'"'])
def test_a_monotonous_stream_comes_out_as_it_is(unit: bytes) -> None:
    """NULs, invalid UTF-8, no newline at all."""
    text = unit * (600_000 // len(unit))

    output, masked = redacted(text)

    assert output == text
    assert not masked


def test_what_is_held_back_is_bounded() -> None:
    """However long the line or the value is, output keeps up with input but for two blocks and two windows."""
    for unit in (
        b"no newline at all ",
        b"password=x ",
        b"password=",
        b"-----BEGIN PRIVATE KEY-----\n",
        LONG[:64] + b"\n",
    ):
        stream = RedactionStream(FINDER, b"s", **SMALL)
        for _ in range(8):
            stream.feed(unit * (4_000 // len(unit)))

            assert len(stream._text) + len(stream._waiting) < 2 * sum(SMALL.values())


class Counting:
    """Counts the bytes that are searched."""

    def __init__(self, spots: Spots) -> None:
        self.spots = spots
        self.bytes = 0

    def search(self, text: bytes, pos: int) -> re.Match[bytes] | None:
        found = self.spots.search(text, pos)
        self.bytes += (found.end() if found else len(text)) - pos
        return found


class CountingFinder(Finder):
    """Counts the bytes that are searched, and those of every value that is looked at, secret or not."""

    def __init__(self) -> None:
        super().__init__(literals(KNOWN))
        self.counting = Counting(self.spots)
        self.spots = self.counting
        self.judged = 0

    def _span(self, rule: Rule, text: bytes, at: int) -> tuple[int, int] | None:
        value = rule.value.match(text, at)
        self.judged += value.end() - at if value else 1
        return super()._span(rule, text, at)


def work(text: bytes) -> int:
    """How many bytes are looked at, again and again ones each time."""
    finder = CountingFinder()
    stream = RedactionStream(finder, b"s", **SMALL)
    stream.feed(text)
    stream.finish()
    return finder.counting.bytes + finder.judged


@pytest.mark.parametrize(
    "unit",
    [
        *(b"ordinary words of a log without an end ", b"password=hunter2\n", b"password=", b"token=", b"://a:", b"eyJabcdef."),
        *(b'password="', b"-a-password x", b"mysql -pxx ", b"cookie:a=", b":a@tcp(", b"secret=[", b"password=,,,", b"-----BEGIN PRIVATE KEY-----\n"),
        *(b"abcabcabc", b"[masked:password:abcdef]", b"Authorization:", b"identified by 'x", b" 4111 1111 1111 1111"),
        *(b"pwd=/", b"NOpasswd=", b" -pa\\", b"token=a=", b"Basic AAAAAAAA", b"password=****", b"-key /a"),
    ],
)  # fmt: skip
def test_work_is_linear_in_the_length(unit: bytes) -> None:
    """Four times the text is four times the work, and no byte is looked at more than a bounded number of times."""
    size = 6_000

    short, long = work(unit * (size // len(unit))), work(unit * (4 * size // len(unit)))

    assert long < 5 * short
    assert long < 400 * 4 * size
