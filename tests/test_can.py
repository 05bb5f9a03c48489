"""`capturebot can`: the answer for somebody, and what each rule says to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bot.cli import main
from bot.errors import UserError
from bot.model import Membership, Verb
from bot.permission.explaining import Question, explain
from bot.playground.workspace import App, Fault, Workspace
from bot.settings import load

pytestmark = pytest.mark.thorough

MANIFEST = Path(__file__).parent.parent / "manifest.yml"
CONFIG = """
folder: ./artifacts
targets:
  web-1: {local: true, labels: {env: prod}}
  web-2: {local: true, labels: {env: prod, pci: "yes"}}
policy:
  rules:
    - {name: on call, allow: [capture], who: ["@oncall"], channels: ["inc-*", C0WAR]}
    - {name: no dumps of card data, deny: [capture], recipes: [core, java-heap], labels: {pci: "yes"}}
    - {name: cores are approved, approval: {minutes: 10}, recipes: [core]}
    - {name: leads, allow: [approve], who: ["@leads"]}
"""


@dataclass
class Terminal:
    """What a command prints, and its exit status."""

    config: Path
    capsys: pytest.CaptureFixture[str]

    def type(self, line: str) -> tuple[int, str]:
        """Run `capturebot can …`."""
        status = main(["--config", str(self.config), "can", *line.split()])
        said = self.capsys.readouterr()
        return status, said.out + said.err


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A configuration without Slack."""
    path = tmp_path / "capturebot.yml"
    path.write_text(CONFIG)
    return Terminal(path, capsys)


def test_every_rule_is_named_with_what_it_says(terminal: Terminal) -> None:
    """In the order of the file; those that are about something else, too."""
    status, said = terminal.type("U1 core web-2 --in @oncall --channel inc-1042")

    assert status == 1
    assert said.splitlines() == [
        "May U1 (member, in @oncall) capture core on web-2? no. The rule `no dumps of card data` (line 9) denies it.",
        "  allow    `on call` (line 8): matches",
        "  deny     `no dumps of card data` (line 9): matches",
        "  approval `cores are approved` (line 10): matches",
        "  allow    `leads` (line 11): does not say who may capture",
    ]


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("U1 host web-1 --as member", 0, "yes. No rule speaks against it."),
        ("U1 core web-1 --in @oncall", 3, "once somebody else approves."),
        ("U1 java-heap web-1 pid=812 --in @oncall --channel C0WAR", 0, "The rule `on call` (line 8) allows it."),
        ("U1 java-heap web-1 pid=812 --in @oncall --channel #inc-1", 0, "The rule `on call`"),
        (
            "U1 java-heap web-1 pid=812 --in @oncall --channel random",
            1,
            "it is asked in #random, not in inc-* or C0WAR",
        ),
        ("U1 java-heap web-1 pid=812 --in @leads --channel C0WAR", 1, "does not match: U1 is not in @oncall"),
        ("U1 core web-1 --as guest", 1, "no. U1 is a guest in this workspace."),
        ("U1 core web-1 --as operator", 0, "holds the bot's own keys"),
        (
            "U1 core web-1 --verb approve --in @leads",
            0,
            "May U1 (member, in @leads) approve captures core on web-1? yes.",
        ),
        ("U1 core web-1 --verb stop --as member", 0, "yes."),
        ("U1 --verb note --as member", 0, "May U1 (member) write to the incident? yes."),
        (
            "U1 core web-1,web-2 --in @oncall",
            1,
            "May U1 (member, in @oncall) capture core on web-1? once somebody else",
        ),
        ("U1 core web-1 --in @oncall", 3, "Some rules go by channels, and none was named: see --channel."),
        ("U1 cor web-1 --as member", 2, "There is no recipe `cor`. Did you mean `core`?"),
        ("U1 core web-9 --as member", 2, "There is no target `web-9`."),
        ("U1 core web-1 pid=x --as member", 2, "pid"),
        ("U1 --as member", 2, "A recipe and a target are needed."),
        ("U1 core web-1 --verb note --as member", 2, "`note` is about no recipe and no target."),
        ("U1 core web-1", 2, "Say who it is: `--as member`, `--in @oncall`."),
    ],
)
def test_the_status_says_the_answer(terminal: Terminal, line: str, status: int, words: str) -> None:
    """0 allowed, 1 refused, 2 asked wrongly, 3 once it is approved."""
    found, said = terminal.type(line)

    assert found == status
    assert words in said


def test_programs_read_it_as_json(terminal: Terminal) -> None:
    """The worst of all targets is the answer."""
    status, said = terminal.type("U1 core web-1,web-2 --in @oncall --channel inc-1 --json")

    told = json.loads(said)
    assert status == 1
    assert told["verdict"] == "refused"
    assert told["who"] == {"id": "U1", "membership": "member", "groups": ["@oncall"]}
    assert [(one["target"], one["verdict"]) for one in told["targets"]] == [
        ("web-1", "needs approval"),
        ("web-2", "refused"),
    ]
    assert told["targets"][0]["rules"][1] == {
        "name": "no dumps of card data",
        "line": 9,
        "effect": "deny",
        "match": "does not match",
        "why": "web-1 has no label pci, not pci=yes",
    }


@pytest.mark.live
async def test_slack_is_asked_who_somebody_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the bot's own token: groups, guests, the channel's name."""
    async with Workspace(app=App.from_manifest(yaml.safe_load(MANIFEST.read_text()))) as workspace:
        ana, gus = workspace.add_user("ana"), workspace.add_user("gus", is_guest=True)
        workspace.set_group("oncall", ana)
        channel = workspace.add_channel("inc-1042")
        path = tmp_path / "capturebot.yml"
        slack = f"slack: {{bot_token: env:BOT, app_token: env:APP, api_url: {workspace.api_url}}}\n"
        path.write_text(CONFIG + slack)
        settings, environ = load(path), {"BOT": workspace.bot_token, "APP": workspace.app_token}

        async def ask(question: Question) -> tuple[int, str]:
            status = await explain(settings, question, environ=environ, base=tmp_path, as_json=False)
            return status, capsys.readouterr().out

        words = ("java-heap", "web-1", "pid=812")
        allowed = await ask(Question(user=ana, words=words, channel=channel))
        refused = await ask(Question(user=gus, words=words, channel=channel))
        offline = await ask(Question(user=gus, words=words, groups=("@oncall",), channel="inc-1"))
        workspace.fail_next("users.info", Fault(status=500))
        with pytest.raises(UserError, match="Slack does not say who"):
            await ask(Question(user=ana, words=words))
        workspace.fail_next("auth.test", Fault(error="invalid_auth"))
        with pytest.raises(UserError, match="Slack does not answer"):
            await ask(Question(user=ana, verb=Verb.NOTE))

    assert allowed[0] == 0
    assert allowed[1].startswith("May ana (member, in @oncall) capture java-heap on web-1? yes. The rule `on call`")
    assert (refused[0], "gus is a guest in this workspace" in refused[1]) == (1, True)
    assert offline[0] == 0


def test_a_membership_that_slack_did_not_tell_cannot_be_asked_about(terminal: Terminal) -> None:
    """It is no kind of somebody."""
    with pytest.raises(SystemExit):
        terminal.type(f"U1 core web-1 --as {Membership.UNKNOWN}")
