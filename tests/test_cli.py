"""The command line as its user meets it: what it prints, where, and the status it ends with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bot import __version__
from bot.cli import main
from bot.errors import UserError
from bot.model import SecretRef, Target
from bot.oneshot import run_once
from bot.playground.pagerduty import PagerDutyStandIn
from bot.settings import PagerDuty, Settings

pytestmark = [pytest.mark.usefixtures("own_log"), pytest.mark.thorough]

SECRET = "K7#plainly-visible-Zq"
INCIDENT = "PORDERS1042"
STEP = {"title": "A step", "timeout": 5, "limit": "10 kB"}
RECIPE = {"title": "Probe", "about": "For tests.", "for": "host", "impact": "none"}
PARAMETERS = {
    "top": {"type": "integer", "about": "How many.", "default": 5, "minimum": 1, "maximum": 9},
    "word": {"type": "text", "about": "Which.", "default": "", "pattern": "[a-z]{0,9}"},
}
GOOD = {**STEP, "id": "fine", "run": ["echo", "hello", "{top}", "{word}"]}
BAD = {**STEP, "id": "bad", "run": ["false"]}


@dataclass(frozen=True)
class Desk:
    """A folder with a configuration, and the recipes `fine`, `gaps` and `nothing`."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        return self.folder / "capturebot.yml"

    def write(self, name: str, *steps: dict[str, Any]) -> None:
        """A recipe; one with the good step has its parameters."""
        (self.folder / "mine").mkdir(exist_ok=True)
        recipe = {**RECIPE, "steps": list(steps), **({"parameters": PARAMETERS} if GOOD in steps else {})}
        (self.folder / "mine" / f"{name}.yml").write_text(yaml.safe_dump(recipe))

    def type(self, *words: str) -> tuple[int, str, str]:
        """Type a command; its status, standard output and standard error."""
        try:
            status = main(["--config", str(self.config), *words])
        except SystemExit as end:  # argparse's way
            status = int(end.code or 0)
        said = self.capsys.readouterr()
        return status, said.out, said.err


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A configuration as an operator has it, with a secret in the environment."""
    monkeypatch.setenv("DB_PASSWORD", SECRET)
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path, capsys)
    desk.config.write_text(
        yaml.safe_dump(
            {
                "journal": "sqlite:///journal.db",
                "recipes": ["mine"],
                "folder": "artifacts",
                "targets": {
                    "here": {"about": "this machine", "local": True},
                    "db": {"mysql": {"host": "127.0.0.1", "port": 1, "user": "u", "password": "env:DB_PASSWORD"}},
                },
            }
        )
    )
    desk.write("fine", GOOD)
    desk.write("gaps", GOOD, BAD)
    desk.write("nothing", BAD)
    return desk


# --- run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "status", "standing"),
    [
        ("fine", 0, "✅ fine on here: complete · 1 of 1 steps"),
        ("gaps", 3, "🟡 gaps on here: complete, with gaps · 2 of 2 steps"),
        ("nothing", 1, "❌ nothing on here: failed · 1 of 1 steps"),
    ],
)
def test_a_capture_ends_with_the_status_of_its_outcome(desk: Desk, recipe: str, status: int, standing: str) -> None:
    """So that scripts can tell a whole capture from one with gaps and from none."""
    ended, out, err = desk.type("run", recipe, "here")

    assert (ended, err) == (status, "")
    assert standing in out


def test_a_capture_says_where_its_output_lies(desk: Desk) -> None:
    """Each address in one line, however narrow the terminal: it is copied."""
    _, out, _ = desk.type("run", "fine", "here")

    address = next(word for word in out.split() if word.endswith("/here/fine.txt"))
    assert Path(address.removeprefix("file://")).read_text() == "hello 5 \n"


def test_a_capture_can_be_read_by_machines(desk: Desk) -> None:
    """The headline and the findings that people read, each step, times in ISO 8601."""
    _, out, err = desk.type("run", "gaps", "here", "top=3", "--json")

    told = json.loads(out)
    assert err == ""
    assert list(told)[:2] == ["headline", "findings"]
    assert told["headline"] == "Nothing unusual in what could be captured; 1 of 2 steps have gaps"
    assert told["state"] == "partial"
    assert told["capture"]["parameters"] == {"top": 3, "word": ""}
    assert {(result["step"], result["outcome"]) for result in told["results"]} == {("fine", "ok"), ("bad", "failed")}
    assert told["ended_at"][10] == "T"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fin", "here"], "There is no recipe `fin`. Did you mean `fine`?"),
        (["fine", "her"], "There is no target `her`. Did you mean `here`?"),
        (["fine", "db"], "`fine` is for hosts, and `db` is not set up as one. `fine` can capture: `here`."),
        (["fine", "here", "top=10"], "1 to 9"),
        (["fine", "here", "word=$(id);\nx"], "word"),
        (["fine", "here", "word=" + "ä" * 10_000], "word"),
        (["fine", "here", "top=3", "top=4"], "`top` is given twice. Give each parameter once."),
        (["fine", "here", "--incident", INCIDENT], "PagerDuty is not set up."),
        (["help", "fine"], "`help` is not a recipe. `capturebot recipes` lists them."),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_with_the_nearest_right_thing(desk: Desk, words: list[str], message: str) -> None:
    """On standard error, with status 2, in at most a few lines, and nothing is captured."""
    status, out, err = desk.type("run", *words)

    assert (status, out) == (2, "")
    assert message in err
    assert len(err) < 500
    assert not list(desk.folder.glob("artifacts/2*"))


def test_secrets_reach_no_place_that_anybody_reads(desk: Desk) -> None:
    """A host that shows the password of another target, which was never used since the bot began."""
    (desk.folder / "leak.txt").write_text(f"connecting with {SECRET} and postgres://bob:{SECRET}@db/\n")
    leak = {**STEP, "id": "leak", "run": ["cat", str(desk.folder / "leak.txt")]}
    complaint = {**STEP, "id": "complaint", "run": ["cat", f"/nowhere/{SECRET}"]}
    desk.write("leak", leak, complaint)

    status, out, err = desk.type("run", "leak", "here")
    json_status, json_out, json_err = desk.type("run", "leak", "here", "--json")

    assert (status, json_status) == (3, 3)
    kept = [path for place in ("artifacts/**/*", "journal.db*") for path in desk.folder.glob(place) if path.is_file()]
    assert len(kept) >= 7
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in out + err + json_out + json_err
    assert json.loads(json_out)["results"][0]["masked"] or json.loads(json_out)["results"][1]["masked"]


def test_a_host_cannot_paint_the_readers_terminal(desk: Desk) -> None:
    """Control characters in what it says are shown as blanks."""
    desk.write("paint", {**STEP, "id": "paint", "run": ["sh", "-c", "printf '\\033[2Jgone\\n' >&2; exit 1"]})

    _, out, _ = desk.type("run", "paint", "here")

    assert "[2Jgone" in out
    assert "\033" not in out


def test_without_any_configuration_this_machine_can_be_captured(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing a newcomer tries."""
    (desk.folder / "empty").mkdir()
    monkeypatch.chdir(desk.folder / "empty")
    monkeypatch.delenv("CAPTUREBOT_CONFIG", raising=False)

    assert main(["targets"]) == 0
    assert main(["run", "no-such-recipe", "here"]) == 2

    said = desk.capsys.readouterr()
    assert "host" in said.out.removeprefix("here: ").strip().split(", ")
    assert said.err.startswith("There is no recipe `no-such-recipe`.")


# --- a cost to agree to -------------------------------------------------------------------------


def dear(desk: Desk, *said: str) -> None:
    """The recipe `dear`, whose cost script says *said*."""
    script = "#!/usr/bin/env bash\n" + "".join(f"printf '%b\\n' '{line}'\n" for line in said)
    (desk.folder / "mine/dear-cost.sh").write_text(script)
    cost = {"script": "dear-cost.sh", "timeout": 5}
    recipe = {**RECIPE, "impact": "pauses", "cost": cost, "parameters": PARAMETERS, "steps": [GOOD]}
    (desk.folder / "mine/dear.yml").write_text(yaml.safe_dump(recipe))


def test_a_cost_is_said_and_must_be_agreed_to(desk: Desk) -> None:
    """Where nobody can be asked, nothing runs."""
    dear(desk, "what=api (pid 7)", "pause_s=3")

    status, out, err = desk.type("run", "dear", "here")

    assert (status, err) == (2, "Somebody must agree to that. Repeat it with --yes.\n")
    assert out == "⚖️ dear on here: stops api (pid 7) for about 3 s.\n"
    assert not (desk.folder / "artifacts").exists()


def test_yes_agrees_to_a_cost_beforehand(desk: Desk) -> None:
    """The story says what was agreed to; in JSON too, whose stream stays JSON."""
    dear(desk, "what=api (pid 7)", "pause_s=3")

    status, out, _ = desk.type("run", "dear", "here", "--yes")
    told = json.loads(desk.type("run", "dear", "here", "--yes", "--json")[1])

    assert status == 0
    assert "⚖️ Agreed to: stops api (pid 7) for about 3 s" in out
    assert told["capture"]["cost"] == "stops api (pid 7) for about 3 s"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            ["writes_bytes=9000", "free_bytes=1000"],
            "here: It would write about 9.0 kB to the disk, where 1.0 kB are free",
        ),
        (["refuse=There is no gdb here."], "here: There is no gdb here."),
        (["hello"], "What this costs on here could not be measured: its script said nothing of it."),
        (
            ["### candidates at=2026-11-23T00:00:00+00:00 number=2", r"pid\tapp", r"7\tapi", r"8\tother"],
            "2 processes match. Name one with pid=…:\n  7 api\n  8 other",
        ),
    ],
)
def test_what_cannot_be_agreed_to_is_refused_in_any_case(desk: Desk, said: list[str], message: str) -> None:
    """`--yes` answers a question; it overrules nothing."""
    dear(desk, *said)

    status, _, err = desk.type("run", "dear", "here", "--yes")

    assert status == 2
    assert err.startswith(message)
    assert not (desk.folder / "artifacts").exists()


# --- run --incident ---------------------------------------------------------------------------


def with_pagerduty(desk: Desk, pagerduty: PagerDutyStandIn) -> Settings:
    """Settings that name the stand-in; its token comes from the environment that `capture` gives."""
    return Settings(
        targets={"here": Target(name="here", local=True)},
        journal="sqlite://",
        folder=desk.folder / "artifacts",
        recipes=(desk.folder / "mine",),
        pagerduty=PagerDuty(token=SecretRef("env:PD"), sender=pagerduty.sender, api_url=pagerduty.api_url),
    )


async def capture(desk: Desk, pagerduty: PagerDutyStandIn, *, incident: str, token: str) -> int:
    """`capturebot run fine here --incident INCIDENT`."""
    return await run_once(
        with_pagerduty(desk, pagerduty),
        environ={"PD": token},
        base=desk.folder,
        command=["fine", "here"],
        incident=incident,
        as_json=False,
    )


async def test_a_capture_for_an_incident_is_told_in_its_note(desk: Desk) -> None:
    """However it was named, its id names the folder of the evidence."""
    async with PagerDutyStandIn() as pagerduty:
        pagerduty.add_incident(INCIDENT, 1042, "Orders are slow", "Orders")

        status = await capture(desk, pagerduty, incident="1042", token=pagerduty.token)

        (note,) = pagerduty.notes(INCIDENT)
    out = desk.capsys.readouterr().out
    assert status == 0
    assert f"/{INCIDENT}/" in out
    assert "In the PagerDuty note" in out
    assert "Probe of here: complete" in note["content"]


async def test_the_evidence_does_not_wait_for_pagerduty(desk: Desk) -> None:
    """A token that is refused costs the note, and that is said; the capture is as good as ever."""
    async with PagerDutyStandIn() as pagerduty:
        pagerduty.add_incident(INCIDENT, 1042, "Orders are slow", "Orders")

        status = await capture(desk, pagerduty, incident=INCIDENT, token="expired")

        assert pagerduty.notes(INCIDENT) == []
    out = desk.capsys.readouterr().out
    assert status == 0
    assert "PagerDuty does not take the token (401)." in out
    assert "The capture does not wait for it." in out
    assert "The PagerDuty note could not be written" in out
    assert list(desk.folder.glob(f"artifacts/*/*/*/{INCIDENT}/*/here/fine.txt"))


async def test_an_incident_that_is_not_there_is_refused(desk: Desk) -> None:
    """It was mistyped, which is mended at once."""
    async with PagerDutyStandIn() as pagerduty:
        with pytest.raises(UserError, match="PagerDuty has no incident PNOWHERE"):
            await capture(desk, pagerduty, incident="PNOWHERE", token=pagerduty.token)


# --- the other commands -----------------------------------------------------------------------


def test_good_files_check_out(desk: Desk) -> None:
    """In one line."""
    assert desk.type("check") == (0, "capturebot.yml and all recipes are in order.\n", "")


def test_broken_files_are_told_by_place_and_cure(desk: Desk) -> None:
    """All of them at once."""
    desk.config.write_text("folder: x\nrecipes: [mine]\ntargets:\n  here: {locl: true}\n")
    (desk.folder / "mine/fine.yml").write_text("title: [\n")

    status, out, err = desk.type("check")

    assert (status, out) == (1, "")
    assert f"{desk.config}:4: targets.here.locl" in err
    assert "did you mean `local`" in err


def test_a_wrong_configuration_starts_nothing(desk: Desk) -> None:
    """Every command that needs it says the same, with status 2."""
    desk.config.write_text("folder: x\nfoldre: y\ntargets: {here: {local: true}}\n")

    answers = [desk.type(*words) for words in (["serve"], ["run", "fine", "here"], ["targets"], ["doctor"])]

    assert {(status, out) for status, out, _ in answers} == {(2, "")}
    assert all(f"{desk.config}:2: foldre" in err for _, _, err in answers)


def test_a_configuration_that_is_not_there_is_named(desk: Desk) -> None:
    """Also where it comes from the environment."""
    desk.config.unlink()

    status, _, err = desk.type("run", "fine", "here")

    assert status == 2
    assert str(desk.config) in err


def test_a_service_needs_slack(desk: Desk) -> None:
    """Without it there is `run`."""
    status, _, err = desk.type("serve")

    assert (status, err) == (2, "There is no `slack:` in the configuration. Add it, or use `capturebot run`.\n")


def test_a_secret_that_is_missing_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its reference, before anything is captured."""
    monkeypatch.delenv("DB_PASSWORD")
    store = {"bucket": "evidence", "access_key": "env:S3_KEY_NOBODY_SET", "secret_key": "env:DB_PASSWORD"}
    written = {**yaml.safe_load(desk.config.read_text()), "s3": store}
    del written["folder"]
    desk.config.write_text(yaml.safe_dump(written))

    status, out, err = desk.type("run", "fine", "here")

    assert (status, out) == (2, "")
    assert "S3_KEY_NOBODY_SET is not set" in err


def test_a_journal_that_cannot_be_opened_is_said(desk: Desk) -> None:
    """Nothing can be promised without it."""
    written = {**yaml.safe_load(desk.config.read_text()), "journal": "sqlite:////nowhere/at/all.db"}
    desk.config.write_text(yaml.safe_dump(written))

    status, out, err = desk.type("run", "fine", "here")

    assert (status, out) == (2, "")
    assert err.startswith("The journal cannot be")


def test_recipes_and_targets_are_listed(desk: Desk) -> None:
    """With their cost, and with what fits what."""
    _, recipes, _ = desk.type("recipes")
    _, targets, _ = desk.type("targets")

    assert "fine — Probe (no load on the target)\n    fine: A step\n" in recipes
    database, machine = targets.splitlines()
    assert {"db", "locks"} <= set(database.removeprefix("db: ").split(", "))
    assert machine.startswith("here — this machine: ")
    assert {"fine", "gaps", "host", "nothing"} <= set(machine.partition(": ")[2].split(", "))


def test_a_capture_is_marked_good_and_the_next_is_compared_with_it(desk: Desk) -> None:
    """By itself, when it ends, and again when somebody asks."""
    queue = desk.folder / "queue.txt"
    desk.write("queue", {**STEP, "id": "queue", "run": ["cat", str(queue)]})
    ids = []
    for jobs in (3, 90):
        queue.write_text(f"### queue at=2026-11-23T00:40:00+00:00\njobs {jobs}\n")
        _, told, _ = desk.type("run", "queue", "here")
        ids.append(told.splitlines()[1].rpartition(" ")[2])
        marked = desk.type("good", ids[0])

    compared = desk.type("compare", *ids)

    assert marked[0] == 0
    assert marked[1].startswith(f"👍 {ids[0]} is good, said ")
    assert f"🔎 Since {ids[0]} (" in told
    assert "• Queue jobs: 3 → 90 (30 times)" in told
    assert compared[0] == 0
    assert compared[1].endswith("Queue jobs: 3 → 90 (30 times)\n")
    assert desk.type("compare", "a", "b", "c")[0] == 2
    assert desk.type("good", "zzz")[0] == 2


@pytest.mark.parametrize("what", ["recipe", "config"])
def test_a_schema_is_printed_for_editors(desk: Desk, what: str) -> None:
    """As valid JSON Schema, also without any configuration."""
    desk.config.unlink()

    status, out, _ = desk.type("schema", what)

    assert status == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(out))


def test_versions_and_help_are_at_hand(desk: Desk) -> None:
    """And a command that is not there is answered with those that are."""
    assert desk.type("--version") == (0, f"capturebot {__version__}\n", "")
    assert "keep the evidence" in desk.type("--help")[1].lower()
    assert "name=value" in desk.type("run", "--help")[1]
    assert "'serve'" in desk.type("sreve")[2]
    assert desk.type()[0] == 2
    assert "write it as HOST:PORT" in desk.type("serve", "--web", "8080")[2]
