"""`capturebot serve` as a process of its own, on everything real that the playground has: the whole way of a capture."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import pytest_asyncio
import yaml

from bot.errors import UserError
from bot.playground.estate import INCIDENT, Estate, bot, estate
from bot.playground.load import sysbench
from bot.playground.pagerduty import Fault as PagerDutyFault
from bot.playground.workspace import Fault
from tests.faults import until
from tests.secrets_corpus import corpus

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

END_S = 60.0  # for a capture to be told to its end
ANSWER_S = 10.0
ENDS = ("✅", "🟡", "❌", "✋", "⚡")
HOSTILE = "<!channel> *bold* `code` <https://evil.example|click> &amp; \u202egnihton :tada: $(id); x"
STEP = {"title": "A step", "timeout": 20, "limit": "5 MB"}
HEAD = {"title": "Probe", "about": "For tests.", "for": "host", "impact": "none"}

numbers = count(1)


@dataclass
class Scene:
    """A channel of its own with somebody in it, in a workspace with a bot at work."""

    here: Estate
    channel: str
    incident: str

    @classmethod
    def open(cls, here: Estate) -> Self:
        """A new channel and an incident that fits it."""
        number = next(numbers)
        here.pagerduty.add_incident(incident := f"PINCIDENT{number}", 2000 + number, "Orders are slow", "Orders")
        return cls(here, here.workspace.add_channel(f"inc-{number}"), incident)

    async def type(self, text: str) -> str:
        """Type `/capture TEXT`; what only the asker sees."""
        workspace, user = self.here.workspace, self.here.user
        seen = len(workspace.ephemerals(self.channel, user))
        answer = await workspace.command(self.channel, user, f"/capture {text}")
        assert answer.acked_after_s is not None, answer.error
        said = await workspace.wait_for(lambda: workspace.ephemerals(self.channel, user)[seen:], ANSWER_S)
        return said[0].text

    async def begin(self, text: str) -> str:
        """Type it; the id of the capture that was accepted."""
        said = await self.type(text)
        assert said.startswith("🕓"), said
        return said.split("`")[1]

    async def capture(self, text: str) -> list[str]:
        """Type it and wait for the end; the texts of the thread, the channel's own message first."""
        return await self.end(await self.begin(text))

    async def end(self, capture_id: str, last: str = "manifest.json") -> list[str]:
        """The thread of a capture, once it is told to its end and *last* stands in its last message."""

        def ended() -> list[str]:
            thread = self.thread(capture_id)
            told = thread and thread[0].splitlines()[1].startswith(ENDS)
            return thread if told and last in thread[-1] else []

        return await self.here.workspace.wait_for(ended, END_S)

    def thread(self, capture_id: str) -> list[str]:
        """What is told of a capture so far."""
        for message in self.here.workspace.messages(self.channel):
            if message.text.splitlines()[1:2] and message.text.splitlines()[1].endswith(capture_id):
                return [one.text for one in self.here.workspace.thread(self.channel, message.ts)]
        return []

    async def note(self, *words: str) -> str:
        """The incident's only note, once it holds *words*."""

        def told() -> bool:
            notes = self.here.pagerduty.notes(self.incident)
            return len(notes) == 1 and all(word in notes[0]["content"] for word in words)

        await self.here.pagerduty.wait_for(told, END_S)
        content: str = self.here.pagerduty.notes(self.incident)[0]["content"]
        return content

    async def manifest(self, thread: list[str]) -> dict[str, Any]:
        """The manifest of a capture, with every object that it names read back and measured."""
        keys = [key for key in await self.here.objects.keys() if f"/{id_of(thread)}/" in key]
        (key,) = [key for key in keys if key.endswith("/manifest.json")]
        manifest: dict[str, Any] = json.loads(await self.here.objects.text(key))
        said = [step["artifact"] for step in manifest["steps"] if step["artifact"]]
        assert sorted([key, *(artifact["key"] for artifact in said)]) == sorted(keys)
        for artifact in said:
            found = await self.here.objects.read_back(artifact["key"])
            assert (found.sha256, found.size_bytes) == (artifact["sha256"], artifact["size_bytes"])
        return manifest


def id_of(thread: list[str]) -> str:
    """The capture's id, which ends the second line."""
    return thread[0].splitlines()[1].rpartition(" ")[2].strip("`")


def lay_out(here: Estate) -> None:
    """Targets of which each has one thing wrong, and recipes that show what nobody should see."""
    config = yaml.safe_load(here.config.read_text())
    ssh, mysql = config["targets"]["app-1"]["ssh"], config["targets"]["orders-db"]["mysql"]
    (here.folder / "none").write_text("")
    config["targets"] |= {
        "down": {"ssh": {**ssh, "port": 1}},
        "stranger": {"ssh": {**ssh, "known_hosts": str(here.folder / "none")}},
        "locked": {"mysql": {**mysql, "password": "env:WRONG_PASSWORD"}},
    }
    here.environ["WRONG_PASSWORD"] = "not-the-password-4711"
    config["recipes"] = ["mine"]
    config["limits"] = {"cooldown_s": 0}  # the same is asked for again and again
    here.config.write_text(yaml.safe_dump(config))
    (here.folder / "mine").mkdir()
    planted = b"\n".join(one.text for one in corpus())
    known = "\n".join(here.environ.values()).encode()
    (here.folder / "planted.txt").write_bytes(planted + b"\n" + known + b"\n")
    (here.folder / "mine/secrets.sh").write_text(
        f"cat {here.folder}/planted.txt\necho 'login with {here.environ['S3_SECRET_KEY']} failed' >&2\nexit 3\n"
    )
    (here.folder / "mine/hostile.sh").write_text(f"cat >&2 <<'EOF'\n{HOSTILE}\nEOF\nexit 1\n")
    steps: Mapping[str, dict[str, Any]] = {
        "secrets": {"script": "secrets.sh"},
        "hostile": {"script": "hostile.sh"},
        "slow": {"run": ["sleep", "3"]},
        "quick": {"run": ["uptime"]},
    }
    for name, how in steps.items():
        (here.folder / f"mine/{name}.yml").write_text(yaml.safe_dump({**HEAD, "steps": [{**STEP, "id": name, **how}]}))


@asynccontextmanager
async def all_of_it(folder: Path) -> AsyncIterator[Estate]:
    """Everything but the bot, with more targets and recipes; skips where something cannot be had."""
    try:
        async with estate(folder, port=0) as here:
            if here.missing:
                raise here.missing[0]
            lay_out(here)
            yield here
    except UserError as missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def at_work(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    """The bot at work on all of it."""
    async with all_of_it(tmp_path_factory.mktemp("serve")) as here, bot(here):
        yield here


@pytest_asyncio.fixture(loop_scope="module")
async def scene(at_work: Estate) -> Scene:
    """A channel of the test's own."""
    return Scene.open(at_work)


# --- what works -------------------------------------------------------------------------------


async def test_a_host_is_captured_over_ssh(scene: Scene) -> None:
    """Every step is kept, with its checksum, and told in the thread."""
    thread = await scene.capture("host app-1")

    manifest = await scene.manifest(thread)
    assert "✅ host on app-1: complete" in thread[0]
    assert [step["outcome"] for step in manifest["steps"]] == ["ok"] * 8
    assert {step["target"] for step in manifest["steps"]} == {"app-1"}
    assert manifest["capture"]["who"]["name"] == "ana"


async def test_two_targets_are_captured_at_once(scene: Scene) -> None:
    """In one message, each with its own files; of the first line's culprit it is said where."""
    thread = await scene.capture("host app-1,here")

    manifest = await scene.manifest(thread)
    assert "✅ host on app-1, here: complete" in thread[0]
    assert "16 of 16 steps" in thread[0]
    assert {step["target"] for step in manifest["steps"]} == {"app-1", "here"}


async def test_a_channel_can_be_linked_before_its_captures(scene: Scene) -> None:
    """The incident then names the folder, too."""
    assert (await scene.type(f"link {scene.incident}")).startswith("🔗")

    thread = await scene.capture("quick here")

    note = await scene.note("Probe of here: complete", "manifest.json")
    assert f"/{scene.incident}/" in note
    assert "In the PagerDuty note" in thread[-1]


async def test_a_channel_can_be_linked_after_its_captures(scene: Scene) -> None:
    """They are told in the note all the same, and the thread says so."""
    thread = await scene.capture("quick here")

    await scene.type(f"link https://example.pagerduty.com/incidents/{scene.incident}")

    assert "/adhoc/" in await scene.note("Probe of here: complete", "manifest.json")
    await scene.end(id_of(thread), "In the PagerDuty note")


async def test_the_first_line_names_whoever_loads_the_database(scene: Scene) -> None:
    """While a benchmark runs it says so; another load is named instead; without any the line is gone."""
    database = scene.here.database
    assert database
    async with sysbench(database, threads=4, user="bench"):
        with_benchmark = await scene.capture("db orders-db")
    async with sysbench(database, threads=4, user="reporting"):
        with_another = await scene.capture("db orders-db")
    without = await scene.capture("db orders-db")

    assert with_benchmark[0].startswith("🔴 bench from 127.0.0.1 is running a benchmark (sysbench) on orders: ")
    assert "4 connections took " in with_benchmark[0]
    assert "reporting from 127.0.0.1" in with_another[0]
    assert "bench from" not in with_another[0]
    assert "sysbench" not in without[0]
    assert "from 127.0.0.1" not in without[0]


async def test_the_platform_sees_health_readiness_and_counts(scene: Scene) -> None:
    """Over HTTP, as it is configured."""
    await scene.capture("quick here")

    web = yaml.safe_load(scene.here.config.read_text())["web"]
    async with httpx.AsyncClient(base_url=f"http://{web}") as platform:
        answers = {path: await platform.get(path) for path in ("/healthz", "/readyz", "/metrics")}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    assert 'capturebot_captures_accepted_total{recipe="quick"}' in answers["/metrics"].text
    assert 'capturebot_captures_ended_total{state="complete"}' in answers["/metrics"].text


# --- targets that are not well ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("quick down", "127.0.0.1"),
        ("quick stranger", "is not in "),
        ("db locked", "refused the account capture"),
    ],
    ids=["nobody listens", "unknown host key", "wrong password"],
)
async def test_a_target_that_cannot_be_reached_says_why(scene: Scene, asked: str, reason: str) -> None:
    """In the first line, with the cure; no secret is in it."""
    thread = await scene.capture(asked)

    assert thread[0].startswith("❌ Nothing could be captured: ")
    assert reason in thread[0].splitlines()[0]
    assert "4711" not in "".join(thread)


async def test_a_database_that_hangs_is_given_up(scene: Scene) -> None:
    """It takes connections and says nothing; that is told, and the capture ends."""
    database = scene.here.database
    assert database
    os.kill(database.pid, signal.SIGSTOP)
    try:
        thread = await scene.capture("db orders-db")
    finally:
        os.kill(database.pid, signal.SIGCONT)

    assert thread[0].startswith("❌ Nothing could be captured: orders-db ")
    assert "within" in thread[0].splitlines()[0]


async def test_a_sick_target_does_not_hold_up_the_healthy_one(scene: Scene) -> None:
    """What could be captured is captured."""
    thread = await scene.capture("quick down,here")

    manifest = await scene.manifest(thread)
    assert "🟡 quick on down, here: complete, with gaps" in thread[0]
    assert {step["target"]: step["outcome"] for step in manifest["steps"]} == {"down": "failed", "here": "ok"}


# --- services that are not well ---------------------------------------------------------------


async def test_slack_that_refuses_in_the_middle_gets_the_end_all_the_same(scene: Scene) -> None:
    """Too many requests, then errors of its own, for posts and for edits: one message, told to its end."""
    workspace = scene.here.workspace
    capture_id = await scene.begin("slow here")
    await workspace.wait_for(lambda: workspace.messages(scene.channel), ANSWER_S)
    workspace.fail_next("chat.update", Fault(status=429, retry_after_s=1))
    workspace.fail_next("chat.update", Fault(status=500))
    workspace.fail_next("chat.postMessage", Fault(status=500, after_work=True))
    workspace.fail_next("chat.postMessage", Fault(status=429, retry_after_s=1))

    thread = await scene.end(capture_id)

    assert "✅ slow on here: complete" in thread[0]
    assert len(workspace.messages(scene.channel)) == 1
    assert len(thread) == len(set(thread))


async def test_pagerduty_that_limits_requests_gets_the_note_later(scene: Scene) -> None:
    """A 429 is waited out."""
    await scene.type(f"link {scene.incident}")
    scene.here.pagerduty.fail(PagerDutyFault(status=429, headers={"ratelimit-reset": "1"}, method="POST"))

    await scene.capture("quick here")

    assert await scene.note("Probe of here: complete")


async def test_pagerduty_that_refuses_is_told_in_the_thread(scene: Scene) -> None:
    """With the cure; the capture itself is as good as ever."""
    await scene.type(f"link {scene.incident}")
    scene.here.pagerduty.wrong_region = True

    thread = await scene.capture("quick here")
    await scene.here.workspace.wait_for(lambda: "PagerDuty" in scene.thread(id_of(thread))[0], END_S)
    scene.here.pagerduty.wrong_region = False

    assert "✅ quick on here: complete" in thread[0]
    assert "does not take the token (401)" in scene.thread(id_of(thread))[0]


async def test_s3_that_refuses_is_told_in_the_thread(tmp_path: Path) -> None:
    """A wrong secret key: what refused, and what to correct; the capture still ends and is told."""
    async with all_of_it(tmp_path) as here:
        here.environ["S3_SECRET_KEY"] = "wrong-key-4713"
        async with bot(here):
            scene = Scene.open(here)
            told = "\n".join(await scene.capture("quick here"))

        log = (here.folder / "bot.log").read_text()
    assert "The secret key does not fit the access key. Put its own where s3.secret_key points;" in told
    assert "✅ quick on here: complete in" not in told
    assert "4713" not in told + log


# --- hostile input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("hots app-1", "There is no recipe `hots`. Did you mean `host`?"),
        ("host ap-1", "There is no target `ap-1`. Did you mean `app-1`?"),
        ("db app-1", "`db` is for MySQL and MariaDB servers, and `app-1` is not set up as one."),
        ("db orders-db tpo=5", "tpo"),
        ("db orders-db top=100000", "top"),
        ("db orders-db top=$(id)", "top"),
        ("host app-1;id", "There is no target `app-1;id`."),
        ("host $(id)", "There is no target `$(id)`."),
        ("host <!channel>", "There is no target `&lt;!channel&gt;`."),
        ("host “app-1", "A quotation mark is never closed."),
        ("host 🦆\u202e\u200b", "There is no target"),
        ("host " + "a" * 10_000, "10,005 characters; a command has at most 2,000"),
        ("stop zzzzzz", "There is no running capture `zzzzzz`."),
        ("link no/such", "`no/such` is not a PagerDuty incident."),
        ("link PNOWHERE99", "PagerDuty has no incident PNOWHERE99."),
        ("help nothing", "There is no recipe `nothing`."),
    ],
    ids=lambda text: text[:24],
)
async def test_what_is_typed_wrong_is_answered_to_the_asker_alone(scene: Scene, text: str, answer: str) -> None:
    """With what is wrong and the nearest right thing; the channel sees nothing."""
    said = await scene.type(text)

    assert said.startswith("❌ ")
    assert answer in said
    assert len(said) < 600
    assert scene.here.workspace.messages(scene.channel) == []


async def test_what_a_host_says_is_shown_and_not_obeyed(scene: Scene) -> None:
    """Nobody is called, nothing is linked, nothing is printed backwards."""
    thread = await scene.capture("hostile here")

    told = "\n".join(thread)
    assert "&lt;!channel&gt; *bold*" in told
    assert "<!channel>" not in told
    assert "<https://evil.example" not in told
    assert "\u202e" not in told


async def test_planted_secrets_are_gone_everywhere(scene: Scene) -> None:
    """From the thread, the objects, the note, the log and the journal; what stood around them stays."""
    await scene.type(f"link {scene.incident}")
    thread = await scene.capture("secrets app-1,here")

    note = await scene.note("Probe of app-1, here")
    await scene.manifest(thread)
    here = scene.here
    stored = [await here.objects.text(key) for key in await here.objects.keys() if f"/{id_of(thread)}/" in key]
    files = [path.read_bytes() for path in here.folder.glob("journal.db*") if path.is_file()]
    places = {
        "thread": "\n".join(thread).encode(),
        "objects": "\n".join(stored).encode(),
        "note": note.encode(),
        "log": (here.folder / "bot.log").read_bytes(),
        "journal": b"\n".join(files),
    }
    planted = [(one.format, one.secret) for one in corpus()]
    planted += [(name, value.encode()) for name, value in here.environ.items()]
    assert [(name, place) for name, secret in planted for place, text in places.items() if secret in text] == []
    assert re.search(r"[0-9]+ secrets of [0-9]+ kinds masked", thread[-1])
    assert sum(text.count("[masked:") for text in stored) > len(planted)


# --- the end ----------------------------------------------------------------------------------


async def test_a_stop_signal_lets_captures_end_and_tells_them(tmp_path: Path) -> None:
    """SIGTERM in the middle: nothing more is taken in, the capture completes, the thread says so, status 0."""
    async with all_of_it(tmp_path) as here, bot(here) as process:
        scene = Scene.open(here)
        await scene.type(f"link {INCIDENT}")
        capture_id = await scene.begin("slow here")

        process.terminate()
        thread = await scene.end(capture_id)
        await until(lambda: process.returncode is not None, within_s=END_S)

    assert "✅ slow on here: complete" in thread[0]
    assert process.returncode == 0
