# What the network below connections does: growth of counters in a few seconds, of classes whose names no language of Windows
# changes; name servers, each asked once; gateways, addresses, routes, proxies.

$seconds = [int]$env:PARAM_SECONDS
$columns = [ordered]@{
  speed_bits = 'CurrentBandwidth'; queue = 'OutputQueueLength'
  rx_bytes = 'BytesReceivedPersec'; rx_packets = 'PacketsReceivedPersec'; rx_errors = 'PacketsReceivedErrors'; rx_dropped = 'PacketsReceivedDiscarded'
  tx_bytes = 'BytesSentPersec'; tx_packets = 'PacketsSentPersec'; tx_errors = 'PacketsOutboundErrors'; tx_dropped = 'PacketsOutboundDiscarded'
}
$counters = [ordered]@{
  TCPv4 = 'SegmentsSentPersec', 'SegmentsRetransmittedPersec', 'ConnectionFailures', 'ConnectionsReset', 'ConnectionsActive', 'ConnectionsPassive'
  TCPv6 = 'SegmentsSentPersec', 'SegmentsRetransmittedPersec', 'ConnectionFailures', 'ConnectionsReset', 'ConnectionsActive', 'ConnectionsPassive'
  UDPv4 = 'DatagramsReceivedErrors', 'DatagramsNoPortPersec', 'DatagramsReceivedPersec'
  UDPv6 = 'DatagramsReceivedErrors', 'DatagramsNoPortPersec', 'DatagramsReceivedPersec'
}
function Ask($class) { Get-CimInstance "Win32_PerfRawData_Tcpip_$class" -OperationTimeoutSec 10 -ErrorAction SilentlyContinue }
function Sample {
  $found = @{}
  foreach ($each in Ask 'NetworkInterface') { $found["interface $($each.Name)"] = $each }
  foreach ($class in $counters.Keys) { foreach ($each in Ask $class) { $found[$class] = $each } }
  $found
}

$watch = [Diagnostics.Stopwatch]::StartNew()
$before = Sample
Start-Sleep -Seconds $seconds
$passed = [Math]::Round($watch.Elapsed.TotalSeconds, 2)
$now = Sample

Section 'interfaces' "seconds=$passed"
$names = @($columns.Keys)
Row 'interface' @names
foreach ($key in @($now.Keys) -like 'interface *' | Sort-Object | Select-Object -First 50) {
  $old = $before[$key]
  if (-not $old) { continue }
  $values = foreach ($name in $columns.Keys) {
    $value = [double]$now[$key].($columns[$name])
    if ($name -match '^[rt]x_') { $value - [double]$old.($columns[$name]) } else { $value }
  }
  Row $now[$key].Name @values
}
Section 'protocols' "seconds=$passed"
Row 'counter' 'grown'
foreach ($class in $counters.Keys) {
  if ($now[$class] -and $before[$class]) {
    foreach ($name in $counters[$class]) { Row "$class.$name" ([double]$now[$class].$name - [double]$before[$class].$name) }
  }
}

# An answer that there is no such name is an answer. Windows' own numbers say which it is; fec0:… stands where none is set.
$asked = if ($env:PARAM_NAME) { $env:PARAM_NAME } else { [Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties() | ForEach-Object { "$($_.HostName).$($_.DomainName)".TrimEnd('.') } }
$configured = @(Get-DnsClientServerAddress -ErrorAction SilentlyContinue | Where-Object { $_.ServerAddresses })
$servers = @($configured | ForEach-Object { $_.ServerAddresses } | Where-Object { $_ -notlike 'fec0:*' } | Select-Object -Unique -First 6)
Section 'servers'
Row 'server' 'name' 'ms' 'error'
foreach ($server in $servers) {
  $watch = [Diagnostics.Stopwatch]::StartNew()
  $code = 0
  try { [void](Resolve-DnsName -Name $asked -Server $server -Type A -DnsOnly -NoHostsFile -QuickTimeout -ErrorAction Stop) } catch {
    $code = $_.Exception.NativeErrorCode
  }
  Row $server $asked ([long]$watch.Elapsed.TotalMilliseconds) $code
}
Section 'resolvers'
Row 'interface' 'servers'
foreach ($each in $configured | Select-Object -First 50) { Row $each.InterfaceAlias ($each.ServerAddresses -join ' ') }

Section 'gateways'
Row 'gateway' 'interface' 'destination' 'neighbour'
foreach ($each in Get-NetRoute -DestinationPrefix '0.0.0.0/0', '::/0' -ErrorAction SilentlyContinue | Select-Object -First 10) {
  $neighbour = Get-NetNeighbor -IPAddress $each.NextHop -InterfaceIndex $each.InterfaceIndex -ErrorAction SilentlyContinue | Select-Object -First 1
  Row $each.NextHop $each.InterfaceAlias $each.DestinationPrefix $neighbour.State
}
Section 'addresses'
Row 'address' 'prefix' 'interface' 'state'
foreach ($each in Get-NetIPAddress -ErrorAction SilentlyContinue | Select-Object -First 100) {
  Row $each.IPAddress $each.PrefixLength $each.InterfaceAlias $each.AddressState
}
Section 'routes'
Row 'destination' 'gateway' 'interface' 'metric'
foreach ($each in Get-NetRoute -ErrorAction SilentlyContinue | Select-Object -First 300) {
  Row $each.DestinationPrefix $each.NextHop $each.InterfaceAlias $each.RouteMetric
}

Section 'proxies'
Row 'where' 'setting' 'value'
$internet = 'Software\Microsoft\Windows\CurrentVersion\Internet Settings'
foreach ($place in "HKCU:\$internet", "HKLM:\$internet", "HKLM:\Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings") {
  $there = Get-ItemProperty -LiteralPath $place -ErrorAction SilentlyContinue
  foreach ($name in 'ProxyEnable', 'ProxyServer', 'ProxyOverride', 'AutoConfigURL') { if ($there.$name) { Row $place $name $there.$name } }
}
foreach ($name in 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY') {
  foreach ($whose in 'Machine', 'User') {
    $value = [Environment]::GetEnvironmentVariable($name, $whose)
    if ($value) { Row "$whose environment" $name $value }
  }
}
Section 'winhttp'
netsh.exe winhttp show proxy | Plain
