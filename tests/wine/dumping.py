r"""What takes a dump on a Wine host: batch files in place of the recipe's two PowerShell scripts, and a process to dump.

procdump.exe itself is tests/wine/procdump.c, which writes real minidumps.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.wine.host import Prefix

AT = "at=2026-11-23T04:10:00.000000+00:00"
DUMPER = rf"""@echo off
echo ### process {AT}
echo pid	user	app	command
echo %PARAM_PID%	capture	probe.exe	probe.exe pid
echo ### procdump {AT}
set kind=-mm
if "%PARAM_DUMP%"=="full" set kind=-ma
set when=
if "%PARAM_WHEN%"=="hang" set when=-h
>"%CAPTURE_SCRATCH%\leave" echo procdump-%PARAM_PID%
>>"%CAPTURE_SCRATCH%\leave" echo ProcDump-%PARAM_PID%
procdump64.exe -accepteula %kind% -r 1 %when% -n 1 %PARAM_PID% "%CAPTURE_SCRATCH%\dump.dmp"
del "%CAPTURE_SCRATCH%\leave"
if exist "%CAPTURE_SCRATCH%\dump.dmp" goto taken
echo no dump was taken 1>&2
exit 1
:taken
for %%F in ("%CAPTURE_SCRATCH%\dump.dmp") do echo ### dump {AT} size_bytes=%%~zF kind=%PARAM_DUMP% clone=yes when=%PARAM_WHEN%
"""
COST = """@echo off
echo what=probe.exe (pid %PARAM_PID%)
echo pause_s=0.3
echo writes_bytes=70000000
echo path=%CAPTURE_SCRATCH%
echo free_bytes=40000000000
echo total_bytes=80000000000
"""


def stand_in(temp: Path) -> None:
    """Put both batch files where that host looks for what stands for a script."""
    for name, text in {"procdump": DUMPER, "win-dump-cost": COST}.items():
        (temp / f"{name}.ps1.cmd").write_text(text, newline="\r\n")


@contextmanager
def victim(prefix: Prefix) -> Iterator[int]:
    """A process on the host that sleeps, and must still do so in the end; its id there."""
    said = prefix.drive / "victim"
    said.unlink(missing_ok=True)
    process = subprocess.Popen(
        ["wine", "C:\\windows\\probe.exe", "pid", "C:\\victim", "alone"],
        env=prefix.environment,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    with process:
        try:
            process.stdout.readline()
            yield int(said.read_text().split()[0])
            assert process.poll() is None, "the process that was dumped has ended"
        finally:
            process.kill()
