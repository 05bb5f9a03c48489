"""Which recipes will work on a target, and what each lacks there, with the line that mends it: `capturebot doctor TARGET`.

A host is asked once for facts about itself, by a script that only reads. A database is asked what its recipes would
ask, once and with their defaults: nothing tells better whether an account may.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.features import FEATURES, Facts, is_root, windows
from bot.insights import sections
from bot.model import Event, Outcome, Person, Probed, Recipe, Run, Script, Sql, Step, Target, TargetKind
from bot.pipeline import Allowance, StepStream
from bot.recipes import bind, bind_parameters
from bot.redact import Redactor
from bot.transports import Execution, Transport, becoming
from bot.yamlfile import listed

ANSWER_BYTES = 4_000_000
HOST_S = 30.0
PERFORMANCE_SCHEMA_OFF = "performance_schema_off"
SQL_S = 10.0  # for all statements of one step
LINE_CHARS = 300

# Where a program comes from when its package is not called as it is: Debian's name, and that of Red Hat's.
PACKAGES = {
    **dict.fromkeys(("ps", "top", "free", "vmstat", "pgrep"), ("procps", "procps-ng")),
    **dict.fromkeys(("ip", "ss", "nstat"), ("iproute2", "iproute")),
    **dict.fromkeys(("gcore", "gdb"), ("gdb", "gdb")),
    **dict.fromkeys(("find", "xargs"), ("findutils", "findutils")),
    **dict.fromkeys(("jcmd", "jstack", "jmap"), ("default-jdk-headless", "java-17-openjdk-devel")),
    **dict.fromkeys(("df", "dd", "stat", "timeout"), ("coreutils", "coreutils")),
    "awk": ("mawk", "gawk"),
    "perf": ("linux-perf", "perf"),
    "getent": ("libc-bin", "glibc-common"),
}
_INSTALL = {"debian": "apt-get install", "rhel": "dnf install", "suse": "zypper install", "alpine": "apk add"}

# Facts come as KEY<TAB>VALUE. What tries something for real tells more than what reads a setting.
_SURVEY = r"""
say() { printf '%s\t%s\n' "$1" "$2"; }
can() { say "can $1" "$(timeout -k 1 5 "${@:2}" >/dev/null 2>&1 && echo yes || echo no)"; }
say uid "$(id -u)"
say user "$(id -un)"
. /etc/os-release 2>/dev/null
case " ${ID:-} ${ID_LIKE:-} " in
  *debian*) say family debian ;;
  *rhel* | *fedora*) say family rhel ;;
  *suse*) say family suse ;;
  *alpine*) say family alpine ;;
esac
say system "${PRETTY_NAME:-Linux}, kernel $(uname -r)"
for program in $PROGRAMS; do
  say "program $program" "$(command -v "$program")"
done
say perf "$(cat /proc/sys/kernel/perf_event_paranoid 2>/dev/null)"
say ptrace "$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null || echo 0)"
say lockdown "$(grep -o '\[.*\]' /sys/kernel/security/lockdown 2>/dev/null)"
say tracefs "$(ls -d /sys/kernel/tracing/events /sys/kernel/debug/tracing/events 2>/dev/null | head -n 1)"
can kernel-log sh -c 'dmesg | head -n 1'
can journal sh -c '[ -d /run/systemd/system ] && journalctl --quiet --lines=1 --no-pager | grep -q .'
can sockets sh -c 'ss -Htnp | head -n 1'
for each in $ROOTS; do
  say "root $each" "$(sudo -n -l "$each" >/dev/null 2>&1 && echo yes)"
done
say packets "$(getcap "$(command -v tcpdump)" 2>/dev/null | grep -o cap_net_raw)"
say end yes
"""

_PLAIN = re.compile(r"[\w./+-]+")  # what a shell reads as one word


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that a step misses: *fatal* where it does not run without."""

    sentence: str
    cure: str
    fatal: bool


@dataclass(slots=True)
class Surveyor:
    """Looks at targets through *transports*; *redactor* takes secrets out of what they answer. *who* wants to know."""

    transports: Mapping[str, Transport]
    redactor: Redactor
    now: Callable[[], datetime]
    emit: Callable[[Event], Awaitable[object]]  # keeps what was run
    who: Person
    _id: str = field(default="doctor", init=False)

    async def examine(self, target: Target, recipes: Iterable[Recipe]) -> list[str]:
        """Lines of "ok: …" and "warn: … — cure", one or more for each of *recipes* that fits *target*."""
        fitting = [each for each in recipes if each.wants in target.kinds]
        facts: Facts = {}
        if ask := self._question(target, fitting):
            text, trouble = await self._ask(target, *ask)
            facts = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
            if "end" not in facts:
                return [f"fault: {target.name} could not be looked at: {trouble or 'it broke off'}"]
        lines = [f"ok: {target.name} is {facts['system']}"] if "system" in facts else []
        for recipe in fitting:
            lines += told(recipe, [lack async for lack in self._lacks(target, recipe, facts)])
        return lines

    def _question(self, target: Target, recipes: Sequence[Recipe]) -> tuple[str, Step] | None:
        """The way to the target's host and what it is asked; None where there is none."""
        programs = {name for recipe in recipes for step in recipe.steps for name in (*_needs(step), *step.wants)}
        if target.windows:
            env = {"PROGRAMS": " ".join(sorted(programs - windows.FEATURES.keys())), "TOOLS": target.windows.tools}
            return "windows", _step("survey", Script(name="survey.ps1", text=windows.SURVEY, env=env), HOST_S)
        if TargetKind.HOST not in target.kinds:
            return None
        steps = [step for recipe in recipes for step in recipe.steps] if target.become else []
        roots = {program for step in steps if (program := becoming.program_of(step, target.paths))}
        named = {"PROGRAMS": programs - FEATURES.keys(), "ROOTS": roots}
        env = {name: " ".join(sorted(words)) for name, words in named.items()}
        survey = Script(name="survey.sh", text=_SURVEY, env=env)
        return "local" if target.local else "ssh", _step("survey", survey, HOST_S)

    async def _lacks(self, target: Target, recipe: Recipe, facts: Facts) -> AsyncIterator[Lack]:
        for step in recipe.steps:
            if isinstance(step.action, Sql):
                for lack in await self._refused(target, recipe, step):
                    yield lack
            elif target.windows and recipe.wants is not TargetKind.WINDOWS:
                yield Lack(sentence=f"without “{step.title}”, which is for Linux", cure="", fatal=False)
            elif facts:
                root = becoming.program_of(step, target.paths) if target.become else None
                way = f"ssh root@{target.ssh.host} sh" if target.ssh else "sudo sh"
                cure = f"capturebot sudoers --target {target.name} --install | {way}"
                for lack in lacks_of(step, facts, root=root, cure=cure):
                    yield lack
            else:
                cure = f"add `ssh:` to {target.name} in capturebot.yml"
                yield Lack(sentence=f"without “{step.title}”, which runs on the host", cure=cure, fatal=False)

    async def _refused(self, target: Target, recipe: Recipe, step: Step) -> list[Lack]:
        """What the server says no to of what *step* asks."""
        bound = bind(step, bind_parameters(recipe, {}))
        text, trouble = await self._ask(target, "mysql", replace(bound, timeout_s=SQL_S, sampling=None))
        if trouble and not text:
            return [Lack(sentence=trouble.rstrip("."), cure="", fatal=True)]
        return [
            Lack(sentence=f"the server refuses {listed(names)}: {why}", cure=cure, fatal=False)
            for (why, cure), names in _refusals(text).items()
        ]

    async def _ask(self, target: Target, way: str, step: Step) -> tuple[str, str]:
        """What *step* prints on *target*, and why it ended badly, "" where it did not."""

        async def start() -> Execution:
            return await self.transports[way].start(target, step, capture_id=self._id)

        redaction = self.redactor.stream()
        stream = StepStream(step, start, redaction=redaction, allowance=Allowance(step.limit_bytes), now=self.now)
        async with aclosing(stream.chunks()) as chunks:
            text = b"".join([chunk async for chunk in chunks]).decode("utf-8", "replace")
        await self.emit(
            Probed(
                what="what `capturebot doctor` looks at",
                target=target.name,
                command=self.redactor.text(stream.command),
                outcome=stream.outcome,
                exit_status=stream.exit_status,
                at=self.now(),
                who=self.who,
            )
        )
        return text, "" if stream.outcome is Outcome.OK else self.redactor.text(stream.reason)


def _refusals(text: str) -> dict[tuple[str, str], list[str]]:
    """Why and what mends it, of the statements in *text* that the server refused; those of one cure in one."""
    found: dict[tuple[str, str], list[str]] = {}
    whys: dict[str, str] = {}
    for section in sections(text):
        if "error" in section.facts or section.facts.get("skipped") == PERFORMANCE_SCHEMA_OFF:
            said = [line.removeprefix("-- ") for line in section.body.splitlines() if line.startswith("-- ")]
            why, _, cure = (said[0] if said else "").partition(" — ")
            cure = said[1] if len(said) > 1 else cure
            why = whys.setdefault(cure, why.rstrip(".")) if cure else why.rstrip(".")
            found.setdefault((why, cure), []).append(section.name)
    return found


def _step(name: str, action: Script, timeout_s: float) -> Step:
    return Step(id=name, title=name, action=action, timeout_s=timeout_s, limit_bytes=ANSWER_BYTES)


def lacks_of(step: Step, facts: Facts, *, root: str | None = None, cure: str = "") -> Iterator[Lack]:
    """Yield what a step on a host misses there.

    *root* is the program that runs it as root, where it may go through sudo, and *cure* what makes sudo let it.
    """
    may_be_root = root is not None and facts.get(f"root {root}") == "yes"
    if root is not None and not may_be_root and not is_root(facts):
        who = facts.get("user", "the account")
        yield Lack(sentence=f"sudo does not let {who} run {root}", cure=cure, fatal=False)
    for name in _needs(step):
        if not facts.get(f"program {name}"):
            yield Lack(
                sentence=f"without “{step.title}”: {name} is not installed", cure=installing(name, facts), fatal=True
            )
    features = windows.FEATURES if facts.get("family") == windows.FAMILY else FEATURES
    for name in step.wants:
        if feature := features.get(name):
            if not feature.there(facts) and not (root is not None and name in becoming.WANTS):
                # Where root lacks it, the host has none, and no right to it would help.
                cure = "" if is_root(facts) else feature.cure.replace("{user}", facts.get("user", "USER"))
                yield Lack(sentence=feature.lack, cure=cure, fatal=False)
        elif not facts.get(f"program {name}"):
            yield Lack(sentence=f"{name} is not installed", cure=installing(name, facts), fatal=False)


def _needs(step: Step) -> tuple[str, ...]:
    """The programs that a step does not run without, in the order in which they are looked for."""
    named = step.action.argv[:1] if isinstance(step.action, Run) else ()
    return (*(name for name in named if _PLAIN.fullmatch(name)), *step.needs)


def installing(program: str, facts: Facts) -> str:
    """The line that installs *program* on a host of that family."""
    family = facts.get("family", "debian")
    if family == windows.FAMILY:
        return windows.installing(program, facts)
    debian, redhat = PACKAGES.get(program, (program, program))
    return f"{_INSTALL[family]} {debian if family in ('debian', 'alpine') else redhat}"


def told(recipe: Recipe, lacks: Sequence[Lack]) -> list[str]:
    """One line for a recipe that works in full, else one for each thing that it misses."""
    if not lacks:
        return [f"ok: {recipe.name} works"]
    steps = {lack.sentence for lack in lacks if lack.fatal}
    works = "works, but with less" if len(steps) < len(recipe.steps) else "will not work"
    seen: dict[str, str] = {}
    for lack in lacks:
        seen.setdefault(lack.sentence, lack.cure)
    return [
        f"warn: {recipe.name} {works}: {what[:LINE_CHARS]}" + (f" — {cure}" if cure else "")
        for what, cure in seen.items()
    ]
