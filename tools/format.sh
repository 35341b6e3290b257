#!/usr/bin/env bash
# tools/format.sh [--check]: formats every tracked C++ file with the pinned clang-format; --check only reports, marks of an unfinished
# merge in any file too.
set -euo pipefail
cd "$(dirname "$0")/.."
clang_format=.venv/bin/clang-format
[[ -x $clang_format ]] || { echo "tools/format.sh: run tools/install_deps.sh lint first" >&2; exit 1; }
options=(-i)
if [[ ${1:-} == --check ]]; then
  options=(--dry-run --Werror)
  if git grep -nIE '^(<{7}|>{7})( |$)'; then exit 1; fi
fi
git ls-files -z '*.h' '*.cc' '*.inc' '*.cu' '*.cuh' | xargs -0 -r "$clang_format" "${options[@]}"
