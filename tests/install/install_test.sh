#!/usr/bin/env bash
# install_test.sh BUILD_DIR COMPILER VERSION: see CMakeLists.txt. Runs from the source root.
set -euo pipefail
build=$1 compiler=$2 version=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
model=$PWD/models/minilm-l6-mlm
consumer=$PWD/tests/install/consumer
fail() { echo "install_test.sh: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$prefix" >"$work/install.log"
library=$(find "$prefix" -name "libbertie.so.$version")
[[ -n $library ]] || fail "no libbertie.so.$version under the prefix"
objdump -p "$library" | grep "SONAME *libbertie.so.${version%%.*}$" >/dev/null || fail "wrong soname"
# Only what carries BERTIE_API is exported, besides the standard library's own templates (weak symbols).
foreign=$(nm -DC --defined-only "$library" | awk '$2 ~ /^[A-U]$/' | grep -v ' bertie::\| \(vtable\|typeinfo\|typeinfo name\) for bertie::' || true)
[[ -z $foreign ]] || fail "exported without BERTIE_API: $foreign"

# Moved after the installation: nothing in it may hold the old path.
mv "$prefix" "$work/moved"
prefix=$work/moved
library_dir=$(dirname "$(find "$prefix" -name "libbertie.so.$version")")

"$prefix/bin/bertie" --version | grep "$version" >/dev/null || fail "the installed program does not say $version"

cmake -S "$consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$compiler" >"$work/configure.log" ||
  { cat "$work/configure.log"; fail "find_package(bertie) failed"; }
cmake --build "$work/consumer" >"$work/build.log" || { cat "$work/build.log"; fail "the consumer does not build"; }
answer=$("$work/consumer/consumer" "$model")
[[ $answer == "$version capital" ]] || fail "the CMake consumer says '$answer'"

export PKG_CONFIG_PATH=$library_dir/pkgconfig
[[ $(pkg-config --modversion bertie) == "$version" ]] || fail "pkg-config gives another version"
# shellcheck disable=SC2046  # pkg-config's flags are words
"$compiler" "$consumer/main.cc" -o "$work/consumer_pc" $(pkg-config --cflags --libs bertie)
answer=$(LD_LIBRARY_PATH=$library_dir "$work/consumer_pc" "$model")
[[ $answer == "$version capital" ]] || fail "the pkg-config consumer says '$answer'"

# A plugin made outside with a plain compiler, the other one where it is there, loads into a program of the installed library and into
# the installed program.
plugin_compiler=$compiler
for other in clang++ g++; do
  if [[ $(basename "$compiler") != "$other"* ]] && command -v "$other" >/dev/null; then plugin_compiler=$other; fi
done
"$plugin_compiler" -std=c++20 -O2 -fPIC -shared -fvisibility=hidden -I"$prefix/include" "$consumer/scale_plugin.cc" -o "$work/scale.so" ||
  fail "$plugin_compiler does not build the plugin"
# shellcheck disable=SC2046
"$compiler" "$consumer/plugin_user.cc" -o "$work/plugin_user" $(pkg-config --cflags --libs bertie)
export LD_LIBRARY_PATH=$library_dir
expected="my.domain::Scale 'bad': expected x of f32; got x 'input_ids' i64 [batch, sequence]"
answer=$("$work/plugin_user" "$work/scale.so" cpu)
[[ $answer == "plugin scale v1.0: 50 60 10 20"$'\n'"$expected" ]] || fail "the plugin's user says '$answer'"
answer=$("$work/plugin_user" "$work/scale.so" reference)
[[ $answer == "reference_elementwise: 50 60 10 20"$'\n'"$expected" ]] || fail "on the reference device the plugin's user says '$answer'"
unset LD_LIBRARY_PATH
listed=$("$prefix/bin/bertie" inspect "$model" --plugin "$work/scale.so")
[[ $listed == *"plugin  scale v1.0 ($work/scale.so): my.domain::Scale v1"* ]] ||
  fail "the installed program does not list the plugin"
