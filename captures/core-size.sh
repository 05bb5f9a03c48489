#!/usr/bin/env bash
# What a core of the process $pid would take, and whether it can be taken: shared by the measure of its cost and the dump.

bytes() { # number → words
  local each number=$1 unit=0 units=(bytes kB MB GB TB)
  for each in 1000 1000000 1000000000 1000000000000; do
    [ "$number" -lt "$each" ] || unit=$((unit + 1)) number=$1
  done
  [ "$unit" -gt 0 ] || { echo "$1 bytes" && return; }
  each=$((10 ** (3 * unit - 1)))
  echo "$(($1 / each / 10)).$(($1 / each % 10)) ${units[unit]}"
}

status_of() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status" 2>/dev/null; }

# gdb writes what is mapped, not what is resident: of each mapping that can be read at all, the anonymous ones, the
# private ones that may be written, and shared memory that no file stands behind (coredump_filter 0x33).
core_bytes() {
  local range rights inode path total=1000000
  while read -r range rights _ _ inode path; do
    case $rights$path in ---* | *'[vvar'* | *'[vsyscall]') continue ;; esac
    case $inode,$rights,$path in
      0,*) ;;
      *,?w?p,*) ;;
      *,???s,*'(deleted)' | *,???s,/SYSV* | *,???s,/dev/zero*) ;;
      *) continue ;;
    esac
    total=$((total + 16#${range#*-} - 16#${range%-*}))
  done 2>/dev/null <"/proc/$pid/maps"
  echo "$total"
}

measure() { # sets core, resident, state, start, place, free, total
  local line
  { read -r line <"/proc/$pid/stat"; } 2>/dev/null || line=') X'
  # shellcheck disable=SC2086  # words are wanted
  set -- ${line##*) }
  state=$1 start=${20:-0}
  core=$(core_bytes)
  resident=$(status_of VmRSS)
  resident=${resident%% *}
  resident=$((${resident:-0} * 1024))
  place=${CAPTURE_SCRATCH%/*}
  # shellcheck disable=SC2046  # words are wanted
  set -- $(stat -f -c '%a %S %b' -- "$CAPTURE_SCRATCH")
  free=$(($1 * $2)) total=$(($3 * $2))
}

unable() { # why no core can be taken; nothing where one can
  local me tracer scope
  me=$(id -un)
  tracer=$(status_of TracerPid)
  scope=$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null || echo 0)
  case $state in
    Z | X) echo "It has ended" ;;
    *)
      if [ -z "$(status_of VmRSS)" ]; then
        echo "It is a thread of the kernel, which has no memory of its own"
      elif ! command -v gdb >/dev/null; then
        echo "gdb, which takes the core, is not installed here: apt-get install gdb"
      elif [ "${tracer:-0}" -gt 0 ]; then
        echo "It is traced by pid $tracer ($(cell 30 <"/proc/$tracer/comm")) already: end that first"
      elif ! { : <"/proc/$pid/maps"; } 2>/dev/null || ! head -c 1 "/proc/$pid/maps" >/dev/null 2>&1; then
        echo "It belongs to $user, and $me may not look into it: let capturebot log in as $user$([ "$user" = root ] || echo " or as root")"
      elif [ "$(id -u)" != 0 ] && [ "$scope" -gt 0 ]; then
        echo "This kernel lets only root attach to it: log in as root, or sysctl kernel.yama.ptrace_scope=0"
      elif [ "$core" -gt $((PARAM_GB * 1000000000)) ]; then
        echo "Its core would have $(bytes "$core"), more than gb=$PARAM_GB allows"
      fi
      ;;
  esac
}
