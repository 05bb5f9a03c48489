#!/usr/bin/env bash
# A core of one process, and from it the stacks of all its threads. It stands still while the core is written, and no
# longer: symbols are looked up afterwards, in the core.
set -u

STACKS_S=60
STACKS_BYTES=1500000
FRAMES=24

choose '' ''
measure
because=$(unable)
if [ -z "$because" ] && { [ $((core * 12 / 10)) -gt "$free" ] || [ $((free - core)) -lt $((total / 20)) ]; }; then
  because="Its core would have $(bytes "$core"), and $place has $(bytes "$free") of $(bytes "$total") left"
  because="$because (1.2 times as much is needed, and 5 % stay free): make /var/lib/capturebot/scratch on a larger disk"
fi
if [ "$because" ]; then
  section refused
  echo "$app (pid $pid): $because"
  exit 0
fi

file=$CAPTURE_SCRATCH/core
exe=$(readlink -f "/proc/$pid/exe")
roots=()
[ "$(readlink "/proc/$pid/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] || roots=(-ex "set sysroot /proc/$pid/root")
quiet=(-ex 'set pagination off' -ex 'set confirm off' -ex 'set debuginfod enabled off' -ex 'set print frame-arguments none')

ended=
trap 'ended=yes' INT
[ "$state" = T ] || echo "$pid $start" >"$CAPTURE_SCRATCH/paused" # whoever tidies up sees to it that it runs again
said=$(
  trap : INT
  timeout --foreground -s INT -k 3 "$PARAM_SECONDS" gdb -nx --batch --readnever "${quiet[@]}" \
    -ex 'shell date +attach=%s.%N' -ex "attach $pid" -ex "gcore $file" -ex detach -ex 'shell date +detach=%s.%N' 2>&1 </dev/null
)
status=$?
frozen=$(sed -n 's/^\(at\|de\)tach=//p' <<<"$said" | awk 'NR == 1 {from = $1} NR == 2 {printf "%.2f", $1 - from}')
size=$(stat -c %s -- "$file" 2>/dev/null || echo 0)
words=$(grep -v -e 'index cache directory' -e 'unexpected null characters' -e '^\[' -e '^\(at\|de\)tach=' -e '^warning: Memory read failed' -e '^Using host lib' <<<"$said" | tail -n 5)

# On a full disk gdb says both that it could not write and that it has saved the core.
case $said in
  *'No space left'* | *'quota exceeded'* | *'write corefile contents'*) outcome=full ;;
  *'Saved corefile'*) outcome=saved ;;
  *) outcome=none ;;
esac
if [ "$outcome" != saved ]; then
  rm -f -- "$file" # half a core misleads
  # shellcheck disable=SC2046  # words are wanted
  set -- $(stat -f -c '%a %S' -- "$CAPTURE_SCRATCH")
  if [ "$ended" ]; then
    because="Writing the core was stopped, and what was there of it deleted"
  elif [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    because="seconds=$PARAM_SECONDS were over before all of about $(bytes "$core") were written; what was there was deleted"
  elif [ "$outcome" = full ]; then
    because="The disk of $place was full after $(bytes "$size") of about $(bytes "$core"); they were deleted, and $(bytes $(($1 * $2))) of $(bytes "$total") are free now"
  else
    because="gdb took no core: $(tail -n 1 <<<"$words" | cell 200)"
  fi
  section failed ${frozen:+"frozen_s=$frozen"}
  echo "$app (pid $pid): $because"
  sed 's/^### /  &/' <<<"$words"
  echo "$because" >&2
  exit 1
fi

section core "size_bytes=$size" "frozen_s=${frozen:-0}" "resident_bytes=$resident" "estimate_bytes=$core" "threads=$(status_of Threads)"
sed 's/^### /  &/' <<<"$words"
section stacks
nice -n 10 timeout --foreground -s INT -k 3 "$STACKS_S" gdb -nx --batch "${quiet[@]}" ${roots[@]+"${roots[@]}"} \
  -ex "thread apply all backtrace $FRAMES" "$exe" "$file" 2>&1 </dev/null | sed 's/^### /  &/' | head -c "$STACKS_BYTES"
exit 0
