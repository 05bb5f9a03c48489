# What a dump of a process would take, and why none may be taken: shared by the measure of its cost and the dump.

# Windows itself stands or falls with these, or they hold everybody's passwords, and to dump them is what attackers do.
$NEVER = 'lsass', 'lsaiso', 'csrss', 'smss', 'wininit', 'winlogon', 'services', 'Registry', 'Memory Compression', 'MsMpEng', 'Secure System'

function Size($bytes) {
  $units = 'bytes', 'kB', 'MB', 'GB', 'TB'
  $unit = 0
  $value = [double]$bytes
  while ($value -ge 1000 -and $unit -lt 4) { $value /= 1000; $unit++ }
  $shape = if ($unit -and $value -lt 9.95) { '0.0' } else { '0' }
  "$($value.ToString($shape, [Globalization.CultureInfo]::InvariantCulture)) $($units[$unit])"
}

# Committed memory in bytes. What of a full dump is not private is mapped: programs, libraries, files and shared memory.
function Measure-Dump($process) {
  $private = [double]$process.PrivatePageCount
  if (-not $private) { $private = [double]$process.PageFileUsage * 1024 }
  $modules = 0
  try {
    $live = [Diagnostics.Process]::GetProcessById($process.ProcessId)
    $modules = ($live.Modules | Measure-Object -Property ModuleMemorySize -Sum).Sum
  } catch { }  # it may have ended, or be another user's
  $mapped = [Math]::Max([double]$modules, [double]$process.WorkingSetSize - $private)
  $size = switch ($env:PARAM_DUMP) {
    'full' { $private + $mapped + 50e6 }
    'plus' { $private + 20e6 }
    'mini' { 5e6 + 150e3 * $process.ThreadCount }
  }
  $drive = New-Object System.IO.DriveInfo -ArgumentList ([IO.Path]::GetPathRoot($env:CAPTURE_SCRATCH))
  [pscustomobject]@{
    Bytes = [long]$size
    Private = $private
    Place = Split-Path -Parent $env:CAPTURE_SCRATCH
    Free = $drive.AvailableFreeSpace
    Total = $drive.TotalSize
    # Windows 7 and 8 clone in another way, which the process does not always survive.
    Clones = $env:PARAM_CLONE -ne 'no' -and [Environment]::OSVersion.Version -ge [Version]'6.3'
  }
}

function Find-Trouble($chosen, $dump) {
  if ($NEVER -contains ($chosen.Process.Name -replace '\.exe$', '')) { return 'Windows does not run without it, or it keeps passwords: it is never dumped' }
  if ($dump.Bytes -gt [double]$env:PARAM_GB * 1e9) { return "Its dump would have $(Size $dump.Bytes), more than gb=$env:PARAM_GB allows" }
  try {
    [Diagnostics.Process]::EnterDebugMode()
  } catch { }  # an account without that right may still look into its own processes
  try {
    [void][Diagnostics.Process]::GetProcessById($chosen.Process.ProcessId).Handle
  } catch [ArgumentException] {
    return 'It has ended'
  } catch {
    return "It belongs to $($chosen.User), and we may not look into it: give our account the right to debug programs (SeDebugPrivilege), or log in as an administrator"
  }
}
