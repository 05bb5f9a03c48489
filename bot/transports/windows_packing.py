"""Compressing the file that a step left on a Windows host, before it is fetched.

Where there is room beside it and time: at most a third of the seconds that the step has left go into it, so that a slow
machine sends the file as it is.
"""

# Leads to the file's new ending, "" where it stays as it is. A network is slower than this, and a dump mostly empty.
PACK = r"""
function Compress-File($file, $seconds) {
  $watch = [Diagnostics.Stopwatch]::StartNew()
  $whole = $false
  try {
    [Diagnostics.Process]::GetCurrentProcess().PriorityClass = 'BelowNormal'
    $source = [IO.File]::OpenRead($file)
    $goal = New-Object System.IO.Compression.GZipStream -ArgumentList ([IO.File]::Create("$file.gz")), ([IO.Compression.CompressionLevel]::Fastest)
    $buffer = New-Object byte[] 1048576
    while (($count = $source.Read($buffer, 0, $buffer.Length)) -and $watch.Elapsed.TotalSeconds -lt $seconds) { $goal.Write($buffer, 0, $count) }
    $goal.Close()
    $whole = -not $count
  } catch { } finally {
    foreach ($each in $goal, $source) { try { $each.Dispose() } catch { } }
  }
  Remove-Item -LiteralPath $(if ($whole) { $file } else { "$file.gz" }) -Force -ErrorAction SilentlyContinue
  if ($whole) { '.gz' } else { '' }
}
"""
