#!/usr/bin/env bash
# What every thread of one Python process does, three times: its Python stack, and what the kernel knows of it.
# A thread that stands at the same line each time and did not run in between is stuck; one look cannot tell.
set -u -o pipefail

LOOKS=3
TRIES=4 # py-spy does not pause the process, so it sometimes reads what is just being changed
THREADS=500
DUMP_BYTES=1000000

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

choose
section process
printf %b "$COLUMNS_SHOWN"
printf '%s\n' "$row"

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
