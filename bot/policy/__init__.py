"""Whether somebody may do something: rules, the facts they are held against, and the answer with its reasons. Pure.

A deny beats everything, an approval beats an allow, an allow beats the default: the order of rules does not matter.
What is not known counts against whoever asks: a deny holds where it cannot be ruled out, an allow only where it is sure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from bot.model import Approval, Bound, Effect, Impact, Member, Membership, Policy, Rule, Verb

OPEN_VERBS = frozenset({Verb.STOP, Verb.FILES, Verb.NOTE})  # allowed to every member where no rule speaks of it

OPEN_ITSELF = frozenset({Impact.NONE, Impact.LIGHT})  # to a schedule and to incidents, whatever is open to people


class Verdict(StrEnum):
    """What came of a question."""

    ALLOWED = "allowed"
    NEEDS_APPROVAL = "needs approval"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question: whether *who* may do *verb* with this recipe on this one target, from this channel.

    *labels* are None where there is no such target (any more). *parameters* are None while they are not chosen yet: what
    could be allowed with some of them is then allowed.
    *channel* is None while it is not chosen yet, and the same holds of it. *channel_name* is "" where it is not known.
    For Verb.NOTE there is neither recipe nor target.
    """

    verb: Verb
    who: Member
    recipe: str = ""
    impact: Impact = Impact.NONE
    target: str = ""
    labels: Mapping[str, str] | None = None
    parameters: Mapping[str, str | int] | None = None
    channel: str | None = ""
    channel_name: str = ""


class Match(StrEnum):
    """How a rule's conditions meet the facts."""

    YES = "matches"
    NO = "does not match"
    UNSURE = "cannot be ruled out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One rule held against the facts; *why* is the condition that settled it, "" where all held."""

    rule: Rule
    match: Match
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer. *because* is a sentence for whoever asked; *judged* is every rule that speaks of the verb."""

    verdict: Verdict
    because: str
    judged: tuple[Judged, ...] = ()
    approval: Approval | None = None  # where that is needed


def decide(policy: Policy, asked: Asked) -> Decision:
    """Hold *asked* against every rule."""
    if not asked.who.membership.may_ask:
        return Decision(verdict=Verdict.REFUSED, because=f"{asked.who.name} {asked.who.membership.words}.")
    if asked.who.membership is Membership.OPERATOR:
        return Decision(verdict=Verdict.ALLOWED, because=f"{asked.who.name} {asked.who.membership.words}.")
    judged = tuple(_judge(rule, asked) for rule in policy.rules if asked.verb in rule.verbs)
    if denying := _hit(judged, Effect.DENY, Match.YES, Match.UNSURE):
        return Decision(verdict=Verdict.REFUSED, because=_because(denying, "denies it"), judged=judged)
    approvals = [one for one in judged if one.rule.effect is Effect.APPROVAL and one.match is not Match.NO]
    if approvals and (any(one.match is Match.YES for one in approvals) or _may(policy, asked, judged)):
        strictest = _strictest(one.rule.approval for one in approvals)
        because = _because(approvals[0], "wants an approval first")
        return Decision(verdict=Verdict.NEEDS_APPROVAL, because=because, judged=judged, approval=strictest)
    if allowing := _hit(judged, Effect.ALLOW, Match.YES):
        return Decision(verdict=Verdict.ALLOWED, because=_because(allowing, "allows it"), judged=judged)
    if _is_open(policy, asked):
        return Decision(verdict=Verdict.ALLOWED, because="No rule speaks against it.", judged=judged)
    return Decision(verdict=Verdict.REFUSED, because=_closed(asked), judged=judged)


def worst(decisions: Iterable[Decision]) -> Decision:
    """The answer for several targets at once: refused where one is, with the strictest approval of all."""
    found = list(decisions)
    for one in found:
        if one.verdict is Verdict.REFUSED:
            return one
    wanting = [one for one in found if one.verdict is Verdict.NEEDS_APPROVAL]
    if not wanting:
        return found[0]
    first = wanting[0]
    return Decision(
        verdict=first.verdict,
        because=first.because,
        judged=first.judged,
        approval=_strictest(one.approval for one in wanting),
    )


def touching(policy: Policy, target: str, labels: Mapping[str, str]) -> frozenset[str]:
    """The names of the rules whose conditions about targets hold of this one. Alike in it, targets have one answer."""
    return frozenset(
        rule.name
        for rule in policy.rules
        if (not rule.targets or any(fnmatchcase(target, one) for one in rule.targets))
        and all(name in labels and fnmatchcase(labels[name], value) for name, value in rule.labels.items())
    )


def covers(rule: Rule, recipe: str, impact: Impact) -> bool:
    """Whether the conditions of *rule* about recipes hold of this one."""
    named = not rule.recipes or any(fnmatchcase(recipe, one) for one in rule.recipes)
    return named and (not rule.impact or impact in rule.impact)


# --- rules against facts ------------------------------------------------------------------------


def _judge(rule: Rule, asked: Asked) -> Judged:
    unsure = ""
    for match, why in _conditions(rule, asked):
        if match is Match.NO:
            return Judged(rule=rule, match=match, why=why)
        if match is Match.UNSURE:
            unsure = unsure or why
    return Judged(rule=rule, match=Match.UNSURE if unsure else Match.YES, why=unsure)


def _conditions(rule: Rule, asked: Asked) -> Iterator[tuple[Match, str]]:
    """Every condition that *rule* has, with why it fails where it does."""
    if rule.who:
        yield _who(rule.who, asked.who)
    if rule.channels:
        yield _channel(rule, asked)
    if rule.recipes:
        yield _named("recipe", asked.recipe, rule.recipes)
    if rule.impact:
        why = f"its impact is {asked.impact}, not {_or(sorted(rule.impact))}"
        yield _sure(why, holds=asked.impact in rule.impact)
    if rule.targets:
        yield _named("target", asked.target, rule.targets)
    for name, pattern in rule.labels.items():
        yield _label(name, pattern, asked)
    for name, bound in rule.parameters.items():
        yield _parameter(rule, name, bound, asked)


def _who(wanted: tuple[str, ...], who: Member) -> tuple[Match, str]:
    if who.id in wanted:
        return Match.YES, ""
    groups = [one for one in wanted if one.startswith(("@", "S"))]
    if groups and who.groups is None:
        return Match.UNSURE, f"Slack did not say whether {who.name} is in {_or(groups)}"
    if who.groups and who.groups.intersection(wanted):
        return Match.YES, ""
    return Match.NO, f"{who.name} is not {'in ' if groups else ''}{_or(wanted)}"


def _channel(rule: Rule, asked: Asked) -> tuple[Match, str]:
    wanted = rule.channels
    if asked.channel is None:
        return _open_still(rule), "no channel is chosen yet"
    if asked.channel in wanted:
        return Match.YES, ""
    names = [one for one in wanted if not one.isupper()]
    if any(fnmatchcase(asked.channel_name, one) for one in names if asked.channel_name):
        return Match.YES, ""
    if names and asked.channel and not asked.channel_name:
        return Match.UNSURE, "the name of this channel is not known"
    where = f"#{asked.channel_name}" if asked.channel_name else asked.channel or "no channel"
    return Match.NO, f"it is asked in {where}, not in {_or(wanted)}"


def _named(what: str, name: str, wanted: tuple[str, ...]) -> tuple[Match, str]:
    why = f"the {what} is {name or 'none'}, not {_or(wanted)}"
    return _sure(why, holds=any(fnmatchcase(name, one) for one in wanted))


def _label(name: str, pattern: str, asked: Asked) -> tuple[Match, str]:
    if asked.labels is None:
        return Match.UNSURE, f"there is no target {asked.target} any more whose labels could be known"
    value = asked.labels.get(name)
    has = f"{name}={value}" if value is not None else f"no label {name}"
    why = f"{asked.target} has {has}, not {name}={pattern}"
    return _sure(why, holds=value is not None and fnmatchcase(value, pattern))


def _parameter(rule: Rule, name: str, bound: Bound, asked: Asked) -> tuple[Match, str]:
    if asked.parameters is None:
        return _open_still(rule), f"{name} is not chosen yet"
    if name not in asked.parameters:
        return Match.NO, f"the recipe has no parameter {name}"
    value = asked.parameters[name]
    why = f"{name} is {value}, not {_bound(bound)}"
    if bound.one_of and str(value) not in map(str, bound.one_of):
        return Match.NO, why
    if bound.at_least is None and bound.at_most is None:
        return Match.YES, ""
    if not isinstance(value, int):
        return Match.UNSURE, f"{name} is not a number"
    low, high = bound.at_least, bound.at_most
    return _sure(why, holds=(low is None or value >= low) and (high is None or value <= high))


def _open_still(rule: Rule) -> Match:
    """Of what is not chosen yet: it could be what an allow wants, and need not be what a deny does."""
    return Match.NO if rule.effect is Effect.DENY else Match.YES


def _sure(why: str, *, holds: bool) -> tuple[Match, str]:
    return (Match.YES, "") if holds else (Match.NO, why)


# --- from rules to an answer --------------------------------------------------------------------


def _hit(judged: tuple[Judged, ...], effect: Effect, *matches: Match) -> Judged | None:
    return next((one for one in judged if one.rule.effect is effect and one.match in matches), None)


def _may(policy: Policy, asked: Asked, judged: tuple[Judged, ...]) -> bool:
    return _hit(judged, Effect.ALLOW, Match.YES) is not None or _is_open(policy, asked)


def _is_open(policy: Policy, asked: Asked) -> bool:
    if asked.verb is not Verb.CAPTURE:
        return asked.verb in OPEN_VERBS
    # What the configuration starts by itself its operator wrote down; only a deny takes it back.
    more = OPEN_ITSELF if asked.who.membership is Membership.AUTOMATIC else frozenset[Impact]()
    return asked.impact in policy.open | more


def _strictest(approvals: Iterable[Approval | None]) -> Approval:
    found = [one or Approval() for one in approvals]
    return Approval(minutes=min(one.minutes for one in found), break_glass=all(one.break_glass for one in found))


def _because(judged: Judged, does: str) -> str:
    unsure = f", because {judged.why}" if judged.why else ""
    return f"The rule {judged.rule.words} {does}{unsure}."


def _closed(asked: Asked) -> str:
    if asked.verb is Verb.CAPTURE:
        return f"What {asked.impact.words.removesuffix(' while it runs')} needs a rule that allows it, and none does."
    return f"To {asked.verb.words} needs a rule that allows it, and none does."


def _bound(bound: Bound) -> str:
    words = [_or(bound.one_of)] if bound.one_of else []
    words += [f"at least {bound.at_least}"] if bound.at_least is not None else []
    words += [f"at most {bound.at_most}"] if bound.at_most is not None else []
    return " and ".join(words)


def _or(values: Iterable[object]) -> str:
    return " or ".join(map(str, values))
