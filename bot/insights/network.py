"""The network below connections: interfaces, name servers, gateways."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from bot.insights import Reading, Section, sections, words
from bot.insights.onward import explaining
from bot.model import Finding, Level

DAMAGED = 0.001  # of an interface's packets
DAMAGED_LEAST = 10.0
DROPPED = 0.01
DROPPED_LEAST = 100.0
FULL = 0.9  # of an interface's speed
DATAGRAMS_A_SECOND = 10.0  # lost
TRACKED_WARN = 0.9  # of the connections that can be tracked
TRACKED_BAD = 0.98
SLOW_SERVER_MS = 500.0
SLOW_LOOKUP_MS = 1000.0
# resolv.conf(5): how long the resolver waits for one server, and how often it asks each.
RESOLVER_TIMEOUT_S, RESOLVER_ATTEMPTS = 5.0, 2.0
SILENT = {"none", "refused"}  # questions that got no answer
UNREACHED = {"FAILED", "INCOMPLETE"}  # neighbours that do not answer
EVIDENCE_LINES = 5

Row = Mapping[str, str]


def _number(row: Row, column: str) -> float:
    return words.number(row.get(column))


def _line(row: Row) -> str:
    return " ".join(row.values())


def _tables(reading: Reading) -> dict[str, Section]:
    return {section.name: section for section in sections(reading.text)}


# --- interfaces and protocols -----------------------------------------------------------------


def interfaces(reading: Reading) -> Iterator[Finding]:
    """Name interfaces that drop, damage or cannot carry more, and who loses datagrams."""
    tables = _tables(reading)
    rows = {name: section.rows() for name, section in tables.items()}
    seconds = max((words.number(section.facts.get("seconds")) for section in tables.values()), default=0.0) or 1.0
    for row in rows.get("interfaces", []):
        yield from adapter(row, seconds)
    if (dropped := sum(_number(row, "dropped") for row in rows.get("processors", []))) >= DROPPED_LEAST:
        text = f"The kernel dropped {words.counted(dropped, 'packet')} in {seconds:.0f} s: processors do not keep up with the network"
        yield Finding(level=Level.WARN, text=text, weight=0.65)
    yield from _datagrams(rows.get("datagrams", []), rows.get("protocols", []), seconds)
    for row in rows.get("conntrack", []):
        yield from _tracked(row, seconds)


def adapter(row: Row, seconds: float) -> Iterator[Finding]:
    """What one interface drops, damages or cannot carry more of; *row* holds what its counters grew by in *seconds*."""
    name = words.clean(row.get("interface", "?"))
    speed = _number(row, "speed_mbit") * 1e6 / 8
    for way, verb in (("rx", "receives"), ("tx", "sends")):
        packets, errors, dropped = (_number(row, f"{way}_{what}") for what in ("packets", "errors", "dropped"))
        rate = _number(row, f"{way}_bytes") / seconds
        if errors >= DAMAGED_LEAST and errors >= DAMAGED * (packets + errors):
            text = f"{name} {verb} {words.percent(errors / (packets + errors))} of its packets damaged ({words.count(errors)} in {seconds:.0f} s): cable, port or driver"
            yield Finding(level=Level.WARN, text=text, weight=0.65, evidence=words.evidence(_line(row)))
        if dropped >= DROPPED_LEAST and dropped >= DROPPED * (packets + dropped):
            text = f"{name} drops {words.percent(dropped / (packets + dropped))} of the packets that it {verb} ({words.count(dropped)} in {seconds:.0f} s)"
            yield Finding(level=Level.WARN, text=text, weight=0.6, evidence=words.evidence(_line(row)))
        if speed > 0 and rate >= FULL * speed:
            text = f"{name} is full: it {verb} {words.count(rate * 8 / 1e6)} of {words.count(speed * 8 / 1e6)} Mbit/s"
            yield Finding(level=Level.WARN, text=text, weight=0.6, evidence=words.evidence(_line(row)))


def _datagrams(rows: list[dict[str, str]], protocols: list[dict[str, str]], seconds: float) -> Iterator[Finding]:
    named = [row for row in rows if _number(row, "lost") / seconds >= DATAGRAMS_A_SECOND]
    for row in named[:3]:
        pid, process = row.get("pid", ""), row.get("process", "")
        who = f"{words.clean(process)} (pid {words.clean(pid)})" if pid.isdigit() else "A process that cannot be seen"
        text = f"{who} loses {words.count(_number(row, 'lost') / seconds)} datagrams a second on {words.clean(row.get('address', '?'))}: it reads too slowly"
        lines, onward = words.evidence(_line(row)), explaining(process, pid, "profile")
        yield Finding(level=Level.WARN, text=text, weight=0.7, evidence=lines, next=onward)
    lost = sum(_number(row, "grown") for row in protocols if row.get("counter") == "Udp.RcvbufErrors")
    if not named and lost / seconds >= DATAGRAMS_A_SECOND:
        text = f"{words.count(lost / seconds)} datagrams (UDP) a second are lost: a process reads too slowly"
        yield Finding(level=Level.WARN, text=text, weight=0.55)


def _tracked(row: Row, seconds: float) -> Iterator[Finding]:
    entries, most, lost = _number(row, "entries"), _number(row, "most"), _number(row, "drop")
    if most <= 0 or entries / most < TRACKED_WARN:
        return
    dropped = f", {words.count(lost / seconds)} packets a second are dropped" if lost > 0 else ""
    bad = entries / most >= TRACKED_BAD or lost > 0
    text = f"Connection tracking is {'' if bad else 'nearly '}full: {words.count(entries)} of {words.count(most)} entries (nf_conntrack_max){dropped}"
    yield Finding(level=Level.BAD if bad else Level.WARN, text=text, weight=0.85, evidence=words.evidence(_line(row)))


# --- names ------------------------------------------------------------------------------------


def names(reading: Reading) -> Iterator[Finding]:
    """Name servers that do not answer, or slowly, and what a look-up waits for them."""
    tables = _tables(reading)
    asked: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in tables["servers"].rows() if "servers" in tables else []:
        asked[row.get("server", "?")].append(row)
    servers = _configured(tables, asked)
    yield from _silent(servers, asked, tables["resolver"].body if "resolver" in tables else "")
    for row in tables["lookups"].rows() if "lookups" in tables else []:
        yield from _lookup(row)


def _configured(tables: Mapping[str, Section], asked: Mapping[str, object]) -> list[str]:
    """In the order that they are asked in."""
    body = tables["resolver"].body if "resolver" in tables else ""
    found = re.findall(r"^nameserver[ \t]+(\S+)", body, re.MULTILINE)
    return [server for server in dict.fromkeys(found) if server in asked] or list(asked)


def _silent(servers: list[str], asked: Mapping[str, list[dict[str, str]]], options: str) -> Iterator[Finding]:
    dead = [name for name in servers if all(row.get("status") in SILENT for row in asked[name])]
    wait, tries = (
        words.number(found[1]) if (found := re.search(rf"^options.*\b{option}:(\d{{1,3}})", options, re.MULTILINE)) else default
        for option, default in (("timeout", RESOLVER_TIMEOUT_S), ("attempts", RESOLVER_ATTEMPTS))
    )  # fmt: skip
    lines = words.evidence(*(_line(row) for name in dead for row in asked[name]))
    if dead and dead == servers:
        which = f"Name server {words.clean(dead[0])} does" if len(dead) == 1 else _none_of(dead)
        refused = all(row.get("status") == "refused" for name in dead for row in asked[name])
        cost = "fails, at once" if refused else f"waits {words.duration(wait * tries * len(dead))} and fails"
        text = f"{which} not answer{' (nothing listens there)' if refused else ''}: every look-up of a name {cost}"
        yield Finding(level=Level.BAD, text=text, weight=0.9, evidence=lines)
        return
    for name in dead:
        first = name == servers[0]
        cost = (
            f"look-ups wait {words.duration(wait)} for it before the next is asked"
            if first
            else "it is asked when others fail"
        )
        text = f"Name server {words.clean(name)}, {'the first' if first else 'one'} of {len(servers)}, does not answer: {cost}"
        yield Finding(level=Level.BAD if first else Level.WARN, text=text, weight=0.7 if first else 0.3, evidence=lines)
    for name in servers:
        if name not in dead:
            yield from _unsteady(name, asked[name])


def _none_of(dead: list[str]) -> str:
    return f"{len(dead)} name servers ({', '.join(words.clean(name) for name in dead[:3])}) do"


def _unsteady(name: str, rows: list[dict[str, str]]) -> Iterator[Finding]:
    lost = [row for row in rows if row.get("status") in SILENT]
    fastest = min(_number(row, "ms") for row in rows if row not in lost)
    lines = words.evidence(*map(_line, rows))
    if lost:
        text = f"Name server {words.clean(name)} left {len(lost)} of {words.counted(len(rows), 'question')} without an answer"
        yield Finding(level=Level.WARN, text=text, weight=0.5, evidence=lines)
    elif fastest >= SLOW_SERVER_MS:
        text = f"Name server {words.clean(name)} takes {words.count(fastest)} ms to answer"
        yield Finding(level=Level.WARN, text=text, weight=0.5, evidence=lines)


def _lookup(row: Row) -> Iterator[Finding]:
    name, milliseconds, status = words.clean(row.get("name", "?"), 60), _number(row, "ms"), row.get("status", "")
    lines = words.evidence(_line(row))
    if status == "124":
        text = f"Looking up {name} took longer than {words.duration(milliseconds / 1000)} and was given up"
        yield Finding(level=Level.BAD, text=text, weight=0.6, evidence=lines)
    elif milliseconds >= SLOW_LOOKUP_MS:
        text = f"Looking up {name} took {milliseconds / 1000:.1f} s"
        yield Finding(level=Level.WARN, text=text, weight=0.6, evidence=lines)
    elif row.get("asked") == "yes" and status == "2":
        yield Finding(level=Level.WARN, text=f"{name} has no address, as far as this host can find out", evidence=lines)
    elif row.get("asked") == "yes":
        text = (
            f"Looking up {name} took {words.count(milliseconds)} ms: {words.clean(row.get('answer', '').split(' ')[0])}"
        )
        yield Finding(level=Level.INFO, text=text, weight=0.3, evidence=lines)


# --- routes -----------------------------------------------------------------------------------


def routes(reading: Reading) -> Iterator[Finding]:
    """Gateways that do not answer."""
    tables = _tables(reading)
    for row in tables["gateways"].rows() if "gateways" in tables else []:
        if row.get("neighbour") not in UNREACHED:
            continue
        gateway, interface = words.clean(row.get("gateway", "?")), words.clean(row.get("interface", "?"), 20)
        default = row.get("destination") == "default"
        way = "the way to everywhere else" if default else f"the way to {words.clean(row.get('destination', '?'))}"
        text = f"Gateway {gateway} on {interface}, {way}, does not answer ({row['neighbour']})"
        # Many hosts have a second way out, by IPv6, that nobody uses.
        bad = default and ":" not in gateway
        yield Finding(
            level=Level.BAD if bad else Level.WARN,
            text=text,
            weight=0.8 if bad else 0.3,
            evidence=words.evidence(_line(row)),
        )
