#!/usr/bin/env bash
# Open files by process against its limit, and space that deleted but open files hold. A recipe may say for how many
# seconds to look at what grows, and name one process (after choose-process.sh).
set -u

LOOK_S=${PARAM_SECONDS:-0}
SHOWN=40    # processes with most open
GROWING=10  # processes that grow most
EXPLAINED=4 # processes whose files are told by name
NAMES=15    # of one process
NEAR=80     # percent of its limit

word() { tr -d '\n' 2>/dev/null <"$1" | tr -c '[:print:]' '?'; } # one that cannot break a table

section() {
  local name=$1
  shift
  printf '### %s at=%s%s\n' "$name" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)" "${*:+ $*}"
}

pid='[0-9]*' alone=
if [ "${PARAM_PID:-0}" != 0 ] || [ "${PARAM_APP:-}" ]; then
  choose '' '' # sets pid, or ends here
  alone=yes
fi

open_now() { # "pid number" of every process that can be seen
  printf '%s\0' /proc/$pid/fd |
    xargs -0 sh -c 'timeout 6 find "$@" -mindepth 1 -maxdepth 1 -printf "%h\n" 2>/dev/null' sh |
    awk -F / '{open[$3]++} END {for (pid in open) print pid, open[pid]}'
}

uptime_of() { read -r "$1" _ </proc/uptime; }

section system
printf 'allocated\tunused\tmost\n'
cat /proc/sys/fs/file-nr

first='' middle='' seconds=0
if [ "$LOOK_S" -gt 0 ]; then
  uptime_of began
  first=$(open_now)
  sleep "$(awk -v s="$LOOK_S" 'BEGIN {print s / 2}')"
  middle=$(open_now)
  sleep "$(awk -v s="$LOOK_S" 'BEGIN {print s / 2}')"
  uptime_of ended
  seconds=$(awk -v a="$began" -v b="$ended" 'BEGIN {print b - a}')
fi

# "pid open grown first middle sockets pipes anonymous files folder": the folder is the one that most of its files lie in.
counts=$({
  [ -z "$first" ] || sed 's/^/first /' <<<"$first"
  [ -z "$middle" ] || sed 's/^/middle /' <<<"$middle"
  printf '%s\0' /proc/$pid/fd |
    xargs -0 sh -c 'timeout 6 find "$@" -mindepth 1 -maxdepth 1 -printf "%h\t%l\n" 2>/dev/null' sh
} | awk -F '\t' '
    split($0, look, " ") == 3 && look[1] ~ /^(first|middle)$/ {seen[look[1], look[2]] = look[3]; next}
    $1 !~ /^\/proc\/[0-9]+\/fd$/ {next}
    {
      split($1, path, "/")
      pid = path[3]
      open[pid]++
      if ($2 ~ /^socket:/) sockets[pid]++
      else if ($2 ~ /^pipe:/) pipes[pid]++
      else if ($2 ~ /^anon_inode:/) anonymous[pid]++
      else {
        files[pid]++
        sub(/\/[^\/]*$/, "", $2)
        gsub(/[\001-\037\177\\]/, "?", $2)
        if (++folders[pid, $2] > most[pid] + 0) {most[pid] = folders[pid, $2]; folder[pid] = $2}
      }
    }
    END {
      for (pid in open) {
        before = ("first" SUBSEP pid) in seen ? seen["first", pid] : open[pid]
        between = ("middle" SUBSEP pid) in seen ? seen["middle", pid] : open[pid]
        printf "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", pid, open[pid], open[pid] - before, before, between, sockets[pid], pipes[pid], anonymous[pid], files[pid], folder[pid]
      }
    }')
tab=$'\t'
counts=$({
  sort -t "$tab" -k2,2rn <<<"$counts" | head -n "$SHOWN"
  sort -t "$tab" -k3,3rn <<<"$counts" | head -n "$GROWING"
} | awk '$1 && !seen[$1]++')

section processes "seconds=$seconds"
printf 'pid\tuser\topen\tlimit\tsockets\tpipes\tanonymous\tfiles\tfolder\tprocess\tfirst\tmiddle\n'
explained=()
while IFS=$tab read -r each open grown before between sockets pipes anonymous files folder; do
  [ "$each" ] || continue
  limit=$(awk '/^Max open files/ {print $4}' "/proc/$each/limits" 2>/dev/null)
  user=$(stat -c %U "/proc/$each" 2>/dev/null) || continue
  process=$(word "/proc/$each/comm")
  printf '%s\t' "$each" "$user" "$open" "${limit:-0}" "$sockets" "$pipes" "$anonymous" "$files" "$folder" "$process" "$before"
  printf '%s\n' "$between"
  [ "$LOOK_S" -gt 0 ] || continue
  near=$((${limit//[!0-9]/0} * NEAR / 100)) # "unlimited" makes 0
  if [ "$alone" ] || { [ "$before" -lt "$between" ] && [ "$between" -lt "$open" ]; } || { [ "$near" -gt 0 ] && [ "$open" -ge "$near" ]; }; then
    explained+=("$grown$tab$each")
  fi
done <<<"$counts"

# --- what they are ---------------------------------------------------------------------------

kinds_of() { # pid → "kind, tab, name" for each of its files, numbers in names taken out
  timeout 4 find "/proc/$1/fd" -mindepth 1 -maxdepth 1 -printf '%l\n' 2>/dev/null | awk -v OFS='\t' '
    /^socket:/ {print "socket", "socket"; next}
    /^pipe:/ {print "pipe", "pipe"; next}
    /^anon_inode:/ {sub(/^anon_inode:/, ""); gsub(/[][]/, ""); print "anonymous", $0; next}
    {gsub(/[\001-\037\177\\]/, "?"); gsub(/[0-9]+/, "#"); gsub(/#[a-f#-]*#/, "#"); print "file", substr($0, 1, 200)}'
}

peers_of() { # the same for sockets, with state and peer, where ss can tell
  { timeout 5 ss -Htunap; timeout 5 ss -Hxap; } 2>/dev/null | grep -F "pid=$1," | awk -v OFS='\t' '
    function fixed(number) {return number + 0 > 0 && number + 0 < 32768}
    {name = $1 " socket"}
    $1 == "tcp" || $1 == "udp" {
      port = $5
      sub(/.*:/, "", port)
      peer = $6
      if (fixed(port)) sub(/:[^:]*$/, "", peer)
      name = $1 " " $2 (fixed(port) ? " on port " port : "") ($2 == "LISTEN" ? "" : (fixed(port) ? " with " : " to ") peer)
    }
    $1 ~ /^u_/ {name = "unix socket " ($5 == "*" ? "without a name" : $5)}
    {gsub(/[\001-\037\177\\]/, "?", name); print "socket", substr(name, 1, 200)}'
}

section names
printf 'pid\topen\tkind\tname\n'
[ ${#explained[@]} -eq 0 ] || printf '%s\n' "${explained[@]}" | sort -rn | head -n "$EXPLAINED" | cut -f 2 | while read -r each; do
  peers=$(peers_of "$each")
  { kinds_of "$each"; printf '%s\n' "$peers"; } | grep . | sort | uniq -c | sort -rn | awk -v pid="$each" -v most="$NAMES" -v told="${peers:+yes}" '
    told && $2 == "socket" && $3 == "socket" {next} # told by its peer
    {number = $1; sub(/^ *[0-9]+ /, ""); print pid "\t" number "\t" $0}
    ++n == most {exit}'
done

section deleted
printf 'bytes\tpid\tuser\tprocess\tfile\tmount\tdisk_bytes\tdisk_free\n'
# What a file takes on its disk counts, and not its length: a sparse one may take nothing.
printf '%s\0' /proc/$pid/fd |
  xargs -0 sh -c 'timeout 4 find -L "$@" -mindepth 1 -maxdepth 1 -type f -links 0 -size +10240k -printf "%b\t%D:%i\t%p\n" 2>/dev/null' sh |
  sort -t "$tab" -k2,2 -u | sort -rn | head -n 20 | while IFS=$tab read -r blocks _ path; do
  file=$(readlink -n "$path" | tr -c '[:print:]' '?')
  case $file in /memfd:* | /SYSV* | /dev/* | '') continue ;; esac
  each=${path#/proc/}
  each=${each%%/*}
  user=$(stat -c %U "/proc/$each" 2>/dev/null) || continue
  disk=$(timeout 2 stat -fL -c '%b %a %S' "$path" 2>/dev/null) || continue
  read -r all free size <<<"$disk"
  folder=${file% (deleted)}
  folder=${folder%/*}/
  # Empty where the path means something else here than in there, as it does for a process in a container.
  mount=
  [ "$(stat -Lc %d "$path" 2>/dev/null)" != "$(timeout 2 stat -c %d "$folder" 2>/dev/null)" ] ||
    mount=$(timeout 2 stat -c %m "$folder" 2>/dev/null | tr -c '[:print:]\n' '?')
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$((blocks * 512))" "$each" "$user" "$(word "/proc/$each/comm")" "$file" "$mount" "$((all * size))" "$((free * size))"
done

section unseen
hidden=0
for folder in /proc/$pid/fd; do [ -r "$folder" ] || hidden=$((hidden + 1)); done
[ "$hidden" -eq 0 ] || echo "not shown without root: $hidden process$([ "$hidden" -eq 1 ] || echo es) of other users"
exit 0
