"""The onnx package's own backend node tests, all of them: those of ops that bertie knows must pass, the rest must be refused by name.

usage: node_test.py ONNX_RUNNER [--write] [--verbose]
Which ops, and which forms of known ops, are refused is in refused.txt (written by --write): a line more or less is a failure, and
so is a case that passes or is refused unlike there.
"""

import argparse
import collections
import pathlib
import re
import sys
import warnings

import numpy as np
import onnx
import onnx.backend.test.loader

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cases import Case, run_cases

REFUSED = pathlib.Path(__file__).with_name("refused.txt")
HEAD = "# Refused among the onnx package's node tests: cases, then the op and the reason. Written by node_test.py --write.\n"


def to_array(value):
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def load():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = onnx.backend.test.loader.load_model_tests(kind="node")
    cases, unreadable = [], []
    for test in tests:
        inputs, outputs = test.data_sets[0]
        arrays = [to_array(value) for value in [*inputs, *outputs]]
        plain = all(isinstance(a, (np.ndarray, np.generic)) and a.dtype.kind in "fiub" or getattr(a, "dtype", np.dtype("O")).name == "bfloat16" for a in arrays)
        # Sequences, optionals, strings and packed small types: the graph's inputs are refused before any data is read.
        case = Case(test.name, test.model, arrays[: len(inputs)] if plain else [], arrays[len(inputs) :] if plain else [], test.rtol, test.atol)
        (cases if plain else unreadable).append(case)
    return cases, unreadable


def reasons(message):
    """"1 node of ops that are not supported: Pad (node 'y'); ..." -> ["Pad", ...]; other refusals without names of values."""
    found = re.search(r"that are not supported: (.*)", message)
    if not found:
        return [re.sub(r"'[^']*'", "'...'", message)]
    return [re.sub(r" \((node|\d+ nodes, the first) '.*'\)$", "", part) for part in found[1].split("; ")]


def run_with_constants(runner, cases):
    """Axes, sizes and lengths that the tests feed at run time and networks hold as constants: those cases again, the inputs that were
    refused for it made initializers. How many pass so."""
    pending, again = cases, []
    while True:
        pending = [case for case in pending if case.status == "refused" and re.search(r"input (\d+) is computed at run time", case.message)]
        pending = [case for case in pending if make_constant(case)]
        if not pending:
            return sum(case.status == "passed" for case in again)
        run_cases(runner, pending)
        again.extend(pending)


def make_constant(case):
    found = re.search(r"input (\d+) is computed at run time", case.message)
    nodes = [node for node in case.model.graph.node if len(node.input) > int(found[1])]
    names = [value.name for value in case.model.graph.input]
    wanted = [node.input[int(found[1])] for node in nodes if node.input[int(found[1])] in names]
    if not wanted or len(names) != len(case.inputs):
        return False
    place = names.index(wanted[0])
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(case.inputs[place]), wanted[0]))
    del model.graph.input[place]
    case.model, case.inputs = model, case.inputs[:place] + case.inputs[place + 1 :]
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runner")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    cases, unreadable = load()
    run_cases(arguments.runner, cases + unreadable)
    constant = run_with_constants(arguments.runner, cases)
    status = collections.Counter(case.status for case in cases + unreadable)
    refused = collections.Counter()
    failures = []
    for case in cases + unreadable:
        if case.status == "refused":
            refused.update(set(reasons(case.message)))
        if case.status == "failed":
            failures.append(f"{case.name}: {case.message}")
    found = HEAD + "".join(f"{count:4} {reason}\n" for reason, count in sorted(refused.items(), key=lambda item: item[0]))
    total = sum(status.values())
    print(f"{total} node tests: {status['passed']} passed ({status['passed'] / total:.1%}), "
          f"{status['refused']} refused by name, {status['failed']} failed; of those passed {constant} with axes, sizes or flags as constants")
    for failure in failures:
        print("FAILED", failure)
    if arguments.verbose:
        print(found)
    if arguments.write:
        REFUSED.write_text(found)
    expected = REFUSED.read_text().splitlines() if REFUSED.exists() else []
    for line in set(found.splitlines()) ^ set(expected):
        print("refused.txt differs:", line)
    return 1 if failures or found.splitlines() != expected else 0


if __name__ == "__main__":
    sys.exit(main())
