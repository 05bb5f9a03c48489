"""What the parts of a recipe must be to each other.

SQL only reads, and parameters stand only where a value cannot become code. Each function yields
faults: what is wrong, and how to mend it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from bot.model import Script
from bot.recipes.parameters import used
from bot.sql import faults_of
from bot.yamlfile import nearest, shown

Fault = tuple[str, str]  # message, cure


def undeclared(name: str, declared: Collection[str]) -> Fault:
    """The fault of using a parameter that the recipe does not have."""
    meant = nearest(name, declared)
    cure = f"did you mean `{meant}`?" if meant else f"declare `{shown(name)}` under `parameters`"
    return f"there is no parameter `{shown(name)}`", cure


# --- programs ---------------------------------------------------------------------------------

_INSIDE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
# Programs that read code from an option, and the letters of that option.
_INTERPRETERS = {
    re.compile(r"(?:(?:ba|da|a|z|k|mk|c|tc|fi|rba)?sh|busybox|python[0-9.]*)"): "c",
    re.compile(r"(?:perl|ruby|node|lua)[0-9.]*"): "eE",
    re.compile(r"php[0-9.]*"): "r",
    re.compile(r"(?i:powershell|pwsh)(?i:\.exe)?"): "cCeE",  # of -Command, -EncodedCommand and what is short for them
}
_CMD = re.compile(r"(?i:cmd)(?i:\.exe)?")


def faults_of_argv(argv: Sequence[str], declared: Collection[str]) -> Iterator[Fault]:
    """Yield what is wrong with the elements of a `run`."""
    names = [match[1] for element in argv if (match := _INSIDE.fullmatch(element))]
    if not argv[0]:
        yield "names no program", "begin with the program; each argument follows as an element of its own"
    if _INSIDE.fullmatch(argv[0]):
        yield "the program itself is a parameter", "name the program; only its arguments may be parameters"
    if len(argv) == 1 and " " in argv[0]:
        words = ", ".join(argv[0].split())
        yield (
            "is one text with blanks, and no shell splits it",
            f"make each argument an element of its own: [{shown(words)}]",
        )
    for name in names:
        if name not in declared:
            message, cure = undeclared(name, declared)
            braces = f", or write `{{ {name} }}` with blanks if the program itself reads the braces"
            yield message, cure if cure.endswith("?") else cure + braces
    for element in argv:
        inside = [] if _INSIDE.fullmatch(element) else _INSIDE.findall(element)
        for name in inside:
            if name in declared:
                yield (
                    f"the parameter `{name}` stands inside a larger element",
                    f'make it an element of its own: "{{{name}}}"',
                )
    if _runs_code(argv) and any(name in declared for element in argv for name in _INSIDE.findall(element)):
        yield (
            "gives a shell or interpreter its code on the command line, together with a parameter",
            "use `script`, which gets parameters as environment variables and never as code",
        )


def _runs_code(argv: Sequence[str]) -> bool:
    """Whether an interpreter, also one behind sudo or env, takes code from an option."""
    for position, element in enumerate(argv):
        program = re.split(r"[/\\]", element)[-1]
        if _CMD.fullmatch(program) and any(argument[:2].lower() in {"/c", "/k"} for argument in argv[position + 1 :]):
            return True
        for pattern, letters in _INTERPRETERS.items():
            if pattern.fullmatch(program):
                option = re.compile(f"-[a-zA-Z]*[{letters}][a-zA-Z]*|--(?:eval|command)(?:=.*)?")
                if any(option.fullmatch(argument) for argument in argv[position + 1 :]):
                    return True
    return False


# --- SQL --------------------------------------------------------------------------------------

_QUOTED_OR_COMMENT = re.compile(
    r"""
    '(?:[^'\\]|\\.|'')*+' | "(?:[^"\\]|\\.|"")*+" | `(?:[^`]|``)*+`   # quoted
    | /\*.*?\*/ | (?:--(?=\s|\Z)|\#)[^\n]*                             # comment
    """,
    re.VERBOSE | re.DOTALL,
)
_PLACEHOLDER = re.compile(r"%\(([^)\s]*)\)?(s?)")
_FOUND = re.compile(r"([a-z][a-z0-9_-]*)\.[A-Za-z_]\w*")  # a column of what an earlier statement found


def faults_of_sql(text: str, declared: Collection[str], earlier: Collection[str] = ()) -> Iterator[Fault]:
    """Yield what is wrong with one SQL statement; *earlier* are those of its step that are sent before it."""
    bare = _QUOTED_OR_COMMENT.sub(" ", text)
    hidden = "".join(_QUOTED_OR_COMMENT.findall(text))
    yield from faults_of(text)
    if re.search(r"%\([\w.-]+\)s", hidden):
        yield "has a parameter inside quotes or a comment", "take it out of there: the value is quoted when it is bound"
    for name, conversion in _PLACEHOLDER.findall(bare):
        if conversion and (found := _FOUND.fullmatch(name)):
            if found[1] not in earlier:
                meant = nearest(found[1], earlier)
                cure = f"did you mean `{meant}`?" if meant else "name one that stands above it in the same step"
                yield f"there is no statement `{shown(found[1])}` before it", cure
        elif not conversion or not re.fullmatch("[a-z][a-z0-9_]*", name):
            yield (
                f"has a parameter that is written wrongly: `%({shown(name)}`",
                "write it as `%(name)s`, the name in lower case",
            )
        elif name not in declared:
            yield undeclared(name, declared)


# --- scripts ----------------------------------------------------------------------------------

_WITH_DEFAULT = re.compile(r"\$\{PARAM_[A-Z][A-Z0-9_]*:?-")


def faults_of_script(script: Script, declared: Collection[str]) -> Iterator[tuple[int, Fault]]:
    """Yield what is wrong with a script, each with its line in it.

    A script for several recipes may use what not all of them declare, as ``${PARAM_NAME:-default}``.
    """
    if "\r" in script.text and not script.name.endswith(".ps1"):
        line = script.text[: script.text.index("\r")].count("\n") + 1
        yield line, ("has Windows line ends, which bash cannot read", "save it with Unix line ends")
    bare = _WITH_DEFAULT.sub("", script.text)
    for name in sorted(used(script) - set(declared)):
        if name in used(replace(script, text=bare)) or nearest(name, declared):
            lines = script.text.split("\n")
            line = next(n for n, text in enumerate(lines, 1) if name in used(replace(script, text=text)))
            yield line, undeclared(name, declared)
