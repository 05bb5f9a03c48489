"""`capturebot redact`: a file as it would be kept, or where its secrets are."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.cli import main

KEY = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(["QUJD" * 16] * 3) + "\n-----END PRIVATE KEY-----\n"
TEXT = f"first line\nuser=a password=hunter2 x=1\n{KEY}mail a@b.example.com\nagain password=hunter2\nknown s3cr3t-of-db here\n"
RECEIPT = "3 secrets of 2 kinds masked (2 password, 1 private-key).\n"

Said = Callable[..., tuple[str, str]]


@pytest.fixture
def said(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Runs the command in a folder of its own; returns what came on both outputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "s3cr3t-of-db")
    monkeypatch.delenv("CAPTUREBOT_CONFIG", raising=False)
    (tmp_path / "app.log").write_text(TEXT)

    def run(*arguments: str) -> tuple[str, str]:
        assert main([*arguments]) == 0
        out, err = capsysbinary.readouterr()
        return out.decode(), err.decode()

    return run


def test_a_file_is_shown_without_its_secrets_and_the_receipt_beside_it(said: Said) -> None:
    """The text goes on to the next program, what is said of it to the terminal."""
    out, err = said("redact", "app.log")

    mask = r"\[masked:([a-z-]+):[0-9a-f]{6}\]"
    assert re.sub(mask, r"[\1]", out) == TEXT.replace("hunter2", "[password]").replace(
        KEY, "-----BEGIN PRIVATE KEY-----\n[private-key]\n-----END PRIVATE KEY-----\n"
    )
    assert len(set(re.findall(r"\[masked:password:[0-9a-f]{6}\]", out))) == 1
    assert err == RECEIPT


def test_a_report_names_lines_and_never_the_text(said: Said) -> None:
    """The line of each secret in the file, also behind one of many lines."""
    out, err = said("redact", "--report", "app.log")

    assert re.sub(":[0-9a-f]{6}]", "]", out) == "2: [masked:password]\n4: [masked:private-key]\n9: [masked:password]\n"
    assert err == RECEIPT


def test_the_settings_are_asked_where_there_are_some(said: Said, tmp_path: Path) -> None:
    """What they mask besides, and the secrets that they name as far as they are here; the others are said to be missing."""
    (tmp_path / "capturebot.yml").write_text(
        "folder: x\nredaction: {emails: true}\ntargets:\n"
        "  db: {mysql: {host: h, user: u, password: env:DB_PASSWORD}}\n"
        "  other: {mysql: {host: h, user: u, password: env:NOT_HERE}}\n"
    )

    out, err = said("redact", "app.log")

    assert "s3cr3t" not in out
    assert "b.example.com" not in out
    assert "known [masked:known-secret:" in out
    assert err.splitlines() == [
        "5 secrets of 4 kinds masked (2 password, 1 email, 1 known-secret, 1 private-key).",
        "1 of 2 secrets that the settings name are not to be had here, and were not looked for.",
    ]


def test_a_file_that_is_not_there_is_said(said: Said, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """With what to do."""
    assert main(["redact", "none.log"]) == 2

    assert b"none.log cannot be read: No such file or directory. Name a file, or `-`" in capsysbinary.readouterr().err


@pytest.mark.thorough
def test_a_pipe_that_is_closed_early_is_no_error(said: Said, tmp_path: Path) -> None:
    """`… | capturebot redact - | head` ends quietly."""
    program = f"yes 'password=hunter2' | head -c 2000000 | {sys.executable} -m bot redact - | head -n 1"

    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)

    assert re.fullmatch(r"password=\[masked:password:[0-9a-f]{6}\]\n", done.stdout)
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr
