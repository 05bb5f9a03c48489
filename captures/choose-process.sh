#!/usr/bin/env bash
# Choosing the process that a script looks at. A recipe names this file before its own,
#
#     script: [choose-process.sh, node.sh], needs: [ps, find, awk]
#
# declares the parameters `pid` (integer, default 0) and `app` (text, default ""), and its script says, once:
#
#     choose Node.js '^node(js)?$'
#
# choose KIND PROGRAM [LIBRARY [NEVER]]
#   KIND     the adjective for a sentence: "Java" process; '' for a process of any kind
#   PROGRAM  matches the file name of its program (an extended regular expression); '' for any
#   LIBRARY  part of a path: a program of another name is one too if it maps such a file, and pid= or app= names it
#   NEVER    like PROGRAM: those that are none all the same
#
# pid= wins. Else app= is its systemd unit, its script, class or jar, or, where that finds none, any part of its command
# line. With neither it is the only one that runs; of any kind, one must be named. Then `choose` prints
#
#     ### process at=…        one row: pid user state age_s cpu_s rss_kb app command
#
# and sets pid, user (its owner) and app (its unit or script, for people). Where there is none, or more than one, it
# prints why and what there is, and ends the script with status 0 (bot/insights/choice.py reads that):
#
#     ### refused at=…        a sentence; absent where several match
#     ### candidates at=… number=3 kind=Java      the same columns and cpu_now, percent of one processor; at most 20 rows
#
# `section NAME [key=value …]` and `cell CHARACTERS` (a filter: what cannot break a table) may be used too; `processes`,
# `name_of PID`, `askers` and `busiest SECTION KIND ROW…` are what `choose` is made of.
set -u

section() {
  local name=$1
  shift
  printf '### %s at=%s%s\n' "$name" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)" "${*:+ $*}"
}

cell() { tr -d '\n' | tr -c '[:print:]' '?' | tr '\\' '?' | head -c "$1"; }

CANDIDATES_SHOWN=20
CANDIDATES_TIMED=200
CANDIDATES_LOOK_S=0.5

# The busiest over their life first: pid, user, state, seconds since the start, CPU seconds, kB, program, command.
# Whose program is hidden from us is known by its command line.
processes() {
  {
    timeout 10 find /proc/[0-9]*/exe -maxdepth 0 -printf 'exe %h %l\n' 2>/dev/null
    timeout 10 ps -ww -eo pid=,user:32=,stat=,etimes=,cputimes=,rss=,args=
  } | awk '
    $1 == "exe" {split($2, part, "/"); sub(/^exe [^ ]+ /, ""); sub(/ \(deleted\)$/, ""); if ($0 != "") path[part[3]] = $0; next}
    {
      command = $0
      for (i = 1; i < 7; i++) sub(/^ *[^ ]+ +/, "", command)
      gsub(/[\001-\037\177\\]/, "?", command)
      program = $1 in path ? path[$1] : $7
      sub(/.*\//, "", program)
      gsub(/[\001-\037\177\\]/, "?", program)
      printf "%f\t%d\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", $5 / ($4 + 1), $1, $2, substr($3, 1, 1), $4, $5, $6, program == "" ? "?" : program, substr(command, 1, 300)
    }' | sort -rn | cut -f 2-
}

plain() { # variable: what cannot break a table, without a process of its own for each cell
  local text=${!1//[^[:print:]]/?}
  text=${text//\\/?}
  printf -v "$1" %s "${text:0:60}"
}

name_of() { # pid → unit, and script: what its interpreter was told to run, or its program, or the title that it gave itself
  local line word valued=''
  local -a words=()
  unit='' script=''
  while read -r line; do
    case $line in
      */*.service*)
        line=${line%.service*}
        line=${line##*/}
        case $line in user@* | ssh | sshd | cron | crond | docker | containerd | systemd-*) ;; *) unit=$line ;; esac
        ;;
    esac
  done 2>/dev/null <"/proc/$1/cgroup"
  while [ ${#words[@]} -lt 200 ] && IFS= read -r -d '' word; do words+=("$word"); done 2>/dev/null <"/proc/$1/cmdline"
  set -- ${words[@]+"${words[@]}"}
  script=${1-}
  case $script in [!/]*' '*) ;; *) script=${script##*/} ;; esac
  case $script in
    java) word=java ;;
    python* | uwsgi*) word=python ;;
    dotnet | node | nodejs | ruby* | perl* | bash | sh | dash) word=$script ;;
    *) set -- ;; # no interpreter, so that its arguments are no programs
  esac
  [ $# -eq 0 ] || shift
  for line in "$@"; do
    if [ "$valued" ]; then
      valued=''
      continue
    fi
    case $word$line in
      java-cp | java-classpath | java--class-path | java-p | java--module-path | java--add-modules | java--upgrade-module-path) valued=yes ;;
      dotnet--additionalprobingpath | dotnet--depsfile | dotnet--fx-version | dotnet--roll-forward | dotnet--runtimeconfig) valued=yes ;;
      dotnetexec) ;;
      python-X | python-W | node*-r | node*--require | ruby*-r | ruby*-I | perl*-I) valued=yes ;;
      java[-@]*) ;;
      "$word"-c | "$word"-e)
        script="$word $line"
        break
        ;;
      "$word"-*) ;;
      *)
        script=${line##*/}
        case $word$script in dotnet*) script=${script%.dll} ;; java*.jar) ;; java*) script=${script##*.} ;; esac
        break
        ;;
    esac
  done
  plain unit
  plain script
}

has_library() { # pid, part of a path: a hanging process must not hang us
  [ "$2" ] && timeout 2 grep -qsF -e "$2" "/proc/$1/maps"
}

ticks_of() { # pid → ticks, of all its threads since the start
  local line
  ticks=''
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return
  # shellcheck disable=SC2086  # words are wanted
  set -- ${line##*) }
  ticks=$((${12} + ${13}))
}

busiest() { # section, kind, rows: those that use the processor now first
  local name=$1 kind=$2 row ticks began ended hz percent number
  local -a before=() rows=()
  shift 2
  number=$#
  set -- "${@:1:CANDIDATES_TIMED}"
  read -r began _ </proc/uptime
  for row in "$@"; do
    ticks_of "${row%%$'\t'*}"
    before+=("$ticks")
  done
  [ $# -eq 0 ] || sleep "$CANDIDATES_LOOK_S"
  read -r ended _ </proc/uptime
  hz=$(getconf CLK_TCK 2>/dev/null || echo 100)
  for row in "$@"; do
    ticks_of "${row%%$'\t'*}"
    percent=0
    if [ "$ticks" ] && [ "${before[0]}" ] && [ "${ended/./}" -gt "${began/./}" ]; then
      percent=$(((ticks - before[0]) * 10000 / (hz * (${ended/./} - ${began/./}))))
    fi
    before=("${before[@]:1}")
    rows+=("$percent"$'\t'"$row")
  done
  section "$name" "number=$number" ${kind:+"kind=$kind"}
  printf 'pid\tuser\tstate\tage_s\tcpu_s\trss_kb\tapp\tcommand\tcpu_now\n'
  [ ${#rows[@]} -eq 0 ] || printf '%s\n' "${rows[@]}" | sort -s -t $'\t' -k 1,1rn | head -n "$CANDIDATES_SHOWN" |
    awk '{percent = $1; sub(/^[^\t]*\t/, ""); print $0 "\t" percent}'
}

refused() { # kind, pid, app: why there is none
  local whose="${1:+$1 }process" me
  me=$(id -un)
  section refused
  if [ "$2" -gt 0 ] && [ -d "/proc/$2" ]; then
    echo "pid $2 is $(cell 30 <"/proc/$2/comm"), no $whose that $me can see"
  elif [ "$2" -gt 0 ]; then
    echo "No process has pid $2 here any more"
  elif [ "$3" ]; then
    echo "No $whose matches app=$3"
  elif [ "$1" ]; then
    echo "No $whose runs here that $me can see"
  else
    echo "Name a process: pid=… or app=…"
  fi
}

askers() { # the pids of this script and of those that started it: the bot may be of the kind, with what is wanted on its command line
  local each=$$
  while [ "${each:-0}" -gt 1 ]; do
    printf ' %s ' "$each"
    each=$(sed -n 's/^PPid:\t//p' "/proc/$each/status" 2>/dev/null)
  done
}

choose() {
  local kind=$1 regex=$2 library=${3:-} never=${4:-} number=${PARAM_PID:-0} wanted=${PARAM_APP:-}
  local ours each owner state age cpu rss program command unit script match row
  local -a all=() exact=() part=()
  ours=$(askers)
  while IFS=$'\t' read -r each owner state age cpu rss program command; do
    [[ -z $never || ! $program =~ $never ]] || continue
    name_of "$each"
    [ "$script" ] || [ "$rss" -eq 0 ] || continue # it has ended since, as our own programs have
    match=''
    if [ "$number" -gt 0 ]; then
      [ "$each" != "$number" ] || match=exact
    elif [[ $wanted && " $unit $unit.service $script ${script%.*} " == *" $wanted "* ]]; then
      match=exact
    elif [[ $command == *"$wanted"* ]]; then
      match=part
    fi
    [ "$match" = exact ] || { [[ $ours != *" $each "* ]] && [ "$rss" -gt 0 ]; } || continue # threads of the kernel have no memory
    if [[ ! $program =~ $regex ]]; then
      [ "$match" ] && [ "$number$wanted" != 0 ] && has_library "$each" "$library" || continue
    fi
    row=$each$'\t'$owner$'\t'$state$'\t'$age$'\t'$cpu$'\t'$rss$'\t'${unit:-${script:-?}}$'\t'$command
    all+=("$row")
    case $match in exact) exact+=("$row") ;; part) part+=("$row") ;; esac
  done < <(processes)
  set -- ${exact[@]+"${exact[@]}"}
  [ $# -gt 0 ] || [ "$number" -gt 0 ] || [ -z "$kind$wanted" ] || set -- ${part[@]+"${part[@]}"}
  if [ $# -eq 1 ]; then
    section process
    printf 'pid\tuser\tstate\tage_s\tcpu_s\trss_kb\tapp\tcommand\n%s\n' "$1"
    # shellcheck disable=SC2034  # for the script that asked
    IFS=$'\t' read -r pid user _ _ _ _ app _ <<<"$1"
    return
  fi
  if [ $# -eq 0 ]; then
    refused "$kind" "$number" "$wanted"
    set -- ${all[@]+"${all[@]}"}
  fi
  busiest candidates "$kind" "$@"
  exit 0
}
