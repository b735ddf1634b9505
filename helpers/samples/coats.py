"""Coats: what a dog's hair looks like, in texture, pattern and colour."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from helpers.samples.breeds import COLOURS, RGB, Breed, Pattern
from helpers.samples.canvas import FAR, Array, Box, Shape, mix, planes, ramp


@dataclass
class Dress:
    """The coat one dog wears: its breed's hair and pattern, in the colours drawn for it."""

    breed: Breed
    pattern: Pattern
    base: RGB
    mark: RGB
    white: RGB
    size: int  # of the canvas, in pixels
    scale: float  # pixels per dog unit
    corner: tuple[int, int]  # of this dog's window in the textures

    @classmethod
    def draw(cls, breed: Breed, size: int, scale: float, rng: random.Random) -> Dress:
        """A coat at random, of those the breed has."""
        base, mark = rng.choice(breed.colours)
        pattern = rng.choice(breed.patterns)
        if pattern == "patches":
            base, mark = "white", base
        shade = rng.uniform(0.88, 1.08)

        def dyed(name: str) -> RGB:
            r, g, b = COLOURS[name]
            return (
                r * shade * rng.uniform(0.95, 1.05),
                g * shade * rng.uniform(0.96, 1.04),
                b * shade * rng.uniform(0.93, 1.07),
            )

        corner = (rng.randrange(size), rng.randrange(size))
        return cls(breed, pattern, dyed(base), dyed(mark), dyed("white"), size, scale, corner)

    def texture(self, name: str, box: Box) -> Array:
        """That texture over the box, 0..1."""
        top, left = self.corner
        return _textures(self.size)[name][top + box.top : top + box.bottom, left + box.left : left + box.right]

    def roughen(self, shape: Shape, length: float = 1.0) -> Array | None:
        """Give the shape's edge its hair (in place), `length` times the breed's; returns the bumps of its surface."""
        match self.breed.coat:
            case "smooth":
                return None
            case "wiry":
                hair, edge, relief = self.texture("wire", shape.box), 0.035, 0.026
            case "fluffy":
                hair, edge, relief = self.texture("fluff", shape.box), 0.050, 0.022
            case "shaggy":
                hair, edge, relief = self.texture("locks", shape.box), 0.095, 0.042
            case "curly":
                hair, edge, relief = self.texture("curls", shape.box), -0.045, 0.050
        shape.distance += (hair - np.float32(0.5)) * np.float32(edge * self.scale * length)
        return hair * np.float32(relief * self.scale * length)

    def patterned(self, box: Box) -> Array:
        """(3, h, w): the colour under the markings, for patterns that are the same wherever they are on the dog."""
        match self.pattern:
            case "spots":
                return mix(self.base, self.mark, self.texture("spots", box))
            case "brindle":
                return mix(self.base, self.mark, self.texture("brindle", box) * np.float32(0.7))
            case "patches":
                return mix(self.base, self.mark, ramp(self.texture("patches", box), 0.50, 0.54))
        return planes(self.base)


@lru_cache(maxsize=2)
def _textures(size: int) -> dict[str, Array]:
    """Textures twice as wide as the canvas, 0..1; each dog takes a window of them at random."""
    rng, twice = random.Random("textures"), 2 * size
    curl, _ = _cells(rng, 64, 64, twice)
    tuft, _ = _cells(rng, 60, 28, twice)
    tufts = 1 - np.minimum(tuft * tuft * np.float32(1.4), 1)
    spot, number = _cells(rng, 24, 24, twice)
    wave = _noise(rng, 14, 14, twice)
    return {
        "curls": 1 - np.minimum(curl * curl * np.float32(1.6), 1),
        "fluff": tufts * np.float32(0.35) + _noise(rng, 170, 64, twice) * np.float32(0.65),
        "locks": tufts * np.float32(0.4) + _noise(rng, 150, 34, twice) * np.float32(0.6),
        "wire": _noise(rng, 190, 130, twice),
        "spots": ramp(spot + _noise(rng, 110, 110, twice) * np.float32(0.16) - number * np.float32(0.32), 0.29, 0.22),
        "patches": wave,
        "brindle": ramp(_noise(rng, 90, 14, twice) + wave * np.float32(0.3), 0.58, 0.76),
    }


def _noise(rng: random.Random, columns: int, rows: int, size: int) -> Array:
    """Smooth noise of (size, size), 0..1, from a coarse grid. Pillow resizes in integers: exactly alike everywhere."""
    grid = np.frombuffer(rng.randbytes(columns * rows), np.uint8).reshape(rows, columns)
    image = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / np.float32(255)


def _cells(rng: random.Random, columns: int, rows: int, size: int) -> tuple[Array, Array]:
    """Of the nearest of columns x rows scattered points: its distance in cells, and a number 0..1 of its own."""
    draws = np.frombuffer(rng.randbytes(columns * rows * 3), np.uint8).reshape(3, rows, columns).astype(np.float32)
    draws *= np.float32(1 / 255)
    pixel = np.arange(size, dtype=np.float32) + np.float32(0.5)
    x, y = pixel * np.float32(columns / size), pixel * np.float32(rows / size)
    column, row = x.astype(np.int32), y.astype(np.int32)
    nearest, number = np.full((size, size), FAR, np.float32), np.zeros((size, size), np.float32)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            cell = np.ix_((row + i) % rows, (column + j) % columns)
            dx = x - (column + j) - draws[0][cell]
            dy = (y - (row + i))[:, None] - draws[1][cell]
            d2 = dx * dx + dy * dy
            number = np.where(d2 < nearest, draws[2][cell], number)
            nearest = np.minimum(nearest, d2)
    return np.sqrt(nearest), number
