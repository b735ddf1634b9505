"""The canvas: smooth unions of bones, shaded and outlined.

A shape is known per pixel: the signed distance to its edge gives cover and outline, a height over it gives the shading.
Only operations that IEEE 754 rounds exactly (+, -, *, /, sqrt, min, max) touch a pixel: others differ in the last bit
between processors, and the JPEG bytes would differ with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from helpers.samples.bones import Bone, Point, ball, chain, extent
from helpers.samples.breeds import RGB

Array = NDArray[np.float32]

FAR = 1e4  # pixels: "no bone near here"


def ramp(values: Array, start: float, stop: float) -> Array:
    """0 at `start`, 1 at `stop`, smooth between, constant beyond (`stop` may be the smaller)."""
    t: Array = np.clip((values - np.float32(start)) * np.float32(1 / (stop - start)), 0, 1)
    return t * t * (3 - 2 * t)


def planes(colour: Array | RGB) -> Array:
    """A colour as (3, 1, 1); planes as they are. Planes come first: numpy's inner loop is then a row, not a pixel."""
    return colour if isinstance(colour, np.ndarray) else np.array(colour, np.float32).reshape(3, 1, 1)


def mix(a: Array | RGB, b: Array | RGB, share: Array | float) -> Array:
    """(3, h, w): `a` where share is 0, `b` where it is 1."""
    first = planes(a)
    mixed: Array = np.multiply(planes(b) - first, np.asarray(share, np.float32))
    mixed += first
    return mixed


class Box(NamedTuple):
    """Pixel rows [top, bottom) and columns [left, right) of the canvas."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, bones: Sequence[Bone], margin: float, size: int) -> Box:
        """The part of a (size, size) canvas that the bones, and a margin about them, take; one pixel at least."""
        left, right, top, bottom = extent(bones)
        column, row = (int(min(max(v - margin, 0), size - 1)) for v in (left, top))
        last_column, last_row = (int(min(max(v + margin + 1, 0), size)) for v in (right, bottom))
        return cls(row, max(last_row, row + 1), column, max(last_column, column + 1))

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing (size, size)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, other: Box) -> Box:
        """The overlap, in canvas pixels (may be empty)."""
        return Box(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )

    def grid(self) -> tuple[Array, Array]:
        """x of the pixels' centres as a row, y as a column."""
        x = np.arange(self.left, self.right, dtype=np.float32)[None, :] + np.float32(0.5)
        y = np.arange(self.top, self.bottom, dtype=np.float32)[:, None] + np.float32(0.5)
        return x, y


@dataclass
class Shape:
    """A union of bones: per pixel of `box`, the distance to its edge (negative inside) and its height, in pixels."""

    box: Box
    distance: Array
    height: Array

    @classmethod
    def of(cls, bones: Sequence[Bone], blend: float, size: int, box: Box | None = None) -> Shape:
        """Bones closer than `blend` pixels flow into each other."""
        margin = blend + 0.05 * size  # for the shadow around it
        box = box or Box.around(bones, margin, size)
        distance = np.full((box.bottom - box.top, box.right - box.left), FAR, np.float32)
        height = np.full_like(distance, -FAR)
        for bone in bones:
            near = Box.around([bone], margin, size).within(box)
            if near.top >= near.bottom or near.left >= near.right:
                continue
            here = Box(near.top - box.top, near.bottom - box.top, near.left - box.left, near.right - box.left).slices
            d, h = _bone_fields(bone, near)
            distance[here] = _smooth_min(distance[here], d, blend)
            height[here] = -_smooth_min(-height[here], -h, blend)
        return cls(box, distance, height)

    def cover(self) -> Array:
        """Share of each pixel that the shape covers, 0..1."""
        share: Array = np.clip(0.5 - self.distance, 0, 1)
        return share


def _smooth_min(a: Array, b: Array, k: float) -> Array:
    """The smaller of both, rounded where they meet over a width of `k`."""
    h: Array = np.maximum(k - np.abs(a - b), 0)
    lower: Array = np.minimum(a, b)
    return lower - h * h * np.float32(0.25 / k)


def _bone_fields(bone: Bone, box: Box) -> tuple[Array, Array]:
    """Distance to the rod's surface, and the height of a paraboloid over it."""
    (ax, ay, az), ra, (bx, by, bz), rb = bone
    x, y = box.grid()
    x, y = x - np.float32(ax), y - np.float32(ay)
    dx, dy = bx - ax, by - ay
    squared = max(dx * dx + dy * dy, 1e-6)
    steepest = math.sqrt(squared)  # a rod that points at the viewer would otherwise be a cliff, lit as a crease
    az, bz = max(az, bz - steepest), max(bz, az - steepest)
    t = np.clip(x * np.float32(dx / squared) + y * np.float32(dy / squared), 0, 1)
    ex, ey = x - t * np.float32(dx), y - t * np.float32(dy)
    d2 = ex * ex + ey * ey
    radius = t * np.float32(rb - ra) + np.float32(ra)
    height = t * np.float32(bz - az) + np.float32(az) + radius - d2 / np.maximum(radius, 0.5)
    return np.sqrt(d2) - radius, height


@dataclass
class Canvas:
    """The picture under the brush: `pixels` is (3, size, size) float32, 0..255."""

    pixels: Array
    light: tuple[float, float, float]  # towards it; x right, y down, z to the viewer; length 1
    dog: Array = field(
        init=False
    )  # (size, size): share of each pixel that is dog already, so that only dogs are shaded

    def __post_init__(self) -> None:
        self.dog = np.zeros(self.pixels.shape[1:], np.float32)

    @property
    def size(self) -> int:
        """Width and height in pixels."""
        return int(self.pixels.shape[1])

    def paint(
        self, shape: Shape, colour: Array | RGB, *, outline: float = 1.0, cast: float = 0.0, bumps: Array | None = None
    ) -> None:
        """Lay the shape over the picture: its shadow on the dog beneath (`cast`), its shaded colour, its outline."""
        rows, columns = shape.box.slices
        below, dog = self.pixels[:, rows, columns], self.dog[rows, columns]
        pen = 0.011 * self.size
        if cast:
            shadow = ramp(shape.distance, 4 * pen, 0) * dog * np.float32(cast)
            below = mix(below, below * np.float32(0.55), shadow)
        lit = self._lit(shape.height if bumps is None else shape.height + bumps)
        base = planes(colour)
        shaded = mix((0.60, 0.57, 0.68), (1.10, 1.07, 1.00), lit) * base  # cool shade, warm light
        if outline:
            edge = ramp(shape.distance, -1.3 * pen, -0.5 * pen) * np.float32(outline)
            shaded = mix(shaded, base * np.float32(0.28) + np.float32(14), edge)
        cover = shape.cover()
        self.pixels[:, rows, columns] = mix(below, shaded, cover)
        self.dog[rows, columns] = np.maximum(dog, cover)

    def _lit(self, height: Array) -> Array:
        """0 in shade, 1 facing the light: half of it smooth and half in a step, as in a picture book."""
        gx, gy = np.zeros_like(height), np.zeros_like(height)
        gx[:, 1:-1] = (height[:, 2:] - height[:, :-2]) * np.float32(0.5)
        gy[1:-1] = (height[2:] - height[:-2]) * np.float32(0.5)
        lx, ly, lz = (np.float32(c) for c in self.light)
        towards = (lz - gx * lx - gy * ly) / np.sqrt(gx * gx + gy * gy + 1)
        smooth: Array = np.clip(towards, 0, 1)
        return smooth * np.float32(0.55) + ramp(towards, 0.05, 0.40) * np.float32(0.45)

    def tint(self, box: Box, colour: Array | RGB, share: Array) -> None:
        """Mix a colour over what is there."""
        rows, columns = box.slices
        self.pixels[:, rows, columns] = mix(self.pixels[:, rows, columns], colour, share)

    def dot(self, at: Point, rx: float, ry: float, colour: RGB, share: float = 1.0) -> None:
        """A flat ellipse."""
        box = Box.around([ball(at, max(rx, ry))], 2, self.size)
        x, y = box.grid()
        x, y = (x - np.float32(at.x)) * np.float32(1 / rx), (y - np.float32(at.y)) * np.float32(1 / ry)
        inside = np.clip((1 - np.sqrt(x * x + y * y)) * np.float32(min(rx, ry)) + np.float32(0.5), 0, 1)
        self.tint(box, colour, inside * np.float32(share))

    def stroke(self, points: Sequence[Point], radius: float, colour: RGB, share: float = 1.0) -> None:
        """A flat line through the points."""
        shape = Shape.of(chain(*[(point, radius) for point in points]), 0.5, self.size)
        self.tint(shape.box, colour, shape.cover() * np.float32(share))
