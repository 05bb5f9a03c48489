# What a Windows host runs out of or waits for: disks, automatic services that do not run, a restart that is due. Names and
# numbers only; texts that Windows translates are kept and not read.

$system = Get-CimInstance Win32_OperatingSystem -OperationTimeoutSec 15
Section 'machine'
Row 'system' 'version' 'uptime_s'
Row $system.Caption $system.Version ([int]($system.LocalDateTime - $system.LastBootUpTime).TotalSeconds)

Section 'disks'
Row 'drive' 'label' 'size_bytes' 'free_bytes'
foreach ($each in Get-CimInstance Win32_LogicalDisk -Filter 'DriveType = 3' -OperationTimeoutSec 15) {
  Row $each.DeviceID $each.VolumeName $each.Size $each.FreeSpace
}

# Some start on an event, and stop by themselves when it is over.
Section 'services'
Row 'service' 'shown_as' 'state' 'exit_code' 'own_exit_code' 'on_event'
foreach ($each in Get-CimInstance Win32_Service -Filter "StartMode = 'Auto' AND State <> 'Running'" -OperationTimeoutSec 15) {
  $trigger = Test-Path -LiteralPath "HKLM:\SYSTEM\CurrentControlSet\Services\$($each.Name)\TriggerInfo"
  Row $each.Name $each.DisplayName $each.State $each.ExitCode $each.ServiceSpecificExitCode $(if ($trigger) { 'yes' } else { 'no' })
}

Section 'restart'
Row 'wanted_by'
if (Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending') { Row 'component servicing' }
if (Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired') { Row 'Windows Update' }
$manager = Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager' -ErrorAction SilentlyContinue
if ($manager.PendingFileRenameOperations) { Row 'file renames' }
