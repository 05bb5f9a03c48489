# Events of the window and of the day before it, newest first: when, channel, provider, number and level of each, in lines that
# are read; the events of crashes, and the newest of each kind, as XML; the newest text of each kind, which is only kept.

$minutes = [int]$env:PARAM_MINUTES
$before = 1440  # minutes
$most = 9000    # events of all channels
$patience = 30  # seconds a channel
$cell = 20000   # characters of one event as XML
$levels = @{ error = @(1, 2); warning = @(1, 2, 3); information = @(0, 1, 2, 3, 4) }[$env:PARAM_LEVEL]
$since = [DateTime]::Now.AddMinutes(-$minutes - $before)
$culture = [Globalization.CultureInfo]::InvariantCulture

# Says nothing where there is none; what else is wrong is thrown.
function Newest($filter, $most) {
  $watch = [Diagnostics.Stopwatch]::StartNew()
  try {
    do {
      Get-WinEvent -FilterHashtable $filter -MaxEvents $most -ErrorAction Stop | ForEach-Object {
        $_
        if ($watch.Elapsed.TotalSeconds -gt $patience) { break }
      }
    } while ($false)
  } catch {
    if ($_.FullyQualifiedErrorId -notlike 'NoMatchingEventsFound*') { throw }
  }
}
# One event a line; line ends within it are written as XML writes them.
function Xml($one) {
  $text = $one.ToXml() -replace "`r?`n", '&#10;'
  if ($text.Length -le $cell) { $text }
}

Section 'crashes' "minutes=$minutes"
$crashes = @(
  @{ LogName = 'Application'; Id = 1000, 1001, 1002, 1023, 1025, 1026; StartTime = $since }
  @{ LogName = 'System'; Id = 41, 1001, 6008, 7031, 7034; StartTime = $since }
)
foreach ($filter in $crashes) {
  try { Newest $filter 100 | ForEach-Object { Xml $_ } } catch { "-- $($filter.LogName): $($_.FullyQualifiedErrorId)" }
}

$read = @()
$kinds = [ordered]@{}
$channels = @($env:PARAM_CHANNELS -split ',' | ForEach-Object { $_.Trim() } | Where-Object { $_ } | Select-Object -Unique -First 6)
$each_most = [int]($most / $channels.Count)
Section 'events' "minutes=$minutes"
"at`tchannel`tprovider`tid`tlevel"
foreach ($channel in $channels) {
  $count = 0
  $oldest = ''
  $trouble = ''
  $watch = [Diagnostics.Stopwatch]::StartNew()
  try {
    foreach ($one in Newest @{ LogName = $channel; Level = $levels; StartTime = $since } $each_most) {
      $count++
      $oldest = $one.TimeCreated.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", $culture)
      "$oldest`t$($one.LogName)`t$($one.ProviderName)`t$($one.Id)`t$($one.Level)"
      $kind = "$($one.ProviderName) $($one.Id)"
      if (-not $kinds.Contains($kind) -and $kinds.Count -lt 150) { $kinds[$kind] = $one }
    }
  } catch { $trouble = $_.FullyQualifiedErrorId }
  $begun = if ($count -and ($count -ge $each_most -or $watch.Elapsed.TotalSeconds -gt $patience)) { $oldest } else { $since.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", $culture) }
  $read += , @($channel, $count, $begun, $trouble)
}
Section 'channels'
Row 'channel' 'events' 'from' 'error'
foreach ($each in $read) { Row @each }

# Where Get-WinEvent cannot, wevtutil may: it asks for no texts.
$where = "($(($levels | ForEach-Object { "Level=$_" }) -join ' or ')) and TimeCreated[timediff(@SystemTime) <= $(($minutes + $before) * 60000)]"
foreach ($each in $read | Where-Object { $_[3] }) {
  Section 'wevtutil' "channel=$($each[0] -replace ' ', '%20')"
  wevtutil.exe qe $each[0] /rd:true /f:xml /c:500 "/q:*[System[$where]]" | Plain
}

Section 'details'
foreach ($one in $kinds.Values) { Xml $one }
Section 'texts'
Row 'provider' 'id' 'text'
foreach ($one in $kinds.Values | Select-Object -First 60) {
  $text = "$($one.Message)"
  if ($text.Length -gt 600) { $text = $text.Substring(0, 600) }
  if ($text) { Row $one.ProviderName $one.Id $text }
}
