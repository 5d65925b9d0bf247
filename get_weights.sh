#!/usr/bin/env bash
# Fetches the public Video Depth Anything checkpoints; `bash get_weights.sh --help` tells how.
# Kept to bash 3.2 and POSIX tools, so that it runs on a plain macOS as well as on Linux.
set -euo pipefail

NAMES='vits metric_vits vitb metric_vitb vitl metric_vitl'
DEFAULT_NAMES='vits metric_vits'

# name|repository|file|licence|size to show|exact bytes|SHA-256; "-" where no public statement was found.
catalogue() {
  cat <<'END'
vits|Video-Depth-Anything-Small|video_depth_anything_vits.pth|Apache-2.0|116 MB|116440756|13379300b739e659f076a59d52e9801bd8d38c541a7e71f73bbca4dcfb013609
metric_vits|Metric-Video-Depth-Anything-Small|metric_video_depth_anything_vits.pth|Apache-2.0|116 MB|116444063|3c28432b4e1f0d7bb31cad5151b6313b49457db5aa58d82e85bfb0f8b1311b33
vitb|Video-Depth-Anything-Base|video_depth_anything_vitb.pth|CC-BY-NC-4.0 (non-commercial use only)|about 0.45 GB|-|-
metric_vitb|Metric-Video-Depth-Anything-Base|metric_video_depth_anything_vitb.pth|CC-BY-NC-4.0 (non-commercial use only)|about 0.45 GB|-|-
vitl|Video-Depth-Anything-Large|video_depth_anything_vitl.pth|CC-BY-NC-4.0 (non-commercial use only)|about 1.5 GB|-|-
metric_vitl|Metric-Video-Depth-Anything-Large|metric_video_depth_anything_vitl.pth|CC-BY-NC-4.0 (non-commercial use only)|about 1.5 GB|-|-
END
}

usage() {
  cat <<END
Usage: bash get_weights.sh [NAME ...]     without a name: $DEFAULT_NAMES

Names ("all" means every one of them):
END
  catalogue | awk -F'|' '{ printf "  %-12s %-37s %-14s %s\n", $1, $3, $5, $4 }'
  cat <<'END'

A download that broke off is continued, a file that is already there is checked and skipped.

Environment:
  CHECKPOINT_DIR       folder for the files (default: checkpoints/ beside this script)
  WEIGHTS_BASE_URL     where to fetch from; file:// works too
                       (default: HF_ENDPOINT if set, else https://huggingface.co)
  WEIGHTS_SHA256_FILE  a list as sha256sum writes it; replaces the built-in sizes and checksums,
                       for mirrors that hold other weights under these names
  WEIGHTS_RETRIES      attempts per file within one run (default 5)
  WEIGHTS_RETRY_WAIT   seconds between attempts (default 3)
  WEIGHTS_LOCK_WAIT    seconds to wait for another run that fetches the same file (default 3600)

Exit status: 0 all files are there, 1 something failed, 2 wrong use or a missing tool.
END
}

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
  warn "get_weights: $1"
  exit 2
}
have() { command -v "$1" >/dev/null 2>&1; }
lower() { tr '[:upper:]' '[:lower:]'; }

size_of() { # bytes of a file, 0 when it is missing (the options of stat differ between systems)
  if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi
}

sha256_of() {
  if have sha256sum; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | awk '{ print $1 }'
}

# --- one entry of the catalogue ------------------------------------------------------------------

listed_sha256() { # the checksum that WEIGHTS_SHA256_FILE gives for a file name, if any
  tr -d '\r' <"$WEIGHTS_SHA256_FILE" | lower | awk -v file="$1" '
    { name = $2; sub(/^\*/, "", name); sub(/.*\//, "", name) }
    name == file && length($1) == 64 { print $1; exit }'
}

select_entry() { # sets what the other functions know about the file NAME
  local line repository
  line=$(catalogue | awk -F'|' -v name="$1" '$1 == name')
  IFS='|' read -r NAME repository FILE LICENCE SIZE_TEXT WANT_SIZE WANT_SHA <<<"$line"
  if [ -n "${WEIGHTS_SHA256_FILE:-}" ]; then
    SIZE_TEXT='' WANT_SIZE='' WANT_SHA=$(listed_sha256 "$FILE")
  fi
  [ "$WANT_SIZE" != - ] || WANT_SIZE=''
  [ "$WANT_SHA" != - ] || WANT_SHA=''
  URL=$BASE_URL/depth-anything/$repository/resolve/main/$FILE
  DEST=$DIR/$FILE PART=$DEST.part LOCK=$DEST.lock
  PROBED='' REASON='' SERVER_SHA='' SERVER_SIZE=''
}

# --- what the server says ------------------------------------------------------------------------

# Both read $HEADERS, where curl and wget leave the headers of every answer along the redirects.
header_of_any() { # the hub names size and checksum on its redirect, before the storage server answers
  awk -v name="$1:" '{ sub(/\r$/, "") } tolower($1) == name { value = $2 } END { print value }' "$HEADERS"
}
header_of_last() {
  awk -v name="$1:" '{ sub(/\r$/, "") } $1 ~ /^HTTP\// { value = "" }
    tolower($1) == name { value = $2 " " $3 } END { sub(/ $/, "", value); print value }' "$HEADERS"
}
status_of_last() { awk '$1 ~ /^HTTP\// { status = $2 } END { print status }' "$HEADERS"; }
is_web_page() { case $(header_of_last content-type | lower) in text/html*) return 0 ;; *) return 1 ;; esac }
is_count() { case $1 in '' | 0 | *[!0-9]*) return 1 ;; *) return 0 ;; esac }

learn_from_headers() { # what the server says of its file; it also fills in what the table does not know
  local sha size status
  sha=$(header_of_any x-linked-etag | tr -d '"' | lower)
  # The tag of a file outside LFS is no SHA-256, so only 64 hexadecimal digits count.
  if [ "${#sha}" -eq 64 ] && [ -z "$(printf %s "$sha" | tr -d '0-9a-f')" ]; then SERVER_SHA=$sha; fi
  size=$(header_of_any x-linked-size)
  if ! is_count "$size" && ! is_web_page; then
    status=$(status_of_last)
    case $status in
      200) size=$(header_of_last content-length) ;;
      206 | 416) size=$(header_of_last content-range) size=${size##*/} ;;
    esac
  fi
  if is_count "$size"; then SERVER_SIZE=$size; fi
  WANT_SHA=${WANT_SHA:-$SERVER_SHA} WANT_SIZE=${WANT_SIZE:-$SERVER_SIZE}
}

file_path() { # the path behind a file:// address; %20 and the like are undone unless they are the name itself
  local path=${1#file://}
  path=/${path#*/}
  [ -f "$path" ] || printf -v path '%b' "${path//%/\\x}"
  printf '%s\n' "$path"
}

probe() { # asks for the headers only; whatever goes wrong here, the download itself will report
  local size
  [ -z "$PROBED" ] || return 0
  PROBED=yes
  : >"$HEADERS"
  case $URL in
    file://*)
      size=$(size_of "$(file_path "$URL")")
      if [ -z "$WANT_SIZE" ] && is_count "$size"; then WANT_SIZE=$size; fi
      return 0
      ;;
  esac
  if [ "$TOOL" = curl ]; then
    curl -sIL --connect-timeout 20 --max-time 60 --max-redirs 20 -o "$HEADERS" "$URL" || true
  else
    wget -S --spider -o "$HEADERS" --tries=1 --timeout=30 "$URL" || true
  fi
  learn_from_headers
}

# --- checking ------------------------------------------------------------------------------------

mismatch() { # prints how a file differs from what is expected; nothing when it does not
  local size sha
  size=$(size_of "$1")
  if [ -n "$WANT_SIZE" ] && [ "$size" != "$WANT_SIZE" ]; then
    say "expected $WANT_SIZE bytes, found $size"
  elif [ "$size" -eq 0 ]; then
    say 'the file is empty'
  elif [ -n "$WANT_SHA" ]; then
    sha=$(sha256_of "$1")
    [ "$sha" = "$WANT_SHA" ] || say "expected SHA-256 $WANT_SHA, found $sha"
  fi
}

verified_how() {
  if [ -n "$WANT_SHA" ]; then
    say 'SHA-256 verified'
  elif [ -n "$WANT_SIZE" ]; then
    say 'size verified; the checksum could not be verified: none is known'
  else
    say 'neither size nor checksum could be verified: none is known'
  fi
}

already_there() {
  local problem
  [ -f "$DEST" ] || return 1
  [ -n "$WANT_SHA" ] || probe
  problem=$(mismatch "$DEST")
  if [ -z "$problem" ]; then
    say "$NAME: already there: $DEST ($(verified_how))"
    return 0
  fi
  say "$NAME: the existing $DEST looks damaged ($problem); fetching it again"
  return 1
}

# --- one run at a time per file ------------------------------------------------------------------

process_alive() { # is process $1 still one of ours? Its command line guards against a number used again
  local command
  [ "$1" != "$$" ] || return 1 # this run holds nothing yet: the number came round again
  if command=$(ps -p "$1" -o args= 2>/dev/null); then
    case $command in *"${0##*/}"* | *"$FILE"*) return 0 ;; *) return 1 ;; esac
  fi
  kill -0 "$1" 2>/dev/null # also where there is no ps; a number that is gone fails here too
}

lock_is_stale() {
  local host='' pid='' child=''
  { read -r host pid <"$LOCK/owner"; } 2>/dev/null || true
  { read -r child <"$LOCK/child"; } 2>/dev/null || true
  if [ -z "$pid" ]; then # made a moment ago, or by a run that died before it could sign
    [ -n "$(find "$LOCK" -prune -mmin +1 2>/dev/null)" ]
  elif [ "$host" != "$HOST" ]; then # a shared folder: only progress can be seen from here
    [ -d "$LOCK" ] && [ -z "$(find "$LOCK" "$PART" -prune -mmin -10 2>/dev/null || true)" ]
  else # a download outlives its killed script and would go on writing, so it counts as well
    ! process_alive "$pid" && { [ -z "$child" ] || ! process_alive "$child"; }
  fi
}

break_lock() { # the guard keeps two waiting runs from removing the lock that one of them just took
  if ! mkdir "$LOCK.break" 2>/dev/null; then
    [ -z "$(find "$LOCK.break" -prune -mmin +1 2>/dev/null)" ] || rmdir "$LOCK.break" 2>/dev/null || true
    return 1
  fi
  if lock_is_stale; then rm -rf "$LOCK"; fi
  rmdir "$LOCK.break"
}

take_lock() {
  WAITED=0
  until mkdir "$LOCK" 2>/dev/null; do
    if lock_is_stale && break_lock; then continue; fi
    if [ "$WAITED" -ge "$LOCK_WAIT" ]; then
      REASON="another run still holds $LOCK; remove it if there is none"
      return 1
    fi
    [ "$WAITED" -gt 0 ] || say "$NAME: another run is fetching this file; waiting for it"
    sleep 1
    WAITED=$((WAITED + 1))
  done
  HELD=$LOCK
  say "$HOST $$" >"$HELD/owner"
}

release_lock() {
  [ -n "$HELD" ] || return 0
  if [ "$(cat "$HELD/owner" 2>/dev/null)" = "$HOST $$" ]; then rm -rf "$HELD"; fi
  HELD=''
}

clean_up() {
  if [ -n "$CHILD" ]; then
    kill "$CHILD" 2>/dev/null || true
    wait "$CHILD" 2>/dev/null || true
  fi
  release_lock
  rm -rf "$TEMP"
}

# --- downloading ---------------------------------------------------------------------------------
# Results of the functions below: 0 fetched, 1 worth another attempt, 2 not; REASON says why.

run_tool() { # in the background, so that a signal to this script ends the download at once
  local rc=0
  "$@" &
  CHILD=$!
  say "$CHILD" >"$HELD/child"
  wait "$CHILD" || rc=$?
  CHILD=''
  rm -f "$HELD/child"
  return "$rc"
}

transfer() { # continues $PART where it ends
  local progress=$1
  : >"$HEADERS"
  if [ "$TOOL" = curl ]; then
    if [ -n "$progress" ]; then progress=-#; else progress=-s; fi
    run_tool curl "$progress" -fL -C - --max-redirs 20 --connect-timeout 20 --speed-limit 1 --speed-time 60 \
      -D "$HEADERS" -o "$PART" "$URL"
  else
    if [ -n "$progress" ]; then progress=--show-progress; else progress=--no-verbose; fi
    run_tool wget "$progress" -S -o "$HEADERS" -c --tries=1 --timeout=60 -O "$PART" "$URL"
  fi
}

copy_local() {
  local path
  path=$(file_path "$URL")
  if [ ! -f "$path" ]; then
    REASON="$URL: no such file"
    return 2
  fi
  cp "$path" "$PART" 2>/dev/null && return 0
  REASON="$URL could not be copied to $PART"
  return 2
}

judge_status() { # what the HTTP status means; 3: nothing against the transfer
  local status=$1 before=$2
  case $status in
    416) # nothing left to send: the part is whole, or it belongs to another file
      if [ -n "$WANT_SIZE$WANT_SHA" ] && [ -z "$(mismatch "$PART")" ]; then return 0; fi
      rm -f "$PART"
      REASON='the partial file does not fit the one on the server'
      return 1
      ;;
    408 | 429 | 5??) REASON="$URL answered HTTP $status" && return 1 ;;
    4??) REASON="$URL answered HTTP $status" && return 2 ;;
  esac
  is_web_page || return 3
  # A login or error page: an earlier part stays unless something of the page went into it.
  [ "$(size_of "$PART")" = "$before" ] || rm -f "$PART"
  REASON="$URL answered HTTP $status with a web page instead of the file"
  return 2
}

judge_exit() { # what the exit status of curl or wget means
  local rc=$1 status=$2 size
  size=$(size_of "$PART")
  case $TOOL:$rc in
    curl:33 | curl:36) # the server sends whole files only
      rm -f "$PART"
      attempt
      return
      ;;
    curl:23 | wget:3) REASON="$PART could not be written (exit status $rc of $TOOL); is the disk full?" && return 2 ;;
  esac
  if [ "$rc" -ne 0 ] && [ -z "$status" ]; then
    REASON="no answer from $URL (exit status $rc of $TOOL)"
  elif [ "$rc" -ne 0 ] || { [ "$size" -lt "${WANT_SIZE:-0}" ] && [ "$size" != "$SERVER_SIZE" ]; }; then
    REASON="the transfer from $URL broke off at $size of ${WANT_SIZE:-unknown} bytes (exit status $rc of $TOOL)"
  else
    return 0
  fi
  return 1
}

attempt() {
  local before rc=0 verdict=0 status progress=''
  before=$(size_of "$PART")
  case $URL in file://*) copy_local && return 0 || return "$?" ;; esac
  if [ -n "$WANT_SIZE" ] && [ "$before" -eq "$WANT_SIZE" ]; then return 0; fi
  if [ -n "$WANT_SIZE" ] && [ "$before" -gt "$WANT_SIZE" ]; then rm -f "$PART" && before=0; fi
  # No progress bar after a failed probe: it would bring the tool's own error text along.
  if [ -t 2 ]; then case $PROBE_STATUS in 200 | 403) progress=yes ;; esac; fi
  transfer "$progress" || rc=$?
  learn_from_headers
  status=$(status_of_last)
  judge_status "$status" "$before" || verdict=$?
  if [ "$verdict" -eq 3 ]; then
    verdict=0
    judge_exit "$rc" "$status" || verdict=$?
  fi
  [ -s "$PART" ] || rm -f "$PART"
  return "$verdict"
}

download() {
  local count=1 verdict
  PROBE_STATUS=$(status_of_last)
  while :; do
    verdict=0
    attempt || verdict=$?
    if [ "$verdict" -ne 1 ] || [ "$count" -ge "$RETRIES" ]; then return "$verdict"; fi
    count=$((count + 1))
    say "$NAME: $REASON; attempt $count of $RETRIES follows"
    sleep "$RETRY_WAIT"
  done
}

fetch_locked() {
  local problem
  say "$NAME: fetching $URL${SIZE_TEXT:+ ($SIZE_TEXT)}; licence: $LICENCE"
  probe
  if [ -n "$SERVER_SHA" ] && [ "$SERVER_SHA" != "$WANT_SHA" ]; then # not worth the transfer
    REASON="$URL is not the expected file: expected SHA-256 $WANT_SHA, found $SERVER_SHA in the server's answer"
    return 1
  fi
  [ ! -s "$PART" ] || say "$NAME: continuing after $(size_of "$PART") bytes"
  download || return 1
  problem=$(mismatch "$PART")
  if [ -n "$problem" ]; then
    rm -f "$PART"
    REASON="$URL is not the expected file: $problem; removed"
    return 1
  fi
  if ! mv -f "$PART" "$DEST"; then
    REASON="$PART could not be renamed"
    return 1
  fi
  say "$NAME: done: $DEST ($(verified_how))"
}

fetch() { # NAME; everything here may fail without ending the run, so each step is checked by hand
  local result=0
  select_entry "$1"
  already_there && return 0
  if [ -w "$DIR" ]; then
    take_lock || result=1
  else
    REASON="$DIR cannot be written" result=1
  fi
  if [ "$result" -eq 0 ] && { [ "$WAITED" -eq 0 ] || ! already_there; }; then
    fetch_locked || result=1
  fi
  release_lock
  [ "$result" -eq 0 ] || warn "$NAME: failed: $REASON"
  return "$result"
}

# --- the run -------------------------------------------------------------------------------------

chosen_names() {
  local word
  for word in "$@"; do
    case " $NAMES all " in
      *" $word "*) ;;
      *) die "unknown name '$word'; allowed: $NAMES all" ;;
    esac
  done
  case " $* " in
    '  ') say "$DEFAULT_NAMES" ;;
    *' all '*) say "$NAMES" ;;
    *) say "$*" ;;
  esac
}

check_setting() { case $2 in '' | *[!0-9]*) die "$1 must be a whole number, not '$2'" ;; esac }

prepare() {
  RETRIES=${WEIGHTS_RETRIES:-5} RETRY_WAIT=${WEIGHTS_RETRY_WAIT:-3} LOCK_WAIT=${WEIGHTS_LOCK_WAIT:-3600}
  check_setting WEIGHTS_RETRIES "$RETRIES"
  check_setting WEIGHTS_LOCK_WAIT "$LOCK_WAIT"
  case $RETRY_WAIT in *[!0-9.]* | *.*.* | .) die "WEIGHTS_RETRY_WAIT must be a number, not '$RETRY_WAIT'" ;; esac
  BASE_URL=${WEIGHTS_BASE_URL:-${HF_ENDPOINT:-https://huggingface.co}}
  BASE_URL=${BASE_URL%/}
  if have curl; then TOOL=curl; elif have wget; then TOOL=wget; else die 'needs curl or wget; neither was found'; fi
  have sha256sum || have shasum || die 'needs sha256sum or shasum; neither was found'
  if [ -n "${WEIGHTS_SHA256_FILE:-}" ] && [ ! -r "$WEIGHTS_SHA256_FILE" ]; then
    die "WEIGHTS_SHA256_FILE cannot be read: $WEIGHTS_SHA256_FILE"
  fi
  DIR=${CHECKPOINT_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/checkpoints}
  mkdir -p "$DIR" 2>/dev/null || die "the folder $DIR cannot be made"
  HOST=$(uname -n) CHILD='' HELD=''
  TEMP=$(mktemp -d "${TMPDIR:-/tmp}/get_weights.XXXXXX")
  HEADERS=$TEMP/headers
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

main() {
  local word names name failed='' count=0
  for word in "$@"; do
    case $word in -h | --help) usage && exit 0 ;; esac
  done
  names=$(chosen_names "$@")
  prepare
  for name in $names; do
    count=$((count + 1))
    fetch "$name" || failed="$failed $name"
  done
  if [ -n "$failed" ]; then
    # shellcheck disable=SC2086 # the names hold no blanks
    set -- $failed
    warn "get_weights: $# of $count failed: $*"
    exit 1
  fi
  say "get_weights: all $count in $DIR"
}

main "$@"
