"""`make audit` tells "nothing is known" from "nobody could be asked"."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

AUDIT = Path(__file__).parent.parent / ".ci/audit"
# A pip-audit that knows of what the file $KNOWN holds, one requirement a line, and answers as the real one does.
STAND_IN = """#!/bin/sh
for word; do last=$word; done
if grep -qxF -f "$KNOWN" "$last"; then
    echo "Found 3 known vulnerabilities in 1 package" >&2
    exit 1
fi
echo "No known vulnerabilities found" >&2
"""


@pytest.mark.parametrize(
    ("known", "required", "status", "said"),
    [
        ("", "", 0, "NOT AUDITED"),
        ("", "required", 1, "NOT AUDITED"),
        ("urllib3==1.24.1\n", "", 0, "No known vulnerabilities found"),
        ("urllib3==1.24.1\n", "required", 0, "No known vulnerabilities found"),
        ("urllib3==1.24.1\nthings==1.0\n", "", 1, "Found 3 known vulnerabilities"),
    ],
    ids=["out of reach", "out of reach, and required", "nothing known", "nothing known, and required", "a known one"],
)
def test_what_is_said_of_the_dependencies(tmp_path: Path, known: str, required: str, status: int, said: str) -> None:
    """A database that does not answer is never taken for one that knows of nothing."""
    program, lock, database = tmp_path / "pip-audit", tmp_path / "requirements.lock", tmp_path / "known"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    lock.write_text("things==1.0\n")
    database.write_text(known)

    done = subprocess.run(
        ["sh", str(AUDIT), str(program), str(lock)],
        env={**os.environ, "KNOWN": str(database), "AUDIT": required},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == status
    assert said in done.stderr
