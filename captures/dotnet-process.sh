#!/usr/bin/env bash
# Finding the diagnostic socket of a .NET process, and speaking to its runtime: for the scripts of `dotnet` and `dotnet-heap`.
# They call choose_dotnet, then `prepare`, which sets the following, or says what is missing:
#
#     endpoint    the socket that its runtime listens on; '' where there is none, and why in `unreachable`
#     python      runs what speaks to it, as the process's user; '' where there is none
#     runtime     the folder of its libcoreclr.so, as it is seen from here; '' for a program that has the runtime in it
set -u

DOTNET_TOOLS='^dotnet-(counters|dump|gcdump|monitor|stack|trace)$' # which are .NET processes themselves
LIBRARIES=$'/libcoreclr.so\n/memfd:doublemapper'                   # the second is what a single file with the runtime in it maps

trouble() { # kind, what is wrong, the line that mends it
  section trouble "kind=$1"
  shift
  printf '%s\n' "$@"
}

status_of() { awk -v key="$1:" '$1 == key {print $(1 + n)}' n="${2:-1}" "/proc/$pid/status" 2>/dev/null; }

choose_dotnet() { choose .NET '^dotnet$' "$LIBRARIES" "$DOTNET_TOOLS"; }

cannot_answer() {
  case $(status_of State) in
    T | t) trouble stopped "It is stopped (SIGSTOP or a debugger) and answers nobody." "kill -CONT $pid lets it go on." ;;
    Z | X | '') trouble gone "It has ended." ;;
    *) false ;;
  esac
}

its() { # seconds, program, argument …: as its owner, so that nobody's socket or folder leads us further than they may go
  timeout -s INT -k 20 "$1" ${as_owner[@]+"${as_owner[@]}"} "${@:2}"
}

variable_of() { # name → its value in the environment that the process was started with
  cat "/proc/$pid/environ" 2>/dev/null | tr '\0' '\n' | sed -n "s/^$1=//p" | head -n 1
}

find_endpoint() {
  local folder start each
  local -a found=()
  folder=$(variable_of TMPDIR)
  folder=${folder:-/tmp}
  [ "$(readlink "/proc/$pid/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] || folder=/proc/$pid/root$folder
  start=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 20)
  for each in "${folder%/}/dotnet-diagnostic-$inner-"*-socket; do
    [ ! -S "$each" ] || found+=("$each")
  done
  for each in ${found[@]+"${found[@]}"}; do # the last that is no other process's of that number
    [ "$endpoint" = "${folder%/}/dotnet-diagnostic-$inner-$start-socket" ] || endpoint=$each
  done
}

prepare() {
  local each gid
  me=$(id -u) uid=$(status_of Uid 2) gid=$(status_of Gid 2)
  inner=$(awk '/^NSpid:/ {print $NF}' "/proc/$pid/status" 2>/dev/null) # what it calls itself, in a container
  inner=${inner:-$pid}
  cannot_answer && exit 0
  as_owner=()
  [ "$me" = "$uid" ] || [ "$me" != 0 ] || as_owner=(setpriv "--reuid=$uid" "--regid=$gid" --clear-groups)
  runtime=$(sed -n 's|^[^/]*\(/.*\)/libcoreclr.so$|\1|p' "/proc/$pid/maps" 2>/dev/null | head -n 1)
  endpoint='' unreachable=''
  find_endpoint
  if [ "$me" != "$uid" ] && [ "$me" != 0 ]; then
    endpoint=''
    unreachable="It belongs to $user, and $(id -un) may not ask its runtime: log in as $user or root."
  elif [ -z "$endpoint" ] && [[ $(variable_of DOTNET_EnableDiagnostics)$(variable_of COMPlus_EnableDiagnostics)$(variable_of DOTNET_EnableDiagnostics_IPC) == *0* ]]; then
    unreachable="Its diagnostic socket is switched off: it was started with DOTNET_EnableDiagnostics=0."
  elif [ -z "$endpoint" ]; then
    unreachable="It has no diagnostic socket where its TMPDIR says: it is older than .NET Core 3, or somebody has tidied up there."
  fi
  python=''
  for each in python3 /usr/libexec/platform-python; do
    if [ -z "$python" ] && "$each" -c 'import sys; sys.exit(sys.version_info < (3, 6))' >/dev/null 2>&1; then python=$each; fi
  done
}

find_tool() { # name → its path: on the PATH, or where `dotnet tool install --global` puts it for the process's user
  local home
  home=$(getent passwd "$uid" | cut -d : -f 6)
  command -v "$1" || { [ -x "$home/.dotnet/tools/$1" ] && echo "$home/.dotnet/tools/$1"; }
}

runtime_version() { # where its library lies; the runtime itself says it since .NET 6
  section runtime
  printf 'version\t%s\n' "$(cell 40 <<<"${runtime##*/}")"
}

unanswered() { # status, what was said: why the runtime gave no answer
  cannot_answer && return
  case $1 in
    3 | 124 | 137) trouble hung "It did not answer: $2." "Its runtime waits for a thread that reaches no safe point, or the host gives it no time." ;;
    *) trouble refused "It could not be asked: $2." ;;
  esac
}

no_python() { # what else is missing
  trouble python "Nothing here can ask its runtime: there is no Python 3.6 or newer$1." "apt-get install python3-minimal, or dnf install python3"
}
