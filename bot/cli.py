"""The command line, and with it the composition root: what runs is named here and in `assembly`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console
from rich.text import Text

from bot.command import Compare, MarkGood, read
from bot.errors import ConfigError, JournalError, SecretMissing, UserError
from bot.model import Target
from bot.options import CONFIG, Run, make_parser
from bot.settings import Settings, load

CONFIG_PLACES = (Path(CONFIG), Path("/etc/capturebot") / CONFIG)
USAGE_STATUS = 2
INTERRUPTED_STATUS = 130  # as shells have it: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = make_parser(COMMANDS).parse_args(arguments)
    try:
        status: int = options.command(options)
    except ConfigError as error:
        _complain(*error.problems)
        return USAGE_STATUS
    except (UserError, SecretMissing, JournalError) as error:
        _complain(error)
        return USAGE_STATUS
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    return status


def _say(text: str) -> None:
    print(text)  # noqa: T201  (the command line's own output)


def _complain(*problems: object) -> None:
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201  (the command line's own output)


# --- configuration --------------------------------------------------------------------------------


def _config(options: argparse.Namespace) -> Path | None:
    """The configuration file that is named or found; None when there is none to be found."""
    named = options.config or (Path(os.environ["CAPTUREBOT_CONFIG"]) if os.environ.get("CAPTUREBOT_CONFIG") else None)
    return named or next((place for place in CONFIG_PLACES if place.exists()), None)


def _settings(options: argparse.Namespace) -> tuple[Settings, Path]:
    """The settings and the folder that their relative paths start from. Raises ConfigError, UserError."""
    if (path := _config(options)) is None:
        raise UserError(
            f"There is no {CONFIG} here or in /etc/capturebot.",
            cure="Name one with --config FILE, or try `capturebot playground`.",
        )
    return load(path), path.resolve().parent


def _settings_or_this_machine(options: argparse.Namespace) -> tuple[Settings, Path]:
    """As `_settings`; without any file, this machine can be captured into a folder."""
    if _config(options):
        return _settings(options)
    here = Path.cwd()
    return Settings(
        targets={"here": Target(name="here", local=True)}, journal="sqlite://", folder=here / "artifacts"
    ), here


# --- commands -------------------------------------------------------------------------------------


def serve(options: argparse.Namespace) -> int:
    """Run the bot until SIGTERM or SIGINT, then drain."""
    from bot.serving import serve as run_bot

    settings, base = _settings(options)
    settings = replace(settings, web=options.web or settings.web)
    return uvloop.run(run_bot(settings, environ=os.environ, base=base, stop=_signalled))


def run(options: argparse.Namespace) -> int:
    """Capture once and show it here."""
    from bot.oneshot import run_once

    settings, base = _settings_or_this_machine(options)
    return uvloop.run(
        run_once(
            settings,
            environ=os.environ,
            base=base,
            command=[options.recipe, *([options.targets] if options.targets else []), *options.parameters],
            incident=options.incident,
            as_json=options.json,
            agreed=options.yes,
        )
    )


def explain(options: argparse.Namespace) -> int:
    """Say whether somebody may do something, and why."""
    from bot.permission.explaining import Question
    from bot.permission.explaining import explain as run_explain

    settings, base = _settings(options)
    question = Question(
        user=options.user,
        verb=options.verb,
        words=tuple(options.words),
        channel=options.channel.lstrip("#"),
        groups=tuple(options.groups),
        membership=options.membership,
    )
    return uvloop.run(run_explain(settings, question, environ=os.environ, base=base, as_json=options.json))


def compare(options: argparse.Namespace) -> int:
    """Compare two captures, or one with the last good one."""
    return _look_back(options, ["compare", *options.ids])


def mark_good(options: argparse.Namespace) -> int:
    """Mark a capture as good."""
    return _look_back(options, ["good", options.id])


def _look_back(options: argparse.Namespace, words: list[str]) -> int:
    from bot.lookback import look_back

    settings, base = _settings(options)
    ask = read(words)
    assert isinstance(ask, Compare | MarkGood)  # noqa: S101  what `read` makes of these words
    return uvloop.run(look_back(settings, environ=os.environ, base=base, ask=ask))


def check(options: argparse.Namespace) -> int:
    """Report every problem of the configuration and the recipes."""
    from bot.check import check as find_problems
    from bot.plugins import insight_names

    problems = find_problems(_config(options), folders=options.folders, insights=insight_names())
    _complain(*problems)
    if not problems:
        _say("capturebot.yml and all recipes are in order." if _config(options) else "All recipes are in order.")
    return 1 if problems else 0


def new_recipe(options: argparse.Namespace) -> int:
    """Write a recipe to begin with and say what to do next."""
    from bot.plugins import load_recipes
    from bot.template import write

    settings, base = _settings_or_this_machine(options)
    folder: Path = options.into or next(iter(settings.recipes), base / "captures")
    for path in write(options.name, options.kind, folder, known=load_recipes(settings)):
        _say(f"wrote {path}")
    if folder.resolve() not in {each.resolve() for each in settings.recipes}:
        _say(f"Next: add it to capturebot.yml: `recipes: [{folder}]`, and change what is in it.")
    else:
        _say("Next: change what is in it.")
    _say(
        f"`capturebot check {folder}` checks it, `capturebot run {options.name} TARGET` takes it, `pytest {folder}` tests it."
    )
    return 0


def recipes(options: argparse.Namespace) -> int:
    """List the recipes."""
    from bot.plugins import load_recipes

    settings, _ = _settings_or_this_machine(options)
    console = Console(soft_wrap=True)
    for recipe in load_recipes(settings).values():
        console.print(Text.assemble((recipe.name, "bold"), f" — {recipe.title} ({recipe.impact.words})"))
        for step in recipe.steps:
            console.print(Text(f"    {step.id}: {step.title}"))
    return 0


def targets(options: argparse.Namespace) -> int:
    """List the targets."""
    from bot.plugins import load_recipes

    settings, _ = _settings_or_this_machine(options)
    found = load_recipes(settings).values()
    for target in settings.targets.values():
        fitting = ", ".join(recipe.name for recipe in found if recipe.wants in target.kinds)
        about = f" — {target.about}" if target.about else ""
        _say(f"{target.name}{about}: {fitting}")
    return 0


def examine(options: argparse.Namespace) -> int:
    """Try every configured part and say how to mend what is wrong."""
    from bot.doctor import examine as run_doctor

    settings, base = _settings_or_this_machine(options)
    return uvloop.run(
        run_doctor(settings, environ=os.environ, base=base, parts=options.parts, console=Console(soft_wrap=True))
    )


def sudoers(options: argparse.Namespace) -> int:
    """Print lines of sudoers, or the program that installs them."""
    from bot.plugins import load_recipes
    from bot.sudoers.asking import text

    settings, _ = _settings_or_this_machine(options)
    asked = {name: getattr(options, name) for name in ("names", "user", "target", "install")}
    _say(text(load_recipes(settings), settings.targets, **asked).rstrip("\n"))
    return 0


def set_up_calls(options: argparse.Namespace) -> int:
    """Have PagerDuty call the bot."""
    from bot.doctor import set_up_calls as run_setup

    settings, base = _settings(options)
    return uvloop.run(
        run_setup(
            settings,
            environ=os.environ,
            base=base,
            url=options.url,
            file=options.secret_file,
            renew=options.renew,
            console=Console(soft_wrap=True),
        )
    )


def audit(options: argparse.Namespace) -> int:
    """Prove or export the journal."""
    from bot.auditing import export, verify

    settings, base = _settings(options)
    since, until = options.since, options.until
    if options.what == "verify":
        if until:
            raise UserError("`--until` belongs to `export`.", cure="A journal is proved to its end.")
        return uvloop.run(verify(settings, environ=os.environ, base=base, since=since, say=_say))
    return uvloop.run(export(settings, environ=os.environ, base=base, since=since, until=until, out=sys.stdout))


def redact(options: argparse.Namespace) -> int:
    """Show what redaction leaves of a file; the settings are asked where there are some."""
    from bot.redacting import redact_dry

    settings, base = _settings(options) if _config(options) else (None, Path())
    asyncio.run(redact_dry(options.source, settings, environ=os.environ, base=base, report=options.report))
    return 0


def print_schema(options: argparse.Namespace) -> int:
    """Print a JSON Schema."""
    from bot.schemas import config_schema, recipe_schema

    schema = recipe_schema() if options.what == "recipe" else config_schema()
    _say(json.dumps(schema, indent=2))
    return 0


def playground(options: argparse.Namespace) -> int:
    """Start the playground and the bot in it."""
    from bot.playground.tour import tour

    return asyncio.run(tour(folder=options.folder, port=options.port, once=options.once))


def _signalled() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


COMMANDS: dict[str, Run] = {
    "serve": serve,
    "run": run,
    "can": explain,
    "compare": compare,
    "good": mark_good,
    "check": check,
    "new-recipe": new_recipe,
    "recipes": recipes,
    "targets": targets,
    "doctor": examine,
    "pagerduty": set_up_calls,
    "schema": print_schema,
    "playground": playground,
    "redact": redact,
    "sudoers": sudoers,
    "audit": audit,
}
