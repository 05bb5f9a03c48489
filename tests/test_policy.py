"""Who may do what: a table of sentences, and what holds of all rules, whatever they say."""

from __future__ import annotations

import functools
import random
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.model import Approval, Bound, Effect, Impact, Member, Membership, Policy, Rule, Verb
from bot.plugins import load_recipes
from bot.policy import Asked, Decision, Match, Verdict, decide, touching, worst
from bot.settings import load

CASES = Path(__file__).parent / "permission_cases.txt"
IMPACTS = {
    "ping": Impact.NONE,
    "host": Impact.LIGHT,
    "query": Impact.LIGHT,
    "core": Impact.PAUSES,
    "heap": Impact.HEAVY,
}
LABELS = {
    "web-1": {"env": "prod"},
    "web-2": {"env": "prod", "pci": "yes"},
    "db-1": {"env": "prod", "tier": "db"},
    "lab-1": {"env": "test"},
    "bare": {},
}
VERBS = {
    "captures": Verb.CAPTURE,
    "may capture": Verb.CAPTURE,
    "approves": Verb.APPROVE,
    "stops": Verb.STOP,
    "gets files of": Verb.FILES,
    "gets raw files of": Verb.RAW_FILES,
    "writes to the incident": Verb.NOTE,
}
VERDICTS = {"allowed": Verdict.ALLOWED, "approval": Verdict.NEEDS_APPROVAL, "refused": Verdict.REFUSED}
SENTENCE = re.compile(
    r"(?:(?P<kind>guest|stranger|bot|deactivated|unknown|operator|automatic) )?(?P<who>\w+)(?: in (?P<groups>\S+))?"
    rf" (?P<verb>{'|'.join(VERBS)})(?: (?P<recipe>\w+) on (?P<target>[\w-]+))?(?: with (?P<given>\S+=\S+(?: \S+=\S+)*))?"
    r"(?: from (?P<channel>\w+)(?: #(?P<name>\S+))?)?\s+-> (?P<verdict>\w+)(?:: (?P<because>.*))?"
)


@dataclass(frozen=True)
class Case:
    """A line of the table."""

    policy: str
    line: str


def cases() -> Iterator[Case]:
    """Every question with the rules above it."""
    for block in CASES.read_text().split("\n== ")[1:]:
        lines = block.splitlines()[1:]
        rules = [line for line in lines if line.startswith("- ")]
        opened = next((line for line in lines if line.startswith("open:")), "open: [none, light]")
        policy = "\n".join(
            [f"policy:\n  {opened}\n  rules: {'' if rules else '[]'}", *(f"    {rule}" for rule in rules)]
        )
        yield from (Case(policy, line) for line in lines if "->" in line)


@functools.cache
def read(policy: str) -> Policy:
    """The policy, as capturebot.yml has it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capturebot.yml"
        path.write_text(f"folder: x\ntargets: {{here: {{local: true}}}}\n{policy}\n")
        return load(path).policy


def asked(line: str) -> Asked:
    """The question of a sentence."""
    found = SENTENCE.fullmatch(line)
    assert found, line
    groups = found["groups"] or ""
    who = Member(
        id=found["who"],
        name=found["who"],
        membership=Membership(found["kind"] or "member"),
        groups=None if groups == "?" else frozenset(filter(None, groups.split(","))),
    )
    parameters: dict[str, str | int] = {}
    for name, _, value in (one.partition("=") for one in (found["given"] or "").split()):
        parameters[name] = int(value) if value.isdecimal() else value
    channel = found["channel"] or ""
    return Asked(
        verb=VERBS[found["verb"]],
        who=who,
        recipe=found["recipe"] or "",
        impact=IMPACTS.get(found["recipe"], Impact.NONE),
        target=found["target"] or "",
        labels=LABELS.get(found["target"]),
        parameters=None if found["verb"] == "may capture" else parameters,
        channel=None if channel == "anywhere" else channel,
        channel_name=found["name"] or "",
    )


@pytest.mark.parametrize("case", [pytest.param(one, id=one.line[:100]) for one in cases()])
def test_who_may_do_what(case: Case) -> None:
    """Every line of the table is so."""
    verdict, _, because = case.line.partition("->")[2].strip().partition(": ")

    decision = decide(read(case.policy), asked(case.line))

    assert decision.verdict is VERDICTS[verdict]
    assert because in decision.because


def test_the_table_is_large_enough_to_be_trusted() -> None:
    """No block of it is passed over."""
    assert len(list(cases())) >= 150


# --- what holds of all rules ------------------------------------------------------------------------

GROUPS = ["@oncall", "@leads", "S0DBAS"]
PEOPLE = ["U1ANA", "U2BEN"]
NAMES = st.sampled_from(list(IMPACTS))
BOUNDS = st.builds(Bound, at_least=st.none() | st.integers(0, 3), at_most=st.integers(2, 5))


def some(values: list[str], most: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    """None of *values* more often than not."""
    return st.just(()) | st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


EFFECTS = st.sampled_from(list(Effect))
ANY_RULES = st.builds(
    Rule,
    name=st.uuids().map(str),
    line=st.just(1),
    effect=EFFECTS,
    verbs=st.frozensets(st.sampled_from([Verb.CAPTURE, Verb.STOP]), min_size=1),
    who=some([*GROUPS, *PEOPLE]),
    channels=some(["C1", "inc-*", "general"]),
    recipes=some(["core", "he*", "host"]),
    impact=st.just(frozenset()) | st.frozensets(st.sampled_from(list(Impact)), max_size=2),
    targets=some(["web-*", "lab-1"]),
    labels=st.just({}) | st.sampled_from([{"env": "prod"}, {"pci": "yes"}, {"env": "*"}]),
    parameters=st.just({}) | st.fixed_dictionaries({"seconds": BOUNDS}),
    approval=st.builds(Approval, minutes=st.sampled_from([5.0, 15.0]), break_glass=st.booleans()),
)
POLICIES = st.builds(
    Policy,
    rules=st.lists(ANY_RULES, max_size=6).map(tuple),
    open=st.frozensets(st.sampled_from(list(Impact))),
)
MEMBERS = st.builds(
    Member,
    id=st.sampled_from(PEOPLE),
    name=st.just("ana"),
    membership=st.sampled_from([Membership.MEMBER] * 5 + [Membership.AUTOMATIC, Membership.GUEST]),
    groups=st.none() | st.frozensets(st.sampled_from(GROUPS)),
)


@st.composite
def questions(draw: st.DrawFn) -> Asked:
    """Anything that may be asked."""
    recipe, target = draw(NAMES), draw(st.sampled_from(list(LABELS)))
    given: Mapping[str, str | int] = draw(
        st.just({}) | st.fixed_dictionaries({"seconds": st.integers(0, 6) | st.just("x")})
    )
    channel = draw(st.sampled_from(["", "C1", "C2"]))
    return Asked(
        verb=draw(st.sampled_from([Verb.CAPTURE, Verb.STOP])),
        who=draw(MEMBERS),
        recipe=recipe,
        impact=IMPACTS[recipe],
        target=target,
        labels=LABELS[target],
        parameters=given,
        channel=channel,
        channel_name=draw(st.sampled_from(["", "inc-1", "general"])) if channel else "",
    )


RANKS = {Verdict.REFUSED: 0, Verdict.NEEDS_APPROVAL: 1, Verdict.ALLOWED: 2}


def rank(decision: Decision) -> int:
    """How much is granted."""
    return RANKS[decision.verdict]


@pytest.mark.thorough
@given(POLICIES, questions(), st.randoms())
def test_the_order_of_rules_does_not_matter(policy: Policy, question: Asked, chance: random.Random) -> None:
    """And so no order grants what a deny forbids."""
    shuffled = list(policy.rules)
    chance.shuffle(shuffled)

    first, again = decide(policy, question), decide(replace(policy, rules=tuple(shuffled)), question)

    assert first.verdict is again.verdict
    assert first.approval == again.approval


@pytest.mark.thorough
@given(POLICIES, questions())
def test_what_a_deny_forbids_is_never_granted(policy: Policy, question: Asked) -> None:
    """Nor is what it might forbid."""
    decision = decide(policy, question)

    denies = [one for one in decision.judged if one.rule.effect is Effect.DENY and one.match is not Match.NO]
    assert not denies or decision.verdict is Verdict.REFUSED


@pytest.mark.thorough
@given(POLICIES, ANY_RULES, questions())
def test_one_more_deny_never_grants_more(policy: Policy, rule: Rule, question: Asked) -> None:
    """Whatever it says, and wherever it stands."""
    more = replace(policy, rules=(*policy.rules, replace(rule, effect=Effect.DENY)))

    assert rank(decide(more, question)) <= rank(decide(policy, question))


@pytest.mark.thorough
@given(POLICIES, ANY_RULES, questions())
def test_one_more_allow_never_grants_less(policy: Policy, rule: Rule, question: Asked) -> None:
    """What one rule allows, another allow does not take away."""
    more = replace(policy, rules=(*policy.rules, replace(rule, effect=Effect.ALLOW)))

    assert rank(decide(more, question)) >= rank(decide(policy, question))


@pytest.mark.thorough
@given(POLICIES, questions())
def test_what_is_not_known_never_grants_more(policy: Policy, question: Asked) -> None:
    """Groups that Slack did not tell, a channel's name that it did not, somebody whom it does not know."""
    known = rank(decide(policy, question))
    without_groups = replace(question, who=replace(question.who, groups=None))
    without_name = replace(question, channel_name="")
    unknown = replace(question, who=replace(question.who, membership=Membership.UNKNOWN))

    assert rank(decide(policy, without_groups)) <= known
    assert rank(decide(policy, without_name)) <= known
    assert decide(policy, unknown).verdict is Verdict.REFUSED


@pytest.mark.thorough
@given(POLICIES, questions())
def test_what_is_still_to_be_chosen_is_refused_only_where_every_choice_is(policy: Policy, question: Asked) -> None:
    """So that a menu leaves out nothing that could be run."""
    still_open = replace(question, parameters=None, channel=None, channel_name="")

    assert rank(decide(policy, still_open)) >= min(rank(decide(policy, question)), 1)


@pytest.mark.thorough
@given(POLICIES, questions())
def test_the_rules_of_an_explanation_make_the_answer(policy: Policy, question: Asked) -> None:
    """Each rule about the verb is judged once, in the order of the file, and the reason names one that matters."""
    decision = decide(policy, question)

    if question.who.membership is Membership.GUEST:
        assert decision.judged == ()
        return
    assert [one.rule for one in decision.judged] == [one for one in policy.rules if question.verb in one.verbs]
    assert all(one.why for one in decision.judged if one.match is not Match.YES)
    named = [one for one in decision.judged if one.rule.words in decision.because]
    wanted = {
        Verdict.REFUSED: Effect.DENY,
        Verdict.NEEDS_APPROVAL: Effect.APPROVAL,
        Verdict.ALLOWED: Effect.ALLOW,
    }
    assert all(one.rule.effect is wanted[decision.verdict] and one.match is not Match.NO for one in named)


@pytest.mark.thorough
@given(POLICIES, questions())
def test_targets_that_the_same_rules_touch_have_one_answer(policy: Policy, question: Asked) -> None:
    """Which is why a menu asks for one of them only."""
    alike = touching(policy, question.target, LABELS[question.target])

    for name, labels in LABELS.items():
        if touching(policy, name, labels) == alike:
            other = decide(policy, replace(question, target=name, labels=labels))
            assert other.verdict is decide(policy, question).verdict


@pytest.mark.thorough
@given(POLICIES, st.lists(questions(), min_size=1, max_size=4))
def test_several_targets_are_refused_where_one_is(policy: Policy, asked_of: list[Asked]) -> None:
    """And need the strictest approval of all."""
    decisions = [decide(policy, one) for one in asked_of]

    together = worst(decisions)

    assert rank(together) == min(map(rank, decisions))
    if together.approval:
        approvals = [one.approval for one in decisions if one.approval and one.verdict is Verdict.NEEDS_APPROVAL]
        assert together.approval.minutes == min(one.minutes for one in approvals)
        assert together.approval.break_glass == all(one.break_glass for one in approvals)


# --- what is wrong with rules -------------------------------------------------------------------------


def test_a_rule_that_names_what_there_is_not_is_told_with_its_line(tmp_path: Path) -> None:
    """A deny that can never match would be a door left open."""
    path = tmp_path / "capturebot.yml"
    path.write_text(
        "folder: x\n"
        "targets:\n"
        "  web-1: {local: true, labels: {env: prod}}\n"
        "policy:\n"
        "  rules:\n"
        "    - name: no dumps\n"
        "      deny: [capture]\n"
        "      recipes: [cores, 'java-*']\n"
        "      targets: [web-2, 'web-*']\n"
        "      labels: {evn: prod}\n"
        "      parameters: {secnds: {at_most: 3}}\n"
    )
    with pytest.raises(ConfigError) as wrong:
        load_recipes(load(path))

    assert [str(one).removeprefix(str(path)) for one in wrong.value.problems] == [
        ":8: policy.rules.no dumps.recipes.0: there is no recipe `cores` — did you mean `core`?",
        ":9: policy.rules.no dumps.targets.0: there is no target `web-2` — did you mean `web-1`?",
        ":10: policy.rules.no dumps.labels.evn: no target has a label `evn` — did you mean `env`?",
        ":11: policy.rules.no dumps.parameters.secnds: no recipe has a parameter `secnds` — did you mean `seconds`?",
    ]


def test_a_first_set_that_rules_deny_is_told_before_an_incident_lacks_it(tmp_path: Path) -> None:
    """Rules that say who may not are about people, and hold nothing up that starts by itself."""
    path = tmp_path / "capturebot.yml"
    path.write_text(
        "folder: x\n"
        "targets:\n"
        "  web-1: {local: true}\n"
        "  web-2: {local: true, labels: {pci: 'yes'}}\n"
        "services:\n"
        "  shop: {targets: [web-1, web-2], first: [triage, host]}\n"
        "baselines:\n"
        "  - {recipe: host, targets: [web-2], every: 6 h}\n"
        "policy:\n"
        "  rules:\n"
        "    - {name: card data, deny: [capture], recipes: [host], labels: {pci: 'yes'}}\n"
        "    - {name: not her, deny: [capture], who: [U7EVE]}\n"
        "    - {name: juniors ask, approval: {}, who: ['@juniors']}\n"
        "    - {name: leads approve, allow: [approve], who: ['@leads']}\n"
    )

    with pytest.raises(ConfigError) as wrong:
        load_recipes(load(path))

    cure = "take one of both away, or say in the rule `who` may not"
    said = f"would not start by itself on `web-2`: The rule `card data` (line 11) denies it. — {cure}"
    assert [str(one).removeprefix(str(path)) for one in wrong.value.problems] == [
        f":6: services.shop.first.1: {said}",
        f":8: baselines.0.recipe: {said}",
    ]


WANTED = "wants an approval that no rule allows anybody to give"
CURE = "add a rule with `allow: [approve]` for the same recipes and targets"


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("{name: leads, allow: [approve], who: ['@leads']}", False),
        ("{name: leads, allow: [approve], who: ['@leads'], recipes: ['java-*', core]}", False),
        ("{name: leads, allow: [approve], who: ['@leads'], labels: {env: prod}}", False),
        ("{name: leads, allow: [capture], who: ['@leads']}", True),
        ("{name: leads, deny: [approve], who: ['@juniors']}", True),
        ("{name: leads, allow: [approve], who: ['@leads'], recipes: [host]}", True),
        ("{name: leads, allow: [approve], who: ['@leads'], impact: [none]}", True),
        ("{name: leads, allow: [approve], who: ['@leads'], targets: [web-2]}", True),
    ],
)
def test_an_approval_that_nobody_can_give_is_told(tmp_path: Path, rule: str, *, found: bool) -> None:
    """Else the first who needs it would learn of it, in an incident. Who may break the glass needs nobody."""
    path = tmp_path / "capturebot.yml"
    text = (
        "folder: x\n"
        "targets:\n"
        "  web-1: {local: true, labels: {env: prod}}\n"
        "  web-2: {local: true}\n"
        "policy:\n"
        "  rules:\n"
        f"    - {rule}\n"
        "    - {name: dumps, approval: {break_glass: false}, recipes: [core], labels: {env: prod}}\n"
    )
    path.write_text(text)
    try:
        load_recipes(load(path))
        problems = []
    except ConfigError as wrong:
        problems = [str(one).removeprefix(str(path)) for one in wrong.problems]

    assert problems == ([f":8: policy.rules.dumps: {WANTED} — {CURE}"] if found else [])
    path.write_text(text.replace("break_glass: false", "break_glass: true"))
    load_recipes(load(path))


def test_a_schedule_can_ask_nobody_for_an_approval(tmp_path: Path) -> None:
    """An incident's channel can, so that a first set is asked for there."""
    path = tmp_path / "capturebot.yml"
    path.write_text(
        "folder: x\n"
        "targets: {web-1: {local: true}}\n"
        "services: {shop: {targets: [web-1], first: [host]}}\n"
        "baselines: [{recipe: host, targets: [web-1], every: 6 h}]\n"
        "policy:\n"
        "  rules:\n"
        "    - {name: all ask, approval: {}}\n"
        "    - {name: leads approve, allow: [approve], who: ['@leads']}\n"
    )

    with pytest.raises(ConfigError) as wrong:
        load_recipes(load(path))

    (only,) = [str(one).removeprefix(str(path)) for one in wrong.value.problems]
    assert only.startswith(":4: baselines.0.recipe: would not start by itself on `web-1`: The rule `all ask` (line 7)")
