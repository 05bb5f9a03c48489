#!/usr/bin/env bash
# Lines of log files and journals: the newest, all of them, or those of a time window, through rotated and packed files.
# Only the start of an artifact is read for its summary, so that samples of large logs come first:
#   files     what was read of which file        before  lines from earlier, whole or in samples, an hour back
#   glance    the newest lines of a large log    lines   what was asked for, in order
set -u -o pipefail
[ "${BASH_VERSINFO[0]}${BASH_VERSINFO[1]}" -ge 44 ] || set +u # older ones take an empty list for one that is not there

HEAD_BYTES=1700000       # that a summary can be made of
SEARCHED_BYTES=100000000 # where lines with a text are wanted
BEFORE_S=3600            # that are looked back from what is asked for, to tell what is new
BACK_S=21600             # that samples are taken from at most
SAMPLE_BYTES=32768
HURRY_S=60               # after which no more samples are taken

ionice -c 2 -n 7 -p $$ 2>/dev/null

# --- what is printed ------------------------------------------------------------------------------

wanted() { if [ "${PARAM_GREP:-}" ]; then grep -aF -- "$PARAM_GREP"; else cat; fi; }
guard() { tr -d '\0' | wanted | sed -e 's/^### / &/' -e '$a\'; } # no line of a log can look like a header

take() { # what is asked for of a packed piece
  local how=${P_TAKE[$1]}
  case $how in
    window) unpack "$1" | between "${since:-0}" "$until" | head -c "$MOST_BYTES" ;;
    lines*) unpack "$1" | tail -n "${how#* }" | tail -c "$UNPACKED_BYTES" ;;
    bytes*) unpack "$1" | tail -c "${how#* }" | sed 1d ;;
    *) unpack "$1" | head -c "$MOST_BYTES" ;;
  esac
}

lines_of() { # all that is asked for of log $1, the oldest first
  local piece status in_order=''
  for piece in ${L_PIECES[$1]}; do in_order="$piece $in_order"; done
  for piece in $in_order; do
    if [ "${P_TAKE[piece]}" ]; then
      section lines "file=$piece"
      take "$piece" | guard
      status=${PIPESTATUS[0]}
      case $status in
        0 | 141) ;; # well, or more than was wanted
        124 | 137) cut_short+="${P_PATH[piece]} takes longer than $PATIENCE_S s to unpack: what came until then was read"$'\n' ;;
        *) cut_short+="${P_PATH[piece]} could be unpacked in part only: it is damaged"$'\n' ;;
      esac
    elif [ "${P_TO[piece]}" -gt "${P_FROM[piece]}" ]; then
      section lines "file=$piece" "offset=${P_FROM[piece]}"
      range "$piece" "${P_FROM[piece]}" "${P_TO[piece]}" | guard
      [ "$(stat -Lc %s "$(at_fd "$piece")")" -ge "${P_SIZE[piece]}" ] || cut_short+="${P_PATH[piece]} was cut while it was read"$'\n'
    fi
  done
}

# The newest lines of what is asked for of log $1, at most $2 bytes. Sets first (piece) and first_at (offset): where it begins.
glance() {
  local piece left=$2 from
  for piece in ${L_PIECES[$1]}; do
    [ "$left" -gt 0 ] || break
    if [ "${P_TAKE[piece]}" ]; then
      section glance "file=$piece"
      take "$piece" | tail -c "$left" | sed 1d | guard
      first=$piece first_at=0 left=0
    elif [ "${P_TO[piece]}" -gt "${P_FROM[piece]}" ]; then
      from=${P_FROM[piece]}
      [ $((P_TO[piece] - from)) -le "$left" ] || from=$(line_start "$piece" "$((P_TO[piece] - left))")
      section glance "file=$piece" "offset=$from"
      range "$piece" "$from" "${P_TO[piece]}" | guard
      first=$piece first_at=$from left=$((from > P_FROM[piece] ? 0 : left - (P_TO[piece] - from)))
    fi
  done
}

where_it_begins() { # of what is asked for of log $1: sets first (piece), first_at (offset), and began (time)
  local piece
  first='' first_at=0 began=''
  for piece in ${L_PIECES[$1]}; do
    if [ "${P_TAKE[piece]}" ]; then first=$piece first_at=0
    elif [ "${P_TO[piece]}" -gt "${P_FROM[piece]}" ]; then first=$piece first_at=${P_FROM[piece]}; fi
  done
  [ "$first" ] || return
  if [ "$since" ]; then began=$since
  elif [ "${P_TAKE[first]}" ]; then began=$(take "$first" | head -c 65536 | timed "$STAMP"'(s = stamp($0)) >= 0 {printf "%.0f\n", s; exit}')
  else began=$(first_stamp "$first" "$first_at"); fi
}

# Lines of log $1 from before first and first_at, back to BEFORE_S before what is asked for began: at most $2 bytes, in samples where
# there are more. $3 is when to stop in packed pieces; the last of them may lie in the glance, too.
before() {
  local log=$1 budget=$2 back piece from to seen='' length all=0 number each at sample=$SAMPLE_BYTES
  local -a part=() begin=() end=()
  [ "$first" ] && [ "$began" ] || return 0
  back=$((began - BEFORE_S))
  if [ -z "$3" ] && [ -z "${P_TAKE[first]}" ]; then # the glance begins later
    at=$(first_stamp "$first" "$first_at")
    [ -z "$at" ] || [ $((at - BACK_S)) -lt "$back" ] || back=$((at - BACK_S))
  fi
  for piece in ${L_PIECES[$log]}; do
    [ "$piece" != "$first" ] || seen=yes
    [ "$seen" ] || continue
    [ "$piece" = "$first" ] || [ "${P_MTIME[piece]}" -ge "$back" ] || break
    if packed "$piece"; then
      packed_samples "$piece" "$back" $((budget / 3)) "$3"
    elif [ "${P_KIND[piece]}" = plain ]; then
      to=${P_SIZE[piece]}
      [ "$piece" != "$first" ] || to=$first_at
      from=$(search "$piece" "$back")
      if [ "$from" != none ] && [ "$from" -lt "$to" ]; then part=("$piece" "${part[@]}") begin=("$from" "${begin[@]}") end=("$to" "${end[@]}"); fi
    fi
  done
  for each in "${!part[@]}"; do all=$((all + end[each] - begin[each])); done
  if [ "$all" -le "$budget" ] || [ "${PARAM_GREP:-}" ]; then
    for each in "${!part[@]}"; do
      section before "file=${part[each]}" "offset=${begin[each]}" whole=1
      range "${part[each]}" "${begin[each]}" "${end[each]}" | guard | tail -c "$budget"
    done
    return
  fi
  [ "$budget" -ge $((4 * sample)) ] || sample=$((budget / 4))
  number=$((budget / sample))
  for ((at = 0; at < number && SECONDS < HURRY_S; at++)); do
    from=$(((all - sample) / (number - 1) * at)) # the last of them ends where what is asked for begins
    for each in "${!part[@]}"; do
      length=$((end[each] - begin[each]))
      if [ "$from" -lt "$length" ]; then
        from=$((begin[each] + from))
        to=$((from + sample < end[each] ? from + sample : end[each]))
        section before "file=${part[each]}" "offset=$from"
        range "${part[each]}" "$from" "$to" | sed -e 1d -e '$d' | guard
        break
      fi
      from=$((from - length))
    done
  done
}

packed_samples() { # of packed piece $1, lines of time $2 to $4, at most $3 bytes: whole, or evenly
  local all header
  [ "$SECONDS" -lt "$HURRY_S" ] || return
  all=$(unpack "$1" | between "$2" "$4" | wc -c)
  [ "$all" -gt 0 ] || return
  header=$(section before "file=$1" "$([ "$all" -gt "$3" ] && echo packed=1 || echo whole=1)")
  unpack "$1" | between "$2" "$4" | tr -d '\0' | wanted | sed 's/^### / &/' |
    awk -v block="$SAMPLE_BYTES" -v stride="$((all / $3 + 1))" -v header="$header" '
      {number = stride == 1 ? 1 : int(bytes / block) + 1; bytes += length($0) + 1}
      number % stride == 0 {if (number != last) print header; last = number; print}' | head -c "$3" | sed '$a\'
}

# --- journals -------------------------------------------------------------------------------------

journal_of() { # unit $1 as piece $2, with $3 bytes of the head; the whole is printed by journal_lines
  local unit=$1 text begins
  text=$(journal "${window[@]}" --lines=$(($3 / 60)) | tail -c "$3" | guard)
  begins=$(head -n 5 <<<"$text" | timed "$STAMP"'(s = stamp($0)) >= 0 {printf "%.0f\n", s; exit}')
  if [ "$begins" ]; then
    section before "file=$2" whole=1
    journal --since=@$((begins - BEFORE_S)) --until=@"$begins" --lines=4000 | tail -c $(($3 / 3)) | sed 1d | guard
  fi
  section glance "file=$2"
  printf '%s\n' "$text"
}

journal_lines() { # all that is asked for of unit $1, as piece $2
  local unit=$1 bytes=$MOST_BYTES
  local -a number=()
  if [ "$want_lines" -gt 0 ]; then
    number=("--lines=$want_lines")
  elif [ "$want" != whole ] && [ -z "$since" ]; then
    bytes=$want_bytes
    number=("--lines=$((bytes / 60 + 1))")
  fi
  section lines "file=$2"
  if [ "$bytes" -le "$UNPACKED_BYTES" ]; then journal "${window[@]}" "${number[@]}" | tail -c "$bytes"
  else journal "${window[@]}" "${number[@]}" | head -c "$bytes"; fi | guard
}

# --- all of it ------------------------------------------------------------------------------------

from_path() { # a log, or several by a pattern, which is all that the parameter's rule lets through
  local path IFS=
  local -a found=($PARAM_PATH) current=()
  case ${PARAM_PATH%/*}/ in
    *[*?]* | */../*)
      refuse "$PARAM_PATH is no path that can be read: name its folder as it is; only the last part may be a pattern"
      return
      ;;
  esac
  case $PARAM_PATH in
    *[*?]*)
      [ ${#found[@]} -gt 0 ] || refuse "No file matches $PARAM_PATH, or $(id -un) may not look there"
      for path in "${found[@]}"; do # rotated files come with their logs; alone they are logs themselves
        if [ -f "$path" ] && ! is_rotated "$path"; then current+=("$path"); fi
      done
      [ ${#current[@]} -eq 0 ] || found=("${current[@]}")
      ;;
  esac
  unset IFS
  for path in "${found[@]}"; do add_log "$path" "$path"; done
}

units=() cut_short='' want=${PARAM_LAST:-} want_bytes=$LAST_BYTES want_lines=0
since=$(epoch_of "${PARAM_SINCE:-}") until=$(epoch_of "${PARAM_UNTIL:-}")
[ -z "${PARAM_GREP:-}" ] || want_bytes=$SEARCHED_BYTES
case $want in
  whole) want_bytes=$MOST_BYTES ;;
  *lines) want_lines=${want%lines} want_bytes=$((want_lines * 200)) ;;
  *kB) want_bytes=$((${want%kB} * 1000)) ;;
  *MB) want_bytes=$((${want%MB} * 1000000)) ;;
esac
[ "$want_bytes" -le "$MOST_BYTES" ] || want_bytes=$MOST_BYTES
if [ "$since" = bad ] || [ "$until" = bad ]; then
  refuse "$([ "$since" = bad ] && echo "since=$PARAM_SINCE" || echo "until=$PARAM_UNTIL") is no date and time"
elif [ "$since" ] && [ "$since" -ge "${until:-$now}" ]; then
  refuse "The time window is empty: it would begin at $(date -d "@$since" '+%F %T') and end at $(date -d "@${until:-$now}" '+%F %T')"
else
  [ -z "$until" ] || since=${since:-$((until - BEFORE_S))}
  [ -z "$since" ] || want_bytes=0
  oldest=$((${since:-$now} - BEFORE_S))
  [ -z "${PARAM_PATH:-}" ] || from_path
  [ -z "${PARAM_UNIT:-}" ] || add_unit "$PARAM_UNIT"
  [ "${PARAM_PATH:-}${PARAM_UNIT:-}" ] || discover
fi
window=()
[ -z "$since" ] || window=("--since=@$since")
[ -z "$until" ] || window+=("--until=@$until")
[ "$logs" -le "$LOGS" ] || logs=$LOGS

section asked
printf 'since\tuntil\tlast\tgrep\n%s\t%s\t%s\t%s\n' "$since" "$until" "$want" "$(printf %s "${PARAM_GREP:-}" | cell 300)"

sums=()
for ((log = 0; log < logs; log++)); do
  plan "$log"
  sums[log]=$planned
done

section files
printf 'file\tlog\tpath\tkind\tsize\tmtime\tfrom\tbytes\tnote\n'
for ((piece = 0; piece < pieces; piece++)); do
  printf '%s\t' "$piece" "$(printf %s "${L_PATH[P_LOG[piece]]}" | cell 300)" "$(printf %s "${P_PATH[piece]}" | cell 300)" "${P_KIND[piece]}" "${P_SIZE[piece]}"
  printf '%s\t' "$(date -u -d "@${P_MTIME[piece]}" +%Y-%m-%dT%H:%M:%SZ)" "${P_FROM[piece]}" "${P_TAKE[piece]:-$((P_TO[piece] - P_FROM[piece]))}"
  printf '%s\n' "${P_NOTE[piece]}"
done
for unit in "${!units[@]}"; do printf '%s\t%s\t%s\tjournal\t0\t-\t0\t-\t\n' "$((pieces + unit))" "${units[unit]}" "${units[unit]}"; done
if [ ${#refused[@]} -gt 0 ]; then
  section refused
  printf '%s\n' "${refused[@]}"
fi

# Small logs stand whole in the head of the artifact; of large ones a glance does, and the whole below.
share=$((HEAD_BYTES / (logs + ${#units[@]} > 0 ? logs + ${#units[@]} : 1)))
late=()
for ((log = 0; log < logs; log++)); do
  where_it_begins "$log"
  if [ "${sums[log]}" -gt $((share * 3 / 4)) ] && [ -z "${PARAM_GREP:-}" ]; then
    late+=("$log")
    glance "$log" $((share * 6 / 10))
    before "$log" $((share * 3 / 10)) ''
  else
    before "$log" $((share / 4)) "$began"
    lines_of "$log"
  fi
done
for unit in "${!units[@]}"; do journal_of "${units[unit]}" "$((pieces + unit))" $((share * 6 / 10)); done
for log in "${late[@]}"; do lines_of "$log"; done
for unit in "${!units[@]}"; do journal_lines "${units[unit]}" "$((pieces + unit))"; done
if [ "$cut_short" ]; then
  section unseen
  printf %s "$cut_short"
fi
exit 0
