"""Crashes that Windows recorded: of programs with the module they died in, of services, of the host itself.

Known by provider and number, and by the values in them, as Microsoft documents them; texts that Windows translates are not
read. What .NET writes into 1026 is translated as well: only names of types and programs are taken from it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.insights import words
from bot.insights.windows.xml import Event, text_of
from bot.model import Finding, Level, Suggestion

NAMED = 6  # kinds of crashes
MOST = 500  # crashes that are looked at
TEXT_CHARS = 200
LABEL_CHARS = 60
SAME_S = 120.0  # between what several sources say of one crash

# ntstatus.h, and what compilers raise.
EXCEPTIONS = {
    "c0000005": "access violation",
    "c0000006": "a page could not be read in",
    "c000001d": "illegal instruction",
    "c0000094": "division by zero",
    "c00000fd": "stack overflow",
    "c0000135": "a DLL was not found",
    "c0000142": "a DLL did not start",
    "c0000374": "heap corruption",
    "c0000409": "fail fast, or a buffer overrun",
    "c000041d": "an exception in a callback",
    "c06d007e": "a delayed DLL was not found",
    "e06d7363": "a C++ exception",
    "e0434352": "a .NET exception",
    "80000003": "a breakpoint",
}
HUNG = "did not answer any more and was ended"
DOTNET = "e0434352"
_WORD = re.compile(r"[\w.+-]{1,200}")  # read one by one, in time that grows with the text
_EXCEPTIONS = ("Exception", "Error", "Abort")
_NAME = re.compile(r"[A-Za-z_][\w+]*(?:\.[\w+]+)+", re.ASCII)
_APP = re.compile(r"[\w.+$-][\w.+$ -]{0,60}")  # a name that is whole
_CODE = re.compile(r"(?:0x)?([0-9a-f]{1,8})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One crash: what died, how, and *rank* by which the better of two reports of one is told."""

    at: float
    what: str
    how: str
    rank: int
    event: Event

    @property
    def line(self) -> str:
        """For evidence."""
        values = " | ".join(f"{name}={value}" if name else value for name, value in self.event.data if value)
        return f"{_clock(self.at)} {self.event.provider} {self.event.id}: {values}"


def crashes(events: Sequence[Event], since: float) -> Iterator[Finding]:
    """Name what crashed *since* then, with how often, when last, and in which module."""
    found = _single([crash for event in events if (crash := crash_of(event))][:MOST])
    groups: dict[tuple[str, str], list[Crash]] = defaultdict(list)
    for crash in found:
        groups[crash.what, crash.how].append(crash)
    recent = [(kind, group) for kind, group in groups.items() if group[-1].at >= since]
    recent.sort(key=lambda each: (-sum(crash.at >= since for crash in each[1]), -each[1][-1].at))
    for (what, how), group in recent[:NAMED]:
        late = [crash for crash in group if crash.at >= since]
        often = f" {len(late)} times, last" if len(late) > 1 else ""
        before = (
            f"; {words.counted(len(group) - len(late), 'time')} in the day before" if len(late) < len(group) else ""
        )
        text = f"{what} {how}{often} at {_clock(group[-1].at)} UTC{before}"
        is_host = what == "The host"
        yield Finding(
            level=Level.BAD,
            text=words.clean(text, TEXT_CHARS),
            weight=0.95 if is_host else min(0.7 + len(late) / 50, 0.9),
            evidence=words.evidence(*(crash.line for crash in reversed(late))),
            next=() if is_host else _dump(what, how),
        )


def _dump(what: str, how: str) -> tuple[Suggestion, ...]:
    """To be there when it happens again."""
    app, when = what.removeprefix("Service "), "hang" if how == HUNG else "exception"
    if not _APP.fullmatch(app):
        return ()
    label = words.clean(f"Dump of {app} when it {'hangs' if how == HUNG else 'fails'} again", LABEL_CHARS)
    return (Suggestion(label=label, recipe="procdump", parameters={"app": app, "when": when}),)


def _single(found: list[Crash]) -> list[Crash]:
    """Without what several sources say of one crash: the best of them is kept."""
    kept: list[Crash] = []
    for crash in sorted(found, key=lambda each: (-each.rank, each.at)):
        if not any(
            other.what == crash.what and other.rank > crash.rank and abs(other.at - crash.at) <= SAME_S
            for other in kept
        ):
            kept.append(crash)
    return sorted(kept, key=lambda each: each.at)


def crash_of(event: Event) -> Crash | None:
    """What *event* says crashed; None for one that is no crash."""
    reader = _READERS.get((event.provider.lower(), event.id))
    said = reader(event) if reader else None
    if said is None:
        return None
    what, how, rank = said
    return Crash(at=event.at, what=words.clean(what) or "A program", how=words.clean(how, 140), rank=rank, event=event)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%H:%M:%S")


Said = tuple[str, str, int] | None


def _program(event: Event) -> Said:
    """Application Error 1000; newer versions of Windows name its values."""
    name, module = event.value("AppName", 0), event.value("ModuleName", 3)
    code = _hexadecimal(event.value("ExceptionCode", 6))
    if code == DOTNET:
        return name, "crashed: a .NET exception nobody caught", 1  # 1026 says which
    return name, f"crashed in {module or '?'}: {_exception(code)}", 2


def _dotnet(event: Event) -> Said:
    """.NET Runtime 1026: one text, translated but for names."""
    text = "\n".join(value for _, value in event.data)
    error = next((word for word in _words(text) if _is_exception(word)), "a .NET exception that nobody caught")
    return _program_in(text), f"ended by {error}", 3


def _fail_fast(event: Event) -> Said:
    """.NET Runtime 1023 (an error of the runtime itself) and 1025 (FailFast)."""
    how = "ended itself (FailFast)" if event.id == 1025 else "ended by an error of .NET itself"
    return _program_in("\n".join(value for _, value in event.data)), how, 3


def _words(text: str) -> Iterator[str]:
    return (match[0].rstrip(".") for match in _WORD.finditer(text))


def _program_in(text: str) -> str:
    return next((word for word in _words(text) if word.lower().endswith(".exe")), "A .NET program")


def _is_exception(word: str) -> bool:
    return word.endswith(_EXCEPTIONS) and _NAME.fullmatch(word) is not None


def _report(event: Event) -> Said:
    """Windows Error Reporting 1001: the kind of problem, then its ten parameters."""
    kind, parameters = event.value("EventName", 2), [value for _, value in event.data][5:15]
    parameters += [""] * (10 - len(parameters))
    if kind in {"APPCRASH", "BEX", "BEX64", "MoAppCrash", "MoBEX"}:
        name, module, code = (parameters[n] for n in ((0, 3, 7) if "BEX" in kind else (0, 3, 6)))
        return name, f"crashed in {module or '?'}: {_exception(_hexadecimal(code))}", 0
    if kind == "CLR20r3":
        return parameters[0], f"ended by {parameters[8] or 'a .NET exception'}", 0
    if kind in {"AppHangB1", "AppHangTransient"}:
        return parameters[0], HUNG, 0
    return None


def _hang(event: Event) -> Said:
    return event.value("AppName", 0), HUNG, 2


def _service(event: Event) -> Said:
    """7031 and 7034; the service's own name is in the binary data, what it is shown as may be translated."""
    name = text_of(event.binary).split("/")[0] or event.value("param1", 0)
    return f"Service {words.clean(name)}", "ended unexpectedly", 2


def _power(event: Event) -> Said:
    """Kernel-Power 41; its stop code is decimal."""
    code = event.value("BugcheckCode", 0)
    if re.fullmatch("[0-9]{1,10}", code) and int(code):
        return "The host", f"stopped with a blue screen: code 0x{int(code):X}", 3
    return "The host", "restarted without shutting down: a reset, or power was lost", 2


def _blue_screen(event: Event) -> Said:
    code = _CODE.match(event.value("param1", 0).strip())
    return (
        "The host",
        f"stopped with a blue screen: code 0x{int(code[1], 16):X}" if code else "stopped with a blue screen",
        4,
    )


def _unexpected(event: Event) -> Said:
    del event  # its values are a date as the system's language writes it
    return "The host", "restarted without shutting down", 1


def _hexadecimal(text: str) -> str:
    match = _CODE.fullmatch(text.strip())
    return match[1].lower().rjust(8, "0") if match else ""


def _exception(code: str) -> str:
    if not code:
        return "no code"
    meaning = EXCEPTIONS.get(code)
    return f"0x{code.upper()}" + (f" ({meaning})" if meaning else "")


_READERS: dict[tuple[str, int], Callable[[Event], Said]] = {
    ("application error", 1000): _program,
    ("application hang", 1002): _hang,
    (".net runtime", 1023): _fail_fast,
    (".net runtime", 1025): _fail_fast,
    (".net runtime", 1026): _dotnet,
    ("windows error reporting", 1001): _report,
    ("service control manager", 7031): _service,
    ("service control manager", 7034): _service,
    ("microsoft-windows-kernel-power", 41): _power,
    ("microsoft-windows-wer-systemerrorreporting", 1001): _blue_screen,
    ("bugcheck", 1001): _blue_screen,
    ("eventlog", 6008): _unexpected,
}
