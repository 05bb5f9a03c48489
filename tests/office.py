"""A desk with all that belongs to it, for tests: a journal in memory, scripted targets, a store in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bot.desk import Desk
from bot.insights import Insight
from bot.journal import Journal
from bot.measuring import Measurer
from bot.model import Budgets, Capture, Event, MySql, Policy, Recipe, Service, Target, TargetKind
from bot.permission import Members, Permission
from bot.redact import Redactor
from bot.runner import Runner
from bot.settings import Limits
from bot.stores.folder import FolderStore
from bot.stores.spare import SpareStore
from bot.story import Story, story
from tests.fakes import ANYTHING, Clock, Everybody, MemoryStore, Script, ScriptedTransport, a_recipe

TARGETS = {
    "app-1": Target(name="app-1", local=True),
    "app-2": Target(name="app-2", local=True),
    "orders-db": Target(name="orders-db", mysql=MySql(host="10.0.0.5", user="capture")),
}
RECIPES = {"host": a_recipe("host"), "db": replace(a_recipe("db"), wants=TargetKind.MYSQL)}


class Office:
    """A desk with a journal in memory and scripted targets; what its store refuses goes to *spare*."""

    def __init__(
        self,
        journal: Journal,
        scripts: Mapping[str, Script],
        limits: Limits,
        *,
        spare: Path | None = None,
        recipes: Mapping[str, Recipe] = RECIPES,
        insights: Mapping[str, Insight] | None = None,
        services: Mapping[str, Service] | None = None,
        policy: Policy = ANYTHING,
        members: Members | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self.journal = journal
        self.transport = ScriptedTransport(scripts)
        self.store = MemoryStore()
        self.clock = Clock()
        self.broken: list[Exception] = []  # what the next captures break of, on our own side
        both = SpareStore(self.store, FolderStore(spare)) if spare else None
        runner = Runner(
            transports={"local": self.transport},
            store=both or self.store,
            insights=insights or {},
            redactor=self.redactor,
            emit=journal.append,
            limits=limits,
            now=self.clock,
        )
        permission = Permission(policy, TARGETS, journal, now=self.clock)
        permission.members = members or Everybody()
        self.desk = Desk(
            permission=permission,
            recipes=recipes,
            targets=TARGETS,
            journal=journal,
            runner=runner,
            measurer=Measurer(
                transports={"local": self.transport},
                redactor=Redactor(tuple, salt=b"salt"),
                emit=journal.append,
                now=self.clock,
            ),
            store=both or self.store,
            limits=limits,
            prefix="evidence",
            now=self.clock,
            services=services or {},
            bring_home=both.bring_home if both else None,
            budgets=budgets or Budgets(),
        )

    def redactor(self, _: Capture) -> Redactor:
        if self.broken:
            raise self.broken.pop()
        return Redactor(tuple, salt=b"salt")

    async def events(self) -> list[Event]:
        return [event for _, event in await self.journal.after(0)]

    async def story(self, capture_id: str) -> Story:
        told = story(await self.journal.events(capture_id))
        assert told
        return told


def office(
    journal: Journal,
    scripts: Mapping[str, Script] | None = None,
    *,
    spare: Path | None = None,
    services: Mapping[str, Service] | None = None,
    policy: Policy = ANYTHING,
    members: Members | None = None,
    **limits: float,
) -> Office:
    """An office with some limits."""
    held = Limits(**limits)  # type: ignore[arg-type]  # fields by name
    return Office(journal, scripts or {}, held, spare=spare, services=services, policy=policy, members=members)
