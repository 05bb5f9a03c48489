"""Secrets of a store, used on a real database and a real host: rotated, given out on loan, and nowhere to be seen."""

from __future__ import annotations

import json
import os
import re
import secrets as randomness
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import psutil
import pytest
import pytest_asyncio
import yaml

from bot.assembly import open_secrets, open_transports
from bot.errors import StepFailed, UserError
from bot.insights import sections
from bot.model import Sql, Statement, Step, Target
from bot.playground.estate import INCIDENT, Estate, estate
from bot.playground.estate import bot as serving
from bot.playground.mariadb import PrivateMariaDb, private_mariadb
from bot.playground.sshd import private_sshd
from bot.settings import load
from bot.transports import Transport
from tests.faults import until
from tests.steps import keep
from tests.vault import VaultStandIn

pytestmark = pytest.mark.live

WITHIN_S = 60.0
APPROLE = {"approle": {"role_id": "env:ROLE_ID", "secret_id": "env:SECRET_ID"}}
ENVIRON = {"ROLE_ID": "role-id-1", "SECRET_ID": "secret-id-1"}
WHO = Step(
    id="who",
    title="Who",
    action=Sql(statements=(Statement(name="who", both="SELECT CURRENT_USER() who"),)),
    timeout_s=5,
    limit_bytes=10_000,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateMariaDb]:
    """A server with TLS."""
    try:
        async with private_mariadb(tmp_path_factory.mktemp("mariadb"), tls_names=("127.0.0.1",)) as started:
            yield started
    except UserError as trouble:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(trouble))


@dataclass
class Bench:
    """The bot's way to a database whose account lies in Vault."""

    mysql: Transport
    target: Target

    async def who(self) -> str:
        """The account that the server saw."""
        kept = await keep(await self.mysql.start(self.target, WHO, capture_id="c1"))
        assert kept.failure is None
        (section,) = sections(kept.output.decode())
        return section.rows()[0]["who"]


@asynccontextmanager
async def bench(folder: Path, vault: VaultStandIn, mysql: dict[str, object]) -> AsyncIterator[Bench]:
    """What an operator's file makes of it."""
    config = {
        "folder": "artifacts",
        "vault": {"address": vault.url, "auth": APPROLE},
        "targets": {"orders-db": {"mysql": {"host": "127.0.0.1", **mysql}}},
    }
    (folder / "capturebot.yml").write_text(yaml.safe_dump(config))
    settings = load(folder / "capturebot.yml")
    async with (
        open_secrets(settings, environ=ENVIRON, base=folder) as secrets,
        open_transports(secrets) as transports,
    ):
        yield Bench(transports["mysql"], settings.targets["orders-db"])


async def test_a_rotated_password_is_read_anew_once(database: PrivateMariaDb, tmp_path: Path) -> None:
    """No restart, and no waiting for what is kept to grow old; a wrong one is not tried twice."""
    await database.create_observer("cap", "first-password")
    async with VaultStandIn.serving(values={"secret/orders": {"password": "first-password"}}) as vault:
        account = {"user": "cap", "password": "vault://secret/orders#password"}
        async with bench(tmp_path, vault, {"port": database.port, "ca": str(database.authority), **account}) as here:
            first = await here.who()
            await database.create_observer("cap", "second-password")
            with pytest.raises(StepFailed, match=r"refused the account cap .*check the target's user and password"):
                await here.who()
            ((_, refusals),) = await database.execute("SHOW GLOBAL STATUS LIKE 'Access_denied_errors'")
            vault.values["secret/orders"] = {"password": "second-password"}
            second = await here.who()
            vault.sealed = True
            await database.create_observer("cap", "third-password")
            with pytest.raises(StepFailed, match=r"whether there is a newer secret is not known: .*is sealed"):
                await here.who()

    assert first == second == "cap@%"
    assert refusals == "1"


async def test_an_account_on_loan_is_used(database: PrivateMariaDb, tmp_path: Path) -> None:
    """Its name comes from the store too; when it is gone before its time, another one is taken."""
    made: list[str] = []

    async def make() -> dict[str, str]:
        made.append(f"v-capture-{len(made) + 1}")
        await database.create_observer(made[-1], f"password-{len(made)}")
        return {"username": made[-1], "password": f"password-{len(made)}"}

    async with VaultStandIn.serving(make=make) as vault:
        creds = "vault://database/creds/capture"
        account = {"user": f"{creds}#username", "password": f"{creds}#password"}
        async with bench(tmp_path, vault, {"port": database.port, "ca": str(database.authority), **account}) as here:
            seen = [await here.who(), await here.who()]
            await database.execute("DROP USER 'v-capture-1'@'%'")
            seen.append(await here.who())

        assert vault.leases == {}  # the bot gave its token back, and with it what it had on loan

    assert seen == ["v-capture-1@%", "v-capture-1@%", "v-capture-2@%"]


async def test_a_database_without_tls_is_refused_where_nothing_is_said_of_it(tmp_path: Path) -> None:
    """The default verifies; who wants less must write it."""
    async with (
        private_mariadb(tmp_path / "mariadb", performance_schema=False) as plain,
        VaultStandIn.serving(values={"secret/orders": {"password": "x"}}) as vault,
    ):
        await plain.create_observer("cap", "x")
        account = {"user": "cap", "password": "vault://secret/orders#password"}
        async with bench(tmp_path, vault, {"port": plain.port, **account}) as here:
            with pytest.raises(StepFailed) as refused:
                await here.who()

    assert "the server offers no TLS; no user and no password was sent to it — set it up there" in refused.value.reason


# --- nowhere to be seen -------------------------------------------------------------------------

RECIPE = {
    "title": "Leaky",
    "about": "Prints what it should not.",
    "for": "mysql",
    "impact": "light",
    "steps": [
        {"id": "who", "sql": [{"name": "who", "both": "SELECT CURRENT_USER() who"}]},
        {"id": "print", "run": ["cat", "PRINTED"]},
        {"id": "hold", "script": "hold.sh"},
    ],
}
STEP = {"title": "A step", "timeout": 60, "limit": "1 MB"}


def visible(values: tuple[str, ...], *, besides: int) -> list[str]:
    """Where a value is seen: in a command line of any process, or in the environment of any but the bot's own."""
    found = []
    for process in psutil.process_iter():
        for name in ("cmdline", "environ"):
            if name == "environ" and process.pid == besides:
                continue  # where the operator put them
            try:
                text = Path(f"/proc/{process.pid}/{name}").read_bytes()
            except OSError:
                continue
            found += [f"{name} of {process.pid}" for value in values if value.encode() in text]
    return found


def holding(folder: Path, values: tuple[str, ...]) -> list[str]:
    """Files below *folder* that a value is in: the journal, the log, all that is in S3."""
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(value.encode() in path.read_bytes() for value in values)
    ]


def lay_out(folder: Path, printed: str) -> None:
    """A recipe of which one step prints secrets, and another waits until its file is gone."""
    (folder / "mine").mkdir(parents=True)
    (folder / "printed").write_text(printed)
    (folder / "going").touch()
    recipe = json.loads(json.dumps(RECIPE).replace("PRINTED", str(folder / "printed")))
    recipe["steps"] = [{**STEP, **step} for step in recipe["steps"]]
    (folder / "mine/leaky.yml").write_text(yaml.safe_dump(recipe))
    wait = f"env\necho $$ >{folder}/pid\nwhile [ -e {folder}/going ]; do sleep 0.05; done\n"
    (folder / "mine/hold.sh").write_text(wait)


def a_locked_key(folder: Path, passphrase: str) -> Path:
    """A key with a passphrase that the server in *folder* lets in."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    (folder / "authorized_keys").write_bytes(key.export_public_key())
    (folder / "locked").touch(mode=0o600)
    (folder / "locked").write_bytes(key.export_private_key(passphrase=passphrase))
    return folder / "locked"


async def test_secrets_are_seen_nowhere_while_a_capture_runs_and_nowhere_after(
    database: PrivateMariaDb, tmp_path: Path
) -> None:
    """Not in a command line, a child's environment, the log, the journal, S3, the Slack thread or the note.

    A step even prints them, and what it printed is kept with all of them masked.
    """
    secret_id, password, passphrase = (f"{name}-{randomness.token_hex(12)}" for name in ("id", "db", "key"))
    lay_out(tmp_path / "host", f"one {password} two {passphrase} three {secret_id} four\n")
    await database.create_observer("leak", password)
    values = {"secret/db": {"password": password}, "secret/key": {"passphrase": passphrase}}
    async with (
        private_sshd(tmp_path / "sshd") as sshd,
        VaultStandIn.serving(role=("role-id-1", secret_id), values=values) as vault,
    ):
        key = a_locked_key(tmp_path / "sshd", passphrase)
        mysql = {"host": "127.0.0.1", "port": database.port, "user": "leak", "ca": str(database.authority)}
        ssh = {"host": sshd.host, "port": sshd.port, "user": sshd.user, "known_hosts": str(sshd.known_hosts)}
        target = {
            "mysql": {**mysql, "password": "vault://secret/db#password"},
            "ssh": {**ssh, "key": f"file:{key}", "passphrase": "vault://secret/key#passphrase"},
        }
        settings = {"vault": {"address": vault.url, "auth": APPROLE}, "recipes": [str(tmp_path / "host/mine")]}
        environ = {"ROLE_ID": "role-id-1", "SECRET_ID": secret_id}
        async with (
            estate(
                tmp_path / "estate", port=0, targets={"orders-db": target}, environ=environ, settings=settings
            ) as here,
            serving(here) as bot,
        ):
            await here.workspace.command(here.channel, here.user, f"/capture link {INCIDENT}")
            await here.workspace.command(here.channel, here.user, "/capture leaky orders-db")
            await until((tmp_path / "host/pid").exists, within_s=WITHIN_S)
            tokens = (here.workspace.bot_token, here.workspace.app_token, here.pagerduty.token)
            wanted = (secret_id, password, passphrase, *tokens, *vault.tokens)
            seen = visible(wanted, besides=bot.pid)
            (tmp_path / "host/going").unlink()
            await here.pagerduty.wait_for(lambda: "leaky" in str(here.pagerduty.notes(INCIDENT)), WITHIN_S)
            await here.workspace.wait_for(lambda: "complete" in thread(here), WITHIN_S)
            told = thread(here) + str(here.pagerduty.notes(INCIDENT))
        kept = [path for path in (tmp_path / "estate/s3").rglob("*") if path.is_file() and "print" in path.name]
        printed = " ".join(path.read_text() for path in kept)

    assert len(wanted) == 7
    assert seen == []
    assert holding(tmp_path / "estate", wanted) == []
    assert [value for value in wanted if value in told] == []
    assert re.search(r"one \[masked:\S+\] two \[masked:\S+\] three \[masked:\S+\] four", printed)


def thread(here: Estate) -> str:
    """Everything that the bot said in the channel."""
    return " ".join(f"{one.text} {one.blocks}" for one in here.workspace.messages(here.channel))
