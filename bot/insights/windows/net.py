"""The connections of a Windows host: who holds them, in which state, to whom, and whether the ports for new ones run out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bot.insights import Reading, sections, words
from bot.insights.windows import whose
from bot.insights.windows.sockets import Range, Socket, processes_of, range_of, sockets_of
from bot.model import Finding, Level

CLOSE_WAIT_WARN = 100  # connections of one process; a healthy one closes within moments
CLOSE_WAIT_BAD = 1000
SYN_SENT_WARN = 10  # connections under way to one peer: it does not answer
SYN_SENT_BAD = 100
SYN_RECEIVED = 200  # half open, from outside
PORTS_WARN = 0.7  # of the ports for new connections
PORTS_BAD = 0.9
TIME_WAIT = 5000  # at once: each takes a port for minutes
EVIDENCE = 5
TEXT_CHARS = 200
# `tcp-ip-port-exhaustion-troubleshooting` on learn.microsoft.com names these as what takes ports.
_SPOKEN = {"CloseWait": "CLOSE_WAIT", "SynSent": "SYN_SENT", "SynReceived": "SYN_RECEIVED", "TimeWait": "TIME_WAIT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pile:
    """Connections of one process in one state: to one port of others, or, where they came in, at one of its own."""

    owner: str
    state: str
    port: int  # its own, where they came in; else 0
    peers: Counter[str] = field(default_factory=Counter)

    @property
    def number(self) -> int:
        """How many."""
        return self.peers.total()

    @property
    def where(self) -> str:
        """The peer of most, or the port that many come to."""
        (first, _), *others = self.peers.most_common()
        more = f" and {words.counted(len(others), 'other')}" if others else ""
        return f"from {first}{more} on port {self.port}" if self.port else f"to {first}{more}"

    @property
    def line(self) -> str:
        """For evidence."""
        return f"{self.owner}: {words.counted(self.number, 'connection')} {_SPOKEN.get(self.state, self.state)} {self.where}"


def connections(reading: Reading) -> Iterator[Finding]:
    """Name who uses the ports up, what is left open, who does not answer; and who talks to whom most."""
    parts = sections(reading.text)
    sockets = sockets_of(parts)
    owners = {pid: _owner(row) for pid, row in processes_of(parts).items()}
    piles = sorted(_piles(sockets, owners), key=lambda pile: -pile.number)
    for family in ("ipv4", "ipv6"):
        if ports := range_of(parts, family):
            one_family = [socket for socket in sockets if (":" in socket.local) == (family == "ipv6")]
            yield from _ports(ports, one_family, owners, family)
    for pile in piles:
        yield from _left(pile)
    yield from _waiting(piles)
    if talking := [pile for pile in piles if pile.state == "Established"]:
        first = talking[0]
        text = f"{first.owner} has {words.counted(first.number, 'connection')} {first.where}, the most of all"
        yield _finding(Level.INFO, text, 0.2, talking)


def _owner(row: Mapping[str, str]) -> str:
    detail = ", ".join(part for part in (f"pid {row['pid'][:10]}", whose(row)) if part)
    return f"{words.clean(row.get('process', '?')) or '?'} ({detail})"


def _owned(socket: Socket, owners: Mapping[int, str]) -> str:
    if socket.pid == 0:  # Windows keeps what is closed by both sides without a process
        return "No process any more" if socket.state == "TimeWait" else "A process that cannot be seen"
    return owners.get(socket.pid, f"pid {socket.pid}")


def _piles(sockets: Sequence[Socket], owners: Mapping[int, str]) -> Iterator[Pile]:
    own = {socket.local_port for socket in sockets if socket.is_listening}
    piles: dict[tuple[str, str, int, int], Pile] = {}
    for socket in sockets:
        if socket.is_listening or not socket.remote_port:
            continue
        owner, port = _owned(socket, owners), socket.local_port if socket.local_port in own else 0
        key = (owner, socket.state, port, 0 if port else socket.remote_port)
        pile = piles.setdefault(key, Pile(owner=owner, state=socket.state, port=port))
        pile.peers[words.clean(socket.remote) if port else f"{words.clean(socket.remote)}:{socket.remote_port}"] += 1
    yield from piles.values()


# --- what is wrong ------------------------------------------------------------------------------


def _ports(ports: Range, sockets: Sequence[Socket], owners: Mapping[int, str], family: str) -> Iterator[Finding]:
    used: dict[int, Socket] = {}
    for socket in sockets:
        if ports.has(socket.local_port) and not socket.is_listening:
            used.setdefault(socket.local_port, socket)
    share = len(used) / ports.number
    if share < PORTS_WARN:
        return
    holders = Counter(_owned(socket, owners) for socket in used.values() if socket.state != "TimeWait")
    peers = Counter(
        f"{words.clean(socket.remote)}:{socket.remote_port}" for socket in used.values() if socket.remote_port
    )
    closed = sum(socket.state == "TimeWait" for socket in used.values())
    of = "" if family == "ipv4" else " of IPv6"
    text = f"{words.count(len(used))} of {words.count(ports.number)} ports for new connections{of} are in use"
    details = []
    if holders and holders.most_common(1)[0][1] > closed:
        owner, number = holders.most_common(1)[0]
        details.append(f"{words.count(number)} by {owner}")
    elif closed:
        details.append(f"{words.count(closed)} still wait after their end (TIME_WAIT)")
    if peers:
        peer, number = peers.most_common(1)[0]
        details.append(f"{words.count(number)} to {peer}")
    level = Level.BAD if share >= PORTS_BAD else Level.WARN
    lines = [f"{words.count(number)} {what}" for what, number in (*holders.most_common(3), *peers.most_common(3))]
    yield Finding(
        level=level,
        text=words.clean(": ".join([text, ", ".join(details)]) if details else text, TEXT_CHARS),
        weight=min(share, 1.0),
        evidence=words.evidence(*lines),
    )


def _left(pile: Pile) -> Iterator[Finding]:
    number = words.counted(pile.number, "connection")
    match pile.state:
        case "CloseWait" if pile.number >= CLOSE_WAIT_WARN:
            text = f"{pile.owner} holds {number} in CLOSE_WAIT {pile.where}: it does not close what the other side has closed"
            yield _finding(Level.BAD if pile.number >= CLOSE_WAIT_BAD else Level.WARN, text, 0.7, [pile])
        case "SynSent" if pile.number >= SYN_SENT_WARN:
            text = f"{pile.owner} waits for {number} {pile.where}: no answer comes (SYN_SENT)"
            yield _finding(Level.BAD if pile.number >= SYN_SENT_BAD else Level.WARN, text, 0.75, [pile])
        case "TimeWait" if pile.number >= TIME_WAIT and not pile.port:
            text = f"{number} in TIME_WAIT {pile.where}: each is opened anew instead of being kept, and takes a port for minutes"
            yield _finding(Level.WARN, text, 0.5, [pile])


def _waiting(piles: Sequence[Pile]) -> Iterator[Finding]:
    half_open: dict[int, int] = defaultdict(int)
    for pile in piles:
        if pile.state == "SynReceived":
            half_open[pile.port] += pile.number
    if (number := sum(half_open.values())) >= SYN_RECEIVED:
        port = max(half_open, key=lambda each: half_open[each])
        text = f"{words.counted(number, 'connection')} half open (SYN_RECEIVED), most on port {port}: a SYN flood, or clients whose answers are lost"
        yield _finding(Level.WARN, text, 0.6, [pile for pile in piles if pile.state == "SynReceived"])


def _finding(level: Level, text: str, weight: float, piles: Sequence[Pile]) -> Finding:
    lines = words.evidence(*(pile.line for pile in piles[:EVIDENCE]))
    return Finding(level=level, text=words.clean(text, TEXT_CHARS), weight=weight, evidence=lines)
