"""Dumps of Windows processes: what their own streams say, however hostile, what they cost, and the tool that is brought along."""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import cost
from bot.insights import Reading
from bot.insights.minidump import HEAD_BYTES, MODULES, Module, parse
from bot.insights.procdump import procdump
from bot.model import Carry, File, Level, Member, Membership, Policy, Verb
from bot.policy import Asked, Verdict, decide
from bot.recipes import bind_parameters, builtin_folder, load_folder
from bot.settings import load as load_settings
from bot.transports import windows_carrying
from bot.transports.windows_carrying import Load, load_for, machine_of
from tests.minidumps import a_dump

MODULES_OF_ALL = (("C:\\srv\\orders.exe", 0x400000, 0x10000), ("C:\\srv\\grün\\Bücher.dll", 0x7FF000000000, 0x5000))
WHOLE = a_dump(
    pid=4321,
    threads=62,
    handles=1874,
    modules=MODULES_OF_ALL,
    exception=(0xC0000005, 0x401234, (1, 0)),
    comment="a\n*** b",
    full=True,
)

# --- reading a dump -----------------------------------------------------------------------------


def test_a_dump_says_who_it_was_and_what_broke() -> None:
    """Each stream that is read, from a dump that has them all."""
    dump = parse(WHOLE)

    assert dump
    assert (dump.pid, dump.threads, dump.handles, dump.is_full) == (4321, 62, 1874, True)
    assert dump.modules[1] == Module(path="C:\\srv\\grün\\Bücher.dll", start=0x7FF000000000, size_bytes=0x5000)
    assert dump.modules[1].name == "Bücher.dll"
    assert dump.fault
    assert (dump.fault.code, dump.fault.thread, dump.fault.details) == (0xC0000005, 5316, (1, 0))
    assert dump.at(0x401234) == dump.modules[0]
    assert dump.at(0x410000) is None
    assert dump.comment == "a\n*** b"
    assert dump.system == "Windows 10.0.20348, x64"


def test_a_dump_that_came_compressed_is_read_like_any() -> None:
    """Also where only its beginning is there."""
    packed = gzip.compress(WHOLE + bytes(5_000_000))

    assert parse(packed) == parse(WHOLE)
    assert parse(packed[:-20]) == parse(WHOLE)


def test_a_small_file_that_unpacks_to_a_huge_one_is_read_within_bounds() -> None:
    """Nothing behind the bound is unpacked."""
    streams = struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, 1, 2 * HEAD_BYTES, 0, 0, 0)

    dump = parse(gzip.compress(streams + bytes(4 * HEAD_BYTES)))

    assert dump
    assert dump.pid is None


@pytest.mark.parametrize(
    "data", [b"", b"MZ\x90", b"MDMP", b"MDMP" + bytes(28), b"\x1f\x8b", b"\x1f\x8b" + bytes(40), b"<html>" * 20]
)
def test_what_is_no_dump_is_told_from_one(data: bytes) -> None:
    """Before anything calls it one."""
    assert parse(data) is None


@given(st.integers(0, len(WHOLE)))
def test_a_dump_that_is_cut_says_what_is_there(end: int) -> None:
    """Wherever it is cut; nothing in it is made up."""
    whole, cut = parse(WHOLE), parse(WHOLE[:end])

    assert whole
    assert cut is None or (cut.pid in {None, 4321} and set(cut.modules) <= set(whole.modules))


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=60))
def test_a_hostile_dump_is_read_within_bounds(changes: list[tuple[int, int]]) -> None:
    """Whatever its numbers promise: no error, no endless list, and no sentence that steers a terminal."""
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value

    dump = parse(bytes(data))
    said = list(procdump(Reading(text=DUMPED, target="win-1", file=bytes(data))))

    assert dump is None or len(dump.modules) <= MODULES
    assert all(finding.text.isprintable() and len(finding.text) <= 200 for finding in said)


@given(st.binary(max_size=400))
def test_anything_behind_the_mark_is_read_within_bounds(rest: bytes) -> None:
    """Directories and streams of noise."""
    parse(struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, 0xFFFFFFFF, 32, 0, 0, 0) + rest)


def test_lists_that_promise_everything_are_bounded() -> None:
    """A module list of four thousand million entries is as long as what is there, at most."""
    data = WHOLE.replace(
        struct.pack("<I", 2) + struct.pack("<QII", 0x400000, 0x10000, 0),
        b"\xff" * 4 + struct.pack("<QII", 0x400000, 0x10000, 0),
    )
    dump = parse(data)

    assert dump
    assert len(dump.modules) == 2


# --- what is said of one ------------------------------------------------------------------------

PROCESS = "### process at=2026-11-23T04:10:00.100000+00:00\npid\tuser\tapp\tcommand\n4321\tSHOP\\\\orders\torders.exe\torders.exe -v\n"
DUMPED = PROCESS + (
    "### procdump at=2026-11-23T04:10:02.000000+00:00 exit=0 waited_s=2\n[04:10:02] Dump 1 complete: 14 MB written in 0,4 seconds\n"
    "### dump at=2026-11-23T04:10:04.000000+00:00 size_bytes=14680064 kind=mini clone=no when=now\n"
)


def test_the_pause_is_what_procdump_measured() -> None:
    """However its locale writes numbers; a clone's time is no pause."""
    (whole,) = procdump(Reading(text=DUMPED, target="win-1", file=a_dump()))
    (clone,) = procdump(Reading(text=DUMPED.replace("clone=no", "clone=yes"), target="win-1", file=a_dump()))

    assert whole.paused_s == 0.4
    assert "it stood still for 0.4 s" in whole.text
    assert clone.paused_s is None
    assert "a clone was written in 0.4 s" in clone.text


def test_a_mini_dump_leads_to_a_full_one() -> None:
    """By a button for the same process."""
    (mini,) = procdump(Reading(text=DUMPED, target="win-1", file=a_dump()))
    (full,) = procdump(Reading(text=DUMPED.replace("kind=mini", "kind=full"), target="win-1", file=a_dump()))

    assert [one.parameters for one in mini.next] == [{"pid": 4321, "dump": "full"}]
    assert full.next == ()


def test_who_was_meant_is_no_fault() -> None:
    """ProcDump marks the thread that used the processor as a debugger's wake would."""
    said = [
        finding.level
        for finding in procdump(Reading(text=DUMPED, target="win-1", file=a_dump(exception=(0x80000007, 1, ()))))
    ]

    assert said == [Level.INFO]


def test_a_refused_clone_leads_to_a_dump_without_one() -> None:
    """The code is read, and not the words, which Windows translates."""
    text = (
        PROCESS
        + "### failed at=2026-11-23T04:10:04.000000+00:00\norders.exe (pid 4321): Error writing dump file: 0x80070006 (Das Handle ist ungültig)\n"
    )

    (failed,) = procdump(Reading(text=text, target="win-1"))

    assert failed.next[0].parameters == {"pid": 4321, "clone": "no"}


# --- what it costs ------------------------------------------------------------------------------


def test_the_cost_is_told_as_the_script_prints_it() -> None:
    """In the form of captures/win-dump-cost.ps1."""
    text = (
        "what=w3wp.exe Shop (pid 4321)\r\npause_s=0.371\r\nwrites_bytes=1554321000\r\npath=C:\\Temp\r\nfree_bytes=40000000000\r\n"
        "total_bytes=80000000000\r\nupload_bytes=1554321000\r\nnote=a dump holds everything in its memory, passwords too\r\n"
    )

    said = cost.sentence(cost.read(text.replace("\r\n", "\n")))

    assert said == (
        "stops w3wp.exe Shop (pid 4321) for less than 1 s, writes 1.6 GB to C:\\Temp (40 GB free), uploads in about 31 s. "
        "A dump holds everything in its memory, passwords too"
    )


@pytest.mark.parametrize("app", ['"C:\\a b\\50% & ^more! x\\" -v', "Shop", "grün"])
def test_a_process_may_be_called_anything(app: str) -> None:
    """It travels as data, so that only what could not stand in a line of settings is refused."""
    recipe = load_folder(builtin_folder())["procdump"]

    assert bind_parameters(recipe, {"app": app})["app"] == app


POLICY = """
folder: x
targets: {win-1: {windows: {host: a, user: b}}}
policy:
  rules:
    - {name: on call, allow: [capture], who: [U0123ABCD]}
    - {name: full dumps are approved, approval: {minutes: 15}, recipes: [procdump], parameters: {dump: {one_of: [full]}}}
"""


@pytest.mark.parametrize(
    ("dump", "verdict"), [("mini", Verdict.ALLOWED), ("plus", Verdict.ALLOWED), ("full", Verdict.NEEDS_APPROVAL)]
)
def test_a_full_dump_can_want_an_approval_and_a_small_one_not(tmp_path: Path, dump: str, verdict: Verdict) -> None:
    """As the README's rule has it; without a rule that allows it nobody may, because it pauses a process."""
    (tmp_path / "capturebot.yml").write_text(POLICY)
    recipe = load_folder(builtin_folder())["procdump"]
    asked = Asked(
        verb=Verb.CAPTURE,
        who=Member(id="U0123ABCD", name="ana", membership=Membership.MEMBER),
        recipe="procdump",
        impact=recipe.impact,
        target="win-1",
        labels={},
        parameters=bind_parameters(recipe, {"dump": dump}),
    )

    decided = decide(load_settings(tmp_path / "capturebot.yml").policy, asked)

    assert decided.verdict is verdict
    assert decide(Policy(), asked).verdict is Verdict.REFUSED


# --- what its scripts may do --------------------------------------------------------------------

WRITES = {
    "Remove-Item": {
        "-LiteralPath $file",
        "-LiteralPath (Join-Path $env:CAPTURE_SCRATCH",
        "'HKCU:\\Software\\Sysinternals\\ProcDump'",
    },
    "Invoke-CimMethod": {"-InputObject $process -MethodName GetOwner"},
}


def test_the_scripts_change_nothing_but_their_own_folder() -> None:
    """And the mark that ProcDump leaves when its licence is accepted, where it was not there before."""
    recipe = load_folder(builtin_folder())["procdump"]
    action = recipe.steps[0].action
    assert isinstance(action, File)
    assert recipe.cost
    code = re.sub(r"(?m)^\s*#.*$", "", action.script.text + recipe.cost.script.text)

    changes = [
        (command, rest)
        for command, rest in re.findall(
            r"(?<![\w'-])([A-Z]\w+-(?:Item|CimMethod|Process|Content|Service))\b *([^\n|;]*)", code
        )
        if not command.startswith(("Get-", "Test-", "Show-"))
    ]

    assert {command for command, _ in changes} == WRITES.keys()
    assert all(rest.startswith(tuple(WRITES[command])) for command, rest in changes)


# --- the tool that is brought along -------------------------------------------------------------

NUMBERS = {"x86_64": 0x8664, "i686": 0x014C, "aarch64": 0xAA64, "machine 358": 0x0166}


def program(machine: str, text: bytes = b"") -> bytes:
    """The head of a program of Windows."""
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", NUMBERS[machine]) + text


def place(folder: Path, **programs: bytes) -> Carry:
    """A folder of tools."""
    for name, data in programs.items():
        (folder / f"{name}.exe").write_bytes(data)
    return Carry(tool="procdump", places=(folder,))


async def load(carry: Carry, machine: str = "AMD64", *has: str) -> Load:
    """What is brought to a host that is such a machine."""
    return await load_for(carry, [["machine", machine], *(["has", name] for name in has)])


@pytest.mark.parametrize(
    ("machine", "name"),
    [("AMD64", "procdump64"), ("ARM64", "procdump64a"), ("x86", "procdump")],
)
async def test_the_build_for_the_hosts_machine_is_brought(tmp_path: Path, machine: str, name: str) -> None:
    """As Sysinternals names them; what it is built for says its own head."""
    builds = {"procdump": program("i686"), "procdump64": program("x86_64"), "procdump64a": program("aarch64")}

    found = await load(place(tmp_path, **builds), machine)

    sha256 = hashlib.sha256(builds[name]).hexdigest()
    assert found.program == builds[name]
    assert found.values == {"toolname": f"{name}.exe", "toolsum": sha256}
    assert found.said == f"with {name}.exe brought along, SHA-256 {sha256}"


async def test_a_host_that_has_it_gets_none(tmp_path: Path) -> None:
    """One that cannot run there does not count."""
    carry = place(tmp_path, procdump64=program("x86_64"))

    assert await load(carry, "AMD64", "procdump64.exe") == Load()
    assert (await load(carry, "AMD64", "procdump64a.exe")).program


@pytest.mark.parametrize(
    ("name", "data", "machine", "trouble"),
    [
        ("procdump64", program("aarch64"), "AMD64", "there is none for x86_64, only for aarch64"),
        ("procdump64", program("machine 358"), "AMD64", "there is none for x86_64, only for machine 358"),
        ("procdump64", b"\x7fELF" + bytes(100), "AMD64", "there is none for x86_64, only for another system"),
        ("procdump64", program("x86_64"), "x86", "there is none for i686"),
        ("other", program("x86_64"), "AMD64", "there is none for x86_64"),
        ("procdump64", program("x86_64"), "x86; id", "the host does not say what machine it is"),
        (
            "procdump64",
            program("x86_64", bytes(windows_carrying.TOOL_BYTES)),
            "AMD64",
            "procdump64.exe: it is larger than 8 MB",
        ),
    ],
)
async def test_what_cannot_run_there_is_not_brought(
    tmp_path: Path, name: str, data: bytes, machine: str, trouble: str
) -> None:
    """And it is said why."""
    found = await load(place(tmp_path, **{name: data}), machine)

    assert not found.program
    assert found.trouble.startswith("procdump was not brought along: ")
    assert found.trouble.endswith(f"{trouble}.")


async def test_only_the_checksum_of_the_recipe_is_brought(tmp_path: Path) -> None:
    """A file that was exchanged is not run anywhere."""
    carry = place(tmp_path, procdump64=program("x86_64"))
    right = replace(carry, sha256={"x86_64": hashlib.sha256(program("x86_64")).hexdigest()})
    wrong = replace(carry, sha256={"x86_64": "0" * 64})

    assert (await load(right)).program
    assert "not the recipe's" in (await load(wrong)).trouble


def test_a_tool_that_a_virus_scanner_took_is_told() -> None:
    """As the host says it."""
    assert windows_carrying.read_troubles([["carried", "broken"]], "procdump") == (
        "procdump was brought along, and did not come out whole: the drive is full, or its virus scanner took it."
    )
    assert windows_carrying.read_troubles([["removed", "1", "2", "x"]], "procdump") == ""


@given(st.binary(max_size=200))
def test_any_file_has_a_machine_or_none(data: bytes) -> None:
    """Whatever its head promises."""
    machine_of(b"MZ" + data)
