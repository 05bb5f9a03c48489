# Processes by CPU now, and memory: two samples three seconds apart, of classes whose names no language of Windows changes.
# What Get-Process and Task Manager's details call CPU time is a sum over a process's life, and hides what began a minute ago.

# Both clocks count in units of 100 ns. The counters need no rights over other users' processes, but may be broken
# (`lodctr /r` builds them again); Win32_Process has the same numbers then, of the processes that may be seen.
function Sample {
  $counters = @(Get-CimInstance Win32_PerfRawData_PerfProc_Process -OperationTimeoutSec 15 -ErrorAction SilentlyContinue)
  foreach ($each in $counters | Where-Object { $_.Name -ne '_Total' }) {
    [pscustomobject]@{
      Id = [int]$each.IDProcess; Name = $each.Name -replace '#\d+$', ''; Cpu = [double]$each.PercentProcessorTime
      At = [double]$each.Timestamp_Sys100NS; Private = [double]$each.PrivateBytes; Resident = [double]$each.WorkingSet
      Handles = $each.HandleCount; Threads = $each.ThreadCount
    }
  }
  if ($counters.Count -gt 1) { return }
  foreach ($each in Get-CimInstance Win32_Process -OperationTimeoutSec 15) {
    [pscustomobject]@{
      Id = [int]$each.ProcessId; Name = $each.Name -replace '\.exe$', ''
      Cpu = [double]$each.KernelModeTime + [double]$each.UserModeTime; At = [double][DateTime]::UtcNow.ToFileTimeUtc()
      Private = [double]$each.PageFileUsage * 1024; Resident = [double]$each.WorkingSetSize
      Handles = $each.HandleCount; Threads = $each.ThreadCount
    }
  }
}

$before = @{}
foreach ($each in Sample) { $before["$($each.Id) $($each.Name)"] = $each }
$begun = ($before.Values | Select-Object -First 1).At
Start-Sleep -Seconds 3
$now = @(Sample)
foreach ($each in $now) {
  $old = $before["$($each.Id) $($each.Name)"]
  $spent = if ($old) { $each.Cpu - $old.Cpu } else { $each.Cpu }
  $passed = if ($old) { $each.At - $old.At } else { $each.At - $begun }
  $percent = if ($passed -gt 0 -and $spent -gt 0) { [Math]::Round(100 * $spent / $passed, 1) } else { 0 }
  $each | Add-Member -NotePropertyName Percent -NotePropertyValue $percent
}

$system = Get-CimInstance Win32_OperatingSystem -OperationTimeoutSec 15
$cores = (Get-CimInstance Win32_ComputerSystem -OperationTimeoutSec 15).NumberOfLogicalProcessors
$idle = ($now | Where-Object { $_.Id -eq 0 } | Select-Object -First 1).Percent
Section 'machine'
Row 'system' 'version' 'cores' 'idle_percent' 'memory_kb' 'free_kb' 'commit_limit_kb' 'commit_free_kb' 'uptime_s'
Row $system.Caption $system.Version $cores $idle $system.TotalVisibleMemorySize $system.FreePhysicalMemory `
  $system.TotalVirtualMemorySize $system.FreeVirtualMemory ([int]($system.LocalDateTime - $system.LastBootUpTime).TotalSeconds)

# Those that use most of the processors, and those that hold most memory.
$real = @($now | Where-Object { $_.Id -ne 0 })
$most = @($real | Sort-Object Percent -Descending | Select-Object -First 30) + @($real | Sort-Object Private -Descending | Select-Object -First 20)
$services = @{}
foreach ($each in Get-CimInstance Win32_Service -Filter 'ProcessId > 0' -OperationTimeoutSec 15) {
  $services["$($each.ProcessId)"] = (@($services["$($each.ProcessId)"]) + $each.Name | Where-Object { $_ }) -join ' '
}
Section 'processes'
Row 'pid' 'process' 'percent' 'private_bytes' 'resident_bytes' 'handles' 'threads' 'age_s' 'user' 'services' 'command'
foreach ($each in $most | Sort-Object Id -Unique | Sort-Object Percent -Descending) {
  $more = Get-CimInstance Win32_Process -Filter "ProcessId = $($each.Id)" -OperationTimeoutSec 5 -ErrorAction SilentlyContinue
  $owner = if ($more) { (Invoke-CimMethod -InputObject $more -MethodName GetOwner -ErrorAction SilentlyContinue).User }
  $age = if ($more.CreationDate) { [int]($system.LocalDateTime - $more.CreationDate).TotalSeconds }
  $command = "$($more.CommandLine)"
  if ($command.Length -gt 400) { $command = $command.Substring(0, 400) }
  Row $each.Id $each.Name $each.Percent $each.Private $each.Resident $each.Handles $each.Threads $age $owner $services["$($each.Id)"] $command
}
