"""What the command line takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bot import __version__
from bot.model import Membership, TargetKind, Verb

CONFIG = "capturebot.yml"

Run = Callable[[argparse.Namespace], int]
"""Runs one command; returns its exit status."""
Add = Callable[[str, str], argparse.ArgumentParser]
"""Adds a command of that name, which does what the words say."""


def make_parser(run: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser of every command; its answer's `command` is the one of *run* that was asked for."""
    parser = argparse.ArgumentParser(
        prog="capturebot", description="Keep the evidence that a restart destroys.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"capturebot {__version__}")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"default: $CAPTUREBOT_CONFIG, ./{CONFIG}, /etc/capturebot/{CONFIG}"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.set_defaults(command=run[name])
        return sub

    _add_capturing(command)
    _add_asking(command)
    _add_looking_back(command)
    _add_recipes(command)
    _add_setting_up(command)
    _add_redact(command)
    _add_sudoers(command)
    _add_playground(command)
    _add_trail(command)
    return parser


def _add_capturing(command: Add) -> None:
    run_bot = command("serve", "run the bot: Slack, PagerDuty, captures")
    run_bot.add_argument(
        "--web", type=_address, metavar="HOST:PORT", help="health and metrics, instead of `web:` in the configuration"
    )
    take = command("run", "capture now, without Slack: the same engine, shown in the terminal")
    take.add_argument("recipe", metavar="RECIPE", help="or a service, alone: all that it runs at once")
    take.add_argument("targets", metavar="TARGET[,TARGET…]", nargs="?")
    take.add_argument("parameters", metavar="name=value", nargs="*")
    take.add_argument("--incident", metavar="ID", help="the PagerDuty incident that it belongs to")
    take.add_argument("--yes", action="store_true", help="agree to what it costs, once measured, without being asked")
    take.add_argument("--json", action="store_true", help="print the whole story as JSON at the end")


def _add_asking(command: Add) -> None:
    ask = command("can", "whether somebody may do something, and what each rule says: status 0, 1 no, 3 once approved")
    ask.add_argument("user", metavar="USER", help="a user's id in Slack")
    ask.add_argument("words", metavar="RECIPE TARGET [name=value …]", nargs="*")
    ask.add_argument("--verb", type=Verb, choices=list(Verb), default=Verb.CAPTURE)
    ask.add_argument("--channel", default="", metavar="CHANNEL", help="in which it is asked, by id or name")
    ask.add_argument(
        "--in", dest="groups", action="append", default=[], metavar="@GROUP", help="Slack is not asked then"
    )
    kinds = [kind for kind in Membership if kind is not Membership.UNKNOWN]
    ask.add_argument("--as", dest="membership", type=Membership, choices=kinds, help="the same")
    ask.add_argument("--json", action="store_true")


def _add_looking_back(command: Add) -> None:
    held = command("compare", "what is new, gone and changed in a capture since an earlier one")
    held.add_argument("ids", metavar="ID", nargs="+", help="a capture; alone, the last good one is the earlier one")
    good = command("good", "mark a capture as good: later ones of the same are compared with it")
    good.add_argument("id", metavar="ID")


def _add_recipes(command: Add) -> None:
    look = command("check", "check capturebot.yml and every recipe: file, line, key and cure of each problem")
    look.add_argument("folders", type=Path, metavar="FOLDER", nargs="*", help="more recipes, not in capturebot.yml")
    new = command("new-recipe", "write a recipe to begin with, its script, and a test of both")
    new.add_argument("name", metavar="NAME", help="what people will type behind /capture")
    new.add_argument("--for", dest="kind", type=TargetKind, choices=list(TargetKind), default=TargetKind.HOST)
    new.add_argument("--into", type=Path, metavar="FOLDER", help="default: the first of `recipes:`, else ./captures")
    command("recipes", "list the recipes, what they keep and cost")
    command("targets", "list the targets and the recipes that fit each")


def _add_setting_up(command: Add) -> None:
    doctor = command("doctor", "try every configured part: reachable, allowed, complete, and how to mend it")
    doctor.add_argument("parts", metavar="PART", nargs="*", help="slack, pagerduty, store, journal or a target's name")
    calls = command("pagerduty", "have PagerDuty call the bot about the configured services")
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
    command("schema", "print the JSON Schema that editors complete files with").add_argument(
        "what", choices=["recipe", "config"]
    )


def _add_playground(command: Add) -> None:
    play = command("playground", "a local Slack workspace, database, host, S3 and PagerDuty to try it on")
    play.add_argument("--once", action="store_true", help="end by itself; status 0 only if every part was read back")
    play.add_argument("--folder", type=Path, metavar="DIR", help="where everything is kept (default: a new folder)")
    play.add_argument("--port", type=int, default=8090, metavar="N", help="of the page (default: 8090, 0: any)")


def _add_redact(command: Add) -> None:
    dry = command("redact", "show a file as it would be kept: without its secrets")
    dry.add_argument("source", metavar="FILE", help="or - for what is piped in")
    dry.add_argument("--report", action="store_true", help="only where secrets are, a line each, never the text")


def _add_sudoers(command: Add) -> None:
    rules = command("sudoers", "print the rules by which sudo runs as root what sees more as root")
    rules.add_argument("names", metavar="RECIPE", nargs="*", help="default: all that are for hosts")
    rules.add_argument("--user", help="the account that the bot logs in as; default: the target's, else capture")
    rules.add_argument("--target", metavar="TARGET", help="whose account and `paths:` they are for")
    rules.add_argument("--install", action="store_true", help="a program for root's shell instead, which installs them")


def _add_trail(command: Add) -> None:
    trail = command("audit", "prove that the journal is as it was written, or export it")
    trail.add_argument("what", choices=["verify", "export"])
    trail.add_argument(
        "--since", type=_moment, metavar="TIME", help="from then on, such as 2026-11-22 or 2026-11-22T03:00"
    )
    trail.add_argument("--until", type=_moment, metavar="TIME", help="before then (export)")
    trail.add_argument("--format", choices=["jsonl"], default="jsonl", help="of the export: JSON lines")


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError("write it as HOST:PORT")
    return text


def _moment(text: str) -> datetime:
    """A time in UTC, unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("write it as 2026-11-22 or 2026-11-22T03:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
