"""TCP connections of a Windows host and whose they are (captures/win-connections.ps1): from Get-NetTCPConnection, netstat, tasklist, netsh.

netstat writes states in the system's language, and its columns may hold none: only addresses and numbers of it are read. What
.NET says of the same connections is the same everywhere; whatever has no other side listens.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.insights import Section

MOST = 100_000  # connections that are read
LINE_CHARS = 20_000
LISTENING = "Listen"
_NOBODY = {"0.0.0.0", "::", "*"}  # noqa: S104 — addresses that are read, nothing is bound
_ENDPOINT = re.compile(r"\[?([0-9A-Fa-f:.]+)(?:%\w+)?\]?:(\d{1,5})")
_NUMBER = re.compile(r":\s*(\d{1,5})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """One connection, or one that listens; *state* as .NET spells it, "" where nobody told."""

    local: str
    local_port: int
    remote: str
    remote_port: int
    state: str
    pid: int

    @property
    def is_listening(self) -> bool:
        """Whether it waits for others. What is only bound to a port has no other side either, but takes one from new connections."""
        return self.state == LISTENING or (not self.state and not self.remote_port and self.remote in _NOBODY)


@dataclass(frozen=True, slots=True)
class Range:
    """The ports that Windows hands out for new connections."""

    start: int
    number: int

    def has(self, port: int) -> bool:
        """Whether *port* is one of them."""
        return self.start <= port < self.start + self.number


def sockets_of(parts: Sequence[Section]) -> list[Socket]:
    """Every connection of an artifact, from whichever program could tell."""
    found: list[Socket] = []
    for part in parts:
        if part.name == "connections":
            found += [socket for row in part.rows()[:MOST] if (socket := _of_row(row))]
    if not found:
        states = {
            (row.get("local", ""), row.get("remote", "")): row.get("state", "")
            for part in parts
            if part.name == "active"
            for row in part.rows()[:MOST]
        }
        for part in parts:
            if part.name == "netstat":
                found += netstat(part.body, states)
    return found


def _of_row(row: Mapping[str, str]) -> Socket | None:
    local_port, remote_port, pid = (row.get(key, "") for key in ("local_port", "remote_port", "pid"))
    if not (_is_port(local_port) and _is_port(remote_port)):
        return None
    return Socket(
        local=row.get("local", ""),
        local_port=int(local_port),
        remote=row.get("remote", ""),
        remote_port=int(remote_port),
        state=row.get("state", ""),
        pid=int(pid) if _is_pid(pid) else 0,
    )


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None


def _is_pid(text: str) -> bool:
    return re.fullmatch("[0-9]{1,10}", text) is not None


def netstat(body: str, states: Mapping[tuple[str, str], str]) -> Iterator[Socket]:
    """Yield the TCP lines of ``netstat -ano``; *states* by both ends, as netstat writes them, since its own are translated."""
    for line in body.split("\n")[:MOST]:
        fields = line.split()
        if len(fields) < 3 or fields[0].upper() != "TCP":
            continue
        local, remote = _ENDPOINT.fullmatch(fields[1]), _ENDPOINT.fullmatch(fields[2])
        if local and remote:
            yield Socket(
                local=local[1],
                local_port=int(local[2]),
                remote=remote[1],
                remote_port=int(remote[2]),
                state=states.get((fields[1], fields[2]), ""),
                pid=int(fields[-1]) if _is_pid(fields[-1]) else 0,
            )


def processes_of(parts: Sequence[Section]) -> dict[int, dict[str, str]]:
    """Processes by pid, each with ``pid``, ``process``, and where they are known ``services`` and ``command``."""
    found: dict[int, dict[str, str]] = {}
    for part in parts:
        if part.name == "tasklist":
            found |= tasklist(part.body)
        elif part.name == "processes":
            for row in part.rows():
                if _is_pid(row.get("pid", "")):
                    found[int(row["pid"])] = {**found.get(int(row["pid"]), {}), **row}
    return found


def tasklist(body: str) -> dict[int, dict[str, str]]:
    """What ``tasklist /svc /fo csv /nh`` lists. Its word for "no services" is translated: it is what the idle process has."""
    rows = [row for line in body.split("\n")[:MOST] if len(row := _cells(line)) == 3 and _is_pid(row[1])]
    none = next((services for _, pid, services in rows if pid == "0"), "")
    return {
        int(pid): {
            "pid": pid,
            "process": name.removesuffix(".exe"),
            "services": "" if services == none else services.replace(",", " "),
        }
        for name, pid, services in rows
    }


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line[:LINE_CHARS]]), [])
    except csv.Error:  # a return in the middle of it
        return []


def range_of(parts: Sequence[Section], family: str) -> Range | None:
    """The dynamic ports of *family*, from what netsh says of it: its words are translated, the order of its numbers is not."""
    for part in parts:
        if part.name == "range" and part.facts.get("family") == family:
            numbers = [int(each) for each in _NUMBER.findall(part.body)]
            if len(numbers) == 2 and numbers[1] > 0:
                return Range(*numbers)
    return None
