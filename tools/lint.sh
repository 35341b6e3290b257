#!/usr/bin/env bash
# tools/lint.sh [FILE.cc...]: the format check, the layering check, and clang-tidy over the files (default: all of the tree's).
# A file is skipped where it, and every project header, is as it was when it last passed.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/format.sh --check
python3 tools/check_layers.py

cmake --preset lint >build/lint.configure.log || { cat build/lint.configure.log; exit 1; }
export passed=build/lint/passed headers
mkdir -p "$passed"
headers=$(git ls-files -z '*.h' .clang-tidy | xargs -0 cat | sha256sum)

check_file() {
  local key
  key=$(cat <(echo "$headers $1") "$1" | sha256sum | cut -d' ' -f1)
  [[ -e $passed/$key ]] && return
  clang-tidy -p build/lint --quiet "$1" 2> >(grep -v 'warnings generated\|non-user code' >&2) && touch "$passed/$key"
}
export -f check_file

# Only what the preset compiles has a compile command.
python3 - "$@" <<'PYTHON' | xargs -0 -r -n1 -P"$(nproc)" bash -c 'check_file "$0"'
import json, os, sys

root = os.getcwd() + os.sep
files = {entry["file"].removeprefix(root) for entry in json.load(open("build/lint/compile_commands.json"))}
wanted = set(sys.argv[1:]) or {f for f in files if not f.startswith("build/")}
for missing in sorted(wanted - files):
    sys.exit(f"tools/lint.sh: {missing}: the lint preset does not compile it")
sys.stdout.write("".join(f + "\0" for f in sorted(wanted & files)))
PYTHON
echo "Linted."
