#!/usr/bin/env bash
# What interfaces and protocols carried and dropped while it was looked at, by the difference of two looks.
set -u

LOOK_S=${PARAM_SECONDS:-4}

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
  timeout 2 "${there[@]}" true 2>/dev/null || exit 0
fi

# Everything that counts, as "kind key value": two looks at it are one table of differences.
look() {
  awk -F '[: ]+' '/:/ {
      sub(/^ +/, "")
      split("rx_bytes rx_packets rx_errors rx_dropped rx_fifo rx_frame - - tx_bytes tx_packets tx_errors tx_dropped", name, " ")
      for (i = 1; i <= 12; i++) if (name[i] != "-") print "interface", $1 " " name[i], $(i + 1)
    }' "$net/dev"
  cat "$net/snmp" "$net/netstat" | awk '
    $1 == last {for (i = 2; i <= NF; i++) print "protocol", substr($1, 1, length($1) - 1) "." name[i], $i}
    {last = $1; for (i = 2; i <= NF; i++) name[i] = $i}'
  # In hexadecimal, a line for each processor; it may lie in bash's arithmetic, not in every awk's.
  local line n=0
  local -a words names
  while read -r -a words; do
    echo "processor $n dropped $((16#${words[1]}))"
    echo "processor $n squeezed $((16#${words[2]}))"
    n=$((n + 1))
  done <"$net/softnet_stat"
  if [ -r "$net/stat/nf_conntrack" ]; then
    local found=0 invalid=0 failed=0 drop=0 early=0
    # Columns as the kernel's own header names them; older ones have more in front.
    read -r -a names <"$net/stat/nf_conntrack"
    while read -r -a words; do
      [[ ${words[0]} =~ ^[0-9a-f]+$ ]] || continue
      for n in "${!names[@]}"; do
        case ${names[n]} in
          insert_failed) failed=$((failed + 16#${words[n]})) ;;
          drop) drop=$((drop + 16#${words[n]})) ;;
          early_drop) early=$((early + 16#${words[n]})) ;;
        esac
      done
    done < <(tail -n +2 "$net/stat/nf_conntrack")
    printf 'conntrack all %s %s\n' insert_failed "$failed" drop "$drop" early_drop "$early"
  fi
  timeout 5 "${there[@]}" ss -Hunapem 2>/dev/null | awk '
    /^[A-Z]/ {
      pid = process = "-"
      if (match($0, /\(\("[^"]*",pid=[0-9]+/)) {
        process = pid = substr($0, RSTART + 3, RLENGTH - 3)
        sub(/.*",pid=/, "", pid)
        sub(/",pid=.*/, "", process)
        gsub(/[^A-Za-z0-9_.:\/@+-]/, "_", process)
      }
      socket = $4 "|" (match($0, / ino:[0-9]+/) ? substr($0, RSTART + 5, RLENGTH - 5) : "-")
    }
    match($0, /skmem:\([^)]*d[0-9]+\)/) {
      lost = substr($0, RSTART, RLENGTH - 1)
      sub(/.*d/, "", lost)
      print "datagrams", socket, lost
      if (lost > 0) print "holder", socket "|" pid "|" process, 0
    }'
}

section links
timeout 5 "${there[@]}" ip -s -s link 2>/dev/null | head -c 300000

section queues
timeout 5 "${there[@]}" tc -s qdisc 2>/dev/null | head -c 100000

read -r began _ </proc/uptime
before=$(look)
sleep "$LOOK_S"
after=$(look)
read -r ended _ </proc/uptime
seconds=$(awk -v a="$began" -v b="$ended" 'BEGIN {print b - a}')
changes=$({ sed 's/^/before /' <<<"$before"; sed 's/^/after /' <<<"$after"; } | awk '
  {
    key = $0
    sub(/^[a-z]+ /, "", key)
    sub(/ [^ ]+$/, "", key)
  }
  $1 == "before" {first[key] = $NF; next}
  {printf "%s %d\n", key, key in first ? $NF - first[key] : 0}')

state_of() { # of our own interfaces, which is what /sys shows
  { [ "$net" = /proc/net ] && cat "/sys/class/net/$1/$2" 2>/dev/null; } || echo -
}

section interfaces "seconds=$seconds"
printf 'interface\tstate\tspeed_mbit\tdevice\trx_bytes\trx_packets\trx_errors\trx_dropped\trx_fifo\ttx_bytes\ttx_packets\ttx_errors\ttx_dropped\n'
awk '$1 == "interface" && !seen[$2]++ {print $2}' <<<"$changes" | head -n 500 | while read -r name; do
  printf '%s\t%s\t%s\t%s' "$name" "$(state_of "$name" operstate)" "$(state_of "$name" speed)" "$([ "$net" = /proc/net ] && [ -e "/sys/class/net/$name/device" ] && echo yes)"
  awk -v name="$name" '
    $1 == "interface" && $2 == name {grew[$3] = $4}
    END {
      n = split("rx_bytes rx_packets rx_errors rx_dropped rx_fifo tx_bytes tx_packets tx_errors tx_dropped", column, " ")
      for (i = 1; i <= n; i++) printf "\t%d", grew[column[i]]
      print ""
    }' <<<"$changes"
done

section protocols "seconds=$seconds"
printf 'counter\tgrown\n'
awk '$1 == "protocol" && $3 != 0 {print $2 "\t" $3}' <<<"$changes"

section processors "seconds=$seconds"
printf 'processor\tdropped\tsqueezed\n'
awk '$1 == "processor" {grew[$2, $3] = $4; last = $2} END {for (i = 0; i <= last; i++) printf "%d\t%d\t%d\n", i, grew[i, "dropped"], grew[i, "squeezed"]}' <<<"$changes"

section datagrams "seconds=$seconds"
printf 'lost\taddress\tpid\tprocess\n'
awk -v OFS='\t' '
  $1 == "datagrams" && $3 > 0 {lost[$2] = $3}
  $1 == "holder" {split($2, part, "|"); if ((part[1] "|" part[2]) in lost) print lost[part[1] "|" part[2]], part[1], part[3], part[4]}
' <<<"$changes" | sort -rn | head -n 20

section conntrack "seconds=$seconds"
if [ -r /proc/sys/net/netfilter/nf_conntrack_count ]; then
  printf 'entries\tmost\tdrop\tearly_drop\tinsert_failed\n%s\t%s' "$("${there[@]}" cat /proc/sys/net/netfilter/nf_conntrack_count)" "$("${there[@]}" cat /proc/sys/net/netfilter/nf_conntrack_max)"
  awk '$1 == "conntrack" {grew[$3] = $4} END {printf "\t%d\t%d\t%d\n", grew["drop"], grew["early_drop"], grew["insert_failed"]}' <<<"$changes"
fi
exit 0
