"""A program that a step brings along: which one, its checksum, and what becomes of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bot.model import Carry, Target
from bot.transports import carrying, reaping, shell
from bot.transports.carrying import Load
from bot.transports.local import LocalTransport
from bot.transports.scratch import PLACES
from tests.steps import a_script, gone, keep, lives, next_bytes, start

HERE = Target(name="here", local=True)
MACHINE = os.uname().machine
TOOL = "capturebot-probe"  # no host has it
PROGRAM = b'#!/bin/sh\necho "tool $1 in ${0%/*}"\n'
ELF = b"\x7fELF\x02\x01" + bytes(12)
SCRIPT = f'{TOOL} one || echo "there is no tool"'


def elf(machine: int) -> bytes:
    """The head of a program that is built for a machine, by its number in ELF."""
    return ELF + machine.to_bytes(2, "little")


def checksum(data: bytes) -> str:
    """As `sha256sum` prints it."""
    return hashlib.sha256(data).hexdigest()


def put(path: Path, data: bytes) -> Path:
    """A file, with the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def left(tool: str = TOOL) -> set[Path]:
    """Copies of a program that steps brought to this machine; other steps may have folders of their own."""
    return {path for place in PLACES for path in Path(place).glob(f"capturebot-[0-9]*/bin/{tool}")}


async def load(carry: Carry, *answer: list[str]) -> Load:
    """What is brought to a host that answers so."""

    async def ask(_: str) -> list[list[str]]:
        return list(answer)

    return await carrying.load_for(carry, ask, token="t0")


# --- which one --------------------------------------------------------------------------------


async def test_a_host_that_has_it_gets_none(tmp_path: Path) -> None:
    """Nothing is looked at here, either."""
    assert await load(Carry(tool=TOOL, places=(tmp_path,)), ["machine", "x86_64"], ["has"]) == Load()


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "intel"), ("aarch64", "arm"), ("arm64", "arm")])
async def test_the_one_that_is_built_for_the_host_is_taken(tmp_path: Path, machine: str, name: str) -> None:
    """Its own head says so, however the folders are called."""
    intel, arm = put(tmp_path / "a" / TOOL, elf(0x3E)), put(tmp_path / "b/aarch64" / TOOL, elf(0xB7))
    wanted = {"intel": intel, "arm": arm}[name]

    found = await load(Carry(tool=TOOL, places=(tmp_path / "a", tmp_path / "b")), ["machine", machine])

    assert found.said == f"with {TOOL} brought along, SHA-256 {checksum(wanted.read_bytes())}"
    assert found.trouble == ""


async def test_another_machines_program_is_not_brought(tmp_path: Path) -> None:
    """And it is said for which there is one."""
    put(tmp_path / TOOL, elf(0x3E))

    found = await load(Carry(tool=TOOL, places=(tmp_path,)), ["machine", "riscv64"])

    assert found == Load(trouble=f"{TOOL} was not brought along: there is none for riscv64, only for x86_64.")


@pytest.mark.parametrize("machine", [["machine"], ["machine", "x86; id"], []])
async def test_a_host_that_does_not_say_what_it_is_gets_none(tmp_path: Path, machine: list[str]) -> None:
    """Its answer goes into no command and no path."""
    put(tmp_path / TOOL, PROGRAM)

    assert "does not say what machine it is" in (await load(Carry(tool=TOOL, places=(tmp_path,)), machine)).trouble


async def test_only_the_checksum_of_the_recipe_is_brought(tmp_path: Path) -> None:
    """A file that was exchanged, or a machine that nobody thought of, is not run anywhere."""
    path = put(tmp_path / TOOL, PROGRAM)
    right = Carry(tool=TOOL, places=(path,), sha256={"x86_64": checksum(PROGRAM)})
    wrong = replace(right, sha256={"x86_64": "0" * 64})

    assert (await load(right, ["machine", "x86_64"])).trouble == ""
    assert (await load(wrong, ["machine", "x86_64"])).trouble == (
        f"{TOOL} was not brought along: {path} has the checksum {checksum(PROGRAM)}, not the recipe's."
    )
    assert (await load(right, ["machine", "aarch64"])).trouble == (
        f"{TOOL} was not brought along: the recipe has no checksum for aarch64."
    )


async def test_a_file_that_is_too_large_or_changes_is_noticed(tmp_path: Path) -> None:
    """What was packed once is packed anew."""
    path = put(tmp_path / TOOL, PROGRAM)
    carry = Carry(tool=TOOL, places=(tmp_path,))
    before = await load(carry, ["machine", "x86_64"])
    put(path, PROGRAM + b"#")
    os.utime(path, ns=(1, 1))
    after = await load(carry, ["machine", "x86_64"])
    with path.open("r+b") as file:
        file.truncate(carrying.TOOL_BYTES + 1)

    assert before.said != after.said
    assert (
        await load(carry, ["machine", "x86_64"])
    ).trouble == f"{TOOL} was not brought along: {path}: it is larger than 32 MB."


# --- on a host --------------------------------------------------------------------------------


async def test_it_is_found_first_and_gone_afterwards(tmp_path: Path) -> None:
    """The command says what was brought."""
    put(tmp_path / TOOL, PROGRAM)
    before = left()
    step = replace(a_script(SCRIPT), carry=Carry(tool=TOOL, places=(tmp_path,)))

    execution = await start(LocalTransport(), HERE, step)
    kept = await keep(execution)

    assert kept.failure is None
    assert re.fullmatch(rb"tool one in (/\S+)?/capturebot-[0-9]+-[0-9]+-[0-9]+-[0-9a-f]+/bin\n", kept.output)
    assert execution.command == f"bash probe.sh  # with {TOOL} brought along, SHA-256 {checksum(PROGRAM)}"
    assert (execution.remark, left() - before) == ("", set())


async def test_a_step_goes_on_without_it_and_says_why(tmp_path: Path) -> None:
    """What came without the tool is worth keeping."""
    step = replace(a_script(SCRIPT), carry=Carry(tool=TOOL, places=(tmp_path,)))

    execution = await start(LocalTransport(), HERE, step)
    kept = await keep(execution)

    assert kept.output.startswith(b"there is no tool\n")
    assert execution.remark == f"{TOOL} was not brought along: there is none for {MACHINE}."
    assert execution.command == "bash probe.sh"


async def test_a_stop_removes_it(tmp_path: Path) -> None:
    """While it runs."""
    put(tmp_path / TOOL, b"#!/bin/sh\necho $$\nsleep 60\n")
    before = left()
    step = replace(a_script(f"exec {TOOL}", timeout_s=30), carry=Carry(tool=TOOL, places=(tmp_path,)))
    execution = await start(LocalTransport(), HERE, step)
    output = execution.output()
    pid = int(await next_bytes(output))
    assert lives(pid)

    proof = await execution.stop()
    await output.aclose()  # type: ignore[attr-defined]  # it is a generator

    assert "1 temporary file removed" in proof
    assert await gone(pid)
    assert left() == before


@pytest.mark.parametrize("spoil", ["checksum", "packing"])
def test_what_did_not_come_whole_is_not_run(tmp_path: Path, spoil: str) -> None:
    """The host compares before anything may run it."""
    put(tmp_path / TOOL, PROGRAM)
    found = asyncio.run(load(Carry(tool=TOOL, places=(tmp_path,)), ["machine", MACHINE]))
    (text,) = re.findall(r"printf %s (\S+) ", found.unpack)
    unpack = (
        found.unpack.replace(text, text[:20])
        if spoil == "packing"
        else found.unpack.replace(checksum(PROGRAM), "0" * 64)
    )
    plan = replace(shell.plan_of(a_script(SCRIPT)), unpack=unpack, scratch=True)

    program = shell.step_program(plan, token="abc123", mark=f"{reaping.MARK}=c1-1", limit_s=5)
    done = subprocess.run(shlex.split(shell.COMMAND)[1:], input=program, capture_output=True, check=False, cwd="/")

    remarks = [line.split()[1:] for line in done.stderr.decode().splitlines() if line.startswith("abc123 ")]
    assert done.stdout == b"there is no tool\n"
    assert "did not come out whole" in carrying.read_troubles(remarks, TOOL)
