#!/usr/bin/env bash
# Processes by CPU now: the second frame of top is about the seconds since the first one.
# What `ps` calls %CPU is an average over a process's life, and hides what began a minute ago.
set -u

word() { tr -d '\n' 2>/dev/null <"$1" | tr -c '[:print:]' '?'; } # one that cannot break a table

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

# Processes that end at once are in no list. What they used is added to their parent when it waits for them:
# "pid ticks" of every process that has such children, after the clock and the count of all processes ever started.
ended_children() {
  awk '{print "clock", $1}' /proc/uptime
  awk '$1 == "processes" {print "started", $2}' /proc/stat
  # After the name, which may hold anything: state is the first field, cutime and cstime are the 14th and 15th.
  printf '%s\0' /proc/[0-9]*/stat | xargs -0 grep -sH '' |
    awk '/\) [A-Za-z] [0-9]/ {split($0, path, "/"); sub(/.*\) /, ""); if ($14 + $15 > 0) print path[3], $14 + $15}'
}

section cores
nproc

section load
cat /proc/loadavg

before=$(ended_children)
# HOME is set elsewhere so that nobody's .toprc changes the columns.
frame=$(HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent top -b -n 2 -d 3 -w 512 -o %CPU |
  awk '/^top - /{frame++} frame == 2 && lines++ < 60')
after=$(ended_children)

section top
printf '%s\n' "$frame"

# % of one core that short-lived children took, by the process that started them.
starters=$({ printf '%s\n' "$before"; echo; printf '%s\n' "$after"; } | awk -v hz="$(getconf CLK_TCK)" '
  $0 == "" {second = 1; next}
  !second {then[$1] = $2; next}
  $1 == "clock" {seconds = $2 - then["clock"]; next}
  $1 == "started" {if (seconds > 0) print "rate", ($2 - then["started"]) / seconds; next}
  seconds > 0 && $2 - then[$1] >= seconds * hz / 20 {print $1, 100 * ($2 - then[$1]) / hz / seconds}' |
  sort -k2,2rn | head -n 20)

section started
printf '%s\n' "$starters" | awk '$1 == "rate" {printf "%.0f processes a second\n", $2}'

section processes
pids=$({ printf '%s\n' "$starters"; printf '%s\n' "$frame"; } | awk '$1 ~ /^[0-9]+$/ && !seen[$1]++ {printf "%s%s", comma, $1; comma = ","}')
[ -z "$pids" ] || ps -ww -o pid,ppid,user:32,nlwp,stat,etimes,cputimes,rss,args -p "$pids" | cut -c 1-400

section starters
printf 'pid\tpercent\tuser\tprocess\n'
printf '%s\n' "$starters" | while read -r pid percent; do
  case $pid in *[!0-9]* | '') continue ;; esac
  user=$(stat -c %U "/proc/$pid" 2>/dev/null) || continue
  printf '%s\t%.0f\t%s\t%s\n' "$pid" "$percent" "$user" "$(word "/proc/$pid/comm")"
done
exit 0
