# Lines of log files: a glance at the newest where there is much, for the summary, and then what was asked for. Files are read
# while others write them. Only logs are, and never through a link, which may lead to anything.

$head = 1600000     # bytes that a summary can be made of
$whole = 48000000   # that are read of a file at most
$most = 4           # files
$given = "$env:PARAM_PATH"
$want = switch -regex ($env:PARAM_LAST) {
  '^(\d+)kB$' { [long]$Matches[1] * 1000 }
  '^(\d+)MB$' { [long]$Matches[1] * 1000000 }
  default { $whole }
}
$want = [Math]::Min($want, $whole)
$refused = @()

function Refusal($path) {
  if ($path -match '\\\.\.?(\\|$)') { return "$path is no path that can be read: write it as it is, without dots for folders" }
  $folder, $name = (Split-Path -Parent $path), (Split-Path -Leaf $path)
  if ($name -notmatch '\.(log|out|err)$' -and $folder -notmatch '\\(logs?|logfiles)(\\|$)') {
    return "$path is no log: what ends in .log, .out or .err is, and what lies below a folder log, logs or LogFiles"
  }
  for ($part = $path; $part; $part = Split-Path -Parent $part) {
    $item = Get-Item -LiteralPath $part -Force -ErrorAction SilentlyContinue
    $marked = $item -and ($item.Attributes -band [IO.FileAttributes]::ReparsePoint)
    # Files that Windows has deduplicated bear the mark of links, too; PowerShell tells them apart from 5 on.
    if ($marked -and ($item.PSIsContainer -or $item.LinkType -or $PSVersionTable.PSVersion.Major -lt 5)) {
      return "$path is not read: $part is a link, which may lead to anything"
    }
  }
}

# Where the last $bytes begin, and how it is written: UTF-16 is known by its mark, and counted in pairs of bytes.
function TextOf($stream, $bytes) {
  $mark = New-Object byte[] 2
  [void]$stream.Read($mark, 0, 2)
  $encoding = [Text.Encoding]::UTF8
  if ($mark[0] -eq 255 -and $mark[1] -eq 254) { $encoding = [Text.Encoding]::Unicode }
  if ($mark[0] -eq 254 -and $mark[1] -eq 255) { $encoding = [Text.Encoding]::BigEndianUnicode }
  $start = [Math]::Max($stream.Length - $bytes, 0)
  $start -= $start % 2
  [void]$stream.Seek($start, 'Begin')
  $reader = New-Object IO.StreamReader -ArgumentList $stream, $encoding
  if ($start) { [void]$reader.ReadLine() }  # a part of one
  $reader
}
function Lines($piece, $bytes, $word) {
  Section $word "file=$piece"
  $stream = New-Object IO.FileStream -ArgumentList $files[$piece].FullName, 'Open', 'Read', 'ReadWrite, Delete'
  try {
    $reader = TextOf $stream $bytes
    $characters = 0
    while ($characters -lt $bytes -and $null -ne ($line = $reader.ReadLine())) {
      $characters += $line.Length + 1
      $line -replace '^### ', ' ### '
    }
  } finally { $stream.Dispose() }
}

Section 'asked'
Row 'since' 'until' 'last' 'grep'
Row '' '' $env:PARAM_LAST ''
$files = @()
if ($given) {
  $folder, $name = (Split-Path -Parent $given), (Split-Path -Leaf $given)
  $files = @(Get-ChildItem -LiteralPath $folder -Filter $name -File -Force -ErrorAction SilentlyContinue |
      Sort-Object LastWriteTimeUtc -Descending | Select-Object -First $most)
  if (-not $files) { $refused += "No file matches $given, or our account may not look there" }
}
$files = @($files | Where-Object {
    $why = Refusal $_.FullName
    if ($why) { $refused += $why }
    -not $why
  })

Section 'files'
Row 'file' 'log' 'path' 'kind' 'size' 'mtime' 'from' 'bytes' 'note'
for ($piece = 0; $piece -lt $files.Count; $piece++) {
  $file = $files[$piece]
  $note = ''
  try { (New-Object IO.FileStream -ArgumentList $file.FullName, 'Open', 'Read', 'ReadWrite, Delete').Dispose() } catch {
    $note = 'our account may not read it, or another program has locked it'
  }
  $path = $file.FullName -replace '\\', '/'
  $written = $file.LastWriteTimeUtc.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", [Globalization.CultureInfo]::InvariantCulture)
  Row $piece $path $path 'plain' $file.Length $written ([Math]::Max($file.Length - $want, 0)) ([Math]::Min($file.Length, $want)) $note
  if ($note) { $files[$piece] = $null }
}
if ($refused) {
  Section 'refused'
  $refused | Plain
}

$share = [long]($head / [Math]::Max($files.Count, 1))
$late = @()
for ($piece = 0; $piece -lt $files.Count; $piece++) {
  if (-not $files[$piece]) { continue }
  if ([Math]::Min($files[$piece].Length, $want) -gt $share) {
    Lines $piece $share 'glance'
    $late += $piece
  } else { Lines $piece $want 'lines' }
}
foreach ($piece in $late) { Lines $piece $want 'lines' }
