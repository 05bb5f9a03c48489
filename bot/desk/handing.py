"""Gives people files: only who may have them, by links that open for minutes, and the journal says to whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.errors import StoreError, UserError
from bot.journal import Journal
from bot.model import Artifact, Capture, Given, Person, Place, Source, Verb
from bot.permission import Permission, about_capture
from bot.policy import Verdict
from bot.stores import Store

LINK_S = 600  # how long a link opens


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """Links by the keys of files, which open *until* then; none where the store makes none."""

    links: dict[str, str]
    until: datetime | None = None


class Handing:
    """The desk's window for files."""

    def __init__(
        self,
        *,
        journal: Journal,
        store: Store,
        permission: Permission,
        now: Callable[[], datetime],
        link_s: int = LINK_S,
    ) -> None:
        self._journal = journal
        self._store = store
        self._permission = permission
        self._now = now
        self._link_s = link_s

    async def admit(self, capture: Capture, who: Person, place: Place) -> bool:
        """Whether *who*, who may have the files, may have those too that could not be redacted.

        Raises NotAllowed, which the journal keeps, and JournalError.
        """
        what = about_capture(capture)
        asker = await self._permission.require(Verb.FILES, who, Source.SLACK, place, what)
        return self._permission.decide(asker, Verb.RAW_FILES, what).verdict is Verdict.ALLOWED

    async def link_chars(self, files: Sequence[Artifact]) -> int:
        """How long a link is, as far as one tells; 0 where there are none. Raises UserError."""
        longest = max(files, key=lambda one: len(one.key), default=None)
        return len(await self._link(longest)) if longest else 0

    async def hand(self, capture: Capture, files: Sequence[Artifact], who: Person, place: Place) -> Handed:
        """Links to *files* for *who*, once the journal has it. Raises UserError and JournalError."""
        at = self._now()
        made = {one.key: await self._link(one) for one in files}
        links = {key: url for key, url in made.items() if url}
        if not links:
            return Handed(links={})
        until = at + timedelta(seconds=self._link_s)
        given = Given(capture_id=capture.id, who=who, place=place, keys=tuple(links), until=until, at=at)
        await self._journal.append(given)
        return Handed(links=links, until=until)

    async def _link(self, artifact: Artifact) -> str:
        try:
            return await self._store.link(artifact, seconds=self._link_s)
        except StoreError as error:
            raise UserError(f"No links to the files could be made. {error.reason}") from error
