"""One capture, or a service's first set, in the terminal: the same engine without Slack."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from rich.console import Console

from bot.assembly import Bot, assemble, background, now, whoever_runs_this
from bot.command import Take, read
from bot.desk.offers import HOLDS_S
from bot.errors import DeliveryFailed, UserError
from bot.incidents import FirstSets
from bot.logs import open_log
from bot.model import Source, Trigger
from bot.pagerduty.client import PagerDutyClient
from bot.reporters import Reporter
from bot.reporters.pagerduty import PagerDutyNote
from bot.reporters.telling import Teller
from bot.reporters.terminal import Terminal, printable, render, story_json
from bot.settings import Settings
from bot.story import story

SETTLE_S = 15.0  # how long the note may take once the capture has ended
LOOK_UP_S = 5.0  # how long a capture waits for PagerDuty to name the incident
NOTE_PAUSE_S = 0.5  # between two edits of the note, while somebody waits for the command to end
INCIDENT_ID = re.compile(r"[A-Z][A-Z0-9]{5,31}")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what ends the capture in good order


async def run_once(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    base: Path,
    command: Sequence[str],
    incident: str | None,
    as_json: bool,
    agreed: bool = False,
) -> int:
    """Take one capture, or those of a service, and show it; Ctrl-C stops it on its targets and still tells its end.

    A cost that somebody must agree to is measured and asked about first, unless it is *agreed* to already. Returns the exit status that its end calls for. Raises UserError when it is refused.
    """
    ask = read(list(command))
    if not isinstance(ask, Take):
        raise UserError(f"`{command[0]}` is not a recipe.", cure="`capturebot recipes` lists them.")
    console = Console(stderr=as_json, soft_wrap=True)
    async with AsyncExitStack() as stack:
        bot = await stack.enter_async_context(assemble(settings, environ=environ, base=base))
        open_log(as_json=False, mask=bot.mask, level=logging.WARNING)
        reporters: list[Reporter] = []
        if incident:
            pagerduty = _pagerduty(bot)
            stack.push_async_callback(pagerduty.close)
            incident = await _look_up(pagerduty, incident, console)
            note = PagerDutyNote(pagerduty)
            note.pause_s = NOTE_PAUSE_S
            reporters.append(note)
        triggers = _triggers(bot, ask, incident)
        if len(triggers) == 1:
            triggers = (await _agree(bot, triggers[0], console, agreed=agreed),)
        teller = Teller(bot.journal, reporters, is_gone=bot.is_gone)
        stack.push_async_callback(teller.close)
        await teller.start()
        terminal = Terminal(console)
        stack.callback(terminal.close)
        bot.journal.listeners.append(terminal.hear)
        capture_ids = await _see_through(bot, triggers)
        for capture_id in capture_ids:
            await bot.desk.comparisons.look_at(capture_id)
        await teller.settle(SETTLE_S)
        told = [story(await bot.journal.events(capture_id)) for capture_id in capture_ids]
        ends = [end for end in told if end]
    for end in ends:
        if as_json:
            print(story_json(end))  # noqa: T201  (the command line's own output)
        else:
            console.print(render(end))
    return next((end.state.exit_status for end in ends if end.state.exit_status), 0)


def _triggers(bot: Bot, ask: Take, incident: str | None) -> tuple[Trigger, ...]:
    """What is asked for: one capture, or those that a service runs at once. Raises UserError."""
    who = whoever_runs_this()
    if (service := bot.desk.services.get(ask.recipe)) and not (ask.targets or ask.parameters):
        return FirstSets(bot.desk, now=now).triggers(service, who=who, source=Source.TERMINAL, incident=incident)
    return (
        Trigger(
            recipe=ask.recipe,
            targets=ask.targets,
            parameters=ask.parameters,
            force=ask.force,
            who=who,
            source=Source.TERMINAL,
            at=now(),
            incident=incident,
        ),
    )


def _pagerduty(bot: Bot) -> PagerDutyClient:
    if bot.settings.pagerduty is None:
        raise UserError("PagerDuty is not set up.", cure="Add `pagerduty:` to capturebot.yml, or leave --incident out.")
    return PagerDutyClient(bot.settings.pagerduty, bot.secrets)


async def _look_up(pagerduty: PagerDutyClient, reference: str, console: Console) -> str | None:
    """The incident's id. The evidence does not wait: where PagerDuty does not say, an id is taken at its word.

    Raises UserError when there is no such incident.
    """
    try:
        async with asyncio.timeout(LOOK_UP_S):
            return (await pagerduty.incident(reference)).id
    except DeliveryFailed as failure:
        trouble = f"{failure.reason} {failure.cure}".strip()
    except TimeoutError:
        trouble = f"PagerDuty did not answer within {LOOK_UP_S:g} s."
    told = INCIDENT_ID.fullmatch(reference)
    rest = "The capture does not wait for it." if told else "The capture is taken without an incident."
    console.print(f"⚠️ {trouble} {rest}", markup=False)
    return reference if told else None


async def _agree(bot: Bot, trigger: Trigger, console: Console, *, agreed: bool) -> Trigger:
    """*trigger* with its cost agreed to, if it has one. Raises UserError where it is not, or cannot be."""
    if (offered := await bot.desk.offer(trigger, join=False)) is None:
        return trigger
    if offered.choices:
        listed = "".join(f"\n  {printable(choice.label)}" for choice in offered.choices)
        raise UserError(f"{offered.choices_in_all} processes match. Name one with pid=…:{listed}")
    what = f"{trigger.recipe} on {', '.join(trigger.targets)}"
    console.print(printable(f"⚖️ {what}: {offered.cost}. {offered.left}".rstrip()), markup=False, highlight=False)
    if not agreed and not sys.stdin.isatty():
        raise UserError("Somebody must agree to that.", cure="Repeat it with --yes.")
    if not agreed and not await _says_yes(console):
        raise UserError("Nothing was captured.")
    return offered.trigger


async def _says_yes(console: Console) -> bool:
    """Ask; silence for as long as an offer holds is a no."""
    console.print("Capture now? [y/N] ", end="", markup=False, highlight=False)
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, answered.set)
    try:
        async with asyncio.timeout(HOLDS_S):
            await answered.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _see_through(bot: Bot, triggers: tuple[Trigger, ...]) -> list[str]:
    """Start captures, stop them on a signal, and return their ids once they have ended.

    Raises UserError where none of them is accepted; the refusal of one among others is said.
    """
    begun = await FirstSets(bot.desk, now=now).start(triggers, join=False)
    captures = [one.taken.capture for one in begun if one.taken.capture]
    for refusal in (one.refusal for one in begun if one.refusal):
        if not captures:
            raise refusal
        print(refusal, file=sys.stderr)  # noqa: T201  (the command line's own output)
    tasks, loop = background(), asyncio.get_running_loop()

    async def stop() -> None:
        for capture in captures:
            with suppress(UserError):  # it ended by itself meanwhile
                await bot.desk.stop(capture.id, capture.who, source=Source.TERMINAL)

    for number in STOPPING:
        loop.add_signal_handler(number, lambda: tasks.named("stop") or tasks.start(stop(), name="stop"))
    watch = tasks.start(bot.desk.keep_watch(is_gone=bot.is_gone), name="desk watch")
    for capture in captures:
        await bot.desk.wait_for(capture.id)
    for number in STOPPING:
        loop.remove_signal_handler(number)
    watch.cancel()
    return [capture.id for capture in captures]
