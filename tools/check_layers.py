#!/usr/bin/env python3
"""check_layers.py [ROOT]: fails where a folder reaches for one that it must not know.

ARCHITECTURE.md holds the rules, as a table and a line:
  | folder | holds |             folders in include order: each may include only those above it
  Sibling backends: `a`, `b`.    none of these may include another
Besides, every folder of src/ must name in `bertie_library(x DEPENDS ...)` what it includes, public headers may include only
the standard library (of C too: plugin.h) and one another, and examples only public headers.
"""

import itertools
import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
FOLDER = re.compile(r"`([^`]+?)/?`")
LIBRARY = re.compile(r"bertie_library\(\s*(\w+)([^)]*)\)")
SOURCES = {".h", ".cc", ".inc", ".cu", ".cuh"}
PUBLIC = "include/bertie"


class Rules:
    def __init__(self, text):
        self.layer = {}  # folder -> row in the include order
        self.siblings = []
        for row in first_cells(text, "folder"):
            for folder in FOLDER.findall(row):
                self.layer[folder] = len(self.layer)
        line = re.search(r"^Sibling backends:(.*)$", text, re.MULTILINE)
        if line:
            self.siblings = FOLDER.findall(line.group(1))
        if not self.layer:
            raise SystemExit("ARCHITECTURE.md: no table that begins with `| folder |`")

    def may_include(self, folder, target):
        if folder == target:
            return True
        if folder in self.siblings and target in self.siblings:
            return False
        return self.layer[target] < self.layer[folder]


def first_cells(text, heading):
    """The first cell of each row below the table head `| heading | ...`."""
    inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.split("|")[1].strip() == heading:
            inside = True
        elif inside:
            yield line.split("|")[1]


def folder_of(path, layer):
    """The listed folder that holds `path`, the innermost where several do."""
    parents = [str(p) for p in Path(path).parents if str(p) in layer]
    return parents[0] if parents else None


def resolve(root, path, include, layer):
    """The repository path that a quoted include names, or None."""
    for candidate in (f"include/{include}", f"src/{include}", f"{Path(path).parent}/{include}"):
        if (root / candidate).is_file():
            return candidate
    # A header that is not there yet still names its folder.
    return next((f"{base}/{include}" for base in ("include", "src") if folder_of(f"{base}/{include}", layer)), None)


def check(root):
    rules = Rules((root / "ARCHITECTURE.md").read_text())
    problems = []
    depends = {}
    for cmake in sorted(root.glob("src/*/CMakeLists.txt")):
        folder = f"src/{cmake.parent.name}"
        if folder not in rules.layer:
            problems.append(f"{folder}: not in ARCHITECTURE.md's table")
            continue
        match = LIBRARY.search(re.sub(r"#.*", "", cmake.read_text()))
        words = match.group(2).split() if match else []
        begin = words.index("DEPENDS") + 1 if "DEPENDS" in words else len(words)
        named = itertools.takewhile(lambda word: word not in ("LIBRARIES", "ALONE"), words[begin:])
        depends[folder] = {f"src/{name}" for name in named}
        for target in sorted(depends[folder]):
            if target not in rules.layer:
                problems.append(f"{folder}/CMakeLists.txt: DEPENDS on {target}, which ARCHITECTURE.md does not list")
            elif not rules.may_include(folder, target):
                problems.append(f"{folder}/CMakeLists.txt: DEPENDS on {target}, which is not above it")

    for top in ("include", "src", "apps", "examples"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in SOURCES:
                continue
            path = str(file.relative_to(root))
            folder = folder_of(path, rules.layer)
            if folder is None:
                problems.append(f"{path}: its folder is not in ARCHITECTURE.md's table")
                continue
            text = file.read_text()
            for match in INCLUDE.finditer(text):
                quote, include = match.groups()
                line = text.count("\n", 0, match.start(2)) + 1
                reason = refusal(root, rules, depends, path, folder, quote, include)
                if reason:
                    problems.append(f"{path}:{line}: includes {include}: {reason}")
    return problems


def refusal(root, rules, depends, path, folder, quote, include):
    """Why `path` may not include `include`, or None."""
    if quote == "<":
        if folder == PUBLIC and not re.fullmatch(r"[a-z_]+|std(def|int)\.h", include):
            return "public headers include only the standard library and one another"
        if folder != "examples" or not include.startswith("bertie/"):
            return None
    if ".." in include:
        return "write the path from src/"
    target_path = resolve(root, path, include, rules.layer)
    target = folder_of(target_path, rules.layer) if target_path else None
    if target is None:
        return "no such file in this project"
    if target == PUBLIC:
        return None
    if folder == "examples" and Path(target_path).parent == Path(path).parent != Path(folder):
        return None  # an example of several files
    if folder == PUBLIC or folder == "examples":
        return f"{folder} uses only public headers"
    if folder in rules.siblings and target in rules.siblings and folder != target:
        return f"{target} is a sibling backend"
    if not rules.may_include(folder, target):
        return f"{target} is below {folder}"
    if folder != target and folder in depends and target not in depends[folder]:
        return f"{folder}/CMakeLists.txt does not name {target} in DEPENDS"
    return None


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    problems = check(root)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
