"""Arguments into the one line that a Windows program is started with, so that it takes them apart as they were.

Windows hands a program its command line as one text, and the program's own runtime splits it. `line_of` writes what both
``CommandLineToArgvW`` and Microsoft's C runtime read back: blanks and tabs separate, ``"`` begins and ends a quoted part,
and backslashes mean themselves but before a ``"``, where two stand for one. See "Parsing C command-line arguments" and
"CommandLineToArgvW function" in Microsoft's documentation.

The line is given to the system's own call that starts a process, never to cmd.exe, which would read ``& % ^ !`` in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LINE_CHARS = 32_000  # Windows takes 32,767 with the program's own path

_PLAIN = re.compile(r'[^\s"]+')
_BEFORE_QUOTE = re.compile(r'(\\*)"')
_AT_END = re.compile(r"(\\+)\Z")


def line_of(arguments: Sequence[str]) -> str:
    """The arguments of a program, without the program itself, as one line."""
    return " ".join(map(_quoted, arguments))


def _quoted(argument: str) -> str:
    if _PLAIN.fullmatch(argument):
        return argument
    inside = _BEFORE_QUOTE.sub(r'\1\1\\"', argument)
    return '"' + _AT_END.sub(r"\1\1", inside) + '"'
