"""A YAML file as plain values with line numbers, or every problem of it in plain English.

Words are read as YAML 1.2 reads them: `off`, `no` and `012` are text, because a person who writes
`tls: off` means the word. A file is bounded in bytes, depth and values, so that a hostile one costs
as little as an honest one.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from bot.errors import ConfigError, Problem

MAX_BYTES = 262_144
MAX_DEPTH = 16
MAX_VALUES = 20_000  # with every alias written out
MAX_PROBLEMS = 100  # told of one file; nobody reads more
_MAX_WORD_CHARACTERS = 64  # difflib is quadratic, and no name of ours is longer

Where = tuple[str | int, ...]  # the keys and list positions that lead to a value


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds: *value* is made of dict, list, str, int, float, bool and None."""

    file: str
    value: Any
    lines: Mapping[Where, int]  # of each key and list item, from 1
    sha256: str  # of the file's bytes, hex

    def problem(self, where: Where, message: str, cure: str = "", *, missing: str = "") -> Problem:
        """Something is wrong at *where*, or at the nearest thing around it that the file has.

        *missing* is a key that should be there, in place of the one whose line is told.
        """
        while where not in self.lines:
            where = where[:-1]
        key = self._dotted((*where, missing) if missing else where)
        return Problem(file=self.file, line=self.lines[where], key=key, message=message, cure=cure)

    def _dotted(self, where: Where) -> str:
        """The path for people: a list item that has an id or a name goes by it."""
        value, parts = self.value, []
        for part in where:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                value = None
            name = (value.get("id") or value.get("name")) if isinstance(value, dict) else None
            parts.append(name if isinstance(part, int) and isinstance(name, str) else str(part))
        return ".".join(map(shown, parts))


def load(path: Path) -> Document:
    """Read the file at *path*. Raises ConfigError with every problem of its form."""
    return parse(read(path), str(path))


def read(path: Path) -> bytes:
    """The bytes of a regular file of at most MAX_BYTES. Raises ConfigError."""
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "there is no such file"
            raise _whole(path, what, "check the path, and that the bot's user may see it")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise _whole(path, f"cannot be read: {reason}", "let the bot's user read it") from None
    if len(data) > MAX_BYTES:
        raise _whole(path, f"is larger than {MAX_BYTES // 1024} KiB", "split it, or take out what is not needed")
    return data


def _whole(path: Path, message: str, cure: str) -> ConfigError:
    return ConfigError((Problem(file=str(path), line=0, key="", message=message, cure=cure),))


def parse(data: bytes, file: str) -> Document:
    """Read YAML from *data*; *file* is how problems name it. Raises ConfigError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = Problem(file=file, line=line, key="", message="is not UTF-8 text", cure="save the file as UTF-8")
        raise ConfigError((problem,)) from None
    try:
        node = _compose(text)
    except (yaml.YAMLError, _TooDeepError) as error:
        raise ConfigError((_syntax(error, text, file),)) from None
    builder = _Builder(file)
    value = builder.build(node, (), 0) if node else None
    if builder.problems:
        raise ConfigError(tuple(builder.problems[:MAX_PROBLEMS]))
    return Document(file, value, {**builder.lines, (): 1}, hashlib.sha256(data).hexdigest())


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of *known* that *word* was most likely meant to be, or None."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word[:_MAX_WORD_CHARACTERS].lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None


def shown(text: str) -> str:
    """*text* as it may stand inside a sentence: on one line, printable, short, without backticks."""
    clean = "".join(character if character.isprintable() else "�" for character in text.replace("`", "'"))
    return clean if len(clean) <= _MAX_WORD_CHARACTERS else clean[: _MAX_WORD_CHARACTERS - 1] + "…"


def listed(names: Iterable[str], word: str = "and") -> str:
    """Names as a sentence lists them: `a`, `b` and `c`."""
    quoted = [f"`{shown(name)}`" for name in names]
    return f" {word} ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


# --- from text to nodes -----------------------------------------------------------------------


class _TooDeepError(Exception):
    def __init__(self, mark: yaml.Mark) -> None:
        super().__init__()
        self.mark = mark


class _Composer(yaml.composer.Composer):
    """Composes nodes and resolves nothing: `_plain` decides what a word is."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node, refusing to nest deeper than MAX_DEPTH (the composer is recursive)."""
        if parent and self.depth > MAX_DEPTH:
            raise _TooDeepError(parent.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Loader(_Composer, yaml.SafeLoader):
    """Reads slowly, and says best what is wrong."""


class _FastLoader(_Composer, yaml.CSafeLoader):
    """Reads ten times as fast, by libyaml."""

    def __init__(self, text: str) -> None:
        yaml.CSafeLoader.__init__(self, text)
        yaml.composer.Composer.__init__(self)


def _compose(text: str) -> yaml.Node | None:
    try:
        return _FastLoader(text).get_single_node()
    except (yaml.YAMLError, _TooDeepError):
        return _Loader(text).get_single_node()


_TOO_DEEP = f"values lie more than {MAX_DEPTH} levels deep", "look for a bracket or an indentation too many"

# What PyYAML says, and what to say instead. Its own text is not passed on where it repeats the
# file's, which may be a secret at the wrong place.
_SYNTAX = {
    "quoted scalar": ("a quote is opened here and never closed", "close it, or put the whole text in quotes"),
    "'\\t'": ("a tab is used for indentation", "use blanks"),
    "mapping values are not allowed": (
        "this line has a second `: `, or is indented wrongly",
        "put text that holds `: ` in quotes, and align keys that belong together",
    ),
    "undefined alias": (
        "this text begins with `*`, which YAML takes for an alias",
        "put text that begins with `*` in quotes",
    ),
    "tag": ("this text begins with `!`, which YAML takes for a tag", "put text that begins with `!` in quotes"),
    "anchor": ("this text begins with `&`, which YAML takes for an anchor", "put text that begins with `&` in quotes"),
    "cannot start any token": (
        "this text begins with a character that has a meaning of its own in YAML",
        "put the text in quotes",
    ),
    "expected ',' or ']'": ("a `[` is not closed, or a comma is missing", "close it with `]`"),
    "expected ',' or '}'": ("a `{` is not closed, or a comma is missing", "close it with `}`"),
    "could not find expected ':'": ("this is not a `key: value` line", "add the colon and a blank after the key"),
    "expected <block end>": (
        "the indentation does not fit the lines above",
        "align keys that belong together, with blanks only",
    ),
    "expected a single document": ("a second document begins here (`---`)", "keep one document in a file"),
}


def _syntax(error: Exception, text: str, file: str) -> Problem:
    line, message, cure = 1, "this is not YAML", "compare it with the examples in the documentation"
    if isinstance(error, _TooDeepError):
        line, (message, cure) = error.mark.line + 1, _TOO_DEEP
    elif isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        message, cure = "a control character stands here", "remove it; in a quoted text it can be written as an escape"
    elif isinstance(error, yaml.MarkedYAMLError):
        said = f"{error.context} {error.problem}"
        fragment = next((fragment for fragment in _SYNTAX if fragment in said), None)
        message, cure = _SYNTAX[fragment] if fragment else (message, cure)
        mark = error.context_mark if fragment == "quoted scalar" else error.problem_mark
        line = mark.line + 1 if mark else 1
    return Problem(file=file, line=line, key="", message=message, cure=cure)


# --- from nodes to values ---------------------------------------------------------------------

_KINDS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # only what reads back as the same text
_DECIMAL = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")


class _Builder:
    """Turns nodes into values, noting the line of each and what is wrong on the way."""

    def __init__(self, file: str) -> None:
        self.lines: dict[Where, int] = {}
        self.problems: list[Problem] = []
        self._file = file
        self._values = 0
        self._full = False

    def build(self, node: yaml.Node, where: Where, depth: int) -> Any:
        """The value of *node*, which lies at *where*; None for one that is refused."""
        self._values += 1
        if self._full:
            return None
        if self._values > MAX_VALUES or depth > MAX_DEPTH:  # an alias can lead round in a circle
            self._full = True
            message, cure = (
                _TOO_DEEP if depth > MAX_DEPTH else (f"there are more than {MAX_VALUES} values", "write fewer")
            )
            self._refuse(node, where, message, cure)
            return None
        if node.tag not in _KINDS:
            self._refuse(node, where, *_SYNTAX["tag"])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where, depth)
        if isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                self.lines[*where, position] = item.start_mark.line + 1
            return [self.build(item, (*where, position), depth + 1) for position, item in enumerate(node.value)]
        quoted = isinstance(node, yaml.ScalarNode) and bool(node.style)
        return node.value if quoted else _plain(node.value)

    def _mapping(self, node: yaml.MappingNode, where: Where, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, where, "a key must be plain text", "put keys that begin with `[` or `{` in quotes")
            elif key.value == "<<" and not key.style:
                self._refuse(key, (*where, "<<"), "merging with `<<` is not supported", "write the keys out")
            elif key.value in mapping:
                first = self.lines[*where, key.value]
                self._refuse(key, (*where, key.value), f"is here twice, first in line {first}", "keep one of them")
            else:
                self.lines[*where, key.value] = key.start_mark.line + 1
                mapping[key.value] = self.build(value, (*where, key.value), depth + 1)
        return mapping

    def _refuse(self, node: yaml.Node, where: Where, message: str, cure: str) -> None:
        key = ".".join(shown(str(part)) for part in where)
        self.problems.append(
            Problem(file=self._file, line=node.start_mark.line + 1, key=key, message=message, cure=cure)
        )


def _plain(text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
