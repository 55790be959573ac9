"""docs/performance.md's plots, of the figures that `python -m bench` has left in .bench/: `python -m bench.report`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from bench.machine import ROOT
from bench.peers.setup import folder

PLOTS = ROOT / "docs" / "performance"
WIDTH, LABEL, BAR = 800, 330, 22


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """An SVG of one bar for each value."""
    most = max(values.values())
    height = 40 + len(values) * (BAR + 8)
    lines = []
    for number, (name, value) in enumerate(values.items()):
        y = 36 + number * (BAR + 8)
        length = (WIDTH - LABEL - 90) * value / most
        colour = "#2563eb" if name.startswith("tokenhub") else "#9ca3af"
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 16}">{value:,.0f} {escape(unit)}</text>',
        ]
    return _drawn(title, height, lines)


def line(title: str, points: Sequence[tuple[float, float]], across: str) -> str:
    """An SVG of one quantity over another; the last point is told in figures."""
    height, left, top = 260, 90, 40
    furthest, most = max(x for x, _ in points), max(y for _, y in points)
    wide, high = WIDTH - left - 40, height - top - 40
    drawn = " ".join(f"{left + wide * x / furthest:.1f},{top + high * (1 - y / most):.1f}" for x, y in points)
    lines = [
        f'<path d="M{left} {top}V{top + high}H{left + wide}" fill="none" stroke="#9ca3af"/>',
        f'<polyline points="{drawn}" fill="none" stroke="#2563eb" stroke-width="2"/>',
        f'<text x="{left - 8}" y="{top + 10}" text-anchor="end">{most:,.0f}</text>',
        f'<text x="{left - 8}" y="{top + high}" text-anchor="end">0</text>',
        f'<text x="{left + wide}" y="{top + high + 20}" text-anchor="end">{furthest:,.0f} {escape(across)}</text>',
    ]
    return _drawn(title, height, lines)


def _drawn(title: str, height: int, lines: Iterable[str]) -> str:
    """A whole SVG."""
    begins = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="22" font-weight="bold">{escape(title)}</text>',
    ]
    return "\n".join([*begins, *lines, "</svg>", ""])


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
    drained = [(row["seconds"], row["registered"]) for row in read("drain") if row["name"] == "drain"]
    if drained:
        (PLOTS / "drain.svg").write_text(line("Registered, of a million that waited, by one worker", drained, "s"))


if __name__ == "__main__":
    main()
