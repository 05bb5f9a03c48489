#!/usr/bin/env bash
# Three thread dumps of one JVM, seconds apart, taken as the user that it runs as.
set -u

DUMPS=3
PATIENCE_S=12       # of one tool; it hangs as long as the JVM reaches no safepoint
DUMP_BYTES=5000000  # of one dump
READ_BYTES=600000   # of one dump that the reader gets to see; longer ones are repeated in full at the end
LOCKS_KB=500000     # resident; -l walks the heap, which stops a JVM of this size for some 0.3 s

section() { # name, facts
  local name=$1
  shift
  printf '### %s at=%s%s\n' "$name" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)" "${*:+ $*}"
}

trouble() { # kind, what is wrong, the line that mends it
  section trouble "kind=$1"
  shift
  printf '%s\n' "$@"
}

word() { tr -c '[:print:]' ' ' | head -c 400; } # what cannot break a table

status_of() { awk -v key="$1:" '$1 == key {print $(1 + n)}' n="${2:-1}" "/proc/$pid/status" 2>/dev/null; }

# --- which process ---------------------------------------------------------------------------

is_java() {
  case $(cat "/proc/$1/comm" 2>/dev/null) in
    java) true ;;
    jcmd | jstack | jmap | jps | jstat | jinfo | jfr | javac) false ;; # JVMs too, but nobody asks for them
    *) timeout 2 grep -qsF /libjvm.so "/proc/$1/maps" ;;               # a launcher of its own
  esac
}

javas() { # the pids that match $app
  local files file
  case $app in
    '') files=$(grep -lsx java /proc/[0-9]*/comm) ;;
    *)
      files=$(grep -lsF -e "/${app%.service}.service" /proc/[0-9]*/cgroup)
      [ -n "$files" ] || files=$(timeout 5 grep -alsF -e "$app" /proc/[0-9]*/cmdline)
      ;;
  esac
  for file in $files; do
    file=${file#/proc/}
    is_java "${file%%/*}" && echo "${file%%/*}"
  done
}

describe() { # a row for each pid
  printf 'pid\tuser\tage_s\tcpu_s\trss_kb\tunit\tcommand\n'
  local each user age cpu rss unit
  for each in "$@"; do
    read -r user age cpu rss < <(ps -o user:32=,etimes=,cputimes=,rss= -p "$each") || continue
    unit=$(grep -os '[^/]*\.service$' "/proc/$each/cgroup" | head -n 1)
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$each" "$user" "$age" "$cpu" "$rss" "$unit" \
      "$(cat "/proc/$each/cmdline" 2>/dev/null | tr '\0' ' ' | word)" | sed 's/\\/\\\\/g'
  done
}

pid=$PARAM_PID app=$PARAM_APP
if [ "$pid" -eq 0 ]; then
  # shellcheck disable=SC2046  # pids are words
  set -- $(javas)
  if [ $# -eq 0 ]; then
    trouble none "No Java process${app:+ that matches app=$app} runs here."
    exit 0
  elif [ $# -gt 1 ]; then
    section candidates ${app:+"app=$app"}
    describe "${@:1:50}"
    exit 0
  fi
  pid=$1
elif [ ! -d "/proc/$pid" ]; then
  trouble gone "There is no process $pid (any more)."
  exit 0
elif ! is_java "$pid"; then
  trouble other "Process $pid ($(cat "/proc/$pid/comm" 2>/dev/null | word | sed 's/ *$//')) is no JVM, as far as $(id -un) can see."
  exit 0
fi

section process
describe "$pid"

# --- with which tool, as whom ----------------------------------------------------------------

me=$(id -u) uid=$(status_of Uid 2) gid=$(status_of Gid 2)
inner=$(awk '/^NSpid:/ {print $NF}' "/proc/$pid/status" 2>/dev/null) # what it calls itself, in a container
inner=${inner:-$pid}
user=$(stat -c %U "/proc/$pid" 2>/dev/null)
[ "$user" != UNKNOWN ] || user="#$uid"
if [ "$me" = "$uid" ]; then
  as_owner=(env)
elif [ "$me" != 0 ]; then
  as_owner=(sudo -n -u "$user" --)
elif setpriv --version >/dev/null 2>&1; then
  as_owner=(setpriv "--reuid=$uid" "--regid=$gid" --clear-groups)
else
  as_owner=(runuser -u "$user" --)
fi

# Where its JDK is. In a container the same path is another file; whose exe cannot be seen may still say it.
exe=
if [ "$me" != 0 ] || [ "$(readlink "/proc/$pid/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ]; then
  exe=$(readlink "/proc/$pid/exe") || exe=$(cat "/proc/$pid/cmdline" 2>/dev/null | tr '\0' '\n' | head -n 1)
fi
own=${exe%/*}

find_tool() { # in the JVM's own JDK (that of a JDK 8 is a level up), else in any other
  local folder
  for folder in "$own" "$own/../../bin" ${PATH//:/ } /usr/lib/jvm/*/bin /opt/*/bin /usr/java/*/bin; do
    case $folder in
      /*) [ ! -x "$folder/$1" ] || { readlink -f "$folder/$1" && return; } ;;
    esac
  done
}

tools=()
for name in jcmd jstack; do
  tool=$(find_tool "$name")
  [ -z "$tool" ] || tools+=("$tool")
done
if [ ${#tools[@]} -eq 0 ]; then
  trouble tool "Nothing here can dump the threads of pid $pid: neither jcmd nor jstack is installed${own:+, and $own has none}." \
    "Install a JDK of its version beside it, for example: apt-get install openjdk-17-jdk-headless"
  exit 0
fi

# --- the dumps -------------------------------------------------------------------------------

cannot_answer() {
  case $(status_of State) in
    T | t) trouble stopped "It is stopped (SIGSTOP or a debugger) and answers nobody." "kill -CONT $pid lets it go on." ;;
    Z | X | '') trouble gone "It has ended." ;;
    *) false ;;
  esac
}

would_end() { # The tools send SIGQUIT to a JVM that has no socket for them yet; one that does not catch it ends.
  local caught
  caught=$(status_of SigCgt)
  [ $((0x0${caught: -1} & 4)) -eq 0 ] && [ ! -S "/proc/$pid/root/tmp/.java_pid$inner" ] && [ ! -S "/tmp/.java_pid$pid" ] &&
    trouble mute "It does not catch SIGQUIT yet, so that asking for a dump would end it." "Try again when it has started."
}

ask() { # tool, more → a dump, or a complaint
  local tool=$1 more=$2 words
  case $tool in
    */jcmd) words=("$pid" Thread.print $more) ;;
    *) words=($more "$pid") ;;
  esac
  (
    set -o pipefail
    "${as_owner[@]}" timeout -k 2 "$PATIENCE_S" "$tool" "${words[@]}" 2>&1 | sed 's/^### /  &/' | head -c "$DUMP_BYTES" # no thread's name is a header
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

clean_up() { # what a tool that was ended leaves behind: its call to the JVM
  "${as_owner[@]}" rm -f "/proc/$pid/cwd/.attach_pid$inner" "/proc/$pid/root/tmp/.attach_pid$inner" 2>/dev/null
}

is_hung() { # status and complaint of a tool; it may give up before its time is over
  [ "$1" -eq 124 ] || [ "$1" -eq 137 ] || grep -q "target process.* respond" <<<"$2"
}

sudoers() { # In a line for sudoers * would match -J-agentpath:FILE too: any code, as the owner. Only the pid may differ.
  local timeout tool=${tools[0]} number='[0-9]+' run
  timeout=$(command -v timeout)
  if [ "$(printf '1.9.10\n%s\n' "$(sudo -V 2>/dev/null | sed -n '1s/.* //p')" | sort -V | head -n 1)" = 1.9.10 ]; then
    case $tool in
      */jcmd) run="$timeout ^-k 2 $PATIENCE_S ${tool//+/[+]} $number Thread[.]print( -l)?$" ;;
      *) run="$timeout ^-k 2 $PATIENCE_S ${tool//+/[+]} (-l )?$number$" ;;
    esac
  else # it knows no regular expressions: a pid of as many digits
    number=${pid//[0-9]/[0-9]} run="$timeout -k 2 $PATIENCE_S $tool"
    case $tool in
      */jcmd) run="$run $number Thread.print, $run $number Thread.print -l" ;;
      *) run="$run $number, $run -l $number" ;;
    esac
  fi
  echo "$(id -un) ALL=($user) NOPASSWD: $run"
}

refused() { # status and complaint of the last tool → why there is no dump
  local name=${tool##*/}
  ! is_hung "$1" "$2" || clean_up
  cannot_answer && return
  if is_hung "$1" "$2"; then
    trouble hung "It did not answer $name within $PATIENCE_S s: it is frozen, swaps, or collects garbage."
  elif [ "${as_owner[0]}" = sudo ] && grep -q 'sudo: ' <<<"$2"; then
    trouble user "It belongs to $user, and $(id -un) may not act as $user here." "A line for sudoers: $(sudoers)" "$2"
  else
    trouble refused "$name was refused: $(grep -m 1 '[a-z]' <<<"$2" | sed 's/^[0-9]*: //' | word)" "$2"
  fi
}

cannot_answer && exit 0
would_end && exit 0
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
      refused "$status" "$dump"
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
