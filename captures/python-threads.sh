#!/usr/bin/env bash
# What every thread of one Python process does, three times: its Python stack, and what the kernel knows of it.
# A thread that stands at the same line each time and did not run in between is stuck; one look cannot tell.
set -u -o pipefail

LOOKS=3
TRIES=4 # py-spy does not pause the process, so it sometimes reads what is just being changed
THREADS=500
DUMP_BYTES=1000000

# Of each thread: state, how long it ran and how long it waited to run, how often it let go of its processor or had to, what it
# waits for in the kernel, at which futex, and the address that its stack has come to.
states() {
  printf 'tid\tname\tstate\tran_ms\twaited_ms\tswitches\twchan\tfutex\tstack\n'
  local -a tasks=("/proc/$pid/task/"[0-9]*)
  tasks=("${tasks[@]:0:THREADS}")
  grep -asH '' "${tasks[@]/%//stat}" "${tasks[@]/%//wchan}" "${tasks[@]/%//syscall}" "${tasks[@]/%//schedstat}" "${tasks[@]/%//status}" |
    awk -v OFS='\t' -v hz="$(getconf CLK_TCK 2>/dev/null || echo 100)" '
      {
        split($0, path, "/")
        tid = path[5]
        line = substr($0, index($0, ":") + 1)
        split(line, word, " ")
      }
      $0 ~ /^[^:]*\/stat:/ {
        name[tid] = line
        sub(/^[^(]*\(/, "", name[tid])
        sub(/\)[^)]*$/, "", name[tid])
        gsub(/[\001-\037\177\\]/, "?", name[tid])
        sub(/.*\) /, "", line)
        split(line, word, " ")
        state[tid] = word[1]
        ran[tid] = (word[12] + word[13]) * 1000 / hz
        order[++n] = tid
      }
      $0 ~ /^[^:]*\/wchan:/ {wchan[tid] = word[1]}
      $0 ~ /^[^:]*\/syscall:/ {futex[tid] = word[2]; stack[tid] = word[8]}
      $0 ~ /^[^:]*\/schedstat:/ && word[1] > 0 {ran[tid] = word[1] / 1e6; waited[tid] = word[2] / 1e6}
      word[1] ~ /voluntary_ctxt_switches:$/ {switches[tid] += word[2]}
      END {
        for (i = 1; i <= n; i++) {
          tid = order[i]
          waits = wchan[tid] != "" && wchan[tid] != "0" ? wchan[tid] : "-"
          printf "%s\t%s\t%s\t%.0f\t%.0f\t", tid, name[tid], state[tid], ran[tid], waited[tid]
          print switches[tid] + 0, waits, (waits ~ /^futex/ && futex[tid] != "" ? futex[tid] : "-"), (stack[tid] != "" ? stack[tid] : "-")
        }
      }'
}

look() { # sets dump where there is one, and complaint where there is none
  local try text
  for ((try = 0; try < TRIES && ${#reason} == 0; try++)); do
    if text=$(timeout --foreground -s INT -k 2 8 "$spy" dump --nonblocking --full-filenames --pid "$pid" 2>&1 | head -c "$DUMP_BYTES") ||
      [ ${#text} -eq "$DUMP_BYTES" ]; then
      dump=$text
      section dump
      sed 's/^###/ ###/' <<<"$dump" # a thread may have any name
      break
    fi
    complaint=$text
    case $text in *'ermission '*) refusal "$text" ;; esac
  done
  section tasks
  states
}

source_lines() { # the lines that threads stand at: of modules only, so that no other file is read for a program that lies
  printf 'place\ttext\n'
  awk '/^Thread / {inner = 1; next} inner {print; inner = 0}' <<<"$dump" |
    sed -n 's/.* (\(.*\.py\):\([0-9][0-9]*\))$/\2 \1/p' | sort | uniq -c | sort -rn | head -n 20 |
    while read -r _ line path; do
      case $path in /*) file=/proc/$pid/root$path ;; *) file=/proc/$pid/cwd/$path ;; esac
      [ -r "/proc/$pid/root/" ] || file=$path # it may be in another container, but is hardly ever with a file of this name
      if [ -f "$file" ] && [ -r "$file" ] && ! [ -L "$file" ]; then
        text=$(timeout --foreground 2 head -c 2000000 -- "$file" | sed -n "${line}{s/^[[:space:]]*//;p;q}" | cell 120)
        printf '%s:%s\t%s\n' "$(cell 200 <<<"$path")" "$line" "$text"
      fi
    done
}

choose Python "$PYTHONS" /libpython

reason='' unseen='' dump='' complaint=''
find_py_spy
for ((n = 1; n <= LOOKS; n++)); do
  [ "$n" -eq 1 ] || sleep "${PARAM_EVERY:-2}"
  [ -d "/proc/$pid" ] || break
  look
done
[ "$dump$reason" ] || refusal "$complaint"
[ -d "/proc/$pid" ] || { section gone; echo "The process ended while it was looked at"; }
if [ "$reason" ]; then
  section unseen "reason=$reason"
  printf '%s\n' "$unseen"
fi

section source
source_lines

section files
find "/proc/$pid/fd" -mindepth 1 -maxdepth 1 -printf '%f\t%l\0' 2>/dev/null | tr '\n\0' '?\n' | sort -n | head -n 300
exit 0
