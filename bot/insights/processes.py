"""Which process uses a host up: its CPU in the sampled seconds, its memory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

SATURATED = 15.0  # % of idle CPU; above it nobody waits for a processor
OWNER_SHARE = 0.4  # of all cores; below it the load has no single owner
BAD_SHARE = 0.7
SEEN_SHARE = 0.5  # of the used CPU time must be explained by processes in sight
ONE_CORE = 95.0  # % of one core: a program with one thread can do no more
SINCE_START = 0.7  # of its present rate over its whole life: it has always been so
STEAL = 10.0  # % of CPU time that the hypervisor gives to others
SHORT_SHARE = 0.10  # of memory available; below it caches are squeezed
BAD_SHORT_SHARE = 0.05  # below it the kernel is about to kill
LIMIT_SHARE = 0.92  # of what a control group may use, caches of files left out: programs are sized to fill theirs
BAD_LIMIT_SHARE = 0.97
HOLDER_SHARE = 0.5  # of a group's memory; who holds more is the one to name
SWAPPED_SHARE = 0.5  # of swap in use, while pages move
SWAPPING_KB = 1000.0  # per second, in and out
EVIDENCE_PROCESSES = 5


@dataclass(slots=True, kw_only=True)
class Group:
    """Processes of one name and user; one is the usual case."""

    name: str
    user: str
    pids: list[str] = field(default_factory=list)
    amount: float = 0.0  # % of one core, or kB
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its name with what finds it again: "java (pid 4321, user orders)"."""
        what = f"pid {self.pids[0]}" if len(self.pids) == 1 else words.counted(len(self.pids), "process", "processes")
        return f"{words.clean(self.name)} ({what}, user {words.clean(self.user)})"


def _groups(rows: Iterable[tuple[str, str, str, float, str]]) -> list[Group]:
    """(pid, user, name, amount, line) by name and user, the largest first."""
    groups: dict[tuple[str, str], Group] = {}
    for pid, user, name, amount, line in rows:
        group = groups.setdefault((name, user), Group(name=name, user=user))
        group.pids.append(pid)
        group.amount += amount
        group.lines.append(line)
    return sorted(groups.values(), key=lambda group: -group.amount)


def _bodies(text: str) -> Mapping[str, str]:
    return defaultdict(str, {section.name: section.body for section in sections(text)})


# --- CPU --------------------------------------------------------------------------------------

_CPU_LINE = re.compile(r"^%Cpu\(s\):(.*)$", re.MULTILINE)
_CPU_PART = re.compile(r"(\d+\.\d)\s*(us|sy|ni|id|wa|hi|si|st)\b")
_LIFE = re.compile(r"^ *(\d+) +\d+ +(\S+) +\d+ +\S+ +(\d+) +(\d+) ", re.MULTILINE)  # pid, user, seconds, CPU seconds


def cpu(reading: Reading) -> Iterator[Finding]:
    """Name who uses the processors up, and since when; nothing while some are idle."""
    parts = _bodies(reading.text)
    cores = words.number(parts["cores"].strip()) or 1.0
    line = _CPU_LINE.search(parts["top"])
    shares = {kind: words.number(share) for share, kind in _CPU_PART.findall(line[1])} if line else {}
    if shares.get("st", 0.0) >= STEAL:
        text = f"The hypervisor withholds {words.percent(shares['st'] / 100)} of this machine's CPU time (steal)"
        yield Finding(level=Level.WARN, text=text, weight=0.6)
    life = {
        pid: (user, words.number(age), words.number(spent))
        for pid, user, age, spent in _LIFE.findall(parts["processes"])
    }
    groups = _groups(_top_rows(parts["top"], life))
    if not groups or "id" not in shares:
        return
    lead = groups[0]
    evidence = words.evidence(*(row for group in groups[:EVIDENCE_PROCESSES] for row in group.lines[:2]))
    text = f"{lead.text} uses {lead.amount:.0f} % CPU of {words.counted(cores, 'core')}{_since(lead, life)}"
    if shares["id"] + shares.get("wa", 0.0) > SATURATED:
        if lead.amount >= ONE_CORE and len(lead.pids) == 1:
            weight = min(lead.amount / (cores * 100), 1.0)
            yield Finding(level=Level.INFO, text=text, weight=weight, evidence=evidence)
        return
    used = (100 - shares["id"] - shares.get("wa", 0.0)) * cores
    unseen = used - sum(group.amount for group in groups)
    if (starter := _starter(reading.text, groups, unseen)) and starter.amount > lead.amount:
        lead, text = starter, _starts(starter, cores, parts["started"])
        evidence = words.evidence(*starter.lines, *evidence)
    share = min(lead.amount / (cores * 100), 1.0)
    if share >= OWNER_SHARE:
        level = Level.BAD if share >= BAD_SHARE else Level.WARN
        yield Finding(level=level, text=text, weight=share, evidence=evidence)
        return
    leads = f"{lead.text} leads with {lead.amount:.0f} %"
    if unseen > (1 - SEEN_SHARE) * used:
        leads = "most of the work is done by processes that cannot be seen or end at once"
    text = f"All {words.counted(cores, 'core')} are busy, and no single process is why: {leads}"
    yield Finding(level=Level.INFO, text=text, weight=0.3, evidence=evidence)


def _starts(starter: Group, cores: float, started: str) -> str:
    """That one starts processes which end at once, how much CPU that takes, and how many start on the whole machine."""
    whose = "it starts" if len(starter.pids) == 1 else "they start"
    rate = words.number((started.split() or ["0"])[0])
    often = f"; {words.counted(rate, 'process', 'processes')} a second start" if rate else ""
    used = f"{starter.amount:.0f} % CPU of {words.counted(cores, 'core')}"
    return f"{starter.text} and the short-lived processes that {whose} use {used}{often}"


def _starter(text: str, groups: Iterable[Group], unseen: float) -> Group | None:
    """Who starts processes that end before any list shows them, with their CPU time and its own.

    A process that ended after a long life counts with all of it, but never with more than is *unseen*.
    """
    rows = next((section.rows() for section in sections(text) if section.name == "starters"), [])
    started = _groups(
        (row["pid"], row["user"], row["process"], words.number(row["percent"]), " ".join(row.values()))
        for row in rows
        if row.keys() >= {"pid", "user", "process", "percent"} and row["pid"].isdigit()
    )
    if not started:
        return None
    lead = started[0]
    lead.amount = min(lead.amount, max(unseen, 0.0))
    own = sum(group.amount for group in groups if (group.name, group.user) == (lead.name, lead.user))
    if lead.amount < own:
        return None
    lead.amount += own
    return lead


def _top_rows(frame: str, life: Mapping[str, tuple[str, float, float]]) -> Iterator[tuple[str, str, str, float, str]]:
    """The processes of a frame of top; users come from ps, which does not shorten them."""
    columns: list[str] = []
    for line in frame.split("\n"):
        cells = line.split(None, max(len(columns) - 1, 0) or -1)
        if "PID" in cells and "%CPU" in cells and not columns:
            columns = cells
        elif columns and len(cells) == len(columns):
            row = dict(zip(columns, cells, strict=True))
            pid = row["PID"]
            user = life[pid][0] if pid in life else row.get("USER", "?")
            if pid.isdigit():
                yield pid, user, row.get("COMMAND", "?"), words.number(row["%CPU"]), line


def _since(group: Group, life: Mapping[str, tuple[str, float, float]]) -> str:
    """How long one process has been at its present rate, where its whole life says so."""
    if len(group.pids) != 1 or group.pids[0] not in life:
        return ""
    _, age, spent = life[group.pids[0]]
    always = age > 0 and spent / age * 100 >= SINCE_START * group.amount
    return f" and has for {words.duration(age)}" if always else ""


# --- memory -----------------------------------------------------------------------------------

_MEMINFO = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)
_RESIDENT = re.compile(r"^ *(\d+) +(\S+) +(\d+) +\d+ (.+)$", re.MULTILINE)  # pid, user, kB, name
_VMSTAT_COLUMNS = ("si", "so")


def memory(reading: Reading) -> Iterator[Finding]:
    """Say that memory is short, of the host or of a control group, and who holds most of it; that the host swaps."""
    parts = _bodies(reading.text)
    info = {name: words.number(amount) for name, amount in _MEMINFO.findall(parts["meminfo"])}
    total, available = info.get("MemTotal", 0.0), info.get("MemAvailable")
    groups = _groups(
        (pid, user, name, words.number(kb), f"{pid} {user} {kb} kB {name}")
        for pid, user, kb, name in _RESIDENT.findall(parts["processes"])
    )
    holder = f"; {groups[0].text} holds {words.size(groups[0].amount * 1024)}" if groups else ""
    evidence = words.evidence(*(row for group in groups[:EVIDENCE_PROCESSES] for row in group.lines[:2]))
    if total and available is not None and available / total < SHORT_SHARE:
        text = f"Memory is short: {words.size(available * 1024)} of {words.size(total * 1024)} available{holder}"
        level = Level.BAD if available / total < BAD_SHORT_SHARE else Level.WARN
        yield Finding(level=level, text=text, weight=0.9 - available / total, evidence=evidence)
    yield from _limited(row for section in sections(reading.text) if section.name == "limits" for row in section.rows())
    swap = info.get("SwapTotal", 0.0)
    used = swap - info.get("SwapFree", 0.0)
    moved = _swapping(parts["vmstat"])
    if swap and used / swap >= SWAPPED_SHARE and moved >= SWAPPING_KB:
        text = f"Swapping {words.size(moved * 1024)} a second, {words.percent(used / swap)} of swap in use{holder}"
        yield Finding(level=Level.BAD, text=text, weight=0.8, evidence=evidence)


def _limited(rows: Iterable[Mapping[str, str]]) -> Iterator[Finding]:
    """Control groups that the kernel is about to kill in, and who holds their memory."""
    for row in rows:
        limit, used = words.number(row.get("limit_kb")), words.number(row.get("used_kb"))
        share = used / limit if limit else 0.0
        pid, held = row.get("pid", ""), words.number(row.get("rss_kb"))
        if share < LIMIT_SHARE or not pid:  # where no process is, none can be killed
            continue
        who = (
            f"{words.clean(row.get('process', '?'))} (pid {words.clean(pid)}, user {words.clean(row.get('user', '?'))})"
        )
        group = f"control group {words.clean(row.get('group', '') or '/')}"
        full = f"{words.size(used * 1024)} of {words.size(limit * 1024)} used"
        if held >= HOLDER_SHARE * used:
            text = f"{who} is near its memory limit: {full} ({group})"
        else:
            text = f"The {group} is near its memory limit: {full}; {who} holds most, {words.size(held * 1024)}"
        level = Level.BAD if share >= BAD_LIMIT_SHARE else Level.WARN
        yield Finding(
            level=level, text=text, weight=min(share, 1.0) * 0.8, evidence=words.evidence(" ".join(row.values()))
        )


def _swapping(vmstat: str) -> float:
    """How many kB a second are swapped in and out, over the last two looks."""
    lines = [line.split() for line in vmstat.split("\n")]
    columns = next((cells for cells in lines if "si" in cells and "so" in cells), [])
    looks = [cells for cells in lines if columns and len(cells) == len(columns) and cells[0].isdigit()][1:]
    moved = [words.number(cells[columns.index(name)]) for cells in looks for name in _VMSTAT_COLUMNS]
    return sum(moved) / len(looks) if looks else 0.0
