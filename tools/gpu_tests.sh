#!/usr/bin/env bash
# tools/gpu_tests.sh [--cpu | --cuda] [FOLDER]
# Tests and measures what needs hardware that few machines have: every instruction set of this CPU, and its NVIDIA GPU. FOLDER
# holds the binaries, anywhere below it: a build (default build/cuda, or build/release where that is missing; configured with
# -DBERTIE_TESTS=ON), or what was carried here: bertie, cpu_test, conformance_test, cuda_conformance_test, cuda_linear_test, cuda_engine_test and
# libbertie_cuda.so; shared libraries in a folder lib of it are found before the machine's own. Tests read their data from the source
# tree that this script is in. --cpu and --cuda run one part alone, --cuda in less than 8 minutes on an H100: op conformance, whole
# networks with the soak of 10,000 batches, compute-sanitizer where it works, then times. Without a GPU the cuda part is skipped, or
# fails where --cuda asked for it. A summary comes last; the exit status is 1 where anything failed or was missing.
#
# On a bare machine (a driver, cuBLASLt of CUDA 13, python3), from a build made elsewhere:
#   python3 -c "import tarfile; tarfile.open('build/carry/gpu.tar.xz').extractall('/tmp/gpu')" && tools/gpu_tests.sh --cuda /tmp/gpu
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
[[ -d $folder/lib ]] && export LD_LIBRARY_PATH=$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
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
  sed -n 's/^figure: /   /p' "$log"
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

# check_shards NAME COUNT: a test program of the folder, its tests shared out over so many processes at a time.
check_shards() {
  local name=$1 count=$2 path shard status=0 start=$SECONDS passed=0 skipped
  path=$(find_binary "$name")
  if [[ -z $path ]]; then
    fail "$name (not in $folder)"
    return
  fi
  echo "== $name"
  local -a running=()
  for ((shard = 0; shard < count; ++shard)); do
    GTEST_TOTAL_SHARDS=$count GTEST_SHARD_INDEX=$shard "$path" >"$logs/shard$shard" 2>&1 &
    running+=($!)
  done
  for ((shard = 0; shard < count; ++shard)); do
    wait "${running[shard]}" && continue
    status=1
    tail -n 60 "$logs/shard$shard"
  done
  passed=$(cat "$logs"/shard* | sed -n 's/^\[  PASSED  \] \([0-9]*\) .*/\1/p' | awk '{ sum += $1 } END { print sum + 0 }')
  skipped=$(cat "$logs"/shard* | sed -n 's/^\[  SKIPPED \] \([0-9]*\) test.*/\1/p' | awk '{ sum += $1 } END { if (sum) print ", " sum " skipped" }')
  rm -f "$logs"/shard*
  if [[ $status != 0 || $passed == 0 ]]; then
    fail "$name ($passed tests passed)"
  else
    note passed "$name ($passed tests$skipped, $((SECONDS - start)) s)"
  fi
}

# sanitize TOOL NAME FILTER OPTION...: starts tests of kernels under one of compute-sanitizer's tools; sanitized says how each went. Some machines do
# not let it attach.
sanitizing=()
sanitize() {
  local log=$logs/sanitizer${#sanitizing[@]} tool=$1 name=$2 filter=$3
  shift 3
  (
    start=$SECONDS
    timeout 200 "$sanitizer" --tool "$tool" "$@" --error-exitcode 9 "$(find_binary "$name")" --gtest_filter="$filter" >"$log" 2>&1
    echo "$? $((SECONDS - start))" >"$log.status"
  ) &
  sanitizing+=("$name, $tool${GTEST_SHARD_INDEX:+, part $((GTEST_SHARD_INDEX + 1)) of $GTEST_TOTAL_SHARDS}")
}
sanitized() {
  local i title log status seconds
  wait
  for i in "${!sanitizing[@]}"; do
    title=${sanitizing[i]} log=$logs/sanitizer$i
    read -r status seconds <"$log.status"
    if grep -qE 'Device not supported|Unable to find|LibraryNotLoaded' "$log"; then
      note skipped "$title ($(grep -m1 -oE 'Device not supported|Unable to find.*|LibraryNotLoaded' "$log"))"
    elif [[ $status == 124 ]]; then
      note skipped "$title (not done within 200 s)"
    elif [[ $status != 0 ]] || ! grep -qE '^\[  PASSED  \] [1-9]' "$log"; then
      echo "== $title"
      grep -E '=====|FAILED' "$log" | head -n 40
      fail "$title (exit status $status)"
    else
      note passed "$title ($(sed -n 's/^\[  PASSED  \] \([0-9]*\) .*/\1/p' "$log") tests, $seconds s)"
    fi
  done
}

# figure FIELD ROW: a number of one line of bench's JSON.
figure() { sed -n "s/.*\"$1\":\([0-9.e+-]*\).*/\1/p" <<<"$2"; }

# bench_row FIELD LABEL MODEL BATCHES SEQUENCES OPTION...: one row of a table, a time in ms of each sequence and batch.
bench_row() {
  local field=$1 label=$2 model=$3 batches=$4 sequences=$5 log=$logs/bench cells= sequence batch
  shift 5
  if ! "$bertie" bench --random "$model" --batch "$batches" --sequence "$sequences" --seconds 0.3 --json "$@" >"$log" 2>"$logs/error"; then
    fail "bench $label: $(cat "$logs/error")"
    return
  fi
  for sequence in ${sequences//,/ }; do
    for batch in ${batches//,/ }; do
      cells+=" $(printf '%.3g' "$(figure "$field" "$(grep "\"batch\":$batch,\"sequence\":$sequence," "$log")")") |"
    done
  done
  echo "| $label |$cells"
}

# bench_head WHAT FIRST BATCHES SEQUENCES: the table's first lines.
bench_head() {
  local names= lines= sequence batch
  for sequence in ${4//,/ }; do
    for batch in ${3//,/ }; do names+=" $batch x $sequence |" lines+="---|"; done
  done
  printf '\n%s, random weights, batch x length, ms:\n\n| %s |%s\n|---|%s\n' "$1" "$2" "$names" "$lines"
}

# bench_mixed MIX BATCH LONGEST DENSE: GPU time a token of lengths that vary, over that of DENSE sequences of their mean length.
bench_mixed() {
  local mixed dense common=(bench --random base --device cuda --precision fp16 --seconds 0.3 --json)
  mixed=$("$bertie" "${common[@]}" --mix "$1" --batch "$2" --sequence "$3") || { fail "bench --mix $1"; return; }
  local mean=$((($(figure tokens "$mixed") + $2 / 2) / $2))
  dense=$("$bertie" "${common[@]}" --batch "$2" --sequence "$mean") || { fail "bench of $mean tokens"; return; }
  awk -v mix="$1" -v m="$(figure gpu_p50_ms "$mixed")" -v mt="$(figure tokens "$mixed")" -v d="$(figure gpu_p50_ms "$dense")" \
    -v dt="$(figure tokens "$dense")" -v mean="$mean" -v batch="$2" \
    'BEGIN { printf "%s: %d tokens %.3f ms, dense %d x %d %.3f ms: %.3f of its time a token\n", mix, mt, m, batch, mean, d, m / mt / (d / dt) }'
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
  bench_head BERT-base "instruction set, precision" 1,8 16,128
  for isa in "${isas[@]}"; do
    [[ $isa == generic ]] && continue  # minutes
    for precision in $(values precisions cpu); do
      BERTIE_ISA=$isa bench_row p50_ms "$isa, $precision" base 1,8 16,128 --precision "$precision"
    done
  done
}

run_cuda() {
  local gpu sanitizer precision tool part
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
  check_shards cuda_conformance_test 4
  check_shards cuda_linear_test 4
  check_test cuda_engine_test cuda_engine_test
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  if [[ -x $sanitizer ]]; then
    echo "== compute-sanitizer"
    for ((part = 0; part < 6; ++part)); do GTEST_TOTAL_SHARDS=6 GTEST_SHARD_INDEX=$part sanitize memcheck cuda_conformance_test '*'; done
    # wgmma_attention's lanes read a tile's entry, and one arrives for its warp at the barrier that the next entry waits for: racecheck counts that
    # lane alone.
    sanitize racecheck cuda_conformance_test '*.Attention:*RowOps:*Linear' --kernel-regex-exclude kernel_substring=wgmma_attention
    sanitize racecheck cuda_conformance_test 'CudaInt8Attention*:CudaFp8Attention*:*Tf32Attention*:*PaddedAttention*'
    sanitize synccheck cuda_conformance_test '*Attention*:*RowOps:*Linear'
    for tool in memcheck synccheck; do sanitize "$tool" cuda_linear_test '*TellsOfOverflow:*TellOfOverflow'; done
    sanitize racecheck cuda_linear_test 'CudaSplitLinear.InBfloat16:CudaSplitLinear.TellsOfOverflow'
    sanitized
  else
    note skipped "compute-sanitizer (not here)"
  fi
  "$bertie" devices | sed -n '/^cuda/,/^reference/p' | grep -v '^reference'
  bench_head "BERT-base, GPU time of the steps" precision 1,8,32,128 128,384
  for precision in $(values precisions cuda:0); do
    bench_row gpu_p50_ms "$precision" base 1,8,32,128 128,384 --device cuda --precision "$precision"
  done
  bench_head "BERT-base, Session::run with its copies" precision 1,8,32,128 128,384
  bench_row p50_ms fp16 base 1,8,32,128 128,384 --device cuda --precision fp16
  bench_head "BERT-large, GPU time of the steps" precision 1,32,128 128,384
  bench_row gpu_p50_ms fp16 large 1,32,128 128,384 --device cuda --precision fp16
  printf '\nLengths that vary, BERT-base in fp16, GPU time:\n'
  bench_mixed uniform 256 128
  bench_mixed squad 64 384
}

bertie=$(find_binary bertie)
[[ -n $bertie ]] || { echo "tools/gpu_tests.sh: no bertie in $folder: build it, or name the folder with the binaries" >&2; exit 1; }
for part in $parts; do "run_$part"; done
printf '\n== Summary\n'
printf '%s\n' "${summary[@]}"
exit "$failed"
