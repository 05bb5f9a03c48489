r"""The statements of one step on one session.

A statement's answer is streamed, so the number of rows and the time stand below the rows and not in the header::

    ### digests at=2026-11-22T20:55:01.123456+00:00 server=mariadb-10.11.19
    schema_name<TAB>digest_text
    orders<TAB>SELECT …
    -- 1 row in 0.012 s

``SHOW … STATUS`` with one row is written vertically, any other answer as a table, whatever is in it.
Each statement carries ``/* capturebot CAPTURE STEP */``, so that a DBA sees whose it is, and so that
stopping never ends a stranger's thread of the same number.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.errors import StepFailed
from bot.insights import header
from bot.model import Outcome
from bot.sql import refusal
from bot.transports import STOP_TIMEOUT_S
from bot.transports.mysql_connection import FOUND, Connection, Login, connect
from bot.transports.mysql_errors import SqlError, cure_of
from bot.transports.mysql_statements import of_one_thing
from bot.transports.mysql_table import Column, comment, names_line, row_line, text_of, vertical

PROOF_MARGIN_S = 1.0  # within STOP_TIMEOUT_S, to say that there is no proof
POLL_S = 0.05
NOTHING_FOUND = "nothing_found"
_WHOLE = re.compile(rb"-?\d{1,20}")
_UNTAGGABLE = re.compile(r"[^ \w.-]")  # nothing that could end the comment


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A statement as it will be sent to this server; *skipped* says in one word why it is not, *why* in a sentence.

    The server may refuse an *optional* one without harm to the step.
    """

    name: str
    text: str = ""
    skipped: str = ""
    why: str = ""
    optional: bool = False


class MySqlExecution:
    """The statements of one step on one session; a protocol's Execution."""

    def __init__(self, login: Login, connection: Connection, questions: tuple[Question, ...], *, tag: str) -> None:
        self._login = login
        self._connection = connection
        self._questions = questions
        self._wanted = {name for question in questions for name, _ in FOUND.findall(question.text)}
        self._found: dict[str, dict[str, str | int]] = {}  # first rows that later statements want, by statement
        self._tag = f"/* capturebot {_UNTAGGABLE.sub('', tag)} */"
        self._running = ""  # the name of the statement that the server may be at work on
        self._ended = False
        self._failures: list[tuple[str, SqlError, str]] = []  # name, error, cure
        self._stop_asked = False
        self._stopping = asyncio.Lock()
        self._proof: str | None = None

    @property
    def command(self) -> str:
        """The statements as this server gets them."""
        return "\n".join(f"{question.text.strip().removesuffix(';')};" for question in self._questions if question.text)

    @property
    def exit_status(self) -> None:
        """SQL has none."""

    @property
    def remark(self) -> str:
        """Nothing else comes to light on a server."""
        return ""

    async def output(self) -> AsyncIterator[bytes]:
        """One section a statement; a statement that fails leaves the others alone."""
        try:
            for question in self._questions:
                async with aclosing(self._answer(question)) as parts:
                    async for part in parts:
                        yield part.encode()
            self._ended = True
            with suppress(SqlError, OSError):  # everything came: a goodbye that fails harms nothing
                await self._connection.leave()
        except StepFailed:
            self._ended = not self._running
            raise
        finally:
            self._connection.close()
        self._judge()

    async def stop(self) -> str:
        """Drop the connection, end the statement from a second one, and look that no thread runs it."""
        self._stop_asked = True
        async with self._stopping:
            if self._proof is None:
                self._proof = "" if self._ended else await self._prove()
            return self._proof

    async def _answer(self, question: Question) -> AsyncGenerator[str]:
        at = datetime.now(UTC)
        if question.skipped:
            yield header(question.name, at, skipped=question.skipped) + comment(question.why)
            return
        try:
            text = self._connection.fill(question.text, self._found)
        except LookupError as missing:
            told = f"not asked: there was no {missing} to look at"
            yield header(question.name, at, skipped=NOTHING_FOUND) + comment(told)
            return
        if why := refusal(text):  # with every value in place, as the server gets it
            raise StepFailed(f"{question.name} was not sent to {self._login.target}: {why}")
        if self._connection.closed and not self._stop_asked:
            self._connection = await connect(self._login)
        if self._stop_asked:
            self._connection.close()
            raise self._stopped(question.name)
        started, rows, opened = time.perf_counter(), 0, False
        try:
            self._running = question.name
            columns = await self._connection.ask(f"{self._tag} {text}")
            row = await self._connection.row()
            if row and question.name in self._wanted:
                self._found[question.name] = _values(columns, row)
            ahead = await self._connection.row() if row and of_one_thing(text) else None
            upright = row is not None and ahead is None and of_one_thing(text)
            facts = {"server": str(self._connection.server)} | ({"vertical": "1"} if upright else {})
            opened = True
            yield header(question.name, at, **facts) + ("" if upright else names_line(columns))
            while row is not None and rows < self._login.rows:
                yield vertical(columns, row) if upright else row_line(columns, row)
                rows += 1
                row, ahead = ahead or await self._connection.row(), None
            if row is not None:
                self._connection.close()  # ends the statement at once, where reading on could take minutes
            self._running = ""
            yield comment(f"{_rows(rows)} in {time.perf_counter() - started:.3f} s")
            if row is not None:
                yield comment(f"cut at {self._login.rows} rows")
        except SqlError as error:
            told = "stopped" if self._stop_asked else str(error)
            yield ("" if opened else header(question.name, at, error=error.code)) + comment(
                f"{told}, after {_rows(rows)}" if opened else told
            )
            cure = cure_of(error, self._connection.server, text)
            if cure:
                yield comment(cure)
            self._note(question, error, rows, cure)

    def _note(self, question: Question, error: SqlError, rows: int, cure: str) -> None:
        """Remember a failed statement. Raises StepFailed where the others cannot be asked any more."""
        if self._stop_asked:
            raise self._stopped(question.name)
        if error.lost:
            raise StepFailed(
                f"{self._login.target} dropped the connection during {question.name}, after {_rows(rows)} ({error.message}) — "
                "the server crashed or restarted, or somebody killed the connection",
                outcome=Outcome.LOST,
            )
        self._running = ""
        if not question.optional:
            self._failures.append((question.name, error, cure))

    def _stopped(self, name: str) -> StepFailed:
        return StepFailed(f"{name} on {self._login.target} was stopped", outcome=Outcome.STOPPED)

    def _judge(self) -> None:
        """Raise StepFailed where something of the step is missing that the recipe could have had."""
        if failures := self._failures:
            told = "; ".join(f"{name}: {error}" + (f" — {cure}" if cure else "") for name, error, cure in failures)
            raise StepFailed(
                f"{len(failures)} of {len(self._questions)} statements failed: {told}",
                outcome=Outcome.TIMED_OUT if all(error.timed_out for _, error, _ in failures) else Outcome.FAILED,
            )
        if all(question.skipped for question in self._questions):
            raise StepFailed(self._questions[0].why, outcome=Outcome.SKIPPED)

    async def _prove(self) -> str:
        running, thread, target = self._running, self._connection.thread, self._login.target
        self._connection.close()
        if not running:
            return f"no statement was under way on {target}, thread {thread} was disconnected"
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S - PROOF_MARGIN_S):
                how = await self._kill(thread)
        except (StepFailed, SqlError, OSError) as error:  # TimeoutError is an OSError
            return (
                f"it could not be proved that {running} ended on {target} ({str(error) or 'no answer'}); the server's own limit "
                f"ends it {self._login.statement_s:.0f} s after its start"
            )
        return f"thread {thread} of {target} {how}"

    async def _kill(self, thread: int) -> str:
        second = await connect(self._login)
        try:
            find = second.bind(
                "SELECT 1 FROM information_schema.processlist WHERE id = %(id)s AND LOCATE(%(tag)s, info) = 1",
                {"id": thread, "tag": self._tag},
            )
            how = "was gone"
            while await second.rows(find):
                how = "does not run it any more, after KILL QUERY"
                with suppress(SqlError):  # it may end by itself between the look and the kill
                    await second.rows(f"KILL QUERY {thread}")
                await asyncio.sleep(POLL_S)
            return how
        finally:
            second.close()


def _values(columns: Sequence[Column], row: Sequence[bytes | None]) -> dict[str, str | int]:
    """A row by its columns, without those that are NULL."""
    return {
        column.name: int(value) if column.whole and _WHOLE.fullmatch(value) else text_of(value, binary=column.binary)
        for column, value in zip(columns, row, strict=True)
        if value is not None
    }


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
