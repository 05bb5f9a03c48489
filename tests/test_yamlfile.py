"""YAML with line numbers: what is read, what is refused, and in which words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.yamlfile import MAX_BYTES, MAX_DEPTH, MAX_VALUES, load, nearest, parse, shown


def says(data: bytes | str) -> list[str]:
    """The problems of a file that is called x.yml."""
    with pytest.raises(ConfigError) as caught:
        parse(data.encode() if isinstance(data, str) else data, "x.yml")
    return [str(problem) for problem in caught.value.problems]


WORDS = {
    "5": 5,
    "-5": -5,
    "0": 0,
    "0.5": 0.5,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    "'5'": "5",
    '"true"': "true",
    "off": "off",
    "no": "no",
    "on": "on",
    "012": "012",
    "+5": "+5",
    "0x1F": "0x1F",
    "1e3": "1e3",
    "1_000": "1_000",
    "12:30:45": "12:30:45",
    "2026-11-22": "2026-11-22",
    ".inf": ".inf",
    "9" * 30: "9" * 30,
    "é": "é",
}


@pytest.mark.parametrize(("text", "value"), WORDS.items())
def test_a_word_is_read_as_people_mean_it(text: str, value: object) -> None:
    """`tls: off` is the word off; numbers are only those that read back as they were written."""
    document = parse(f"key: {text}\n".encode(), "x.yml")

    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)


def test_keys_are_always_text() -> None:
    """A target may be called `5` or `on`."""
    document = parse(b"5: a\non: b\nnull: c\n", "x.yml")

    assert document.value == {"5": "a", "on": "b", "null": "c"}


def test_every_place_knows_its_line() -> None:
    """Keys by the key, list items by the item, also behind a byte order mark."""
    document = parse("\ufeffa:\n  - b: 1\n    id: first\n  - c\n".encode(), "x.yml")

    assert document.lines == {(): 1, ("a",): 1, ("a", 0): 2, ("a", 0, "b"): 2, ("a", 0, "id"): 3, ("a", 1): 4}


def test_a_problem_is_told_at_the_nearest_place_that_the_file_has() -> None:
    """List items go by their id or name; what is missing is told where it should be."""
    document = parse(b"steps:\n  - id: load\n    run: [x]\n  - y\n", "x.yml")

    problems = [
        document.problem(("steps", 0, "run", 0), "a"),
        document.problem(("steps", 0, "run", 7, "z"), "b"),
        document.problem(("steps", 0), "c", missing="limit"),
        document.problem(("steps", 1), "d", "e"),
        document.problem(("nothing",), "f"),
    ]

    assert [str(problem) for problem in problems] == [
        "x.yml:3: steps.load.run.0: a",
        "x.yml:3: steps.load.run: b",
        "x.yml:2: steps.load.limit: c",
        "x.yml:4: steps.1: d — e",
        "x.yml:1: f",
    ]


BILLION_LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
REFUSED = {
    "a: 1\na: 2\n": ["x.yml:2: a: is here twice, first in line 1 — keep one of them"],
    "a:\n  b: 1\n  b: 2\nc: {d: 1, d: 2}\n": [
        "x.yml:3: a.b: is here twice, first in line 2 — keep one of them",
        "x.yml:4: c.d: is here twice, first in line 4 — keep one of them",
    ],
    "? [a]\n: b\n": ["x.yml:1: a key must be plain text — put keys that begin with `[` or `{` in quotes"],
    "a: {<<: {b: 1}}\n": ["x.yml:1: a.<<: merging with `<<` is not supported — write the keys out"],
    "a: !env X\n": [
        "x.yml:1: a: this text begins with `!`, which YAML takes for a tag — put text that begins with `!` in quotes"
    ],
    "a: !!python/object/apply:os.system [ls]\n": [
        "x.yml:1: a: this text begins with `!`, which YAML takes for a tag — put text that begins with `!` in quotes"
    ],
    "a: !x!y z\n": [
        "x.yml:1: this text begins with `!`, which YAML takes for a tag — put text that begins with `!` in quotes"
    ],
    "a: *b\n": [
        "x.yml:1: this text begins with `*`, which YAML takes for an alias — put text that begins with `*` in quotes"
    ],
    "a: 1\nb: &\n": [
        "x.yml:2: this text begins with `&`, which YAML takes for an anchor — put text that begins with `&` in quotes"
    ],
    "a: 1\nb: `c`\n": [
        "x.yml:2: this text begins with a character that has a meaning of its own in YAML — put the text in quotes"
    ],
    "a: 'b\nc: d\n": ["x.yml:1: a quote is opened here and never closed — close it, or put the whole text in quotes"],
    "a: [b\nc: d\n": ["x.yml:2: a `[` is not closed, or a comma is missing — close it with `]`"],
    "a: {b: c\nd: e\n": ["x.yml:2: a `{` is not closed, or a comma is missing — close it with `}`"],
    "a:\n\tb: c\n": ["x.yml:2: a tab is used for indentation — use blanks"],
    "a: b\n c: d\n": [
        "x.yml:2: this line has a second `: `, or is indented wrongly — put text that holds `: ` in quotes, and align keys that belong together"
    ],
    "a: 1\nb\nc: 2\n": ["x.yml:3: this is not a `key: value` line — add the colon and a blank after the key"],
    "- a\nb: c\n": [
        "x.yml:2: the indentation does not fit the lines above — align keys that belong together, with blanks only"
    ],
    "a: 1\n---\nb: 2\n": ["x.yml:2: a second document begins here (`---`) — keep one document in a file"],
    "a: 1\nb: \x00\n": [
        "x.yml:2: a control character stands here — remove it; in a quoted text it can be written as an escape"
    ],
    "[" * 2_000: [
        f"x.yml:1: values lie more than {MAX_DEPTH} levels deep — look for a bracket or an indentation too many"
    ],
    "a: &a [*a]\n": [
        "x.yml:1: a"
        + ".0" * MAX_DEPTH
        + f": values lie more than {MAX_DEPTH} levels deep — look for a bracket or an indentation too many"
    ],
    BILLION_LAUGHS: [f"x.yml:1: a4.8.3.6.1.0: there are more than {MAX_VALUES} values — write fewer"],
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=lambda value: str(value)[:40])
def test_what_cannot_be_read_is_said_in_plain_english(text: str, expected: list[str]) -> None:
    """Line, what is wrong and what to do; PyYAML's own words, and the file's, are not repeated."""
    said = says(text)

    assert said == expected


def test_text_in_another_encoding_is_named() -> None:
    """With the line of the first byte that is no UTF-8."""
    said = says(b"a: 1\nb: \xe9\n")

    assert said == ["x.yml:2: is not UTF-8 text — save the file as UTF-8"]


def test_a_file_that_cannot_be_read_is_a_problem_of_the_whole_file(tmp_path: Path) -> None:
    """A missing one, a folder, a link in a circle, one that is too large."""
    (tmp_path / "loop.yml").symlink_to("loop.yml")
    (tmp_path / "large.yml").write_bytes(b"#" * (MAX_BYTES + 1))
    said = []

    for name in ("none.yml", ".", "loop.yml", "large.yml"):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name)
        said += [(problem.line, problem.key, problem.message) for problem in caught.value.problems]

    assert said == [
        (0, "", "there is no such file"),
        (0, "", "is not a file"),
        (0, "", "there is no such file"),
        (0, "", "is larger than 256 KiB"),
    ]


def test_an_empty_file_holds_nothing() -> None:
    """What must be in it is for its shape to say."""
    document = parse(b"# only a comment\n", "x.yml")

    assert document.value is None


@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"---\n...\n---\n")
@example(b"%YAML 9.9\n--- a")
def test_arbitrary_bytes_raise_nothing_but_a_configuration_error(data: bytes) -> None:
    """Every line that is told is a line of the file."""
    try:
        parse(data, "x.yml")
    except ConfigError as error:
        lines = [problem.line for problem in error.problems]
        assert all(0 < line <= data.count(b"\n") + data.count(b"\r") + 1 for line in lines)


@given(st.text(alphabet="ab:-?&*!|>%@`'\"[]{},# \n\t<\\.0\x85\u2028", max_size=60))
def test_arbitrary_marks_raise_nothing_but_a_configuration_error(text: str) -> None:
    """Text made of what has a meaning in YAML."""
    with suppress(ConfigError):
        parse(text.encode(), "x.yml")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-_", min_size=1, max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_what_yaml_writes_is_read_back(value: object) -> None:
    """Quoted where it must be, every plain value comes back as it was."""
    written = yaml.safe_dump(value, allow_unicode=True)

    document = parse(written.encode(), "x.yml")

    assert document.value == value


def test_the_nearest_name_is_found() -> None:
    """Without regard to case, and in no time for a text of any length."""
    known = ["orders-db", "billing-db", "Web-1"]

    found = [nearest(word, known) for word in ("order-db", "web-1", "zebra", "", "x" * 10_000)]

    assert found == ["orders-db", "Web-1", None, None, None]


@given(st.text())
def test_shown_text_stays_inside_its_backticks(text: str) -> None:
    """On one line, printable, short."""
    safe = shown(text)

    assert "`" not in safe
    assert safe.isprintable()
    assert len(safe) <= 64
