"""`capturebot sudoers`: the lines, or the program that installs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from bot.errors import UserError
from bot.model import Recipe, Target, TargetKind
from bot.recipes import nearest
from bot.sudoers import grants, install_text, rules_text
from bot.values import check_user

USER = "capture"

T = TypeVar("T", Recipe, Target)


def text(
    recipes: Mapping[str, Recipe],
    targets: Mapping[str, Target],
    *,
    names: Sequence[str] = (),
    user: str | None = None,
    target: str | None = None,
    install: bool = False,
) -> str:
    """What is printed for the recipes of these *names*, or all. Raises UserError."""
    host = _known("target", target, targets) if target else None
    user = user or (host.ssh.user if host and host.ssh else USER)
    try:
        check_user(user)
    except ValueError as error:
        raise UserError(f"`{user}` is no account's name.", cure="Name the one that the bot logs in as.") from error
    chosen = [_known("recipe", name, recipes) for name in names] or list(recipes.values())
    chosen = [recipe for recipe in chosen if recipe.wants is TargetKind.HOST]
    try:
        found = grants(chosen, host.paths if host else None)
    except ValueError as error:
        raise UserError(f"There can be no line for these recipes: {error}.", cure="Name others.") from error
    rules = rules_text(found, chosen, user)
    return install_text(found, rules, user) if install else rules


def _known(kind: str, name: str, known: Mapping[str, T]) -> T:
    if name in known:
        return known[name]
    meant = nearest(name, known)
    cure = f"Did you mean `{meant}`?" if meant else f"There are: {', '.join(known)}."
    raise UserError(f"There is no {kind} `{name}`.", cure=cure)
