"""What `capturebot doctor` says of a Windows host: who we are there, what we may, what it runs, and why nothing runs."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from bot.insights import words

SHORT_OF_ROOM_BYTES = 1e9
UTF8_PAGE = "65001"
LEAST_POWERSHELL = [5, 1]

# Into $rights, by the words that `wants:` of a step has for them: groups by their numbers and privileges by their names, which
# no language of Windows changes. A privilege counts whether it is on or off: who needs it turns it on.
RIGHTS = r"""
$identity = [Security.Principal.WindowsIdentity]::GetCurrent()
$groups = @($identity.Groups | ForEach-Object { $_.Value })
$admin = (New-Object System.Security.Principal.WindowsPrincipal $identity).IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
$privileges = @(whoami.exe /priv /fo csv /nh | ForEach-Object { ($_ -split '"')[1] })
$rights = @()
if ($admin) { $rights += 'administrator' }
if ($privileges -contains 'SeDebugPrivilege') { $rights += 'debug-privilege' }
if ($admin -or $groups -contains 'S-1-5-32-573') { $rights += 'event-log' }
if ($admin -or $groups -contains 'S-1-5-32-558' -or $groups -contains 'S-1-5-32-559') { $rights += 'performance-counters' }
"""

# What a host is asked, behind what every program of ours begins with.
QUESTION = (
    RIGHTS
    + r"""
function Tell($words) { [Console]::Out.WriteLine("$($plan.say) $words") }
Tell "user $admin $($identity.Name)"
Tell "version $($PSVersionTable.PSVersion) $([Environment]::OSVersion.Version)"
Tell "rights $($rights -join ' ')"
$temp = [IO.Path]::GetTempPath()
$drive = New-Object System.IO.DriveInfo -ArgumentList ([IO.Path]::GetPathRoot($temp))
Tell "temp $($drive.AvailableFreeSpace) $($drive.TotalSize) $temp"
$pages = Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Control\Nls\CodePage' -ErrorAction SilentlyContinue
Tell "pages $([Console]::OutputEncoding.CodePage) $($pages.OEMCP) $($pages.ACP)"
foreach ($name in 'tasklist.exe', 'taskkill.exe', 'netstat.exe', 'netsh.exe', 'wevtutil.exe', 'whoami.exe') {
  if (-not (Get-Command $name -CommandType Application -ErrorAction SilentlyContinue)) { Tell "without $name" }
}
if (-not (Get-CimInstance Win32_OperatingSystem -OperationTimeoutSec 5 -ErrorAction SilentlyContinue)) { Tell 'without WMI' }
exit 0
"""
)

_MODE = '"capturebot $($ExecutionContext.SessionState.LanguageMode) $($PSVersionTable.PSVersion)"'
_SHELL = "powershell.exe -NoLogo -NoProfile -NonInteractive -OutputFormat Text"
# Tried where the question got no answer: words alone are allowed in every language mode; the second has nothing encoded.
ENCODED = f"{_SHELL} -EncodedCommand {base64.b64encode(_MODE.encode('utf-16-le')).decode()}"
PLAIN = f"{_SHELL} -Command Write-Output capturebot"

_MAY = {
    "debug-privilege": "open other users' processes",
    "event-log": "read event logs",
    "performance-counters": "read performance counters",
}
# As Microsoft's documentation has them; the whole is in docs/windows.md.
_OUTPUT = r"Set-ItemProperty HKLM:\SYSTEM\CurrentControlSet\Control\Nls\CodePage OEMCP 65001; Restart-Computer"


def read_examination(host: str, answer: Iterable[Sequence[str]]) -> list[str]:
    """What the question brought, as lines for `capturebot doctor`; empty where it brought nothing."""
    lines: list[str] = []
    for said in answer:
        match said:
            case ["user", admin, *name]:
                rights = "an administrator" if admin == "True" else "no administrator"
                lines.append(f"ok: {host} runs commands as {' '.join(name)}, {rights}")
            case ["version", powershell, windows]:
                lines.append(_version(host, powershell, windows))
            case ["rights", *rights]:
                may = [what for right, what in _MAY.items() if right in rights]
                lines.append(
                    f"ok: our account there may {_listed(may)}"
                    if may
                    else "ok: our account there has no rights beyond a user's"
                )
            case ["temp", free, total, *folder] if free.isdecimal() and total.isdecimal():
                lines.append(_room(int(free), int(total), " ".join(folder)))
            case ["pages", console, *others]:
                lines.append(_pages(console, others))
            case ["without", "WMI"]:
                cure = "Restart-Service Winmgmt -Force, then winmgmt /verifyrepository"
                lines.append(f"fault: WMI does not answer on {host}, which most of what we look at comes from — {cure}")
            case ["without", program]:
                lines.append(f"warn: {program}, a part of Windows, is not on the PATH of {host} — sfc /scannow")
    return lines


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _version(host: str, powershell: str, windows: str) -> str:
    said = f"{host} is Windows {windows} with PowerShell {powershell}"
    numbers = [int(part) for part in powershell.split(".")[:2] if part.isdecimal()]
    if numbers < LEAST_POWERSHELL:
        return f"warn: {said}, and recipes are written for 5.1 — install Windows Management Framework 5.1"
    return f"ok: {said}"


def _room(free: int, total: int, folder: str) -> str:
    said = f"{words.size(free)} of {words.size(total)} free for what steps leave, in {folder}"
    if free < SHORT_OF_ROOM_BYTES:
        return f"warn: {said} — Dism.exe /Online /Cleanup-Image /StartComponentCleanup, or remove what nobody needs"
    return f"ok: {said}"


def _pages(console: str, others: Sequence[str]) -> str:
    page = others[0] if others else "?"
    if console == UTF8_PAGE:
        return f"ok: programs are asked for UTF-8 there; its own code page is {page}"
    return (
        f"warn: programs write code page {console} there, and other letters than English ones come damaged — {_OUTPUT}"
    )


def held_back(host: str, encoded: str, plain: str) -> str:
    """Why PowerShell ran no program of ours: by what it printed for ENCODED and for PLAIN."""
    said = next((line.split() for line in encoded.splitlines() if line.startswith("capturebot ")), [])
    where = "docs/windows.md, “Where PowerShell is held back”, has the lines for it"
    match said:
        case [_, "FullLanguage", version]:
            cure = "update OpenSSH there (`winget install Microsoft.OpenSSH.Preview`)"
            return (
                f"fault: {host} runs PowerShell {version}, but our programs do not reach it through its sshd — {cure}"
            )
        case [_, mode, *_]:
            return f"fault: AppLocker or App Control holds PowerShell in {mode} mode for our account on {host}, where no step can run — {where}"
    if "capturebot" in plain:
        return f"fault: {host} runs PowerShell, but nothing that is given as -EncodedCommand: its virus scanner or a policy forbids it — allow that for our account; {where}"
    return f"fault: {host} does not run powershell.exe for our account: a policy forbids it, or it is not on the PATH — {where}"
