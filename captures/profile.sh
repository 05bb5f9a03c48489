#!/usr/bin/env bash
# Where CPU time goes: stacks taken 99 times a second on each processor, folded, the most frequent first. perf takes them;
# where it may not, bpftrace does; where that may not either, it is only looked which threads run.
set -u

RATE=99               # not 100, so that it never keeps step with what happens 100 times a second
RECORD_SIZE=40M       # of what perf may write
STACK_DUMP_BYTES=4096 # of each stack that is kept for stacks=dwarf
STACKS_BYTES=1500000
LOOKS_A_SECOND=5
ENTRIES_SHOWN=4000

seconds=${PARAM_SECONDS:-5}
pid=0
[ "${PARAM_PID:-0}${PARAM_APP:-}" = 0 ] || choose '' ''
stopped=''
trap 'stopped=yes' INT # what was seen is printed by whoever gets one, and is still to be passed on

# The awk programs below make a line `NAME-PID;outermost frame;…;innermost frame COUNT` of each stack. A frame is
# `function (file)`, or `function_[k]` in the kernel, as flame graphs have it; `[file]` where the function is not known.
FOLD='
  function plain(text) {gsub(/;/, ":", text); gsub(/[\001-\037\177\\]/, "?", text); return substr(text, 1, 200)}
  function keep(pid, name, stack, count) {
    if (!(pid in names)) names[pid] = plain(name)
    number[pid ";" stack] += count
  }
  function show(  each, at) {
    for (each in number) {
      at = index(each, ";")
      printf "%s-%s%s %d\n", names[substr(each, 1, at - 1)], substr(each, 1, at - 1), substr(each, at), number[each]
    }
  }'

timed() { # runs a command, and sets lasted: the seconds that it looked
  local began ended status
  read -r began _ </proc/uptime
  "$@"
  status=$?
  read -r ended _ </proc/uptime
  lasted=$(((${ended/./} - ${began/./}) / 100))
  [ "$lasted" -lt "$seconds" ] || lasted=$seconds # a stop ends it early
  return "$status"
}

# --- perf -----------------------------------------------------------------------------------------

by_perf() { # -N: it would copy every program to a folder below HOME
  local -a whom=(-a) bound=() graph=(--call-graph fp)
  [ "$pid" -eq 0 ] || whom=(-p "$pid")
  [ "${PARAM_STACKS:-fp}" = fp ] || graph=(--call-graph "dwarf,$STACK_DUMP_BYTES")
  perf record -h 2>&1 | grep -q -e --max-size && bound=(--max-size="$RECORD_SIZE")
  timed timeout --foreground -s INT -k 3 $((seconds + 15)) perf record -q -N -F "$RATE" "${graph[@]}" "${whom[@]}" ${bound[@]+"${bound[@]}"} \
    -o "$CAPTURE_SCRATCH/perf.data" -- sleep "$seconds" </dev/null 2>"$CAPTURE_SCRATCH/words" 1>&2
  event=$(timeout 10 perf evlist -i "$CAPTURE_SCRATCH/perf.data" 2>/dev/null | head -n 1 | tr -cd '[:alnum:]:_-')
  [ "$event" ] || return
  timeout --foreground -k 3 45 perf script -i "$CAPTURE_SCRATCH/perf.data" --no-inline -F comm,pid,tid,ip,sym,dso </dev/null 2>/dev/null |
    awk "$FOLD"'
      function end() {if (pid > 0 && stack != "") keep(pid, name, stack, 1); pid = 0; stack = ""}
      /^[^\t].* -?[0-9]+\/-?[0-9]+ *$/ {
        end()
        match($0, / +-?[0-9]+\/-?[0-9]+ *$/)
        name = substr($0, 1, RSTART - 1)
        split(substr($0, RSTART), id, "/")
        pid = id[1] + 0 # 0 does nothing, or is outside of our container
        if (pid == id[2] + 0) names[pid] = plain(name) # a process is called like its first thread
        next
      }
      /^[ \t]+[0-9a-f]+ / {
        sub(/^[ \t]+[0-9a-f]+ /, "")
        sub(/ \(deleted\)\)$/, ")")
        file = ""
        if (match($0, / \([^()]*\)$/) || match($0, / \(.*\)$/)) {
          file = substr($0, RSTART + 2, RLENGTH - 3)
          $0 = substr($0, 1, RSTART - 1)
        }
        kernel = file ~ /^\[/ && file !~ /^\[(vdso|vsyscall|unknown|heap|stack|anon)/
        sub(/.*\//, "", file)
        if ($0 == "[unknown]") $0 = file == "" || file == "[unknown]" ? "[unknown]" : "[" file "]"
        else if (!kernel && file != "" && file !~ /^\[/) $0 = $0 " (" file ")"
        stack = (kernel ? ($0 ~ /^\[/ ? "[kernel]" : plain($0)) "_[k]" : plain($0)) (stack == "" ? "" : ";" stack)
      }
      END {end(); show()}' >"$CAPTURE_SCRATCH/stacks"
}

why_no_perf() {
  local level
  level=$(cat /proc/sys/kernel/perf_event_paranoid 2>/dev/null)
  if ! command -v perf >/dev/null; then
    echo "perf is not installed: run apt-get install linux-perf, or dnf install perf"
  elif [ "$(id -u)" -ne 0 ] && grep -qi -e paranoid -e permission -e 'not permitted' "$CAPTURE_SCRATCH/words"; then
    echo "perf may not look for $(id -un): log in as root, or run sysctl kernel.perf_event_paranoid=-1 (it is ${level:-?})"
  else
    echo "perf cannot look here: $(grep -v '^$' "$CAPTURE_SCRATCH/words" | head -n 2 | tr '\n' ' ' | cell 200)"
  fi
}

# --- bpftrace -------------------------------------------------------------------------------------

by_bpftrace() {
  local seen="\$pid > 0"
  [ "$pid" -eq 0 ] || seen="\$pid == $pid"
  timed bpftrace_maps "$seconds" "profile:hz:$RATE { WHO; if ($seen) { @stacks[\$pid, comm, kstack, ustack] = count(); } }" 2>"$CAPTURE_SCRATCH/words" >"$CAPTURE_SCRATCH/shown" || return
  # "PID,NAME,\n    frame\n    frame\n,\n    frame\n": N, first what is in the kernel, each innermost first
  awk -F ', "' "$FOLD"'
    !/"@stacks"/ {next}
    {
      sub(/^{"type": "map", "data": {"@stacks": {"/, "")
      for (i = 1; i <= NF; i++) {
        if (!match($i, /": [0-9]+/)) continue
        count = substr($i, RSTART + 3, RLENGTH - 3)
        frames = split(substr($i, 1, RSTART - 1), frame, /\\n    /)
        at = index(frame[1], ",")
        id = substr(frame[1], 1, at - 1)
        name = substr(frame[1], at + 1)
        kernel = name !~ /,,$/
        sub(/,+$/, "", name)
        stack = ""
        for (j = 2; j <= frames; j++) {
          last = sub(/\\n,$/, "", frame[j])
          sub(/\\n$/, "", frame[j])
          sub(/\+[0-9]+$/, "", frame[j])
          if (frame[j] ~ /^0x/) frame[j] = "[unknown]"
          stack = plain(frame[j]) (kernel ? "_[k]" : "") (stack == "" ? "" : ";" stack)
          if (last) kernel = 0
        }
        keep(id, name, stack == "" ? "[unknown]" : stack, count)
      }
    }
    END {show()}' "$CAPTURE_SCRATCH/shown" >"$CAPTURE_SCRATCH/stacks"
}

# --- /proc ----------------------------------------------------------------------------------------

look() {
  local each whose='[0-9]*'
  [ "$pid" -eq 0 ] || whose=$pid
  for ((each = 0; each < seconds * LOOKS_A_SECOND; each++)); do
    [ -z "$stopped" ] || break
    # shellcheck disable=SC2086  # a pattern
    printf '%s\0' /proc/$whose/task/[0-9]*/stat | timeout 5 xargs -0 grep -sHE '\) [RD] '
    sleep 0.$((10 / LOOKS_A_SECOND))
  done
}

by_looking() { # which threads run, or wait in the kernel for a disk or a lock; where those are that run cannot be seen
  RATE=$LOOKS_A_SECOND
  timed look >"$CAPTURE_SCRATCH/shown"
  awk -v us=$$ "$FOLD"'
    {
      split($0, path, "/")
      if (!match($0, /\(.*\) [RD] [0-9]+ /)) next
      name = substr($0, RSTART + 1, RLENGTH - 1)
      match(name, /\) [RD] [0-9]+ $/)
      state = substr(name, RSTART + 2, 1)
      if (substr(name, RSTART + 4) + 0 == us) next
      keep(path[3], substr(name, 1, RSTART - 1), state == "R" ? "[runs]" : "[waits in the kernel]", 1)
    }
    END {show()}' "$CAPTURE_SCRATCH/shown" >"$CAPTURE_SCRATCH/stacks"
}

# --------------------------------------------------------------------------------------------------

event='' unseen='' by=looking lasted=$seconds
if command -v perf >/dev/null && by_perf; then
  by=perf
else
  unseen=$(why_no_perf)
  lacks=$(bpftrace_lacks)
  if [ -z "$lacks" ] && by_bpftrace; then
    by=bpftrace
  else
    unseen="$unseen; ${lacks:-bpftrace cannot look either: $(cell 200 <"$CAPTURE_SCRATCH/words")}"
    by_looking
  fi
fi

awk '{print $NF "\t" $0}' "$CAPTURE_SCRATCH/stacks" | sort -rn | cut -f 2- >"$CAPTURE_SCRATCH/sorted"

section processes
printf 'pid\tuser\tname\n'
pids=$(sed 's/^[^;]*-\([0-9]*\);.*/\1/' "$CAPTURE_SCRATCH/sorted" | awk '!seen[$1]++ && n++ < 200' | paste -sd ,)
[ -z "$pids" ] || ps -o pid=,user:32=,comm= -p "$pids" | awk '{pid = $1; user = $2; sub(/^ *[^ ]+ +[^ ]+ +/, ""); gsub(/[\001-\037\177\\]/, "?"); printf "%s\t%s\t%s\n", pid, user, $0}'

section stacks "by=$by" "seconds=$lasted" "rate=$RATE" ${event:+"event=$event"} "pid=$pid"
sed 's/^###/ ###/' "$CAPTURE_SCRATCH/sorted" | head -c "$STACKS_BYTES"

section unseen
[ -z "$unseen" ] || printf '%s\n' "$unseen"
exit 0
