"""`redaction` in capturebot.yml: own patterns, people, addresses, values in SQL, and what stays."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.model import OwnPattern, Redaction
from bot.redact import Redactor
from bot.redact.finder import Finder
from bot.redact.stream import RedactionStream
from bot.settings import load
from bot.story import receipt

ACME = OwnPattern(name="acme-token", pattern="ACME-[0-9A-F]{8}")
ALL = Redaction(
    patterns=(ACME, OwnPattern(name="pin", pattern=r"pin is (\d{4})")), emails=True, addresses=True, sql_literals=True
)


def masked(text: str, redaction: Redaction, known: tuple[bytes, ...] = ()) -> str:
    """*text* with the digits of masks left out."""
    redactor = Redactor(lambda: known, salt=b"salt", redaction=redaction)
    return re.sub(r"\[masked:([a-z-]+):[0-9a-f]{6}\]", r"[\1]", redactor.text(text))


# --- own patterns --------------------------------------------------------------------------------


def test_own_patterns_are_masked_under_their_names() -> None:
    """The whole match, or the only group of it."""
    assert masked("x ACME-0123ABCD,ACME-00000000 pin is 1234.", ALL) == "x [acme-token],[acme-token] pin is [pin]."


def test_an_own_pattern_never_takes_the_next_line() -> None:
    """Whatever it says of line ends."""
    greedy = Redaction(patterns=(OwnPattern(name="own", pattern=r"key:[^;]+"),))

    assert masked("key:a b\nnext; x", greedy) == "[own]\nnext; x"


def test_what_overlaps_a_built_in_pattern_is_masked_once() -> None:
    """No end of the longer one is left."""
    assert masked("password=xACME-0123ABCDyz1 end", ALL) == "password=[password]"


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_own_patterns_do_not_depend_on_how_text_comes(data: st.DataObject) -> None:
    """Any pieces, any blocks."""
    parts = [
        "ACME-0123ABCD",
        "ACME-",
        "pin is 1234",
        "a@b.example.com",
        "10.1.2.3",
        "fe80::1:2",
        "WHERE a = 'x'",
        " ",
        "\n",
        "x",
    ]
    text = " ".join(data.draw(st.lists(st.sampled_from(parts), max_size=12))).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    finder = Finder([], ALL)

    outputs = set()
    for block_bytes in (65536, data.draw(st.integers(3, 60))):
        stream = RedactionStream(finder, b"salt", block_bytes=block_bytes)
        pieces = [stream.feed(text[start:end]) for start, end in pairwise((0, *cuts, len(text)))]
        outputs.add(b"".join(pieces) + stream.finish())

    assert len(outputs) == 1
    assert not re.search(rb"ACME-[0-9A-F]{8}|a@b|10\.1\.2\.3", outputs.pop())


def test_an_own_pattern_may_ask_for_the_start_and_the_end_of_a_line() -> None:
    """Of every line, not of the whole output."""
    pin = Redaction(patterns=(OwnPattern(name="own", pattern=r"^PIN=(\d+)$"),))

    assert masked("PIN=1\nPIN=22\nx PIN=3\nPIN=4 x\nPIN=5", pin) == "PIN=[own]\nPIN=[own]\nx PIN=3\nPIN=4 x\nPIN=[own]"


# --- people and addresses ------------------------------------------------------------------------


def test_people_and_addresses_stay_unless_asked_for() -> None:
    """They are what an incident is about."""
    text = "bob@example.com from 10.0.0.5:3306 to [2001:db8::7]:22"

    assert masked(text, Redaction()) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mail bob.smith+x@mail.example.com, ok", "mail [email], ok"),
        ("<bob@example.com>", "<[email]>"),
        (
            "user=a%40b.com root@localhost @decorator npm/@scope/x",
            "user=a%40b.com root@localhost @decorator npm/@scope/x",
        ),
    ],
)
def test_mail_addresses_are_masked(text: str, left: str) -> None:
    """With a domain, from their first letter on."""
    assert masked(text, Redaction(emails=True)) == left


@pytest.mark.parametrize("before", [0, 1, 40, 63])
def test_a_mail_address_is_masked_where_a_block_without_lines_ends(before: int) -> None:
    """Its name stands before what gives it away."""
    finder = Finder([], Redaction(emails=True))
    stream = RedactionStream(finder, b"s", block_bytes=256, window_bytes=128)
    text = b"x " * 200 + b"y" * before + b" bob.the.builder@example.com" + b" z" * 400

    output = stream.feed(text) + stream.finish()

    assert b"builder" not in output
    assert b"bob" not in output


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("10.0.0.5:3306 192.168.1.1, 10.0.0.6.", "[address]:3306 [address], [address]."),
        ("[2001:db8::7]:22 fe80::1%eth0 ::ffff:10.0.0.5", "[[address]]:22 [address]%eth0 [address]"),
        ("2001:db8:0:0:1:2:3:4/64", "[address]/64"),
        ("127.0.0.1 ::1 0.0.0.0 :: localhost", "127.0.0.1 ::1 0.0.0.0 :: localhost"),
        ("20:55:01 aa:bb:cc:dd:ee:ff std::string foo::bad 1.2.3 256.1.1.1 v1.2.3.4.5", "20:55:01 aa:bb:cc:dd:ee:ff std::string foo::bad 1.2.3 256.1.1.1 v1.2.3.4.5"),
    ],
)  # fmt: skip
def test_addresses_are_masked(text: str, left: str) -> None:
    """Of both versions; this machine's own stay, and so do times, MAC addresses and names of C++."""
    assert masked(text, Redaction(addresses=True)) == left


# --- SQL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            "SELECT * FROM t WHERE a = 'Smith' AND id IN (12345, 67890) AND n = \"x\" LIMIT 10",
            "SELECT * FROM t WHERE a = '[sql-literal]' AND id IN ([sql-literal], [sql-literal]) AND n = \"[sql-literal]\" LIMIT 10",
        ),
        (
            "INSERT INTO t VALUES (1, 'it''s', 'a\\'b', '', NULL, 2026.5)",
            "INSERT INTO t VALUES (1, '[sql-literal]', '[sql-literal]', '', NULL, [sql-literal])",
        ),
        (
            '{"sql":"update t set a=\\"Bob\\" where b=\'c d\'","user":"ann","ms":1234}',
            '{"sql":"update t set a=\\"[sql-literal]\\" where b=\'[sql-literal]\'","user":"ann","ms":1234}',
        ),
        ("# Time: 1\nSELECT a\n  FROM t\n WHERE b = 'x'\n   AND c = 'y';\n", "# Time: 1\nSELECT a\n  FROM t\n WHERE b = '[sql-literal]'\n   AND c = '[sql-literal]';\n"),
        ("can't connect to 'db-1' (1045) for user 'app'", "can't connect to 'db-1' (1045) for user 'app'"),
        ("selected 1234 items from 'cart'", "selected 1234 items from 'cart'"),
        ("SELECT `a1234` FROM t1234 WHERE c = 12", "SELECT `a1234` FROM t1234 WHERE c = 12"),
    ],
)  # fmt: skip
def test_values_in_sql_are_masked(text: str, left: str) -> None:
    """Strings and longer numbers of statements, and nothing of other lines."""
    assert masked(text, Redaction(sql_literals=True)) == left


def test_values_deep_in_a_very_long_statement_are_masked() -> None:
    """An INSERT of a thousand rows shows none of them, though its first word is long out of sight."""
    rows = ", ".join(f"({number}, 'name-{number}')" for number in range(10_000, 20_000))

    statement = " ".join(["INSERT INTO people VALUES", f"{rows};"])

    output = masked(f"{statement}\nnext line 'stays' 12345\n", Redaction(sql_literals=True))

    assert "name-" not in output
    assert not re.search(r"1[0-9]{4}, ", output)
    assert output.endswith(";\nnext line 'stays' 12345\n")


# --- what stays ----------------------------------------------------------------------------------


def test_what_is_to_be_kept_is_kept_as_a_whole_only() -> None:
    """Documentation's own example key stays, one that begins like it does not; a known secret never stays."""
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    keep = Redaction(keep=("AKIA" + "[A-Z0-9]*EXAMPLE", "changeme"))

    assert masked(f"key {key} password=changeme", keep) == f"key {key} password=changeme"
    assert masked("password=changeme2", keep) == "password=[password]"
    assert masked("password=changeme", keep, known=(b"changeme",)) == "password=[known-secret]"


def test_a_second_pass_with_options_changes_nothing() -> None:
    """Masks of every kind are known as masks."""
    once = Redactor(tuple, salt=b"s", redaction=ALL).text("a@b.example.com 10.1.2.3 ACME-0123ABCD SELECT 'x', 12345")

    assert Redactor(tuple, salt=b"s", redaction=ALL).text(once) == once


# --- the settings --------------------------------------------------------------------------------


def written(folder: Path, redaction: str) -> Path:
    """A capturebot.yml with this `redaction`."""
    config = folder / "capturebot.yml"
    config.write_text(f"folder: x\ntargets: {{here: {{local: true}}}}\nredaction: {redaction}\n")
    return config


def test_settings_say_what_is_masked(tmp_path: Path) -> None:
    """All of it, or nothing."""
    config = written(
        tmp_path,
        "{patterns: [{name: acme-token, pattern: 'ACME-[0-9A-F]{8}'}], keep: [changeme], emails: true, sql_literals: true}",
    )

    assert load(config).redaction == Redaction(patterns=(ACME,), keep=("changeme",), emails=True, sql_literals=True)


@pytest.mark.parametrize(
    ("redaction", "says"),
    [
        ("{patterns: [{name: jwt, pattern: abcdef}]}", "redaction.patterns.jwt.name: is a kind that is masked already"),
        ("{patterns: [{name: email, pattern: abcdef}]}", "redaction.patterns.email.name: is a kind that is masked already"),
        ("{patterns: [{name: Own, pattern: abcdef}]}", "redaction.patterns.Own.name: must be lower-case letters"),
        ("{patterns: [{name: own, pattern: '(abc'}]}", "redaction.patterns.own.pattern: is no regular expression (missing ): (abc)"),
        ("{patterns: [{name: own, pattern: '(?<=a)b'}]}", "redaction.patterns.own.pattern: is no regular expression ("),
        ("{patterns: [{name: own, pattern: 'a*'}]}", "redaction.patterns.own.pattern: matches nothing at all"),
        ("{patterns: [{name: own, pattern: '[a-z]+'}]}", "redaction.patterns.own.pattern: matches ordinary text (`worker`)"),
        ("{patterns: [{name: own, pattern: '(abc)(def)'}]}", "redaction.patterns.own.pattern: has several groups"),
        ("{patterns: [{name: own, pattern: abcdef}, {name: own, pattern: abcdeg}]}", "redaction.patterns: has two patterns called `own`"),
        ("{keep: ['(abc']}", "redaction.keep: holds `(abc`, which is no regular expression"),
        ("{email: true}", "redaction.email: "),
    ],
)  # fmt: skip
def test_a_wrong_redaction_says_where_and_how_to_mend_it(redaction: str, says: str, tmp_path: Path) -> None:
    """Before the bot starts."""
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, redaction))

    (problem,) = caught.value.problems
    assert f": {says}" in str(problem)


# --- one incident --------------------------------------------------------------------------------


def test_a_secret_has_one_mask_within_an_incident_and_after_a_restart() -> None:
    """The journal's salt and the incident make it, nothing that a process forgets; the next incident shows another one."""
    before, after = (Redactor(tuple, salt=b"of the journal") for _ in range(2))
    text = "password=hunter2"

    assert before.within("P1").text(text) == after.within("P1").text(text)
    assert before.within("P1").text(text) != before.within("P2").text(text)
    assert before.within("P1").text(text) != before.text(text)


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        ({}, "0 secrets masked"),
        ({"jwt": 1}, "1 secret masked (jwt)"),
        ({"jwt": 3}, "3 secrets masked (jwt)"),
        ({"jwt": 3, "password": 9, "card": 2}, "14 secrets of 3 kinds masked (9 password, 3 jwt, 2 card)"),
    ],
)
def test_the_receipt_says_how_many_of_which_kinds(kinds: dict[str, int], says: str) -> None:
    """In one line."""
    assert receipt(kinds) == says
