#!/usr/bin/env bash
# Addresses, routes and neighbours, and which gateway does not answer.
set -u

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

# The network of a process in a container, where a recipe names one.
there=(env)
pid=${PARAM_PID:-0}
if [ "$pid" -gt 0 ] && [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then
  there=(nsenter --target "$pid" --net)
  timeout 2 "${there[@]}" true 2>/dev/null || exit 0
fi

section gateways
printf 'gateway\tinterface\tdestination\tneighbour\n'
for family in -4 -6; do
  timeout 5 "${there[@]}" ip "$family" route show 2>/dev/null | awk '
    {for (i = 1; i < NF; i++) {if ($i == "via") via = $(i + 1); if ($i == "dev") dev = $(i + 1)}}
    via && !seen[via, dev]++ && n++ < 50 {print via, dev, $1}
    {via = dev = ""}' | while read -r via dev destination; do
    state=$(timeout 2 "${there[@]}" ip neigh show to "$via" dev "$dev" 2>/dev/null | awk '{print $NF; exit}')
    printf '%s\t%s\t%s\t%s\n' "$via" "$dev" "$destination" "${state:--}"
  done
done

section neighbours
printf 'neighbours\tstate\n'
timeout 5 "${there[@]}" ip neigh show 2>/dev/null | awk '{states[$NF]++} END {for (state in states) print states[state] "\t" state}' | sort -rn

section addresses
timeout 5 "${there[@]}" ip address show 2>/dev/null | head -c 200000

section routes
timeout 5 "${there[@]}" ip route show table all 2>/dev/null | head -c 200000

section rules
timeout 5 "${there[@]}" ip rule show 2>/dev/null | head -c 20000

section unreached
timeout 5 "${there[@]}" ip -s neigh show nud failed nud incomplete 2>/dev/null | head -n 500
exit 0
