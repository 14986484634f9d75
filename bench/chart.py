"""Draws times of the benchmark's results: chart.py RESULTS.json CHART.svg."""

import json
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

OURS, PEER = 1, 2  # columns
COLOURS = {OURS: "#2563eb", PEER: "#9ca3af"}


def number(cell):
    try:
        return float(cell)
    except ValueError:
        return None


def main():
    source, target = sys.argv[1:]
    with open(source) as f:
        results = json.load(f)
    rows = []
    for title, *cells in results["rows"]:
        # Rows in milliseconds only: one axis is for one unit.
        if title.endswith("p50, ms") and not title.startswith(" ") and number(cells[0]) is not None:
            rows.append((title[: -len(", p50, ms")], number(cells[0]), number(cells[1])))
    rows.reverse()
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "ds-sandbox"})
    fig, ax = plt.subplots(figsize=(9, 0.46 * len(rows) + 1.3))
    for i, (_, ours, peer) in enumerate(rows):
        for value, offset, kind in ((ours, 0.19 if peer else 0, OURS), (peer, -0.19, PEER)):
            if value is None:
                continue
            ax.barh(i + offset, value, height=0.36, color=COLOURS[kind])
            ax.text(value * 1.06, i + offset, format(value, ".1f" if value < 10 else ".0f"), va="center", fontsize=8, color="#6b7280")
    ax.set_yticks(range(len(rows)), [r[0] for r in rows])
    ax.set_xscale("log")
    ax.set_xlim(right=max(v for r in rows for v in r[1:] if v) * 2.5)
    ax.set_xlabel("milliseconds, median, log scale")
    ax.set_title("; ".join(results[name] for name in ("machine", "kernel", "date")), fontsize=8, loc="right")
    for kind, name in ((OURS, "ds-sandbox"), (PEER, "jupyter_client")):
        ax.barh(0, 0, color=COLOURS[kind], label=name)
    ax.legend(loc="lower right", frameon=False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    fig.tight_layout()
    fig.savefig(target, metadata={"Date": None}, facecolor="white")


main()
