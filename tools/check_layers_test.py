"""Tests of check_layers.py on small trees that each break one rule."""

import tempfile
import unittest
from pathlib import Path

import check_layers

ARCHITECTURE = """# Map
| folder | holds |
|---|---|
| `include/bertie/` | public headers |
| `src/base/` | base |
| `src/network/` | ops |
| `src/cpu/` `src/cuda/` | backends |
| `src/engine/` | engine |
| `apps/bertie/` | program |
| `examples/` | examples |

Sibling backends: `src/cpu/`, `src/cuda/`.

| word | meaning |
|---|---|
| `src/elsewhere/` | not a layer |
"""

GOOD = {
    "ARCHITECTURE.md": ARCHITECTURE,
    "include/bertie/base.h": "#include <string>\n",
    "include/bertie/engine.h": '#include "bertie/base.h"\n#include <cstddef>\n',
    "src/base/CMakeLists.txt": "bertie_library(base LIBRARIES fmt::fmt)\n",
    "src/base/error.h": '#include <fmt/format.h>\n#include "bertie/base.h"\n',
    "src/network/CMakeLists.txt": "bertie_library(network DEPENDS base)\n",
    "src/network/op.h": '#include "base/error.h"\n',
    "src/cpu/CMakeLists.txt": "bertie_library(cpu DEPENDS network base LIBRARIES x::y)\n",
    "src/cpu/kernels/gemm.h": '#include "cpu/kernels/vec.h"\n',
    "src/cpu/kernels/vec.h": "",
    "src/cpu/linear.cc": '#include "network/op.h"\n#include "cpu/kernels/gemm.h"\n#include "kernels/gemm.h"\n',
    "src/cuda/CMakeLists.txt": "bertie_library(cuda DEPENDS network base\n  ALONE linear.cc)\n",
    "src/cuda/stream.h": '#include "base/error.h"\n',
    "src/engine/CMakeLists.txt": "bertie_library(engine\n  DEPENDS cpu cuda network\n  LIBRARIES x::y ALONE a.cc)  # base too\n",
    "src/engine/engine.cc": '#include "cpu/kernels/gemm.h"\n#include "bertie/engine.h"\n',
    "apps/bertie/main.cc": '#include "engine/session.h"\n#include "bertie/engine.h"\n',
    "src/engine/session.h": "",
    "examples/hello.cc": "#include <bertie/engine.h>\n",
    "examples/plugin/plugin.cc": '#include "stages.h"\n#include "bertie/engine.h"\n',
    "examples/plugin/stages.h": "",
}

# (file, what is put in place of its text, what the one complaint says)
BROKEN = [
    ("src/base/error.h", '\n#include "network/op.h"\n', "src/base/error.h:2: includes network/op.h: src/network is below src/base"),
    ("src/cpu/linear.cc", '#include "cuda/stream.h"\n', "src/cuda is a sibling backend"),
    ("src/cpu/kernels/gemm.h", '  #  include "engine/session.h"\n', "src/engine is below src/cpu"),
    ("src/engine/engine.cc", '#include "base/error.h"\n', "src/engine/CMakeLists.txt does not name src/base in DEPENDS"),
    ("src/engine/engine.cc", '#include "../base/error.h"\n', "write the path from src/"),
    ("src/engine/engine.cc", '#include "nowhere/error.h"\n', "no such file in this project"),
    ("src/network/op.h", '#include "cpu/not_written_yet.h"\n', "src/cpu is below src/network"),
    ("src/network/CMakeLists.txt", "bertie_library(network DEPENDS base cpu)\n", "DEPENDS on src/cpu, which is not above it"),
    ("src/cuda/CMakeLists.txt", "bertie_library(cuda DEPENDS base network cpu)\n", "DEPENDS on src/cpu, which is not above it"),
    ("src/network/CMakeLists.txt", "bertie_library(network DEPENDS base gone)\n", "DEPENDS on src/gone, which ARCHITECTURE.md"),
    ("src/new/CMakeLists.txt", "bertie_library(new)\n", "src/new: not in ARCHITECTURE.md's table"),
    ("src/elsewhere/x.cc", "", "src/elsewhere/x.cc: its folder is not in ARCHITECTURE.md's table"),
    ("include/bertie/base.h", "#include <fmt/format.h>\n", "public headers include only the standard library"),
    ("include/bertie/base.h", '#include "base/error.h"\n', "include/bertie uses only public headers"),
    ("examples/hello.cc", '#include "engine/session.h"\n', "examples uses only public headers"),
    ("examples/plugin/plugin.cc", '#include "engine/session.h"\n', "examples uses only public headers"),
]


class CheckLayersTest(unittest.TestCase):
    def problems(self, changes):
        with tempfile.TemporaryDirectory() as folder:
            for path, text in {**GOOD, **changes}.items():
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return check_layers.check(Path(folder))

    def test_good_tree_passes(self):
        self.assertEqual(self.problems({}), [])

    def test_each_broken_rule_is_named_once(self):
        for path, text, complaint in BROKEN:
            with self.subTest(complaint):
                problems = self.problems({path: text})
                self.assertEqual(len(problems), 1, problems)
                self.assertIn(complaint, problems[0])

    def test_a_map_without_the_table_is_refused(self):
        with self.assertRaises(SystemExit):
            self.problems({"ARCHITECTURE.md": "# Map\n"})


if __name__ == "__main__":
    unittest.main()
