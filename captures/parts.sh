#!/usr/bin/env bash
# Parts of a snapshot, which all run at once, each for itself and within its own time. It comes after choose-process.sh.
#
#   part NAME SECONDS FUNCTION…    starts a function, or a program with its arguments; it prints sections, as scripts do
#   parts_end                      prints the parts in the order that they were started in, each as soon as it has ended
#
# A part is printed under `### part at=… name=NAME state=well|late|stuck|status-N`: one that is late was ended when its time was
# over, and one that is stuck could not be, because it hangs in the kernel. What a part says on stderr follows it.
# The insight `snapshot` reads parts that are called calls, disks, files, limits, memory, sockets, threads and usage.

PART_KB=1000      # of what one part may print
PART_WORDS=2000   # bytes of what it may complain
PART_MERCY_S=3    # from the end of its time until nobody waits for it any more

part_names=() part_pids=() part_ends=()

parts_leave() { [ ${#part_pids[@]} -eq 0 ] || kill -s INT "${part_pids[@]}" 2>/dev/null; }
trap parts_leave EXIT INT # they have groups of their own; what they have said is still to be printed

part() {
  local name=$1 seconds=$2
  shift 2
  (
    ulimit -f "$PART_KB"
    # Functions have no shell in a program of its own, unless they are handed on to one.
    # shellcheck disable=SC2046
    export -f $(compgen -A function)
    # shellcheck disable=SC2016
    exec timeout -s INT -k 1 "$seconds" bash -c '"$@"' part "$@"
  ) </dev/null >"$CAPTURE_SCRATCH/part.$name" 2>"$CAPTURE_SCRATCH/words.$name" &
  part_names+=("$name")
  part_pids+=($!)
  part_ends+=($((SECONDS + seconds + PART_MERCY_S)))
}

parts_end() {
  local at name state
  for at in "${!part_names[@]}"; do
    name=${part_names[at]}
    while [ "$SECONDS" -lt "${part_ends[at]}" ] && kill -s 0 "${part_pids[at]}" 2>/dev/null; do sleep 0.1; done
    if kill -s 0 "${part_pids[at]}" 2>/dev/null; then
      state=stuck
    else
      wait "${part_pids[at]}"
      state=status-$?
      case $state in status-0) state=well ;; status-124 | status-137) state=late ;; esac
    fi
    section part "name=$name" "state=$state"
    head -c $((PART_KB * 1024)) "$CAPTURE_SCRATCH/part.$name"
    [ ! -s "$CAPTURE_SCRATCH/words.$name" ] || { section words; head -c "$PART_WORDS" "$CAPTURE_SCRATCH/words.$name" | sed 's/^###/ ###/'; echo; }
  done
  part_pids=()
}
