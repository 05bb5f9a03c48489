"""`capturebot can`: whether somebody may do something, and what each rule says to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.assembly import background, now, open_secrets
from bot.catalogue import Catalogue
from bot.command import Take, read
from bot.errors import UserError
from bot.model import Member, Membership, Person, Policy, Source, Trigger, Verb
from bot.permission import About, about
from bot.plugins import load_recipes
from bot.policy import Asked, Decision, Verdict, decide, worst
from bot.settings import Settings, Slack
from bot.slack.directory import Directory

STATUSES = {Verdict.ALLOWED: 0, Verdict.REFUSED: 1, Verdict.NEEDS_APPROVAL: 3}
SLACK_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the command line asks. With *groups* or a *membership* Slack is not asked who *user* is."""

    user: str
    verb: Verb = Verb.CAPTURE
    words: tuple[str, ...] = ()  # recipe, targets and parameters, as they are typed
    channel: str = ""  # an id, or a name
    groups: tuple[str, ...] = ()
    membership: Membership | None = None


async def explain(
    settings: Settings, question: Question, *, environ: Mapping[str, str], base: Path, as_json: bool
) -> int:
    """Print the answer and every rule; returns the exit status: 0 allowed, 3 once approved, 1 refused.

    Raises UserError where there is no such thing to ask about, or Slack does not say who somebody is.
    """
    what = _about(settings, question)
    who, channel_name = await _look_up(settings, question, environ=environ, base=base)
    is_id = question.channel.isupper()
    named = None if not question.channel else ""  # None: it could be anywhere
    asked = [
        Asked(
            verb=question.verb,
            who=who,
            recipe=what.recipe,
            impact=what.impact,
            target=target,
            labels=settings.targets[target].labels if target else {},
            parameters=what.parameters,
            channel=question.channel if is_id else named,
            channel_name=channel_name if is_id else question.channel,
        )
        for target in what.targets or ("",)
    ]
    decisions = [(one, decide(settings.policy, one)) for one in asked]
    answer = worst(decision for _, decision in decisions)
    shown = _as_json(who, answer, decisions) if as_json else _as_text(settings.policy, decisions)
    print(shown)  # noqa: T201  (the command line's own output)
    return STATUSES[answer.verdict]


def _about(settings: Settings, question: Question) -> About:
    """What is asked about. Raises UserError where there is no such thing."""
    if question.verb is Verb.NOTE:
        if question.words:
            raise UserError("`note` is about no recipe and no target.", cure="Leave them out.")
        return About()
    ask = read(list(question.words))
    if not isinstance(ask, Take):
        raise UserError("A recipe and a target are needed.", cure="Try `capturebot can U0123ABCD core web-1`.")
    trigger = Trigger(
        recipe=ask.recipe,
        targets=ask.targets,
        parameters=ask.parameters,
        who=Person(id=question.user, name=question.user),
        source=Source.SLACK,
        at=now(),
    )
    catalogue = Catalogue(recipes=load_recipes(settings), targets=settings.targets, services=settings.services)
    recipe, targets, parameters = catalogue.named(trigger)
    return about(recipe, [target.name for target in targets], parameters)


async def _look_up(
    settings: Settings, question: Question, *, environ: Mapping[str, str], base: Path
) -> tuple[Member, str]:
    """Who asks, and the name of the channel. Raises UserError and SecretMissing."""
    if question.groups or question.membership:
        kind = question.membership or Membership.MEMBER
        groups = frozenset(question.groups)
        return Member(id=question.user, name=question.user, membership=kind, groups=groups), ""
    if settings.slack is None:
        raise UserError(
            "There is no `slack:` in the configuration to ask.",
            cure="Say who it is: `--as member`, `--in @oncall`.",
        )
    return await _ask_slack(settings, settings.slack, question, environ=environ, base=base)


async def _ask_slack(
    settings: Settings, slack: Slack, question: Question, *, environ: Mapping[str, str], base: Path
) -> tuple[Member, str]:
    tasks = background()
    async with open_secrets(settings, environ=environ, base=base) as secrets:
        token = await secrets.resolve(slack.bot_token)
        client = AsyncWebClient(token=token, base_url=slack.api_url, timeout=SLACK_TIMEOUT_S)
        directory = Directory(client, groups=settings.policy.groups, tasks=tasks, clock=time.monotonic)
        try:
            me = await client.auth_test()
            directory.settle({name: me.get(name) for name in ("team_id", "enterprise_id")})
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            raise UserError("Slack does not answer.", cure="Try `capturebot doctor slack`.") from error
        member, name = await asyncio.gather(
            directory.member(Person(id=question.user, name=question.user)),
            directory.channel_name(question.channel) if question.channel.isupper() else _nothing(),
        )
    if member.membership is Membership.UNKNOWN or member.groups is None:
        raise UserError(f"Slack does not say who {question.user} is.", cure="Try `capturebot doctor slack`.")
    return member, name


async def _nothing() -> str:
    return ""


# --- what is printed ------------------------------------------------------------------------------


def _as_text(policy: Policy, decisions: Sequence[tuple[Asked, Decision]]) -> str:
    lines = [line for asked, decision in decisions for line in _lines(policy, asked, decision)]
    if decisions[0][0].channel is None and any(rule.channels for rule in policy.rules):
        lines.append("Some rules go by channels, and none was named: see --channel.")
    return "\n".join(lines)


def _lines(policy: Policy, asked: Asked, decision: Decision) -> Iterator[str]:
    who, verb = asked.who, asked.verb.words
    answer = {
        Verdict.ALLOWED: "yes.",
        Verdict.NEEDS_APPROVAL: "once somebody else approves.",
        Verdict.REFUSED: "no.",
    }[decision.verdict]
    of = f" {asked.recipe} on {asked.target}" if asked.recipe else ""
    groups = f", in {', '.join(sorted(who.groups))}" if who.groups else ""
    yield f"May {who.name} ({who.membership}{groups}) {verb}{of}? {answer} {decision.because}"
    judged = {one.rule.name: one for one in decision.judged}
    for rule in policy.rules if judged else ():
        one = judged.get(rule.name)
        found = f"{one.match}{f': {one.why}' if one.why else ''}" if one else f"does not say who may {verb}"
        yield f"  {rule.effect:<8} {rule.words}: {found}"


def _as_json(who: Member, answer: Decision, decisions: Sequence[tuple[Asked, Decision]]) -> str:
    told = {
        "who": {"id": who.id, "membership": who.membership, "groups": sorted(who.groups or ())},
        "verdict": answer.verdict,
        "because": answer.because,
        "targets": [
            {
                "target": asked.target,
                "verdict": one.verdict,
                "because": one.because,
                "rules": [
                    {
                        "name": judged.rule.name,
                        "line": judged.rule.line,
                        "effect": judged.rule.effect,
                        "match": judged.match,
                        "why": judged.why,
                    }
                    for judged in one.judged
                ],
            }
            for asked, one in decisions
        ],
    }
    return json.dumps(told, indent=2)
