#!/usr/bin/env bash
# Who asks what of the kernel: system calls, failed opens, disk requests, new processes and TCP connections, counted in the
# kernel for some seconds. Beside it the kernel's own counters, which are all there is where nothing may be counted.
set -u

what=${PARAM_WHAT:-all}
seconds=${PARAM_SECONDS:-5}
pid=0
[ "${PARAM_PID:-0}${PARAM_APP:-}" = 0 ] || choose '' ''

[ "$pid" -eq 0 ] || seen="\$pid == $pid"

# --- the kernel's own counters --------------------------------------------------------------------

counters() {
  awk '{print "uptime_s", $1}' /proc/uptime
  awk '$1 == "processes" {print $1, $2}' /proc/stat
  awk '$1 == "Tcp:" && !n++ {split($0, name); next} $1 == "Tcp:" {for (i = 2; i <= NF; i++) if (name[i] ~ /^(ActiveOpens|AttemptFails)$/) print name[i], $i}' /proc/net/snmp
}

disks() { # device, name, requests that were answered, milliseconds of all of them, requests in flight
  awk '{print $1 ":" $2, $3, $4 + $8, $7 + $11, $12}' /proc/diskstats
}

callers() { # pid, read and write calls so far
  printf '%s\0' /proc/[0-9]*/io | xargs -0 grep -sH -e '^sysc[rw]:' | awk -F '[/: ]+' '{calls[$3] += $6} END {for (pid in calls) print pid, calls[pid]}'
}

# --------------------------------------------------------------------------------------------------

parts=(syscalls opens disk processes tcp)
[ "$what" = all ] || parts=("$what")
lacks=$(bpftrace_lacks)
[ "$lacks" ] || count_in_kernel "${parts[@]}"
[ "$lacks" ] || [ "$program" ] || lacks=${unseen%%$'\n'*} unseen=''

trap : INT # what was counted is printed by whoever gets one, and is still to be passed on
counters_before=$(counters) disks_before=$(disks)
callers_before=''
[ -z "$lacks" ] || callers_before=$(callers)

if [ -z "$lacks" ]; then
  maps=$(bpftrace_maps "$seconds" "$program" 2>"$CAPTURE_SCRATCH/why") || lacks="bpftrace cannot count here: $(cell 300 <"$CAPTURE_SCRATCH/why")"
else
  sleep "$seconds"
fi

section looked "what=$what" "seconds=$seconds" "pid=$pid" "machine=$(uname -m)" "by=$([ "$lacks" ] && echo counters || echo bpftrace)"
[ "$lacks" ] || printf '%s\n' "$maps"

names_section

section disks
printf 'device\tname\trequests\tms\twaited\twaiting\n'
{ printf '%s\n' "$disks_before"; disks; } | awk -v OFS='\t' '
  !($1 in name) {name[$1] = $2; requests[$1] = $3; ms[$1] = $4; waited[$1] = $5; next}
  $3 > requests[$1] || $5 > 0 {print $1, $2, $3 - requests[$1], $4 - ms[$1], waited[$1], $5}'

section counters
printf 'counter\tbefore\tafter\n'
{ printf '%s\n' "$counters_before"; counters; } | awk '$1 in first {printf "%s\t%s\t%s\n", $1, first[$1], $2; next} {first[$1] = $2}'

if [ "$callers_before" ]; then
  section callers
  printf 'pid\tcalls\n'
  { printf '%s\n' "$callers_before"; callers; } | awk '$1 in first {if ($2 > first[$1]) printf "%s\t%d\n", $1, $2 - first[$1]; next} {first[$1] = $2}' | sort -t $'\t' -k 2,2rn | head -n 20
fi

section unseen
[ -z "$lacks" ] || printf '%s\n' "$lacks"
printf %s "$unseen"
exit 0
