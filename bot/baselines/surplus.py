"""Old baselines: of each recipe and target so many are kept, and the objects of older ones are removed from the store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import desc, select

from bot.errors import StoreError
from bot.journal import Journal
from bot.journal.tables import captures, scheduled
from bot.model import Discarded, Source
from bot.stores import Store
from bot.story import Story, story

AT_ONCE = 5  # captures that are discarded in one go

log = structlog.get_logger()


class Surplus:
    """Discards what was captured on schedule, and nothing else."""

    def __init__(self, *, journal: Journal, store: Store, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self._store = store
        self._now = now

    async def discard(self, recipe: str, target: str, *, keep: int) -> None:
        """Remove what was kept beyond the *keep* newest, ended or not. What the store refuses is tried again next time.

        Raises JournalError.
        """
        query = (
            select(captures.c.id)
            .join(scheduled, scheduled.c.capture_id == captures.c.id)
            .where(scheduled.c.recipe == recipe, scheduled.c.target == target, ~scheduled.c.discarded)
            .order_by(desc(captures.c.seq))
            .offset(keep)
        )
        for row in (await self._journal.rows(query))[-AT_ONCE:]:
            told = story(await self._journal.events(row.id))
            if told is None or not told.state.ended or told.capture.source is not Source.SCHEDULE:
                continue
            try:
                await self._remove(told)
            except StoreError as error:
                log.warning("an old baseline stays", capture=row.id, reason=error.reason)
                return
            await self._journal.append(Discarded(capture_id=row.id, at=self._now()))

    async def _remove(self, told: Story) -> None:
        manifest = (told.manifest,) if told.manifest else ()
        for artifact in (*told.artifacts, *manifest):
            if artifact.key.startswith(told.capture.prefix):
                await self._store.remove(artifact.key)
