# Choosing the process that a script for Windows looks at: by $env:PARAM_PID, else by $env:PARAM_APP, which is its name, service
# or application pool, or, where that finds none, any part of its command line. `Choose` gives an object: Process, as
# Win32_Process has it, App, what people call it, and User; Process is empty where there is none, or more than one. Report is
# what is to be printed then, or now, as captures/choose-process.sh has it. Names are compared, and no text that Windows translates.

$MOST_CANDIDATES = 20
$columns = 'pid', 'user', 'age_s', 'cpu_s', 'rss_kb', 'app', 'command'

function Get-Owner($process) {
  $owner = Invoke-CimMethod -InputObject $process -MethodName GetOwner -ErrorAction SilentlyContinue
  if ($owner.User) { "$($owner.Domain)\$($owner.User)" } else { '?' }
}
function Get-Pool($process) { if ("$($process.CommandLine)" -match '-ap "([^"]+)"') { $Matches[1] } }
function Get-Called($process) {
  $pool = Get-Pool $process
  if ($pool) { return "$($process.Name) $pool" }
  $own = @($services["$($process.ProcessId)"] | Where-Object { $_ })
  if ($own.Count -eq 1) { "$($process.Name) $($own[0])" } else { $process.Name }
}
function Show-Process($process) {
  $age = if ($process.CreationDate) { [int]([DateTime]::Now - $process.CreationDate).TotalSeconds }
  $cpu = [Math]::Round(([double]$process.KernelModeTime + [double]$process.UserModeTime) / 1e7, 1)
  $command = "$($process.CommandLine)"
  if ($command.Length -gt 300) { $command = $command.Substring(0, 300) }
  Row $process.ProcessId (Get-Owner $process) $age $cpu ([long]($process.WorkingSetSize / 1024)) (Get-Called $process) $command
}
function Show-Candidates($processes) {
  Section 'candidates' "number=$(@($processes).Count)"
  Row @columns
  $processes | Sort-Object { [double]$_.KernelModeTime + [double]$_.UserModeTime } -Descending |
    Select-Object -First $MOST_CANDIDATES | ForEach-Object { Show-Process $_ }
}
function Choose {
  $named = "$env:PARAM_APP"
  $asked = if ("$env:PARAM_PID" -match '^[1-9][0-9]*$') { $env:PARAM_PID }
  $all = @(Get-CimInstance Win32_Process -OperationTimeoutSec 10 | Where-Object { $_.ProcessId -gt 4 -and $_.ProcessId -ne $PID })
  $services = @{}
  $shown = @{}
  foreach ($each in Get-CimInstance Win32_Service -Filter 'ProcessId > 0' -OperationTimeoutSec 8 -ErrorAction SilentlyContinue) {
    $services["$($each.ProcessId)"] = @($services["$($each.ProcessId)"]) + $each.Name
    $shown["$($each.ProcessId)"] = @($shown["$($each.ProcessId)"]) + $each.DisplayName
  }
  $found = @(
    if ($asked) {
      $all | Where-Object { "$($_.ProcessId)" -eq $asked }
    } elseif ($named) {
      $all | Where-Object {
        $id = "$($_.ProcessId)"
        $_.Name -eq $named -or $_.Name -eq "$named.exe" -or (Get-Pool $_) -eq $named -or
          @($services[$id]) -contains $named -or @($shown[$id]) -contains $named
      }
    }
  )
  if (-not $found -and -not $asked -and $named) {
    $found = @($all | Where-Object { "$($_.CommandLine)".IndexOf($named, [StringComparison]::OrdinalIgnoreCase) -ge 0 })
  }
  if ($found.Count -eq 1) {
    $report = @(Section 'process'; Row @columns; Show-Process $found[0])
    return [pscustomobject]@{ Process = $found[0]; App = Get-Called $found[0]; User = Get-Owner $found[0]; Report = $report }
  }
  $report = @(
    if ($found.Count -gt 1) {
      Show-Candidates $found
    } elseif ($asked) {
      Section 'refused'
      "No process has the pid $asked"
      Show-Candidates $all
    } else {
      if ($named) {
        Section 'refused'
        "No process is called $(Cell $named), nor a service or an application pool"
      }
      Show-Candidates $all
    }
  )
  [pscustomobject]@{ Report = $report }
}
