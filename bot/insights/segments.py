"""TCP while it was looked at: what was dropped, sent again and reset, and between whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.insights import Section, words
from bot.insights.onward import TCP_CHANGES, explaining, packets
from bot.model import Finding, Level

RETRANSMITTED = 0.05  # of the segments sent meanwhile
RETRANSMITTED_BAD = 0.2
RETRANSMITTED_LEAST = 100.0  # segments sent again by all
RETRANSMITTED_LEAST_TO_ONE = 20.0  # by one process to one peer
RESETS_A_SECOND = 10.0
RESET = 0.3  # of the connections opened meanwhile: proxies and health checks end some in this way every day
RESET_LEADING = 0.4  # of those seen to end without a trace belong to one process and port
TOLD = 3  # paths that lose segments
EVIDENCE_ROWS = 5

Row = Mapping[str, str]


def segments(tables: Mapping[str, Section]) -> Iterator[Finding]:
    """What the sections *dropped*, *retransmitted* and *reset* tell."""
    if "dropped" not in tables:
        return
    rows = {name: tables[name].rows() if name in tables else [] for name in ("retransmitted", "reset")}
    grew = _grew(tables["dropped"].rows())
    seconds = words.number(tables["dropped"].facts.get("seconds")) or 2.0
    if (overflows := grew.get("ListenOverflows", 0.0)) > 0:
        text = f"{words.counted(overflows, 'new connection')} dropped in {seconds:.0f} s: a listener's queue is full"
        yield Finding(level=Level.WARN, text=text, weight=0.6)
    yield from _again(rows["retransmitted"], grew)
    yield from _reset(_merged(rows["reset"]), grew, seconds)


def _grew(rows: list[dict[str, str]]) -> dict[str, float]:
    return {row.get("counter", ""): words.number(row.get("after")) - words.number(row.get("before")) for row in rows}


# --- sent again -------------------------------------------------------------------------------


def _again(rows: list[dict[str, str]], grew: Mapping[str, float]) -> Iterator[Finding]:
    lossy = [
        row for row in rows if _share(row) >= RETRANSMITTED and _number(row, "again") >= RETRANSMITTED_LEAST_TO_ONE
    ]
    for row in sorted(lossy, key=lambda each: -_number(each, "again"))[:TOLD]:
        who, share = _process(row), _share(row)
        text = f"{who} sends {words.percent(share)} of its segments {_to(row)} again: packets are lost on that way"
        yield Finding(
            level=Level.BAD if share >= RETRANSMITTED_BAD else Level.WARN,
            text=text,
            weight=min(0.6 + share, 0.9),
            evidence=words.evidence(_spoken(row)),
            next=(TCP_CHANGES, *packets(row.get("peer", ""), row.get("peer_port", ""))),
        )
    again, sent = grew.get("RetransSegs", 0.0), grew.get("OutSegs", 0.0)
    if not lossy and again >= RETRANSMITTED_LEAST and sent > 0 and again / sent >= RETRANSMITTED:
        text = f"{words.percent(min(again / sent, 1.0))} of TCP segments are sent again: packets are lost on the way"
        yield Finding(level=Level.WARN, text=text, weight=0.5, evidence=words.evidence(*map(_spoken, rows)))


def _share(row: Row) -> float:
    return min(_number(row, "again") / (_number(row, "sent") or float("inf")), 1.0)


def _spoken(row: Row) -> str:
    return (
        f"{_process(row)} {_to(row)}: {words.count(_number(row, 'again'))} of {words.counted(_number(row, 'sent'), 'segment')} again, "
        f"on {words.counted(_number(row, 'sockets'), 'connection')}, round trip {_number(row, 'rtt_ms'):g} ms"
    )


# --- reset ------------------------------------------------------------------------------------


def _reset(rows: list[Row], grew: Mapping[str, float], seconds: float) -> Iterator[Finding]:
    opened = grew.get("ActiveOpens", 0.0) + grew.get("PassiveOpens", 0.0)
    resets, refused = grew.get("EstabResets", 0.0), grew.get("AttemptFails", 0.0)
    if resets / seconds >= RESETS_A_SECOND and resets >= RESET * opened:
        # Both ends count a reset where both are here; it has been one connection.
        here = _mirrored(rows)
        rate = words.count(resets / seconds / (2 if here else 1))
        level, weight = Level.BAD if resets >= opened else Level.WARN, 0.7
        text = f"{_whose(rows)} are reset, {rate} a second" + ("" if here else _by(grew, resets))
    elif refused / seconds >= RESETS_A_SECOND and refused >= RESET * grew.get("ActiveOpens", 0.0):
        level, weight = Level.WARN, 0.6
        leader = _leader(rows)
        whose = f" of {_process(leader)} to connect {_to(leader)}" if leader else " to connect"
        text = f"{words.count(refused / seconds)} attempts a second{whose} are refused: nothing listens there, or it declines"
    else:
        return
    lines = words.evidence(*(" ".join(row.values()) for row in rows[:EVIDENCE_ROWS]))
    leader = _leader(rows) or {}
    who = explaining(leader.get("process", ""), leader.get("pid", ""), "files")
    whom = packets(leader.get("peer", ""), leader.get("peer_port", ""))
    yield Finding(level=level, text=text, weight=weight, evidence=lines, next=(*who, TCP_CHANGES, *whom))


def _merged(rows: list[dict[str, str]]) -> list[Row]:
    """Most ended first; clients of one port of a server as one, without an address where they have several."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        client = row.get("local_port", "*") == "*"
        key = tuple(
            row.get(name, "") for name in ("pid", "process", "local_port", *(("peer", "peer_port") if client else ()))
        )
        groups.setdefault(key, []).append(row)
    merged = [
        {
            **first,
            "ended": f"{sum(_number(row, 'ended') for row in (first, *others)):.0f}",
            "peer": "" if any(row.get("peer") != first.get("peer") for row in others) else first.get("peer", ""),
        }
        for first, *others in groups.values()
    ]
    return sorted(merged, key=lambda row: -_number(row, "ended"))


def _leader(rows: list[Row]) -> Row | None:
    """The process and port that most connections were lost by; None where nobody stands out."""
    ended = sum(_number(row, "ended") for row in rows)
    return rows[0] if ended > 0 and _number(rows[0], "ended") >= RESET_LEADING * ended else None


def _mirrored(rows: list[Row]) -> tuple[Row, Row] | None:
    """The client's and the server's view, where one host has both ends of what is reset most."""
    for client in rows[:2]:
        for server in rows[:2]:
            if client.get("peer_port", "*") == server.get("local_port", "*") != "*" and client is not server:
                return client, server
    return None


def _whose(rows: list[Row]) -> str:
    if ends := _mirrored(rows):
        client, server = ends
        return f"Connections of {_process(client)} to {_process(server)} on port {words.clean(server['local_port'], 5)}"
    if leader := _leader(rows):
        return f"Connections of {_process(leader)} {_to(leader)}"
    return "TCP connections"


def _by(grew: Mapping[str, float], resets: float) -> str:
    """Who gives up: the kernel counts why an application of its own ended a connection so."""
    ours = sum(grown for name, grown in grew.items() if name.startswith("TCPAbort") and name != "TCPAbortFailed")
    return ", by this host" if ours >= resets / 2 else ", by the other side" if ours < resets / 10 else ""


# --- words ------------------------------------------------------------------------------------


def _number(row: Row, column: str) -> float:
    return words.number(row.get(column))


def _process(row: Row) -> str:
    pid = row.get("pid", "")
    return f"{words.clean(row.get('process', '?'))} (pid {pid})" if pid.isdigit() else "A process that cannot be seen"


def _to(row: Row) -> str:
    peer, port, own = (words.clean(row.get(name, "?")) for name in ("peer", "peer_port", "local_port"))
    if own != "*":
        return f"on its port {own}" + (f" to {peer}" if peer else "")
    return f"to {peer}" + ("" if port == "*" else f":{port}")
