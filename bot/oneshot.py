"""One capture in the terminal: the same engine without Slack."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from rich.console import Console

from bot.assembly import Bot, assemble, background, now
from bot.command import Take, read
from bot.errors import DeliveryFailed, UserError
from bot.logs import open_log
from bot.model import Person, Source, Trigger
from bot.pagerduty.client import PagerDutyClient
from bot.reporters import Reporter
from bot.reporters.pagerduty import PagerDutyNote
from bot.reporters.telling import Teller
from bot.reporters.terminal import Terminal, render, story_json
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
) -> int:
    """Take one capture and show it; Ctrl-C stops it on its targets and still tells its end.

    Returns the exit status that its end calls for. Raises UserError when it is refused.
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
        trigger = Trigger(
            recipe=ask.recipe,
            targets=ask.targets,
            parameters=ask.parameters,
            who=_whoever_runs_this(),
            source=Source.TERMINAL,
            at=now(),
            incident=incident,
        )
        teller = Teller(bot.journal, reporters, is_gone=bot.is_gone)
        stack.push_async_callback(teller.close)
        await teller.start()
        terminal = Terminal(console)
        stack.callback(terminal.close)
        bot.journal.listeners.append(terminal.hear)
        capture_id = await _see_through(bot, trigger)
        await teller.settle(SETTLE_S)
        end = story(await bot.journal.events(capture_id))
        assert end is not None  # noqa: S101  its acceptance was committed
    if as_json:
        print(story_json(end))  # noqa: T201  (the command line's own output)
    else:
        console.print(render(end))
    return end.state.exit_status


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


def _whoever_runs_this() -> Person:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        name = f"user {os.getuid()}"
    return Person(id=str(os.getuid()), name=name)


async def _see_through(bot: Bot, trigger: Trigger) -> str:
    """Start a capture, stop it on a signal, and return its id once it has ended."""
    capture = await bot.desk.accept(trigger)
    assert capture is not None  # noqa: S101  only a delivery with a key can be a repetition
    tasks, loop = background(), asyncio.get_running_loop()

    async def stop() -> None:
        with suppress(UserError):  # it ended by itself meanwhile
            await bot.desk.stop(capture.id, trigger.who)

    for number in STOPPING:
        loop.add_signal_handler(number, lambda: tasks.named("stop") or tasks.start(stop(), name="stop"))
    watch = tasks.start(bot.desk.keep_watch(is_gone=bot.is_gone), name="desk watch")
    await bot.desk.wait_for(capture.id)
    for number in STOPPING:
        loop.remove_signal_handler(number)
    watch.cancel()
    return capture.id
