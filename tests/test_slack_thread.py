"""The thread in Slack: what it says, how often it is edited, and that it is told once, whatever breaks."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import DeliveryFailed
from bot.model import Artifact, Finding, Level, Offered, Outcome, Place, State, StepResult, Suggestion
from bot.playground.workspace import App, Fault, Message, Workspace
from bot.playground.workspace.blocks import check_blocks
from bot.reporters import slack_files
from bot.reporters.slack import EDIT_PAUSE_S, SlackThread
from bot.reporters.slack_message import Message as Shown
from bot.reporters.slack_message import details, root, size
from bot.reporters.suggestions import picks
from bot.slack.offers import offer
from bot.story import Story
from tests.fakes import ANA, AT, a_capture, a_trigger, an_artifact

MANIFEST = Path(__file__).parent.parent / "manifest.yml"
SCHEMAS = Path(os.environ.get("CAPTUREBOT_SCHEMAS", MANIFEST.parent.parent / "shared/reference/schemas"))
HOG = Finding(level=Level.BAD, text="java (pid 7) uses 390 % CPU", weight=0.9)
LEAK = Finding(level=Level.WARN, text="nginx (pid 9) leaks sockets")


def a_result(step: str = "ps", *findings: Finding, **changes: object) -> StepResult:
    """A step that went well."""
    given_: dict[str, object] = {
        "target": "app-1",
        "step": step,
        "outcome": Outcome.OK,
        "started_at": AT,
        "seconds": 1.0,
        "artifact": an_artifact(f"evidence/{step}.txt"),
        "findings": findings,
    }
    return StepResult(**{**given_, **changes})  # type: ignore[arg-type]  # fields by name


def running(*results: StepResult) -> Story:
    """A story on its way."""
    return Story(capture=a_capture(), state=State.RUNNING, started_at=AT, results=results)


def complete(*results: StepResult) -> Story:
    """A story at its end."""
    manifest = an_artifact("evidence/manifest.json", 900)
    return replace(running(*results), state=State.COMPLETE, ended_at=AT + timedelta(seconds=6), manifest=manifest)


# --- what it says -----------------------------------------------------------------------------


def test_the_first_line_is_the_culprit() -> None:
    """A phone shows the first line; it is all that a tired person needs."""
    first, second, *_ = root(complete(a_result("ps", HOG))).text.splitlines()

    assert first == "🔴 java (pid 7) uses 390 % CPU"
    assert second == "✅ host on app-1: complete in 6.0 s · 1 of 2 steps · 1 finding · asked by ana · abc234"


def test_while_it_runs_it_says_how_to_stop_it() -> None:
    """The cure for a capture that hurts stands in the message itself."""
    assert "Stop it with /capture stop abc234" in root(running()).text


def test_an_interrupted_capture_says_what_was_saved_and_how_to_run_it_again() -> None:
    """Nobody is left guessing after a crash."""
    story = replace(
        running(a_result()),
        state=State.INTERRUPTED,
        ended_at=AT,
        reason="capturebot was ended while this capture ran.",
        saved=(an_artifact("evidence/df.txt"),),
    )

    text = root(story).text

    assert "⚡ host on app-1: interrupted" in text
    assert "2 files kept.\nRun it again: /capture host app-1" in text


def test_the_thread_lists_findings_then_files_then_the_receipt() -> None:
    """Everything that was kept, with its size, and what was masked."""
    lost = a_result("df", outcome=Outcome.LOST, reason="The connection went.", artifact=None)
    (reply,) = details(complete(a_result("ps", HOG, LEAK, masked={"password": 2, "aws-key": 1}), lost))

    assert reply.text.splitlines() == [
        "Findings",
        "🔴 java (pid 7) uses 390 % CPU",
        "⚠️ nginx (pid 9) leaks sockets",
        "",
        "app-1",
        "✅ Processes · ps.txt (12 kB) s3://bucket/evidence/ps.txt",
        "🔌 Disks — connection lost: The connection went.",
        "",
        "🙈 3 secrets of 2 kinds masked (2 password, 1 aws-key)",
        "📦 Everything, with commands and checksums: manifest.json (900 B) s3://bucket/evidence/manifest.json",
    ]


def test_a_link_opens_the_file() -> None:
    """Where the store has an address for browsers, the name is a link."""
    artifact = replace(an_artifact(), url="https://files.example/ps.txt")
    (reply,) = details(running(a_result("ps", artifact=artifact)))

    assert "<https://files.example/ps.txt|ps.txt (12 kB)>" in reply.text
    assert {"type": "link", "url": "https://files.example/ps.txt", "text": "ps.txt (12 kB)"} in reply.blocks[0][
        "elements"
    ][0]["elements"]


def test_markup_in_what_a_host_says_stays_text() -> None:
    """A process called like a mention pings nobody."""
    hostile = Finding(level=Level.BAD, text="<!channel> & <@U1> *x* \x1b[31m", weight=1.0)

    message = root(complete(a_result("ps", hostile)))

    assert message.text.splitlines()[0] == "🔴 &lt;!channel&gt; &amp; &lt;@U1&gt; *x*  [31m"
    assert {element["type"] for element in message.blocks[0]["elements"][0]["elements"]} == {"text"}


@pytest.mark.thorough
@settings(max_examples=50)
@given(
    texts=st.lists(st.text(max_size=5000), max_size=50),
    reason=st.text(max_size=5000),
    targets=st.integers(min_value=1, max_value=60),
)
def test_any_story_fits_into_slacks_limits(texts: Sequence[str], reason: str, targets: int) -> None:
    """Fifty findings of any text on sixty targets, each with something to run next, make valid messages of a bounded size."""
    names = tuple(f"host-{n:02}" for n in range(targets))
    findings = tuple(
        Finding(level=Level.WARN, text=text, next=(Suggestion(label=text, recipe="core", parameters={"app": text}),))
        for text in texts
    )
    results = tuple(a_result("ps", *findings, target=name, reason=reason) for name in names)
    story = replace(complete(*results), capture=a_capture(targets=names), reason=reason)

    for message in (root(story), *details(story)):
        assert 0 < len(message.text) <= 4000
        assert check_blocks(list(message.blocks), "message") == []
        assert json.dumps(message.blocks)


def leads(label: str, recipe: str = "", **parameters: str | int) -> Finding:
    """The hog, with something to run next."""
    return replace(HOG, next=(Suggestion(label=label, recipe=recipe, parameters=parameters),))


def labels(message: Shown) -> list[str]:
    """What the buttons and menus of a message say."""
    elements = [element for block in message.blocks[1:] for element in block["elements"]]
    return [(element.get("text") or element["placeholder"])["text"] for element in elements]


def test_a_running_capture_can_be_stopped_and_an_ended_one_run_again() -> None:
    """And one that is being stopped needs no button for that."""
    stopping = replace(running(), stop_asked_by=ANA)

    assert [labels(root(story)) for story in (running(), stopping, complete())] == [
        ["Stop"],
        [],
        ["Run again", "Get files"],
    ]


def test_what_can_be_done_at_the_end_stands_in_a_row_of_its_own() -> None:
    """No row has more than five; files only where some were kept, PagerDuty only where it is set up."""
    many = [leads(f"Look at {pid}", "threads", pid=pid) for pid in range(9)]
    story = complete(a_result("ps", *many))
    empty = replace(complete(), manifest=None)

    rows = [block["elements"] for block in root(story, pagerduty=True).blocks[1:]]

    assert [len(row) for row in rows] == [5, 3]
    assert labels(root(story, pagerduty=True))[5:] == ["Run again", "Get files", "Send to PagerDuty"]
    assert labels(root(empty)) == ["Run again"]
    assert labels(root(running(a_result("ps", *many)), pagerduty=True))[0] == "Stop"
    assert {element["value"] for element in rows[1]} == {story.capture.id}


def files(story: Story, *, raw: bool = True) -> list[Shown]:
    """Every page of a capture's files."""
    return [slack_files.files(story, page) for page in slack_files.pages(story, raw=raw)]


def in_browser(key: str, **changes: object) -> Artifact:
    """A file with an address that a browser opens."""
    return replace(an_artifact(key), url=f"https://files.example/{key}", **changes)  # type: ignore[arg-type]  # fields by name


def test_every_file_is_listed_with_what_to_know_of_it() -> None:
    """As a link where there is one; what lies on the bot's own disk is said so."""
    kept = [
        in_browser("evidence/ps.txt"),
        in_browser("evidence/core.zst", binary=True, cut=True),
        replace(an_artifact("evidence/df.txt"), url="file:///spool/df.txt", trouble="The store is away."),
        replace(an_artifact("evidence/ss.txt"), url="file:///kept/ss.txt"),
    ]
    (page,) = files(complete(*(a_result(f"s{n}", artifact=one) for n, one in enumerate(kept))))

    assert page.text.splitlines() == [
        "📁 5 files of abc234",
        "• ps.txt (12 kB, aaaaaaaa)",
        "• core.zst (12 kB, aaaaaaaa, cut, not redacted: may hold secrets)",
        "• df.txt (12 kB, aaaaaaaa), on capturebot's own disk until the store takes it: file:///spool/df.txt",
        "• ss.txt (12 kB, aaaaaaaa), on capturebot's own disk: file:///kept/ss.txt",
        "• manifest.json (900 B, aaaaaaaa): s3://bucket/evidence/manifest.json",
    ]
    assert labels(page) == []
    assert {one["text"]: one["url"] for one in spans(page) if one["type"] == "link"} == {
        "ps.txt": "https://files.example/evidence/ps.txt",
        "core.zst": "https://files.example/evidence/core.zst",
    }


def spans(message: Shown) -> list[dict[str, Any]]:
    """What the message's first block shows."""
    found: list[dict[str, Any]] = message.blocks[0]["elements"][0]["elements"]
    return found


def test_links_that_open_for_minutes_stand_where_only_the_asker_sees_them() -> None:
    """Not in the text, which notifications show; and it is said until when they open."""
    story = complete(a_result(artifact=in_browser("evidence/ps.txt")))
    (page,) = slack_files.pages(story, raw=True, link_chars=400)
    links = {one.key: f"https://s3.example/{one.key}?X-Amz-Signature=f00" for one in page.files}

    message = slack_files.files(story, replace(page, links=links, until=AT))

    assert [one["url"] for one in spans(message) if one["type"] == "link"] == list(links.values())
    assert "https://" not in message.text
    assert "⏳ The links open until" in message.text


def test_what_could_not_be_redacted_is_left_out_for_who_may_not_have_it() -> None:
    """And that there is such a file is told."""
    kept = [in_browser("evidence/ps.txt"), in_browser("evidence/core.zst", binary=True)]
    (page,) = files(complete(*(a_result(f"s{n}", artifact=one) for n, one in enumerate(kept))), raw=False)

    assert "core.zst" not in page.text
    assert "🔒 1 file that is not redacted is left out" in page.text


@pytest.mark.parametrize(("link_chars", "count"), [(0, 5), (500, 5), (2_500, 21), (90_000, 61)])
def test_a_page_has_room_for_its_links_however_long_they_are(link_chars: int, count: int) -> None:
    """Those that a machine's role signs are ten times as long as others."""
    results = [a_result(f"s{n}", artifact=in_browser(f"evidence/{n}.txt")) for n in range(60)]

    pages = slack_files.pages(complete(*results), raw=True, link_chars=link_chars)

    assert len(pages) == count
    assert sum(len(page.files) for page in pages) == 61


def test_many_files_are_paged_and_none_is_left_out() -> None:
    """Of several targets each says whose it is."""
    names = tuple(f"app-{n}" for n in range(1, 61))
    results = [a_result("ps", target=name, artifact=in_browser(f"evidence/{name}/ps-{'x' * 60}.txt")) for name in names]
    pages = files(replace(complete(*results), capture=a_capture(targets=names)))

    listed = [line for page in pages for line in page.text.splitlines()[1:]]
    assert [line.split(":")[0] for line in listed[:-1]] == [f"• {name}" for name in names]
    assert "manifest.json" in listed[-1]
    assert [labels(page) for page in pages[:2]] == [["More files"], ["Earlier files", "More files"]]
    assert labels(pages[-1]) == ["Earlier files"]
    assert pages[1].text.startswith(f"📁 61 files of abc234, page 2 of {len(pages)}")
    assert [element["value"] for element in pages[1].blocks[1]["elements"]] == ["abc234 0", "abc234 2"]


def test_a_line_with_many_long_addresses_is_not_lost() -> None:
    """What has no room for its link is named without it."""
    left = tuple(in_browser(f"evidence/{n}/{'x' * 400}/heap-{n}.hprof") for n in range(20))

    messages = details(running(a_result("ps", files=left)))

    assert "heap-0.hprof" in messages[0].text
    assert "heap-19.hprof" in messages[0].text
    assert len(messages[0].text) <= 3000


def test_suggestions_come_worst_first_and_each_once() -> None:
    """Of a finding the cheap one first, as its insight says; five in the channel, all in the thread."""
    mild = replace(leads("Look at its files", "files", pid=7), level=Level.WARN)
    twice = replace(leads("Its files", "files", pid=7), weight=0.1)
    many = [leads(f"Look at {pid}", "threads", pid=pid) for pid in range(5)]

    few = complete(a_result("df", mild), a_result("ps", leads("Look into 7", "threads", pid=7), twice))
    all_of_them = complete(a_result("ps", *many, mild))

    assert labels(root(few)) == ["Look into 7", "Its files", "Run again", "Get files"]
    assert labels(root(all_of_them)) == [*(f"Look at {pid}" for pid in range(5)), "Run again", "Get files"]
    assert labels(details(all_of_them)[0])[5:] == ["Look at its files"]
    assert len(details(few)[0].blocks) == 1


def test_of_several_targets_a_button_says_which() -> None:
    """It runs there alone."""
    capture = a_capture(targets=("app-1", "app-2"))
    story = replace(complete(a_result("ps", leads("Look into 7", "threads", pid=7), target="app-2")), capture=capture)

    assert labels(root(story)) == ["app-2: Look into 7", "Run again", "Get files"]
    assert picks(story)[0].command == "threads app-2 pid=7"


def test_a_choice_of_the_same_recipe_keeps_what_was_asked_for() -> None:
    """Only what the suggestion names is another."""
    capture = a_capture(recipe="threads", parameters={"pid": 0, "every": 3})
    story = replace(complete(a_result("ps", leads("7 java", pid=7))), capture=capture)

    assert picks(story)[0].command == "threads app-1 pid=7 every=3"


def test_what_was_agreed_to_stands_under_the_headline() -> None:
    """Whoever wonders why the service stood still reads it there."""
    story = replace(complete(), capture=a_capture(cost="stops api (pid 7) for about 3 s"))

    assert root(story).text.splitlines()[2] == "⚖️ Agreed to: stops api (pid 7) for about 3 s"


def test_every_message_is_what_slacks_types_allow() -> None:
    """Validated against the schema that is generated from Slack's own types."""
    path = SCHEMAS / "slack-types-3.2.0.blockkit.schema.json"
    if not path.exists():
        pytest.skip("Slack's Block Kit schema is not here; set CAPTUREBOT_SCHEMAS to its folder")
    schema = Draft7Validator({**json.loads(path.read_text()), "$ref": "#/definitions/KnownBlock"})
    trigger = a_trigger("core", parameters={"pid": "7"})
    offered = Offered(offer_id="1", trigger=trigger, recipe_digest="d", at=AT, cost="stops it")
    choices = tuple(Suggestion(label=f"{pid} java", parameters={"pid": pid}) for pid in range(1, 21))
    few, many = (replace(offered, choices=choices[:n], choices_in_all=31) for n in (3, 20))
    stories = [running(), *(complete(a_result("ps", *[leads(f"{n}", pid=n) for n in range(k)])) for k in (0, 5, 9, 40))]
    shown = [message for story in stories for message in (root(story), *details(story))]

    for blocks in [*(list(one.blocks) for one in shown), *(list(offer(one).blocks) for one in (offered, few, many))]:
        assert [error.message for block in blocks for error in schema.iter_errors(block)] == []
        assert check_blocks(blocks, "message") == []


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345, "12 kB"), (5_000_000, "5.0 MB"), (6 * 10**9, "6.0 GB")],
)
def test_sizes_read_like_people_say_them(size_bytes: int, words: str) -> None:
    """Powers of a thousand, two digits."""
    assert size(size_bytes) == words


# --- how it is told ---------------------------------------------------------------------------


class Told:
    """A workspace with one channel, a reporter in it, and a clock that the test moves."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.channel = workspace.add_channel("inc-1042")
        self.seconds = 0.0
        self.memory: dict[str, object] = {}
        self.restart()

    def restart(self, *, later: bool = False) -> None:
        """A new process, which remembers nothing but what is in *memory*."""
        client = AsyncWebClient(token=self.workspace.bot_token, base_url=self.workspace.api_url, retry_handlers=[])
        began = AT + timedelta(hours=1) if later else AT - timedelta(hours=1)
        self.reporter = SlackThread(client, began=began, clock=lambda: self.seconds)

    def here(self, story: Story) -> Story:
        """The story in this channel."""
        return replace(story, capture=replace(story.capture, place=Place(channel=self.channel)))

    async def tell(self, story: Story) -> float | None:
        """One delivery; returns after how long it wants another."""
        delivery = await self.reporter.deliver("abc234", [self.here(story)], self.memory)
        self.memory = dict(delivery.memory)
        return delivery.again_after_s

    @property
    def roots(self) -> list[Message]:
        """The bot's messages in the channel."""
        return [message for message in self.workspace.messages(self.channel) if message.metadata]

    @property
    def replies(self) -> list[Message]:
        """The replies in the first message's thread."""
        return self.workspace.thread(self.channel, self.roots[0].ts)[1:]

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(call.method == method for call in self.workspace.calls)


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    """A reporter in a workspace."""
    async with Workspace(app=App.from_manifest(yaml.safe_load(MANIFEST.read_text()))) as workspace:
        yield Told(workspace)


async def test_a_capture_is_one_message_edited_in_place(told: Told) -> None:
    """The end replaces the beginning; details stand in the thread."""
    await told.tell(running())
    told.seconds += EDIT_PAUSE_S

    assert await told.tell(complete(a_result("ps", HOG))) is None

    (message,) = told.roots
    assert message.text.startswith("🔴 java (pid 7)")
    assert [reply.text.splitlines()[0] for reply in told.replies] == ["app-1"]


def test_the_only_finding_is_not_said_twice() -> None:
    """It is the headline; while the capture runs it stands in the thread too, where no edit has to wait for another."""
    (ended,) = details(complete(a_result("ps", HOG)))
    (runs,) = details(running(a_result("ps", HOG)))

    assert HOG.text in root(complete(a_result("ps", HOG))).text
    assert HOG.text not in ended.text
    assert HOG.text in runs.text


def test_what_is_no_trouble_takes_few_places_beside_the_headline() -> None:
    """Two at most, after what is; all of them stand in the thread."""
    idle = replace(
        HOG,
        level=Level.INFO,
        next=tuple(Suggestion(label=f"Idle {n}", recipe="threads", parameters={"pid": n}) for n in range(5)),
    )
    busy = replace(HOG, next=(Suggestion(label="Busy", recipe="threads", parameters={"pid": 7}),))
    story = complete(a_result("ps", idle, busy))

    (first, *_) = root(story).blocks[1:]
    (menu,) = [block for block in details(story)[0].blocks if block["type"] == "actions"]

    assert [one["text"]["text"] for one in first["elements"]] == ["Busy", "Idle 0", "Idle 1"]
    assert len(menu["elements"]) == 6


async def test_what_is_told_already_is_not_sent_again(told: Told) -> None:
    """A delivery without news calls nothing."""
    story = complete(a_result("ps", HOG))
    await told.tell(story)
    calls = len(told.workspace.calls)

    await told.tell(story)

    assert len(told.workspace.calls) == calls


async def test_a_message_is_edited_no_more_than_once_in_its_pause(told: Told) -> None:
    """A second change too soon is held back, and asked for again."""
    await told.tell(running())

    held_back_s = await told.tell(running(a_result("ps", HOG)))

    assert held_back_s == pytest.approx(EDIT_PAUSE_S)
    assert told.count("chat.update") == 0
    assert told.replies[0].text.startswith("Findings")  # the first finding does not wait for the edit


async def test_progress_leaves_edits_for_news(told: Told) -> None:
    """When edits are short, a changed headline still goes out at once."""
    await told.tell(running())
    for n in range(30):
        told.seconds += EDIT_PAUSE_S
        step = f"s{n}"
        await told.tell(running(*(a_result(step, artifact=None) for _ in range(n + 1))))
    progress_edits = told.count("chat.update")
    told.seconds += EDIT_PAUSE_S

    assert await told.tell(complete(a_result("ps", HOG))) is None
    assert progress_edits < 40


async def test_news_that_had_to_wait_for_their_turn_stay_news(told: Told) -> None:
    """After the pause they go out, though edits are short by then."""
    await told.tell(running(a_result("ps", HOG)))
    for n in range(8):
        told.seconds += EDIT_PAUSE_S
        hog = replace(HOG, text=f"java (pid {n}) uses 390 % CPU")
        await told.tell(running(a_result("ps", hog)))

    held_back_s = await told.tell(running(a_result("ps", replace(HOG, text="the disk is full"))))
    told.seconds += EDIT_PAUSE_S
    again_s = await told.tell(running(a_result("ps", replace(HOG, text="the disk is full"))))

    assert held_back_s == pytest.approx(EDIT_PAUSE_S)
    assert again_s is None
    assert "the disk is full" in told.replies[0].text


async def test_after_a_restart_the_message_is_found_again_by_its_mark(told: Told) -> None:
    """A process that died between posting and remembering does not post twice."""
    await told.tell(running(a_result("ps", HOG)))
    told.memory = {}
    told.restart(later=True)

    await told.tell(complete(a_result("ps", HOG)))

    assert len(told.roots) == 1
    assert len(told.replies) == 1
    assert "complete" in told.roots[0].text


async def test_after_a_restart_a_reply_is_found_again_though_only_its_parent_was_remembered(told: Told) -> None:
    """The process died after the reply was posted; what it remembered is older."""
    await told.tell(running())
    remembered = told.memory
    await told.tell(running(a_result("ps", HOG)))
    told.memory = remembered
    told.restart(later=True)

    await told.tell(complete(a_result("ps", HOG)))

    assert len(told.roots) == len(told.replies) == 1


async def test_an_end_that_could_not_be_remembered_is_not_told_twice(told: Told) -> None:
    """The journal was away for a moment: the same process is asked again with its older memory."""
    await told.tell(complete(a_result("ps", HOG)))
    told.memory = {}

    await told.tell(complete(a_result("ps", HOG)))

    assert len(told.roots) == len(told.replies) == 1


async def test_a_post_whose_answer_was_lost_is_not_repeated(told: Told) -> None:
    """Slack did it and answered 500: the message is looked for before another is posted."""
    told.workspace.fail_next("chat.postMessage", Fault(status=500, after_work=True))
    with pytest.raises(DeliveryFailed) as failure:
        await told.tell(running())

    await told.tell(running())

    assert failure.value.retry_after
    assert len(told.roots) == 1


@pytest.mark.parametrize(
    ("fault", "retry_after"),
    [
        (Fault(status=429, retry_after_s=7), 7.0),
        (Fault(status=500), 5.0),
        (Fault(error="internal_error"), 5.0),
        (Fault(error="invalid_auth"), 60.0),
        (Fault(error="is_archived"), None),
        (Fault(error="channel_not_found"), 30.0),
    ],
)
async def test_each_refusal_says_when_to_try_again(told: Told, fault: Fault, retry_after: float | None) -> None:
    """Retry-After is honoured; what can never work is not tried for ever."""
    told.workspace.fail_next("chat.postMessage", fault)

    with pytest.raises(DeliveryFailed) as failure:
        await told.tell(running())

    assert failure.value.retry_after == retry_after


async def test_a_public_channel_is_joined_when_it_must_be(told: Told) -> None:
    """Somebody captured where nobody invited the bot."""
    told.channel = told.workspace.add_channel("inc-public", members=[])

    await told.tell(running())

    assert len(told.roots) == 1


async def test_a_private_channel_asks_for_an_invitation(told: Told) -> None:
    """The cure is what to type."""
    told.channel = told.workspace.add_channel("inc-secret", private=True, members=[])

    with pytest.raises(DeliveryFailed) as failure:
        await told.tell(running())

    assert "/invite" in failure.value.cure


async def test_a_deleted_message_is_left_deleted(told: Told) -> None:
    """People may remove what the bot said; it does not come back."""
    await told.tell(running())
    client = AsyncWebClient(token=told.workspace.bot_token, base_url=told.workspace.api_url)
    await client.chat_delete(channel=told.channel, ts=told.roots[0].ts)
    told.seconds += EDIT_PAUSE_S

    assert await told.tell(complete(a_result("ps", HOG))) is None
    assert told.roots == []


async def test_unfurling_is_off_and_the_mark_carries_ids_only(told: Told) -> None:
    """A link in a finding is not fetched by Slack; metadata is readable by every app."""
    await told.tell(running())

    (post,) = [call for call in told.workspace.calls if call.method == "chat.postMessage"]
    assert (post.args["unfurl_links"], post.args["unfurl_media"]) == (False, False)
    assert post.args["metadata"] == {
        "event_type": "capturebot",
        "event_payload": {"capture": "abc234", "piece": "root"},
    }


# --- where it is told -------------------------------------------------------------------------


def shown(story: Story, *channels: str) -> Story:
    """The story, told in channels only that its incident was linked to."""
    return replace(
        story, capture=replace(story.capture, place=None), shown=tuple(Place(channel=channel) for channel in channels)
    )


async def test_a_capture_without_a_place_is_not_told_in_slack(told: Told) -> None:
    """One from the terminal, or one that an incident started before it had a channel."""
    delivery = await told.reporter.deliver("abc234", [shown(running())], {})

    assert (delivery.memory, delivery.again_after_s) == ({}, None)
    assert told.count("chat.postMessage") == 0


async def test_a_channel_that_is_linked_later_gets_the_whole_story_once(told: Told) -> None:
    """Also across a restart, and by a process that knows of it from the journal only."""
    delivery = await told.reporter.deliver("abc234", [shown(complete(a_result("ps", HOG)), told.channel)], {})
    told.restart(later=True)
    await told.reporter.deliver("abc234", [shown(complete(a_result("ps", HOG)), told.channel)], delivery.memory)
    told.restart(later=True)
    await told.reporter.deliver("abc234", [shown(complete(a_result("ps", HOG)), told.channel)], {})

    (message,) = told.roots
    assert message.text.startswith("🔴 java (pid 7)")
    assert [reply.text.splitlines()[0] for reply in told.replies] == ["app-1"]


async def test_a_story_is_told_in_every_channel_that_asked_for_it(told: Told) -> None:
    """Each has its own message, and each message its own thread."""
    other = told.workspace.add_channel("inc-1043")
    story = replace(told.here(running()), shown=(Place(channel=other), Place(channel=told.channel)))

    delivery = await told.reporter.deliver("abc234", [story], {})
    told.seconds += EDIT_PAUSE_S
    ended = replace(story, **ends(complete(a_result("ps", HOG))))
    await told.reporter.deliver("abc234", [ended], delivery.memory)

    for channel in (told.channel, other):
        (message,) = [one for one in told.workspace.messages(channel) if one.metadata]
        assert message.text.startswith("🔴 java (pid 7)")
        assert len(told.workspace.thread(channel, message.ts)) == 2


def ends(story: Story) -> dict[str, Any]:
    """What a story's end has beyond its beginning."""
    return {name: getattr(story, name) for name in ("state", "results", "ended_at")}


async def test_a_channel_that_refuses_does_not_silence_the_others(told: Told) -> None:
    """It is told where it can be; what failed is told later."""
    story = told.here(running())
    first = replace(
        story, shown=(Place(channel=told.channel),), capture=replace(story.capture, place=Place(channel="CGONE0001"))
    )

    with pytest.raises(DeliveryFailed) as failed:
        await told.reporter.deliver("abc234", [first], {})

    assert failed.value.retry_after == 30.0
    assert len(told.roots) == 1
