#!/usr/bin/env bash
# What looking at a heap would cost: how long the JVM would stand still, what would be written, and where.
set -u

# Measured on a live heap of 1.2 GB: a histogram 0.57 s, a dump of all 1.5 s, a dump of what is alive 2.3 s, which collects first.
HISTOGRAM_MS_PER_GB=500
ALL_MS_PER_GB=1300
LIVE_MS_PER_GB=2000
RECORDING_MB_PER_MIN=20

choose Java '^java$' /libjvm.so '^(jcmd|jstack|jmap|jps|jstat|jinfo|jfr|javac)$'
trouble() { # kind, why nothing can be asked, the line that mends it
  echo "refuse=$2"
  [ -z "${3-}" ] || echo "note=$3"
}
echo "what=$app (pid $pid)"
prepare jcmd jmap
heap=$(use "${tools[0]}" "$pid" GC.heap_info)
status=$?
used=$(heap_of <<<"$heap")
if [ "${used:-0}" -eq 0 ]; then
  if [[ ${tools[0]} == */jcmd ]] && [[ $heap != *Unknown* && $heap != *IllegalArgument* ]]; then
    unanswered "$status" "$heap" "PID GC.heap_info" "PID VM.flags" "PID PerfCounter.print" "PID GC.class_histogram -all"
    exit 0
  fi
  used=$(($(status_of VmRSS) * 1024))
  echo "note=how much of its heap is in use is not known; this is estimated from its $(bytes "$used") of memory"
fi
mb=$((used / 1000000))
ms=$((2 * HISTOGRAM_MS_PER_GB * mb / 1000))
writes=0
because=
if [ "$PARAM_DUMP" != no ] || [ "$PARAM_JFR" -gt 0 ]; then
  because=$(no_file)
fi
case $PARAM_DUMP in
  live) ms=$((ms + LIVE_MS_PER_GB * mb / 1000)) writes=$((used * DUMPED_PERCENT / 100)) ;;
  all) ms=$((ms + ALL_MS_PER_GB * mb / 1000)) writes=$((used * DUMPED_PERCENT / 100)) ;;
esac
writes=$((writes + PARAM_JFR * RECORDING_MB_PER_MIN * 1000000 / 60))
printf 'pause_s=%d.%03d\n' $((ms / 1000)) $((ms % 1000))
if [ "$writes" -gt 0 ]; then
  room
  echo "writes_bytes=$writes"
  echo "path=$place"
  echo "free_bytes=$free"
  echo "total_bytes=$total"
  echo "upload_bytes=$writes"
  echo "note=it holds everything in its memory, passwords too"
fi
[ "$PARAM_DUMP" = no ] || echo "note=once begun, a dump cannot be ended half-way"
[ -z "$because" ] || echo "refuse=$because"
exit 0
