"""What a dead process, a refusing store or an absent journal left behind is brought to a true end here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

import structlog

from bot.errors import StoreError
from bot.journal import Holder, Journal
from bot.model import Accepted, Artifact, Capture, Finished, Moved, Reported, State, StepFinished
from bot.runner import ending, manifest_of
from bot.stores import Store
from bot.stores.intake import once
from bot.stores.spare import Told

BEAT_S = 10.0  # between two signs of life in the journal, and between two looks for the dead
TIDY_S = 60.0  # between two tries to bring home what waits for the store

INTERRUPTED = "capturebot was ended while this capture ran."
UNWRITTEN = "How this capture ended was not written down: capturebot's journal could not be used then."

log = structlog.get_logger()


class Recovery:
    """Ends captures that nobody runs. *runs* says whether this process does; *bring_home* is `SpareStore.bring_home`."""

    def __init__(
        self,
        *,
        journal: Journal,
        store: Store,
        runs: Callable[[str], bool],
        bring_home: Callable[[Told], Awaitable[None]] | None,
        now: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._store = store
        self._runs = runs
        self._bring_home = bring_home
        self._now = now
        self._looking = asyncio.Lock()
        self._unswept: set[str] = set()  # prefixes whose open uploads could not be looked for

    async def keep_watch(self, *, is_gone: Callable[[str], bool]) -> None:
        """For ever: say that this process lives, end what others left when they died, and tidy up."""
        async with asyncio.TaskGroup() as group:
            # Each at its own pace: a store that hangs must not make this process look dead.
            group.create_task(_again(BEAT_S, lambda: self._journal.beat(self._now())))
            group.create_task(_again(BEAT_S, lambda: self.recover(is_gone=is_gone)))
            group.create_task(_again(TIDY_S, self.tidy))

    async def recover(self, *, is_gone: Callable[[str], bool]) -> int:
        """End every capture that nobody runs any more; return how many there were.

        *is_gone* knows of an owner's name that its process is dead; see `Holder.is_dead`.
        """
        count = 0
        async with self._looking:
            for unfinished in await self._journal.unfinished():
                try:
                    count += await self._end(unfinished, is_gone)
                except Exception:  # one that cannot be ended must not leave the others without their ends
                    log.exception("a capture could not be ended", capture=unfinished.capture_id)
        return count

    async def bury(self, capture: Capture, *, state: State, reason: str, error_id: str = "") -> None:
        """End a capture whose run broke off: abort what it left open, list what it saved, complete the manifest.

        Raises JournalError. When it had kept its own manifest, it had ended already, and as that says.
        """
        events = await self._journal.events(capture.id)
        if any(isinstance(event, Finished) for event in events):
            return
        results = [event.result for event in events if isinstance(event, StepFinished)]
        end = Finished(capture_id=capture.id, state=state, at=self._now(), reason=reason, error_id=error_id)
        kept, unlisted = await self._swept(capture.prefix)
        end = replace(end, reason=f"{reason} {unlisted}".strip())
        manifest, its_end = await self._own_manifest(kept)
        if its_end:
            end = replace(end, state=its_end[0], reason=its_end[1], error_id="")
        known = {artifact.key for result in results for artifact in result.kept}
        end = replace(end, saved=tuple(one for one in kept if one.key not in known and one != manifest))
        trouble = manifest.trouble if manifest else ""
        if manifest is None:
            body = manifest_of(capture, end.state, results, at=end.at, reason=end.reason, found=end.saved)
            try:
                key = f"{capture.prefix}manifest.json"
                manifest = await self._store.put(key, once(body), content_type="application/json")
                trouble = manifest.trouble
            except StoreError as error:
                trouble = f"The manifest could not be kept: {error.reason}"
        await self._journal.append(ending(end, manifest, trouble))

    async def tidy(self) -> None:
        """Bring home what waits for the store, and sweep where that was not possible. Raises StoreError, JournalError."""
        if self._bring_home:
            await self._bring_home(self._moved)
        for prefix in tuple(self._unswept):
            await self._store.sweep(prefix)
            self._unswept.discard(prefix)

    async def _end(self, unfinished: Holder, is_gone: Callable[[str], bool]) -> bool:
        mine = unfinished.owner == self._journal.owner
        if self._runs(unfinished.capture_id) or not (mine or unfinished.is_dead(self._now(), is_gone)):
            return False
        # Two processes may find the same dead one; only one of them may end its captures.
        if not mine and not await self._journal.claim(unfinished.capture_id, unfinished.owner):
            return False
        (first, *_) = await self._journal.events(unfinished.capture_id)
        if not isinstance(first, Accepted):
            return False
        await self.bury(first.capture, state=State.INTERRUPTED, reason=UNWRITTEN if mine else INTERRUPTED)
        return True

    async def _swept(self, prefix: str) -> tuple[tuple[Artifact, ...], str]:
        """What is whole below *prefix*, or a sentence that says why that is not known."""
        try:
            return await self._store.sweep(prefix), ""
        except StoreError as error:
            self._unswept.add(prefix)
            return (), f"What else it saved could not be listed: {error.reason}"

    async def _own_manifest(self, kept: tuple[Artifact, ...]) -> tuple[Artifact | None, tuple[State, str] | None]:
        """The manifest among *kept*, and the end that it tells where the capture itself wrote it."""
        manifest = next((artifact for artifact in kept if artifact.key.endswith("/manifest.json")), None)
        if manifest is None:
            return None, None
        try:
            body = json.loads(await self._store.read(manifest.key))
            state, reason = State(body["state"]), str(body["reason"])
        except (StoreError, ValueError, KeyError, TypeError) as error:
            log.warning("a manifest cannot be read", key=manifest.key, error=str(error))
            return None, None
        # A burial that was itself interrupted leaves one too, which says no more than is known here.
        return manifest, None if state is State.INTERRUPTED else (state, reason)

    async def _moved(self, key: str, artifact: Artifact) -> None:
        """Tell the story of which *key* is a part that it lies in the store now."""
        for name in key.split("/")[-5:-1]:  # ID/TARGET/STEP.txt, ID/binary/TARGET/STEP/NAME or ID/manifest.json
            match await self._journal.events(name):
                case [Accepted(capture=capture), *_] if key.startswith(capture.prefix):
                    await self._journal.append(Moved(capture_id=name, key=key, artifact=artifact, at=self._now()))
                    return
        if capture_id := await self._reported(key):
            await self._journal.append(Moved(capture_id=capture_id, key=key, artifact=artifact, at=self._now()))

    async def _reported(self, key: str) -> str:
        """The capture whose story links the report of that *key*; "" where it is none's."""
        read, found = 0, ""
        while page := await self._journal.after(read, only="reported"):
            for seq, event in page:
                read = seq
                if isinstance(event, Reported) and event.artifact.key == key:
                    found = event.capture_id
        return found


async def _again(pause_s: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do *work* for ever, whatever becomes of it."""
    while True:
        try:
            await work()
        except Exception:  # the next time may go well, and the other watches must go on in any case
            log.exception("the watch was disturbed")
        await asyncio.sleep(pause_s)
