"""Files are given to people by links that open for minutes: only to who may have them, and the journal says to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.desk.handing import Handing
from bot.errors import UserError
from bot.journal import Journal
from bot.model import Denied, Effect, Given, Member, Membership, Person, Policy, Rule, Verb
from bot.permission import NotAllowed, Permission
from bot.stores.folder import FolderStore
from bot.stores.intake import once
from bot.stores.spare import SpareStore
from tests.fakes import ANA, AT, HERE, Clock, Everybody, MemoryStore, a_capture, an_artifact

GUEST = Person(id="U9", name="gus")
CAPTURE = a_capture()
PS, CORE = an_artifact("evidence/ps.txt"), replace(an_artifact("evidence/core.zst"), binary=True)


def rule(effect: Effect, *verbs: Verb, who: str) -> Rule:
    """Allows or denies something to somebody."""
    return Rule(name=f"{effect} {who}", line=1, effect=effect, verbs=frozenset(verbs), who=(who,))


POLICY = Policy(rules=(rule(Effect.ALLOW, Verb.RAW_FILES, who="U1"), rule(Effect.DENY, Verb.FILES, who="U3")))


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    """An empty one."""
    opened = await Journal.open("sqlite://", owner="me")
    yield opened
    await opened.close()


@pytest.fixture
def store() -> MemoryStore:
    """One that makes links."""
    return MemoryStore()


@pytest.fixture
def handing(journal: Journal, store: MemoryStore) -> Handing:
    """A window for files."""
    clock = Clock()
    permission = Permission(POLICY, {}, journal, now=clock)
    permission.members = Everybody(Member(id="U9", name="gus", membership=Membership.GUEST))
    return Handing(journal=journal, store=store, permission=permission, now=clock)


async def test_links_are_given_for_ten_minutes_and_the_journal_has_it_first(handing: Handing, journal: Journal) -> None:
    """With who, where and which files."""
    handed = await handing.hand(CAPTURE, [PS, CORE], ANA, HERE)

    until = AT + timedelta(minutes=10)
    assert handed.links == {one.key: f"https://s3.test/{one.key}?X-Amz-Expires=600" for one in (PS, CORE)}
    assert handed.until == until
    given = Given(capture_id="abc234", who=ANA, place=HERE, keys=(PS.key, CORE.key), until=until, at=AT)
    assert await journal.events("abc234") == [given]


async def test_who_may_have_files_may_not_have_every_file(handing: Handing) -> None:
    """What could not be redacted needs a rule of its own."""
    ana, ben = ANA, Person(id="U2", name="ben")

    assert await handing.admit(CAPTURE, ana, HERE)
    assert not await handing.admit(CAPTURE, ben, HERE)


@pytest.mark.parametrize("who", [Person(id="U3", name="cem"), GUEST], ids=["denied by a rule", "a guest"])
async def test_who_may_not_have_files_is_refused_and_that_is_kept(
    handing: Handing, journal: Journal, who: Person
) -> None:
    """Nothing is signed for them."""
    with pytest.raises(NotAllowed):
        await handing.admit(CAPTURE, who, HERE)

    (denied,) = [event for _, event in await journal.after(0)]
    assert isinstance(denied, Denied)
    assert (denied.verb, denied.who) == (Verb.FILES, who)


async def test_a_store_that_is_away_is_told(handing: Handing, store: MemoryStore, journal: Journal) -> None:
    """And nothing was given."""
    store.away = True

    with pytest.raises(UserError, match=r"No links to the files could be made\. The store is away\."):
        await handing.hand(CAPTURE, [PS], ANA, HERE)

    assert await journal.events("abc234") == []


async def test_a_folder_makes_no_links(tmp_path: Path, journal: Journal) -> None:
    """Its files have paths, which open for who may read them; nothing is given."""
    folder = FolderStore(tmp_path)
    artifact = await folder.put("evidence/ps.txt", once(b"ps"))
    permission = Permission(POLICY, {}, journal, now=Clock())
    window = Handing(journal=journal, store=folder, permission=permission, now=Clock())

    handed = await window.hand(CAPTURE, [artifact], ANA, HERE)

    assert (handed.links, handed.until) == ({}, None)
    assert await journal.events("abc234") == []


async def test_what_waits_for_the_store_has_no_link_yet(tmp_path: Path, store: MemoryStore) -> None:
    """The others have."""
    both = SpareStore(store, FolderStore(tmp_path))
    waiting = replace(PS, trouble="The store is away.")

    assert await both.link(waiting, seconds=600) == ""
    assert await both.link(PS, seconds=600)


async def test_how_long_a_link_is_can_be_told_before_it_is_given(handing: Handing, journal: Journal) -> None:
    """That leaves no trace."""
    assert await handing.link_chars([PS, CORE]) == len("https://s3.test/evidence/core.zst?X-Amz-Expires=600")
    assert await handing.link_chars([]) == 0
    assert await journal.events("abc234") == []
