#!/usr/bin/env python3
"""Draws what calibrators see of one layer's input, before and after shift and migration, and where each would clip.

    tools/plot_calibration.py PATH_OF_BERTIE MODEL TEXTS LAYER > docs/images/calibration.svg

Runs `bertie calibrate --json` once for each method and each panel. Python's own library only.
"""
import json
import math
import subprocess
import sys
import tempfile

METHODS = {"minmax": "#444444", "percentile": "#1f77b4", "mse": "#2ca02c", "entropy": "#d62728"}
PANELS = [("as it is", ["--migration", "off", "--shift", "none"]), ("with shift and migration", [])]
WIDTH, HEIGHT, LEFT, TOP, GAP = 400, 220, 50, 40, 60
BARS = 128


def tensor(program, model, texts, layer, options):
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "calibrate", model, "--data", texts, "-o", folder + "/cache.json", "--json", *options]
        row = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    [found] = [tensor for tensor in row["tensors"] if layer in tensor["layers"]]
    return found


def text(x, y, words, size=12, anchor="start", colour="#222222"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def panel(left, title, tensors):
    """SVG elements: counts by magnitude as a share of the range, on a logarithmic scale, and a line at each threshold."""
    first = next(iter(tensors.values()))
    counts = first["counts"]
    each = len(counts) // BARS
    bars = [sum(counts[i * each:(i + 1) * each]) for i in range(BARS)]
    decades = math.ceil(math.log10(max(bars)))
    parts = [text(left, TOP - 22, f"{title}: |z| up to {first['range']:.3g}", 13),
             text(left, TOP - 6, f"alpha {first['alpha'] if first['alpha'] is not None else '-'}, shift {first['shift']}, "
                  f"error of the outputs {first['error']:.2g}", 11, colour="#666666")]
    for decade in range(decades + 1):
        y = TOP + HEIGHT * (1 - decade / decades)
        parts.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e5e5"/>')
        parts.append(text(left - 6, y + 4, f"1e{decade}", 10, "end", "#666666"))
    for i, count in enumerate(bars):
        if count:
            height = max(HEIGHT * math.log10(count) / decades, 1)
            parts.append(f'<rect x="{left + i * WIDTH / BARS:.2f}" y="{TOP + HEIGHT - height:.1f}" width="{WIDTH / BARS - 0.4:.2f}" '
                         f'height="{height:.1f}" fill="#b8c7d9"/>')
    for place, (method, colour) in enumerate(METHODS.items()):
        x = left + WIDTH * tensors[method]["threshold"] / first["range"]
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}" stroke="{colour}" stroke-width="1.5"/>')
        clipped = tensors[method]["clipped"]
        parts.append(text(left + 4 + place % 2 * WIDTH / 2, TOP + HEIGHT + 18 + place // 2 * 16,
                          f"{method}: {tensors[method]['threshold']:.3g}, clips {100 * clipped:.2g}%", 11, colour=colour))
    return parts


def main():
    program, model, texts, layer = sys.argv[1:]
    parts = [text(LEFT, 16 + 2, f"What {layer} reads, {texts.rsplit('/', 1)[-1]}: values by magnitude", 14)]
    body = []
    for place, (title, options) in enumerate(PANELS):
        tensors = {method: tensor(program, model, texts, layer, [*options, "--method", method]) for method in METHODS}
        body += panel(LEFT + place * (WIDTH + GAP), title, tensors)
    width, height = LEFT + len(PANELS) * (WIDTH + GAP) - GAP + 20, TOP + HEIGHT + 50
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 28}" font-family="sans-serif">')
    print(f'<rect width="{width}" height="{height + 28}" fill="white"/>')
    print("\n".join(parts))
    print('<g transform="translate(0 28)">')
    print("\n".join(body))
    print("</g>\n</svg>")


if __name__ == "__main__":
    main()
