"""The largest that every renderer may be given: what it makes of it is something that Slack takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.model import (
    Artifact,
    Compared,
    Difference,
    Finding,
    Followed,
    Impact,
    Joined,
    Level,
    MarkedGood,
    Offered,
    Outcome,
    Parameter,
    ParameterType,
    Person,
    Place,
    Recipe,
    Room,
    Service,
    Source,
    State,
    StepResult,
    Suggestion,
    Target,
)
from bot.permission.menu import Menu
from bot.playground.workspace.blocks import check_blocks
from bot.playground.workspace.modals import check_view
from bot.reporters.slack_announcement import Announcement, Choice, announce
from bot.reporters.slack_files import Page, files, pages
from bot.reporters.slack_index import index
from bot.reporters.slack_message import Message, details, root
from bot.slack import answers, home, modal, offers
from bot.story import Story
from tests.fakes import AT, a_capture, a_recipe, a_trigger, an_artifact
from tests.test_slack_index import slacks_types

pytestmark = pytest.mark.thorough

NAME_CHARS = 200
FINDINGS = 50
NAMES = tuple(f"{n}-" + "t" * (63 - len(f"{n}-")) for n in range(60))  # of targets: no configuration has longer ones
EDIT_CHARS = 4_000  # of text; Slack refuses an edit over that
CUT_CHARS = 40_000  # of text; Slack cuts an ephemeral answer there
BLOCK_CHARS = 13_000  # shown by the blocks of one message; Slack refuses messages of about that

WORDS = {
    "emoji": "🔥👩‍💻",
    "right to left": "\u200fخادم الطلبات ",
    "markup": "<!channel>&<>&<>*b* `c` ",
    "controls": "\x1b[31m\x00\u2028\n",
}


def long(words: str, n: int = 0, chars: int = NAME_CHARS) -> str:
    """A text of so many characters; the *n*th differs from the others."""
    return (f"{n} " + words * chars)[:chars]


def story_of(words: str, *, state: State = State.COMPLETE, capture_id: str = "abc234") -> Story:
    """A capture of all targets with all findings, each with something to run next, long names everywhere."""
    name = long(words)
    targets = NAMES
    who = Person(id="U2", name=name)
    suggestions = tuple(Suggestion(label=long(words, n), recipe=name, parameters={name: name}) for n in range(10))
    findings = [Finding(level=Level.BAD, text=long(words, n, 600), next=suggestions) for n in range(FINDINGS)]
    differences = tuple(
        Difference(target=targets[0], step="ps", finding=Finding(level=Level.WARN, text=long(words, n)))
        for n in range(FINDINGS)
    )
    results = tuple(
        StepResult(
            target=target,
            step="ps",
            outcome=Outcome.OK if n % 2 else Outcome.FAILED,
            reason=long(words, n, 1_000),
            started_at=AT,
            seconds=1.0,
            artifact=kept(words, n),
            files=tuple(kept(words, m) for m in range(5)),
            masked={name: 7},
            findings=tuple(findings[n : n + 1]),
            stop_proof=name,
            remark=name,
        )
        for n, target in enumerate(targets)
    )
    return Story(
        capture=a_capture(
            capture_id, recipe="r" * 31, recipe_title=name, targets=targets, who=who, cost=name * 5, force=name
        ),
        state=state,
        results=results,
        started_at=AT,
        ended_at=AT + timedelta(hours=3) if state.ended else None,
        stop_asked_by=who,
        manifest=kept(words, 99),
        saved=tuple(kept(words, 100 + n) for n in range(60)),
        reason=name * 5,
        error_id="e" * 8,
        note_trouble=name * 5,
        followed=tuple(
            Followed(capture_id=capture_id, by="c" * 6, what=name * 10, key=f"next {n}", who=who, at=AT)
            for n in range(FINDINGS)
        ),
        joined=tuple(
            Joined(
                capture_id=capture_id,
                targets=targets,
                who=Person(id=f"U{n}", name=long(words, n)),
                source=Source.SLACK,
                at=AT,
            )
            for n in range(10, 30)
        ),
        good=MarkedGood(
            capture_id=capture_id,
            recipe=name,
            targets=targets,
            asked="a",
            taken_at=AT,
            who=who,
            by_schedule=False,
            at=AT,
        ),
        compared=tuple(
            Compared(
                capture_id=capture_id,
                said=long(words, n, 300),
                at=AT,
                others=("c" * 6,) * 60,
                differences=differences,
                gaps=(name,) * 5,
            )
            for n in range(3)
        ),
    )


def kept(words: str, n: int) -> Artifact:
    """A file with a long name; every third has an address that is longer than any link may be."""
    key = f"evidence/{long(words, n)}.txt"
    url = f"https://files.example/{n}/" + "x" * (9_000 if n % 3 == 0 else 300)
    return replace(
        an_artifact(key), url=url, trouble=long(words) if n % 2 else "", binary=True, cut=True, size_bytes=10**12
    )


def recipe_of(words: str, n: int = 0) -> Recipe:
    """A recipe with everything that a dialog asks for."""
    about = long(words, n)
    choices = tuple(f"{n}-{'c' * 60}" for n in range(90))
    parameters = (
        Parameter(name="p" * 31, about=about, type=ParameterType.TEXT, default="d" * 200, pattern=".*"),
        Parameter(name="n", about=about, type=ParameterType.INTEGER, default=1, minimum=-(10**9), maximum=10**9),
        Parameter(name="c", about=about, type=ParameterType.TEXT, default=choices[3], choices=choices),
    )
    name = f"recipe-{n}"
    given = replace(a_recipe(name), title=long(words, n), about=about * 20, impact=Impact.HEAVY)
    return replace(given, parameters=parameters)


def messages(words: str) -> list[Message]:
    """Everything that is posted into channels and edited there."""
    ended, running = story_of(words), story_of(words, state=State.RUNNING)
    interrupted = replace(story_of(words, state=State.INTERRUPTED), followed=(), compared=())
    stories = [replace(ended, capture=replace(ended.capture, id=f"c{n}")) for n in range(60)]
    shown = [root(one, pagerduty=True) for one in (ended, running, interrupted)]
    return [
        *shown,
        *details(ended),
        index(stories),
        *announcements(words),
        *(files(ended, page) for page in _linked(ended)),
    ]


def _linked(story: Story) -> list[Page]:
    """The pages of its files with links as long as they come."""
    url = f"https://bucket.s3.eu-west-1.amazonaws.com/key?X-Amz-Security-Token={'t' * 2_000}"
    found = pages(story, raw=True, link_chars=len(url))
    return [replace(page, links={one.key: url for one in page.files}, until=AT) for page in found]


def announcements(words: str) -> list[Message]:
    """Of a room whose service is known, is not, and that is over."""
    room = Room(
        place=Place(channel="C1", channel_name=long(words)),
        at=AT,
        incident="P" * 14,
        title=long(words),
        url="https://acme.pagerduty.com/incidents/" + "P" * 5_000,
    )
    service = Service(name="s" * 31, about=long(words), targets=NAMES, first=("host",) * 20)
    by = Person(id="U1", name=long(words))
    found = []
    for count in (9, 40):
        recipes = [recipe_of(words, n) for n in range(count)]
        choices = [Choice(recipe=one, targets=NAMES) for one in recipes]
        choices += [Choice(recipe=one, targets=NAMES, started=a_capture(), by=by) for one in recipes]
        told = Announcement(
            room=room, service=service, services=(), choices=choices, held={str(n): long(words) for n in range(20)}
        )
        found += [announce(told), announce(replace(told, is_open=False))]
    services = [f"service-{n}" for n in range(60)]
    return [*found, announce(Announcement(room=room, service=None, services=services))]


def offered(words: str, *, choices: int = 0) -> Offered:
    """A cost to agree to, or processes to choose from."""
    trigger = a_trigger("r" * 31, *NAMES, parameters={long(words): long(words)})
    found = tuple(Suggestion(label=long(words, n), parameters={"pid": n}) for n in range(choices))
    return Offered(
        offer_id="1" * 12,
        trigger=trigger,
        recipe_digest="d",
        at=AT,
        cost=long(words) * 5,
        choices=found,
        choices_in_all=900,
    )


def said(words: str) -> list[answers.Answer]:
    """What is said to one person alone."""
    story = story_of(words)
    capture = story.capture
    texts = [
        answers.started(capture, Place(channel="C1")),
        answers.already(capture),
        answers.joined(a_trigger("host", *capture.targets), capture, ago_s=3, thread="https://acme.slack.com/x"),
        answers.compared(story.compared[0], story),
        answers.sent(story, "P" * 14, url="https://acme.pagerduty.com/incidents/P1", new=False),
        answers.status([story] * 20, untold={long(words): long(words)}),
    ]
    several = [offers.offer(offered(words, choices=n)) for n in (0, 10, 90)]
    return [*several, *(answers.Answer(text=text) for text in texts)]


def dialogs(words: str) -> list[dict[str, Any]]:
    """Views of the dialog."""
    recipe = recipe_of(words)
    targets = {name: Target(name=name, local=True, about=long(words, n)) for n, name in enumerate(NAMES)}
    place = Place(channel="C1", channel_name=long(words), thread_ts="1.2")
    draft = modal.Draft(
        place=place, asks_place=True, answers_at="https://hooks.example/", recipe=recipe.name, targets=tuple(targets)
    )
    return [
        modal.form(draft, recipe, targets),
        modal.agreement(offered(words), draft),
        modal.choice(offered(words, choices=90), draft),
        modal.said(long(words), long(words) * 100),
    ]


def homes(words: str) -> list[dict[str, Any]]:
    """The app's Home."""
    recipes: Mapping[str, Recipe] = {one.name: one for one in (recipe_of(words, n) for n in range(40))}
    targets = {name: Target(name=name, local=True) for name in NAMES}
    services = {"s": Service(name="s", about=long(words), targets=tuple(targets), first=tuple(recipes))}
    stories: Sequence[Story] = [story_of(words), story_of(words, state=State.RUNNING)] * 10
    return [
        home.view(
            stories,
            Menu(recipes=recipes, targets=dict.fromkeys(recipes, tuple(targets)), services=services),
            untold={long(words): long(words)},
        ),
        home.trouble(long(words) * 100),
    ]


def is_taken(blocks: Sequence[Mapping[str, Any]]) -> None:
    """Slack takes these blocks in a message, and people see something in each."""
    assert check_blocks(list(blocks), "message") == []
    leaves = [
        [leaf.get("text", leaf.get("fallback", "")) for section in block["elements"] for leaf in section["elements"]]
        for block in blocks
        if block["type"] == "rich_text"
    ]
    assert all("".join(leaf).strip() for leaf in leaves)
    assert sum(len(text) for leaf in leaves for text in leaf) <= BLOCK_CHARS


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_the_largest_messages_are_ones_that_slack_takes(words: str) -> None:
    """The capture's message, its thread, comparisons, its files, the index and announcements: as posts and as edits."""
    for message in messages(words):
        assert 0 < len(message.text) <= EDIT_CHARS
        is_taken(message.blocks)
        assert json.dumps(list(message.blocks)).encode()
        assert "<!channel>" not in message.text


def test_the_largest_messages_are_what_slacks_own_types_allow() -> None:
    """One of each kind; the schema is slow."""
    story = story_of("🔥 <&>")
    shown = [root(story, pagerduty=True), details(story)[0], files(story, _linked(story)[1]), *announcements("🔥")[:1]]

    blocks = [block for message in shown for block in message.blocks]
    assert [error.message for block in blocks for error in slacks_types().iter_errors(block)] == []


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_the_largest_answers_are_ones_that_slack_takes(words: str) -> None:
    """Offers with their confirm dialogs and menus; the others are text alone, of which nothing is cut off."""
    for answer in said(words):
        assert 0 < len(answer.text) <= CUT_CHARS
        assert "<!channel>" not in answer.text
        is_taken(answer.blocks)


@pytest.mark.parametrize("make", [dialogs, homes], ids=["dialog", "home"])
@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_the_largest_views_are_ones_that_slack_takes(make: Callable[[str], list[dict[str, Any]]], words: str) -> None:
    """The dialog in each of its states, and the Home."""
    for view in make(words):
        check_view(view, view["type"])
