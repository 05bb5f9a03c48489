# Every TCP connection with its state and process, who listens, and the ports that Windows hands out. It is counted where this
# is read. netstat writes states in the system's language, so .NET says them; tasklist's CSV is the same in every language.

$most = 20000
Section 'tasklist'
$processes = @(tasklist.exe /svc /fo csv /nh | Select-Object -First 3000)
$processes | Plain
Section 'processes'
Row 'pid' 'process' 'command'
if ($processes.Count -lt 5) {  # it asks WMI, which may not answer
  foreach ($each in Get-Process | Select-Object -First 3000) { Row $each.Id $each.ProcessName '' }
}
# The command line of an IIS worker names its application pool; only an administrator sees it.
foreach ($each in Get-CimInstance Win32_Process -Filter "Name = 'w3wp.exe'" -OperationTimeoutSec 10 -ErrorAction SilentlyContinue) {
  Row $each.ProcessId 'w3wp' $each.CommandLine
}

foreach ($family in 'ipv4', 'ipv6') {
  Section 'range' "family=$family"
  netsh.exe int $family show dynamicport tcp | Plain
}

$connections = @()
$why = ''
try { $connections = @(Get-NetTCPConnection -ErrorAction Stop | Select-Object -First $most) } catch { $why = $_.FullyQualifiedErrorId }
if ($connections) {
  $now = Get-Date
  Section 'connections' "most=$most"
  "local`tlocal_port`tremote`tremote_port`tstate`tpid`tage_s"
  foreach ($each in $connections) {
    $age = if ($each.CreationTime) { [long]($now - $each.CreationTime).TotalSeconds }
    "$($each.LocalAddress)`t$($each.LocalPort)`t$($each.RemoteAddress)`t$($each.RemotePort)`t$($each.State)`t$($each.OwningProcess)`t$age"
  }
} else {
  Section 'netstat' "most=$most"
  netstat.exe -ano | Select-Object -First $most | Plain
  Section 'active'
  "local`tremote`tstate"
  foreach ($each in [Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties().GetActiveTcpConnections() | Select-Object -First $most) {
    "$($each.LocalEndPoint)`t$($each.RemoteEndPoint)`t$($each.State)"
  }
  Section 'instead'
  "Get-NetTCPConnection: $(Cell $why)"
}
