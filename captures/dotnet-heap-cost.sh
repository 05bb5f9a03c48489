#!/usr/bin/env bash
# What looking at the heap of a .NET process would cost: how long it would stand still, what would be written, and where.
set -u

COLLECTED_MS_PER_GB=2500
FIRST_MS=200

choose_dotnet
trouble() { # kind, why nothing can be asked, the line that mends it
  echo "refuse=$2"
  [ -z "${3-}" ] || echo "note=$3"
}
echo "what=$app (pid $pid)"
prepare
anonymous=$(($(status_of RssAnon) * 1024))
ms=0 because=
if [ "$PARAM_TYPES" = yes ]; then
  ms=$((COLLECTED_MS_PER_GB * (anonymous / 1000000) / 1000))
  echo "note=all garbage is collected first, and it takes up to $(buffer_mb) MB more memory meanwhile"
fi
if [ "$PARAM_DUMP" != no ]; then
  size=$(dump_bytes "$PARAM_DUMP")
  ms=$((ms + FIRST_MS + size * 1000 / SLOWEST_BYTES_PER_S))
  because=$(no_dump "$PARAM_DUMP")
  room
  echo "writes_bytes=$size"
  echo "path=$place"
  echo "free_bytes=$free"
  echo "total_bytes=$total"
  echo "upload_bytes=$size"
  echo "note=once begun, a dump cannot be ended half-way"
  [ "$PARAM_DUMP" = triage ] || echo "note=it holds what is in its memory, passwords too"
fi
printf 'pause_s=%d.%03d\n' $((ms / 1000)) $((ms % 1000))
[ -z "$because" ] || echo "refuse=$because"
exit 0
