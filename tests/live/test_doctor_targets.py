"""`capturebot doctor` against a real sshd and a real MariaDB: what is wrong with a target, and its cure."""

from __future__ import annotations

import io
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from bot.doctor import examine
from bot.errors import UserError
from bot.model import MySql, SecretRef, Target, Tls
from bot.playground.mariadb import PrivateMariaDb, private_mariadb
from bot.playground.sshd import PrivateSshd, private_sshd
from bot.recipes import builtin_folder, load_folder
from bot.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("own_log"), pytest.mark.asyncio(loop_scope="module")]

PASSWORD = "capture-me-4711"


@dataclass(frozen=True)
class Servers:
    """What targets are made of."""

    sshd: PrivateSshd
    database: PrivateMariaDb
    folder: Path

    def mysql(self, **changes: object) -> MySql:
        """A right way to the database, unless *changes* make it wrong."""
        right = MySql(
            host=self.database.host,
            port=self.database.port,
            user="capture",
            password=SecretRef("env:PASSWORD"),
            tls=Tls.VERIFY,
            ca=self.database.authority,
        )
        return replace(right, **changes)  # type: ignore[arg-type]  # as given by tests


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """One of each."""
    folder = tmp_path_factory.mktemp("servers")
    try:
        async with AsyncExitStack() as stack:
            sshd = await stack.enter_async_context(private_sshd(folder / "sshd"))
            database = await stack.enter_async_context(private_mariadb(folder / "db", tls_names=("127.0.0.1",)))
            await database.create_observer("capture", PASSWORD)
            yield Servers(sshd, database, folder)
    except UserError as missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(missing))


async def said_of(
    servers: Servers, target: Target, *, password: str = PASSWORD, recipes: tuple[Path, ...] = ()
) -> tuple[int, str]:
    """The exit status, and what the doctor printed of a target."""
    paper = io.StringIO()
    settings = Settings(targets={target.name: target}, journal="sqlite://", recipes=recipes)
    status = await examine(
        settings,
        environ={"PASSWORD": password},
        base=servers.folder,
        parts=[target.name],
        console=Console(file=paper, soft_wrap=True),
    )
    return status, paper.getvalue()


async def test_a_target_with_every_way_is_healthy(servers: Servers) -> None:
    """The database through the host as its jump host, and the host itself."""
    ssh = servers.sshd.ssh
    target = Target(name="orders-db", mysql=servers.mysql(via=ssh), ssh=ssh)

    status, said = await said_of(servers, target)

    assert status == 0
    assert "fault:" not in said
    assert said.count("ok:") >= 3
    assert "can only read" in said
    assert (
        "GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO 'capture'@'%'; GRANT SELECT ON mysql.slow_log" in said
    )


async def test_another_host_key_is_a_fault_that_says_where_it_belongs(servers: Servers) -> None:
    """Nothing was sent to that host: it may be somebody else's."""
    known_hosts = servers.folder / "known_hosts"
    other = (servers.sshd.key.parent / "authorized_keys").read_text().strip()
    known_hosts.write_text(f"[{servers.sshd.host}]:{servers.sshd.port} {other}\n")
    target = Target(name="app-1", ssh=replace(servers.sshd.ssh, known_hosts=known_hosts))

    status, said = await said_of(servers, target)

    assert status == 1
    assert str(known_hosts) in said
    assert "ok:" not in said


async def test_a_wrong_password_is_a_fault_without_the_password(servers: Servers) -> None:
    """It names the account as the server sees it."""
    status, said = await said_of(servers, Target(name="db", mysql=servers.mysql()), password="wrong-4712")

    assert status == 1
    assert "capture" in said
    assert "wrong-4712" not in said


async def test_missing_grants_are_mended_by_the_statements_that_are_printed(servers: Servers) -> None:
    """Run as they stand by whoever may grant."""
    await servers.database.execute("CREATE OR REPLACE USER newcomer@'%%' IDENTIFIED BY %s", (PASSWORD,))
    target = Target(name="db", mysql=servers.mysql(user="newcomer"))

    status, said = await said_of(servers, target)
    grants = re.findall(r"fault: .* — (GRANT .+)", said)
    for grant in grants:
        await servers.database.execute(grant)
    mended, _ = await said_of(servers, target)

    assert (status, len(grants), mended) == (1, 3, 0)


async def test_a_target_that_is_named_is_told_which_recipes_work_there(servers: Servers) -> None:
    """Every recipe that is for it, on a host where root may do everything, and a database with the right grants."""
    target = Target(name="orders", mysql=servers.mysql(), ssh=servers.sshd.ssh)

    _, said = await said_of(servers, target)

    for recipe in load_folder(builtin_folder()).values():
        if recipe.wants in target.kinds:
            assert re.search(rf"(ok|warn): {recipe.name} works", said), said


async def test_what_a_recipe_lacks_on_a_host_is_told_with_the_line_that_mends_it(servers: Servers) -> None:
    """Asked of the host itself, through its own login."""
    folder = servers.folder / "recipes"
    folder.mkdir()
    (folder / "frob.yml").write_text(
        "title: Frobs\nabout: What is frobbed.\nfor: host\nimpact: light\nsteps:\n"
        "  - {id: frob, title: Frobs, run: [frobnicate], timeout: 5, limit: 1 kB}\n"
        "  - {id: load, title: Load, run: [uptime], needs: [no-such-tool], wants: [nor-this], timeout: 5, limit: 1 kB}\n"
    )

    _, said = await said_of(servers, Target(name="app-1", ssh=servers.sshd.ssh), recipes=(folder,))

    assert "without “Load”: no-such-tool is not installed — apt-get install no-such-tool" in said
    assert "nor-this is not installed — apt-get install nor-this" in said
    assert "without “Frobs”: frobnicate is not installed — apt-get install frobnicate" in said


async def test_what_an_account_may_not_see_is_told_of_each_recipe(servers: Servers) -> None:
    """The server itself was asked, and names the grant."""
    await servers.database.execute("CREATE OR REPLACE USER stranger@'%%' IDENTIFIED BY %s", (PASSWORD,))

    _, said = await said_of(servers, Target(name="db", mysql=servers.mysql(user="stranger")))

    assert re.search(r"warn: db works, but with less: the server refuses .*— GRANT PROCESS ON \*\.\* TO", said), said
