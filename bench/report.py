"""report.py: what the parts of bench.py share: tables, bars that are met or missed, charts."""
import html
import math

BARS = []  # (part, asked, found, met): met None: only reported


def table(title, rows, columns):
    print(f"\n{title}")
    texts = [[f"{value:.2f}" if isinstance(value, float) else str(value) for value in row] for row in [columns] + rows]
    width = [max(map(len, column)) for column in zip(*texts)]
    words = [not any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(columns))]
    for row in texts:
        print("  ".join(text.ljust(n) if left else text.rjust(n) for text, n, left in zip(row, width, words)).rstrip())


def bar(part, asked, found, met):
    BARS.append((part, asked, found, met))


WORDS = {True: "met", False: "MISSED", None: "-"}


def print_bars():
    table("bars", [[part, asked, found, WORDS[met]] for part, asked, found, met in BARS], ["part", "asked", "found", ""])
    counted = [met for *_, met in BARS if met is not None]
    print(f"{sum(counted)} of {len(counted)} bars met")


def geomean(values):
    values = [value for value in values if not math.isnan(value)]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def keep(best, name, value):
    best[name] = min(value, best.get(name, math.inf))


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return (values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2) if values else math.nan


COLOURS = ["#4a7", "#357", "#c53", "#a4a", "#888", "#b80", "#06a", "#333"]


def svg_bars(title, values, ours, unit):
    """values: (name, value) pairs; names that begin with ours are drawn dark. What is 20 times the least is cut off."""
    values = sorted(values, key=lambda pair: pair[1])
    most = min(values[-1][1], values[0][1] * 20) or 1
    parts = [f"<h3>{html.escape(title)}</h3><svg xmlns='http://www.w3.org/2000/svg' width='760' height='{len(values) * 16 + 4}' "
             "font-family='sans-serif' font-size='12'>"]
    for i, (name, value) in enumerate(values):
        fill = COLOURS[1] if name.startswith(ours) else COLOURS[0]
        parts.append(f"<text x='0' y='{i * 16 + 12}'>{html.escape(name)}</text><text x='270' y='{i * 16 + 12}' "
                     f"text-anchor='end'>{value:,.2f} {unit}</text><rect x='280' y='{i * 16 + 3}' height='11' "
                     f"width='{470 * min(value / most, 1):.0f}' fill='{fill}'/>")
    return "".join(parts) + "</svg>"


def svg_lines(title, lines, xlabel, ylabel, ticks):
    """lines: {name: [(x, y)]}, both axes logarithmic; ticks: {x: text}."""
    width, height, left, bottom = 760, 380, 60, 50
    points = [point for line in lines.values() for point in line]
    low, high = min(y for _, y in points), max(y for _, y in points)
    low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high) + 1e-9)
    least, most = min(x for x, _ in points), max(x for x, _ in points)

    def at(x, y):
        return (left + (width - left - 130) * math.log(x / least) / math.log(most / least),
                (height - bottom) * (1 - math.log(y / low) / math.log(high / low)) + 10)

    parts = [f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' font-family='sans-serif' font-size='12'>"
             f"<rect width='{width}' height='{height}' fill='white'/><text x='{left}' y='{height - 6}'>{html.escape(xlabel)}"
             f"</text><text x='4' y='{height - bottom + 24}'>{html.escape(ylabel)}</text>"]
    for x, text in ticks.items():
        parts.append(f"<text x='{at(x, low)[0]:.0f}' y='{height - 24}' text-anchor='middle'>{text}</text>")
    y = low
    while y <= high:
        parts.append(f"<line x1='{left}' x2='{width - 130}' y1='{at(least, y)[1]:.0f}' y2='{at(least, y)[1]:.0f}' stroke='#ddd'/>"
                     f"<text x='{left - 6}' y='{at(least, y)[1] + 4:.0f}' text-anchor='end'>{y:g}</text>")
        y *= 10
    ends = []
    for i, (name, line) in enumerate(lines.items()):
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in (at(*point) for point in line))
        colour = COLOURS[i % len(COLOURS)]
        end = at(*line[-1])[1]
        while any(abs(end - other) < 13 for other in ends):
            end += 13
        ends.append(end)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"
                     f"<text x='{width - 124}' y='{end + 4:.0f}' fill='{colour}'>{html.escape(name)}</text>")
    return f"<h3>{html.escape(title)}</h3>" + "".join(parts) + "</svg>"
