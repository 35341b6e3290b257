#!/usr/bin/env bash
# tools/install_deps.sh GROUP...   (build, test, lint, bench)
# Installs what the groups need and this machine lacks: packages of Debian 12+ or Ubuntu 22.04+ through apt-get (as root or
# with sudo), and the pinned packages of tools/requirements.txt (test, lint, bench) and bench/requirements.txt (bench) into
# .venv. Nothing is done, and nothing printed, where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=(
  [build]="cmake ninja-build g++ pkg-config libfmt-dev nlohmann-json3-dev libcli11-dev libutf8proc-dev libonig-dev libxxhash-dev libprotobuf-dev protobuf-compiler"
  [test]="git ccache clang libgtest-dev libgmock-dev python3 python3-venv"
  [lint]="git clang clang-tidy python3 python3-venv"
  [bench]="libbenchmark-dev python3 python3-venv"
)
# Where a distribution ships clang's run-time libraries apart, the sanitizers need them.
declare -A packages_if_known=([test]="libclang-rt-dev")

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

missing=()
requirements=()
for group in "$@"; do
  [[ -v packages[$group] ]] || { echo "tools/install_deps.sh: no group '$group' (build, test, lint, bench)" >&2; exit 2; }
  for package in ${packages[$group]}; do installed "$package" || missing+=("$package"); done
  case $group in
    test | lint) requirements+=(tools) ;;
    bench) requirements+=(tools bench) ;;
  esac
done

if ! command -v apt-get >/dev/null; then
  echo "tools/install_deps.sh: no apt-get here; this machine must provide: $*" >&2
elif [[ ${#missing[@]} -gt 0 ]]; then
  as_root=()
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || { echo "tools/install_deps.sh: run as root or install sudo, to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }; }
  quietly "${as_root[@]}" apt-get -q update
  for group in "$@"; do
    for package in ${packages_if_known[$group]:-}; do
      if ! installed "$package" && [[ -n $(apt-cache madison "$package") ]]; then missing+=("$package"); fi
    done
  done
  echo "Installing with apt-get: ${missing[*]}"
  quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q install -y --no-install-recommends "${missing[@]}"
fi

for folder in "${requirements[@]}"; do
  stamp=.venv/$folder-requirements.installed
  cmp -s "$folder/requirements.txt" "$stamp" && continue
  echo "Installing with pip into .venv: $folder/requirements.txt"
  [[ -x .venv/bin/python ]] || python3 -m venv .venv
  # Everything is pinned, what the packages themselves need included, so that none of them pulls in PyTorch.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r "$folder/requirements.txt"
  cp "$folder/requirements.txt" "$stamp"
done
