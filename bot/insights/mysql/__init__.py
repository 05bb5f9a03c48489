"""Name the client that loads a database server."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot.insights import Reading, words
from bot.insights.mysql.load import Client, Load, Sample, Work, load_of, merged_by_user, samples_of
from bot.model import Finding, Level

# A client is named when its share and its load are high …
NAMED_SHARE = 0.5  # of all statement time; below it the load has no single owner
NAMED_SHARE_OF_TOOL = 0.25  # a benchmark or a dump is worth naming before it owns the server
NAMED_LOAD = 0.5  # statement seconds per second; below it the server is near idle, whatever the share
# … and what it does is not what an application does in an ordinary hour: a tool is recognised, or one of
NEVER_IDLE = 0.25  # statement seconds per second and connection; pools rest between requests, load generators do not
MANY_AT_WORK = 8.0  # statement seconds per second
SLOW_S = 1.0  # seconds that one run of its leading statement takes
SCANNED_ROWS = 1000.0  # rows that one run reads without an index

LOOKED_AT = 3  # clients, the busiest first: a benchmark may share the server with a busy application
BAD_LOAD = 2.0  # statement seconds per second from which a named load is bad and not only worth a look
VICTIM_SHARE = 0.5  # of its statements wait for a lock: the one who holds the lock is the news then
COVERED = 0.5  # of the statement time must be in digests, else looks tell what leads (server-side prepared statements)
LED_SHARE = 0.1  # of the statement time; below it nothing leads

CONTROL = re.compile(r"(commit|begin|start transaction|rollback|set)\b")  # says nothing about what is being done

# What a statement's shape or a program's name gives away.
TOOLS: tuple[tuple[str, re.Pattern[str], re.Pattern[str] | None], ...] = (
    (
        "a benchmark (sysbench)",
        re.compile(r"sysbench"),
        re.compile(  # the statements of its oltp_common.lua and bulk_insert.lua
            r"(select (distinct )?(c|sum\(k\)|count\(k\)|id,k,c,pad) from sbtest#?( |$)"
            r"|update sbtest#? set (k=k\+\?|c=\?) where id=\?$|delete from sbtest#? where id=\?$"
            r"|insert into sbtest#?(\((id,)?k,c,pad\))?values\()"
        ),
    ),
    (
        "a benchmark (mysqlslap)",
        re.compile(r"(mysql|mariadb-)slap"),
        re.compile(r"(select ((intcol|charcol)#,?)+ from t#$|insert into t# values\(\?\)$)"),
    ),
    ("a dump", re.compile(r"(mysqldump|mariadb-dump|mydumper)"), None),
    ("a backup", re.compile(r"(xtrabackup|maria-?backup)"), None),
)


def statements(reading: Reading) -> Iterator[Finding]:
    """Say who loads the server and with what; nothing on a calm or evenly used one."""
    samples = samples_of(reading.text)
    if not samples:
        return
    yield from _blind_spots(samples[-1])
    if len(samples) > 1:
        load = load_of(samples)
        for view in (load, merged_by_user(load)):
            for client in sorted(view.busy, key=lambda each: -view.busy[each])[:LOOKED_AT]:
                if finding := _named(view, client):
                    yield finding
                    return


def _blind_spots(sample: Sample) -> Iterator[Finding]:
    """What performance_schema could not tell."""
    facts = sample.sections["accounts"].facts if "accounts" in sample.sections else {}
    judged = "so load is judged from a few looks at the process list"
    if "skipped" in facts:
        text = f"performance_schema is OFF on this server: statement times are not recorded, {judged}"
        yield Finding(level=Level.INFO, text=text, weight=0.2)
    elif "error" in facts:
        cure = "GRANT SELECT ON performance_schema.* to it"
        text = f"The capture's account may not read performance_schema, {judged}; {cure} to know more"
        yield Finding(level=Level.INFO, text=text, weight=0.2)


def _named(load: Load, client: Client) -> Finding | None:
    """The finding on a client, if it is worth one."""
    if client.user in {"", "NULL"}:  # threads of the server itself
        return None
    share = load.busy[client] / load.total
    per_second = load.busy[client] / load.window_s
    lead, lead_share = _lead(load, client, share)
    tool = _tool(load, client, share)
    if per_second < NAMED_LOAD or share < (NAMED_SHARE_OF_TOOL if tool else NAMED_SHARE):
        return None
    if not tool and (_is_victim(load, client) or not _is_unusual(load, client, lead)):
        return None
    bad = bool(tool) or per_second >= BAD_LOAD or (lead is not None and _is_heavy(lead))
    return Finding(
        level=Level.BAD if bad else Level.WARN,
        text=_sentence(load, client, tool, lead, lead_share),
        weight=share * per_second / (per_second + 1),
        evidence=words.evidence(
            f"{client.user}@{client.host or '*'}: {'' if load.exact else 'about '}{load.busy[client]:.3f} s"
            f" of {load.total:.3f} s of statement time in {load.window_s:.3f} s",
            *(work.line for work in _ranked(load)[:3]),
        ),
    )


def _is_victim(load: Load, client: Client) -> bool:
    return load.waiting.get(client, 0) > VICTIM_SHARE * load.seen.get(client, 0)


def _is_unusual(load: Load, client: Client, lead: Work | None) -> bool:
    per_second = load.busy[client] / load.window_s
    never_idle = per_second >= NEVER_IDLE * max(load.connections.get(client, 0), 1)
    return never_idle or per_second >= MANY_AT_WORK or (lead is not None and _is_heavy(lead))


def _is_heavy(work: Work) -> bool:
    """Whether one run of these statements is slow, or reads much without an index."""
    slow = work.elapsed_s >= SLOW_S or (work.times > 0 and work.busy_s / work.times >= SLOW_S)
    return slow or _scanned(work) >= SCANNED_ROWS


def _scanned(work: Work) -> float:
    """Rows that one run reads, when most runs use no index."""
    return work.rows_examined / work.times if work.times and work.without_index > work.times / 2 else 0.0


def _ranked(load: Load) -> list[Work]:
    return sorted(load.work.values(), key=lambda work: -work.busy_s)


def _covered(load: Load) -> bool:
    """Whether the times of statements add up to the times of clients, so that the leader is among them."""
    return load.exact and sum(max(work.busy_s, 0) for work in load.work.values()) >= COVERED * load.total


def _is_of(load: Load, client: Client, share: float, part: float, works: list[Work]) -> bool:
    """Whether statements with this *part* of all time are the client's: it was seen, or nobody else has the time."""
    return any(client in work.seen for work in works) or (_covered(load) and part > 1 - share)


def _lead(load: Load, client: Client, share: float) -> tuple[Work | None, float]:
    """The client's leading statement, and its share of the time (or of the looks, where times are unknown)."""
    if _covered(load):
        top = _ranked(load)[0]
        part = min(top.busy_s / load.total, 1.0)
        return (top, part) if part >= LED_SHARE and _is_of(load, client, share, part, [top]) else (None, 0.0)
    top = max(load.work.values(), key=lambda work: work.seen[client], default=Work())
    return (top, top.seen[client] / load.seen[client]) if top.seen[client] else (None, 0.0)


def _tool(load: Load, client: Client, share: float) -> str:
    """The tool that the client's program or its statements give away; "" when none."""
    for name, program, shapes in TOOLS:
        if any(program.fullmatch(each) for each in load.programs.get(client, ())):
            return name
        typical = [work for shape, work in load.work.items() if shapes and shapes.match(shape)]
        part = sum(max(work.busy_s, 0) for work in typical) / load.total
        if typical and _is_of(load, client, share, part, typical):
            return name
    return ""


def _sentence(load: Load, client: Client, tool: str, lead: Work | None, lead_share: float) -> str:
    who = (
        f"{words.clean(client.user)} from {words.clean(client.host) or words.counted(load.hosts[client.user], 'host')}"
    )
    share = words.percent(load.busy[client] / load.total)
    window = words.duration(load.window_s)
    took = f"{share} of statement time in {window}" if load.exact else f"{share} of the work seen in {load.looks} looks"
    connections = words.counted(max(load.connections.get(client, 0), 1), "connection")
    statement = words.spoken(*sorted(lead.texts)) if lead else ""
    if lead and not tool and lead.elapsed_s >= max(load.window_s, SLOW_S):
        return f"{who} has been running {statement} for {words.duration(lead.elapsed_s)}: {connections} took {took}"
    if tool:
        on = f" on {words.clean(lead.schema)}" if lead and lead.schema else ""
        text = f"{who} is running {tool}{on}: {connections} took {took}"
    else:
        text = f"{who} took {took} with {connections}"
    if not lead:
        return text
    scanned = f", reading {words.counted(_scanned(lead), 'row')} each time" if _scanned(lead) >= SCANNED_ROWS else ""
    leads = f"leads with {words.percent(lead_share)}" if _covered(load) else "is seen most"
    return f"{text}; {statement} {leads}{scanned}{_then(load, client, lead)}"


def _then(load: Load, client: Client, lead: Work) -> str:
    """The next statement, where the first names no table."""
    if not CONTROL.match(words.shape(min(lead.texts))):
        return ""
    others = [work for work in load.work.values() if work is not lead and (client in work.seen or _covered(load))]
    ranked = sorted(others, key=lambda work: -(work.busy_s if _covered(load) else work.seen[client]))
    return f", then {words.spoken(*sorted(ranked[0].texts), most=45)}" if ranked else ""
