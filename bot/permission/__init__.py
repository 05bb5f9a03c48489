"""Whether somebody may do something here: looks up who they are, holds it against the rules, and keeps refusals.

`Permission.require` does all of it for whatever is not a capture. For captures the desk looks the asker up before it takes
its lock, as nobody may wait for Slack there, and then decides, without waiting; its refusals it keeps itself:

    asker = await permission.asker(trigger.who, trigger.source, trigger.place)
    ...
    permission.ensure(asker, Verb.CAPTURE, about(recipe, targets, parameters))  # raises NotAllowed or NeedsApproval

Both errors have the `decision`, with its approval where one is needed; `decide` gives it without raising.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Protocol

from bot.errors import UserError
from bot.journal import Journal
from bot.model import (
    Capture,
    Denied,
    Effect,
    Impact,
    Member,
    Membership,
    Person,
    Place,
    Policy,
    Recipe,
    Source,
    Target,
    Verb,
)
from bot.policy import Asked, Decision, Verdict, decide, touching, worst

NO_NAMES = frozenset({"", "privategroup", "directmessage"})  # what Slack's payloads call a private channel
USER, GROUP = re.compile("[UW][A-Z0-9]{2,20}"), re.compile("S[A-Z0-9]{2,20}")  # ids
OURSELVES = Person(id="capturebot", name="capturebot")  # no id of a person in Slack is like it


class Members(Protocol):
    """Where people come from. Neither raises, and both answer within a few seconds."""

    async def member(self, person: Person) -> Member:
        """Who somebody is now; Membership.UNKNOWN where that cannot be told."""

    async def channel_name(self, channel: str) -> str:
        """The name of a channel; "" where that cannot be told."""

    async def handle(self, group: str) -> str:
        """The `@handle` of a user group that rules name by its id; "" where that cannot be told."""


class NotAllowed(UserError):
    """The rules are against it."""

    def __init__(self, message: str, decision: Decision, *, cure: str = "") -> None:
        super().__init__(message, cure=cure)
        self.decision = decision


class NeedsApproval(NotAllowed):
    """The rules want somebody else to approve first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Somebody who was looked up, and where they ask; *channel* is None where that is still to be chosen."""

    who: Person
    member: Member
    place: Place | None = None
    channel: str | None = ""
    channel_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a question is about. *parameters* are None while they are to be chosen; without targets it is about none."""

    recipe: str = ""
    impact: Impact = Impact.NONE
    targets: tuple[str, ...] = ()
    parameters: Mapping[str, str | int] | None = field(default_factory=dict)

    @property
    def words(self) -> str:
        """It, in a sentence for whoever asked."""
        return f"`{self.recipe}` on `{', '.join(self.targets)}`" if self.recipe else ""


NOTHING = About()
ANYBODY = "any member"  # whom a rule without `who` is for


def about(recipe: Recipe, targets: Iterable[str], parameters: Mapping[str, str | int] | None) -> About:
    """A capture that is asked for."""
    return About(recipe=recipe.name, impact=recipe.impact, targets=tuple(targets), parameters=parameters)


def about_capture(capture: Capture) -> About:
    """A capture that there is."""
    return About(recipe=capture.recipe, impact=capture.impact, targets=capture.targets, parameters=capture.parameters)


class Permission:
    """Answers for one policy. *members* are None until Slack is let in: till then nobody there is known."""

    def __init__(
        self, policy: Policy, targets: Mapping[str, Target], journal: Journal, *, now: Callable[[], datetime]
    ) -> None:
        self.members: Members | None = None
        self._policy = policy
        self._targets = targets
        kinds: dict[frozenset[str], int] = {}  # of targets that the same rules touch
        self._kinds = {
            name: kinds.setdefault(touching(policy, name, target.labels), len(kinds))
            for name, target in targets.items()
        }
        self._names_channels = any(not one.isupper() for rule in policy.rules for one in rule.channels)
        self._journal = journal
        self._now = now

    async def asker(self, who: Person, source: Source, place: Place | None, *, anywhere: bool = False) -> Asker:
        """Look somebody up; never raises, and waits for Slack a few seconds at most.

        *anywhere*: they may still choose the place.
        """
        member, name = await asyncio.gather(self._member(who, source), self._name(source, place))
        channel = place.channel if place else ""
        still_open = anywhere and not channel
        return Asker(who=who, member=member, place=place, channel=None if still_open else channel, channel_name=name)

    def decide(self, asker: Asker, verb: Verb, what: About = NOTHING) -> Decision:
        """The answer for all targets together."""
        return worst(self._one(asker, verb, what, target) for target in what.targets or ("",))

    def ensure(self, asker: Asker, verb: Verb, what: About = NOTHING) -> None:
        """Raise NotAllowed, or NeedsApproval, where the answer is not that it is allowed."""
        decision = self.decide(asker, verb, what)
        if decision.verdict is not Verdict.ALLOWED:
            meant = (one for one in what.targets if self._one(asker, verb, what, one).verdict is decision.verdict)
            raise _refusal(decision, asker, verb, replace(what, targets=tuple(islice(meant, 1))))

    def may(self, asker: Asker, recipe: Recipe, targets: Collection[str]) -> tuple[str, ...]:
        """Those of *targets* that *recipe* might be run on with some parameters, perhaps once that is approved."""
        what, refused = about(recipe, (), None), dict[int, bool]()  # one target of a kind stands for all
        for one in targets:
            if (kind := self._kinds[one]) not in refused:
                refused[kind] = self._one(asker, Verb.CAPTURE, what, one).verdict is Verdict.REFUSED
        return tuple(one for one in targets if not refused[self._kinds[one]])

    def approvers(self, what: About) -> tuple[str, ...]:
        """Whom rules let approve of a capture: people and groups as rules name them. In which channel is left open."""
        rules = [one for one in self._policy.rules if one.effect is Effect.ALLOW and Verb.APPROVE in one.verbs]
        named = dict.fromkeys(one for rule in rules for one in rule.who or (ANYBODY,))

        def may(one: str) -> bool:
            member = Member(id=one, name=one, membership=Membership.MEMBER, groups=frozenset({one}))
            asker = Asker(who=Person(id=one, name=one), member=member, channel=None)
            return self.decide(asker, Verb.APPROVE, what).verdict is not Verdict.REFUSED

        return tuple(filter(may, named))

    async def names(self, ids: Iterable[str]) -> dict[str, str]:
        """What people read in the place of the ids that rules name: names of people, handles of groups."""
        found = {one: one for one in ids}
        for one in found:
            if self.members and USER.fullmatch(one):
                found[one] = (await self.members.member(Person(id=one, name=one))).name
            elif self.members and GROUP.fullmatch(one):
                found[one] = await self.members.handle(one) or one
        return found

    async def require(
        self, verb: Verb, who: Person, source: Source, place: Place | None, what: About = NOTHING
    ) -> Asker:
        """Look up and ensure. Raises NotAllowed, NeedsApproval, and JournalError; the journal keeps the refusal."""
        asker = await self.asker(who, source, place)
        try:
            self.ensure(asker, verb, what)
        except NotAllowed as refused:
            await self._keep(refused, asker, verb, what)
            raise
        return asker

    async def admit(self, who: Person, source: Source, place: Place | None) -> Asker:
        """As `require`, for what everybody may read who may ask for anything at all."""
        asker = await self.asker(who, source, place)
        if not asker.member.membership.may_ask:
            refused = _refusal(self.decide(asker, Verb.NOTE), asker, Verb.NOTE, NOTHING)
            await self._keep(refused, asker, Verb.NOTE, NOTHING)
            raise refused
        return asker

    async def _keep(self, refused: NotAllowed, asker: Asker, verb: Verb, what: About) -> None:
        denied = Denied(
            verb=verb,
            who=asker.who,
            place=asker.place,
            recipe=what.recipe,
            targets=what.targets,
            reason=str(refused),
            at=self._now(),
        )
        await self._journal.append(denied)
        refused.kept = True

    def _one(self, asker: Asker, verb: Verb, what: About, target: str) -> Decision:
        known = self._targets.get(target)
        asked = Asked(
            verb=verb,
            who=asker.member,
            recipe=what.recipe,
            impact=what.impact,
            target=target,
            labels=known.labels if known else None,
            parameters=what.parameters,
            channel=asker.channel,
            channel_name=asker.channel_name,
        )
        return decide(self._policy, asked)

    async def _member(self, who: Person, source: Source) -> Member:
        if source is Source.TERMINAL:
            return Member(id=who.id, name=who.name, membership=Membership.OPERATOR)
        if source in {Source.SCHEDULE, Source.PAGERDUTY} or who == OURSELVES:
            return Member(id=who.id, name=who.name, membership=Membership.AUTOMATIC)
        if self.members is None:
            return Member(id=who.id, name=who.name, membership=Membership.UNKNOWN, groups=None)
        return await self.members.member(who)

    async def _name(self, source: Source, place: Place | None) -> str:
        """The name of a channel, where rules may go by it; as Slack has it, as what came with the press may be old."""
        if place is None:
            return ""
        said = "" if place.channel_name in NO_NAMES else place.channel_name
        if not place.channel or source is not Source.SLACK or self.members is None or not self._names_channels:
            return said
        return await self.members.channel_name(place.channel) or said


def _refusal(decision: Decision, asker: Asker, verb: Verb, what: About) -> NotAllowed:
    """The error of a decision that is not to allow it."""
    member = asker.member
    said = f"{what.words}: {decision.because}" if what.words else decision.because
    if member.membership is Membership.UNKNOWN or (member.groups is None and member.membership.may_ask):
        cure = "Try again in a minute; if it stays so, `capturebot doctor slack` tells the operator why."
    elif not member.membership.may_ask:
        cure = "Ask a full member of this workspace to do it."
    else:
        words = " ".join(["capturebot can", member.id, what.recipe, ",".join(what.targets)]) if what.recipe else ""
        explains = (
            f"; `{words}{'' if verb is Verb.CAPTURE else f' --verb {verb}'}` explains it to them" if words else ""
        )
        cure = f"Ask an operator of capturebot{explains}."
    if decision.verdict is Verdict.NEEDS_APPROVAL:
        return NeedsApproval(said, decision, cure=cure)
    return NotAllowed(said, decision, cure=cure)
