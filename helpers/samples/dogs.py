"""One dog as it is painted: its breed, pose and coat, and where it stands on the canvas."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from helpers.samples.bones import Bone, Point, Pose, Skeleton, cos_sin, extent, skeleton
from helpers.samples.breeds import Breed
from helpers.samples.canvas import Box, Canvas, Shape
from helpers.samples.coats import Dress

HAIR = {"smooth": 0.0, "wiry": 0.02, "curly": 0.02, "fluffy": 0.03, "shaggy": 0.06}  # beyond the bones, in dog units


@dataclass(frozen=True)
class View:
    """From dog units to pixels: flip, roll, scale, shift."""

    scale: float
    flip: bool
    roll: float
    centre: tuple[float, float]  # of the dog, in dog units
    onto: tuple[float, float]  # where that centre lies on the canvas, in pixels

    @classmethod
    def fit(cls, breed: Breed, bones: Skeleton, pose: Pose, size: int, ground: float, rng: random.Random) -> View:
        """Let the dog fill 0.60 to 0.92 of the picture and stand at `ground`, a share of the picture's height."""
        left, right, low, high = extent(bones.bones)
        hair = HAIR[breed.coat]
        left, right, high = left - hair, right + hair, high + hair
        fill = rng.uniform(0.60, 0.92) * size
        scale = min(fill / (right - left), 0.94 * fill / (high - low))
        x = 0.5 * size + rng.uniform(-0.45, 0.45) * (size - (right - left) * scale)
        half = 0.5 * (high - low) * scale
        y = max(ground * size - half, half + 0.03 * size)
        return cls(scale, pose.flip, pose.roll, (0.5 * (left + right), 0.5 * (low + high)), (x, y))

    def point(self, p: Point) -> Point:
        """Where it is on the canvas."""
        cos, sin = cos_sin(self.roll)
        x, y = (p.x - self.centre[0]) * (-1 if self.flip else 1), p.y - self.centre[1]
        return Point(
            self.onto[0] + self.scale * (x * cos - y * sin),
            self.onto[1] - self.scale * (x * sin + y * cos),
            self.scale * p.z,
        )

    @property
    def ground(self) -> float:
        """The pixel row of height 0 under the dog's centre."""
        return self.onto[1] + self.centre[1] * self.scale


@dataclass(frozen=True)
class Dog:
    """What its painters need to know of a dog."""

    canvas: Canvas
    breed: Breed
    pose: Pose
    bones: Skeleton
    view: View
    dress: Dress

    @classmethod
    def draw(cls, breed: Breed, canvas: Canvas, ground: float, rng: random.Random) -> Dog:
        """A dog of that breed at random, on the ground at that share of the canvas's height."""
        one, pose = breed.individual(rng), Pose.draw(rng)
        bones = skeleton(one, pose)
        view = View.fit(one, bones, pose, canvas.size, ground, rng)
        return cls(canvas, one, pose, bones, view, Dress.draw(one, canvas.size, view.scale, rng))

    def shape(self, bones: Iterable[Bone], blend: float, box: Box | None = None) -> Shape:
        """Their union on the canvas (over `box`); `blend` in dog units."""
        point, scale = self.view.point, self.view.scale
        placed = [Bone(point(bone.a), bone.ra * scale, point(bone.b), bone.rb * scale) for bone in bones]
        return Shape.of(placed, blend * scale, self.canvas.size, box)

    def tuft(self, bones: Iterable[Bone], *, hair: float = 1.0, cast: float = 0.5, outline: float = 1.0) -> None:
        """Paint hair of the ground colour: a pompon, a topknot, a lock."""
        shape = self.shape(bones, 0.03)
        bumps = self.dress.roughen(shape, hair)
        self.canvas.paint(shape, self.dress.base, bumps=bumps, cast=cast, outline=outline)
