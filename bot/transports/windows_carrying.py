"""A program that a step brings along to a Windows host that has none: into the step's scratch folder, first on its PATH.

It comes inside what the step's program is told, as base64 (see `powershell`). Its checksum is compared on the host before
anything may run it, and it goes with the folder. Nothing is installed, and nothing is downloaded.

Sysinternals names its builds by machine: ``procdump.exe`` for 32 bits, ``procdump64.exe``, ``procdump64a.exe`` for ARM.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.model import Carry
from bot.transports.carrying import REMARK

TOOL_BYTES = 8_000_000  # of a program as it lies here
HEADER_BYTES = 4096  # of a program that are looked at
FOLDER = "bin"  # in the step's own

# What a host says that it is, with the endings of names that fit it and what they may be built for, the best first.
_NAMES = {"AMD64": ("64.exe", ".exe"), "ARM64": ("64a.exe", "64.exe", ".exe"), "x86": (".exe",)}
_RUNS = {"AMD64": ("x86_64", "i686"), "ARM64": ("aarch64", "x86_64", "i686"), "x86": ("i686",)}
_MACHINES = {0x8664: "x86_64", 0x014C: "i686", 0xAA64: "aarch64"}  # by the number in the header of a program

# Follows `powershell.PLAN`: what the host is, and whether it has one of the names.
QUESTION = r"""
$env:PATH = "$env:PATH;$($plan.path)"
$machine = if ($env:PROCESSOR_ARCHITEW6432) { $env:PROCESSOR_ARCHITEW6432 } else { $env:PROCESSOR_ARCHITECTURE }
[Console]::Out.WriteLine("$($plan.say) machine $machine")
foreach ($name in $plan.names -split "`n") {
  if (Get-Command $name -CommandType Application -ErrorAction SilentlyContinue) { [Console]::Out.WriteLine("$($plan.say) has $name") }
}
exit 0
"""
# A virus scanner may take the file away as soon as it is written.
UNPACK = r"""
if ($plan.tool) {
  $bin = Join-Path $folder 'bin'
  $brought = Join-Path $bin $plan.toolname
  $sum = ''
  try {
    [void](New-Item -ItemType Directory -Path $bin -ErrorAction Stop)
    [IO.File]::WriteAllBytes($brought, [Convert]::FromBase64String($plan.tool))
    $hash = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    $sum = -join ($hash.ComputeHash([IO.File]::ReadAllBytes($brought)) | ForEach-Object { $_.ToString('x2') })
  } catch { }
  if ($sum -eq $plan.toolsum) {
    $env:PATH = "$bin;$env:PATH"
  } else {
    Remove-Item -LiteralPath $bin -Recurse -Force -ErrorAction SilentlyContinue
    Say 'carried broken'
  }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a step's program is told of the program that it gets, and how that is said; nothing, or *trouble*, where none is brought."""

    values: Mapping[str, str] = field(default_factory=dict)
    program: bytes = b""
    said: str = ""
    trouble: str = ""


def names_of(tool: str) -> tuple[str, ...]:
    """The file names that a host may have *tool* by."""
    return tuple(tool + ending for ending in _NAMES["ARM64"])


async def load_for(carry: Carry, answer: Iterable[Sequence[str]]) -> Load:
    """What has to be brought to a host that answered the question so."""
    said = [list(words) for words in answer]
    machine = next((words[1] for words in said if words[:1] == ["machine"] and len(words) == 2), "")
    if machine not in _NAMES:
        return _not_brought(carry, "the host does not say what machine it is")
    fitting = {carry.tool + ending for ending in _NAMES[machine]}
    if any(words[:1] == ["has"] and " ".join(words[1:]) in fitting for words in said):
        return Load()
    return await asyncio.to_thread(_load, carry, machine)


def read_troubles(notes: Iterable[Sequence[str]], tool: str) -> str:
    """What the host said of a program that it could not use."""
    if [REMARK, "broken"] in [list(note) for note in notes]:
        return f"{tool} was brought along, and did not come out whole: the drive is full, or its virus scanner took it."
    return ""


def _load(carry: Carry, machine: str) -> Load:
    built_for: list[str] = []
    for path in _files(carry, machine):
        try:
            with path.open("rb") as file:
                program = file.read(TOOL_BYTES + 1)
        except OSError as error:
            return _not_brought(carry, f"{path}: {(error.strerror or 'unknown error').lower()}")
        what = machine_of(program)
        if what not in _RUNS[machine]:
            built_for.append(what or "another system")
            continue
        if len(program) > TOOL_BYTES:
            return _not_brought(carry, f"{path}: it is larger than {TOOL_BYTES // 1_000_000} MB")
        sha256 = hashlib.sha256(program).hexdigest()
        if carry.sha256 and what not in carry.sha256:
            return _not_brought(carry, f"the recipe has no checksum for {what}")
        if carry.sha256 and sha256 != carry.sha256[what]:
            return _not_brought(carry, f"{path} has the checksum {sha256}, not the recipe's")
        said = f"with {path.name} brought along, SHA-256 {sha256}"
        return Load(values={"toolname": path.name, "toolsum": sha256}, program=program, said=said)
    found = f", only for {', '.join(sorted(set(built_for)))}" if built_for else ""
    return _not_brought(carry, f"there is none for {_RUNS[machine][0]}{found}")


def _not_brought(carry: Carry, why: str) -> Load:
    return Load(trouble=f"{carry.tool} was not brought along: {why}.")


def _files(carry: Carry, machine: str) -> Iterator[Path]:
    """The files that may be it, the best first."""
    for ending in _NAMES[machine]:
        for place in carry.places:
            folders = (place, *(place / name for name in _RUNS[machine]))
            yield from (path for folder in folders if (path := folder / (carry.tool + ending)).is_file())
    yield from (place for place in carry.places if place.is_file())


def machine_of(program: bytes) -> str:
    """What a program of Windows is built for, as `uname -m` would say it; "" for what is none."""
    if program[:2] != b"MZ" or len(program) < 64:
        return ""
    start = int.from_bytes(program[60:64], "little")
    if start > HEADER_BYTES or program[start : start + 4] != b"PE\0\0":
        return ""
    number = int.from_bytes(program[start + 4 : start + 6], "little")
    return _MACHINES.get(number, f"machine {number}")
