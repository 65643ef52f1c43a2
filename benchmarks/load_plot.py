"""A line plot as SVG. Pure."""

from html import escape

Line = tuple[str, list[tuple[float, float]]]
_WIDTH, _HEIGHT, _LEFT, _TOP = 760, 320, 60, 40
_COLOURS = ("#1f5fa8", "#c2541b", "#3a7d34")


def plot(lines: list[Line], title: str, across: str, up: str) -> str:
    """`lines` over common axes that begin at 0."""
    right = max((x for _, points in lines for x, _ in points), default=1) or 1
    top = 1.1 * (max((y for _, points in lines for _, y in points), default=1) or 1)
    wide, high = _WIDTH - _LEFT - 20, _HEIGHT - _TOP - 40

    def at(x: float, y: float) -> str:
        return f"{_LEFT + wide * x / right:.1f},{_TOP + high * (1 - y / top):.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="11">']
    parts += ['<rect width="100%" height="100%" fill="white"/>', f'<text x="{_LEFT}" y="16" font-size="13">{escape(title)}</text>']
    for step in range(6):
        x, y = right * step / 5, top * step / 5
        (_, y_at), (x_at, _) = at(0, y).split(","), at(x, 0).split(",")
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y_at}" y2="{y_at}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y_at}" text-anchor="end">{y:.0f}</text>')
        parts.append(f'<text x="{x_at}" y="{_HEIGHT - 24}" text-anchor="middle">{x:.0f}</text>')
    parts.append(
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(across)}</text><text x="8" y="{_TOP}">{escape(up)}</text>'
    )
    for number, (name, points) in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{" ".join(at(x, y) for x, y in points)}"/>')
        parts.append(f'<text x="{_LEFT + 160 * number}" y="32" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])
