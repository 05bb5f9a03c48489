"""`capturebot doctor` against stand-ins that refuse what the real services refuse."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from bot.doctor import SCOPES, examine
from bot.errors import UserError
from bot.model import AppRoleAuth, Effect, MySql, Policy, Rule, SecretRef, Ssh, Target, Vault, Verb
from bot.playground.pagerduty import PagerDutyStandIn
from bot.playground.workspace import App, Fault, Workspace
from bot.settings import S3, PagerDuty, Settings, Slack
from tests.faults import refusing_url
from tests.vault import VaultStandIn

pytestmark = [pytest.mark.usefixtures("own_log"), pytest.mark.thorough]

MANIFEST = Path(__file__).parent.parent / "manifest.yml"


@dataclass
class Practice:
    """A configuration of which every part is healthy, until a test changes something."""

    settings: Settings
    workspace: Workspace
    pagerduty: PagerDutyStandIn
    environ: dict[str, str]
    folder: Path
    said: list[str] = field(default_factory=list)

    async def examine(self, *parts: str) -> int:
        """The exit status; what was printed is in *said*, a line each, without indentation."""
        paper = io.StringIO()
        console = Console(file=paper, soft_wrap=True)
        status = await examine(self.settings, environ=self.environ, base=self.folder, parts=parts, console=console)
        self.said = [line.strip() for line in paper.getvalue().splitlines()]
        return status

    @property
    def faults(self) -> list[str]:
        """The lines with faults."""
        return [line.removeprefix("❌ fault: ") for line in self.said if line.startswith("❌")]


def slack_of(workspace: Workspace) -> Slack:
    """The settings for that workspace."""
    return Slack(bot_token=SecretRef("env:BOT"), app_token=SecretRef("env:APP"), api_url=workspace.api_url)


@pytest.fixture
async def practice(tmp_path: Path) -> AsyncIterator[Practice]:
    """Slack and PagerDuty as stand-ins, a folder, a journal, this machine."""
    app = App.from_manifest(yaml.safe_load(MANIFEST.read_text()))
    (tmp_path / "artifacts").mkdir(mode=0o700)
    async with Workspace(app=app) as workspace, PagerDutyStandIn() as pagerduty:
        settings = Settings(
            targets={"here": Target(name="here", local=True)},
            journal=f"sqlite:///{tmp_path}/journal.db",
            slack=slack_of(workspace),
            pagerduty=PagerDuty(token=SecretRef("env:PD"), sender=pagerduty.sender, api_url=pagerduty.api_url),
            folder=tmp_path / "artifacts",
        )
        environ = {"BOT": workspace.bot_token, "APP": workspace.app_token, "PD": pagerduty.token}
        yield Practice(settings, workspace, pagerduty, environ, tmp_path)


async def test_a_healthy_bot_has_a_line_for_everything_that_was_tried(practice: Practice) -> None:
    """In the order of the configuration, and with status 0."""
    status = await practice.examine()

    assert (status, practice.faults) == (0, [])
    assert [line for line in practice.said if not line.startswith("✅")] == [
        "journal",
        "store",
        "slack",
        "pagerduty",
        "here",
    ]
    assert "✅ ok: takes writing, and has 0 events" in practice.said
    assert f"✅ ok: {practice.folder}/artifacts takes, returns and removes files" in practice.said
    assert "✅ ok: the bot token belongs to capturebot in Playground" in practice.said
    assert "✅ ok: the app token opens Socket Mode connections" in practice.said
    assert "✅ ok: notes are written as oncall-bot@example.com, a user of the account" in practice.said


async def test_each_reference_to_a_store_is_tried(practice: Practice) -> None:
    """The way in, how many references lead somewhere, and what is wrong with each that does not; no value is shown."""
    practice.environ |= {"ROLE_ID": "role-id-1", "SECRET_ID": "secret-id-1"}
    auth = AppRoleAuth(role_id=SecretRef("env:ROLE_ID"), secret_id=SecretRef("env:SECRET_ID"))
    paths = ("secret/db#password", "secret/db#pasword", "secret/nosuch#password")
    targets = {
        name: Target(name=name, local=True, mysql=MySql(host="127.0.0.1", port=1, user="u", password=SecretRef(path)))
        for name, path in zip("abc", (f"vault://{path}" for path in paths), strict=True)
    }
    async with VaultStandIn.serving(values={"secret/db": {"password": "hunter2"}}) as vault:
        practice.settings = replace(
            practice.settings,
            vault=Vault(address=vault.url, auth=auth),
            targets={**practice.settings.targets, **targets},
        )
        status = await practice.examine("secrets")
        said = practice.said
        practice.environ["SECRET_ID"] = "hunter2-wrong"
        await practice.examine("secrets")
        refused = practice.faults

    assert status == 1
    assert [line.partition(f" ({vault.url})")[0] for line in said] == [
        "secrets",
        "✅ ok: Vault",
        "✅ ok: 6 of 8 references lead to a secret",
        "❌ fault: The secret vault://secret/db#pasword has no such key: it has password.",
        "❌ fault: Vault",
    ]
    assert "hunter2" not in " ".join(practice.said)
    assert any("refuses our login at auth/approle/login" in fault for fault in refused)


async def test_one_part_can_be_tried_alone(practice: Practice) -> None:
    """The others are not touched."""
    status = await practice.examine("pagerduty")

    assert (status, practice.said[0], len(practice.said)) == (0, "pagerduty", 3)


async def test_a_users_token_of_pagerduty_is_tried_too(practice: Practice) -> None:
    """The account's own is not told which Slack channel an incident has."""
    assert practice.settings.pagerduty
    practice.pagerduty.add_incident("POPEN1", 1, "Search is down", "Search")
    practice.settings = replace(
        practice.settings, pagerduty=replace(practice.settings.pagerduty, user_token=SecretRef("env:PD"))
    )

    status = await practice.examine("pagerduty")

    assert status == 1
    assert "pagerduty.user_token" in practice.faults[0]
    assert "owner or global admin" in practice.faults[0]
    assert not practice.workspace.calls


async def test_groups_that_rules_name_and_slack_lacks_are_told(practice: Practice) -> None:
    """A rule of nobody is a mistake; with the group that was meant."""
    practice.workspace.set_group("oncall", practice.workspace.add_user("ana"))
    rule = Rule(name="a", line=7, effect=Effect.ALLOW, verbs=frozenset({Verb.CAPTURE}), who=("@oncal", "@oncall"))
    practice.settings = replace(practice.settings, policy=Policy(rules=(rule,)))

    status = await practice.examine("slack")

    assert status == 1
    (fault,) = practice.faults
    assert "the rule `a` (line 7) names `@oncal`, which is no user group in Slack — did you mean `@oncall`?" in fault


async def test_a_part_that_is_not_configured_is_refused(practice: Practice) -> None:
    """With the nearest one, or with all there are."""
    with pytest.raises(UserError) as near:
        await practice.examine("pagerdty")
    with pytest.raises(UserError) as far:
        await practice.examine("kafka")

    assert str(near.value) == "`pagerdty` is not configured. Did you mean `pagerduty`?"
    assert str(far.value) == "`kafka` is not configured. There are: journal, store, slack, pagerduty, here."


async def test_a_broken_part_does_not_hide_the_others(practice: Practice) -> None:
    """Everything at fault at once: each has its line, its cure, and the status is 1."""
    practice.environ |= {"BOT": "xoxb-wrong", "PD": "wrong"}
    practice.settings = replace(
        practice.settings,
        journal="sqlite:////nowhere/at/all.db",
        folder=None,
        s3=S3(bucket="evidence", access_key=SecretRef("env:KEY"), secret_key=SecretRef("env:KEY")),
        targets={
            "here": Target(name="here", local=True),
            "away": Target(
                name="away",
                ssh=Ssh(
                    host="127.0.0.1", port=1, user="u", known_hosts=practice.folder / "none", key=SecretRef("env:KEY")
                ),
            ),
        },
    )

    status = await practice.examine()

    assert status == 1
    told = "\n".join(practice.faults)
    assert len(practice.faults) == 5
    assert "The journal cannot be" in told
    assert "The environment variable KEY is not set: set it where the bot is started." in told
    assert "Slack refuses the bot token (invalid_auth) — reinstall the app from manifest.yml" in told
    assert "PagerDuty does not take the token (401)" in told
    assert "away" in practice.said
    assert any(line.startswith("✅ ok: here") for line in practice.said)


async def test_missing_scopes_are_named(practice: Practice) -> None:
    """An app that was installed before the manifest grew."""
    async with Workspace(app=App(scopes=frozenset({"commands", "chat:write"}))) as workspace:
        practice.settings = replace(practice.settings, slack=slack_of(workspace))
        practice.environ |= {"BOT": workspace.bot_token, "APP": workspace.app_token}

        status = await practice.examine("slack")

    assert status == 1
    missing = ", ".join(sorted(SCOPES - {"commands", "chat:write"}))
    assert practice.faults == [f"scopes {missing} are missing — reinstall the app from manifest.yml"]


async def test_an_app_token_that_is_refused_is_told_from_the_bot_token(practice: Practice) -> None:
    """They are made in different places."""
    practice.environ["APP"] = "xapp-wrong"

    status = await practice.examine("slack")

    assert status == 1
    assert practice.faults == ["Slack refuses the app token (invalid_auth) — make one with connections:write"]


async def test_trouble_of_slacks_own_is_not_the_tokens_fault(practice: Practice) -> None:
    """Too many requests, or an error on their side."""
    practice.workspace.fail_next("auth.test", Fault(status=429, retry_after_s=30))
    limited = await practice.examine("slack")
    said = practice.faults
    practice.workspace.fail_next("auth.test", Fault(status=500))
    broken = await practice.examine("slack")

    assert (limited, broken) == (1, 1)
    assert [*said, *practice.faults] == [
        "Slack answers 429 to the bot token — try again in a minute",
        "Slack answers 500 to the bot token — try again in a minute",
    ]


async def test_services_that_cannot_be_reached_are_named(practice: Practice) -> None:
    """With the setting that says where they are."""
    assert practice.settings.slack
    assert practice.settings.pagerduty
    with refusing_url() as nowhere:
        practice.settings = replace(
            practice.settings,
            slack=replace(practice.settings.slack, api_url=f"{nowhere}/api/"),
            pagerduty=replace(practice.settings.pagerduty, api_url=nowhere),
        )

        status = await practice.examine("slack", "pagerduty")

    assert status == 1
    slack, pagerduty = practice.faults
    assert slack.startswith(f"{nowhere}/api/ does not answer (")
    assert slack.endswith(") — check slack.api_url and the network")
    assert pagerduty.endswith("Check pagerduty.api_url and the network.")


async def test_a_store_that_others_can_read_is_a_fault(practice: Practice) -> None:
    """The evidence is nobody else's."""
    (practice.folder / "artifacts").chmod(0o755)

    status = await practice.examine("store")

    assert status == 1
    assert practice.faults[0].endswith(f"chmod 700 {practice.folder}/artifacts")


async def test_a_target_may_be_called_like_a_part(practice: Practice) -> None:
    """Both are tried."""
    practice.settings = replace(practice.settings, targets={"store": Target(name="store", local=True)})

    status = await practice.examine("store")

    assert (status, practice.said.count("store")) == (0, 2)


async def test_no_token_is_ever_shown(practice: Practice) -> None:
    """Also where a service repeats it: the lines go through the redactor."""
    practice.environ["PD"] = "y_NbAkKc66ryYTWUXYEu"
    assert practice.settings.pagerduty
    practice.settings = replace(
        practice.settings, pagerduty=replace(practice.settings.pagerduty, sender="y_NbAkKc66ryYTWUXYEu@example.com")
    )
    practice.pagerduty.token = "y_NbAkKc66ryYTWUXYEu"

    status = await practice.examine("pagerduty")

    assert status == 1
    assert "y_NbAkKc66ryYTWUXYEu" not in "\n".join(practice.said)
    assert "[masked:known-secret:" in practice.faults[0]
