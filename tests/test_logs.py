"""The log: one redacted line an event, whoever logs it."""

from __future__ import annotations

import json
import logging
import sys

import pytest
import structlog

from bot.logs import keep_variables_out, open_log
from bot.redact import Redactor

pytestmark = pytest.mark.usefixtures("own_log")

SECRET = 'pä"ss\\wörd-4711'
MASK = Redactor(lambda: (SECRET.encode(),), salt=b"salt").text


def fail() -> None:
    """Fail as a library would, with the secret in its words and in a variable."""
    password = SECRET
    raise ConnectionError(f"login with {password} refused")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_secret_in_a_foreign_librarys_traceback_is_masked(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:  # noqa: FBT001  (a case)
    """In the message, the arguments, the traceback; quotes, backslashes and umlauts do not hide it."""
    open_log(as_json=as_json, mask=MASK)

    try:
        fail()
    except ConnectionError:
        logging.getLogger("some.driver").exception("connecting with %s broke", SECRET)

    said = capsys.readouterr().err
    assert "4711" not in said
    assert said.count("[masked:") == 2
    assert "ConnectionError: login with" in said
    assert 'raise ConnectionError(f"login' in said.replace('\\"', '"')


@pytest.mark.parametrize("as_json", [True, False])
def test_a_secret_in_an_event_is_masked_wherever_it_stands(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:  # noqa: FBT001  (a case)
    """In the event's own words, and in what comes with it."""
    open_log(as_json=as_json, mask=MASK)

    structlog.get_logger().warning(f"no {SECRET}", url=f"https://bob:{SECRET}@db/", words=[SECRET])

    said = capsys.readouterr().err
    assert "4711" not in said
    assert said.count("[masked:") == 3


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Also for an event of several lines and for one of a library."""
    open_log(as_json=True, mask=MASK)

    structlog.get_logger().info("two\nlines", count=2)
    logging.getLogger("some.driver").warning("careful %d", 3)

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["count"]) == ("two\nlines", "info", 2)
    assert (second["event"], second["level"]) == ("careful 3", "warning")
    assert first["timestamp"].endswith("Z")


def test_an_error_that_nobody_caught_takes_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """The last words of a process are read by people and kept by platforms, too."""
    open_log(as_json=True, mask=MASK)

    try:
        fail()
    except ConnectionError as error:
        sys.excepthook(type(error), error, error.__traceback__)

    said = capsys.readouterr().err
    assert json.loads(said)["event"] == "died"
    assert "4711" not in said


def test_talkative_libraries_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Their information is nobody's, their warnings are the operator's."""
    open_log(as_json=False, mask=MASK)

    logging.getLogger("asyncssh").info("Opening connection")
    logging.getLogger("asyncssh").warning("Weak key")

    said = capsys.readouterr().err
    assert "Opening" not in said
    assert "Weak key" in said


def test_nothing_is_shown_of_variables_before_the_log_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    """A plug-in that cannot be loaded is told of early; the values around its trouble are not."""
    structlog.reset_defaults()
    keep_variables_out()

    try:
        fail()
    except ConnectionError:
        structlog.get_logger().exception("insight cannot be loaded", insight="mine")

    said = capsys.readouterr()
    assert said.out == ""
    assert 'error    insight cannot be loaded insight="mine"' in said.err
    assert said.err.count(SECRET) == 1  # what the exception itself says of it
    assert "password = " not in said.err.replace("password = SECRET", "")
