#!/usr/bin/env bash
# TCP sockets by state, by peer and process, queues of listeners, and what the kernel dropped in two seconds.
set -u

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

counters() {
  cat /proc/net/netstat /proc/net/snmp | awk '
    $1 == last {for (i = 2; i <= NF; i++) if (name[i] ~ /^(ListenOverflows|ListenDrops|RetransSegs|OutSegs|TCPTimeouts|TCPAbortOnMemory)$/) print name[i], $i}
    {last = $1; for (i = 2; i <= NF; i++) name[i] = $i}'
}

before=$(counters)

section summary
timeout 5 ss -s

section listening
timeout 5 ss -Htlnp

# Sockets that agree in everything but a port that was drawn by lot (32768 and up) are one line with a count.
sockets=$(timeout 8 ss -Htanp | awk '
  BEGIN {OFS = "\t"}
  function port(address) {sub(/.*:/, "", address); return address}
  function host(address) {sub(/:[^:]*$/, "", address); return address}
  function fixed(number) {return number + 0 > 0 && number + 0 < 32768 ? number : "*"}
  $1 !~ /^(ESTAB|SYN-SENT|SYN-RECV|FIN-WAIT-1|FIN-WAIT-2|TIME-WAIT|CLOSE-WAIT|LAST-ACK|CLOSING)$/ {next}
  {
    states[$1]++
    process = pid = "-"
    if (match($0, /\(\("[^"]*",pid=[0-9]+/)) {
      process = pid = substr($0, RSTART + 3, RLENGTH - 3)
      sub(/.*",pid=/, "", pid)
      sub(/",pid=.*/, "", process)
      gsub(/[\001-\037\177\\]/, "?", process)
    }
    groups[$1 OFS fixed(port($4)) OFS host($5) OFS fixed(port($5)) OFS pid OFS process]++
    if (raw < 2000) lines[raw++] = $0
  }
  END {
    for (state in states) print "state", states[state], state
    for (group in groups) print "group", groups[group], group
    for (i = 0; i < raw; i++) print "raw", lines[i]
  }')
part() { printf '%s\n' "$sockets" | awk -v part="$1" -F '\t' '$1 == part' | cut -f 2-; }

section states
printf 'sockets\tstate\n'
part state | sort -rn

section groups
printf 'sockets\tstate\tlocal_port\tpeer\tpeer_port\tpid\tprocess\n'
part group | sort -rn | head -n 200

section unseen
[ "$(id -u)" -eq 0 ] || echo 'not shown without root: processes of other users'

sleep 2
section dropped
printf 'counter\tbefore\tafter\n'
{ printf '%s\n' "$before"; counters; } | awk '$1 in first {printf "%s\t%s\t%s\n", $1, first[$1], $2; next} {first[$1] = $2}'

section sockets
part raw
exit 0
