"""TCP sockets that pile up: who holds them, in which state, to whom."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bot.insights import Reading, sections, words
from bot.insights.choice import unchosen
from bot.insights.onward import explaining, packets
from bot.insights.segments import segments
from bot.model import Finding, Level, Suggestion

CLOSE_WAIT_WARN = 100.0  # sockets of one process; a healthy one closes within moments
CLOSE_WAIT_BAD = 1000.0
SYN_SENT_WARN = 10.0  # connections of one process under way to one peer: the peer does not answer
SYN_SENT_BAD = 100.0
SYN_RECEIVED = 200.0  # half-open connections from outside; the kernel's default queue holds about as many
TIME_WAIT = 20_000.0  # to one address and port: of 28,232 ports that connections may come from
EVIDENCE_GROUPS = 5
NETWORKS = 5  # of containers, as something to press

_LISTENER = re.compile(r'^LISTEN +(\d+) +(\d+) +(\S+):(\d+) +\S+ *(?:users:\(\("([^"]*)",pid=(\d+))?', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pile:
    """Sockets in one state of one process at one of its ports, or to one port of others."""

    count: float
    state: str
    process: str
    pid: str
    local_port: str
    peers: dict[tuple[str, str], float]  # sockets by address and port
    lines: tuple[str, ...]

    @property
    def owner(self) -> str:
        """The process, as far as it can be seen."""
        return (
            f"{words.clean(self.process)} (pid {words.clean(self.pid)})"
            if self.pid.isdigit()
            else "A process that cannot be seen without root"
        )

    @property
    def first(self) -> tuple[str, str]:
        """The peer of most of them, and its port, "*" where that was drawn by lot."""
        return max(self.peers, key=lambda peer: self.peers[peer])

    @property
    def where(self) -> str:
        """The peer, or the port that many peers come to."""
        if self.local_port != "*":
            return f"on its port {words.clean(self.local_port)}"
        peer, port = self.first
        others = f" and {words.counted(len(self.peers) - 1, 'other')}" if len(self.peers) > 1 else ""
        return f"to {words.clean(peer if port == '*' else f'{peer}:{port}')}{others}"


def sockets(reading: Reading) -> Iterator[Finding]:
    """Name processes with sockets left open, peers that do not answer, listeners that do not accept."""
    parts = sections(reading.text)
    tables = {part.name: part for part in parts}
    rows = tables["groups"].rows() if "groups" in tables else []
    piles = _piles(rows)
    for pile in sorted(piles, key=lambda each: -each.count):
        yield from _told(pile)
    half_open = sum(words.number(row.get("sockets")) for row in rows if row.get("state") == "SYN-RECV")
    if half_open >= SYN_RECEIVED:
        text = f"{words.counted(half_open, 'connection')} half open (SYN-RECV): a SYN flood, or clients whose answers are lost"
        yield Finding(level=Level.WARN, text=text, weight=0.6)
    yield from _listeners("".join(part.body for part in parts if part.name == "listening"))
    yield from segments(tables)
    if tables.get("unseen") and tables["unseen"].body.strip():
        yield Finding(level=Level.INFO, text=f"Sockets: {words.clean(tables['unseen'].body, 100)}", weight=0.1)
    if "elsewhere" in tables:
        yield from _elsewhere(tables["elsewhere"].rows())


def peers(reading: Reading) -> Iterator[Finding]:
    """The same, who talks to whom most, and why it was not looked at where it was not."""
    parts = sections(reading.text)
    yield from unchosen(parts, "net", reading.target)
    yield from sockets(reading)
    rows = next((part.rows() for part in parts if part.name == "groups"), [])
    talking = [pile for pile in _piles(rows) if pile.state == "ESTAB" and pile.pid.isdigit()]
    talking.sort(key=lambda pile: -pile.count)
    if talking:
        first = talking[0]
        text = f"{first.owner} has {words.counted(first.count, 'connection')} {first.where}, the most of all"
        lines = words.evidence(
            *(f"{pile.owner}: {words.counted(pile.count, 'connection')} {pile.where}" for pile in talking)
        )
        yield Finding(level=Level.INFO, text=text, weight=0.2, evidence=lines)


def _piles(rows: list[dict[str, str]]) -> list[Pile]:
    grouped: dict[tuple[str, str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        grouped[row.get("state", ""), row.get("pid", ""), row.get("process", ""), row.get("local_port", "")].append(row)
    piles = []
    for (state, pid, process, local_port), members in grouped.items():
        peers: dict[tuple[str, str], float] = defaultdict(float)
        for row in members:
            peers[row.get("peer", ""), row.get("peer_port", "*")] += words.number(row.get("sockets"))
        lines = tuple(" ".join(row.values()) for row in members[:EVIDENCE_GROUPS])
        count = sum(peers.values())
        piles.append(
            Pile(count=count, state=state, process=process, pid=pid, local_port=local_port, peers=peers, lines=lines)
        )
    return piles


def _told(pile: Pile) -> Iterator[Finding]:
    sockets_ = words.counted(pile.count, "socket")
    match pile.state:
        case "CLOSE-WAIT" if pile.count >= CLOSE_WAIT_WARN:
            text = f"{pile.owner} holds {sockets_} in CLOSE-WAIT {pile.where}: it does not close what the other side has closed"
            bad, weight = pile.count >= CLOSE_WAIT_BAD, 0.7
        case "SYN-SENT" if pile.count >= SYN_SENT_WARN:
            text = f"{pile.owner} waits for {words.counted(pile.count, 'connection')} {pile.where}: no answer comes (SYN-SENT)"
            bad, weight = pile.count >= SYN_SENT_BAD, 0.75
        case "TIME-WAIT" if max(pile.peers.values()) >= TIME_WAIT:
            text = f"{sockets_} in TIME-WAIT {pile.where}: ports for new connections run out"
            bad, weight = False, 0.6
        case _:
            return
    yield Finding(
        level=Level.BAD if bad else Level.WARN,
        text=text,
        weight=weight,
        evidence=words.evidence(*pile.lines),
        next=(
            *explaining(pile.process, pile.pid, "files"),
            *(packets(*pile.first) if pile.state == "SYN-SENT" else ()),
        ),
    )


def _listeners(body: str) -> Iterator[Finding]:
    told: set[tuple[str, str]] = set()  # it may have been looked at twice
    for match in _LISTENER.finditer(body):
        waiting, queue, port = words.number(match[1]), words.number(match[2]), match[4]
        if waiting > queue > 0 and (match[3], port) not in told:
            told.add((match[3], port))
            who = f"{words.clean(match[5])} (pid {match[6]})" if match[6] else "The process"
            text = f"{who} on port {port} does not accept: its queue of {words.counted(queue, 'connection')} is full"
            onward = explaining(match[5] or "", match[6] or "", "profile")
            yield Finding(level=Level.BAD, text=text, weight=0.8, evidence=words.evidence(match[0]), next=onward)


def _elsewhere(rows: list[dict[str, str]]) -> Iterator[Finding]:
    """Networks of containers: their sockets are not among those of the host."""
    named = [row for row in rows if row.get("pid", "").isdecimal() and row.get("process")]
    if not named:
        return
    spoken = [f"{words.clean(row['process'])} (pid {words.clean(row['pid'], 10)})" for row in named]
    networks = words.counted(len(rows), "network of a container is", "networks of containers are")
    text = (
        f"{networks} not in this; {spoken[0]} has most sockets there: {words.count(words.number(named[0].get('tcp')))}"
    )
    looks = (
        Suggestion(label=words.clean(f"Network of {who}", 60), recipe="net", parameters={"pid": int(row["pid"][:10])})
        for who, row in zip(spoken, named[:NETWORKS], strict=False)
    )
    lines = words.evidence(*(" ".join(row.values()) for row in rows))
    yield Finding(level=Level.INFO, text=text, weight=0.15, evidence=lines, next=tuple(looks))
