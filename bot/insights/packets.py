"""Recorded packets (captures/tcpdump.sh): who does not answer, who resets, what is sent again, and who talks most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.insights import Reading, Section, sections, words
from bot.insights.onward import explaining
from bot.model import Finding, Level, Suggestion

SILENT_CALLS = 3  # unanswered handshakes of one service that are no accident
RESETS = 10  # of one service, in one recording
RESET_SHARE = 0.1  # of its connections
REFUSED_CALLS = 3
REPEATS = 10
REPEATED_SHARE = 0.02  # of the segments that carry data
DROPPED_SHARE = 0.05  # by the kernel, which then records too little to trust counts of it
TEXT_CHARS = 200


@dataclass(frozen=True, slots=True)
class _Service:
    """One service in the recording: a row of the script's table, with its numbers read."""

    row: Mapping[str, str]

    def __getitem__(self, column: str) -> float:
        return words.number(self.row.get(column))

    @property
    def name(self) -> str:
        return words.clean(self.row.get("service", "?"), 60)

    @property
    def owned(self) -> str:
        """Address with the process behind it, where that is on this host."""
        return f"{_process(self.row, 'process', 'pid')} on {self.name}" if self.is_here else self.name

    @property
    def is_here(self) -> bool:
        return self.row.get("pid", "").isdecimal()

    @property
    def has_many(self) -> bool:
        """Several hosts call it, and no process of this one."""
        return self["clients"] >= 2 and not self.row.get("caller_pid", "").isdecimal()

    @property
    def caller(self) -> str:
        """Who calls it: the process on this host, else the address that talks most to it."""
        if self.row.get("caller_pid", "").isdecimal():
            return _process(self.row, "caller", "caller_pid")
        loudest = words.clean(self.row.get("client", "?"), 45)
        return f"{words.count(self['clients'])} hosts (most by {loudest})" if self.has_many else loudest

    @property
    def next(self) -> tuple[Suggestion, ...]:
        """What explains the sockets of this host, and the process on either side that is here."""
        net = Suggestion(label="Sockets and queues of this host", recipe="net")
        for name, pid in (("process", "pid"), ("caller", "caller_pid")):
            if found := explaining(self.row.get(name, ""), self.row.get(pid, ""), "files"):
                return (net, *found)
        return (net,)


def packets(reading: Reading) -> Iterator[Finding]:
    """Findings of a recording, worst first; what talks most is the answer where nothing is wrong."""
    parts = sections(reading.text)
    by_name = {part.name: part for part in parts}
    if refused := by_name.get("refused"):
        text = words.clean(refused.body.partition("\n")[0], TEXT_CHARS) or "Nothing was recorded"
        yield Finding(level=Level.WARN, text=text, weight=0.9, evidence=words.evidence(*refused.body.split("\n")[1:4]))
    facts = by_name.get("capture")
    if facts is None:
        return
    seconds = words.duration(words.number(facts.facts.get("seconds")))
    services = [_Service(row) for part in parts if part.name == "services" for row in part.rows()]
    for service in services:
        yield from _faults(service, seconds)
    yield _answer(facts, services, seconds)
    captured, dropped = (max(words.number(facts.facts.get(key)), 0) for key in ("captured", "dropped"))
    if dropped > DROPPED_SHARE * (captured + dropped):
        text = f"The kernel dropped {words.percent(dropped / (captured + dropped))} of the packets: a narrower filter sees them all"
        yield Finding(level=Level.INFO, text=text, weight=0.4)


def _faults(service: _Service, seconds: str) -> Iterator[Finding]:
    """What is wrong with one service."""
    calls, silent, refused = service["calls"], service["unanswered"], service["refused"]
    if silent >= SILENT_CALLS:
        whole = f"all {words.count(silent)}" if silent >= calls else f"{words.count(silent)} of {words.count(calls)}"
        text = f"{service.owned} does not answer {service.caller}: {whole} handshakes in {seconds} had no reply"
        yield _bad(service, text, share=silent / max(calls, silent))
    if refused >= REFUSED_CALLS:
        text = f"{service.name} refuses {service.caller}: {_of(refused, calls)} connections in {seconds}, nobody listens there"
        yield _bad(service, text, share=refused / max(calls, refused))
    for column, who, verb, whom in (
        ("resets", service.owned, "resets", service.caller),
        ("client_resets", service.caller, "reset" if service.has_many else "resets", service.owned),
    ):
        resets = service[column]
        if resets >= RESETS and resets >= RESET_SHARE * calls:
            opened = f", {words.count(calls)} were opened" if calls else ""
            text = f"{who} {verb} connections with {whom}: {words.count(resets)} in {seconds}{opened}"
            yield _bad(service, text, share=resets / max(calls, resets))
    repeats, segments = service["repeats"], service["segments"]
    if repeats >= REPEATS and repeats >= REPEATED_SHARE * segments:
        share = repeats / max(segments, repeats)
        text = f"{words.percent(share)} of the data between {service.owned} and {service.caller} was sent again: {words.count(repeats)} of {words.count(segments)} segments in {seconds}"
        yield _bad(service, text, share=min(1.0, share * 5))


def _answer(facts: Section, services: Sequence[_Service], seconds: str) -> Finding:
    shown = words.clean(facts.body.partition("\n")[0], 60)
    if not services:
        return Finding(level=Level.INFO, text=f"No packet matched {shown} in {seconds}", answer=True)
    total = sum(service["bytes"] for service in services)
    most = max(services, key=lambda service: (service["bytes"], service["packets"]))
    share = f" ({words.percent(most['bytes'] / total)} of it)" if len(services) > 1 and total else ""
    text = (
        f"Most traffic: {most.owned} with {most.caller}, {words.size(most['bytes'])} in"
        f" {words.counted(most['packets'], 'packet')}{share} in {seconds}"
    )
    cut = facts.facts.get("cut") == "yes" or facts.facts.get("captured") == facts.facts.get("most")
    return Finding(
        level=Level.INFO,
        text=words.clean(text + ("; the recording was full then" if cut else ""), TEXT_CHARS),
        evidence=_evidence(services),
        answer=True,
    )


def _bad(service: _Service, text: str, *, share: float) -> Finding:
    return Finding(
        level=Level.WARN,
        text=words.clean(text, TEXT_CHARS),
        weight=min(1.0, 0.5 + share / 2),
        evidence=_evidence([service]),
        next=service.next,
    )


def _evidence(services: Sequence[_Service]) -> tuple[str, ...]:
    columns = ("packets", "bytes", "calls", "unanswered", "refused", "resets", "client_resets", "segments", "repeats")
    return words.evidence(
        *(
            f"{each.name}: " + ", ".join(f"{each.row.get(name, '?')} {name}" for name in columns)
            for each in services[:10]
        )
    )


def _of(some: float, of_all: float) -> str:
    return words.count(some) if some >= of_all else f"{words.count(some)} of {words.count(of_all)}"


def _process(row: Mapping[str, str], name: str, pid: str) -> str:
    return f"{words.clean(row.get(name, '?'), 30)} (pid {words.clean(row.get(pid, '?'), 10)})"
