"""A step of a recipe as a Windows host understands it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.errors import StepFailed
from bot.model import File, Log, Run, Script, Sql, Step
from bot.transports.argv import LINE_CHARS, line_of
from bot.transports.scratch import VARIABLE

SCRIPT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A step as a Windows host understands it. *said* is the command as people may repeat it, *name* its short form."""

    said: str
    name: str
    needs: tuple[str, ...]
    values: Mapping[str, str]  # what the step's program is told
    leaves: File | None = None
    scratch: bool = False


def plan_of(step: Step) -> Plan:
    """Say what *step* runs on a Windows host. Raises StepFailed for what cannot run on one."""
    match step.action:
        case Run(argv=argv):
            line = line_of(argv[1:])
            if len(argv[0]) + len(line) > LINE_CHARS:
                raise StepFailed(f"{argv[0]} was given more than {LINE_CHARS} characters of arguments.")
            if "\0" in argv[0] + line:
                raise StepFailed(f"{argv[0]} was given a NUL byte, which no argument can hold.")
            values = {"program": argv[0], "line": line}
            return Plan(said=line_of(argv), name=argv[0], needs=(argv[0], *step.needs), values=values)
        case Script() as script:
            return _script_plan(script, step.needs)
        case File(script=script) as file:
            plan = _script_plan(script, step.needs)
            values = {**plan.values, "file": file.name, "squeeze": "yes" if file.compress else ""}
            return Plan(said=plan.said, name=plan.name, needs=plan.needs, values=values, leaves=file, scratch=True)
        case Log():
            raise StepFailed(f"step {step.id} reads a file, which needs no program there.")
        case Sql():
            raise StepFailed(f"step {step.id} holds SQL, which no host runs; it needs a target with `mysql:`.")


def _script_plan(script: Script, needs: Sequence[str]) -> Plan:
    if len(script.text.encode("utf-8", "replace")) > SCRIPT_BYTES:
        raise StepFailed(f"{script.name} is longer than {SCRIPT_BYTES // 1024} KiB; shorten it or split the step.")
    return Plan(
        said=" ".join(
            [*(f"{key}={shlex.quote(value)}" for key, value in script.env.items()), "powershell", script.name]
        ),
        name=script.name,
        needs=tuple(needs),
        values={
            "script": script.text,
            "name": script.name,
            **{f"env.{name}": value for name, value in script.env.items()},
        },
        scratch=VARIABLE in script.text,
    )
