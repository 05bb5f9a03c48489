r"""Steps that run as root by sudo: a copy of their script that an operator has installed, and nothing else.

An account that may run whatever arrives over its login as root is root. So a step that sees more as root is started as
``sudo -n FOLDER/NAME-DIGEST``: a program of root's that holds the step's own script (`capturebot sudoers` prints it,
and the line of sudoers with its checksum). Where sudo refuses, also because the recipe has changed since, the step runs
as the account that we logged in as, and says so.

The program takes no argument. Its input begins with the parameters, ``NAME=VALUE`` a line, then an empty line, and
then stays open for as long as the step may run: nobody but root may send a signal to a process of root's, so that
the end of its input is what ends it. It stays in the step's process group, where its end is proved like any other.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence

from bot.errors import StepFailed
from bot.model import Script, Step
from bot.transports.reading import VARIABLE, expression

FOLDER = "/usr/local/lib/capturebot"
# What a step may want (`bot.survey.FEATURES`) that being root gives.
WANTS = frozenset({"root", "ptrace", "kernel-log", "journal", "packets", "perf-events", "bpf"})
REMARK = "unprivileged"

LOOK = """\
sudo -n -l %(program)s >/dev/null 2>&1 || echo "$say %(remark)s %(program)s" >&7
"""
# "$0" is the program, "$@" its parameters. What holds its input open ends with the group, or is ended after it.
RELAY = r"""if sudo -n -l "$0" >/dev/null 2>&1; then
  exec 3<&-
  sh -c 'echo $$; printf "%s\n" "$@" ""; exec sleep 4000' holder "$@" | {
    read -r holder
    sudo -n "$0"
    status=$?
    kill "$holder"
    exit "$status"
  }
else
  exec bash /dev/fd/3
fi"""


def program_of(step: Step, paths: Sequence[str] | None) -> str | None:
    """The path of the program that runs *step* as root; None where it would see no more, or leaves a file.

    It is another one for another script, and for other *paths* of logs where the script reads logs.
    """
    script = step.action
    if not isinstance(script, Script) or not WANTS & set(step.wants):
        return None
    digest = hashlib.sha256(f"{script.text}\0{allowed_by(script, paths)}".encode()).hexdigest()
    name = re.sub(r"[^a-z0-9-]", "", script.name.removesuffix(".sh").lower())
    return f"{FOLDER}/{name}-{digest[:12]}"


def allowed_by(script: Script, paths: Sequence[str] | None) -> str:
    """The expression that *script* matches the logs against which it reads; "" where its own rule decides, or it reads none."""
    return expression(paths) if paths is not None and VARIABLE in script.text else ""


def relay(program: str, variables: Iterable[str]) -> tuple[str, ...]:
    """The command that runs *program* with ``NAME=VALUE`` parameters, else the script on descriptor 3. Raises StepFailed."""
    given = tuple(variables)
    if any("\n" in one for one in given):
        raise StepFailed("A parameter has more than one line, which a step as root does not take.")
    return ("sh", "-c", RELAY, program, *given)


def look(program: str) -> str:
    """Sh's text that says where *program* may not be run."""
    return LOOK % {"program": shlex.quote(program), "remark": REMARK}


def read_refusal(remarks: Iterable[Sequence[str]], host: str) -> str:
    """The sentence about a step that had to run without root; "" where it did not."""
    for remark in remarks:
        match remark:
            case [word, program] if word == REMARK:
                return f"It ran without root: sudo on {host} does not let us run {program}; `capturebot sudoers` prints what does."
    return ""
