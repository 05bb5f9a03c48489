#!/usr/bin/env bash
# What the scripts that ask py-spy share: which processes it reads, where it lies, and what its complaints mean.

PYTHONS='^(python[0-9.]*|uwsgi.*)$' # programs

trusted() { # root runs nothing that another user could have put there, on any part of its path
  local at
  [ "$(id -u)" -eq 0 ] || return 0
  at=$(readlink -f -- "$1") || return 1
  while :; do
    [[ $(stat -c "%u %A" -- "$at") =~ ^0\ (.....[^w]..[^w]|d........[tT]) ]] || return 1
    [ "$at" != / ] || return 0
    at=${at%/*} at=${at:-/}
  done
}

find_py_spy() { # sets spy, and unseen where there is none
  for spy in "${PARAM_PY_SPY:-}" "$(command -v py-spy)" "${HOME:-}/.local/bin/py-spy"; do
    if [ -f "$spy" ] && [ -x "$spy" ] && trusted "$spy"; then return; fi
  done
  spy='' reason=missing
  unseen="py-spy is not installed: run pip install py-spy, and link it into /usr/local/bin"
}

refusal() { # what py-spy's complaint means, and what mends it
  case $1 in
    *'Permission Denied'* | *'ermission denied'* | *'not permitted'*)
      reason=permission
      unseen="$(id -un) may not read its memory: log in as root or as its user, or run: setcap cap_sys_ptrace+ep $(readlink -f "$spy")"
      ;;
    *)
      reason=failed
      unseen="py-spy cannot read it: $(sed '/^Stack backtrace/,$d' <<<"$1" | grep -v '^P' | tr -s '[:space:]' ' ' | cell 300)"
      ;;
  esac
}
