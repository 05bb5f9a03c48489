# What a dump would cost: how long the process would stand still, what would be written, and where. The account's TEMP is
# $env:CAPTURE_SCRATCH's place.

$CLONED_BYTES_PER_S = 20e9  # of page tables; the memory itself is shared until it is written to
$WRITTEN_BYTES_PER_S = 250e6

$chosen = Choose
if (-not $chosen.Process) { return $chosen.Report }
$dump = Measure-Dump $chosen.Process
"what=$($chosen.App) (pid $($chosen.Process.ProcessId))"
$trouble = Find-Trouble $chosen $dump
if ($trouble) { return "refuse=$trouble" }
$pause = if ($dump.Clones) { 0.3 + $dump.Private / $CLONED_BYTES_PER_S } else { 0.5 + $dump.Bytes / $WRITTEN_BYTES_PER_S }
"pause_s=$($pause.ToString('0.000', [Globalization.CultureInfo]::InvariantCulture))"
"writes_bytes=$($dump.Bytes)"
"path=$($dump.Place)"
"free_bytes=$($dump.Free)"
"total_bytes=$($dump.Total)"
"upload_bytes=$($dump.Bytes)"
if ($env:PARAM_WHEN -ne 'now') { "note=it waits at most $env:PARAM_WAIT s for that, and takes nothing where it does not happen" }
if ('exception', 'exit' -contains $env:PARAM_WHEN) {
  'note=it is attached as a debugger while it waits: should the connection break, Windows may end the process with it'
} elseif (-not $dump.Clones) {
  'note=no clone is made: ended by force halfway, it would stay stopped'
}
'note=a dump holds everything in its memory, passwords too'
