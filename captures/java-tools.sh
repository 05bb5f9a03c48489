#!/usr/bin/env bash
# Asking a JVM with the tools of a JDK, as the user that it runs as: for scripts that have chosen one ($pid). They call
#
#     prepare jcmd jstack     sets tools to those that there are, or says what is missing and ends the script
#     use TOOL ARGUMENT …     runs one of them within $PATIENCE_S; both streams, whose lines can be no headers of ours.
#                             The tools end with 0 after failures too, so that only what was expected is a success
#     unanswered STATUS WORDS ARGUMENTS …    says why nothing came; ARGUMENTS are all that are used, with PID for the pid
set -u

PATIENCE_S=12 # of one tool; it hangs as long as the JVM reaches no safepoint

trouble() { # kind, what is wrong, the line that mends it
  section trouble "kind=$1"
  shift
  printf '%s\n' "$@"
}

word() { tr -c '[:print:]' ' ' | head -c 400; } # what cannot break a table

status_of() { awk -v key="$1:" '$1 == key {print $(1 + n)}' n="${2:-1}" "/proc/$pid/status" 2>/dev/null; }

find_tool() { # in the JVM's own JDK (that of a JDK 8 is a level up), else in any other
  local folder
  for folder in "$own" "$own/../../bin" ${PATH//:/ } /usr/lib/jvm/*/bin /opt/*/bin /usr/java/*/bin; do
    case $folder in
      /*) [ ! -x "$folder/$1" ] || { readlink -f "$folder/$1" && return; } ;;
    esac
  done
}

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

prepare() { # tool …: sets tools, as_owner, inner, and me, uid, user and own, which messages need
  local gid exe name tool wanted
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
  tools=()
  wanted="$1 is not"
  [ $# -eq 1 ] || wanted="neither $1 nor $2 is"
  for name in "$@"; do
    tool=$(find_tool "$name")
    [ -z "$tool" ] || tools+=("$tool")
  done
  if [ ${#tools[@]} -eq 0 ]; then
    trouble tool "Nothing here can ask the JVM of pid $pid: $wanted installed${own:+, and $own has none}." \
      "Install a JDK of its version beside it, for example: apt-get install openjdk-17-jdk-headless"
    exit 0
  fi
  cannot_answer && exit 0
  would_end && exit 0
}

use() {
  (
    set -o pipefail
    "${as_owner[@]}" timeout -k 2 "$PATIENCE_S" "$@" 2>&1 | sed 's/^### /  &/'
  )
}

clean_up() { # what a tool that was ended leaves behind: its call to the JVM
  "${as_owner[@]}" rm -f "/proc/$pid/cwd/.attach_pid$inner" "/proc/$pid/root/tmp/.attach_pid$inner" 2>/dev/null
}

is_hung() { # status and complaint of a tool; it may give up before its time is over
  [ "$1" -eq 124 ] || [ "$1" -eq 137 ] || grep -q "target process.* respond" <<<"$2"
}

sudoers() { # In a line for sudoers * would match -J-agentpath:FILE too: any code, as the owner. Only the pid may differ.
  local each timeout path run=''
  timeout=$(command -v timeout)
  path=${tools[0]}
  if [ "$(printf '1.9.10\n%s\n' "$(sudo -V 2>/dev/null | sed -n '1s/.* //p')" | sort -V | head -n 1)" = 1.9.10 ]; then
    for each in "$@"; do
      each=$(sed 's/[.+]/[&]/g; s/PID/[0-9]+/' <<<"$each")
      run="$run${run:+|}$each"
    done
    run="$timeout ^-k 2 $PATIENCE_S ${path//+/[+]} ($run)$"
  else # it knows no regular expressions: a pid of as many digits
    for each in "$@"; do
      run="$run${run:+, }$timeout -k 2 $PATIENCE_S $path ${each/PID/${pid//[0-9]/[0-9]}}"
    done
  fi
  echo "$(id -un) ALL=($user) NOPASSWD: $run"
}

unanswered() {
  local status=$1 said=$2 name=${tools[0]##*/}
  shift 2
  ! is_hung "$status" "$said" || clean_up
  cannot_answer && return
  if is_hung "$status" "$said"; then
    trouble hung "It did not answer $name within $PATIENCE_S s: it is frozen, swaps, or collects garbage."
  elif [ "${as_owner[0]}" = sudo ] && grep -q 'sudo: ' <<<"$said"; then
    trouble user "It belongs to $user, and $(id -un) may not act as $user here." "A line for sudoers: $(sudoers "$@")" "$said"
  else
    trouble refused "$name was refused: $(grep -m 1 '[a-z]' <<<"$said" | sed 's/^[0-9]*: //' | word)" "$said"
  fi
}
