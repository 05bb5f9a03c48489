#!/usr/bin/env bash
# Which functions of one Python process use its CPU: py-spy's samples as folded stacks, the most frequent first.
# Its one file lies in a folder of its own, which goes whatever happens.
set -u -o pipefail

STACKS_BYTES=4000000

spent() { # CPU seconds so far, and seconds that its threads waited for a processor
  sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk -v hz="$(getconf CLK_TCK 2>/dev/null || echo 100)" '{printf "%f ", ($12 + $13) / hz}'
  cat "/proc/$pid/task/"[0-9]*/schedstat 2>/dev/null | awk '{sum += $2} END {printf "%f\n", sum / 1e9}'
}

choose Python "$PYTHONS" /libpython

reason='' unseen=''
find_py_spy
if [ "$spy" ]; then
  folder=$(mktemp -dt capturebot-python.XXXXXXXX) || exit
  trap 'rm -rf -- "$folder"' EXIT
  trap : INT # py-spy writes what it has when it gets one, and only then; its file is still to be printed
  # Before 3.11 py-spy cannot tell who rests without pausing the process: then only who holds the GIL is counted.
  only=()
  if read -r major minor < <(timeout --foreground -s INT 8 "$spy" dump --nonblocking --pid "$pid" 2>/dev/null | sed -n 's/^Python v\([0-9]*\)\.\([0-9]*\).*/\1 \2/p') &&
    [ $((major * 100 + minor)) -lt 311 ]; then
    only=(--gil)
  fi
  before=$(spent) began=$(cut -d ' ' -f 1 /proc/uptime)
  timeout --foreground -s INT -k 3 "$((${PARAM_SECONDS:-5} + 10))" "$spy" record --nonblocking --threads "${only[@]}" --rate "${PARAM_RATE:-100}" \
    --duration "${PARAM_SECONDS:-5}" --format raw --output "$folder/stacks" --pid "$pid" </dev/null 2>"$folder/words" 1>&2
  after=$(spent) ended=$(cut -d ' ' -f 1 /proc/uptime)
  if [ -f "$folder/stacks" ]; then
    seconds=$(awk '{printf "%.2f", $2 - $1}' <<<"$began $ended")
    # No CPU time is known of a process that ended meanwhile.
    used=$(awk '{waited = $4 - $2; print NF == 4 ? sprintf("cpu_s=%.2f waited_s=%.2f", $3 - $1, waited < 0 ? 0 : waited) : "cpu_s=- waited_s=0"}' <<<"$before $after")
    section stacks "seconds=$seconds" "$used" "rate=${PARAM_RATE:-100}" "counted=${only[*]:-all}"
    awk '{print $NF "\t" $0}' "$folder/stacks" | sort -rn | cut -f 2- | sed 's/^###/ ###/' | head -c "$STACKS_BYTES"
    section words
    sed 's/^###/ ###/' "$folder/words" | head -c 2000
  else
    refusal "$(head -c 20000 "$folder/words")"
  fi
fi
[ -d "/proc/$pid" ] || { section gone; echo "The process ended while it was looked at"; }
if [ "$reason" ]; then
  section unseen "reason=$reason"
  printf '%s\n' "$unseen"
fi
exit 0
