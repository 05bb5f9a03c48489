"""Windows hosts (captures/win-processes.ps1, captures/win-state.ps1): who uses one up, and what of it does not run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

SATURATED = 15.0  # % of idle CPU; above it nobody waits for a processor
OWNER_SHARE = 0.4  # of all cores; below it the load has no single owner
BAD_SHARE = 0.7
ONE_CORE = 95.0  # % of one core: a program with one thread can do no more
SHORT_SHARE = 0.10  # of memory, or of what may be committed
BAD_SHORT_SHARE = 0.05
EVIDENCE_PROCESSES = 5
NEARLY_FULL = 0.90
FULL = 0.99
SPARE_BYTES = 20e9  # this much free is enough for today, whatever the share
YOUNG_S = 3600.0  # a host that started since then may have done so because of what is looked for
NAMED = 3  # services in a sentence
LIST_CHARS = 100

_POOL = re.compile(r'-ap "([^"]+)"')  # how IIS tells its workers whose they are
# As `net helpmsg` explains them; 1077 is no fault: nobody started the service since the host did.
_ERRORS = {
    "1053": "did not answer in time",
    "1067": "ended unexpectedly",
    "1068": "a service that it needs does not run",
    "1069": "its login was refused",
    "1077": "",
}

Rows = list[dict[str, str]]


def _tables(text: str) -> Mapping[str, Rows]:
    return {section.name: section.rows() for section in sections(text)}


@dataclass(slots=True, kw_only=True)
class _Group:
    """Processes of one name, and of one application pool or service where that is known."""

    name: str
    whose: str
    pids: list[str] = field(default_factory=list)
    percent: float = 0.0  # of one core
    held_bytes: float = 0.0
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its name with what finds it again: "w3wp (pid 4321, application pool Shop)"."""
        what = f"pid {self.pids[0]}" if len(self.pids) == 1 else words.counted(len(self.pids), "process", "processes")
        return f"{words.clean(self.name)} ({', '.join(part for part in (what, self.whose) if part)})"


def _groups(rows: Iterable[Mapping[str, str]]) -> list[_Group]:
    groups: dict[tuple[str, str], _Group] = {}
    for row in rows:
        if not row.get("pid", "").isdigit():
            continue
        name, detail = row.get("process", "?"), whose(row)
        group = groups.setdefault((name, detail), _Group(name=name, whose=detail))
        group.pids.append(row["pid"])
        group.percent += words.number(row.get("percent"))
        group.held_bytes += words.number(row.get("private_bytes"))
        group.lines.append(" ".join(f"{key}={value}" for key, value in row.items() if value))
    return list(groups.values())


def whose(row: Mapping[str, str]) -> str:
    """What tells processes of one name apart, as Windows' own tools do not: the pool, the services, else the user."""
    if pool := _POOL.search(row.get("command", "")):
        return f"application pool {words.clean(pool[1])}"
    if services := row.get("services", "").split():
        more = f" and {len(services) - NAMED} more" if len(services) > NAMED else ""
        return f"{'service' if len(services) == 1 else 'services'} {words.clean(', '.join(services[:NAMED]))}{more}"
    return f"user {words.clean(row['user'])}" if row.get("user") else ""


# --- who uses it up -----------------------------------------------------------------------------


def processes(reading: Reading) -> Iterator[Finding]:
    """Name who uses the processors up in the sampled seconds, and who holds memory that runs short."""
    tables = _tables(reading.text)
    machine = next(iter(tables.get("machine", [])), {})
    groups = _groups(tables.get("processes", []))
    if machine and groups:
        yield from _cpu(machine, sorted(groups, key=lambda group: -group.percent))
        yield from _memory(machine, sorted(groups, key=lambda group: -group.held_bytes))


def _cpu(machine: Mapping[str, str], groups: list[_Group]) -> Iterator[Finding]:
    cores = words.number(machine.get("cores")) or 1.0
    lead, idle = groups[0], words.number(machine.get("idle_percent")) / cores
    share = min(lead.percent / (cores * 100), 1.0)
    evidence = words.evidence(*(line for group in groups[:EVIDENCE_PROCESSES] for line in group.lines[:2]))
    text = f"{lead.text} uses {lead.percent:.0f} % CPU of {words.counted(cores, 'core')}"
    if not machine.get("idle_percent") or idle > SATURATED:
        if lead.percent >= ONE_CORE and len(lead.pids) == 1:
            yield Finding(level=Level.INFO, text=text, weight=share, evidence=evidence)
    elif share >= OWNER_SHARE:
        level = Level.BAD if share >= BAD_SHARE else Level.WARN
        yield Finding(level=level, text=text, weight=share, evidence=evidence)
    else:
        leads = f"{lead.text} leads with {lead.percent:.0f} %"
        text = f"All {words.counted(cores, 'core')} are busy, and no single process is why: {leads}"
        yield Finding(level=Level.INFO, text=text, weight=0.3, evidence=evidence)


def _memory(machine: Mapping[str, str], groups: list[_Group]) -> Iterator[Finding]:
    lead = groups[0]
    holder = f"; {lead.text} holds {words.size(lead.held_bytes)}" if lead.held_bytes else ""
    evidence = words.evidence(*(line for group in groups[:EVIDENCE_PROCESSES] for line in group.lines[:2]))
    for what, total, free in (
        ("Memory is short", "memory_kb", "free_kb"),
        ("What may be committed is nearly used up", "commit_limit_kb", "commit_free_kb"),
    ):
        all_kb, free_kb = words.number(machine.get(total)), words.number(machine.get(free))
        if machine.get(free) and all_kb and free_kb / all_kb < SHORT_SHARE:
            left = f"{words.size(free_kb * 1024)} of {words.size(all_kb * 1024)} left"
            level = Level.BAD if free_kb / all_kb < BAD_SHORT_SHARE else Level.WARN
            yield Finding(level=level, text=f"{what}: {left}{holder}", weight=0.9 - free_kb / all_kb, evidence=evidence)


# --- what of it does not run --------------------------------------------------------------------


def state(reading: Reading) -> Iterator[Finding]:
    """Name full disks, automatic services that failed, a host that started just now, and a restart that is due."""
    tables = _tables(reading.text)
    for disk in tables.get("disks", []):
        yield from _disk(disk)
    yield from _services(tables.get("services", []))
    for machine in tables.get("machine", [])[:1]:
        uptime = words.number(machine.get("uptime_s"))
        if 0 < uptime < YOUNG_S:
            text = f"The host started {words.duration(uptime)} ago"
            yield Finding(level=Level.WARN, text=text, weight=0.5)
    if wanted := [row["wanted_by"] for row in tables.get("restart", []) if row.get("wanted_by")]:
        text = f"A restart of the host is due: {words.clean(', '.join(wanted), LIST_CHARS)}"
        yield Finding(level=Level.INFO, text=text, weight=0.2)


def _disk(disk: Mapping[str, str]) -> Iterator[Finding]:
    size, free = words.number(disk.get("size_bytes")), words.number(disk.get("free_bytes"))
    share = 1 - free / size if size > 0 else 0.0
    if share >= NEARLY_FULL and free < SPARE_BYTES:
        full = share >= FULL
        text = (
            f"Drive {words.clean(disk.get('drive', '?'))} is {'full' if full else 'nearly full'}: {words.percent(share)} of "
            f"{words.size(size)} used, {words.size(free)} free"
        )
        weight = 0.95 if full else 0.5 * share
        evidence = words.evidence(" ".join(disk.values()))
        yield Finding(level=Level.BAD if full else Level.WARN, text=text, weight=weight, evidence=evidence)


def _services(rows: Rows) -> Iterator[Finding]:
    quiet = []
    for row in rows:
        code = row.get("exit_code", "0")
        why = _ERRORS.get(code, f"error {words.clean(code)}")
        if code == "1066":
            why = f"its own error {words.clean(row.get('own_exit_code', '?'))}"
        if code != "0" and why:
            text = f"Service {words.clean(row.get('service', '?'))} should run and does not: {why}"
            yield Finding(level=Level.WARN, text=text, weight=0.7, evidence=words.evidence(" ".join(row.values())))
        elif code == "0" and row.get("on_event") == "no":
            quiet.append(row.get("service", "?"))
    if quiet:
        are = "is an automatic service and does" if len(quiet) == 1 else "are automatic services and do"
        names = words.clean(", ".join(quiet[:NAMED]), LIST_CHARS)
        more = f" and {len(quiet) - NAMED} more" if len(quiet) > NAMED else ""
        yield Finding(level=Level.INFO, text=f"{names}{more} {are} not run", weight=0.2)
