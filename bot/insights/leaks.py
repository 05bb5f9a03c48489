"""Who opens more files than it closes, of what kind, and how soon its limit ends that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.insights import words
from bot.insights.onward import explaining
from bot.model import Finding, Level

LEAST_OPEN = 100.0  # a process that has just begun opens more than it closes
LEAST_GROWN = 4.0  # files, while it was looked at
SOON_S = 600.0  # a limit that is reached within that time is worth a warning
LATER_S = 3600.0  # or within that, if half of it is used
HALF = 0.5
NEVER_S = 10 * 86400.0  # a limit that is further away than that is no news
SELDOM = 1.5  # a second; fewer are told by the minute
NEARLY = 0.8  # of the limit
PATH_CHARS = 60
NAME_CHARS = 60
SENTENCE_CHARS = 190
KINDS = (
    ("sockets", "sockets"),
    ("pipes", "pipes"),
    ("anonymous", "anonymous descriptors"),
    ("files", "files"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """A process with its open files, as *row* of the table; it was looked at for *seconds*, and *names* tells what they are."""

    row: Mapping[str, str]
    seconds: float
    names: Sequence[Mapping[str, str]]

    def number(self, column: str) -> float:
        """A cell of its row."""
        return words.number(self.row.get(column))

    @property
    def opened(self) -> float:
        """Files that it has open."""
        return self.number("open")

    @property
    def limit(self) -> float:
        """Files that it may have open; infinite where there is no limit."""
        return self.number("limit") or float("inf")

    @property
    def share(self) -> float:
        """Of its limit."""
        return max(self.opened, 0.0) / max(self.limit, 1.0)

    @property
    def grown(self) -> float:
        """Files that it has more than at the first look; negative where they became fewer."""
        return self.opened - self.number("first") if self.seconds > 0 and "first" in self.row else 0.0

    @property
    def process(self) -> str:
        """Its name."""
        return self.row.get("process", "?")

    @property
    def pid(self) -> str:
        """Its pid as it was written."""
        return self.row.get("pid", "?")

    @property
    def who(self) -> str:
        """Name, pid and user."""
        return (
            f"{words.clean(self.process)} (pid {words.clean(self.pid)}, user {words.clean(self.row.get('user', '?'))})"
        )

    @property
    def kind(self) -> tuple[str, str]:
        """Most of its files are of this kind: the column, and the word for people."""
        return max(KINDS, key=lambda each: self.number(each[0]))

    @property
    def mostly(self) -> str:
        """How many of its files are of one kind, and in which folder."""
        column, name = self.kind
        folder = self.row.get("folder", "") if column == "files" else ""
        return f"{words.count(self.number(column))} of them {name}" + (
            f" in {words.clean(folder, PATH_CHARS)}" if folder else ""
        )

    @property
    def leading(self) -> str:
        """What most of them are, numbers taken out: "/srv/session-#", "tcp ESTAB to 10.0.0.7:5432"; "" where unknown."""
        mine = [row for row in self.names if row.get("pid") == self.pid]
        most = max(mine, key=lambda row: words.number(row.get("open")), default=None)
        return words.clean(most.get("name", ""), NAME_CHARS) if most else ""

    @property
    def evidence(self) -> tuple[str, ...]:
        """Its row, and what its files are."""
        mine = (f"{row.get('open', '?')} × {row.get('name', '?')}" for row in self.names if row.get("pid") == self.pid)
        return words.evidence(" ".join(self.row.values()), *mine)


def leaking(opener: Opener, *, alone: bool) -> Iterator[Finding]:
    """A process that had more at each look; *alone* when it is the only one that was asked for."""
    first, middle = opener.number("first"), opener.number("middle")
    if opener.grown < LEAST_GROWN or not first < middle < opener.opened or opener.opened < LEAST_OPEN:
        return
    rate = opener.grown / opener.seconds
    left_s = max(opener.limit - opener.opened, 0.0) / rate
    _, kind = opener.kind
    often = f"{rate:.0f} {kind} a second" if rate >= SELDOM else f"{rate * 60:.0f} {kind} a minute"
    text = (
        f"{opener.who} opens {often} more than it closes: {words.count(opener.opened)} of {words.count(opener.limit)}"
    )
    if left_s <= NEVER_S:
        text += f", full in {words.duration(left_s)}"
    if opener.leading and len(text) + len(opener.leading) < SENTENCE_CHARS:
        text += f"; most: {opener.leading}"
    warns = left_s <= SOON_S or (left_s <= LATER_S and opener.share >= HALF)
    yield Finding(
        level=Level.BAD if opener.share >= NEARLY else Level.WARN if warns else Level.INFO,
        text=text,
        weight=min(0.6 + opener.share * 0.3, 0.9),
        evidence=opener.evidence,
        next=explaining(opener.process, opener.pid, *([] if alone else ["files"])),
    )
