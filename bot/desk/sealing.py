"""Exactly what would run, in words that can be compared and a digest that cannot be mistaken. Pure."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from bot.errors import StepFailed
from bot.model import Log, Recipe, Seal, Sql, Step, Target, TargetKind
from bot.transports import becoming, shell, windows_plan


def seal(
    recipe: Recipe,
    targets: Sequence[Target],
    steps: Iterable[Step],
    parameters: Mapping[str, str | int],
    incident: str | None,
) -> Seal:
    """What runs of *recipe* on *targets*; *steps* have their parameters bound."""
    bound = tuple(steps)
    commands = [one for target in targets for step in bound for one in _commands(recipe, step, target)]
    return Seal(
        recipe=recipe.name,
        recipe_digest=recipe.digest,
        targets={target.name: _reached(target) for target in targets},
        parameters=dict(parameters),
        commands=tuple(dict.fromkeys(commands)),
        incident=incident or "",
    )


def _reached(target: Target) -> str:
    """How a target is reached, for people, and a digest of all that its settings say of that."""
    there = (("ssh", target.ssh), ("windows", target.windows and target.windows.ssh), ("mysql", target.mysql))
    ways = [f"{name} {way.user}@{way.host}:{way.port}" for name, way in there if way]
    if target.local:
        ways.append("the bot's own machine")
    # Of a secret it has where that lies, not what it is: a password may be replaced meanwhile.
    whole = json.dumps(asdict(replace(target, about="")), sort_keys=True, default=_plain)
    return f"{', '.join(ways)} ({hashlib.sha256(whole.encode()).hexdigest()[:16]})"


def _plain(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _commands(recipe: Recipe, step: Step, target: Target) -> list[str]:
    """What runs for a step, as the thread says it afterwards."""
    if isinstance(step.action, Sql):
        given = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in step.action.arguments.items())
        texts = [one.both or one.mariadb or one.mysql or "" for one in step.action.statements]
        return [f"{' '.join(text.split())}{f'  -- {given}' if given else ''}" for text in texts]
    try:
        if recipe.wants is TargetKind.WINDOWS:
            return [f"read {step.action.path}" if isinstance(step.action, Log) else windows_plan.plan_of(step).said]
        plan = shell.plan_of(step, target.paths)
        if target.become and (program := becoming.program_of(step, target.paths)):
            plan = shell.as_root(plan, program)
    except StepFailed as trouble:  # it will fail there with the same words
        return [f"{step.id}: {trouble.reason}"]
    return [plan.said]
