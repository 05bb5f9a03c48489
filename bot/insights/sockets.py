"""TCP sockets that pile up: who holds them, in which state, to whom."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bot.insights import Reading, sections, words
from bot.model import Finding, Level

CLOSE_WAIT_WARN = 100.0  # sockets of one process; a healthy one closes within moments
CLOSE_WAIT_BAD = 1000.0
SYN_SENT_WARN = 10.0  # connections of one process under way to one peer: the peer does not answer
SYN_SENT_BAD = 100.0
SYN_RECEIVED = 200.0  # half-open connections from outside; the kernel's default queue holds about as many
TIME_WAIT = 20_000.0  # to one address and port: of 28,232 ports that connections may come from
RETRANSMITTED = 0.05  # of the segments sent in the sampled seconds
RETRANSMITTED_LEAST = 100.0
EVIDENCE_GROUPS = 5

_LISTENER = re.compile(r'^LISTEN +(\d+) +(\d+) +(\S+):(\d+) +\S+ *(?:users:\(\("([^"]*)",pid=(\d+))?', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pile:
    """Sockets in one state of one process at one of its ports, or to one port of others."""

    count: float
    state: str
    process: str
    pid: str
    local_port: str
    peers: dict[str, float]
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
    def where(self) -> str:
        """The peer, or the port that many peers come to."""
        first = max(self.peers, key=lambda peer: self.peers[peer])
        if self.local_port != "*":
            return f"on its port {words.clean(self.local_port)}"
        return f"to {words.clean(first)}" + (
            f" and {words.counted(len(self.peers) - 1, 'other')}" if len(self.peers) > 1 else ""
        )


def sockets(reading: Reading) -> Iterator[Finding]:
    """Name processes with sockets left open, peers that do not answer, listeners that do not accept."""
    tables = {section.name: section for section in sections(reading.text)}
    rows = tables["groups"].rows() if "groups" in tables else []
    piles = _piles(rows)
    for pile in sorted(piles, key=lambda each: -each.count):
        yield from _told(pile)
    half_open = sum(words.number(row.get("sockets")) for row in rows if row.get("state") == "SYN-RECV")
    if half_open >= SYN_RECEIVED:
        text = f"{words.counted(half_open, 'connection')} half open (SYN-RECV): a SYN flood, or clients whose answers are lost"
        yield Finding(level=Level.WARN, text=text, weight=0.6)
    if "listening" in tables:
        yield from _listeners(tables["listening"].body)
    if "dropped" in tables:
        yield from _dropped(tables["dropped"].rows())
    if tables.get("unseen") and tables["unseen"].body.strip():
        yield Finding(level=Level.INFO, text=f"Sockets: {words.clean(tables['unseen'].body, 100)}", weight=0.1)


def _piles(rows: list[dict[str, str]]) -> list[Pile]:
    grouped: dict[tuple[str, str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        grouped[row.get("state", ""), row.get("pid", ""), row.get("process", ""), row.get("local_port", "")].append(row)
    piles = []
    for (state, pid, process, local_port), members in grouped.items():
        peers: dict[str, float] = defaultdict(float)
        for row in members:
            port = row.get("peer_port", "*")
            peers[row.get("peer", "") + ("" if port == "*" else f":{port}")] += words.number(row.get("sockets"))
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
        level=Level.BAD if bad else Level.WARN, text=text, weight=weight, evidence=words.evidence(*pile.lines)
    )


def _listeners(body: str) -> Iterator[Finding]:
    for match in _LISTENER.finditer(body):
        waiting, queue, port = words.number(match[1]), words.number(match[2]), match[4]
        if waiting > queue > 0:
            who = f"{words.clean(match[5])} (pid {match[6]})" if match[6] else "The process"
            text = f"{who} on port {port} does not accept: its queue of {words.counted(queue, 'connection')} is full"
            yield Finding(level=Level.BAD, text=text, weight=0.8, evidence=words.evidence(match[0]))


def _dropped(rows: list[dict[str, str]]) -> Iterator[Finding]:
    grew = {row.get("counter"): words.number(row.get("after")) - words.number(row.get("before")) for row in rows}
    if (overflows := grew.get("ListenOverflows", 0.0)) > 0:
        text = f"{words.counted(overflows, 'new connection')} dropped in 2 s: a listener's queue is full"
        yield Finding(level=Level.WARN, text=text, weight=0.6)
    again, sent = grew.get("RetransSegs", 0.0), grew.get("OutSegs", 0.0)
    if again >= RETRANSMITTED_LEAST and sent > 0 and again / sent >= RETRANSMITTED:
        text = f"{words.percent(again / sent)} of TCP segments are sent again: packets are lost on the way"
        yield Finding(level=Level.WARN, text=text, weight=0.5)
