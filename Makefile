# Short names for the presets of CMakePresets.json; each target installs what it needs first (tools/install_deps.sh).
.PHONY: demo demo-int8 test bench format lint install clean
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc)
PREFIX ?= /usr/local

demo:
	@tools/install_deps.sh build
	@cmake --preset release
	@cmake --build --preset release --target bertie
	build/bertie run models/minilm-l6-mlm --task fill-mask \
	  --text "The capital of France, [MASK], contains the Eiffel Tower."

demo-int8:
	@tools/install_deps.sh build
	@cmake --preset release
	@cmake --build --preset release --target bertie
	@tools/demo_int8.sh

test:
	@tools/install_deps.sh build test
	@tools/run_tests.sh

bench:
	@tools/install_deps.sh build bench
	@cmake --preset release -DBERTIE_BENCH=ON
	@cmake --build --preset release
	@.venv/bin/python bench/rivals.py
	@.venv/bin/python bench/startup.py
	@.venv/bin/python bench/scaling.py
	@.venv/bin/python bench/roofline.py -o build/roofline.svg
	@build/release/bench/layer_norm_plugin_bench build/release/examples/layer_norm_plugin/layer_norm_plugin.so

format:
	@tools/install_deps.sh lint
	@tools/format.sh

lint:
	@tools/install_deps.sh build test lint
	@tools/lint.sh

install:
	@tools/install_deps.sh build
	@cmake --preset release
	@cmake --build --preset release
	@cmake --install build/release --prefix $(PREFIX)

clean:
	rm -rf build
