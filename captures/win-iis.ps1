# The newest requests to each site of IIS, from its logs in W3C format, which begin with the names of their fields. IIS writes
# them with a delay of up to a minute, in UTC.

$head = 1800000  # bytes of all sites
$most = 8        # sites
$folder = if ($env:PARAM_IIS) { $env:PARAM_IIS } else { "$env:SystemDrive\inetpub\logs\LogFiles" }
$found = @(
  foreach ($site in Get-ChildItem -LiteralPath $folder -Directory -ErrorAction SilentlyContinue | Where-Object { $_.Name -match '^W3SVC\d+$' }) {
    Get-ChildItem -LiteralPath $site.FullName -Filter '*.log' -File -ErrorAction SilentlyContinue |
      Sort-Object 'LastWriteTimeUtc', 'Name' | Select-Object -Last 1
  }
)
$files = @($found | Sort-Object LastWriteTimeUtc -Descending | Select-Object -First $most)
Section 'sites'
Row 'site' 'file' 'bytes' 'written' 'error'
$open = @{}
foreach ($file in $files) {
  $trouble = ''
  try { $open[$file.FullName] = New-Object IO.FileStream -ArgumentList $file.FullName, 'Open', 'Read', 'ReadWrite, Delete' } catch { $trouble = $_.Exception.HResult }
  Row $file.Directory.Name $file.FullName $file.Length $file.LastWriteTimeUtc.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", [Globalization.CultureInfo]::InvariantCulture) $trouble
}
if (-not $files) { "-- no log of IIS lies below $folder, or our account may not look there" }

$share = [long]($head / [Math]::Max($files.Count, 1))
foreach ($file in $files) {
  $stream = $open[$file.FullName]
  if (-not $stream) { continue }
  try {
    Section 'requests' "site=$($file.Directory.Name)"
    $reader = New-Object IO.StreamReader -ArgumentList $stream
    for ($n = 0; $n -lt 10; $n++) {
      $line = $reader.ReadLine()
      if ($line -like '#Fields:*') { $line; break }
    }
    $end = $stream.Length
    $start = [Math]::Max($end - $share, 0)
    [void]$stream.Seek($start, 'Begin')
    $reader.DiscardBufferedData()
    if ($start) { [void]$reader.ReadLine() }  # a part of one
    $characters = 0
    while ($characters -lt $share -and $null -ne ($line = $reader.ReadLine())) {
      $characters += $line.Length + 1
      $line -replace '^### ', ' ### '
    }
  } finally { $stream.Dispose() }
}
