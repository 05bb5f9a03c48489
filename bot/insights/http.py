"""What an HTTP endpoint answered: its status, the slowest phase, the part that its health answer blames, its certificate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bot.insights import Reading, Section, sections, words
from bot.insights.exchange import NO_CONNECTION, TIMED_OUT, UNKNOWN_HOST, UNTRUSTED, Endpoint, Try, endpoint_of, try_of
from bot.insights.health import Part, blamed_in
from bot.model import Finding, Level, Suggestion

TEXT_CHARS = 200  # of a finding
SAID_CHARS = 80  # of a complaint in a sentence
SLOW_S = 1.0
EXPIRES_DAYS = 14
NAMED = 3  # parts of a health answer, or listeners, in a sentence
OFFERED = 10  # ports, as buttons


def http(reading: Reading) -> Iterator[Finding]:
    """Say what the endpoint answered where that is bad or slow; its status and slowest phase all the same where it is well."""
    parts = sections(reading.text)
    for part in parts:
        if part.name == "listening":
            yield _choice(part)
        elif part.name == "refused":
            yield _finding(Level.WARN, part.body.strip().removesuffix("."), 0.9)
    endpoint = endpoint_of(parts)
    tries = [try_of(part) for part in parts if part.name == "try"]
    if endpoint is None or not tries:
        return
    body = next((part.body for part in parts if part.name == "body"), "")
    yield from _answers(endpoint, tries, body)
    yield from _certificate(endpoint, parts)


# --- judging ----------------------------------------------------------------------------------


def _answers(endpoint: Endpoint, tries: Sequence[Try], body: str) -> Iterator[Finding]:
    failed = [each for each in tries if not each.has_answer]
    answered = [each for each in tries if each.has_answer]
    if failed:
        level, what = _failure(endpoint, failed[-1])
        some = f" in {len(failed)} of {len(tries)} tries" if len(failed) < len(tries) else ""
        yield _finding(level, f"{what}{some}", 0.9, *failed[-1].head.split("\n"), after=_after(endpoint, failed[-1]))
    if not answered:
        return
    bad = [each for each in answered if each.code >= 400]
    blamed = blamed_in(body) if answered[-1] is tries[-1] else []
    if bad or blamed:
        yield _bad_answer(endpoint, bad[-1] if bad else answered[-1], len(bad), len(tries), blamed)
    slow = [each for each in answered if each.took >= SLOW_S]
    if slow:
        yield _slow(endpoint, slow, len(tries))
    elif not bad and not blamed and not failed:
        yield _well(endpoint, answered)


def _failure(endpoint: Endpoint, one: Try) -> tuple[Level, str]:
    if one.exit in UNTRUSTED:
        why = _said(one).removeprefix("SSL certificate problem: ")
        return Level.WARN, f"The certificate of {endpoint.url} is not trusted here: {why}; verify=no asks all the same"
    return Level.BAD, _why_no_answer(endpoint, one)


def _why_no_answer(endpoint: Endpoint, one: Try) -> str:
    if one.exit == UNKNOWN_HOST:
        return f"The name {endpoint.host} is not known on this host, so {endpoint.url} cannot be asked"
    if one.exit == TIMED_OUT:
        return _silence(endpoint, one)
    if one.exit != NO_CONNECTION:
        return f"{endpoint.named} cannot be asked: {_said(one)}"
    port = f"Port {endpoint.port} of {endpoint.host}"
    # curl says the same of both, but who refuses does so at once.
    if one.ended >= SLOW_S or "route" in one.head or "unreachable" in one.head:
        return f"{port} cannot be reached for {endpoint.url}: {_said(one)}"
    nobody = ": nothing listens there" if endpoint.is_here and not endpoint.pid else ""
    return f"{port} refuses connections for {endpoint.url}{nobody}"


def _silence(endpoint: Endpoint, one: Try) -> str:
    within = f"within {endpoint.patience} s"
    queue = f": {endpoint.queue}" if endpoint.queue else ""
    if one.connected and one.code:
        return f"{endpoint.named} answers {one.code}, but the rest does not come {within}"
    if one.connected:
        return f"{endpoint.named} takes the connection but gives no answer {within}{queue}"
    if queue:
        return f"{endpoint.named} does not accept connections{queue}"
    return (
        f"No connection to port {endpoint.port} of {endpoint.host} {within} for {endpoint.url}: "
        "nothing answers, as behind a firewall or on a dead host"
    )


def _said(one: Try) -> str:
    lines = [re.sub(r"^curl: \(\d+\) ", "", line) for line in one.head.split("\n") if line.startswith("curl: (")]
    return words.clean((lines or one.head.split("\n"))[0], SAID_CHARS) or f"status {words.clean(one.exit, 5)}"


def _after(endpoint: Endpoint, one: Try) -> tuple[Suggestion, ...]:
    if one.exit == TIMED_OUT and (one.connected or endpoint.queue):
        return endpoint.look_inside
    if one.exit == NO_CONNECTION and endpoint.is_here:
        return (Suggestion(label="Look at the host", recipe="host"),)
    return (Suggestion(label="Look at the network", recipe="net"),) if one.exit in {TIMED_OUT, NO_CONNECTION} else ()


def _bad_answer(endpoint: Endpoint, one: Try, times: int, tries: int, blamed: Sequence[Part]) -> Finding:
    often = f" in {times} of {tries} tries" if 0 < times < tries else ""
    said = "; ".join(part.text for part in blamed[:NAMED])
    more = f", and {len(blamed) - NAMED} more" if len(blamed) > NAMED else ""
    text = f"{endpoint.named} answers {one.code}{often}" + (f": {said}{more}" if said else "")
    if one.code in {401, 403}:
        text += ": it wants credentials, which capturebot does not give"
    level = Level.BAD if one.code >= 500 or blamed else Level.WARN
    after = endpoint.look_inside if one.code >= 500 and not blamed else ()
    return _finding(level, text, 0.85, *one.head.split("\n"), after=after)


def _slow(endpoint: Endpoint, slow: Sequence[Try], tries: int) -> Finding:
    worst = max(slow, key=lambda each: each.took)
    phase, seconds = max(worst.phases.items(), key=lambda item: item[1])
    times = [each.took for each in slow]
    span = f"{min(times):.1f} to {max(times):.1f} s" if max(times) - min(times) >= 0.1 else f"{max(times):.1f} s"
    often = f"in {len(slow)} of {tries} tries" if len(slow) < tries else words.counted(tries, "try", "tries")
    text = f"{endpoint.named} answers {worst.code} in {span} ({often}), {seconds:.1f} s of it {phase}"
    waits = phase == "waiting for the first byte"
    after = endpoint.look_inside if waits else (Suggestion(label="Look at the network", recipe="net"),)
    evidence = ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in worst.phases.items() if value)
    return _finding(Level.WARN, text, min(0.5 + worst.took / 60, 0.8), evidence, after=after)


def _well(endpoint: Endpoint, answered: Sequence[Try]) -> Finding:
    one = max(answered, key=lambda each: each.took)
    phase, seconds = max(one.phases.items(), key=lambda item: item[1])
    text = f"{endpoint.named} answers {one.code} within {one.took * 1000:.0f} ms, {seconds * 1000:.0f} ms of it {phase}"
    to = re.search(r"^location: *(\S+)", one.head, re.IGNORECASE | re.MULTILINE)
    if 300 <= one.code < 400 and to:
        text += f"; it points to {words.clean(to[1].partition('?')[0], 60)}, which was not asked"
    return replace(_finding(Level.INFO, text, 0.3), answer=True)


def _certificate(endpoint: Endpoint, parts: Sequence[Section]) -> Iterator[Finding]:
    part = next((part for part in parts if part.name == "certificate"), None)
    days = part.facts.get("days", "") if part else ""
    if part is None or not re.fullmatch(r"-?[0-9]{1,6}", days) or int(days) >= EXPIRES_DAYS:
        return
    left = int(days)
    when = f"expires in {words.counted(left, 'day')}" if left > 0 else "expires within a day"
    if left < 0:
        when = f"expired {words.counted(-left, 'day')} ago"
    name = re.search(r"^subject=.*?CN ?= ?([^,\n]+)", part.body, re.MULTILINE)
    of = f" ({words.clean(name[1])})" if name else ""
    level = Level.BAD if left < 0 else Level.WARN
    yield _finding(
        level, f"The certificate of {endpoint.url}{of} {when}", 0.95 if left < 0 else 0.5, *part.body.split("\n")
    )


# --- saying -----------------------------------------------------------------------------------


def _choice(part: Section) -> Finding:
    rows = [row for row in part.rows() if re.fullmatch(r"[1-9][0-9]{0,4}", row.get("port", ""))]
    offers = [
        Suggestion(
            label=words.clean(f"{row.get('command') or 'a process'} on port {row['port']}", 60),
            parameters={"url": f"http://{_local(row)}:{row['port']}/"},
        )
        for row in rows[:OFFERED]
    ]
    if not offers:
        return _finding(Level.WARN, "No url was given, and nothing listens here that could be asked", 0.9)
    names = ", ".join(offer.label for offer in offers[:NAMED])
    more = f", and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    text = f"Say what to ask, such as url={offers[0].parameters['url']}; these listen here: {names}{more}"
    lines = [" ".join(row.values()) for row in rows]
    return _finding(Level.WARN, text, 0.9, *lines, after=tuple(offers))


def _local(row: Mapping[str, str]) -> str:
    """The address at which this host reaches its own listener."""
    address = words.clean(row.get("address", "")).partition("%")[0]
    return address if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", address) and address != "0.0.0.0" else "127.0.0.1"  # noqa: S104 — nothing is bound


def _finding(level: Level, text: str, weight: float, *evidence: str, after: tuple[Suggestion, ...] = ()) -> Finding:
    said = words.clean(text, TEXT_CHARS) or "Nothing can be said of the URL"
    return Finding(level=level, text=said, weight=weight, evidence=words.evidence(*evidence), next=after)
