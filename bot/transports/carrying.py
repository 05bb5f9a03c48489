"""A program that a step brings along to a host that has none: into the step's scratch folder, first on its PATH.

It comes inside the step's own program, packed as text, because nothing else reaches every shell: dash reads
ahead of the program on its standard input. Its checksum is compared on the host before anything may run it,
and it goes with the folder (`scratch`). Nothing is installed, and nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
import shlex
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bot.model import Carry
from bot.transports.scratch import VARIABLE

TOOL_BYTES = 32_000_000  # of a program as it lies here
SLOWEST_BYTES_S = 100_000  # of a connection that it is brought over
REMARK = "carried"  # what the host says of one that it could not use

# By the number in an ELF file's header, which says what a program is built for.
_MACHINES = {0x03: "i686", 0x28: "armv7l", 0x3E: "x86_64", 0xB7: "aarch64", 0xF3: "riscv64"}
_ALIKE = {"i386": "i686", "i586": "i686", "armv8l": "armv7l", "arm64": "aarch64", "amd64": "x86_64"}

_QUESTION = r"""{
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
echo "%(token)s machine $(uname -m)"
command -v %(tool)s >/dev/null 2>&1 && echo "%(token)s has"
exit
}
"""

# A folder on a file system that runs no programs makes every file there one that cannot be executed.
_UNPACK = r"""
bin=$%(folder)s/bin
mkdir -m 700 -- "$bin"
printf %%s %(text)s | base64 -d | gzip -dc >"$bin/%(tool)s"
chmod 500 "$bin/%(tool)s"
if ! echo "%(sha256)s  $bin/%(tool)s" | sha256sum -c >/dev/null; then
  rm -rf -- "$bin"
  echo "$say %(remark)s broken" >&7
elif ! [ -x "$bin/%(tool)s" ]; then
  rm -rf -- "$bin"
  echo "$say %(remark)s noexec $%(folder)s" >&7
else
  PATH="$bin:$PATH"
fi
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What a step's program unpacks before it begins, and how that is told; nothing, or *trouble*, where nothing is brought."""

    unpack: str = ""  # sh's text, behind the making of the scratch folder
    said: str = ""
    trouble: str = ""


async def load_for(carry: Carry, ask: Callable[[str], Awaitable[list[list[str]]]], *, token: str) -> Load:
    """What has to be brought to a host that answers a short program. Raises what *ask* raises."""
    answer = await ask(_QUESTION % {"token": token, "tool": shlex.quote(carry.tool)})
    if ["has"] in answer:
        return Load()
    machine = next((words[1] for words in answer if words[:1] == ["machine"] and len(words) == 2), "")
    if not re.fullmatch(r"[a-z0-9_]{1,20}", machine):
        return Load(trouble=f"{carry.tool} was not brought along: the host does not say what machine it is.")
    return await asyncio.to_thread(_load, carry, _ALIKE.get(machine, machine))


def read_troubles(notes: Iterable[Sequence[str]], tool: str) -> str:
    """What the host said of a program that it could not use."""
    for note in notes:
        match note:
            case ["carried", "broken"]:
                return f"{tool} was brought along, and did not come out whole: the host lacks base64, gzip, or room."
            case ["carried", "noexec", folder]:
                return f"{tool} was brought along, and may not run from {folder}: its file system is mounted noexec."
    return ""


def _load(carry: Carry, machine: str) -> Load:
    built_for: list[str] = []
    for path in _files(carry, machine):
        try:
            what = _machine_of(path)
            if what not in {"", machine}:
                built_for.append(what)
                continue
            sha256, text = _packed(path, path.stat().st_mtime_ns)
        except (OSError, ValueError) as error:
            reason = (error.strerror or "unknown error").lower() if isinstance(error, OSError) else str(error)
            return Load(trouble=f"{carry.tool} was not brought along: {path}: {reason}.")
        if carry.sha256 and sha256 != (wanted := carry.sha256.get(machine)):
            what = (
                f"{path} has the checksum {sha256}, not the recipe's"
                if wanted
                else f"the recipe has no checksum for {machine}"
            )
            return Load(trouble=f"{carry.tool} was not brought along: {what}.")
        unpack = _UNPACK % {
            "folder": VARIABLE,
            "text": text,
            "tool": carry.tool,
            "sha256": sha256,
            "remark": REMARK,
        }
        return Load(unpack=unpack, said=f"with {carry.tool} brought along, SHA-256 {sha256}")
    found = f", only for {', '.join(sorted(set(built_for)))}" if built_for else ""
    return Load(trouble=f"{carry.tool} was not brought along: there is none for {machine}{found}.")


def _files(carry: Carry, machine: str) -> list[Path]:
    """The files that may be it, in the order of the places."""
    tries = [path for place in carry.places for path in (place, place / machine / carry.tool, place / carry.tool)]
    return [path for path in tries if path.is_file()]


def _machine_of(path: Path) -> str:
    """What a program is built for; "" for a script, which runs anywhere."""
    with path.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF":
        return ""
    number = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    return _MACHINES.get(number, f"machine {number}")


@lru_cache(maxsize=4)
def _packed(path: Path, mtime_ns: int) -> tuple[str, str]:
    """The checksum of a file, and the file as text; read again when it changed."""
    del mtime_ns
    with path.open("rb") as file:
        data = file.read(TOOL_BYTES + 1)
    if len(data) > TOOL_BYTES:
        raise ValueError(f"it is larger than {TOOL_BYTES // 1_000_000} MB")
    return hashlib.sha256(data).hexdigest(), base64.b64encode(gzip.compress(data, mtime=0)).decode()
