"""`win-host`, `win-net`, `win-logs` and `capturebot doctor` on a Windows host, which here is Wine (see tests/wine/host.py).

What stands for the scripts is recordings made by hand after Microsoft's documentation; netstat alone is Wine's own and was run.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from bot.assembly import assemble, now
from bot.doctor import examine
from bot.insights.windows.sockets import netstat
from bot.model import Event, Level, Person, Source, State, Target, Trigger, capture_of
from bot.settings import Settings, load
from bot.story import story
from bot.transports.sshpool import SshPool
from bot.transports.windows import WindowsTransport
from tests.steps import Files, a_run, keep, start
from tests.wine.host import Prefix, WindowsHost, windows_host, wine

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("own_log")]

RECORDINGS = Path(__file__).parent.parent / "recordings"
ANA = Person(id="U1", name="ana")
FACTS = {
    "family": "windows",
    "system": "Microsoft Windows Server 2019 Standard 10.0.17763",
    "user": "WEB-1\\capture",
    "tools": "C:\\Sysinternals",
    "can event-log": "no",
    "can administrator": "no",
    "can debug-privilege": "no",
    "can performance-counters": "yes",
    "end": "yes",
}


@pytest.fixture(scope="module")
def prefix() -> Iterator[Prefix]:
    """One Wine for all."""
    with wine() as made:
        yield made


@pytest.fixture
async def host(prefix: Prefix, tmp_path: Path) -> AsyncIterator[WindowsHost]:
    """One whose default shell is cmd.exe."""
    async with windows_host(prefix, tmp_path) as made:
        yield made


def stands(host: WindowsHost, script: str, content: bytes) -> None:
    """What is printed in place of a script, on this host alone."""
    (host.temp / f"{script}.txt").write_bytes(content)


# --- recipes, by the whole engine ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """How a recipe ended, and what was found, worst first."""

    state: State
    findings: list[str]


async def run(host: WindowsHost, folder: Path, recipe: str, parameters: Mapping[str, str]) -> Said:
    """Take a capture as a person would."""
    assert host.target.windows
    ssh = host.target.windows.ssh
    way = {"host": ssh.host, "port": ssh.port, "user": ssh.user, "known_hosts": str(ssh.known_hosts)}
    target = {"windows": {**way, "key": f"file:{folder / 'key'}"}}
    (folder / "capturebot.yml").write_text(yaml.safe_dump({"folder": "artifacts", "targets": {"web-1": target}}))
    settings = replace(load(folder / "capturebot.yml"), journal="sqlite://")
    events: list[Event] = []
    async with assemble(settings, environ={}, base=folder) as bot:
        bot.journal.listeners.append(events.append)
        asked = Trigger(
            recipe=recipe, targets=("web-1",), parameters=dict(parameters), who=ANA, source=Source.TERMINAL, at=now()
        )
        capture = await bot.desk.accept(asked)
        assert capture
        await bot.desk.wait_for(capture.id)
    told = story(event for event in events if capture_of(event))
    assert told
    found = [finding for result in told.results for finding in result.findings]
    found.sort(key=lambda finding: (-finding.level.value, -finding.weight))
    return Said(
        told.state, [f"{finding.level.name} {finding.text}" for finding in found if finding.level is not Level.INFO]
    )


async def test_win_logs_names_the_crash_its_module_and_the_failing_path(host: WindowsHost, tmp_path: Path) -> None:
    """With what a person would type; a path with signs that shells read is data."""
    for script, recording in (
        ("win-events.ps1", "windows-events/dotnet-german"),
        ("win-iis.ps1", "windows-iis/failing"),
        ("win-files.ps1", "logs/python-burst"),
    ):
        stands(host, script, (RECORDINGS / f"{recording}.txt").read_bytes())

    said = await run(host, tmp_path, "win-logs", {"minutes": "60", "path": "C:\\logs\\50% & ^x! 'ü'\\app.log"})

    assert said.state is State.COMPLETE
    assert any(
        text.startswith("BAD Bestellübersicht.exe ended by System.Data.SqlClient.SqlException 3 times")
        for text in said.findings
    )
    assert any(text.startswith("BAD checkout.log: 'payments failed for order …'") for text in said.findings)
    assert any("with 5xx since 03:03:16 UTC" in text for text in said.findings)


async def test_win_net_names_who_uses_the_ports_up(host: WindowsHost, tmp_path: Path) -> None:
    """And what the network below loses."""
    stands(host, "win-connections.ps1", (RECORDINGS / "windows-connections" / "ports-exhausted.txt").read_bytes())
    stands(host, "win-network.ps1", (RECORDINGS / "windows-network" / "lossy.txt").read_bytes())

    said = await run(host, tmp_path, "win-net", {})

    assert said.state is State.COMPLETE
    assert said.findings[0].startswith("BAD 238 of 255 ports for new connections are in use: 190 by w3wp (pid 6124,")
    assert any("of TCP segments are sent again" in text for text in said.findings)


async def test_netstat_of_wine_is_read(host: WindowsHost) -> None:
    """It has no column for processes, but is no text of ours: the way that this very test came in is in it."""
    assert host.target.windows
    pool = SshPool(Files())
    try:
        step = a_run("netstat", "-ano", timeout_s=20.0)
        kept = await keep(await start(WindowsTransport(Files(), pool), host.target, step))
    finally:
        await pool.close()

    found = list(netstat(kept.output.decode(), {}))

    assert host.target.windows.ssh.port in {one.remote_port for one in found} | {one.local_port for one in found}


# --- the doctor ---------------------------------------------------------------------------------


async def said_of(host: WindowsHost, folder: Path) -> tuple[int, str]:
    """The exit status, and what the doctor printed of the host."""
    paper = io.StringIO()
    target = Target(name="web-1", windows=host.target.windows)
    settings = Settings(targets={"web-1": target}, journal="sqlite://")
    console = Console(file=paper, soft_wrap=True)
    status = await examine(settings, environ={}, base=folder, parts=["web-1"], console=console)
    return status, paper.getvalue()


def facts(host: WindowsHost, **changes: str) -> None:
    """What the host would answer to the survey."""
    lines = {**FACTS, **changes}
    stands(host, "survey.ps1", "".join(f"{key}\t{value}\n" for key, value in lines.items()).encode())


async def test_the_doctor_says_which_recipes_work_and_what_mends_the_others(host: WindowsHost, tmp_path: Path) -> None:
    """With the commands, ready to be pasted."""
    facts(host)

    status, said = await said_of(host, tmp_path)

    assert status == 0
    assert "ok: web-1 runs commands as WINE\\capture, no administrator" in said
    assert "ok: our account there may read event logs" in said
    assert "ok: 40 GB of 128 GB free for what steps leave, in C:\\windows\\temp" in said
    assert "ok: programs are asked for UTF-8 there; its own code page is 850" in said
    assert "ok: web-1 is Microsoft Windows Server 2019 Standard 10.0.17763" in said
    assert (
        "warn: win-logs works, but with less: event logs may not be read — "
        "Add-LocalGroupMember -SID S-1-5-32-573 -Member 'WEB-1\\capture'"
    ) in said
    assert (
        "warn: win-net works, but with less: command lines and owners of other users' processes stay unseen — " in said
    )


async def test_an_account_that_may_lacks_nothing(host: WindowsHost, tmp_path: Path) -> None:
    """One line a recipe says so."""
    facts(host, **{"can event-log": "yes", "can administrator": "yes", "can debug-privilege": "yes"})

    status, said = await said_of(host, tmp_path)

    assert status == 0
    for recipe in ("win-host", "win-net", "win-logs"):
        assert f"ok: {recipe} works" in said


HELD = {
    "language": "holds PowerShell in ConstrainedLanguage mode for our account on web-1, where no step can run",
    "encoded": "web-1 runs PowerShell, but nothing that is given as -EncodedCommand",
    "everything": "web-1 does not run powershell.exe for our account",
    "sshd": "web-1 runs PowerShell 5.1.17763.1, but our programs do not reach it through its sshd",
}


@pytest.mark.parametrize("what", HELD)
async def test_the_doctor_says_what_holds_powershell_back(host: WindowsHost, tmp_path: Path, what: str) -> None:
    """Each with where its cure is; nothing else can be said then."""
    (host.temp / f"held-{what}").touch()

    status, said = await said_of(host, tmp_path)

    assert status == 1
    assert HELD[what] in said
    assert "win-logs" not in said.replace("docs/windows.md", "")
