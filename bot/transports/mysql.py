"""Steps of SQL on MySQL and MariaDB.

Every start is a session of its own: opening one takes milliseconds, and a step that is stopped harms no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bot.errors import SecretMissing, StepFailed
from bot.model import Outcome, Recipe, Sql, Statement, Step, Target, TargetKind
from bot.secrets import Renewing
from bot.sql import refusal
from bot.transports.mysql_connection import PLACEHOLDER, Connection, Jump, Login, connect
from bot.transports.mysql_doctor import examine
from bot.transports.mysql_errors import AccountRefused, SqlError, performance_schema_cure
from bot.transports.mysql_execution import MySqlExecution, Question
from bot.transports.mysql_grants import least

CONNECT_TIMEOUT_S = 10.0
GRACE_S = 2.0  # by which the limit on the server exceeds the step's own
CHECK_TIMEOUT_S = 20.0
CHECK_STATEMENT_S = 5.0
CHECK_ROWS = 100
PERFORMANCE_SCHEMA_OFF, OTHER_SERVER = "performance_schema_off", "other_server"


class MySqlTransport:
    """Runs `Sql` steps. Keeps no connections between steps."""

    def __init__(self, secrets: Renewing, jump: Jump, *, connect_s: float = CONNECT_TIMEOUT_S) -> None:
        self._secrets = secrets
        self._jump = jump
        self._connect_s = connect_s

    async def start(self, target: Target, step: Step, *, capture_id: str) -> MySqlExecution:
        """Log in; statements are sent as the output is read."""
        action = step.action
        if not isinstance(action, Sql):
            raise StepFailed(f"{step.id} is no SQL step", outcome=Outcome.SKIPPED)
        for statement in action.statements:
            if why := _refusal(statement, action):
                raise StepFailed(f"the statement {statement.name} of {step.id} was not sent: {why}")
        login, connection = await self._connect(target, statement_s=step.timeout_s + GRACE_S, rows=action.row_limit)
        questions = _questions(action, connection, target.name)
        return MySqlExecution(login, connection, questions, tag=f"{capture_id} {step.id}")

    async def check(self, target: Target) -> list[str]:
        """Log in and say what a capture could not see, and what the account can do that it should not."""
        try:
            login, connection = await self._connect(target, statement_s=CHECK_STATEMENT_S, rows=CHECK_ROWS)
        except StepFailed as failed:
            return [f"fault: {failed.reason}"]
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                return await examine(login, connection)
        except (SqlError, TimeoutError) as error:
            return [
                f"fault: {target.name}: {str(error) or 'it does not answer any more'} — look at its host, then try again"
            ]
        finally:
            connection.close()

    async def grants(self, target: Target, recipes: Iterable[Recipe]) -> list[str]:
        """One line with the GRANTs that the account needs for *recipes* on this server, and no more; none where it does not answer."""
        fitting = [
            recipe
            for recipe in recipes
            if recipe.wants is TargetKind.MYSQL and (not recipe.targets or target.name in recipe.targets)
        ]
        try:
            login = await self._login(target, statement_s=CHECK_STATEMENT_S, rows=CHECK_ROWS)
            # Without its database, which an account may not enter that has no grant there yet.
            connection = await connect(replace(login, mysql=replace(login.mysql, database=None)))
        except StepFailed:
            return []  # `check` says why
        connection.close()
        server = connection.server
        needed = least(server, _texts(fitting, server.flavour), database=login.mysql.database)
        return [f"ok: {target.name}: all that its recipes need on {server}: {'; '.join(needed)};"]

    async def close(self) -> None:
        """Nothing is kept between steps."""

    async def _connect(self, target: Target, *, statement_s: float, rows: int) -> tuple[Login, Connection]:
        """Log in; where the account is refused, once more if the store of secrets has another one meanwhile."""
        login = await self._login(target, statement_s=statement_s, rows=rows)
        try:
            return login, await connect(login)
        except AccountRefused as refused:
            for reference in filter(None, (target.mysql.account, target.mysql.password) if target.mysql else ()):
                self._secrets.forget(reference)
            try:
                newer = await self._login(target, statement_s=statement_s, rows=rows)
            except StepFailed as failed:
                why = f"{refused.reason}; whether there is a newer secret is not known: {failed.reason}"
                raise AccountRefused(why) from None
            if newer == login:
                raise
        return newer, await connect(newer)

    async def _login(self, target: Target, *, statement_s: float, rows: int) -> Login:
        mysql = target.mysql
        if mysql is None:
            raise StepFailed(f"{target.name} has no mysql settings", outcome=Outcome.SKIPPED)
        try:
            account = await self._secrets.resolve(mysql.account) if mysql.account else mysql.user
            password = await self._secrets.resolve(mysql.password) if mysql.password else ""
        except SecretMissing as missing:
            raise StepFailed(f"{target.name}: {missing.reason}") from missing
        return Login(
            target=target.name,
            mysql=replace(mysql, user=account),
            password=password,
            statement_s=statement_s,
            rows=rows,
            connect_s=self._connect_s,
            jump=self._jump,
        )


def _refusal(statement: Statement, action: Sql) -> str:
    """Why *statement* may not be sent to any server; "" when it may."""
    for text in filter(None, (statement.both, statement.mariadb, statement.mysql)):
        if why := refusal(text):
            return why
        if unknown := sorted(set(PLACEHOLDER.findall(text)) - set(action.arguments)):
            return f"nothing is given for %({unknown[0]})s"
    return ""


def _texts(recipes: Iterable[Recipe], flavour: str) -> Iterator[str]:
    """What a server of *flavour* is asked by *recipes*."""
    for recipe in recipes:
        for action in (step.action for step in recipe.steps):
            for statement in action.statements if isinstance(action, Sql) else ():
                if text := (statement.mariadb if flavour == "mariadb" else statement.mysql) or statement.both:
                    yield text


def _questions(action: Sql, connection: Connection, target: str) -> tuple[Question, ...]:
    """What of *action* this server can be asked, and why not the rest. The cure of one cause is told once."""
    server, questions, told = connection.server, [], False
    for statement in action.statements:
        text = (statement.mariadb if server.flavour == "mariadb" else statement.mysql) or statement.both
        if text is None:
            why = f"the recipe has no text of {statement.name} for {server}"
            questions.append(Question(name=statement.name, skipped=OTHER_SERVER, why=why))
        elif statement.needs_performance_schema and not server.performance_schema:
            why = f"performance_schema is OFF on {target}, {statement.name} is not recorded there"
            cure = "" if told else f" — {performance_schema_cure(server)}"
            questions.append(Question(name=statement.name, skipped=PERFORMANCE_SCHEMA_OFF, why=why + cure))
            told = True
        else:
            bound = connection.bind(text, action.arguments)
            questions.append(Question(name=statement.name, text=bound, optional=statement.optional))
    return tuple(questions)
