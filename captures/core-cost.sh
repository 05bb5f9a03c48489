#!/usr/bin/env bash
# What a core would cost: how long the process would stand still, what would be written, and where.
set -u

FIRST_MS=200             # to attach and to let go
WRITTEN_BYTES_PER_S=290000000 # by gdb, once it has attached; fewer on a slow disk

choose '' ''
measure
because=$(unable)
echo "what=$app (pid $pid)"
if [ "$because" ]; then
  echo "refuse=$because"
  exit 0
fi
ms=$((FIRST_MS + core * 1000 / WRITTEN_BYTES_PER_S))
printf 'pause_s=%d.%03d\n' $((ms / 1000)) $((ms % 1000))
echo "writes_bytes=$core"
echo "path=$place"
echo "free_bytes=$free"
echo "total_bytes=$total"
echo "upload_bytes=$((resident < core ? resident : core))" # pages that were never used compress to nothing
echo "note=it stands still for at most ${PARAM_SECONDS} s; health checks may fail meanwhile"
echo "note=a core holds everything in its memory, passwords too"
[ "$state" != T ] || echo "note=it is stopped already (SIGSTOP)"
exit 0
