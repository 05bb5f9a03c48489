#!/usr/bin/env bash
# Three thread dumps of one JVM, seconds apart, taken as the user that it runs as.
set -u

DUMPS=3
DUMP_BYTES=5000000  # of one dump
READ_BYTES=600000   # of one dump that the reader gets to see; longer ones are repeated in full at the end
LOCKS_KB=500000     # resident; -l walks the heap, which stops a JVM of this size for some 0.3 s

# JVMs too, but nobody asks for them: the tools of a JDK.
choose Java '^java$' /libjvm.so '^(jcmd|jstack|jmap|jps|jstat|jinfo|jfr|javac)$'

prepare jcmd jstack

# --- the dumps -------------------------------------------------------------------------------

ask() { # tool, more → a dump, or a complaint
  local tool=$1 more=$2 words
  case $tool in
    */jcmd) words=("$pid" Thread.print $more) ;;
    *) words=($more "$pid") ;;
  esac
  (
    set -o pipefail
    use "$tool" "${words[@]}" | head -c "$DUMP_BYTES"
  )
}

short() { # stacks of at most so many frames, who holds what is kept
  awk -v most="$1" '/^"/ {frames = 0} /^\tat / && ++frames > most {next} {print}'
}

show() { # number, tool, dump; the header says when it was asked for
  local frames body=$3
  if [ ${#body} -gt "$READ_BYTES" ]; then
    whole+=("$body")
    for frames in 40 20 10 5; do
      body=$(short "$frames" <<<"$3")
      [ ${#body} -gt "$READ_BYTES" ] || break
    done
  fi
  printf '### dump at=%s n=%s tool=%s%s\n%s\n' "$at" "$1" "${2##*/}" "${frames:+ frames=$frames}" "$body"
}

times() { # CPU by thread (a JDK 8 prints none), and how long each stood in line for a processor
  section cpu "n=$1"
  printf 'nid\tcpu_ms\twaited_ms\n'
  grep -s '' "/proc/$pid/task/"[0-9]*/schedstat | awk -F '[/: ]' -v OFS='\t' '{print $5, int($7 / 1e6), int($8 / 1e6)}'
}

locks=
case $PARAM_LOCKS in
  yes) locks=-l ;;
  auto) [ "$(status_of VmRSS)" -gt "$LOCKS_KB" ] || locks=-l ;;
esac

whole=()
for ((n = 1; n <= DUMPS; n++)); do
  for tool in "${tools[@]}"; do
    at=$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)
    dump=$(ask "$tool" "$locks")
    status=$?
    # The tools end with 0 after failures too: only a dump is a success.
    case $dump in *'Full thread dump'*) break ;; esac
    ! is_hung "$status" "$dump" || break # the next tool would fare no better
  done
  case $dump in
    *'Full thread dump'*) show "$n" "$tool" "$dump" ;;
    *)
      tools=("$tool")
      case $tool in
        */jcmd) unanswered "$status" "$dump" "PID Thread.print" "PID Thread.print -l" ;;
        *) unanswered "$status" "$dump" PID "-l PID" ;;
      esac
      break
      ;;
  esac
  times "$n"
  tools=("$tool") locks=
  [ "$n" -eq "$DUMPS" ] || sleep "$PARAM_EVERY"
done
[ "$n" -gt 1 ] || exit 0 # not one dump

# --- whom it waits for -----------------------------------------------------------------------

there=()
[ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ] || there=(nsenter -t "$pid" -n) # a container's
section peers
printf 'sockets\tpeer\n'
timeout 5 ${there[@]+"${there[@]}"} ss -Htanp 2>/dev/null | grep -F "pid=$pid," | awk '
  {port = $4; sub(/.*:/, "", port)}
  $1 == "LISTEN" {listens[port]}
  $1 == "ESTAB" {sub(/^\[::ffff:/, "", $5); if ($5 ~ /\./) sub(/\]/, "", $5); local[++n] = port; peer[n] = $5}
  END {
    for (i = 1; i <= n; i++) if (!(local[i] in listens)) sockets[peer[i]]++
    for (each in sockets) printf "%d\t%s\n", sockets[each], each
  }' | sort -rn | head -n 50

for body in ${whole[@]+"${whole[@]}"}; do
  section whole
  printf '%s\n' "$body"
done
exit 0
