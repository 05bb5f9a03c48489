"""One HTTP request and what came of it, as captures/http.sh prints it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.insights import Section, words
from bot.insights.onward import explaining
from bot.model import Suggestion

URL_CHARS = 70  # of a URL in a sentence

# What curl's exit statuses mean (its manual, "EXIT CODES"); the script's other way of asking uses the same.
UNKNOWN_HOST, NO_CONNECTION, TIMED_OUT, UNTRUSTED = "6", "7", "28", {"51", "60"}
CUT = "23"  # we stopped reading, because it was enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One request; seconds from its start, 0 for what it never came to."""

    exit: str
    code: int
    dns_s: float
    connected: float
    secured: float
    asked: float
    answered: float
    ended: float
    head: str  # header lines, or a complaint

    @property
    def took(self) -> float:
        """All of it, with the name's resolution."""
        return self.dns_s + self.ended

    @property
    def has_answer(self) -> bool:
        """Whether a whole answer came, or as much of it as we wanted."""
        return self.code > 0 and self.exit in {"0", CUT}

    @property
    def phases(self) -> Mapping[str, float]:
        """Seconds by phase, as people call them."""
        return {
            "resolving the name": self.dns_s,
            "connecting": self.connected,
            "the TLS handshake": max(self.secured - self.connected, 0.0) if self.secured else 0.0,
            "waiting for the first byte": max(self.answered - self.asked, 0.0),
            "the transfer": max(self.ended - self.answered, 0.0),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What was asked, and who listens there on the host itself."""

    url: str
    host: str
    port: str
    patience: str
    command: str = ""
    pid: int = 0
    queue: str = ""  # what is wrong with the queue of its port
    is_here: bool = False

    @property
    def named(self) -> str:
        """It with its process: "http://127.0.0.1:8080/health of java (pid 812)"."""
        return f"{self.url} of {self.command} (pid {self.pid})" if self.pid else self.url

    @property
    def look_inside(self) -> tuple[Suggestion, ...]:
        """What explains why a process is slow or silent."""
        readers = explaining(self.command, str(self.pid))
        return readers or ((Suggestion(label="Look at the host", recipe="host"),) if self.is_here else ())


def endpoint_of(parts: Sequence[Section]) -> Endpoint | None:
    """Read what was asked; None without it."""
    row = next((row for part in parts if part.name == "url" for row in part.rows()), None)
    if row is None:
        return None
    here = next((part.rows() for part in parts if part.name == "listener"), None)
    first = here[0] if here else {}
    waiting, room = words.number(first.get("waiting")), words.number(first.get("room"))
    pid = first.get("pid", "")
    return Endpoint(
        url=words.clean(row.get("url", ""), URL_CHARS) or "The URL",
        host=words.clean(row.get("host", "")) or "?",
        port=words.clean(row.get("port", ""), 6),
        patience=words.clean(row.get("patience_s", ""), 4),
        command=words.clean(first.get("command", "")) or "a process",
        pid=int(pid) if re.fullmatch(r"[1-9][0-9]{0,8}", pid) else 0,
        queue=f"its queue of {words.counted(room, 'connection')} is full" if 0 < room < waiting else "",
        is_here=here is not None,
    )


def try_of(part: Section) -> Try:
    """Read one request."""
    facts = part.facts
    code = facts.get("code", "")
    return Try(
        exit=facts.get("exit", ""),
        code=int(code) if re.fullmatch(r"[0-9]{3}", code) else 0,
        dns_s=words.number(facts.get("dns_ms")) / 1000,
        connected=words.number(facts.get("connected")),
        secured=words.number(facts.get("secured")),
        asked=words.number(facts.get("asked")),
        answered=words.number(facts.get("answered")),
        ended=words.number(facts.get("ended")),
        head=part.body.strip(),
    )
