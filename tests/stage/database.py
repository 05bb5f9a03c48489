"""A private MariaDB with a shop's orders in it, and clients that do to it what a scene is about."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomysql

from bot.playground.mariadb import PrivateMariaDb, private_mariadb
from bot.tasks import Tasks
from tests.stage import Broken
from tests.stage.waiting import until

SCHEMA = "orders"
OBSERVER = "capture"
END_S = 2.0
QUICK_END = "--innodb-fast-shutdown=2"  # nobody wants its files afterwards
ROWS = 20_000
TABLE = """\
CREATE TABLE orders.orders (
  id INT PRIMARY KEY AUTO_INCREMENT, reference CHAR(12) NOT NULL, customer INT NOT NULL, status VARCHAR(10) NOT NULL,
  total DECIMAL(8, 2) NOT NULL, note VARCHAR(100) NOT NULL, KEY (customer)
) SELECT seq AS id, LEFT(MD5(seq), 12) AS reference, seq % 500 AS customer, 'new' AS status, seq / 7 AS total,
  REPEAT('x', 80) AS note FROM orders.seq_1_to_20000"""

Cursor = Any  # aiomysql ships no types
Work = Callable[[Cursor], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A running server with the schema *orders* and the account that the bot has."""

    server: PrivateMariaDb
    password: str = field(repr=False)

    def broken(self, line: str) -> Broken:
        """What is to be said of it."""
        mysql: Mapping[str, Any] = {
            "host": self.server.host,
            "port": self.server.port,
            "user": OBSERVER,
            "password": "env:ORDERS_DB",
            "tls": "verify",
            "ca": str(self.server.authority),
        }
        return Broken(line=line, target={"mysql": mysql}, environ={"ORDERS_DB": self.password})

    async def until(self, question: str) -> None:
        """Wait until the server answers *question* with anything but nothing and zero."""

        async def answered() -> bool:
            return any((await self.server.execute(question))[0])

        await until(answered)

    async def account(self, user: str) -> None:
        """Make an account that may do anything in the schema."""
        await self.server.execute(f"CREATE USER {user} IDENTIFIED BY %s", (self.password,))
        await self.server.execute(f"GRANT ALL PRIVILEGES ON {SCHEMA}.* TO {user}")

    @asynccontextmanager
    async def session(self, user: str) -> AsyncIterator[Cursor]:
        """One connection of *user*, which has an account."""
        connection = await aiomysql.connect(
            host=self.server.host,
            port=self.server.port,
            user=user,
            password=self.password,
            db=SCHEMA,
            autocommit=True,
        )
        try:
            async with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    @asynccontextmanager
    async def clients(self, user: str, count: int, work: Work) -> AsyncIterator[None]:
        """Have *count* connections of a new account each do *work* until the context ends; yields once all are connected."""
        await self.account(user)
        errors: list[BaseException] = []
        tasks = Tasks(lambda _name, error: errors.append(error))
        async with AsyncExitStack() as stack:
            cursors = [await stack.enter_async_context(self.session(user)) for _ in range(count)]
            for number, cursor in enumerate(cursors):
                tasks.start(work(cursor), name=f"{user} {number}")
            try:
                yield
            finally:
                await tasks.cancel(END_S)
        assert not errors, f"{user} could not do its work: {errors[0]}"


@asynccontextmanager
async def database(
    folder: Path, *, performance_schema: bool = True, options: Sequence[str] = ()
) -> AsyncIterator[Database]:
    """Start a server. Raises UserError where MariaDB is not installed."""
    async with private_mariadb(
        folder / "mariadb",
        performance_schema=performance_schema,
        tls_names=("127.0.0.1",),
        options=(QUICK_END, *options),
    ) as server:
        password = secrets.token_urlsafe(12)
        await server.create_observer(OBSERVER, password)
        await server.execute(f"CREATE DATABASE {SCHEMA}")
        await server.execute(TABLE)
        yield Database(server=server, password=password)
