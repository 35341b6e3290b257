#!/usr/bin/env bash
# tools/gpu_tests.sh [--cpu | --cuda] [FOLDER]
# Tests and measures what needs hardware that few machines have: every instruction set of this CPU, and its NVIDIA GPU. FOLDER
# holds the binaries, anywhere below it: a build (default build/cuda, or build/release where that is missing; configured with
# -DBERTIE_TESTS=ON), or what was carried here: bertie, cpu_test, conformance_test, cuda_conformance_test, cuda_engine_test and
# libbertie_cuda.so. Tests read their data from the source tree that this script is in. --cpu and --cuda run one part alone.
# Without a GPU the cuda part is skipped, or fails where --cuda asked for it. A summary comes last; the exit status is 1 where
# anything failed or was missing.
set -uo pipefail
parts="cpu cuda"
folder=
for argument in "$@"; do
  case $argument in
    --cpu | --cuda) parts=${argument#--} ;;
    -*) echo "tools/gpu_tests.sh: no option $argument (--cpu, --cuda)" >&2; exit 2 ;;
    *)
      [[ -d $argument ]] || { echo "tools/gpu_tests.sh: no folder $argument" >&2; exit 2; }
      folder=$(realpath -- "$argument")
      ;;
  esac
done
cd "$(dirname "$0")/.."
if [[ -z $folder ]]; then
  folder=build/release
  [[ -d build/cuda ]] && folder=build/cuda
fi
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
summary=()
failed=0

# find_binary NAME: its path; nothing where there is none. The release preset puts the program into build/.
find_binary() {
  local found
  found=$(find -L "$folder" -name "$1" -type f -print -quit 2>/dev/null)
  [[ -z $found && $1 == bertie && $folder -ef build/release && -x build/bertie ]] && found=build/bertie
  [[ -z $found ]] || realpath "$found"
}

note() { summary+=("$(printf '%-7s %s' "$1" "$2")"); }
fail() { note FAILED "$1"; failed=1; }

# check TITLE COMMAND...: runs a test program; its output is shown where it fails. One that ran no test fails too.
check() {
  local title=$1 log=$logs/log status=0 start=$SECONDS skipped
  shift
  echo "== $title"
  "$@" >"$log" 2>&1 || status=$?
  if [[ $status != 0 ]]; then
    tail -n 60 "$log"
    fail "$title (exit status $status)"
    return
  fi
  if ! grep -qE '^\[  PASSED  \] [1-9]' "$log"; then
    tail -n 20 "$log"
    fail "$title (no test ran)"
    return
  fi
  skipped=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test.*/, \1 skipped/p' "$log")
  note passed "$title ($(sed -n 's/^\[  PASSED  \] \([0-9]*\) .*/\1/p' "$log") tests$skipped, $((SECONDS - start)) s)"
}

# check_test TITLE NAME [COMMAND...]: a test of the folder, run by a command before its path (env, a checker).
check_test() {
  local title=$1 name=$2 path
  shift 2
  path=$(find_binary "$name")
  if [[ -z $path ]]; then
    fail "$title (no $name in $folder)"
  else
    check "$title" "$@" "$path"
  fi
}

# bench_row LABEL BATCHES SEQUENCES OPTION...: one row of a table, p50 in ms of each sequence and batch.
bench_row() {
  local label=$1 batches=$2 sequences=$3 log=$logs/bench cells= sequence batch milliseconds
  shift 3
  if ! "$bertie" bench --random base --batch "$batches" --sequence "$sequences" --seconds 0.3 --json "$@" >"$log" 2>"$logs/error"; then
    fail "bench $label: $(cat "$logs/error")"
    return
  fi
  for sequence in ${sequences//,/ }; do
    for batch in ${batches//,/ }; do
      milliseconds=$(sed -n "s/.*\"batch\":$batch,\"sequence\":$sequence,.*\"p50_ms\":\([0-9.e+-]*\).*/\1/p" "$log")
      cells+=" $(printf '%.3g' "$milliseconds") |"
    done
  done
  echo "| $label |$cells"
}

# bench_head FIRST BATCHES SEQUENCES: the table's first two lines.
bench_head() {
  local names= lines= sequence batch
  for sequence in ${3//,/ }; do
    for batch in ${2//,/ }; do names+=" $batch x $sequence |" lines+="---|"; done
  done
  printf '\nBERT-base, random weights, batch x length, p50 in ms:\n\n| %s |%s\n|---|%s\n' "$1" "$names" "$lines"
}

# values FIELD DEVICE: a list of `bertie devices`, one a line.
values() {
  "$bertie" devices --json | sed -n "/\"name\":\"$2\"/s/.*\"$1\":\[\([^]]*\)\].*/\1/p" | tr -d '"' | tr , '\n'
}

run_cpu() {
  local isa precision
  lscpu 2>/dev/null | sed -n 's/^Model name: *//p'
  local -a isas
  mapfile -t isas < <(values instruction_sets cpu)
  [[ ${#isas[@]} -gt 0 ]] || fail "cpu: bertie devices names no instruction set"
  for isa in "${isas[@]}"; do
    check_test "cpu_test, $isa" cpu_test env BERTIE_ISA="$isa"
    check_test "conformance_test, $isa" conformance_test env BERTIE_ISA="$isa"
  done
  bench_head "instruction set, precision" 1,8 16,128
  for isa in "${isas[@]}"; do
    [[ $isa == generic ]] && continue  # minutes
    for precision in $(values precisions cpu); do
      BERTIE_ISA=$isa bench_row "$isa, $precision" 1,8 16,128 --precision "$precision"
    done
  done
}

run_cuda() {
  local gpu sanitizer precision
  gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
  if [[ -z $gpu ]]; then
    if [[ $parts == cuda ]]; then fail "cuda (nvidia-smi finds no GPU here)"; else note skipped "cuda (nvidia-smi finds no GPU here)"; fi
    return
  fi
  echo "$gpu"
  BERTIE_CUDA_LIBRARY=$(find_binary libbertie_cuda.so)
  if [[ -z $BERTIE_CUDA_LIBRARY ]]; then
    fail "cuda (no libbertie_cuda.so in $folder)"
    return
  fi
  export BERTIE_CUDA_LIBRARY
  check_test cuda_conformance_test cuda_conformance_test
  check_test cuda_engine_test cuda_engine_test
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  if [[ -x $sanitizer ]]; then
    check_test "cuda_conformance_test, memcheck" cuda_conformance_test "$sanitizer" --tool memcheck --error-exitcode 9
  else
    note skipped "cuda_conformance_test, memcheck (no compute-sanitizer here)"
  fi
  bench_head precision 1,8,32,128 128,384
  for precision in $(values precisions cuda); do
    bench_row "$precision" 1,8,32,128 128,384 --device cuda --precision "$precision"
  done
}

bertie=$(find_binary bertie)
[[ -n $bertie ]] || { echo "tools/gpu_tests.sh: no bertie in $folder: build it, or name the folder with the binaries" >&2; exit 1; }
for part in $parts; do "run_$part"; done
printf '\n== Summary\n'
printf '%s\n' "${summary[@]}"
exit "$failed"
