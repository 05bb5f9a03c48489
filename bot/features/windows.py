"""What a Windows host may have that makes recipes see more, what asks it for that, and the commands that give it.

The commands are those of Microsoft's documentation (docs/windows.md has them in their context). Groups go by their numbers,
which are the same in every language of Windows.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.features import Facts, Feature
from bot.transports.windows_doctor import RIGHTS

FAMILY = "windows"  # as the fact `family` says it
_JOIN = "Add-LocalGroupMember -SID {sid} -Member '{{user}}'"


def _has(right: str) -> Feature:
    lack, cure = _LACKS[right]
    return Feature(lambda facts: facts.get(f"can {right}") == "yes", lack, cure)


_LACKS = {
    "administrator": (
        "command lines and owners of other users' processes stay unseen",
        _JOIN.format(sid="S-1-5-32-544"),
    ),
    "debug-privilege": (
        "processes of other users may not be opened",
        _JOIN.format(sid="S-1-5-32-544") + "; or the privilege alone: docs/windows.md, “Debug programs”",
    ),
    "event-log": ("event logs may not be read", _JOIN.format(sid="S-1-5-32-573")),
    "performance-counters": (
        "counters of the network and of other users' processes stay unseen",
        _JOIN.format(sid="S-1-5-32-558"),
    ),
}

# What `wants:` of a step for Windows may name beside programs.
FEATURES: Mapping[str, Feature] = {right: _has(right) for right in _LACKS}

# Facts come as KEY<TAB>VALUE. What tries something for real tells more than what reads a setting.
SURVEY = (
    RIGHTS
    + r"""
function Fact($key, $value) { "$key`t$value" }
function YesNo($is) { if ($is) { 'yes' } else { 'no' } }
$system = Get-CimInstance Win32_OperatingSystem -OperationTimeoutSec 10 -ErrorAction SilentlyContinue
Fact 'family' 'windows'
Fact 'system' "$(if ($system) { $system.Caption } else { 'Windows' }) $([Environment]::OSVersion.Version)"
Fact 'user' $identity.Name
Fact 'tools' $env:TOOLS
foreach ($right in 'administrator', 'debug-privilege', 'performance-counters') { Fact "can $right" (YesNo ($rights -contains $right)) }
Fact 'can event-log' (YesNo (Get-WinEvent -LogName System -MaxEvents 1 -ErrorAction SilentlyContinue))
$env:PATH = "$env:PATH;$env:TOOLS"
foreach ($name in "$env:PROGRAMS" -split ' ' | Where-Object { $_ }) {
  $found = Get-Command "$name.exe", "${name}64.exe", "${name}64a.exe", $name -CommandType Application -ErrorAction SilentlyContinue
  Fact "program $name" ($found | Select-Object -First 1).Path
}
Fact 'end' 'yes'
"""
)


def installing(program: str, facts: Facts) -> str:
    """What brings *program* to a host."""
    if program.startswith("dotnet-"):
        return rf"dotnet tool install {program} --tool-path {facts.get('tools', '')}".rstrip()
    return f"put {program}.exe into {facts.get('tools') or 'a folder of its PATH'} there, or below `tools:` of capturebot.yml here"
