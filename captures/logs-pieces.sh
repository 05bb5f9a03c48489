#!/usr/bin/env bash
# Logs as pieces: a log itself and its rotated files, each opened once, so that it stays the same whatever becomes of its name.
# And what is wanted of each. It comes after logs-times.sh.
#
#   add_log PATH SHOWN [appended]   opens a log and its rotated files; refuses what is none, saying why
#   plan LOG                        sets what is wanted of its pieces
#
# Of a log: L_PATH, and L_PIECES (numbers, the newest first). Of a piece: P_LOG, P_PATH, P_FD, P_KIND, P_SIZE, P_MTIME, P_ID, P_NOTE,
# P_FROM and P_TO (bytes wanted), or, of a packed one, P_TAKE (window, whole, "lines N" or "bytes N").
shopt -s nullglob

LOGS=40
PIECES=60                # of one log
LAST_BYTES=5000000       # where nobody asks for a number or a time
MOST_BYTES=195000000     # of all logs, and the newest of each
COUNTED_BYTES=100000000  # that lines are counted in
UNPACKED_BYTES=20000000  # kept in memory for the end of a packed file
PACKED=10                # times smaller, as a rule
PATIENCE_S=20            # for one packed file, or one journal

pieces=0
logs=0
room=$MOST_BYTES # that is left
refused=()
refuse() { refused+=("$(printf %s "$1" | cell 400)"); }

# A log by where it lies or how it is called. CAPTURE_PATHS, an expression for paths, takes the place of that where it is set:
# it comes from paths: of the target in capturebot.yml.
is_log() {
  case $1 in
    /proc/* | /sys/* | /dev/* | /etc/* | */.ssh/* | *.journal) return 1 ;;
    */log/* | */logs/*) return ;;
  esac
  case ${1##*/} in
    *.log | *.log[.-]* | *_log | *_log.[0-9] | *_log.[0-9].* | *_log-20* | *.out | *.out[.-]* | *.err | *.err[.-]*) return ;;
  esac
  return 1
}

# Whether the open file $1, which lies at $2, may be read; says why not. $3 and $4 as $2 and $3 of open_piece.
may_read() {
  local name=$3 links
  [ "$2" = "$3" ] || name="$3 leads to $2, which"
  [ -f "$1" ] || { refuse "$name is not a regular file"; return 1; }
  if [ "${CAPTURE_PATHS:-}" ]; then
    if [[ $2 == *[[:cntrl:]]* || ! $2 =~ $CAPTURE_PATHS ]]; then
      refuse "$name is not among the paths that may be read here: add it to paths: of this target in capturebot.yml"
      return 1
    fi
  elif [ "$4" != appended ] && [ "$4" != "${2%/*}" ] && ! is_log "$2"; then
    refuse "$name is not a log: only files below a folder log or logs, or called *.log, *.out, *.err or *_log, are read"
    return 1
  fi
  links=$(stat -Lc %h -- "$1")
  if [ "$4" != appended ] && [ "$links" -gt 1 ]; then
    refuse "$name has $links names (hard links), so that it may belong elsewhere: copy it instead of linking it"
    return 1
  fi
}

at_fd() { printf '/proc/%s/fd/%s' "$$" "${P_FD[$1]}"; }
range() { dd if="$(at_fd "$1")" bs=128K iflag=skip_bytes,count_bytes skip="$2" count="$(($3 - $2))" status=none 2>/dev/null; }

kind_of() {
  local size=$1 file=$2
  [ "$size" -gt 0 ] || { echo empty; return; }
  case $(head -c 6 "$file" | od -An -tx1 | tr -d ' \n') in
    1f8b*) echo gz ;;
    fd377a585a00) echo xz ;;
    28b52ffd*) echo zst ;;
    425a68*) echo bz2 ;;
    *) if [ "$(strange head "$file")" -gt 25 ] && [ "$(strange tail "$file")" -gt 25 ]; then echo binary; else echo plain; fi ;;
  esac
}
strange() { "$1" -c 512 "$2" | tr -d '\t\n\r\033\40-\176\200-\377' | wc -c; }

# Adds a piece to log $1; says why where it cannot. $3 is "appended" where a process writes it, which makes it a log, and the
# folder of such a log where it lies beside it: a link to another place is none, whoever has laid it there.
open_piece() {
  local path=$2 fd real size mtime id blocks kind each note=''
  if [ ! -e "$path" ]; then
    refuse "$path does not exist, or $(id -un) may not look there"
  elif [ ! -f "$path" ]; then
    refuse "$path is not a regular file"
  elif ! { exec {fd}<"$path"; } 2>/dev/null; then
    refuse "$path may not be read by $(id -un): log in as root, or add $(id -un) to the group $(stat -Lc %G -- "$path" 2>/dev/null) ($(stat -Lc %A -- "$path" 2>/dev/null))"
  else
    real=$(readlink "/proc/$$/fd/$fd")
    may_read "/proc/$$/fd/$fd" "${real% (deleted)}" "$path" "${3:-}" || { exec {fd}<&-; return 1; }
    read -r size mtime id blocks < <(stat -Lc '%s %Y %d:%i %b' "/proc/$$/fd/$fd")
    for ((each = 0; each < pieces; each++)); do
      if [ "${P_ID[each]}" = "$id" ]; then exec {fd}<&-; return 1; fi # it has another name, or is being rotated
    done
    kind=$(kind_of "$size" "/proc/$$/fd/$fd")
    case $kind in
      empty) note='it is empty' ;;
      binary) note='it is binary, and was left out' ;;
      gz) command -v gzip >/dev/null || note='gzip is not installed here, so that it was left out' ;;
      xz) command -v xz >/dev/null || note='xz is not installed here, so that it was left out: apt-get install xz-utils' ;;
      zst) command -v zstd >/dev/null || note='zstd is not installed here, so that it was left out: apt-get install zstd' ;;
      bz2) command -v bzip2 >/dev/null || note='bzip2 is not installed here, so that it was left out' ;;
      plain)
        [ $((blocks * 512 + 65536)) -ge "$size" ] || note='it has holes: something cut it while a program went on writing at its old place'
        [ "$(tail -c 65536 "/proc/$$/fd/$fd" | tr -d '\0' | head -c 65536 | wc -l)" -gt 0 ] || [ "$size" -lt 65536 ] || note='it ends with a line of more than 64 kB'
        case $real in *' (deleted)') note='it was deleted, and is still being written' ;; esac
        ;;
    esac
    P_LOG[pieces]=$1 P_PATH[pieces]=${real% (deleted)} P_FD[pieces]=$fd P_KIND[pieces]=$kind P_SIZE[pieces]=$size P_MTIME[pieces]=$mtime
    P_ID[pieces]=$id P_FROM[pieces]=0 P_TO[pieces]=0 P_TAKE[pieces]='' P_NOTE[pieces]=$note
    pieces=$((pieces + 1))
    return 0
  fi
  return 1
}

packed() { [[ ${P_KIND[$1]} =~ ^(gz|xz|zst|bz2)$ && ${P_NOTE[$1]} != *'not installed'* ]]; }

is_rotated() { [[ $1 =~ \.(gz|xz|zst|bz2)$|\.[0-9]{1,4}$|[.-]20[0-9]{2}-?[0-9]{2}-?[0-9]{2}([._-][0-9.-]*)?(\.log)?$ ]]; }

siblings() { # rotated files of a log, the newest first: "mtime path"
  local path=$1 name=${1##*/} found
  found=("$path".[0-9]* "$path"-[0-9]*)
  [[ $name != *.* ]] || found+=("${path%.*}"[.-]20[0-9][0-9]*."${path##*.}"*)
  [ ${#found[@]} -eq 0 ] || stat -Lc '%Y %n' -- "${found[@]}" 2>/dev/null | sort -k1,1rn -k2,2V | head -n "$PIECES"
}

add_log() { # path, how it is shown, whether a process writes it
  local path=$1 shown=$2 mtime sibling left beside=''
  [ "$logs" -lt "$LOGS" ] || { [ "$logs" -gt "$LOGS" ] || refuse "More than $LOGS logs match: those beyond were left out"; logs=$((LOGS + 1)); return; }
  open_piece "$logs" "$path" "${3:-}" || return
  L_PATH[logs]=$shown L_PIECES[logs]=$((pieces - 1))
  [ "${3:-}" != appended ] || beside=${P_PATH[pieces - 1]%/*}
  left=$((want_bytes - P_SIZE[pieces - 1]))
  if [ "${PARAM_ROTATED:-yes}" = yes ] && ! is_rotated "$path"; then
    while read -r mtime sibling; do
      [ "$mtime" -ge "$oldest" ] || [ "$left" -gt 0 ] || break
      open_piece "$logs" "$sibling" "$beside" || continue
      L_PIECES[logs]+=" $((pieces - 1))"
      packed $((pieces - 1)) && left=$((left - P_SIZE[pieces - 1] * PACKED)) || left=$((left - P_SIZE[pieces - 1]))
    done < <(siblings "$path")
  fi
  logs=$((logs + 1))
}

# --- what is wanted of them -----------------------------------------------------------------------

first_stamp() { # of the lines of plain piece $1 from offset $2 on, at most $3 bytes
  range "$1" "$2" "$(($2 + ${3:-65536}))" | tr '\0' '?' | timed "$STAMP"'(NR > 1 || at == 0) && (s = stamp($0)) >= 0 {printf "%.0f\n", s; exit}' at="$2"
}

# Where the first line of time $2 or later begins in plain piece $1, by halves: few blocks are read of a file of any size.
# "none" where no line has a time.
search() {
  local low=0 high=${P_SIZE[$1]} middle found
  while [ $((high - low)) -gt 262144 ]; do
    middle=$(((low + high) / 2))
    found=$(first_stamp "$1" "$middle")
    [ "$found" ] || found=$(first_stamp "$1" "$middle" 1048576) # long lines, or a long stack
    if [ "$found" ] && [ "$found" -ge "$2" ]; then high=$middle; else low=$middle; fi
  done
  range "$1" "$low" "$((high + 65536))" | tr '\0' '?' | timed "$STAMP"'
    (NR > 1 || low == 0) && (s = stamp($0)) >= 0 {known = 1; if (s >= wanted) {found = 1; exit}}
    {read += length($0) + 1}
    END {if (known) printf "%.0f\n", (found || low + read < size ? low + read : size); else print "none"}
  ' low="$low" wanted="$2" size="${P_SIZE[$1]}"
}

line_start() { # the first beginning of a line in plain piece $1 from offset $2 on; $2 itself where the line is endless
  local skipped
  [ "$2" -gt 0 ] || { echo 0; return; }
  skipped=$(range "$1" "$(($2 - 1))" "$(($2 + 65535))" | tr '\0' '?' | head -n 1 | wc -lc | awk '{print $1 == 1 ? $2 - 1 : 0}')
  echo $(($2 + skipped))
}

unpack() { # the whole text of a packed piece
  local tool
  case ${P_KIND[$1]} in gz) tool=gzip ;; xz) tool=xz ;; zst) tool=zstd ;; *) tool=bzip2 ;; esac
  timeout -k 1 "$PATIENCE_S" "$tool" -dcq <"$(at_fd "$1")" 2>/dev/null
}
between() { # lines of a time window; those without a time go with the one before
  timed "$STAMP"'
    (s = stamp($0)) >= 0 {inside = s >= since && (until == "" || s <= until); if (until != "" && s > until + 60) exit}
    inside' since="$1" until="$2"
}

# Sets P_FROM and P_TO, or P_TAKE, of each piece of log $1, and planned, about how many bytes that is.
plan() {
  local piece size need=$want_bytes lines=$want_lines from to got
  [ "$lines" -eq 0 ] || need=0
  planned=0
  for piece in ${L_PIECES[$1]}; do
    size=${P_SIZE[piece]} from=0 to=$size
    if [ "$room" -le 0 ]; then
      P_NOTE[piece]='it was left out, as what was asked for is more than can be kept'
      continue
    fi
    if packed "$piece"; then
      if [ "$since$until" ]; then
        [ "${P_MTIME[piece]}" -ge "${since:-0}" ] || continue
        P_TAKE[piece]=window
      elif [ "$want" = whole ]; then P_TAKE[piece]=whole
      elif [ "$lines" -gt 0 ]; then P_TAKE[piece]="lines $lines" lines=0
      elif [ "$need" -gt 0 ]; then P_TAKE[piece]="bytes $((need < UNPACKED_BYTES ? need : UNPACKED_BYTES))"
      else continue; fi
      got=$((size * PACKED))
      [[ ${P_TAKE[piece]} != bytes* ]] || [ "$got" -lt "$need" ] || got=$need
      need=$((need - got)) room=$((room - got)) planned=$((planned + got))
      continue
    fi
    [ "${P_KIND[piece]}" = plain ] || continue
    if [ "$since$until" ]; then
      [ "${P_MTIME[piece]}" -ge "${since:-0}" ] || continue
      from=$(search "$piece" "${since:-0}")
      [ -z "$until" ] || to=$(search "$piece" "$((until + 1))")
      [ "$to" != none ] || to=$size
      if [ "$from" = none ]; then
        from=$((size > LAST_BYTES ? size - LAST_BYTES : 0)) to=$size
        P_NOTE[piece]="no time can be read in its lines, so that its end is given instead of the time window"
      fi
    elif [ "$lines" -gt 0 ]; then
      from=$((size > COUNTED_BYTES ? size - COUNTED_BYTES : 0))
      read -r got from < <(range "$piece" "$from" "$size" | tail -n "$lines" | wc -lc)
      from=$((size - from)) lines=$((lines - got))
    elif [ "$want" != whole ]; then
      [ "$need" -gt 0 ] || continue
      [ "$size" -le "$need" ] || from=$(line_start "$piece" "$((size - need))")
    fi
    if [ $((to - from)) -gt "$room" ]; then
      from=$(line_start "$piece" "$((to - room))")
      P_NOTE[piece]="what was asked for is more than can be kept: the newest is given"
    fi
    P_FROM[piece]=$from P_TO[piece]=$to
    need=$((need - (to - from))) room=$((room - (to - from))) planned=$((planned + to - from))
  done
}
