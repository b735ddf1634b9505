"""Places: the backgrounds dogs stand before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw

from helpers.samples.bones import cos_sin
from helpers.samples.breeds import RGB


@dataclass
class Place:
    """A background under the brush: (0, 0) is the picture's upper left corner, (1, 1) its lower right one."""

    image: Image.Image
    rng: random.Random
    ground: float  # where the dog will stand

    def __post_init__(self) -> None:
        self.draw = ImageDraw.Draw(self.image)
        self.size = self.image.width

    def gradient(self, top: float, bottom: float, first: RGB, last: RGB) -> None:
        """A band over the whole width."""
        column = Image.new("RGB", (1, 2))
        column.putpixel((0, 0), _ints(first))
        column.putpixel((0, 1), _ints(last))
        height = max(1, round((bottom - top) * self.size))
        self.image.paste(column.resize((self.size, height), Image.Resampling.BILINEAR), (0, round(top * self.size)))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: RGB) -> None:
        """Around (x, y)."""
        s = self.size
        self.draw.ellipse([(x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s], fill=_ints(colour))

    def box(self, left: float, top: float, right: float, bottom: float, colour: RGB) -> None:
        """A rectangle."""
        s = self.size
        if right * s >= left * s + 1 and bottom * s >= top * s + 1:
            self.draw.rectangle([left * s, top * s, right * s - 1, bottom * s - 1], fill=_ints(colour))

    def polygon(self, points: Iterable[tuple[float, float]], colour: RGB) -> None:
        """Filled."""
        self.draw.polygon([(x * self.size, y * self.size) for x, y in points], fill=_ints(colour))

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: RGB, width: float) -> None:
        """From (x0, y0) to (x1, y1)."""
        s = self.size
        self.draw.line([x0 * s, y0 * s, x1 * s, y1 * s], fill=_ints(colour), width=max(1, round(width * s)))

    def vary(self, colour: RGB, amount: float = 14) -> RGB:
        """The colour, a little lighter or darker, warmer or colder."""
        lift = self.rng.uniform(-amount, amount)
        return (
            colour[0] + lift + self.rng.uniform(-5, 5),
            colour[1] + lift,
            colour[2] + lift + self.rng.uniform(-5, 5),
        )

    def clouds(self, lowest: float) -> None:
        """None to three."""
        for _ in range(self.rng.randrange(4)):
            x, y, r = self.rng.random(), self.rng.uniform(0.05, lowest), self.rng.uniform(0.04, 0.07)
            for dx, dy, k in ((-1.2, 0.15, 0.7), (0, -0.2, 1.0), (1.1, 0.1, 0.8), (0.2, 0.25, 0.9)):
                self.ellipse(x + dx * r, y + dy * r, 1.15 * k * r, 0.75 * k * r, (252, 252, 255))

    def hills(self, horizon: float, colour: RGB, height: float = 0.12) -> None:
        """A row of them."""
        x = self.rng.uniform(-0.2, 0.1)
        while x < 1.1:
            r = self.rng.uniform(0.22, 0.42)
            self.ellipse(
                x + r, horizon + 0.06, r * 1.2, height * self.rng.uniform(0.7, 1.4) + 0.06, self.vary(colour, 8)
            )
            x += r

    def tree(self, x: float, foot: float, height: float, leaves: RGB) -> None:
        """Round."""
        self.box(x - 0.02, foot - 0.4 * height, x + 0.02, foot, (122, 86, 62))
        for dx, dy, r in ((-0.16, 0.55, 0.22), (0.16, 0.58, 0.22), (0, 0.76, 0.27)):
            self.ellipse(x + dx * height, foot - dy * height, r * height, r * height, self.vary(leaves, 10))

    def fir(self, x: float, foot: float, height: float, needles: RGB, snowy: bool) -> None:
        """Pointed."""
        for level in range(3):
            base, top, w = (
                foot - 0.27 * height * level,
                foot - (0.5 + 0.25 * level) * height,
                (0.27 - 0.06 * level) * height,
            )
            self.polygon([(x - w, base), (x, top), (x + w, base)], needles)
            if snowy:
                self.polygon(
                    [(x - 0.4 * w, top + 0.4 * (base - top)), (x, top), (x + 0.4 * w, top + 0.4 * (base - top))],
                    (246, 250, 255),
                )

    def scatter(self, count: int, top: float, bottom: float) -> Iterable[tuple[float, float, float]]:
        """(x, y, nearness 0..1) of things lying about, those in front last."""
        for y in sorted(self.rng.uniform(top, bottom) for _ in range(count)):
            yield self.rng.random(), y, (y - top) / (bottom - top)


def _ints(colour: RGB) -> tuple[int, int, int]:
    r, g, b = (min(255, max(0, int(c))) for c in colour)
    return r, g, b


def _meadow(p: Place) -> None:
    rng, horizon = p.rng, p.rng.uniform(0.42, 0.60)
    p.gradient(0, horizon + 0.05, p.vary((140, 200, 238)), p.vary((220, 238, 246), 6))
    p.clouds(horizon - 0.15)
    p.hills(horizon, (142, 188, 128))
    for _ in range(rng.randrange(3)):
        p.tree(rng.random(), horizon + 0.05, rng.uniform(0.28, 0.48), (92, 150, 88))
    green = p.vary((134, 186, 92), 18)
    p.gradient(horizon + 0.03, 1, green, (green[0] - 38, green[1] - 36, green[2] - 30))
    if rng.random() < 0.35:
        for i in range(9):
            x = i * 0.13 + 0.02
            p.polygon(
                [
                    (x, horizon + 0.16),
                    (x, horizon - 0.06),
                    (x + 0.03, horizon - 0.10),
                    (x + 0.06, horizon - 0.06),
                    (x + 0.06, horizon + 0.16),
                ],
                (240, 232, 216),
            )
        p.box(0, horizon, 1, horizon + 0.03, (228, 218, 200))
    flower = p.vary(rng.choice([(250, 246, 240), (250, 206, 76), (236, 120, 140), (150, 130, 220)]), 6)
    for x, y, near in p.scatter(70, horizon + 0.06, 1.0):
        h, lift = 0.018 + 0.04 * near, rng.uniform(-26, 18)
        p.line(
            x,
            y,
            x + rng.uniform(-0.012, 0.012),
            y - h,
            (green[0] - 30 + lift, green[1] - 24 + lift, green[2] - 30 + lift),
            0.006,
        )
    for x, y, near in p.scatter(rng.randrange(16), horizon + 0.08, 1.0):
        p.ellipse(x, y, 0.007 + 0.010 * near, 0.006 + 0.008 * near, flower)


def _beach(p: Place) -> None:
    rng, horizon = p.rng, p.rng.uniform(0.32, 0.46)
    p.gradient(0, horizon, p.vary((120, 194, 236)), (226, 242, 246))
    p.clouds(horizon - 0.1)
    shore = horizon + rng.uniform(0.12, 0.22)
    p.gradient(horizon, shore + 0.03, p.vary((50, 138, 178)), p.vary((124, 206, 208)))
    if rng.random() < 0.5:
        x, s = rng.random(), rng.uniform(0.06, 0.10)
        p.polygon([(x, horizon - 1.6 * s), (x, horizon - 0.15 * s), (x + s, horizon - 0.15 * s)], (255, 252, 246))
        p.polygon(
            [
                (x - 0.7 * s, horizon - 0.1 * s),
                (x + 1.1 * s, horizon - 0.1 * s),
                (x + 0.7 * s, horizon + 0.2 * s),
                (x - 0.4 * s, horizon + 0.2 * s),
            ],
            (188, 78, 66),
        )
    for _ in range(8):
        x, y = rng.random(), rng.uniform(horizon + 0.02, shore)
        p.line(x, y, x + rng.uniform(0.04, 0.14), y, (206, 236, 240), 0.005)
    sand = p.vary((236, 212, 160), 14)
    p.gradient(shore, 1, sand, (sand[0] - 24, sand[1] - 28, sand[2] - 34))
    for i in range(12):
        p.ellipse(i / 11, shore, 0.07, 0.016 + 0.012 * rng.random(), (246, 250, 250))
    for i in range(12):
        p.ellipse(i / 11, shore + 0.024, 0.07, 0.018, (sand[0] - 14, sand[1] - 16, sand[2] - 16))
    if rng.random() < 0.4:
        x, y, r = rng.choice([0.1, 0.9]), shore - 0.05, 0.20
        p.line(x, y, x, y + 0.32, (250, 246, 240), 0.014)
        arc = [cos_sin(15 * i) for i in range(13)]
        p.polygon([(x + r * cos, y - r * sin) for cos, sin in arc], p.vary((222, 84, 74)))
        for k in (-0.5, 0.5):
            p.polygon([(x, y - r), (x + (k - 0.22) * r, y), (x + (k + 0.22) * r, y)], (252, 246, 234))
    for x, y, near in p.scatter(60, shore + 0.05, 1.0):
        p.ellipse(x, y, 0.004 + 0.005 * near, 0.002 + 0.003 * near, (sand[0] - 40, sand[1] - 44, sand[2] - 44))


def _room(p: Place) -> None:
    rng, floor = p.rng, p.rng.uniform(0.60, 0.72)
    wall = p.vary(rng.choice([(240, 222, 190), (186, 210, 206), (224, 188, 176), (196, 200, 222), (212, 220, 176)]), 10)
    stripe = (wall[0] - 12, wall[1] - 12, wall[2] - 10)
    p.box(0, 0, 1, floor, wall)
    if rng.random() < 0.5:
        for i in range(11):
            p.box(i * 0.1, 0, i * 0.1 + 0.045, floor, stripe)
    else:
        for i in range(10):
            for j in range(8):
                p.ellipse(0.05 + 0.11 * i + 0.055 * (j % 2), 0.05 + 0.1 * j, 0.012, 0.012, stripe)
    x = rng.uniform(0.05, 0.6)
    if rng.random() < 0.6:  # a window
        p.box(x, 0.06, x + 0.36, 0.42, (250, 248, 242))
        p.box(x + 0.02, 0.08, x + 0.34, 0.40, p.vary((168, 214, 240)))
        p.ellipse(x + 0.18, 0.42, 0.15, 0.10, (140, 190, 128))
        p.box(x - 0.01, 0.40, x + 0.37, 0.44, (250, 248, 242))
        p.box(x + 0.17, 0.08, x + 0.19, 0.40, (250, 248, 242))
        p.box(x + 0.02, 0.23, x + 0.34, 0.25, (250, 248, 242))
    else:  # a picture and a lamp
        p.box(x, 0.10, x + 0.30, 0.36, (140, 98, 66))
        p.box(x + 0.025, 0.125, x + 0.275, 0.335, p.vary((226, 232, 214)))
        p.polygon(
            [(x + 0.04, 0.33), (x + 0.12, 0.19), (x + 0.18, 0.27), (x + 0.21, 0.23), (x + 0.26, 0.33)],
            p.vary((116, 150, 160)),
        )
        lamp = (x + 0.62) % 1.0
        p.line(lamp, 0.30, lamp, floor, (110, 84, 70), 0.016)
        p.polygon(
            [(lamp - 0.11, 0.32), (lamp - 0.06, 0.16), (lamp + 0.06, 0.16), (lamp + 0.11, 0.32)],
            p.vary((246, 212, 130)),
        )
    wood = p.vary(rng.choice([(196, 150, 104), (168, 122, 86), (216, 182, 136)]), 12)
    p.gradient(floor, 1, wood, (wood[0] - 26, wood[1] - 26, wood[2] - 24))
    p.box(0, floor - 0.035, 1, floor, (248, 244, 236))
    boards = [floor + (1 - floor) * share for share in (0, 0.14, 0.38, 0.67, 1)]
    for i, (y, end) in enumerate(pairwise(boards)):
        p.line(0, y, 1, y, (wood[0] - 40, wood[1] - 38, wood[2] - 34), 0.006)
        for k in range(3):
            joint = (0.37 * k + 0.21 * i) % 1.0
            p.line(joint, y, joint, end, (wood[0] - 40, wood[1] - 38, wood[2] - 34), 0.005)
    if rng.random() < 0.7:
        rug = p.vary(rng.choice([(190, 84, 76), (80, 116, 158), (104, 146, 112), (226, 182, 96)]), 12)
        p.ellipse(0.5, p.ground - 0.01, 0.48, 0.11, (rug[0] * 0.8, rug[1] * 0.8, rug[2] * 0.8))
        p.ellipse(0.5, p.ground - 0.015, 0.45, 0.095, rug)
        p.ellipse(0.5, p.ground - 0.015, 0.36, 0.070, (rug[0] + 22, rug[1] + 22, rug[2] + 22))


def _street(p: Place) -> None:
    rng, kerb = p.rng, p.rng.uniform(0.58, 0.68)
    p.gradient(0, kerb, p.vary((176, 208, 230)), (234, 238, 238))
    x = -rng.uniform(0, 0.2)
    while x < 1:
        w, roof = rng.uniform(0.22, 0.36), rng.uniform(0.06, 0.24)
        wall = p.vary(
            rng.choice([(204, 132, 108), (236, 204, 152), (168, 186, 196), (222, 176, 166), (178, 196, 160)]), 10
        )
        p.box(x, roof + 0.08, x + w, kerb, wall)
        p.polygon(
            [(x - 0.01, roof + 0.09), (x + w / 2, roof - 0.03), (x + w + 0.01, roof + 0.09)], p.vary((136, 84, 76), 10)
        )
        pane = p.vary((96, 122, 144), 10)
        for row in range(2):
            for column in (0.16, 0.58):
                wx, wy = x + column * w, roof + 0.14 + 0.17 * row
                p.box(wx - 0.008, wy - 0.008, wx + 0.26 * w + 0.008, wy + 0.108, (246, 240, 228))
                p.box(wx, wy, wx + 0.26 * w, wy + 0.10, pane)
        p.box(x + 0.40 * w, kerb - 0.13, x + 0.62 * w, kerb, p.vary((96, 68, 72), 20))
        x += w
    stone = p.vary((190, 186, 184), 14)
    p.gradient(kerb, 1, stone, (stone[0] - 30, stone[1] - 30, stone[2] - 26))
    joint = (stone[0] - 36, stone[1] - 36, stone[2] - 32)
    for k in (0.0, 0.10, 0.28, 0.58):
        p.line(0, kerb + (1 - kerb) * k, 1, kerb + (1 - kerb) * k, joint, 0.006)
    for i in range(-6, 13):
        p.line(0.5 + (i - 3) * 0.10, kerb, 0.5 + (i - 3) * 0.26, 1, joint, 0.005)
    if rng.random() < 0.5:
        x = rng.choice([rng.uniform(0.02, 0.2), rng.uniform(0.8, 0.98)])
        p.line(x, 0.16, x, kerb + 0.03, (70, 78, 84), 0.018)
        p.ellipse(x, 0.13, 0.045, 0.045, (255, 240, 190))


def _snow(p: Place) -> None:
    rng, horizon = p.rng, p.rng.uniform(0.45, 0.60)
    p.gradient(0, horizon + 0.1, p.vary((164, 186, 214), 16), (228, 234, 242))
    p.hills(horizon, (214, 224, 238), 0.16)
    for _ in range(rng.randrange(2, 6)):
        p.fir(rng.random(), horizon + 0.07, rng.uniform(0.24, 0.46), p.vary((82, 122, 112), 10), snowy=True)
    p.gradient(horizon + 0.05, 1, (244, 247, 252), p.vary((212, 222, 238), 6))
    for _ in range(3):
        p.ellipse(rng.random(), rng.uniform(horizon + 0.12, 1), rng.uniform(0.2, 0.4), 0.02, (232, 238, 248))
    for x, y, near in p.scatter(50, 0, 1.0):
        r = 0.004 + 0.005 * near
        p.ellipse(x, y, r, r, (255, 255, 255))


def _autumn(p: Place) -> None:
    rng, horizon = p.rng, p.rng.uniform(0.48, 0.60)
    p.gradient(0, horizon + 0.1, p.vary((226, 206, 176)), (246, 230, 200))
    leaves: list[RGB] = [(214, 122, 56), (226, 164, 66), (184, 82, 52), (162, 134, 66)]
    p.hills(horizon, (204, 168, 112), 0.14)
    for _ in range(rng.randrange(3, 6)):
        p.tree(rng.random(), horizon + 0.08, rng.uniform(0.36, 0.60), rng.choice(leaves))
    earth = p.vary((176, 138, 92), 12)
    p.gradient(horizon + 0.05, 1, earth, (earth[0] - 36, earth[1] - 34, earth[2] - 26))
    for x, y, near in p.scatter(80, horizon + 0.08, 1.0):
        p.ellipse(x, y, 0.006 + 0.016 * near, 0.004 + 0.008 * near, p.vary(rng.choice(leaves), 16))


def _dusk(p: Place) -> None:
    rng, horizon = p.rng, p.rng.uniform(0.50, 0.62)
    p.gradient(0, horizon + 0.1, p.vary((92, 92, 150)), p.vary((246, 180, 140), 10))
    p.ellipse(rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.3), 0.06, 0.06, (255, 244, 214))
    p.hills(horizon, (120, 108, 146), 0.16)
    p.hills(horizon + 0.04, (92, 96, 118), 0.10)
    for _ in range(rng.randrange(1, 4)):
        p.fir(rng.random(), horizon + 0.09, rng.uniform(0.2, 0.36), (66, 78, 92), snowy=False)
    ground = p.vary((122, 136, 108), 12)
    p.gradient(horizon + 0.06, 1, ground, (ground[0] - 34, ground[1] - 34, ground[2] - 20))
    for x, y, near in p.scatter(60, horizon + 0.08, 1.0):
        p.line(
            x,
            y,
            x + rng.uniform(-0.01, 0.01),
            y - 0.015 - 0.03 * near,
            (ground[0] - 34, ground[1] - 28, ground[2] - 26),
            0.006,
        )


PLACES: tuple[Callable[[Place], None], ...] = (_meadow, _beach, _room, _street, _snow, _autumn, _dusk)
