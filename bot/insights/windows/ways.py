"""The network of a Windows host below its connections (captures/win-network.ps1): adapters, name servers, gateways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.insights import Reading, Section, sections, words
from bot.insights.network import adapter
from bot.model import Finding, Level

SENT_AGAIN = 0.03  # of TCP segments; a sound network stays far below 1 %
SENT_AGAIN_BAD = 0.15
SEGMENTS_LEAST = 200.0
DATAGRAMS_A_SECOND = 10.0  # lost
SLOW_MS = 500.0  # of a name server
EVIDENCE_LINES = 5
_UNREACHED = {"Unreachable", "Incomplete"}  # as NetNeighbor's State is spelt in every language
# Of winerror.h and windns.h: no such name, no record of that type. Both are answers.
_ANSWERED = {"0", "9003", "9501"}
_ERRORS = {"9002": "it failed itself (SERVFAIL)", "9005": "it refuses us"}

Row = Mapping[str, str]
Tables = Mapping[str, Section]


def network(reading: Reading) -> Iterator[Finding]:
    """Name adapters that drop or damage, what is sent again, name servers and gateways that do not answer."""
    tables = {section.name: section for section in sections(reading.text)}
    seconds = max((words.number(section.facts.get("seconds")) for section in tables.values()), default=0.0) or 1.0
    for row in _rows(tables, "interfaces"):
        bits = words.number(row.get("speed_bits"))
        yield from adapter({**row, "speed_mbit": f"{bits / 1e6}"}, seconds)
    yield from _segments(_rows(tables, "protocols"), seconds)
    yield from _servers(_rows(tables, "servers"))
    yield from _gateways(_rows(tables, "gateways"))
    for row in _rows(tables, "addresses"):
        if row.get("state") == "Duplicate":
            text = f"Another machine has {words.clean(row.get('address', '?'))} of {words.clean(row.get('interface', '?'))}, too: the address is in use twice"
            yield Finding(level=Level.BAD, text=text, weight=0.85, evidence=_evidence(row))


def _rows(tables: Tables, name: str) -> list[dict[str, str]]:
    return tables[name].rows() if name in tables else []


def _evidence(*rows: Row) -> tuple[str, ...]:
    return words.evidence(*(" ".join(row.values()) for row in rows[:EVIDENCE_LINES]))


def _segments(rows: list[dict[str, str]], seconds: float) -> Iterator[Finding]:
    grown = {row.get("counter", ""): max(words.number(row.get("grown")), 0.0) for row in rows}
    sent, again = (
        sum(grown.get(f"{family}.{name}", 0.0) for family in ("TCPv4", "TCPv6"))
        for name in ("SegmentsSentPersec", "SegmentsRetransmittedPersec")
    )
    share = (
        again / (sent + again) if sent + again >= SEGMENTS_LEAST else 0.0
    )  # sent leaves out what only was sent again
    if share >= SENT_AGAIN:
        text = f"{words.percent(share)} of TCP segments are sent again ({words.count(again)} in {seconds:.0f} s): they or their answers are lost on the way"
        bad = share >= SENT_AGAIN_BAD
        yield Finding(level=Level.BAD if bad else Level.WARN, text=text, weight=0.7, evidence=_evidence(*rows))
    lost = grown.get("UDPv4.DatagramsReceivedErrors", 0.0) + grown.get("UDPv6.DatagramsReceivedErrors", 0.0)
    if lost / seconds >= DATAGRAMS_A_SECOND:
        text = f"{words.count(lost / seconds)} datagrams (UDP) a second are lost: a process reads too slowly"
        yield Finding(level=Level.WARN, text=text, weight=0.55, evidence=_evidence(*rows))


def _servers(rows: list[dict[str, str]]) -> Iterator[Finding]:
    silent = [row for row in rows if row.get("error") not in _ANSWERED]
    for row in silent[:EVIDENCE_LINES]:
        server, error = words.clean(row.get("server", "?")), row.get("error", "")
        why = _ERRORS.get(error, f"error {words.clean(error, 12)}" if error not in {"", "1460"} else "no answer came")
        first = row is rows[0]
        which = "the only one" if len(rows) == 1 else f"{'the first' if first else 'one'} of {len(rows)}"
        text = f"Name server {server}, {which}, does not answer for {words.clean(row.get('name', '?'), 60)}: {why}"
        level = Level.BAD if first or len(silent) == len(rows) else Level.WARN
        yield Finding(level=level, text=text, weight=0.75 if first else 0.3, evidence=_evidence(row))
    for row in rows:
        if row not in silent and words.number(row.get("ms")) >= SLOW_MS:
            text = f"Name server {words.clean(row.get('server', '?'))} takes {words.count(words.number(row.get('ms')))} ms to answer"
            yield Finding(level=Level.WARN, text=text, weight=0.5, evidence=_evidence(row))


def _gateways(rows: list[dict[str, str]]) -> Iterator[Finding]:
    for row in rows:
        gateway = words.clean(row.get("gateway", "?"))
        if row.get("neighbour") in _UNREACHED:
            text = f"Gateway {gateway} on {words.clean(row.get('interface', '?'))}, the way to everywhere else, does not answer ({row['neighbour']})"
            bad = ":" not in gateway  # many hosts have a second way out, by IPv6, that nobody uses
            level, weight = (Level.BAD, 0.8) if bad else (Level.WARN, 0.3)
            yield Finding(level=level, text=text, weight=weight, evidence=_evidence(row))
