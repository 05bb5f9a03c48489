#!/usr/bin/env bash
# What work waits for: load, pressure, threads that the kernel does not let go; and zombies.
set -u

word() { tr -d '\n' 2>/dev/null <"$1" | tr -c '[:print:]' '?'; } # one that cannot break a table

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

section cores
nproc

section load
cat /proc/loadavg

section pressure
for resource in cpu memory io; do
  if ! sed "s/^/$resource /" "/proc/pressure/$resource" 2>/dev/null; then
    echo "-- no pressure of $resource: the kernel is older than 4.20, or was started with psi=0"
  fi
done

# A thread in state D is nothing unusual; one that is still there two seconds later is, above all when it did
# not run in between: "switches" counts how often it has. Threads of the kernel have the parent 2.
for look in 1 2 3; do
  [ "$look" -eq 1 ] || sleep 1
  section blocked
  printf 'switches\tstate\tpid\ttid\tparent\tuser\tin\tprocess\n'
  ps -eLo stat,pid,tid,ppid,user:32,wchan:32,comm --no-headers | awk '$1 ~ /^D/ && lines++ < 100' |
    while read -r state pid tid parent user place process; do
      switches=$(awk '/ctxt_switches:/ {sum += $2} END {print sum}' "/proc/$pid/task/$tid/status" 2>/dev/null)
      process=$(printf '%s' "$process" | tr -c '[:print:]' '?')
      printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$switches" "$state" "$pid" "$tid" "$parent" "$user" "$place" "$process"
    done
done

# Processes that have ended, and whose parent does not ask how.
section zombies
printf 'zombies\tpid\tuser\tprocess\n'
ps -eo stat,ppid --no-headers | awk '$1 ~ /^Z/ {left[$2]++} END {for (pid in left) print left[pid], pid}' | sort -rn | head -n 10 |
  while read -r left pid; do
    user=$(stat -c %U "/proc/$pid" 2>/dev/null) || continue
    printf '%s\t%s\t%s\t%s\n' "$left" "$pid" "$user" "$(word "/proc/$pid/comm")"
  done
exit 0
