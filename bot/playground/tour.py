"""`capturebot playground`: the main job done once before one's eyes, then left running to play with."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from bot.errors import UserError
from bot.model import State
from bot.playground.estate import CHANNEL, INCIDENT, Estate, bot, estate
from bot.playground.load import sysbench
from bot.playground.workspace.inputs import find_element
from bot.playground.workspace.nouns import Message
from bot.slack.offers import AGREE
from bot.tasks import Tasks

CAPTURE_S = 90.0  # for the whole capture to be told
ANSWER_S = 15.0  # for what only the asker sees
LOAD_S = 3600  # how long the benchmark runs at most, with the tour left open
LOAD_THREADS = 16
INTERRUPTED_STATUS = 130
ENDS = ("✅", "🟡", "❌", "✋", "⚡")

T = TypeVar("T")


async def tour(*, folder: Path | None, port: int, once: bool) -> int:
    """Start everything, take a capture as a person would, show what came of it, and wait for Ctrl-C unless *once*.

    Returns 0 only if the capture was complete and thread, objects and note were read back right.
    Raises UserError when something does not start.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console(highlight=False, soft_wrap=True)
    place = folder or Path(tempfile.mkdtemp(prefix="capturebot-"))
    place.mkdir(parents=True, exist_ok=True)
    if folder is None:
        place.chmod(0o711)  # started by root, the database has a user of its own, who must get through
    try:
        async with AsyncExitStack() as stack:
            faults = await _until(stop, _show(stack, place, port, console, once=once))
            if faults is not None and not once:
                await stop.wait()
            if stop.is_set():
                console.print("\nEnding …")
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
    if faults is None:
        return INTERRUPTED_STATUS
    return 1 if faults else 0


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of *work*, or None when *stop* was set before it ended."""
    tasks = Tasks(lambda _name, _error: None)  # what *work* raises is raised here
    working, stopping = tasks.start(work, name="tour"), tasks.start(stop.wait(), name="stop")
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopping):
        task.cancel()
    await asyncio.wait({working})
    return None if working.cancelled() else working.result()


async def _show(stack: AsyncExitStack, place: Path, port: int, console: Console, *, once: bool) -> list[str]:
    """Start everything on *stack*, take a capture and show it; returns what is wrong with it."""
    console.print(f"Starting a Slack workspace, S3, PagerDuty, a database and a host under {place} …", markup=False)
    here = await stack.enter_async_context(estate(place, port=port))
    await stack.enter_async_context(bot(here))
    command = "/capture host here"
    if here.database:
        try:
            await stack.enter_async_context(sysbench(here.database, threads=LOAD_THREADS, seconds=LOAD_S))
            command = "/capture db orders-db"
        except UserError as error:
            here.missing.append(error)
    for missing in here.missing:
        console.print(f"⚠️  {missing}", markup=False)
    if here.missing:
        console.print(f"Without that, the tour is `{command}`.", markup=False)
    faults = await Tour(here, console).take(command)
    for fault in faults:
        console.print(f"✗ {fault}", style="red", markup=False)
    if not faults:
        console.print("\n✓ The capture is complete; thread, objects with their checksums and note were read back.")
    if not once:
        console.print(f"\nThe page: [bold]{here.workspace.page_url}[/]   (also on a phone's width)")
        console.print("Type `/capture help` in it. Ctrl-C ends everything.")
        console.print(
            f"A core dump of this machine needs an approval: ana asks with `/capture core here pid={os.getpid()}`, and Lea\n"
            "Brandt approves: choose her under “You are”. Gus, a guest, is refused everything."
        )
    return faults


@dataclass(frozen=True, slots=True)
class Tour:
    """One capture, asked for, awaited, shown and checked; it must end in *state*."""

    here: Estate
    console: Console
    state: State = State.COMPLETE

    async def take(self, command: str) -> list[str]:
        """Link the channel, type *command*, wait for the ends, print and check everything; returns what is wrong."""
        try:
            await self._type(f"/capture link {INCIDENT}")
            await self._type(command)
            await self._agree()
            root, *_ = await self.here.workspace.wait_for(self._ended, CAPTURE_S)
            faults = await self._check_thread(root)
            faults += await self._check_objects(root)
            return faults + await self._check_note()
        except TimeoutError:
            for message in self.here.workspace.ephemerals(self.here.channel, self.here.user):
                self._print(f"(only ana sees) {_plain(message.text)}")
            return [f"the capture was not told to its end within {CAPTURE_S:g} s"]

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(text, markup=False, style=style)

    async def _type(self, line: str) -> None:
        workspace, channel, user = self.here.workspace, self.here.channel, self.here.user
        seen = len(workspace.ephemerals(channel, user))
        self._print(f"\n#{CHANNEL}  ana types  {line}", style="bold")
        answer = await workspace.command(channel, user, line)
        if answer.acked_after_s is None:
            self._print(f"  no acknowledgement: {answer.error}", style="red")
        else:
            self._print(f"  acknowledged after {answer.acked_after_s * 1000:.0f} ms", style="dim")
        said = await workspace.wait_for(lambda: workspace.ephemerals(channel, user)[seen:], ANSWER_S)
        self._print(f"  (only ana sees) {_plain(said[0].text)}", style="dim")

    async def _agree(self) -> None:
        """Press the button of an offer, where what was asked for has a cost to agree to first."""
        workspace, channel, user = self.here.workspace, self.here.channel, self.here.user

        def offers() -> list[Message]:
            said = workspace.ephemerals(channel, user)
            return [one for one in said if find_element(one.blocks, AGREE)]

        def told() -> list[Message]:
            return [one for one in workspace.messages(channel) if one.by_app]

        await workspace.wait_for(lambda: offers() or told(), CAPTURE_S)
        for offer in offers()[-1:]:
            self._print(f"  (only ana sees) {_plain(offer.text)}", style="dim")
            self._print("  ana presses  Capture now", style="bold")
            await workspace.click(offer.ts, AGREE, user)

    def first_line(self) -> str:
        """What the channel reads of the capture that ended, without the icon before it."""
        return "".join(_plain(root.text).splitlines()[0].partition(" ")[2] for root in self._ended()[:1])

    def _ended(self) -> list[Message]:
        """The messages in the channel that tell a capture's end."""
        told = self.here.workspace.messages(self.here.channel)
        return [one for one in told if one.by_app and "".join(one.text.splitlines()[1:2]).startswith(ENDS)]

    def _thread(self, root: Message) -> list[Message]:
        return self.here.workspace.thread(self.here.channel, root.ts)

    async def _check_thread(self, root: Message) -> list[str]:
        # The last replies follow the end of the message above them.
        await self.here.workspace.wait_for(lambda: "manifest.json" in self._thread(root)[-1].text, CAPTURE_S)
        self._print("")
        for number, message in enumerate(self._thread(root)):
            for line in _plain(message.text).splitlines():
                self._print(f"{'    ' if number else ''}{line}", style="" if number else "bold")
        standing = root.text.splitlines()[1]
        return [] if f": {self.state.words} in " in standing else [f"the capture is not {self.state.words}"]

    async def _check_objects(self, root: Message) -> list[str]:
        """Read every object back and hold it against the manifest."""
        objects, capture_id = self.here.objects, str((root.metadata or {})["event_payload"]["capture"])
        keys = [key for key in await objects.keys() if f"/{capture_id}/" in key]
        manifest_key = next((key for key in keys if key.endswith("/manifest.json")), None)
        if manifest_key is None:
            return ["there is no manifest in S3"]
        manifest = json.loads(await objects.text(manifest_key))
        expected = {step["artifact"]["key"]: step["artifact"] for step in manifest["steps"] if step["artifact"]}
        faults = [f"{key} is stored, but not in the manifest" for key in keys if key not in {*expected, manifest_key}]
        self._print(f"\nStored in s3://{self.here.s3.bucket}/, read back:")
        for key, said in expected.items():
            found = await objects.read_back(key) if key in keys else None
            right = found and (found.sha256, found.size_bytes) == (said["sha256"], said["size_bytes"])
            if not right:
                faults.append(f"{key} does not have the checksum that the manifest says")
            self._print(f"  {'✓' if right else '✗'} {said['sha256'][:12]}  {said['size_bytes']:>9,} B  {key}")
        self._print(f"  ✓ {manifest_key}")
        return faults

    async def _check_note(self) -> list[str]:
        """The incident has one note, and it tells the end."""
        pagerduty = self.here.pagerduty

        def told() -> str:
            notes = pagerduty.notes(INCIDENT)
            return next((note["content"] for note in notes if "manifest.json" in note["content"]), "")

        await pagerduty.wait_for(lambda: bool(told()), CAPTURE_S)
        self._print("\nThe note in PagerDuty:")
        for line in told().splitlines():
            self._print(f"  {line}")
        count = len(pagerduty.notes(INCIDENT))
        return [] if count == 1 else [f"the incident has {count} notes instead of one"]


def _plain(text: str) -> str:
    """Slack's markup as a terminal shows it."""
    return html.unescape(re.sub(r"<(https?://[^|>]+)\|([^>]*)>", r"\2", text))
