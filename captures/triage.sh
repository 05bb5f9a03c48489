#!/usr/bin/env bash
# Which applications run here, the busiest first: those that a recipe of their own can look into.

applications() { # kind, program
  local kind=$1 regex=$2 pid user state age cpu rss program command unit script
  local -a rows=()
  while IFS=$'\t' read -r pid user state age cpu rss program command; do
    [[ $program =~ $regex && $ours != *" $pid "* && $rss -gt 0 ]] || continue
    name_of "$pid"
    rows+=("$pid"$'\t'"$user"$'\t'"$state"$'\t'"$age"$'\t'"$cpu"$'\t'"$rss"$'\t'"${unit:-${script:-?}}"$'\t'"$command")
  done <<<"$all"
  [ ${#rows[@]} -eq 0 ] || busiest applications "$kind" "${rows[@]}"
}

ours=$(askers)
all=$(processes)
applications Java '^java$'
applications Python '^(python[0-9.]*|uwsgi.*)$'
applications Node.js '^node(js)?$'
applications .NET '^dotnet$'
exit 0
