# What scripts for Windows begin with: parts under a header each, and tables as bot/insights reads them.

function Section($name, $facts) {
  $at = [DateTime]::UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff", [Globalization.CultureInfo]::InvariantCulture)
  "### $name at=$at+00:00 $facts".TrimEnd()
}
function Cell($text) { "$text" -replace '\\', '\\' -replace "`t", '\t' -replace "`r", '\r' -replace "`n", '\n' }
function Row { ($args | ForEach-Object { Cell $_ }) -join "`t" }
# Lines of others, none of which can look like a header.
filter Plain { "$_" -replace '^### ', ' ### ' }
