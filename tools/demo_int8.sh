#!/usr/bin/env bash
# tools/demo_int8.sh [PROGRAM]
# Eight bits on the bundled model, from a plain checkpoint: calibrates on real texts, then answers, size, speed and agreement of fp32
# and int8 side by side. Everything it makes lies in build/demo-int8.
set -euo pipefail
cd "$(dirname "$0")/.."
bertie=${1:-build/bertie}
model=models/minilm-l6-mlm
out=build/demo-int8
cache=$out/calibration.json
mkdir -p "$out"

echo "== Calibrating on tests/data/calibration.txt"
"$bertie" calibrate "$model" --data tests/data/calibration.txt -o "$cache" | head -1

echo
echo "== Best answers, fp32 beside int8"
sentences=(
  "The capital of France, [MASK], contains the Eiffel Tower."
  "The sun rises in the [MASK]."
  "Water freezes at zero [MASK] Celsius."
  "She played the [MASK] in a symphony orchestra."
  "He was elected [MASK] of the United States."
)
texts=()
for sentence in "${sentences[@]}"; do texts+=(--text "$sentence"); done
# Of each text, as `run` prints it, its best three candidates on one line.
best_three() {
  awk '/^ / { if (n++ < 3) line = line sprintf("%-24s", $2 " " $1); next } { if (line != "") print line; line = ""; n = 0 } END { if (line != "") print line }'
}
"$bertie" run "$model" --task fill-mask --top-k 3 "${texts[@]}" 2>/dev/null | best_three >"$out/fp32.txt"
"$bertie" run "$model" --task fill-mask --top-k 3 "${texts[@]}" --calibration "$cache" 2>/dev/null | best_three >"$out/int8.txt"
for i in "${!sentences[@]}"; do
  echo "${sentences[$i]}"
  echo "    fp32  $(sed -n "$((i + 1))p" "$out/fp32.txt")"
  echo "    int8  $(sed -n "$((i + 1))p" "$out/int8.txt")"
done

echo
echo "== Size of the engine file, bytes"
"$bertie" build "$model" -o "$out/fp32.bertie"
"$bertie" build "$model" -o "$out/int8.bertie" --calibration "$cache"
for precision in fp32 int8; do printf '    %s  %12d\n' "$precision" "$(stat -c %s "$out/$precision.bertie")"; done

echo
echo "== Speed of the encoder, milliseconds"
cases=(--batch 1,8 --sequence 16,128 --seconds 1)
"$bertie" bench "$model" "${cases[@]}" 2>/dev/null
"$bertie" bench "$model" "${cases[@]}" --calibration "$cache" 2>/dev/null

echo
echo "== Agreement with fp32, every word of tests/data/evaluation.txt masked in turn"
"$bertie" compare "$model" "$model,calibration=$cache" --data tests/data/evaluation.txt --require agreement_led=0.97,agreement=0.91,loss=0.03
