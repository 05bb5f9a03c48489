"""What a capture would cost its target, as its cost script measured it, in one sentence. Pure.

The script prints ``key=value`` lines: ``what=orders-api (pid 812)``, ``pause_s=3``, ``writes_bytes=…``, ``path=/var/tmp``,
``free_bytes=…``, ``total_bytes=…`` (of that path's file system), ``upload_bytes=…``, ``memory_bytes=…``,
``free_memory_bytes=…``, ``total_memory_bytes=…``, and any number of ``note=a sentence`` and ``refuse=a sentence``.
Where several processes match it prints a section ``candidates`` instead, and where none does a section ``refused``,
as ``captures/choose-process.sh`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bot.errors import UserError
from bot.insights import Section, sections, words
from bot.model import Suggestion

TEXT_BYTES = 64_000  # that a cost script may say; more is not read
SENTENCE_CHARS = 200  # of a note or a refusal
SENTENCES = 3  # of a kind
CANDIDATES = 20
LABEL_CHARS = 60
MARGIN = 1.2  # times the estimate must be free, because an estimate is one
LEFT_SHARE = 0.05  # of a file system, or of the memory, that a capture leaves alone
UPLOAD_BYTES_PER_S = 50_000_000  # what the way to the bot and the store carries, where nobody knows better

_NUMBERS = (
    "pause_s",
    "writes_bytes",
    "free_bytes",
    "total_bytes",
    "upload_bytes",
    "memory_bytes",
    "free_memory_bytes",
    "total_memory_bytes",
)
_LINE = re.compile(rf"^({'|'.join(_NUMBERS)}|what|path|note|refuse)=(.*)$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one target would pay. *numbers* has the script's keys; one that it did not print is not measured."""

    numbers: Mapping[str, float]
    what: str = ""
    path: str = ""
    notes: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    candidates: tuple[Suggestion, ...] = ()  # to choose from before anything can be measured
    candidates_in_all: int = 0

    @property
    def is_known(self) -> bool:
        """Something was measured at all."""
        return bool(self.numbers or self.refusals or self.candidates)


def read(text: str) -> Cost:
    """What a cost script said; of a key that it repeats the first value. Never raises."""
    text = text[:TEXT_BYTES]
    found: dict[str, list[str]] = {}
    for key, value in _LINE.findall(text):
        found.setdefault(key, []).append(words.clean(value, SENTENCE_CHARS))
    numbers = {key: float(found[key][0]) for key in _NUMBERS if key in found and _NUMBER.fullmatch(found[key][0])}
    parts = sections(text)
    refusals = [*found.get("refuse", []), *(_first_line(part) for part in parts if part.name == "refused")]
    rows = [(part, row) for part in parts if part.name == "candidates" for row in part.rows()]
    in_all = max((int(words.number(part.facts.get("number"))) for part, _ in rows), default=0)
    return Cost(
        numbers=numbers,
        what=words.clean(found.get("what", [""])[0]),
        path=words.clean(found.get("path", [""])[0], 100),
        notes=tuple(filter(None, found.get("note", [])))[:SENTENCES],
        refusals=tuple(filter(None, refusals))[:SENTENCES],
        candidates=tuple(filter(None, (_candidate(row) for _, row in rows)))[:CANDIDATES],
        candidates_in_all=max(in_all, len(rows)),
    )


def sentence(cost: Cost) -> str:
    """As a responder reads it: "stops orders-api (pid 812) for about 3 s, writes 1.4 GB to /var/tmp (40 GB free)"."""
    said = ", ".join(_parts(cost)) or "costs next to nothing"
    return ". ".join([said, *(note[:1].upper() + note[1:].removesuffix(".") for note in cost.notes)])


def refusal(cost: Cost) -> UserError | None:
    """Why it must not be taken, with the numbers and what would help; None where it may."""
    if cost.refusals:
        return UserError(" ".join(f"{why.removesuffix('.')}." for why in cost.refusals))
    disk = f"to {cost.path or 'the disk'}"
    return _too_much(cost, "writes_bytes", "free_bytes", "total_bytes", f"write about {{}} {disk}") or _too_much(
        cost, "memory_bytes", "free_memory_bytes", "total_memory_bytes", "take about {} of memory"
    )


def _too_much(cost: Cost, asked: str, there: str, whole: str, does: str) -> UserError | None:
    """The rule: MARGIN times the estimate is free, and LEFT_SHARE of the whole stays so."""
    if not (estimate := cost.numbers.get(asked, 0)):
        return None
    does = f"It would {does.format(words.size(estimate))}"
    if (free := cost.numbers.get(there)) is None:
        return UserError(f"{does}, and how much is free there could not be measured.")
    left = LEFT_SHARE * cost.numbers.get(whole, 0)
    if (missing := estimate * MARGIN + left - free) <= 0:
        return None
    kept = f", and {words.size(left)} must stay free" if left else ""
    return UserError(
        f"{does}, where {words.size(free)} are free: {words.size(estimate * MARGIN)} are needed to be safe{kept}.",
        cure=f"Free {words.size(missing)} more, or take a smaller capture.",
    )


def _parts(cost: Cost) -> Iterator[str]:
    whom = cost.what or "the process"
    if pause_s := cost.numbers.get("pause_s", 0):
        yield f"stops {whom} for {_about(pause_s)}"
    elif "pause_s" in cost.numbers:
        yield f"does not stop {whom}"
    if written := cost.numbers.get("writes_bytes", 0):
        yield f"writes {words.size(written)} to {cost.path or 'the disk'}{_free(cost, 'free_bytes')}"
    if memory := cost.numbers.get("memory_bytes", 0):
        yield f"takes {words.size(memory)} of memory{_free(cost, 'free_memory_bytes')}"
    if sent := cost.numbers.get("upload_bytes", 0):
        yield f"uploads in {_about(sent / UPLOAD_BYTES_PER_S)}"


def _about(seconds: float) -> str:
    return f"about {words.duration(seconds)}" if seconds >= 1 else "less than 1 s"


def _free(cost: Cost, key: str) -> str:
    return f" ({words.size(cost.numbers[key])} free)" if key in cost.numbers else ""


def _first_line(part: Section) -> str:
    return words.clean(part.body.strip().partition("\n")[0], SENTENCE_CHARS)


def _candidate(row: Mapping[str, str]) -> Suggestion | None:
    pid = row.get("pid", "")
    if not re.fullmatch("[1-9][0-9]{0,9}", pid):
        return None
    name = words.clean(row.get("app") or row.get("unit") or row.get("command", "")) or "?"
    busy = f", {words.number(row['cpu_now']):.0f} % CPU" if "cpu_now" in row else ""
    return Suggestion(label=words.clean(f"{pid} {name}{busy}", LABEL_CHARS), parameters={"pid": int(pid)})
