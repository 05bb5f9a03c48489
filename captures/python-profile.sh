#!/usr/bin/env bash
# Which functions of one Python process use its CPU: py-spy's samples as folded stacks, the most frequent first.
# Its one file lies in a folder of its own, which goes whatever happens.
set -u -o pipefail

STACKS_BYTES=4000000

section() {
  local name=$1
  shift
  printf '### %s at=%s' "$name" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"
  [ $# -eq 0 ] || printf ' %s' "$@" # facts, key=value
  echo
}

# --- choosing a process: these lines are the same in python-threads.sh and python-profile.sh ------

cell() { tr -d '\n' | tr -c '[:print:]' '?' | tr '\\' '?' | head -c "$1"; } # what cannot break a table

# Python processes that can be seen, the busiest over their life first: pid, user, state, seconds since the start, CPU
# seconds, kB, command. Whose program is hidden from us is known by its command line.
pythons() {
  {
    find /proc/[0-9]*/exe -maxdepth 0 -printf 'exe %h %l\n' 2>/dev/null
    ps -ww -eo pid=,user:32=,stat=,etimes=,cputimes=,rss=,args=
  } | awk '
    function python(path) {sub(/.*\//, "", path); return path ~ /^(python[0-9.]*|uwsgi.*)$/}
    $1 == "exe" {split($2, part, "/"); if ($3 != "") program[part[3]] = $3; next}
    python($1 in program ? program[$1] : $7) {
      command = $0
      for (i = 1; i < 7; i++) sub(/^ *[^ ]+ +/, "", command)
      gsub(/[\001-\037\177\\]/, "?", command)
      printf "%f\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", $5 / ($4 + 1), $1, $2, substr($3, 1, 1), $4, $5, $6, substr(command, 1, 300)
    }' | sort -rn | head -n 300 | cut -f 2-
}

unit_of() {
  sed -n 's|.*/\([^/]*\)\.service.*|\1|p' "/proc/$1/cgroup" 2>/dev/null |
    grep -Ev '^(user@.*|sshd?|crond?|docker|containerd|systemd-.*)$' | tail -n 1 | cell 60
}

script_of() { # what the interpreter was told to run
  local -a words=()
  local word='' next skip=''
  { mapfile -d '' -t words <"/proc/$1/cmdline"; } 2>/dev/null
  case ${words[0]:-} in
    */python* | python* | */uwsgi* | uwsgi*) word=${words[0]##*/} ;;
    *) printf %s "${words[0]:-python}" | cell 60; return ;; # it gave itself a title
  esac
  for next in "${words[@]:1}"; do
    if [ "$skip" ]; then skip=''; continue; fi
    case $next in
      -c) word='python -c'; break ;;
      -X | -W) skip=yes ;;
      -*) ;;
      *) word=${next##*/}; break ;;
    esac
  done
  printf %s "$word" | cell 60
}

COLUMNS_SHOWN='pid\tuser\tstate\tage_s\tcpu_s\trss_kb\tapp\tcommand\n'

# Sets pid and row, or says why not, lists what there is, and ends the script.
choose() {
  local ours=" " each=$$ unit script line user state age cpu rss command app=${PARAM_APP:-}
  local -a all=() exact=() part=() found=()
  pid=${PARAM_PID:-0}
  while [ "${each:-0}" -gt 1 ]; do # the bot that asks may be a Python process of this host, with $app on its command line
    ours="$ours$each "
    each=$(sed -n 's/^PPid:\t//p' "/proc/$each/status" 2>/dev/null)
  done
  while IFS=$'\t' read -r each user state age cpu rss command; do
    unit=$(unit_of "$each")
    script=$(script_of "$each")
    line=$(printf '%s\t' "$each" "$user" "$state" "$age" "$cpu" "$rss" "${unit:-$script}")$command
    [[ $ours == *" $each "* ]] || all+=("$line")
    if [ "$pid" -gt 0 ]; then
      [ "$pid" != "$each" ] || exact+=("$line")
    elif [ "$app" ] && [[ " $unit $unit.service $script ${script%.py} " == *" $app "* ]]; then
      exact+=("$line")
    elif [[ $ours != *" $each "* && $command == *"$app"* ]]; then
      part+=("$line")
    fi
  done < <(pythons)
  if [ "$pid" -gt 0 ] && [ ${#exact[@]} -eq 0 ] && grep -qs libpython "/proc/$pid/maps"; then # a program that embeds it
    exact=("$(ps -o pid=,user:32=,stat=,etimes=,cputimes=,rss=,comm= -p "$pid" |
      awk -v OFS='\t' '{gsub(/[\001-\037\177\\]/, "?"); print $1, $2, substr($3, 1, 1), $4, $5, $6, $7, $7}')")
  fi
  found=("${exact[@]}")
  [ ${#found[@]} -gt 0 ] || found=("${part[@]}")
  if [ ${#found[@]} -eq 1 ]; then
    row=${found[0]}
    pid=${row%%$'\t'*}
    return
  fi
  if [ ${#found[@]} -eq 0 ]; then
    section refused
    if [ "$pid" -gt 0 ] && [ -d "/proc/$pid" ]; then
      echo "pid $pid is $(cell 30 <"/proc/$pid/comm"), which runs no Python that $(id -un) can see"
    elif [ "$pid" -gt 0 ]; then
      echo "No process has pid $pid here any more"
    elif [ "$app" ]; then
      echo "No Python process matches app=$app"
    else
      echo "No Python process runs here that $(id -un) can see"
    fi
    found=("${all[@]}")
  fi
  section candidates "number=${#found[@]}"
  printf %b "$COLUMNS_SHOWN"
  [ ${#found[@]} -eq 0 ] || printf '%s\n' "${found[@]:0:20}"
  exit 0
}

find_py_spy() { # sets spy, and unseen where there is none
  for spy in "${PARAM_PY_SPY:-}" "$(command -v py-spy)" "${HOME:-}/.local/bin/py-spy"; do
    if [ -f "$spy" ] && [ -x "$spy" ]; then return; fi
  done
  spy='' reason=missing
  unseen="py-spy is not installed: run pip install py-spy, and link it into /usr/local/bin"
}

refusal() { # what py-spy's complaint means, and what mends it
  case $1 in
    *'Permission Denied'* | *'ermission denied'* | *'not permitted'*)
      reason=permission
      unseen="$(id -un) may not read its memory: log in as root or as its user, or run: setcap cap_sys_ptrace+ep $(readlink -f "$spy")"
      ;;
    *)
      reason=failed
      unseen="py-spy cannot read it: $(sed '/^Stack backtrace/,$d' <<<"$1" | grep -v '^P' | tr -s '[:space:]' ' ' | cell 300)"
      ;;
  esac
}
# --------------------------------------------------------------------------------------------------

spent() { # CPU seconds so far, and seconds that its threads waited for a processor
  sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk -v hz="$(getconf CLK_TCK 2>/dev/null || echo 100)" '{printf "%f ", ($12 + $13) / hz}'
  cat "/proc/$pid/task/"[0-9]*/schedstat 2>/dev/null | awk '{sum += $2} END {printf "%f\n", sum / 1e9}'
}

choose
section process
printf %b "$COLUMNS_SHOWN"
printf '%s\n' "$row"

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
