#!/usr/bin/env bash
# Memory of the machine, and the processes that hold most of it.
set -u

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

section meminfo
cat /proc/meminfo

section processes
ps -eo pid,user:32,rss,etimes,comm --sort=-rss | head -n 60

section swapped
# A glob given to a builtin cannot be too long for the kernel; xargs splits it where needed.
printf '%s\0' /proc/[0-9]*/status | xargs -0 grep -sH '^VmSwap:' 2>/dev/null |
  awk '$2 > 0 {split($1, path, "/"); print $2, "kB", path[3]}' | sort -rn | head -n 20

# A control group reaches its limit long before the machine does. Caches of files do not count: the kernel gives them up.
section limits
printf 'limit_kb\tused_kb\tpid\tuser\trss_kb\tprocess\tgroup\n'
timeout 5 find /sys/fs/cgroup \( -name memory.max -o -name memory.limit_in_bytes \) 2>/dev/null | head -n 5000 | awk '
  function first(file,  line) {line = ""; getline line <file; close(file); return line}
  {
    limit = first($0)
    folder = $0
    sub(/\/[^\/]*$/, "", folder)
    second = /max$/
    if (limit !~ /^[0-9]+$/ || limit + 0 == 0 || limit > 2 ^ 60) next
    used = first(folder (second ? "/memory.current" : "/memory.usage_in_bytes"))
    while ((getline line <(folder "/memory.stat")) > 0) {
      split(line, part, " ")
      if (part[1] ~ (second ? "^(in)?active_file$" : "^total_(in)?active_file$")) used -= part[2]
    }
    close(folder "/memory.stat")
    if (used / limit >= 0.8) printf "%.0f\t%.0f\t%.3f\t%s\n", limit / 1024, used / 1024, used / limit, folder
  }' | sort -t "$(printf '\t')" -k3,3rn | head -n 5 | while IFS="$(printf '\t')" read -r limit used _ folder; do
  pids=$(find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null | head -n 5000 | paste -s -d ,)
  largest=$([ -z "$pids" ] || ps -o pid,user:32,rss,comm --no-headers --sort=-rss -p "$pids" | head -n 1)
  read -r pid user rss process <<<"$largest"
  group=${folder#/sys/fs/cgroup}
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$limit" "$used" "$pid" "$user" "$rss" \
    "$(printf '%s' "$process" | tr -c '[:print:]' '?')" "$(printf '%s' "${group#/memory}" | tr -c '[:print:]' '?')"
done

section vmstat
# The first line is an average since the start of the machine.
if command -v vmstat >/dev/null; then vmstat -w 1 3; else echo '-- vmstat is not installed'; fi
exit 0
