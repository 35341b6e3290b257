#!/usr/bin/env bash
# tests/fuzz/run_fuzzers.sh SECONDS FUZZER...
# Runs each libFuzzer program for SECONDS from its corpus, tests/fuzz/corpus/<program>; what it finds is left beside the
# program. Fails on the first crash, leak, time-out (10 s an input) or memory use over 2 GiB.
set -euo pipefail
corpora="$(cd "$(dirname "$0")" && pwd)/corpus"
seconds=$1
shift
for fuzzer in "$@"; do
  name=$(basename "$fuzzer")
  found="$(dirname "$fuzzer")/$name.found"
  mkdir -p "$found"
  seeds=()
  if [[ -d "$corpora/$name" ]]; then seeds=("$corpora/$name"); fi
  options=(-rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -verbosity=1 "-artifact_prefix=$found/")
  if [[ -f "$corpora/$name.dict" ]]; then options+=("-dict=$corpora/$name.dict"); fi
  if [[ ${#seeds[@]} -gt 0 ]]; then
    "$fuzzer" "${options[@]}" -runs=0 "${seeds[@]}"  # every seed once, whatever the time
  fi
  work=$(mktemp -d "$found/corpus.XXXXXX")
  "$fuzzer" "${options[@]}" "-max_total_time=$seconds" "$work" "${seeds[@]}"
  rm -rf "$work"
done
