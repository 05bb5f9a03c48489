"""What a Linux host gets to read and says back, over SSH and on this machine: the wire format of a step.

A step reaches a host as one program on the standard input of ``/bin/sh -s``: login shells of any
kind understand that command line, nothing is bounded by ``ARG_MAX``, and because the program is one
compound command a connection that breaks half-way runs nothing at all. The program starts::

    /bin/sh -s                     outlives the step only to sweep up what the step left in its group
    └── timeout                    leads the step's own process group, ends it with INT, then KILL
        └── nice PROGRAM …         standard input is /dev/null; a script is read from descriptor 3

Its own remarks (a program that is missing, or the ids of the process group and session, and what was
tidied up) come as lines on stderr behind a random token, which no program can forge and no login banner
contains. How a step that leaves a file tells its report from the file is in `framing`.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.errors import StepFailed
from bot.model import File, Log, Run, Script, Sql, Step
from bot.transports import becoming, framing, reaping, scratch
from bot.transports.reading import FILE, UNIT, UNIT_LAST, VARIABLE, expression

COMMAND = "exec /bin/sh -s"  # all that a login shell gets to read
KILL_AFTER_S = 5.0  # from INT to KILL when the host's own limit strikes
LIMIT_STATUSES = (124, 137)  # timeout's: ended by INT, ended by KILL
SCRIPT_BYTES = 256 * 1024
WORDS_CHARS = 300  # of a host's own words in a sentence
LEFT_NAMED = 3  # processes
NICENESS = "10"

# Where a program comes from when its package is named differently.
PACKAGES = {
    **dict.fromkeys(("iostat", "mpstat", "pidstat", "sar"), "sysstat"),
    **dict.fromkeys(("free", "pgrep", "pmap", "ps", "slabtop", "top", "vmstat", "w"), "procps"),
    **dict.fromkeys(("ip", "ss"), "iproute2"),
    **dict.fromkeys(("journalctl", "systemctl"), "systemd"),
    **dict.fromkeys(("arp", "ifconfig", "netstat"), "net-tools"),
    **dict.fromkeys(("nice", "stat", "dd", "df"), "coreutils"),
    **dict.fromkeys(("dmesg", "lsblk", "findmnt"), "util-linux"),
    "perf": "linux-perf or perf",
}

# --- programs, as the host's sh reads them ----------------------------------------------------

# PATH gains what ordinary users lack. The group's id is read by a shell inside it: asking from
# outside would race with its end. Descriptors: 3 the script, 7 and 8 the real stderr and stdout (sh's
# own words about killed programs are dropped), 9 to the part that sweeps up.
_STEP = r"""{
say=%(token)s
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
for program in %(needs)s; do
  command -v "$program" >/dev/null 2>&1 || { echo "$say missing $program" >&2; exit 127; }
done
case $(timeout --version 2>&1) in *coreutils*) ;; *) echo "$say missing timeout" >&2; exit 127 ;; esac
exec 7>&2 8>&1 2>/dev/null
%(before)s{ (%(feed)sexec %(command)s 2>&7 </dev/null); echo "status $?" >&9; } 9>&1 >&8 8>&- | {
  group=0
  while read -r key value; do
    case $key in group) group=$value ;; status) status=$value ;; esac
  done
  if [ "$group" -gt 1 ] && kill -s TERM -- "-$group"; then
    for pause in .05 .1 .2 .5; do
      sleep "$pause"
      kill -s 0 -- "-$group" || break
    done
    kill -s KILL -- "-$group"
  fi
  trap '' PIPE HUP
  %(after)s
  exit "${status:-255}"
}
exit
}
"""
_INSIDE = r"""read -r _ _ _ _ group session _ </proc/self/stat
echo "group $group" >&9
echo "$0 group $group $session" >&2
"""

# A group counts as ours only with its session: ids are used again. Zombies wait only for their parent.
# Strays left the group but inherited the mark; reading a sick process's environment can hang.
_END = r"""{
say=%(token)s
exec 7>&1
%(functions)sids() {
  for file in $files; do
    file=${file#/proc/}
    echo "${file%%/*}"
  done
}
left() {
  blind=
  files=$(grep -ls ') [^ZX] [0-9]* %(group)s %(session)s ' /proc/[0-9]*/stat)
  targets="-- -%(group)s"
  if [ -z "$files" ]; then
    files=$(timeout -s KILL 2 grep -lsF -e %(mark)s /proc/[0-9]*/environ)
    [ $? -lt 124 ] || blind=yes
    targets="-- $(ids)"
  fi
  [ -n "$files" ]
}
end() {
  for round in 'INT .05 .15 .3 .5 1 1' 'TERM .1 .4 1' 'KILL .1 .4 1' 'KILL .1 .4'; do
    set -- $round
    signal=$1
    shift
    left || return
    used=$signal
    kill -s "$signal" $targets 2>/dev/null
    for pause in "$@"; do
      sleep "$pause"
      left || return
    done
  done
}
%(remember)send
[ -z "$files" ] && echo "$say ${blind:+blind }gone $used"
for pid in $(ids); do
  { read -r name </proc/$pid/comm && read -r line </proc/$pid/stat; } 2>/dev/null || continue
  set -- ${line##*) }
  echo "$say left $pid $1 $name"
done
%(tidy)s
exit
}
"""

_EXAMINE = r"""{
say=%(token)s
exec 7>&1
%(sweep)secho "$say user $(id -un) $(id -u)"
for program in bash nice env grep dd stat; do
  command -v "$program" >/dev/null 2>&1 || echo "$say missing $program"
done
case $(timeout --version 2>&1) in *coreutils*) ;; *) echo "$say missing timeout" ;; esac
exit
}
"""


# --- what to run ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The process group that a step runs in, and the session of that."""

    id: int
    session: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A step as a host understands it. *said* is the command as people may repeat it, *name* its short form."""

    argv: tuple[str, ...]
    said: str
    name: str
    needs: tuple[str, ...]
    env: tuple[str, ...] = ()  # NAME=value
    script: str | None = None  # read by argv from descriptor 3
    is_log: bool = False  # its complaints are whole sentences
    leaves: File | None = None
    scratch: bool = False  # it gets a folder of its own
    root: str = ""  # the program that runs it as root, where sudo lets us
    unpack: str = ""  # sh's text that puts a program which was brought along into that folder


def plan_of(step: Step, paths: Sequence[str] | None = None) -> Plan:
    """Say what *step* runs on a host, where *paths* are the logs that may be read. Raises StepFailed for what cannot run."""
    allowed = "" if paths is None else expression(paths)
    match step.action:
        case Run(argv=argv):
            return Plan(argv=argv, said=shlex.join(argv), name=argv[0], needs=(argv[0], *step.needs))
        case Script(name=name, text=text, env=variables):
            return _script_plan(name, text, variables, step.needs, allowed)
        case File(script=Script(name=name, text=text, env=variables)) as file:
            plan = _script_plan(name, text, variables, (*framing.NEEDS, *step.needs), allowed)
            return replace(plan, leaves=file, scratch=True)
        case Log(path=str(path), last_bytes=last):
            argv = ("sh", "-c", FILE, "log", path, str(-1 if last is None else last), allowed)
            said = f"cat {shlex.quote(path)}" if last is None else f"tail -c {last} {shlex.quote(path)}"
            return Plan(
                argv=argv, said=said, name=path, needs=("dd", "stat", "readlink", "grep", *step.needs), is_log=True
            )
        case Log(unit=str(unit), last_bytes=last):
            argv = ("sh", "-c", UNIT if last is None else UNIT_LAST, "log", unit, str(last))
            said = f"journalctl --unit={shlex.quote(unit)}" + (f" | tail -c {last}" if last is not None else "")
            return Plan(argv=argv, said=said, name=unit, needs=("journalctl", *step.needs), is_log=True)
        case Log():
            raise StepFailed(f"step {step.id} names neither a path nor a unit.")
        case Sql():
            raise StepFailed(f"step {step.id} holds SQL, which no host runs; it needs a target with `mysql:`.")


def as_root(plan: Plan, program: str) -> Plan:
    """*plan* by an operator's *program*, where sudo lets us. Raises StepFailed."""
    argv = becoming.relay(program, [one for one in plan.env if not one.startswith(f"{VARIABLE}=")])
    return replace(plan, argv=argv, said=f"{plan.said}  # as root where sudo allows {program}", root=program)


def _script_plan(name: str, text: str, variables: Mapping[str, str], needs: tuple[str, ...], allowed: str) -> Plan:
    if len(text.encode("utf-8", "replace")) > SCRIPT_BYTES:
        raise StepFailed(f"{name} is longer than {SCRIPT_BYTES // 1024} KiB; shorten it or split the step.")
    return Plan(
        argv=("bash", "/dev/fd/3"),
        said=" ".join([*(f"{key}={shlex.quote(value)}" for key, value in variables.items()), "bash", name]),
        name=name,
        needs=("bash", *needs),
        env=(
            *(f"{key}={value}" for key, value in variables.items()),
            *((f"{VARIABLE}={allowed}",) if allowed and VARIABLE in text else ()),
        ),
        script=text,
        scratch=scratch.VARIABLE in text,
    )


def step_program(
    plan: Plan,
    *,
    token: str,
    mark: str,
    limit_s: float,
    places: Sequence[str] = scratch.PLACES,
    lost: Sequence[str] | None = None,
) -> bytes:
    """The whole of *plan* as sh reads it on standard input; where *lost* is given, it looks for lost steps first.

    Raises StepFailed for text that no argument can hold.
    """
    command = ["env", "--", "LC_ALL=C", mark, *plan.env, "timeout", "-s", "INT", "-k", f"{KILL_AFTER_S:g}"]
    inside = [_INSIDE + framing.PLAIN, token, "nice", "-n", NICENESS]
    if file := plan.leaves:  # not nice: a process may stand still while the file is made; sending it is
        inside = [_INSIDE + framing.WITH_FILE, token, file.name, "yes" if file.compress else "no"]
    command += [f"{limit_s:g}", "sh", "-c", *inside, *plan.argv]
    feed = "" if plan.script is None else f"printf %s {shlex.quote(plan.script)} | 3<&0 "
    needs = shlex.join(dict.fromkeys(("timeout", "nice", *plan.needs)))
    program = _STEP % {
        "token": token,
        "needs": needs,
        "before": scratch.functions(places)
        + reaping.OWN
        + (becoming.look(plan.root) if plan.root else "")
        + (reaping.reap(lost) if lost is not None else "")
        + scratch.sweep(places)
        + (scratch.make() if plan.scratch else "")
        + plan.unpack,
        "feed": feed,
        "command": shlex.join(command),
        "after": scratch.remove() if plan.scratch else ":",
    }
    if "\0" in program:
        raise StepFailed(f"{plan.name} was given a NUL byte, which no argument can hold.")
    try:
        return program.encode()
    except UnicodeEncodeError:
        raise StepFailed(f"{plan.name} was given text that is not Unicode.") from None


def end_program(group: Group | None, *, token: str, mark: str, places: Sequence[str] = scratch.PLACES) -> str:
    """Sh's text that ends what is left of a step, INT before TERM before KILL, and says what then is left."""
    ids = {"group": group.id, "session": group.session} if group else {"group": "none", "session": "none"}
    tidy = {
        "functions": scratch.functions(places),
        "remember": scratch.remember(token, places),
        "tidy": scratch.end(token, places),
    }
    return _END % {"token": token, "mark": shlex.quote(mark), **ids, **tidy}


def examine_program(token: str, *, places: Sequence[str] = scratch.PLACES, lost: Iterable[str] = ()) -> str:
    """Sh's text that says who we are on a host, what every step needs and is missing, and what was left behind there."""
    sweep = scratch.functions(places) + reaping.reap(lost) + scratch.sweep(places)
    return _EXAMINE % {"token": token, "sweep": sweep}


# --- what comes back, in sentences ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class End:
    """How a step was ended: the last *signal* that it took, "" where it was gone already, and what is *left*."""

    signal: str
    left: tuple[str, ...] = ()
    blind: bool = False  # whether strays are left could not be seen

    def sentence(self, who: str) -> str:
        """What was proved of *who*, without a stop."""
        if self.left:
            return "; ".join(self.left[:LEFT_NAMED])[:WORDS_CHARS]
        gone = {"": "was gone already", "INT": "gone"}.get(self.signal, f"gone after {self.signal}")
        unseen = "; processes that had left it could not be looked for, reading /proc hung" if self.blind else ""
        return f"{who} {gone}{unseen}"


def read_end(answer: Iterable[Sequence[str]]) -> End | None:
    """What the end program said; None where it did not get to say it."""
    left = []
    for words in answer:
        match words:
            case ["gone", *used]:
                return End("".join(used))
            case ["blind", "gone", *used]:
                return End("".join(used), blind=True)
            case ["left", process, state, *name]:
                why = "it hangs in the kernel" if state == "D" else "it may belong to another user"
                left.append(f"process {process} ({' '.join(name)}) is still there in spite of KILL: {why}")
    return End("KILL", left=tuple(left)) if left else None


def read_examination(host: str, answer: Iterable[Sequence[str]]) -> list[str]:
    """What the examination said, as lines for `capturebot doctor`."""
    lines = []
    answer = list(answer)
    for words in answer:
        match words:
            case ["user", name, number]:
                lines.append(f"ok: {host} runs commands as {name} (uid {number})")
            case ["missing", program]:
                lines.append(f"fault: {missing(program, host)} — install it, else steps that need it are skipped")
    if not lines:
        return [f"fault: {host} runs no /bin/sh for us — give the user a login shell"]
    if len(lines) == 1:
        lines.append(f"ok: {host} has bash, GNU timeout and what else every step needs")
    left = reaping.read_reaped(answer, host)
    if swept := scratch.read_tidied(answer, word="swept").found(host):
        left.append(swept)
    return lines + (
        [f"warn: {sentence}" for sentence in left] or [f"ok: no earlier capture has left anything on {host}"]
    )


def missing(program: str, host: str) -> str:
    """The sentence about a program that a host lacks."""
    if program == "timeout":
        return f"{host} has no GNU timeout (package coreutils); without it a step could outlive the bot"
    package = f" (package {PACKAGES[program]})" if program in PACKAGES else ""
    return f"{program} is not installed on {host}{package}"


def ending(plan: Plan, status: int | None, ended_by: str, host: str, words: str) -> str:
    """The sentence about a program that ended badly; *ended_by* names the signal that took the shell around it."""
    if ended_by:
        return f"The shell around {plan.name} on {host} was ended by signal {ended_by}."
    if plan.is_log and words:
        return f"{host}: {words}"
    how = f"ended with status {status}"
    if status is not None and 128 < status < 128 + signal.NSIG:
        how = f"was ended by signal {signal_name(status - 128)}"
        words = words or ("perhaps for lack of memory" if status == LIMIT_STATUSES[1] else "")
    return f"{plan.name} {how} on {host}: {words or 'it gave no reason.'}"


def last_line(text: bytes) -> str:
    """The last line that says something, bounded and without control characters."""
    lines = text.decode("utf-8", "replace").splitlines()
    line = next((line for line in reversed(lines) if line.strip()), "").strip()
    return plain(line)


def plain(text: str, *, chars: int = WORDS_CHARS) -> str:
    """What a host said, bounded and without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:chars])


def signal_name(number: int) -> str:
    """A signal as people name it."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # a real-time signal
        return str(number)
