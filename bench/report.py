"""docs/performance.md's plots, of the figures that `python -m bench` has left in .bench/: `python -m bench.report`."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from bench.machine import ROOT
from bench.peers.setup import folder

PLOTS = ROOT / "docs" / "performance"
WIDTH, LABEL, BAR = 760, 300, 22


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """An SVG of one bar for each value."""
    most = max(values.values())
    height = 40 + len(values) * (BAR + 8)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="22" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(values.items()):
        y = 36 + number * (BAR + 8)
        length = (WIDTH - LABEL - 90) * value / most
        colour = "#2563eb" if name.startswith("tokenhub") else "#9ca3af"
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 16}">{value:,.0f} {escape(unit)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def read(suite: str) -> list[dict[str, Any]]:
    """A suite's last figures; none where it was not run."""
    file = folder() / f"{suite}.json"
    return json.loads(file.read_text()) if file.exists() else []


def main() -> None:
    """Draw what there is."""
    PLOTS.mkdir(exist_ok=True)
    launches = {row["name"]: row["per_second"] for row in read("launch") if "70 %" not in row["name"]}
    if launches:
        (PLOTS / "launch.svg").write_text(bars("Launches a second, one core", launches, "/s"))
    rates = {row["name"]: row["per_second"] for row in read("sync") if "per_second" in row}
    if rates:
        (PLOTS / "sync.svg").write_text(bars("Devices a second from changed to registered", rates, "/s"))
    costs = {
        f"{row['name']}, {row['devices']:,}": row["microseconds"] for row in read("scale") if "microseconds" in row
    }
    if costs:
        (PLOTS / "scale.svg").write_text(bars("Cost by the number of devices", dict(sorted(costs.items())), "µs"))


if __name__ == "__main__":
    main()
