#!/usr/bin/env python3
"""A roofline plot (SVG) of bertie's steps, from `bertie bench --profile --json`.

    bench/roofline.py [--bertie PROGRAM] [--random minilm | --model MODEL] [--cases 8x128 1x16] [--precisions fp32,int8] [--threads 2]
                      [--rounds 3] [--seconds 0.3] [-o docs/images/roofline.svg]

A panel for each case and precision. Across: operations for each byte that a step must read or write (weights and activations once). Up:
operations a second. The lines are the peaks that `bertie bench` measures beside each case, the best of all panels: memory's slope, and the
products' ceilings, dotted for the precision that is not the panel's. The panels take turns; a step's time is the least of the rounds' medians, as what
interrupts it only makes it slower. A mark is what the layers' steps of one kind reach together; its area is their share of the
time. Above the slope lies what comes from the caches.
"""
import argparse
import json
import math
import os
import re
import string
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 400, 62, 16, 44, 48
COLOURS = {"linear": "#1f77b4", "int8_linear": "#1f77b4", "linear_skip_layer_norm": "#1f77b4", "attention": "#d62728",
           "skip_layer_norm": "#2ca02c", "layer_norm": "#2ca02c", "embedding_layer_norm": "#9467bd", "quantize_rows": "#ff7f0e"}
OTHER = "#7f7f7f"
SMALLEST_SHARE = 0.005  # of the time; what takes less is left out


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def kind_of(step):
    """Layers' steps of one kind have one name but for the numbers in it."""
    return step["op"], re.sub(r"\d+", "#", step["name"])


def marks(row):
    """One for each kind of step: its label, precision, intensity, operations a second and share of the time."""
    kinds = {}
    for step in row["steps"]:
        total = kinds.setdefault(kind_of(step), {"ms": 0, "flops": 0, "bytes": 0, "count": 0, "precision": step["precision"]})
        for field in ("ms", "flops", "bytes"):
            total[field] += step[field]
        total["count"] += 1
    whole = sum(total["ms"] for total in kinds.values())
    for (op, name), total in kinds.items():
        if total["ms"] < SMALLEST_SHARE * whole or not total["flops"] or not total["bytes"]:
            continue
        short = name.split("#.")[-1].removesuffix(".weight")
        yield {"op": op, "label": short if op.endswith("linear") else op, "precision": total["precision"], "share": total["ms"] / whole,
               "intensity": total["flops"] / total["bytes"], "gflops": total["flops"] / total["ms"] / 1e6}


def best_of(rounds):
    """One row of the rows that the rounds gave: the least times, the highest peaks."""
    best = rounds[0]
    for row in rounds[1:]:
        for step, other in zip(best["steps"], row["steps"]):
            step["ms"] = min(step["ms"], other["ms"])
    best["peaks"] = best_peaks(rounds)
    return best


def best_peaks(rows):
    """Of a busy machine the best minute tells what it can do."""
    return {"bandwidth_gbs": max(row["peaks"]["bandwidth_gbs"] for row in rows),
            "gflops": {precision: max(row["peaks"]["gflops"][precision] for row in rows) for precision in rows[0]["peaks"]["gflops"]}}


class Panel:
    def __init__(self, row, peaks, title, x_range, y_range):
        self.row, self.peaks, self.title = row, peaks, title
        self.x_range, self.y_range = x_range, y_range

    def x(self, value):
        low, high = map(math.log10, self.x_range)
        return LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        low, high = map(math.log10, self.y_range)
        return HEIGHT - BOTTOM - (math.log10(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def axes(self):
        yield f'<text x="{LEFT}" y="20" class="title">{escape(self.title)}</text>'
        for axis, (low, high) in (("x", self.x_range), ("y", self.y_range)):
            for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
                value = 10.0 ** power
                if axis == "x":
                    yield (f'<line x1="{self.x(value):.1f}" y1="{TOP}" x2="{self.x(value):.1f}" y2="{HEIGHT - BOTTOM}" class="grid"/>'
                           f'<text x="{self.x(value):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>')
                else:
                    yield (f'<line x1="{LEFT}" y1="{self.y(value):.1f}" x2="{WIDTH - RIGHT}" y2="{self.y(value):.1f}" class="grid"/>'
                           f'<text x="{LEFT - 6}" y="{self.y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
        yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">operations a byte</text>'
        yield f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">G operations/s</text>'

    def roofs(self):
        bandwidth, ceilings = self.peaks["bandwidth_gbs"], self.peaks["gflops"]
        for precision in sorted({"fp32", self.row["precision"]} & ceilings.keys()):
            peak, knee = ceilings[precision], ceilings[precision] / bandwidth
            dotted = ' stroke-dasharray="2 4"' if precision != self.row["precision"] else ""
            yield (f'<line x1="{self.x(knee):.1f}" y1="{self.y(peak):.1f}" x2="{WIDTH - RIGHT}" y2="{self.y(peak):.1f}" class="roof"{dotted}/>'
                   f'<text x="{WIDTH - RIGHT}" y="{self.y(peak) - 5:.1f}" text-anchor="end">{peak:.0f} in {precision}</text>')
        knee, left = ceilings[self.row["precision"]] / bandwidth, max(self.x_range[0], self.y_range[0] / bandwidth)
        yield (f'<line x1="{self.x(left):.1f}" y1="{self.y(left * bandwidth):.1f}" x2="{self.x(knee):.1f}" y2="{self.y(knee * bandwidth):.1f}" '
               f'class="roof"/><text x="{self.x(left) + 34:.1f}" y="{self.y(left * bandwidth) - 30:.1f}">{bandwidth:.0f} GB/s</text>')

    def points(self):
        """Circles with letters, which a list in the empty corner spells out."""
        found = sorted(marks(self.row), key=lambda mark: -mark["share"])
        for letter, mark in zip(string.ascii_lowercase, found):
            x, y, radius = self.x(mark["intensity"]), self.y(mark["gflops"]), 4 + 22 * math.sqrt(mark["share"])
            colour = COLOURS.get(mark["op"], OTHER)
            yield (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity="0.35" stroke="{colour}"/>'
                   f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{letter}</text>')
        top = HEIGHT - BOTTOM - 8 - 14 * (len(found) - 1)
        for line, (letter, mark) in enumerate(zip(string.ascii_lowercase, found)):
            yield (f'<text x="{WIDTH - RIGHT - 240}" y="{top + 14 * line}">{letter}  {escape(mark["label"])}, {100 * mark["share"]:.0f}% of the '
                   'time</text>')

    def svg(self):
        return "\n".join([*self.axes(), *self.roofs(), *self.points()])


def plot(rows, device):
    """rows: lists of panels' rows, one list a line of panels."""
    found = [mark for line in rows for row in line for mark in marks(row)]
    peaks = best_peaks([row for line in rows for row in line])
    x_range = (min(mark["intensity"] for mark in found) / 2, max(mark["intensity"] for mark in found) * 4)
    y_range = (min(mark["gflops"] for mark in found) / 2, 1.6 * max(peaks["gflops"].values()))
    width, height = WIDTH * max(map(len, rows)), HEIGHT * len(rows) + 24
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
             "<style>text{font:11px sans-serif;fill:#333}.title{font-size:13px;font-weight:bold}.grid{stroke:#ddd}"
             ".roof{stroke:#333;stroke-width:1.5}</style>", f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for j, line in enumerate(rows):
        for i, row in enumerate(line):
            title = f'{row["batch"]} x {row["sequence"]} in {row["precision"]}'
            parts.append(f'<g transform="translate({i * WIDTH} {j * HEIGHT})">{Panel(row, peaks, title, x_range, y_range).svg()}</g>')
    parts.append(f'<text x="{LEFT}" y="{height - 8}">{escape(device)}</text></svg>')
    return "\n".join(parts) + "\n"


def profile(arguments, case, precision):
    batch, length = case.split("x")
    command = [arguments.bertie, "bench", *(["--random", arguments.random] if not arguments.model else [arguments.model]), "--batch", batch,
               "--sequence", length, "--precision", precision, "--threads", str(arguments.threads), "--seconds", str(arguments.seconds),
               "--outputs", "last_hidden_state", "--profile", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bertie", default=str(ROOT / "build" / "bertie"), help="the program (default build/bertie)")
    parser.add_argument("--random", default="minilm", help="a shape as `bertie bench --random` takes it (default minilm)")
    parser.add_argument("--model", help="a folder or file, in place of --random")
    parser.add_argument("--cases", nargs="+", default=["8x128", "1x16"], help="BATCHxLENGTH, a line of panels each")
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=["fp32", "int8"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="of measuring before a profile")
    parser.add_argument("-o", "--output", default=str(ROOT / "docs" / "images" / "roofline.svg"))
    arguments = parser.parse_args()

    panels = [[(case, precision) for precision in arguments.precisions] for case in arguments.cases]
    found = {panel: [] for line in panels for panel in line}
    for _ in range(arguments.rounds):
        for panel in found:
            found[panel].append(profile(arguments, *panel))
    rows = [[best_of(found[panel]) for panel in line] for line in panels]
    device = json.loads(subprocess.run([arguments.bertie, "devices", "--json"], capture_output=True, text=True, check=True).stdout.splitlines()[0])
    Path(arguments.output).write_text(plot(rows, f'{arguments.model or arguments.random}, {device["description"]}, {arguments.threads} thread{"s" * (arguments.threads > 1)}'))
    print(f"{arguments.output}: {sum(map(len, rows))} panels")


if __name__ == "__main__":
    main()
