"""What is kept of a store's answers: shared, bounded, and never beyond its time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import SecretMissing
from bot.references import Place
from bot.secrets import RESOLVE_TIMEOUT_S
from bot.secrets.keeping import ASK_S, KEPT, KEPT_S, OUTAGE_S, PAUSE_S, Away, Found, Keeper, part_of
from tests.vault import Clock


class Store:
    """Answers with the number of times it was asked, unless it is away."""

    def __init__(self, *, lease_s: float | None = None) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.away: Away | None = None
        self.hangs = False
        self._lease_s = lease_s
        self.keeper = Keeper("The store", self._ask, clock=self.clock, ask_s=0.01)

    async def _ask(self, path: str, worn: Found | None) -> Found:
        self.asked.append(path)
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise self.away
        return Found(values={"n": len(self.asked)}, lease_s=self._lease_s)


async def test_who_asks_meanwhile_gets_the_same_answer() -> None:
    """A burst of captures is one question."""
    store = Store()

    found = await asyncio.gather(*(store.keeper.find("a") for _ in range(20)))

    assert store.asked == ["a"]
    assert len({id(one) for one in found}) == 1


async def test_the_number_of_answers_is_bounded() -> None:
    """The oldest go first."""
    store = Store()
    for number in range(KEPT + 1):
        await store.keeper.find(str(number))
    asked = len(store.asked)

    await store.keeper.find(str(KEPT))
    await store.keeper.find("0")

    assert store.asked[asked:] == ["0"]


async def test_a_store_that_hangs_is_bridged_in_time() -> None:
    """What is kept serves before whoever waits for the secret gives up; what is not is told."""
    store = Store()
    first = await store.keeper.find("a")
    store.clock.now += KEPT_S
    store.hangs = True

    assert await store.keeper.find("a") == first
    with pytest.raises(SecretMissing, match=r"^No secret b: The store gave no answer within 0.01 s"):
        await store.keeper.find("b")
    assert store.asked == ["a", "a"]
    assert ASK_S < RESOLVE_TIMEOUT_S


@given(
    st.lists(st.tuples(st.floats(1, 400), st.sampled_from(["here", "away", "away for one"])), max_size=15),
    st.sampled_from([None, 30.0, 600.0]),
)
def test_nothing_is_used_beyond_its_time(times: list[tuple[float, str]], lease_s: float | None) -> None:
    """Whatever the store does: an answer serves within its lease, or OUTAGE_S after it was read; a healthy store is asked anew."""

    async def live() -> None:
        store, read = Store(lease_s=lease_s), {0: 0.0}
        for seconds, state in times:
            store.clock.now += seconds
            store.away = None if state == "here" else Away("away", everywhere=state == "away")
            asked = len(store.asked)
            try:
                found = await store.keeper.find("a")
            except SecretMissing:
                continue
            assert isinstance(found.values, dict)
            number = found.values["n"]
            if len(store.asked) > asked and store.away is None:
                read[number] = store.clock.now
            age = store.clock.now - read[number]
            assert age < (lease_s or OUTAGE_S)
            if state == "here" and seconds > PAUSE_S:
                assert age < (lease_s or KEPT_S)

    asyncio.run(live())


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(NESTED, st.text(min_size=1, max_size=10))
def test_a_part_is_text_or_an_error(values: object, key: str) -> None:
    """Whatever the store gave."""
    try:
        found = part_of(values, Place("vault", "a/b", key, ""))
    except SecretMissing:
        return

    assert isinstance(found, str)
