"""Holds captures that ended against the last good one of each target, and the targets of one against each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import structlog

from bot.comparing import Kept, compare, summary
from bot.comparing.good import Good, Goods
from bot.comparing.outliers import FEWEST, outliers
from bot.errors import StoreError, UserError
from bot.insights import words
from bot.journal import Journal
from bot.model import Compared, Difference, Event, Finished, Source, State, StepResult, compared_key
from bot.stores import Store
from bot.story import Story, story

READ_BYTES = 3_000_000  # of one artifact; a longer one is not compared
READ_IN_ALL_BYTES = 30_000_000  # of each side of a comparison
READS_AT_ONCE = 4
READ_S = 30.0  # for one artifact
GAPS_TOLD = 5
SAID_CHARS = 300

log = structlog.get_logger()

Place = tuple[str, str]  # a target and a step


class Comparisons:
    """Reads what captures kept and writes down what differs. Everything raises JournalError."""

    def __init__(self, *, journal: Journal, store: Store, goods: Goods, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._store = store
        self._goods = goods
        self._now = now
        self._reads = asyncio.Semaphore(READS_AT_ONCE)

    async def ended(self, capture_id: str) -> Story:
        """The story of a capture that can be compared or marked. Raises UserError."""
        told = story(await self._journal.events(capture_id))
        if told is None:
            raise UserError(f"There is no capture `{capture_id}`.", cure="`/capture status` lists the newest.")
        if not told.state.ended:
            raise UserError(f"`{capture_id}` has not ended yet.", cure="Ask again when it has.")
        return told

    async def compare(self, capture_id: str, other_id: str | None = None) -> Compared:
        """Hold a capture against another one, or against the last good one of each of its targets.

        Of two that are named, the later is told in terms of the earlier. Raises UserError.
        """
        told = await self.ended(capture_id)
        if other_id is not None:
            before, after = sorted((await self.ended(other_id), told), key=lambda each: each.capture.at)
            if before.capture.id == after.capture.id:
                raise UserError("That is the same capture twice.", cure="Name two.")
            return await self._kept(await self._against_one(before, after))
        if not (goods := await self._goods.before(told.capture)):
            raise UserError(
                f"No earlier capture of the same is known as good: `{told.capture.command}`.",
                cure="Name another one: `/capture compare ID ID`, or mark one with `/capture good ID`.",
            )
        return await self._kept(await self._against_good(told, goods))

    async def heard(self, event: Event) -> None:
        """Act on the end of a capture. Done twice it does no harm."""
        if isinstance(event, Finished):
            await self.look_at(event.capture_id)

    async def look_at(self, capture_id: str) -> None:
        """Hold a capture that ended against what there is to hold it against; one on schedule may be good."""
        told = story(await self._journal.events(capture_id))
        if told is None or told.state not in {State.COMPLETE, State.PARTIAL}:
            return
        if told.capture.source is Source.SCHEDULE:
            await self._judge(told)
            return
        capture = told.capture
        is_known = await self._journal.keyed(compared_key(capture.id, ()))
        if not is_known and (compared := await self._among_targets(told)):
            await self._kept(compared)
        goods = await self._goods.before(capture)
        if goods and not await self._journal.keyed(compared_key(capture.id, _ids(goods))):
            try:
                await self._kept(await self._against_good(told, goods))
            except UserError as reason:  # nobody asked; who does so later is told
                log.warning("not compared", capture=capture.id, reason=str(reason))

    # --- inside -------------------------------------------------------------------------------

    async def _judge(self, told: Story) -> None:
        """Take a scheduled capture for good where no incident was open meanwhile."""
        capture = told.capture
        for target in capture.targets:
            if await self._goods.trouble(target, since=capture.at):
                return
        await self._goods.mark(told, capture.who)

    async def _kept(self, compared: Compared) -> Compared:
        await self._journal.accept(compared)
        return compared

    async def _among_targets(self, told: Story) -> Compared | None:
        """The targets against each other; None where too few have numbers for that."""
        results = _results(told)
        if len(told.capture.targets) < FEWEST:
            return None
        side, gaps = await self._read(results, results)
        spread = await asyncio.to_thread(outliers, side)
        if len(spread.targets) < FEWEST:
            return None
        gaps += [f"{name} gave nothing to compare" for name in told.capture.targets if name not in spread.targets]
        alike = f"{len(spread.targets)} targets alike: none stands out"
        said = spread.differences[0].finding.text if spread.differences else alike
        return self._compared(told, (), said, spread.differences, gaps)

    async def _against_good(self, told: Story, goods: Mapping[str, Good]) -> Compared:
        before: dict[Place, Kept] = {}
        mine, gaps = _results(told), []
        for capture_id in _ids(goods):
            other = story(await self._journal.events(capture_id))
            here = {target for target, good in goods.items() if good.capture_id == capture_id}
            theirs = {place: one for place, one in (_results(other) if other else {}).items() if place[0] in here}
            side, more = await self._read(theirs, mine)
            before |= side
            gaps += more
        found, more = await self._differences(before, mine, gaps)
        return self._compared(told, _ids(goods), f"Since {_named(goods, told)}: {summary(found)}", found, more)

    async def _against_one(self, before: Story, after: Story) -> Compared:
        mine, theirs = _results(after), _results(before)
        if len(before.capture.targets) == len(after.capture.targets) == 1:
            (target,) = after.capture.targets  # whatever the other one is called
            theirs = {(target, step): result for (_, step), result in theirs.items()}
        if not mine.keys() & theirs.keys():
            raise UserError(
                f"`{before.capture.id}` and `{after.capture.id}` have no step of one target in common.",
                cure="Compare captures of the same recipe.",
            )
        was, gaps = await self._read(theirs, mine)
        found, more = await self._differences(was, mine, gaps)
        ago = words.duration((after.capture.at - before.capture.at).total_seconds())
        other = f"{before.capture.id} ({', '.join(before.capture.targets[:3])}, {ago} before)"
        return self._compared(after, (before.capture.id,), f"Since {other}: {summary(found)}", found, more)

    async def _differences(
        self, before: Mapping[Place, Kept], results: Mapping[Place, StepResult], gaps: list[str]
    ) -> tuple[tuple[Difference, ...], list[str]]:
        """What differs in *results*, and what could not be read of either. Raises UserError where that is all of it."""
        after, more = await self._read(results, before)
        if not after:
            why = "; ".join([*gaps, *more][:GAPS_TOLD]) or "neither kept the output of the same step"
            raise UserError(f"Nothing of it could be compared: {why}.")
        return await asyncio.to_thread(compare, before, after), gaps + more

    def _compared(
        self, told: Story, others: tuple[str, ...], said: str, found: Iterable[Difference], gaps: list[str]
    ) -> Compared:
        return Compared(
            capture_id=told.capture.id,
            others=others,
            said=words.clean(said, SAID_CHARS),
            differences=tuple(found),
            gaps=tuple(dict.fromkeys(gaps))[:GAPS_TOLD],
            at=self._now(),
        )

    async def _read(
        self, results: Mapping[Place, StepResult], others: Iterable[Place]
    ) -> tuple[dict[Place, Kept], list[str]]:
        """What was kept of *results* that *others* have too, and sentences on what could not be read."""
        left_bytes, gaps = READ_IN_ALL_BYTES, []
        reading: dict[Place, StepResult] = {}
        for place, result in results.items():
            if place not in others or result.artifact is None:
                continue
            size_bytes = result.artifact.size_bytes
            if size_bytes > READ_BYTES or size_bytes > left_bytes:
                gaps.append(f"{place[0]}, {place[1]}: {words.size(size_bytes)} are too much to compare")
            else:
                left_bytes -= size_bytes
                reading[place] = result
        kept = dict(zip(reading, await asyncio.gather(*map(self._text, reading.values())), strict=True))
        gaps += [f"{place[0]}, {place[1]}: {one}" for place, one in kept.items() if isinstance(one, str)]
        return {place: one for place, one in kept.items() if isinstance(one, Kept)}, gaps

    async def _text(self, result: StepResult) -> Kept | str:
        """What was kept of a step, or why that cannot be read."""
        assert result.artifact  # noqa: S101  only those with one are asked for
        try:
            async with self._reads, asyncio.timeout(READ_S):
                body = await self._store.read(result.artifact.key)
        except StoreError as error:
            return error.reason.rstrip(".")
        except TimeoutError:
            return f"the store did not give it within {READ_S:g} s"
        return Kept(text=body.decode("utf-8", "replace"), findings=result.findings)


def _ids(goods: Mapping[str, Good]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(good.capture_id for good in goods.values()))


def _named(goods: Mapping[str, Good], told: Story) -> str:
    first, *others = {good.capture_id: good for good in goods.values()}.values()
    if others:
        return f"the last good one of each target ({len(others) + 1} captures)"
    return f"{first.capture_id} ({first.words(told.capture)})"


def _results(told: Story) -> dict[Place, StepResult]:
    return {(result.target, result.step): result for result in told.results}
