"""A recipe to begin with: right as it stands, commented, with a script and a test that run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bot.errors import ConfigError, UserError
from bot.model import TargetKind
from bot.recipes import problem_of_name

MARK = "NAME"  # stands for the recipe's name in the texts below


def write(name: str, kind: TargetKind, folder: Path, *, known: Collection[str]) -> list[Path]:
    """Write the files of a new recipe into *folder*, which is made where it is missing; *known* are the names that are taken.

    Raises ConfigError for a name that no recipe can have, and UserError where something is there already.
    """
    if problem := problem_of_name(folder / f"{name}.yml", name):
        raise ConfigError((problem,))
    if name in known:
        raise UserError(f"There is a recipe `{name}` already.", cure="Choose another name.")
    files = {
        folder / file.format(name=name, module=name.replace("-", "_")): text for file, text in _FILES[kind].items()
    }
    for path in files:
        if path.exists():
            raise UserError(f"{path} is there already.", cure="Choose another name, or move it away.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8") as file:
                file.write(text.replace(MARK, name))
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise UserError(f"{folder} cannot be written: {reason}.", cure="Name another folder with --into.") from None
    return list(files)


_HOST = """\
# /capture NAME TARGET — what people type. `capturebot check` says what is wrong with this file, and how to mend it.
title: NAME                       # what people read
about: What NAME keeps, in one or two sentences.
for: host                         # host | mysql | windows
impact: light                     # none | light | pauses | heavy: what it costs the target

# Values that people may give as name=value. They are matched before use, and are never read as code.
parameters:
  top: {type: integer, about: How many processes, default: 10, minimum: 1, maximum: 100}

# The steps of another recipe can be taken, too, with values for its parameters:
# use: [{recipe: host, only: [cpu, memory]}]

steps:
  # A program, each argument an element of its own. "{top}" would be the value of `top`.
  - {id: load, title: Load, run: [uptime], timeout: 5, limit: 10 kB}

  # The script beside this file, $PARAM_TOP is the value of `top`. It is run twice, two seconds apart, and
  # `difference` names the numbers that moved most; an insight of your own would name the culprit.
  - id: counters
    title: Counters and processes
    script: NAME.sh
    needs: [ps]                   # programs; where one is missing the step is skipped, and says so
    sample: {times: 2, every: 2}
    timeout: 10                   # seconds, of one run
    limit: 200 kB                 # what is kept at most
    insight: difference
"""

_SCRIPT = """\
#!/usr/bin/env bash
# What NAME looks at. It only reads, and ends well whatever it finds; each part stands under a header of its own.
set -u

section() { printf '### %s at=%s\\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

section counters
awk '/^(processes|procs_running|procs_blocked|ctxt) /' /proc/stat

section memory
printf 'name\\tpid\\trss_kb\\n'
ps -eo comm=,pid=,rss= --sort=-rss | head -n "$PARAM_TOP" | sed -E 's/[[:space:]]+([0-9]+)[[:space:]]+([0-9]+)$/\\t\\1\\t\\2/'
exit 0
"""

_TEST = '''\
"""NAME: the recipe is right, and its script prints what its reader needs. Run it with `pytest`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bot.insights import sections
from bot.model import Script
from bot.plugins import insight_names
from bot.recipes import bind, bind_parameters, builtin_folder, load_all

RECIPE = load_all([builtin_folder(), Path(__file__).parent], insights=insight_names())["NAME"]


def test_the_script_prints_its_parts_and_ends_well() -> None:
    """With the values that stand when nobody gives any."""
    step = next(step for step in RECIPE.steps if isinstance(step.action, Script))
    script = bind(step, bind_parameters(RECIPE, {})).action
    assert isinstance(script, Script)

    done = subprocess.run(
        ["bash", "-c", script.text],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", **script.env},
        capture_output=True,
        text=True,
        timeout=step.timeout_s,
        check=True,
    )

    counters, memory = sections(done.stdout)
    assert "procs_running" in counters.body
    assert all(int(row["rss_kb"]) >= 0 for row in memory.rows())
    assert done.stderr == ""
'''

_MYSQL = """\
# /capture NAME TARGET — what people type. `capturebot check` says what is wrong with this file, and how to mend it.
title: NAME                       # what people read
about: What NAME keeps, in one or two sentences.
for: mysql                        # host | mysql | windows
impact: light                     # none | light | pauses | heavy: what it costs the target

# Values that people may give as name=value. They are matched before use, and bound, never pasted into SQL.
parameters:
  top: {type: integer, about: How many rows, default: 25, minimum: 1, maximum: 200}

# The steps of another recipe can be taken, too, with values for its parameters:
# use: [locks]

steps:
  # Statements that only read, one after the other on one connection. Each heads its rows with its name; begin them with
  # the comment, so that what reads the statements of the server leaves these out.
  - id: sessions
    title: Sessions, and what the server counts
    sql:
      - name: sessions
        both: SELECT /* capturebot */ user, COUNT(*) AS sessions FROM information_schema.processlist GROUP BY user LIMIT %(top)s
      - {name: counters, both: "SHOW /* capturebot */ GLOBAL STATUS LIKE 'Handler%'"}
    sample: {times: 2, every: 2}  # again two seconds later: `difference` names the numbers that moved most
    timeout: 10                   # seconds, of one run
    limit: 200 kB                 # what is kept at most
    insight: difference
"""

_MYSQL_TEST = '''\
"""NAME: the recipe is right, and its statements only read. Run it with `pytest`."""

from __future__ import annotations

from pathlib import Path

from bot.model import Sql
from bot.plugins import insight_names
from bot.recipes import bind, bind_parameters, builtin_folder, load_all
from bot.sql import refusal

RECIPE = load_all([builtin_folder(), Path(__file__).parent], insights=insight_names())["NAME"]


def test_every_statement_only_reads_and_is_known_as_ours() -> None:
    """With the values that stand when nobody gives any."""
    actions = [bind(step, bind_parameters(RECIPE, {})).action for step in RECIPE.steps]

    texts = [
        text
        for action in actions
        if isinstance(action, Sql)
        for each in action.statements
        for text in (each.both, each.mariadb, each.mysql)
        if text
    ]
    assert all("/* capturebot */" in text for text in texts)
    assert [refusal(text) for text in texts if refusal(text)] == []
'''

_WINDOWS = """\
# /capture NAME TARGET — what people type. `capturebot check` says what is wrong with this file, and how to mend it.
title: NAME                       # what people read
about: What NAME keeps, in one or two sentences.
for: windows                      # host | mysql | windows
impact: light                     # none | light | pauses | heavy: what it costs the target

# Values that people may give as name=value. They are matched before use, and are never read as code.
parameters:
  top: {type: integer, about: How many processes, default: 10, minimum: 1, maximum: 100}

steps:
  # A program, each argument an element of its own; no cmd.exe reads them. "{top}" would be the value of `top`.
  - {id: connections, title: Connections, run: [netstat, -ano], timeout: 15, limit: 2 MB}

  # The PowerShell script beside this file, $env:PARAM_TOP is the value of `top`. It is run twice, two seconds apart, and
  # `difference` names the numbers that moved most; an insight of your own would name the culprit.
  - id: handles
    title: Processes by handles
    script: NAME.ps1
    sample: {times: 2, every: 2}
    timeout: 20                   # seconds, of one run
    limit: 200 kB                 # what is kept at most
    insight: difference
"""

_WINDOWS_SCRIPT = """\
# What NAME looks at. It only reads; each part stands under a header of its own, and what it prints are plain lines: no
# language of Windows changes them.

function Section($name) {
  $at = [DateTime]::UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff", [Globalization.CultureInfo]::InvariantCulture)
  "### $name at=$at+00:00"
}

Section 'handles'
"process`tpid`thandles"
Get-CimInstance Win32_Process | Sort-Object HandleCount -Descending | Select-Object -First $env:PARAM_TOP |
  ForEach-Object { "$($_.Name)`t$($_.ProcessId)`t$($_.HandleCount)" }
"""

_WINDOWS_TEST = '''\
"""NAME: the recipe is right, and what its script prints can be read. Run it with `pytest`."""

from __future__ import annotations

from pathlib import Path

from bot.insights import sections
from bot.model import Script
from bot.plugins import insight_names
from bot.recipes import bind, bind_parameters, builtin_folder, load_all

RECIPE = load_all([builtin_folder(), Path(__file__).parent], insights=insight_names())["NAME"]
# What the script prints: record it on one of your hosts, and put it here.
RECORDED = "### handles at=2026-11-23T03:10:05.902771+00:00\\nprocess\\tpid\\thandles\\nSystem\\t4\\t3211\\n"


def test_the_script_gets_its_parameters_and_prints_rows() -> None:
    """With the values that stand when nobody gives any."""
    step = next(step for step in RECIPE.steps if isinstance(step.action, Script))

    script = bind(step, bind_parameters(RECIPE, {})).action

    assert isinstance(script, Script)
    assert script.env == {"PARAM_TOP": "10"}
    (handles,) = sections(RECORDED)
    assert all(int(row["handles"]) >= 0 for row in handles.rows())
'''

_FILES = {
    TargetKind.HOST: {"{name}.yml": _HOST, "{name}.sh": _SCRIPT, "test_{module}.py": _TEST},
    TargetKind.MYSQL: {"{name}.yml": _MYSQL, "test_{module}.py": _MYSQL_TEST},
    TargetKind.WINDOWS: {"{name}.yml": _WINDOWS, "{name}.ps1": _WINDOWS_SCRIPT, "test_{module}.py": _WINDOWS_TEST},
}
