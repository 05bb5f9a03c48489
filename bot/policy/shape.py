"""Rules in capturebot.yml, and what is wrong between them and the recipes and targets that they name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from bot.errors import Problem
from bot.model import Approval, Bound, Effect, Impact, Policy, Recipe, Rule, Verb
from bot.policy import covers, touching
from bot.shapes import Shape, wrong
from bot.values import Matches
from bot.yamlfile import Document, listed, nearest, shown

VerbWord = Literal["capture", "approve", "stop", "files", "raw-files", "note"]
ImpactWord = Literal["none", "light", "pauses", "heavy"]
Somebody = Annotated[
    str,
    Matches(
        "[UW][A-Z0-9]{2,20}|S[A-Z0-9]{2,20}|@[a-z0-9][a-z0-9._-]{0,79}",
        "the id of a user (`U…`) or a user group (`S…`), or a user group's `@handle`",
        "people's names may change, so they are named by id",
    ),
]
Channel = Annotated[
    str,
    Matches(
        "[CGD][A-Z0-9]{2,20}|[a-z0-9*?_-][a-z0-9*?._-]{0,79}",
        "a channel's id, or a pattern of its name without `#`, such as `inc-*`",
    ),
]
Pattern = Annotated[
    str, Matches(r"[a-z0-9*?][a-z0-9._*?-]{0,62}", "a name in lower case, in which `*` and `?` may stand")
]
LabelName = Annotated[str, Matches(r"[a-z][a-z0-9_-]{0,30}", "lower-case letters, digits, `_` and `-`, at most 31")]
LabelValue = Annotated[str, Matches(r"[A-Za-z0-9._*?-]{1,63}", "letters, digits, `.`, `_` and `-`, at most 63")]


class ApprovalShape(Shape):
    """What an approval is like."""

    minutes: float = Field(15.0, ge=1, le=240, description="minutes for which it may be given", examples=[15])
    break_glass: bool = Field(
        False, description="the asker may go without, with a reason, and everybody is told", examples=[True]
    )


class BoundShape(Shape):
    """What a parameter's value must be."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    one_of: Annotated[list[str | int], Field(min_length=1, max_length=100)] | None = Field(
        None, description="values that it may have", examples=[["main", "tls"]]
    )
    at_least: int | None = Field(None, description="its smallest value", examples=[1])
    at_most: int | None = Field(None, description="its largest value", examples=[30])

    @model_validator(mode="after")
    def _says_something(self) -> BoundShape:
        if self.one_of is None and self.at_least is None and self.at_most is None:
            wrong("says nothing about the value", "add `one_of`, `at_least` or `at_most`")
        return self


class RuleShape(Shape):
    """Allows, denies or wants an approval for what all its conditions hold of."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("allow", "deny", "approval")]}
    )

    name: str = Field(min_length=1, max_length=80, description="how people are told of it", examples=["on-call dumps"])
    allow: Annotated[list[VerbWord], Field(min_length=1)] | None = Field(
        None, description="what it allows", examples=[["capture"]]
    )
    deny: Annotated[list[VerbWord], Field(min_length=1)] | None = Field(
        None, description="what it denies, whatever other rules say", examples=[["capture", "raw-files"]]
    )
    approval: ApprovalShape | None = Field(
        None, description="captures are allowed once somebody else has approved", examples=[{"minutes": 15}]
    )
    who: Annotated[list[Somebody], Field(min_length=1, max_length=200)] | None = Field(
        None, description="users and user groups", examples=[["@oncall", "U0123ABCD"]]
    )
    channels: Annotated[list[Channel], Field(min_length=1, max_length=200)] | None = Field(
        None, description="channels in which it is asked, by id or name", examples=[["inc-*"]]
    )
    recipes: Annotated[list[Pattern], Field(min_length=1, max_length=100)] | None = Field(
        None, description="recipes", examples=[["core", "java-*"]]
    )
    impact: Annotated[list[ImpactWord], Field(min_length=1)] | None = Field(
        None, description="impacts of recipes", examples=[["pauses", "heavy"]]
    )
    targets: Annotated[list[Pattern], Field(min_length=1, max_length=200)] | None = Field(
        None, description="targets", examples=[["orders-*"]]
    )
    labels: Annotated[dict[LabelName, LabelValue], Field(min_length=1, max_length=20)] | None = Field(
        None, description="labels that a target must have", examples=[{"env": "prod"}]
    )
    parameters: Annotated[dict[str, BoundShape], Field(min_length=1, max_length=20)] | None = Field(
        None, description="what parameters must be", examples=[{"seconds": {"at_most": 30}}]
    )

    @model_validator(mode="after")
    def _has_one_effect(self) -> RuleShape:
        effects = [self.allow is not None, self.deny is not None, self.approval is not None]
        if sum(effects) != 1:
            wrong(
                "must have exactly one of `allow`, `deny` and `approval`",
                "write for example `allow: [capture]`; make two rules of what needs two",
            )
        about = [self.recipes, self.impact, self.targets, self.labels, self.parameters]
        if "note" in {*(self.allow or ()), *(self.deny or ())} and any(one is not None for one in about):
            wrong(
                "speaks of `note`, which is about no recipe and no target",
                "make a rule of its own for it, with `who` and `channels` at most",
            )
        return self


class PolicyShape(Shape):
    """Who may do what."""

    open: list[ImpactWord] = Field(
        ["none", "light"],
        max_length=4,
        description="impacts that every member may cause where no rule says otherwise",
        examples=[["none", "light"]],
    )
    rules: Annotated[list[RuleShape], Field(max_length=500)] = Field(
        [],
        description="in any order: a deny beats an approval, and that an allow",
        examples=[[{"name": "on-call dumps", "allow": ["capture"], "who": ["@oncall"], "impact": ["pauses"]}]],
    )


def read_policy(document: Document, shape: PolicyShape | None, problems: list[Problem]) -> Policy:
    """The policy; what is wrong with it is added to *problems*."""
    if shape is None:
        return Policy()
    names: set[str] = set()
    rules = []
    for position, one in enumerate(shape.rules):
        where = ("policy", "rules", position)
        if one.name in names:
            problems.append(document.problem((*where, "name"), "is the name of another rule already", "rename one"))
        names.add(one.name)
        rules.append(_rule(one, document.lines[where]))
    return Policy(rules=tuple(rules), open=frozenset(map(Impact, shape.open)))


def _rule(shape: RuleShape, line: int) -> Rule:
    if shape.approval is not None:
        effect, verbs = Effect.APPROVAL, [Verb.CAPTURE]
    else:
        effect = Effect.ALLOW if shape.allow is not None else Effect.DENY
        verbs = [Verb(word) for word in shape.allow or shape.deny or ()]
    approval = shape.approval
    return Rule(
        name=shape.name,
        line=line,
        effect=effect,
        verbs=frozenset(verbs),
        who=tuple(shape.who or ()),
        channels=tuple(shape.channels or ()),
        recipes=tuple(shape.recipes or ()),
        impact=frozenset(map(Impact, shape.impact or ())),
        targets=tuple(shape.targets or ()),
        labels=shape.labels or {},
        parameters={
            name: Bound(one_of=tuple(one.one_of or ()), at_least=one.at_least, at_most=one.at_most)
            for name, one in (shape.parameters or {}).items()
        },
        approval=Approval(minutes=approval.minutes, break_glass=approval.break_glass) if approval else None,
    )


def faults_of_policy(
    document: Document,
    policy: Policy,
    recipes: Mapping[str, Recipe],
    targets: Mapping[str, Mapping[str, str]],
) -> Iterator[Problem]:
    """Yield what rules name that there is not; *targets* are their labels by name.

    A rule that can never match is a mistake, and a deny with one is a door left open.
    """
    labels = {name for one in targets.values() for name in one}
    for position, rule in enumerate(policy.rules):
        where = ("policy", "rules", position)
        if rule.approval and not rule.approval.break_glass and not _can_be_approved(policy, rule, recipes, targets):
            message = "wants an approval that no rule allows anybody to give"
            yield document.problem(
                where, message, "add a rule with `allow: [approve]` for the same recipes and targets"
            )
        named = [("recipes", rule.recipes, recipes), ("targets", rule.targets, targets)]
        for key, wanted, known in named:
            for place, name in enumerate(wanted):
                if "*" not in name and "?" not in name and name not in known:
                    what = key.removesuffix("s")
                    yield document.problem(
                        (*where, key, place), f"there is no {what} `{shown(name)}`", _meant(name, known)
                    )
        for name in rule.labels:
            if name not in labels:
                message = f"no target has a label `{shown(name)}`"
                yield document.problem((*where, "labels", name), message, _meant(name, labels))
        parameters = {one.name for recipe in recipes.values() for one in recipe.parameters}
        for name in rule.parameters:
            if name not in parameters:
                message = f"no recipe has a parameter `{shown(name)}`"
                yield document.problem((*where, "parameters", name), message, _meant(name, parameters))


def _can_be_approved(
    policy: Policy, rule: Rule, recipes: Mapping[str, Recipe], targets: Mapping[str, Mapping[str, str]]
) -> bool:
    """Whether there is a recipe and a target that *rule* is about, and somebody may approve of; or none at all."""
    allowing = [one for one in policy.rules if one.effect is Effect.ALLOW and Verb.APPROVE in one.verbs]
    kinds = {touching(policy, name, of): (name, of) for name, of in targets.items()}
    about = [
        (recipe, touched)
        for recipe in recipes.values()
        for touched in kinds
        if rule.name in touched and covers(rule, recipe.name, recipe.impact)
    ]
    return not about or any(
        one.name in touched and covers(one, recipe.name, recipe.impact) for recipe, touched in about for one in allowing
    )


def _meant(name: str, known: Collection[str]) -> str:
    close = nearest(name, known)
    return f"did you mean `{close}`?" if close else f"there are {listed(sorted(known)[:20]) or 'none'}"
