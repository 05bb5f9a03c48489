#!/usr/bin/env bash
# What fills the heap of one JVM, twice, what collecting garbage costs it, and a dump of the heap where one is asked for.
set -u

CLASSES=200
DUMP_S=240 # the JVM writes it, and goes on with it even if nobody waits any longer

choose Java '^java$' /libjvm.so '^(jcmd|jstack|jmap|jps|jstat|jinfo|jfr|javac)$'
prepare jcmd jmap

arguments=("PID GC.heap_info" "PID VM.flags" "PID PerfCounter.print" "PID GC.class_histogram -all")
[[ ${tools[0]} == */jcmd ]] || arguments=("-histo PID")

counters() { # number: what the JVM has counted since its start; it writes that into a file, so that nothing stops
  [[ ${tools[0]} == */jcmd ]] || return
  section counters "n=$1"
  use "${tools[0]}" "$pid" PerfCounter.print |
    grep -E '^sun\.(gc\.(collector\.[0-9]\.(name|invocations|time)|generation\.[01]\.(name|space\.0\.(used|capacity|maxCapacity)))|rt\.safepointTime|os\.hrt\.frequency)='
}

histogram() { # number; classes by bytes, and the sum over all
  local said status began=${EPOCHREALTIME/./} words=("$pid" GC.class_histogram -all)
  [[ ${tools[0]} == */jcmd ]] || words=(-histo "$pid")
  said=$(use "${tools[0]}" "${words[@]}")
  status=$?
  case $said in
    *'#instances'*) ;;
    *)
      unanswered "$status" "$said" "${arguments[@]}"
      return 1
      ;;
  esac
  section histogram "n=$1" "tool=${tools[0]##*/}" "seconds=$(((${EPOCHREALTIME/./} - began) / 1000000)).$(printf %03d $(((${EPOCHREALTIME/./} - began) / 1000 % 1000)))"
  printf 'bytes\tinstances\tclass\n'
  awk -v OFS='\t' -v most="$CLASSES" '$1 ~ /^[0-9]+:$/ && NF > 3 && ++n <= most {print $3, $2, $4} $1 == "Total" {print $3, $2, "Total"}' <<<"$said"
}

used=0
if [[ ${tools[0]} == */jcmd ]]; then
  heap=$(use "${tools[0]}" "$pid" GC.heap_info)
  status=$?
  case $heap in
    *used*)
      section heap
      printf '%s\n' "$heap"
      used=$(heap_of <<<"$heap")
      section flags
      use "${tools[0]}" "$pid" VM.flags | tr ' ' '\n' | grep -E '^-XX:((Max|Initial)HeapSize|[+]Use[A-Za-z0-9]*GC|[+-]HeapDumpOnOutOfMemoryError)'
      ;;
    *) # an old JVM knows no GC.heap_info; one that does not answer would not answer the rest either
      ! is_hung "$status" "$heap" && [[ $heap == *Unknown* || $heap == *IllegalArgument* ]] || {
        unanswered "$status" "$heap" "${arguments[@]}"
        exit 0
      }
      ;;
  esac
fi
counters 1
histogram 1 || exit 0
counters 2
sleep "$PARAM_EVERY"
histogram 2 || exit 0
counters 3

# --- the dump --------------------------------------------------------------------------------

[ "$PARAM_DUMP" != no ] || exit 0
because=$(no_file)
[ -n "$because" ] || because=$(no_room $((used * DUMPED_PERCENT / 100)))
if [ -n "$because" ]; then
  section undumped
  echo "No heap dump: $because"
  exit 0
fi
its_folder
more=
[ "$PARAM_DUMP" = live ] || more=-all
began=${EPOCHREALTIME/./}
# shellcheck disable=SC2086  # nothing where there is nothing more
said=$(PATIENCE_S=$DUMP_S use "${tools[0]}" "$pid" GC.heap_dump $more "$folder/heap.hprof")
status=$?
ms=$(((${EPOCHREALTIME/./} - began) / 1000))
counters 4
# jcmd ends with 0 after failures too, so that only the file is a success.
if [ "$status" -eq 0 ] && [[ $said != *'No space'* ]] && take heap.hprof 'JAVA PROFILE'; then
  section dumped "bytes=$(stat -c %s -- "$CAPTURE_SCRATCH/heap.hprof")" "seconds=$((ms / 1000)).$(printf %03d $((ms % 1000)))" "of=$PARAM_DUMP"
else
  rm -f -- "$folder/heap.hprof"
  section undumped
  echo "No heap dump: $(sed 1d <<<"$said" | grep -m 1 '[a-z]' | word)"
fi
exit 0
