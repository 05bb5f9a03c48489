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

from bot import __version__
from bot.command import Compare, MarkGood, read
from bot.errors import ConfigError, JournalError, SecretMissing, UserError
from bot.model import Target, TargetKind
from bot.settings import Settings, load

CONFIG = "capturebot.yml"
CONFIG_PLACES = (Path(CONFIG), Path("/etc/capturebot") / CONFIG)
USAGE_STATUS = 2
INTERRUPTED_STATUS = 130  # as shells have it: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="capturebot", description="Keep the evidence that a restart destroys.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"capturebot {__version__}")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"default: $CAPTUREBOT_CONFIG, ./{CONFIG}, /etc/capturebot/{CONFIG}"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(command=run)
        return sub

    run_bot = command("serve", serve, "run the bot: Slack, PagerDuty, captures")
    run_bot.add_argument(
        "--web", type=_address, metavar="HOST:PORT", help="health and metrics, instead of `web:` in the configuration"
    )
    take = command("run", run, "capture now, without Slack: the same engine, shown in the terminal")
    take.add_argument("recipe", metavar="RECIPE", help="or a service, alone: all that it runs at once")
    take.add_argument("targets", metavar="TARGET[,TARGET…]", nargs="?")
    take.add_argument("parameters", metavar="name=value", nargs="*")
    take.add_argument("--incident", metavar="ID", help="the PagerDuty incident that it belongs to")
    take.add_argument("--yes", action="store_true", help="agree to what it costs, once measured, without being asked")
    take.add_argument("--json", action="store_true", help="print the whole story as JSON at the end")
    held = command("compare", compare, "what is new, gone and changed in a capture since an earlier one")
    held.add_argument("ids", metavar="ID", nargs="+", help="a capture; alone, the last good one is the earlier one")
    good = command("good", mark_good, "mark a capture as good: later ones of the same are compared with it")
    good.add_argument("id", metavar="ID")
    look = command("check", check, "check capturebot.yml and every recipe: file, line, key and cure of each problem")
    look.add_argument("folders", type=Path, metavar="FOLDER", nargs="*", help="more recipes, not in capturebot.yml")
    new = command("new-recipe", new_recipe, "write a recipe to begin with, its script, and a test of both")
    new.add_argument("name", metavar="NAME", help="what people will type behind /capture")
    new.add_argument("--for", dest="kind", type=TargetKind, choices=list(TargetKind), default=TargetKind.HOST)
    new.add_argument("--into", type=Path, metavar="FOLDER", help="default: the first of `recipes:`, else ./captures")
    command("recipes", recipes, "list the recipes, what they keep and cost")
    command("targets", targets, "list the targets and the recipes that fit each")
    doctor = command("doctor", examine, "try every configured part: reachable, allowed, complete, and how to mend it")
    doctor.add_argument("parts", metavar="PART", nargs="*", help="slack, pagerduty, store, journal or a target's name")
    calls = command("pagerduty", set_up_calls, "have PagerDuty call the bot about the configured services")
    calls.add_argument("what", choices=["setup"])
    calls.add_argument("--url", required=True, metavar="URL", help="where PagerDuty reaches the bot's `web:`")
    calls.add_argument(
        "--secret-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="gets the secrets that calls are signed with, one a line; PagerDuty shows each once",
    )
    calls.add_argument("--renew", action="store_true", help="make subscriptions anew whose secrets were lost")
    schema = command("schema", print_schema, "print the JSON Schema that editors complete files with")
    schema.add_argument("what", choices=["recipe", "config"])
    play = command("playground", playground, "a local Slack workspace, database, host, S3 and PagerDuty to try it on")
    play.add_argument("--once", action="store_true", help="end by itself; status 0 only if every part was read back")
    play.add_argument("--folder", type=Path, metavar="DIR", help="where everything is kept (default: a new folder)")
    play.add_argument("--port", type=int, default=8090, metavar="N", help="of the page (default: 8090, 0: any)")
    return parser


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError("write it as HOST:PORT")
    return text


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
