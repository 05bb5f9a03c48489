#!/usr/bin/env bash
# Name resolution: whether each configured name server answers and how fast, and how long a name takes.
set -u

QUESTIONS=2
PATIENCE_S=2
SERVERS=6
LOOKUP_S=12 # three servers, or two asked twice, by the resolver's own defaults

section() { printf '### %s at=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)"; }

now_us() { # older bash has no EPOCHREALTIME
  local up
  if [ "${EPOCHREALTIME:-}" ]; then
    echo "${EPOCHREALTIME//[!0-9]/}"
  else
    read -r up _ </proc/uptime
    echo "$((10#${up/./}))0000"
  fi
}

word() { tr -c '[:print:]' ' ' | tr '\\' '?' | head -c 200; }

ask() { # server → status and milliseconds of one question: the name servers of the root, which every one can answer or decline
  local server=$1 began answer status took
  began=$(now_us)
  answer=$(
    exec 2>/dev/null 3<>"/dev/udp/$server/53" || exit
    printf '\x63\x62\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01' >&3 || exit
    timeout "$PATIENCE_S" dd bs=512 count=1 <&3 | od -An -tx1 -N4 | tr -d ' \n'
  )
  case $answer in
    6362????) status=$((16#${answer:7:1})) ;; # the code of the answer: 0 right, 2 failed, 5 declined
    *) status=none ;;
  esac
  took=$((($(now_us) - began) / 1000))
  [ "$status$((took < PATIENCE_S * 900))" != none1 ] || status=refused # by the host: nothing listens there
  printf '%s\t%s' "$status" "$took"
}

# The network of a process in a container, where a recipe names one, and its name servers.
there=(env) root=
pid=${PARAM_PID:-0}
if [ "$pid" -gt 0 ] && [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then
  there=(nsenter --target "$pid" --net) root=/proc/$pid/root
  timeout 2 "${there[@]}" true 2>/dev/null || exit 0
fi

section resolver
grep -E '^(nameserver|search|domain|options)[[:space:]]' "$root/etc/resolv.conf" 2>/dev/null | head -n 50
grep -E '^(hosts|networks):' "$root/etc/nsswitch.conf" 2>/dev/null

servers=$(awk '$1 == "nameserver" {print $2}' "$root/etc/resolv.conf" 2>/dev/null | head -n "$SERVERS")

# All at once: none waits for a server that does not answer another.
section servers
printf 'server\tquestion\tstatus\tms\n'
for server in $servers; do
  for ((n = 1; n <= QUESTIONS; n++)); do
    [[ $server =~ ^[0-9A-Za-z.:%]+$ ]] || continue
    {
      answer=$("${there[@]}" bash -c "$(declare -f now_us ask)"'; PATIENCE_S=$1 ask "$2"' ask "$PATIENCE_S" "$server")
      printf '%s\t%s\t%s\n' "$server" "$n" "$answer"
    } &
  done
done
wait

section lookups
printf 'name\tasked\tms\tstatus\tanswer\n'
if [ -z "$root" ]; then # else it would take a program of the container
  name=${PARAM_NAME:-$(cat /proc/sys/kernel/hostname)}
  began=$(now_us)
  answer=$(timeout "$LOOKUP_S" getent ahosts "$name" 2>&1)
  status=$? # 2: no such name; 124: not within LOOKUP_S
  printf '%s\t%s\t%s\t%s\t%s\n' "$name" "${PARAM_NAME:+yes}" "$((($(now_us) - began) / 1000))" "$status" "$(head -n 1 <<<"$answer" | word | sed 's/ *$//')"
fi

section resolved
if command -v resolvectl >/dev/null 2>&1; then timeout 5 resolvectl status --no-pager 2>&1 | head -c 20000; fi
exit 0
