#!/usr/bin/env bash
# TCP sockets by state, by peer and process, and queues of listeners; and what the kernel dropped, sent again and reset
# meanwhile, and between whom. It looks for two seconds, or as long as a recipe says.
set -u

LOOK_S=${PARAM_SECONDS:-2}
RAW_LINES=2000
FOLLOWED=20000 # sockets whose own counters are compared
RESETS=10      # connections reset in a second; from there on it is looked at whose they are
GLANCES=6      # at whose connections end without a trace

section() {
  local name=$1
  shift
  printf '### %s at=%s%s\n' "$name" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)" "${*:+ $*}"
}

# The network of a process in a container, where a recipe names one: what runs there, and what the kernel tells of it.
there=(env) net=/proc/net
pid=${PARAM_PID:-0}
if [ "$pid" -gt 0 ] && [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then
  there=(nsenter --target "$pid" --net) net=/proc/$pid/net
  if [ ! -d "/proc/$pid" ]; then
    section refused
    echo "No process has pid $pid here any more"
    exit 0
  elif ! timeout 2 "${there[@]}" true 2>/dev/null; then
    section refused
    echo "Only root can look into the network of pid $pid"
    exit 0
  fi
fi

now_ms() {
  local up
  read -r up _ </proc/uptime
  echo "$((10#${up/./}))0"
}

counters() {
  cat "$net/netstat" "$net/snmp" | awk '
    $1 == last {for (i = 2; i <= NF; i++) if (name[i] ~ /^(ListenOverflows|ListenDrops|RetransSegs|OutSegs|ActiveOpens|PassiveOpens|AttemptFails|EstabResets|OutRsts|TCPTimeouts|TCPAbort.*)$/) print name[i], $i}
    {last = $1; for (i = 2; i <= NF; i++) name[i] = $i}'
}

grown() { # counter, before, after
  awk -v name="$1" '$1 == name {print $2 - first; first = $2}' <<<"$2"$'\n'"$3" | tail -n 1
}

# For all that read ss: the fixed half of an address, and the process.
AWK_NAMES='
  function port(address) {sub(/.*:/, "", address); return address}
  function host(address) {sub(/:[^:]*$/, "", address); return address}
  function fixed(number) {return number + 0 > 0 && number + 0 < 32768 ? number : "*"}
  function owner(line,  pid, process) { # "pid, tab, process"
    if (!match(line, /\(\("[^"]*",pid=[0-9]+/)) return "-\t-"
    process = pid = substr(line, RSTART + 3, RLENGTH - 3)
    sub(/.*",pid=/, "", pid)
    sub(/",pid=.*/, "", process)
    gsub(/[\001-\037\177\\]/, "?", process)
    return pid "\t" process
  }
  function group(  sides) {
    sides = fixed(port($4)) "\t" host($5) "\t" fixed(port($5))
    return sides "\t" owner($0)
  }
  function segments(line) {return number(line, "data_segs_out:") ? number(line, "data_segs_out:") : number(line, "segs_out:")}
  function number(line, key) { # of a detail that ss -i prints; "retrans:0/7" counts what is under way, and all
    if (!match(line, "[ \t]" key "[0-9./]+")) return 0
    line = substr(line, RSTART + 1 + length(key), RLENGTH - 1 - length(key))
    if (key == "retrans:") sub(/.*\//, "", line)
    return line + 0
  }
  BEGIN {OFS = "\t"}'

before=$(counters)
began_ms=$(now_ms)

section summary
timeout 5 "${there[@]}" ss -s

section listening
timeout 5 "${there[@]}" ss -Htlnp

# Sockets that agree in everything but a port that was drawn by lot (32768 and up) are one line with a count.
sockets=$(timeout 8 "${there[@]}" ss -Htanpi | awk -v raw_lines="$RAW_LINES" -v followed="$FOLLOWED" "$AWK_NAMES"'
  /^[ \t]/ { # the details of the socket before
    if (sockets && follow < followed) sent[follow++] = sockets OFS segments($0) OFS number($0, "retrans:")
    sockets = ""
    next
  }
  {sockets = ""}
  $1 !~ /^(ESTAB|SYN-SENT|SYN-RECV|FIN-WAIT-1|FIN-WAIT-2|TIME-WAIT|CLOSE-WAIT|LAST-ACK|CLOSING)$/ {next}
  {
    states[$1]++
    alike = group()
    groups[$1 OFS alike]++
    if ($1 != "SYN-SENT") sockets = $4 OFS $5 OFS alike
    if (raw < raw_lines) lines[raw++] = $0
  }
  END {
    for (state in states) print "state", states[state], state
    for (each in groups) print "group", groups[each], each
    for (i = 0; i < follow; i++) print "sent", sent[i]
    for (i = 0; i < raw; i++) print "raw", lines[i]
  }')
looked_ms=$(now_ms)
part() { printf '%s\n' "$sockets" | awk -v part="$1" -F '\t' '$1 == part' | cut -f 2-; }

section states
printf 'sockets\tstate\n'
part state | sort -rn

section groups
printf 'sockets\tstate\tlocal_port\tpeer\tpeer_port\tpid\tprocess\n'
part group | sort -rn | head -n 200

section unseen
[ "$(id -u)" -eq 0 ] || echo 'not shown without root: processes of other users'

# Networks of containers, whose sockets are none of those above.
section elsewhere
printf 'tcp\tprocesses\tpid\tprocess\n'
[ "$pid" -gt 0 ] || timeout 4 find /proc/[0-9]*/ns/net -maxdepth 0 -printf '%l %h\n' 2>/dev/null | awk -v own="$(readlink /proc/self/ns/net)" '
  $1 != own {split($2, path, "/"); n[$1]++; if (!first[$1] || path[3] + 0 < first[$1]) first[$1] = path[3] + 0}
  END {for (each in n) print n[each], first[each]}' | sort -rn | head -n 50 | while read -r number each; do
  tcp=$(awk '$1 == "TCP:" {print $3}' "/proc/$each/net/sockstat" 2>/dev/null)
  [ "${tcp:-0}" -eq 0 ] || printf '%s\t%s\t%s\t%s\n' "$tcp" "$number" "$each" "$(tr -dc '[:print:]' 2>/dev/null <"/proc/$each/comm" | tr '\\' '?')"
done | sort -rn | head -n 20

# --- what happens meanwhile ------------------------------------------------------------------

glance() { # the connections there are, several times; who loses them without the state that a proper end leaves
  local n
  for ((n = 0; n < GLANCES && $(now_ms) < began_ms + LOOK_S * 1000 + 1000; n++)); do
    timeout 3 "${there[@]}" ss -Htanp || break
    echo glance
    sleep 0.05
  done | awk "$AWK_NAMES"'
    $1 == "glance" {
      for (key in old) if (!(key in new)) gone[old[key]]++
      for (key in old) delete old[key]
      for (key in new) {if (new[key]) old[key] = new[key]; delete new[key]}
      next
    }
    $1 == "LISTEN" {next}
    {key = $4 " " $5; new[key] = $1 ~ /^(ESTAB|CLOSE-WAIT|SYN-SENT|SYN-RECV)$/ ? group() : ""}
    END {for (each in gone) print gone[each], each}' | sort -rn | head -n 20
}

sleep "$(awk -v s="$LOOK_S" 'BEGIN {print s / 2}')"
midway=$(counters)
resets=$(($(grown EstabResets "$before" "$midway") + $(grown AttemptFails "$before" "$midway")))
ended=
[ "$((resets * 1000))" -lt "$((RESETS * ($(now_ms) - began_ms)))" ] || ended=$(glance)
left_ms=$((began_ms + LOOK_S * 1000 - $(now_ms)))
[ "$left_ms" -le 0 ] || sleep "$(awk -v ms="$left_ms" 'BEGIN {print ms / 1000}')"
after=$(counters)

section dropped "seconds=$(awk -v ms="$(($(now_ms) - began_ms))" 'BEGIN {print ms / 1000}')"
printf 'counter\tbefore\tafter\n'
printf '%s\n' "$before" "$after" | awk '$1 in first {printf "%s\t%s\t%s\n", $1, first[$1], $2; next} {first[$1] = $2}'

section retransmitted "seconds=$(awk -v ms="$(($(now_ms) - looked_ms))" 'BEGIN {print ms / 1000}')"
printf 'again\tsent\tsockets\trtt_ms\tlocal_port\tpeer\tpeer_port\tpid\tprocess\n'
{ part sent | sed 's/^/sent\t/'; timeout 8 "${there[@]}" ss -Htni; } | awk "$AWK_NAMES"'
  /^sent\t/ {
    split($0, was, "\t")
    key = was[2] " " was[3]
    alike[key] = was[4] OFS was[5] OFS was[6] OFS was[7] OFS was[8]
    segments_then[key] = was[9]
    again_then[key] = was[10]
    next
  }
  /^[ \t]/ {
    if (key in alike) {
      again = number($0, "retrans:") - again_then[key]
      if (again < 0) again = 0 # the same ports, another connection
      sent = segments($0) - segments_then[key]
      sum_again[alike[key]] += again
      sum_sent[alike[key]] += sent > again ? sent : again
      if (again) {hit[alike[key]]++; if (number($0, "rtt:") > rtt[alike[key]]) rtt[alike[key]] = number($0, "rtt:")}
    }
    next
  }
  {key = $4 " " $5}
  END {for (each in hit) print sum_again[each], sum_sent[each], hit[each], rtt[each], each}' | sort -rn | head -n 50

if [ "$ended" ]; then
  section reset
  printf 'ended\tlocal_port\tpeer\tpeer_port\tpid\tprocess\n%s\n' "$ended"
fi

if [ "$(grown ListenOverflows "$before" "$after")" -gt 0 ]; then
  section listening
  timeout 5 "${there[@]}" ss -Htlnp
fi

section sockets
part raw
exit 0
