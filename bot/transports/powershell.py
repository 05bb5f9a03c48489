r"""What a Windows host gets to read and says back: the wire format of a step there.

OpenSSH for Windows hands a command to the account's default shell, cmd.exe or PowerShell, which both start the same
program by the same words: Windows PowerShell with a short, constant ``-EncodedCommand``. That reads the step from its
standard input, base64 and nothing else, so that no shell, code page or limit of a command line (8,191 characters in
cmd.exe) comes near it::

    BASE64 of the PowerShell program, one of those below
    KEY BASE64                              for each value of the plan
    whole                                   early versions of that sshd lost the end of long input

The program of a step starts what is to run without a shell (`argv` says how its line is written), or runs the script
that it was given, and holds the limit: a second thread ends everything when it strikes. What outlives the program is
ended by the system: sshd puts a session's processes into a job that ends with its shell (``KILL_ON_JOB_CLOSE``, see
``do_exec_windows`` in Win32-OpenSSH's w32-doexec.c).

Remarks come as lines on stderr behind a random token, as on Linux (see `shell`)::

    TOKEN pid PID START FOLDER              START is the process's, in Windows' file time; FOLDER base64, "-" where none
    TOKEN missing PROGRAM | batch PROGRAM   it was not started
    TOKEN file STATUS SIZE FREE TOTAL ENDING     the file of a step that leaves one, of SIZE bytes and with the ENDING of
                                            compression, waits to be fetched, and is deleted then
    TOKEN carried broken                    a program that was brought along could not be used
    TOKEN limit                             the limit struck
    TOKEN status STATUS                     how it ended; a shell in between may hide the program's own status
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

from bot.errors import StepFailed
from bot.model import WindowsShell
from bot.transports import windows_carrying, windows_doctor, windows_packing
from bot.transports.windows_carrying import Load
from bot.transports.windows_plan import Plan

LEFT_NAMED = 3  # processes
REMARKS = frozenset({"limit", "status"})

_BOOTSTRAP = (
    "$in = @($input); & ([ScriptBlock]::Create("
    "[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($in[0])))) $in"
)
# -InputFormat and -OutputFormat: else a PowerShell around it, or a pipe, makes it speak XML.
_START = (
    "powershell.exe -NoLogo -NoProfile -NonInteractive -InputFormat Text -OutputFormat Text -ExecutionPolicy Bypass"
    f" -EncodedCommand {base64.b64encode(_BOOTSTRAP.encode('utf-16-le')).decode()}"
)
# PowerShell as the default shell reads our input itself, and has to pass it on.
COMMANDS = {WindowsShell.CMD: _START, WindowsShell.POWERSHELL: f"$input | {_START}"}

# Which shell it is: cmd.exe replaces the first word, PowerShell the second one.
WHICH_SHELL = "echo %OS% $PSHOME"

# --- programs, as the host's PowerShell reads them ----------------------------------------------

_PLAN = r"""param($in)
if ($in[-1] -ne 'whole') {
  [Console]::Error.WriteLine('its sshd cut our input short: update OpenSSH there')
  exit 70
}
$ProgressPreference = 'SilentlyContinue'
$plan = @{}
foreach ($line in $in) {
  $key, $text = $line -split ' ', 2
  if ($key -eq 'tool') { $plan.tool = $text }
  elseif ($text) { $plan[$key] = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($text)) }
}
# Without a console there is nothing to set.
try { [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false } catch { }
$OutputEncoding = New-Object System.Text.UTF8Encoding $false
# A pid alone may be another process's by now.
function Find-Process($id, $born) {
  try { Get-Process -Id $id -ErrorAction Stop | Where-Object { "$($_.StartTime.ToFileTimeUtc())" -eq $born } } catch { }
}
function Remove-Folder($folder, $word, $say) {
  $files = @(Get-ChildItem -LiteralPath $folder -Recurse -Force -File -ErrorAction SilentlyContinue)
  $kilobytes = [long](($files | Measure-Object -Property Length -Sum).Sum / 1024)
  foreach ($try in 1..5) {  # a program that was just ended may still hold its files
    Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
    if (-not (Test-Path -LiteralPath $folder)) { return "$say $word $($files.Count) $kilobytes $folder" }
    Start-Sleep -Milliseconds 200
  }
  "$say stays $folder"
}
"""

# What debugs another program takes it along when it is ended by force, so a script that runs such a one writes the names of
# events into $CAPTURE_SCRATCH\\leave: they are set first, and the program has a moment.
_LEAVE = r"""
function Ask-ToLeave($folder) {
  $asked = $false
  $names = if ($folder) { Get-Content -LiteralPath (Join-Path $folder 'leave') -ErrorAction SilentlyContinue }
  foreach ($name in $names) {
    try { $asked = [Threading.EventWaitHandle]::OpenExisting($name).Set() -or $asked } catch { }
  }
  foreach ($try in 1..25) {
    if (-not $asked -or -not (Test-Path -LiteralPath (Join-Path $folder 'leave'))) { break }
    Start-Sleep -Milliseconds 200
  }
}
"""

# Ends whatever the step started, then itself; its shell and the job go with it. WMI may hang on a sick host, so it is
# asked for a few seconds only.
_LIMIT = (
    "param($milliseconds, $say, $folder)"
    + _LEAVE
    + r"""
Start-Sleep -Milliseconds $milliseconds
[Console]::Error.WriteLine("$say limit")
Ask-ToLeave $folder
Get-CimInstance Win32_Process -Filter "ParentProcessId = $PID" -OperationTimeoutSec 3 -ErrorAction SilentlyContinue |
  ForEach-Object { taskkill.exe /T /F /PID $_.ProcessId } | Out-Null
if ($folder) { Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue }
[Diagnostics.Process]::GetCurrentProcess().Kill()
"""
)

_STEP = (
    "# capturebot: step\n"
    + _PLAN
    + r"""
function Say($words) { [Console]::Error.WriteLine("$($plan.say) $words") }
if ($plan.path) { $env:PATH = "$env:PATH;$($plan.path)" }
function Find-Program($name) { Get-Command $name -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1 }
foreach ($name in "$($plan.needs)" -split "`n" | Where-Object { $_ }) {
  if (-not (Find-Program $name)) { Say "missing $name"; exit 127 }
}
if ($plan.program) {
  $program = Find-Program $plan.program
  if ('.exe', '.com' -notcontains $program.Extension) { Say "batch $($plan.program)"; exit 127 }
}
"""
    + windows_packing.PACK
    + r"""
$me = [Diagnostics.Process]::GetCurrentProcess()
$start = $me.StartTime.ToFileTimeUtc()
$place = [IO.Path]::GetTempPath()
# What dead steps left behind: each folder is named for the process that made it.
foreach ($old in @(Get-ChildItem -Path $place -Filter 'capturebot-*' -Directory -ErrorAction SilentlyContinue)) {
  if ($old.Name -match '^capturebot-(\d+)-(\d+)-' -and -not (Find-Process $Matches[1] $Matches[2])) {
    [Console]::Error.WriteLine((Remove-Folder $old.FullName 'swept' $plan.say))
  }
}
$folder = ''
$told = '-'
if ($plan.scratch) {
  $folder = Join-Path $place "capturebot-$PID-$start-$($plan.say)"
  [void](New-Item -ItemType Directory -Path $folder -ErrorAction Stop)
  [Environment]::SetEnvironmentVariable('CAPTURE_SCRATCH', $folder)
  $told = [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($folder))
}
"""
    + windows_carrying.UNPACK
    + r"""
foreach ($key in @($plan.Keys) -like 'env.*') { [Environment]::SetEnvironmentVariable($key.Substring(4), $plan[$key]) }
$limit = [PowerShell]::Create().AddScript($plan.limit).AddArgument([int]$plan.milliseconds).AddArgument($plan.say).AddArgument($folder)
[void]$limit.BeginInvoke()
Say "pid $PID $start $told"
$status = 0
try {
  if ($plan.program) {
    $info = New-Object System.Diagnostics.ProcessStartInfo -ArgumentList $program.Path, "$($plan.line)"
    $info.UseShellExecute = $false
    $child = [Diagnostics.Process]::Start($info)
    $child.WaitForExit()
    $status = $child.ExitCode
  } else {
    & ([ScriptBlock]::Create($plan.script)) | Out-String -Stream -Width 10000 | ForEach-Object { [Console]::Out.WriteLine($_) }
  }
  if ($plan.file) {
    [Console]::Out.Write("$($plan.say) end")
    [Console]::Out.Flush()
    $file = Join-Path $folder $plan.file
    $size = -1
    if (Test-Path -LiteralPath $file -PathType Leaf) { $size = (Get-Item -LiteralPath $file -Force).Length }
    $drive = New-Object System.IO.DriveInfo -ArgumentList ([IO.Path]::GetPathRoot($folder))
    $ending = ''
    $left = $plan.milliseconds / 1000 - ([DateTime]::Now - $me.StartTime).TotalSeconds
    if ($plan.squeeze -and $size -gt 65536 -and $drive.AvailableFreeSpace - $size -gt $drive.TotalSize / 20) {
      $ending = Compress-File $file ($left / 3)
      $file += $ending
      $size = (Get-Item -LiteralPath $file -Force).Length
    }
    Say "file $status $size $($drive.AvailableFreeSpace) $($drive.TotalSize) $ending"
    while ($size -ge 0 -and (Test-Path -LiteralPath $file)) { Start-Sleep -Milliseconds 100 }
  }
} catch {
  [Console]::Error.WriteLine("$($_.Exception.Message)")
  $status = 1
} finally {
  if ($folder) { [Console]::Error.WriteLine((Remove-Folder $folder 'removed' $plan.say)) }
}
Say "status $status"
exit $status
"""
)

# The process and all that it started. Handles are taken first: they, unlike ids, stay those of one process.
_END = (
    "# capturebot: end\n"
    + _PLAN
    + _LEAVE
    + r"""
function Test-Left($process) {
  try { -not $process.HasExited } catch { [bool](Get-Process -Id $process.Id -ErrorAction SilentlyContinue) }
}
$root = Find-Process $plan.pid $plan.start
$tree = @()
$blind = ''
if ($root) {
  Ask-ToLeave $plan.folder
  $all = @(Get-CimInstance Win32_Process -OperationTimeoutSec 4 -ErrorAction SilentlyContinue)
  if (-not $all) { $blind = 'blind ' }
  $ids = @([int]$plan.pid)
  for ($n = 0; $n -lt $ids.Count; $n++) {
    $all | Where-Object { $_.ParentProcessId -eq $ids[$n] -and $ids -notcontains $_.ProcessId -and $_.CreationDate -ge $root.StartTime } |
      ForEach-Object { $ids += [int]$_.ProcessId }
  }
  $tree = @(Get-Process -Id $ids -ErrorAction SilentlyContinue)
  foreach ($each in $tree) { try { [void]$each.Handle } catch { } }
  taskkill.exe /T /F /PID $plan.pid 2>&1 | Out-Null
}
$left = $tree
foreach ($try in 1..25) {
  $left = @($left | Where-Object { Test-Left $_ })
  if (-not $left) { break }
  foreach ($each in $left) { try { $each.Kill() } catch { } }
  Start-Sleep -Milliseconds 200
}
foreach ($each in $left) { [Console]::Out.WriteLine("$($plan.say) left $($each.Id) $($each.ProcessName)") }
if (-not $left) { [Console]::Out.WriteLine("$($plan.say) ${blind}gone $($tree.Count)") }
if ($plan.folder -and (Test-Path -LiteralPath $plan.folder)) { [Console]::Out.WriteLine((Remove-Folder $plan.folder 'removed' $plan.say)) }
exit 0
"""
)

_EXAMINE = "# capturebot: examine\n" + _PLAN + windows_doctor.QUESTION
_LOOK = "# capturebot: look\n" + _PLAN + windows_carrying.QUESTION


# --- whole ones, as a host reads them -----------------------------------------------------------


def step_program(plan: Plan, *, token: str, limit_s: float, path: str = "", load: Load | None = None) -> bytes:
    """The whole of *plan* as the host reads it on standard input; *path* has its own tools, *load* what is brought along.

    Raises StepFailed for text that it cannot hold.
    """
    load = load or Load()
    values = {
        **plan.values,
        **load.values,
        "path": path,
        "say": token,
        "limit": _LIMIT,
        "milliseconds": f"{limit_s * 1000:.0f}",
        "needs": "\n".join(dict.fromkeys(plan.needs)),
        "scratch": "yes" if plan.scratch or load.program else "",
    }
    try:
        return _program(_STEP, values, load.program).encode()
    except UnicodeEncodeError:
        raise StepFailed(f"{plan.name} was given text that is not Unicode.") from None


def end_program(*, token: str, pid: int, start: str, folder: str) -> str:
    """The program that ends what a step left running, and its *folder*, and says what then is left."""
    return _program(_END, {"say": token, "pid": str(pid), "start": start, "folder": folder})


def look_program(token: str, *, tool: str, path: str) -> str:
    """The program that says what machine a host is and which builds of *tool* it has, also in the folder *path*."""
    return _program(_LOOK, {"say": token, "names": "\n".join(windows_carrying.names_of(tool)), "path": path})


def examine_program(token: str) -> str:
    """The program that says who we are on a host and what it runs."""
    return _program(_EXAMINE, {"say": token})


def _program(text: str, values: Mapping[str, str], tool: bytes = b"") -> str:
    lines = [_base64(text), *(f"{key} {_base64(value)}" for key, value in values.items())]
    lines += [f"tool {base64.b64encode(tool).decode()}"] if tool else []
    lines += ["whole"]
    return "".join(f"{line}\r\n" for line in lines)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# --- what comes back, in sentences --------------------------------------------------------------


def shell_of(answer: str) -> WindowsShell | None:
    """Which shell gave *answer* to the question; None for one that is neither cmd.exe nor PowerShell."""
    words = answer.split()
    if words[:1] == ["Windows_NT"]:
        return WindowsShell.CMD
    if words[:1] == ["%OS%"] and "powershell" in answer.lower():
        return WindowsShell.POWERSHELL
    return None


def read_end(answer: Iterable[Sequence[str]], pid: int) -> str:
    """What the end program said of the process *pid*, as a sentence without a stop; "" where it did not get to say it."""
    left = []
    for words in answer:
        match words:
            case ["gone", "0"]:
                return f"process {pid} was gone already"
            case ["gone", count] if count.isdecimal():
                return f"process tree of {pid} gone ({count} ended)" if int(count) > 1 else f"process {pid} gone"
            case ["blind", "gone", _]:
                return f"process {pid} gone; whether it had started others could not be seen, WMI does not answer"
            case ["left", process, *name]:
                left.append(f"process {process} ({' '.join(name)}) is still there: it may belong to another user")
    return "; ".join(left[:LEFT_NAMED])


def status_words(status: int) -> str:
    """An exit status as people look it up: what the system ends programs with is written in hexadecimal."""
    return f"0x{status & 0xFFFFFFFF:08X}" if not 0 <= status < 0x4000_0000 else str(status)
