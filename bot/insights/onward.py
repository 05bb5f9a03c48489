"""What explains a process or a peer that a finding names: what its button offers, cheap before dear."""

from __future__ import annotations

import re

from bot.insights import words
from bot.model import Suggestion

LABEL_CHARS = 60
TCP_CHANGES = Suggestion(label="TCP connections as they change", recipe="trace", parameters={"what": "tcp"})
CHEAP = {"files"}  # cheaper than to read threads
READERS = (
    (re.compile(r"java"), "java-threads", "Threads"),
    (re.compile(r"python|gunicorn|uwsgi|celery|uvicorn"), "python-threads", "Threads"),
    (re.compile(r"node"), "node", "Event loop"),
    (re.compile(r"dotnet"), "dotnet", "Threads"),
)


def explaining(process: str, pid: str, *recipes: str) -> tuple[Suggestion, ...]:
    """Suggest *recipes* that take a ``pid``, and what reads the threads of such a *process*; nothing without a pid."""
    if not re.fullmatch(r"[1-9][0-9]{0,6}", pid):
        return ()
    readers = [(recipe, label) for pattern, recipe, label in READERS if pattern.match(process)]
    looks = [(recipe, recipe.capitalize()) for recipe in recipes]
    wanted = [
        *(look for look in looks if look[0] in CHEAP),
        *readers,
        *(look for look in looks if look[0] not in CHEAP),
    ]
    who = f"{words.clean(process)} (pid {pid})"
    return tuple(
        Suggestion(label=words.clean(f"{label} of {who}", LABEL_CHARS), recipe=recipe, parameters={"pid": int(pid)})
        for recipe, label in wanted
    )


def packets(peer: str, port: str = "") -> tuple[Suggestion, ...]:
    """Suggest to record what goes to and comes from an address of ss, and a port where it is one; nothing without an address."""
    host = peer.strip("[]").removeprefix("::ffff:").partition("%")[0]
    if not re.fullmatch(r"[0-9a-f][0-9a-f.:]{1,44}", host):
        return ()
    given: dict[str, str | int] = {"host": host}
    if re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) <= 65535:
        given["port"] = int(port)
    where = ":".join(str(value) for value in given.values())
    return (Suggestion(label=f"Packets with {where}"[:LABEL_CHARS], recipe="tcpdump", parameters=given),)
