#!/usr/bin/env bash
# Packets that match a filter, into a file for Wireshark; and who talks to whom in it, who resets, who sends again, and
# who knocks without an answer.
set -u

HEADER_BYTES=96 # of a packet: its addresses, flags and options, and of its content a few bytes at most
WHOLE_BYTES=262144
ROWS=40
TEXT_BYTES=600000
LOOKS=3
SOCKETS=20000

trouble() { # what is wrong, the lines that mend it
  section refused
  printf '%s\n' "$@"
  exit 0
}

# Values are words of a filter, matched by the recipe before; tcpdump gets them as one argument that it cannot take for an option.
expression=$PARAM_FILTER
[ -z "$PARAM_HOST" ] || expression="${expression:+($expression) and }host $PARAM_HOST"
[ "$PARAM_PORT" -eq 0 ] || expression="${expression:+($expression) and }port $PARAM_PORT"
[ "$PARAM_PROTO" = any ] || expression="${expression:+($expression) and }$PARAM_PROTO"
[ "$expression" ] || trouble "Say which packets: host=…, port=…, proto=… or filter=…"
shown=$expression
if [ "${SSH_CONNECTION:-}" ]; then # ours would record how it is sent
  # shellcheck disable=SC2086  # words are wanted
  set -- $SSH_CONNECTION
  expression="($expression) and not (tcp and host $1 and port $4)"
fi

# --- record ----------------------------------------------------------------------------------

file=$CAPTURE_SCRATCH/packets.pcap
most=$((PARAM_MB * 1000000)) length=$HEADER_BYTES
[ "$PARAM_FULL" = no ] || length=$WHOLE_BYTES
trap : INT # what came until then is kept
began=$(date +%s.%N)
( # whose sockets they are: those of short connections are there only meanwhile
  for ((n = 0; n < LOOKS; n++)); do
    sleep "$(awk -v s="$PARAM_SECONDS" -v n="$LOOKS" 'BEGIN {print s / (n + 1)}')"
    timeout 3 ss -Htanp | head -n "$SOCKETS"
  done
) >"$CAPTURE_SCRATCH/sockets" 2>/dev/null &
said=$(
  trap : INT
  exec 3>&1
  timeout --foreground -s INT -k 2 "$PARAM_SECONDS" tcpdump -i "$PARAM_INTERFACE" -nn -s "$length" -c "$PARAM_PACKETS" -U -w - -- "$expression" 2>&3 </dev/null |
    (trap '' INT && exec head -c "$most") >"$CAPTURE_SCRATCH/packets.pcap"
)
ended=$(date +%s.%N)
kill $! 2>/dev/null
size=$(stat -c %s -- "$file" 2>/dev/null || echo 0)
counted() { sed -n "s/^\([0-9]*\) packets* $1.*/\1/p" <<<"$said" | head -n 1; }

if [ "$size" -lt 24 ]; then # not even a header
  rm -f -- "$file"
  words=$(grep -v -e '^listening' -e '^tcpdump: listening' -e 'data link type' -e '^tcpdump: verbose' <<<"$said" | tail -n 1 | cell 250)
  tool=$(command -v tcpdump)
  case $words in
    *ermission* | *'ot permitted'*)
      trouble "$(id -un) may not record packets here: it lacks CAP_NET_RAW, and the report has the line that gives it" "This lets members of a group do it: groupadd -f pcap; usermod -aG pcap $(id -un); chgrp pcap $tool; chmod 750 $tool; setcap cap_net_raw,cap_net_admin=eip $tool" "$words"
      ;;
    *) trouble "tcpdump recorded nothing: ${words:-it gave no reason}" ;;
  esac
fi

# --- read ------------------------------------------------------------------------------------

read_back() { nice -n 10 timeout --foreground -k 2 30 tcpdump -nn -tt -S -r "$file" 2>/dev/null </dev/null; }

cut=no
[ "$size" -lt "$most" ] || cut=yes
captured=$(counted captured)
dropped=$(counted 'dropped by kernel')
section capture "seconds=$(awk -v a="$began" -v b="$ended" 'BEGIN {printf "%.1f", b - a}')" "captured=${captured:-0}" "dropped=${dropped:-0}" "bytes=$size" "cut=$cut" "most=$PARAM_PACKETS"
echo "$shown"

# Of each service (the side that was called, that listens, or that has the lower port) what both sides did; and of whose sockets.
section services
{
  cat "$CAPTURE_SCRATCH/sockets"
  timeout 5 ss -Htanp 2>/dev/null | head -n "$SOCKETS"
  echo "-- packets"
  read_back
} | nice -n 10 awk -v OFS='\t' -v ended="$ended" -v rows="$ROWS" '
  function port(end,  part, n) {n = split(end, part, "."); return part[n]}
  function host(end) {sub(/\.[0-9]+$/, "", end); return end}
  function spoken(end,  h) {h = host(end); return (h ~ /:/ ? "[" h "]" : h) ":" port(end)}
  function owner(end) {
    if (end in holds) return holds[end]
    if (port(end) in listens) return listens[port(end)]
    return ""
  }
  function service(a, b) {
    if ((a, b) in called) return called[a, b]
    if (port(a) in listens != port(b) in listens) return port(a) in listens ? a : b
    return port(a) + 0 <= port(b) + 0 ? a : b
  }
  $0 == "-- packets" {reading = 1; next}
  !reading {
    end = $4
    sub(/%[^:\]]*/, "", end)
    sub(/:[0-9*]+$/, ".&", end)
    sub(/\.:/, ".", end)
    gsub(/[][]/, "", end)
    sub(/^::ffff:/, "", end)
    who = $0
    if (!sub(/.*users:\(\("/, "", who)) next
    split(who, part, "[\",=]+")
    who = part[1] "\t" part[3]
    if ($1 == "LISTEN") listens[port(end)] = who
    else holds[end] = who
    next
  }
  {
    for (at = 2; at <= NF && $at != "\076"; at++);
    if (at >= NF) next
    from = $(at - 1)
    to = $(at + 1)
    way = at > 4 ? $2 " " $3 : ""
    sub(/:$/, "", to)
    bytes = 0
    if (match($0, /length [0-9]+/)) bytes = substr($0, RSTART + 7, RLENGTH - 7) + 0
    flags = ""
    if (match($0, /Flags \[[^]]*\]/)) flags = substr($0, RSTART + 7, RLENGTH - 8)
    if (flags == "") {
      if (from !~ /\.[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/ && from !~ /:.*\.[0-9]+$/) {from = from ".0"; to = to ".0"}
    } else {
      sequence = ""
      if (match($0, /seq [0-9]+/)) sequence = substr($0, RSTART + 4, RLENGTH - 4)
      if (flags ~ /S/ && flags !~ /\./) {called[from, to] = to; called[to, from] = to}
    }
    s = service(from, to)
    other = s == from ? to : from
    packets[s]++
    volume[s] += bytes
    if (!((s, host(other)) in met)) {met[s, host(other)]; clients[s]++}
    talk[s, host(other)] += bytes + 1
    if (owner(other) != "") caller[s] = owner(other)
    if (flags == "") next
    key = from " " to
    if (flags ~ /S/) {
      if (flags !~ /\./) {
        if (!(key in opened)) {opened[key] = $1; calls[s]++}
      } else answered[to " " from]
      next
    }
    if (flags ~ /R/) {
      if (to " " from in opened && !(to " " from in answered)) {
        if (!(to " " from in refusal)) refused[s]++
        refusal[to " " from]
        answered[to " " from]
      } else if (!((key, "R") in reset)) {
        reset[key, "R"]
        if (from == s) resets[s]++
        else dropped[s]++
      }
      next
    }
    if (bytes == 0) next
    segments[s]++
    # The same packet is seen once on each interface that it passes.
    if ((key, sequence, way) in seen && (way != "" || $1 - seen[key, sequence, way] > 0.001)) repeats[s]++
    seen[key, sequence, way] = $1
  }
  END {
    for (key in opened) if (!(key in answered) && ended - opened[key] > 0.9) {
      split(key, ends, " ")
      silent[ends[2]]++
    }
    print "service", "host", "packets", "bytes", "clients", "client", "calls", "unanswered", "refused", "resets", "client_resets", "segments", "repeats", "process", "pid", "caller", "caller_pid"
    for (pair in talk) {
      split(pair, part, SUBSEP)
      if (talk[pair] > loudest[part[1]]) {loudest[part[1]] = talk[pair]; loud[part[1]] = part[2]}
    }
    for (s in packets) {
      trouble = silent[s] * 50 + refused[s] * 20 + (resets[s] + dropped[s]) * 20 + repeats[s] * 20
      line = spoken(s) OFS host(s) OFS packets[s] OFS volume[s] + 0 OFS clients[s] OFS loud[s] OFS calls[s] + 0 OFS silent[s] + 0 OFS refused[s] + 0
      line = line OFS resets[s] + 0 OFS dropped[s] + 0 OFS segments[s] + 0 OFS repeats[s] + 0
      mine = owner(s)
      gsub(/\\/, "?", mine)
      print trouble + packets[s], line, mine == "" ? "-" OFS "-" : mine, s in caller ? caller[s] : "-" OFS "-" | "sort -rn | head -n " rows " | cut -f 2-"
    }
  }'
section packets
read_back | sed 's/^### /  &/' | head -c "$TEXT_BYTES"
exit 0
