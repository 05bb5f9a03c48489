# A memory dump of one process by Sysinternals ProcDump, now or on a trigger, into $env:CAPTURE_SCRATCH. What ProcDump says is
# English on every Windows. It is told to leave by its own event ("Automated Termination" in its help), which lets a process that
# it dumps run on; ended by force, it could take one along that it debugs.

$LEAVE_MS = 8000
$OUTPUT_CHARS = 20000

$chosen = Choose
$chosen.Report
if (-not $chosen.Process) { return }
$id = $chosen.Process.ProcessId
$who = "$($chosen.App) (pid $id)"
$dump = Measure-Dump $chosen.Process
$trouble = Find-Trouble $chosen $dump
if (-not $trouble -and ($dump.Bytes * 1.2 -gt $dump.Free -or $dump.Free - $dump.Bytes -lt $dump.Total / 20)) {
  $trouble = "Its dump would have $(Size $dump.Bytes), and $($dump.Place) has $(Size $dump.Free) of $(Size $dump.Total) left " +
    '(1.2 times as much is needed): free some, or move our TEMP'
}

# One that lies on the host may have been put there by whoever may write there. What was brought along was compared already.
$architecture = if ($env:PROCESSOR_ARCHITEW6432) { $env:PROCESSOR_ARCHITEW6432 } else { $env:PROCESSOR_ARCHITECTURE }
$names = 'procdump64a', 'procdump64', 'procdump'
if ($architecture -ne 'ARM64') { $names = 'procdump64', 'procdump' }
if ($architecture -eq 'x86') { $names = @('procdump') }
$tool = $names | ForEach-Object { Get-Command "$_.exe" -CommandType Application -ErrorAction SilentlyContinue } | Select-Object -First 1
if (-not $trouble -and -not $tool) {
  $trouble = 'ProcDump is not there: put procdump64.exe into C:\Sysinternals of the host, or into the folder that tools: of capturebot.yml names'
} elseif (-not $trouble -and (Split-Path -Parent $tool.Path) -ne (Join-Path $env:CAPTURE_SCRATCH 'bin')) {
  $signed = Get-AuthenticodeSignature -LiteralPath $tool.Path
  if ("$($signed.Status)" -ne 'Valid' -or "$($signed.SignerCertificate.Subject)" -notmatch 'O=Microsoft Corporation') {
    $trouble = "$($tool.Path) is not signed by Microsoft ($($signed.Status)), so it was not run: put ProcDump there as Sysinternals hands it out"
  }
}
if ($trouble) {
  Section 'refused'
  "${who}: $trouble"
  return
}

$file = Join-Path $env:CAPTURE_SCRATCH 'dump.dmp'
# An option that may have a number behind it never stands before one that is none of its own.
$given = @('-accepteula', @{ mini = '-mm'; plus = '-mp'; full = '-ma' }[$env:PARAM_DUMP])
if ($dump.Clones) { $given += '-r', '1' }
switch ($env:PARAM_WHEN) {
  'cpu' { $given += '-c', $env:PARAM_CPU, '-s', $env:PARAM_SECONDS }
  'memory' { $given += '-m', $env:PARAM_MB, '-s', $env:PARAM_SECONDS }
  'hang' { $given += '-h' }
  'exception' { $given += '-e' }
  'exit' { $given += '-t' }
}
$given += '-n', '1', $id, "`"$file`""
$accepted = Test-Path 'HKCU:\Software\Sysinternals\ProcDump'
$info = New-Object System.Diagnostics.ProcessStartInfo -ArgumentList $tool.Path, ($given -join ' ')
$info.UseShellExecute = $false
$info.RedirectStandardInput = $true
$info.RedirectStandardOutput = $true
$info.RedirectStandardError = $true
foreach ($name in 'TEMP', 'TMP') { $info.EnvironmentVariables[$name] = $env:CAPTURE_SCRATCH }  # older ones unpack another program
# Whoever ends this step sets the events that are named here, and waits a moment, before anything is ended by force. Names of
# events have large and small letters, and versions of ProcDump differ in them.
$events = "ProcDump-$id", "Procdump-$id", "procdump-$id"
[IO.File]::WriteAllLines((Join-Path $env:CAPTURE_SCRATCH 'leave'), [string[]]$events)
$watch = [Diagnostics.Stopwatch]::StartNew()
$dumper = [Diagnostics.Process]::Start($info)
$dumper.StandardInput.Close()
$said = $dumper.StandardOutput.ReadToEndAsync()
$complaints = $dumper.StandardError.ReadToEndAsync()
$late = $false
if ($env:PARAM_WHEN -ne 'now') {
  while (-not $dumper.WaitForExit(500) -and $watch.Elapsed.TotalSeconds -lt [double]$env:PARAM_WAIT) { }
  # A dump that has begun is let end.
  if (-not $dumper.HasExited -and -not (Test-Path -LiteralPath $file)) {
    $late = $true
    foreach ($name in $events) { try { [void][Threading.EventWaitHandle]::OpenExisting($name).Set() } catch { } }
    if (-not $dumper.WaitForExit($LEAVE_MS)) { $dumper.Kill() }
  }
}
$dumper.WaitForExit()
Remove-Item -LiteralPath (Join-Path $env:CAPTURE_SCRATCH 'leave')
if (-not $accepted) { Remove-Item 'HKCU:\Software\Sysinternals\ProcDump' -Recurse -ErrorAction SilentlyContinue }
$words = ("$($said.Result)`n$($complaints.Result)" -replace "`0", '').Trim()
if ($words.Length -gt $OUTPUT_CHARS) { $words = $words.Substring($words.Length - $OUTPUT_CHARS) }
Section 'procdump' "exit=$($dumper.ExitCode) waited_s=$([int]$watch.Elapsed.TotalSeconds)"
$words -split "`r?`n" | Plain

# It is a dump where it begins like one and all of its header is there.
$bytes = -1
$begins = ''
if (Test-Path -LiteralPath $file -PathType Leaf) {
  $stream = [IO.File]::OpenRead($file)
  $bytes = $stream.Length
  $head = New-Object byte[] 32
  if ($stream.Read($head, 0, 32) -eq 32) { $begins = [Text.Encoding]::ASCII.GetString($head, 0, 4) }
  $stream.Close()
}
if ($begins -eq 'MDMP' -and $words -notmatch 'Dump \d+ error') {
  Section 'dump' "size_bytes=$bytes kind=$env:PARAM_DUMP clone=$(if ($dump.Clones) { 'yes' } else { 'no' }) when=$env:PARAM_WHEN"
  return
}
if ($bytes -ge 0) { Remove-Item -LiteralPath $file }  # half a dump misleads
if ($late) {
  Section 'quiet' "when=$env:PARAM_WHEN waited_s=$env:PARAM_WAIT"
  return
}
# What Windows says of an error follows on a line of its own, in its language.
$lines = @($words -split "`r?`n" | Where-Object { $_ } | ForEach-Object { $_ -replace '^\[[0-9:]+\] ?(Dump [0-9]+ error: )?', '' })
$at = 0..($lines.Count - 1) | Where-Object { $lines[$_] -match 'error|denied|No process|has exited' } | Select-Object -First 1
$because = if ($null -ne $at) { $lines[$at] }
if ($because -match ' 0x[0-9A-F]{8}$' -and $lines[$at + 1]) { $because += " ($($lines[$at + 1] -replace ' *\(0x.*$', ''))" }
$free = (New-Object System.IO.DriveInfo -ArgumentList ([IO.Path]::GetPathRoot($env:CAPTURE_SCRATCH))).AvailableFreeSpace
if ($free -lt 1e6) { $because = "The drive of $($dump.Place) was full after $(Size ([Math]::Max($bytes, 0)))" }
elseif ($bytes -ge 0 -and -not $because) { $because = 'what ProcDump wrote is no minidump, and was deleted' }
elseif (-not $because) { $because = $lines[-1] }
Section 'failed'
"${who}: $because"
throw "ProcDump took no dump of ${who}: $because"
