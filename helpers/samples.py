"""The drawn sample set: pictures of dogs, drawn rather than photographed, in the layout of the real data set.

It is what the series runs on when no data is given: small, free of anybody's rights, the same bytes everywhere. A breed is
a handful of proportions and habits (`Breed`); a picture is that breed in some pose, coat colour, light and place.

    draw_sample_set("data")                # data/dogImages/{train,valid,test}/NNN.Breed_name/*.jpg
    draw_dog("057.Dalmatian", seed=3)      # one PIL image

How a dog is drawn: a few tapered rods ("bones") stand in space, are turned towards the viewer and projected; each layer
(tail, far legs, body, ears, head) is the *smooth union* of its bones, computed as a signed distance per pixel, which gives the
outline, and as a height per pixel, which gives the shading.

Only operations that IEEE 754 rounds exactly (+, -, *, /, sqrt, min, max) touch a pixel, and sines and cosines are rounded to six
decimals: other functions differ in the last bit between processors, and the JPEG bytes would differ with them.
"""

from __future__ import annotations

import io
import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Ears = Literal["pricked", "drooping", "button", "rose", "cropped"]
Tail = Literal["curled", "straight", "bushy", "docked", "whip", "plume", "pompon"]
Coat = Literal["smooth", "wiry", "fluffy", "shaggy", "curly"]
Pattern = Literal["solid", "patches", "spots", "saddle", "points", "brindle", "mantle"]
Array = NDArray[np.float32]
RGB = tuple[float, float, float]


# --------------------------------------------------------------------------------------------------------------------
# What a breed is
# --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Breed:
    """The traits a drawn breed is known by. Lengths are in units of about one medium dog's body length."""

    folder: str  # as in the real data set: "057.Dalmatian"
    leg: float  # ground to elbow
    body: float  # shoulder to hip
    chest: float  # radius of the rib cage
    loin: float  # radius of the waist
    neck: float
    skull: float  # radius
    muzzle: float  # length in front of the skull
    snout: float  # radius at the nose
    bone: float  # radius of a leg
    ears: Ears
    ear: float  # length
    tail: Tail
    coat: Coat
    patterns: tuple[Pattern, ...]
    colours: tuple[tuple[str, str], ...]  # (ground colour, colour of the marking)
    trim: bool = False  # white chest, feet, blaze and tail tip
    mask: bool = False  # dark face
    ruff: float = 0.0  # how much hair widens the neck


COLOURS: dict[str, RGB] = {
    "black": (52, 48, 54),
    "brown": (112, 72, 48),
    "liver": (136, 84, 58),
    "red": (190, 108, 56),
    "tan": (208, 152, 98),
    "gold": (224, 172, 96),
    "fawn": (218, 180, 132),
    "cream": (240, 220, 182),
    "white": (248, 244, 236),
    "grey": (146, 148, 156),
    "blue": (98, 108, 128),
}

BREEDS: tuple[Breed, ...] = (
    Breed(
        "003.Airedale_terrier", 0.42, 0.48, 0.200, 0.170, 0.18, 0.150, 0.21, 0.092, 0.052, "button", 0.15, "straight", "wiry",
        ("saddle",), (("tan", "black"), ("red", "black"), ("fawn", "grey"), ("tan", "brown")),
    ),
    Breed(
        "016.Beagle", 0.29, 0.48, 0.195, 0.165, 0.13, 0.175, 0.14, 0.085, 0.050, "drooping", 0.25, "straight", "smooth",
        ("saddle", "patches"), (("tan", "black"), ("red", "black"), ("tan", "brown"), ("gold", "liver")), trim=True,
    ),
    Breed(
        "034.Boxer", 0.38, 0.46, 0.225, 0.160, 0.13, 0.185, 0.075, 0.115, 0.055, "button", 0.13, "docked", "smooth",
        ("brindle", "solid"), (("fawn", "black"), ("red", "black"), ("tan", "brown"), ("grey", "black")), trim=True, mask=True,
    ),
    Breed(
        "056.Dachshund", 0.12, 0.76, 0.165, 0.145, 0.13, 0.145, 0.20, 0.056, 0.050, "drooping", 0.27, "whip", "smooth",
        ("solid", "points"), (("red", "tan"), ("black", "tan"), ("liver", "tan"), ("cream", "fawn"), ("blue", "fawn")),
    ),
    Breed(
        "057.Dalmatian", 0.44, 0.52, 0.195, 0.150, 0.18, 0.165, 0.15, 0.084, 0.046, "drooping", 0.19, "whip", "smooth",
        ("spots",), (("white", "black"), ("white", "liver"), ("white", "gold"), ("cream", "brown"), ("white", "blue")),
    ),
    Breed(
        "059.Doberman_pinscher", 0.48, 0.48, 0.205, 0.140, 0.20, 0.145, 0.22, 0.070, 0.048, "cropped", 0.22, "docked", "smooth",
        ("points",), (("black", "tan"), ("liver", "tan"), ("blue", "tan"), ("fawn", "cream"), ("brown", "gold")),
    ),
    Breed(
        "071.German_shepherd_dog", 0.36, 0.58, 0.210, 0.170, 0.17, 0.165, 0.19, 0.074, 0.054, "pricked", 0.22, "bushy", "fluffy",
        ("saddle",), (("tan", "black"), ("gold", "black"), ("cream", "grey"), ("red", "black"), ("white", "cream")), mask=True, ruff=0.03,
    ),
    Breed(
        "081.Greyhound", 0.54, 0.56, 0.200, 0.100, 0.25, 0.120, 0.23, 0.050, 0.038, "rose", 0.15, "whip", "smooth",
        ("solid", "brindle", "patches"), (("fawn", "black"), ("grey", "black"), ("white", "tan"), ("black", "grey"), ("red", "black")),
    ),
    Breed(
        "113.Old_english_sheepdog", 0.28, 0.46, 0.265, 0.260, 0.08, 0.220, 0.10, 0.110, 0.085, "drooping", 0.20, "docked", "shaggy",
        ("mantle",), (("white", "grey"), ("white", "blue"), ("cream", "grey"), ("white", "black"), ("white", "tan")), ruff=0.05,
    ),
    Breed(
        "118.Pembroke_welsh_corgi", 0.14, 0.60, 0.190, 0.180, 0.12, 0.170, 0.15, 0.060, 0.056, "pricked", 0.25, "docked", "fluffy",
        ("solid", "saddle"), (("red", "black"), ("gold", "brown"), ("tan", "black"), ("fawn", "grey"), ("black", "red")), trim=True, ruff=0.03,
    ),
    Breed(
        "123.Pomeranian", 0.14, 0.26, 0.225, 0.205, 0.05, 0.180, 0.08, 0.050, 0.040, "pricked", 0.155, "plume", "fluffy",
        ("solid",), (("gold", "cream"), ("red", "gold"), ("white", "cream"), ("black", "grey"), ("cream", "white"), ("brown", "tan")), ruff=0.10,
    ),
    Breed(
        "124.Poodle", 0.46, 0.42, 0.195, 0.160, 0.22, 0.150, 0.20, 0.054, 0.052, "drooping", 0.25, "pompon", "curly",
        ("solid",), (("white", "cream"), ("black", "grey"), ("fawn", "tan"), ("grey", "blue"), ("brown", "liver"), ("red", "tan")),
    ),
)  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# Bones: tapered rods in space
# --------------------------------------------------------------------------------------------------------------------


class Point(NamedTuple):
    """x to the right, y up, z towards the viewer."""

    x: float
    y: float
    z: float = 0.0


class Bone(NamedTuple):
    """A rod from `a` to `b` whose radius goes from `ra` to `rb`."""

    a: Point
    ra: float
    b: Point
    rb: float


def _cos_sin(degrees: float) -> tuple[float, float]:
    return round(math.cos(math.radians(degrees)), 6), round(math.sin(math.radians(degrees)), 6)


def _chain(*joints: tuple[Point, float]) -> list[Bone]:
    """Bones from joint to joint, each joint being (point, radius)."""
    return [Bone(a, ra, b, rb) for (a, ra), (b, rb) in zip(joints, joints[1:], strict=False)]


def _ball(centre: Point, radius: float) -> Bone:
    return Bone(centre, radius, centre, radius)


def _between(a: Point, b: Point, t: float) -> Point:
    return Point(a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t, a.z + (b.z - a.z) * t)


@dataclass(frozen=True)
class Pose:
    """How one dog holds itself. Angles in degrees."""

    sitting: bool
    yaw: float  # of the body: 0 = seen from the side, 45 = coming towards the viewer
    head_yaw: float  # 0 = profile, 90 = looking at the viewer
    nod: float  # head up (+) or down (-)
    stride: float  # -1..1
    wag: float  # -1..1
    flip: bool
    roll: float
    tongue: bool
    collar: RGB | None


def _random_pose(rng: random.Random) -> Pose:
    yaw = rng.uniform(-8, 38)
    return Pose(
        sitting=rng.random() < 0.33,
        yaw=yaw,
        head_yaw=rng.choice([rng.uniform(0, 25), rng.uniform(30, 60), rng.uniform(60, 84)]),
        nod=rng.uniform(-12, 12),
        stride=rng.uniform(-1, 1),
        wag=rng.uniform(-1, 1),
        flip=rng.random() < 0.5,
        roll=rng.uniform(-5, 5),
        tongue=rng.random() < 0.45,
        collar=rng.choice(COLLARS) if rng.random() < 0.6 else None,
    )


COLLARS: list[RGB] = [(206, 62, 56), (48, 112, 190), (238, 190, 60), (60, 150, 96), (150, 84, 160), (240, 130, 60)]


@dataclass
class Skeleton:
    """The bones of one dog in one pose, turned towards the viewer, in dog units."""

    tail: list[Bone]
    far_legs: list[Bone]
    body: list[Bone]
    haunch: list[Bone]  # the near hind leg of a sitting dog, which lies over the body
    collar: Bone
    head: Head
    hip: Point
    chest: Point
    leg_top: float  # height of the elbow

    def bones(self) -> Iterable[Bone]:
        """Every bone that takes room in the picture."""
        yield from (*self.tail, *self.far_legs, *self.body, *self.haunch, *self.head.skull, *self.head.ears[0], *self.head.ears[1])


@dataclass
class Head:
    """Skull, muzzle and ears around `centre`; `at(forward, up, side)` gives a point of the head in skull radii."""

    centre: Point
    radius: float
    yaw: float
    nod: float
    skull: list[Bone] = field(default_factory=list)
    muzzle: list[Bone] = field(default_factory=list)
    ears: tuple[list[Bone], list[Bone]] = ([], [])  # near, far

    def at(self, forward: float, up: float, side: float) -> Point:
        (cy, sy), (cn, sn) = _cos_sin(self.yaw), _cos_sin(self.nod)
        forward, up = forward * cn - up * sn, forward * sn + up * cn
        r, c = self.radius, self.centre
        return Point(c.x + r * (forward * cy - side * sy), c.y + r * up, c.z + r * (forward * sy + side * cy))

    def facing(self, forward: float, up: float, side: float) -> float:
        """How much that direction looks at the viewer: 1 = straight, 0 = edge on."""
        p, c = self.at(forward, up, side), self.centre
        return (p.z - c.z) / max(1e-6, math.sqrt((p.x - c.x) ** 2 + (p.y - c.y) ** 2 + (p.z - c.z) ** 2))


def _skeleton(breed: Breed, pose: Pose) -> Skeleton:
    b = breed
    cos, sin = _cos_sin(pose.yaw)

    def turn(x: float, y: float, z: float) -> Point:
        z_turned = x * sin + z * cos
        return Point(x * cos - z * sin, y - 0.10 * z_turned, z_turned)  # the camera looks down a little

    hip_radius = 0.5 * (b.chest + b.loin)
    half = 0.55 * b.chest  # of the distance between left and right legs
    if pose.sitting:
        hip = Point(-0.4 * b.body, hip_radius * 0.95)
        rise = min(0.80, max(0.48, (b.leg + 0.9 * b.chest - hip.y) / (0.92 * b.body)))
        reach = math.sqrt(1 - rise * rise)
        chest = Point(hip.x + 0.92 * b.body * reach, hip.y + 0.92 * b.body * rise)
    else:
        chest = Point(0.5 * b.body, b.leg + 0.80 * b.chest)
        hip = Point(-0.5 * b.body, chest.y + b.chest - hip_radius - (0.05 if b.tail == "bushy" else 0.0))

    # The back, from rump to throat.
    waist = _between(hip, chest, 0.42)
    waist = Point(waist.x, waist.y + (b.chest - b.loin) * (0.15 if pose.sitting else 0.55))
    nape = Point(chest.x + 0.55 * b.chest, chest.y + 0.55 * b.chest)
    head_at = Point(nape.x + 0.55 * b.neck + 0.3 * b.skull, nape.y + 0.85 * b.neck + 0.55 * b.skull)
    body = _chain(
        (turn(*hip), hip_radius),
        (turn(*waist), b.loin),
        (turn(*chest), b.chest),
    )
    throat = _between(Point(chest.x + 0.2 * b.chest, chest.y + 0.25 * b.chest), head_at, 0.85)
    neck_radius = 0.62 * b.skull + 0.10 * b.chest + b.ruff
    body += _chain((turn(chest.x + 0.15 * b.chest, chest.y + 0.2 * b.chest, 0), 0.80 * b.chest + 0.7 * b.ruff), (turn(*throat), neck_radius))

    def front_leg(side: float, step: float) -> list[Bone]:
        foot = chest.x + 0.02 + 0.30 * b.leg * step
        return _chain(
            (turn(chest.x, chest.y - 0.1 * b.chest, side * half), 0.55 * b.chest),
            (turn(chest.x - 0.01, 0.75 * chest.y - 0.2 * b.chest, side * half), 1.35 * b.bone),
            (turn(0.5 * (chest.x + foot), 0.4 * b.leg, side * half), b.bone),
            (turn(foot, b.bone, side * half), 0.95 * b.bone),
            (turn(foot + 0.9 * b.bone, 0.8 * b.bone, side * half), 0.9 * b.bone),
        )

    def hind_leg(side: float, step: float) -> list[Bone]:
        z = side * half
        if pose.sitting:
            knee = Point(hip.x + 0.75 * hip_radius + 0.25 * b.leg, 0.80 * hip_radius)
            return _chain(
                (turn(hip.x + 0.15 * hip_radius, hip.y, z), 0.95 * hip_radius),
                (turn(knee.x, knee.y, z * 1.2), 0.55 * hip_radius),
                (turn(knee.x - 0.2 * b.leg, b.bone, z * 1.2), 1.1 * b.bone),
                (turn(knee.x + 0.12 * b.leg + b.bone, 0.85 * b.bone, z * 1.2), 0.9 * b.bone),
            )
        foot = hip.x - 0.02 + 0.30 * b.leg * step
        return _chain(
            (turn(hip.x + 0.02, hip.y - 0.1 * hip_radius, z), 0.85 * hip_radius),
            (turn(hip.x + 0.16 * b.leg + 0.12 * b.leg * step, 0.78 * b.leg, z), 0.45 * hip_radius + 0.3 * b.bone),
            (turn(foot - 0.17 * b.leg, 0.38 * b.leg, z), 0.95 * b.bone),
            (turn(foot, b.bone, z), 0.9 * b.bone),
            (turn(foot + b.bone, 0.8 * b.bone, z), 0.85 * b.bone),
        )

    step = pose.stride * (0.25 if pose.sitting else 0.8)
    body += front_leg(+1, step)
    haunch = hind_leg(+1, -step)
    if not pose.sitting:
        body, haunch = body + haunch, []
    far_legs = front_leg(-1, -step) + hind_leg(-1, step)

    head = _head(b, pose, turn(*head_at))
    collar = Bone(
        turn(throat.x - 0.9 * b.skull, throat.y - 0.25 * b.skull, 0), 0, turn(throat.x + 0.55 * b.skull, throat.y - 1.0 * b.skull, 0), 0
    )
    back = math.sqrt(0.5) if pose.sitting else 1.0
    rump = Point(hip.x - 0.75 * hip_radius * back, hip.y + (-0.35 if pose.sitting else 0.55) * hip_radius)
    tail = _tail(b, pose, rump, turn)
    return Skeleton(tail, far_legs, body, haunch, collar, head, turn(*hip), turn(*chest), b.leg)


def _tail(b: Breed, pose: Pose, root: Point, turn: Callable[[float, float, float], Point]) -> list[Bone]:
    """The tail's bones; `outline` holds (backwards, up, radius) per joint, in dog units."""
    w = pose.wag
    outline: list[tuple[float, float, float]]
    match b.tail:
        case "docked":
            outline = [(-0.08, -0.05, 0.055), (0.03, 0.04 + 0.02 * w, 0.040)]
        case "straight":
            outline = [(-0.06, -0.06, 0.050), (0.06, 0.12, 0.042), (0.06 + 0.06 * w, 0.26, 0.036), (0.10 * w, 0.38, 0.024)]
        case "whip":
            outline = [(-0.06, -0.03, 0.040), (0.10, -0.06, 0.028), (0.20, -0.17 + 0.08 * w, 0.021), (0.33, -0.16 + 0.16 * w, 0.012)]
        case "bushy":
            outline = [(-0.08, -0.04, 0.050), (0.07, -0.16, 0.075), (0.16 + 0.04 * w, -0.30, 0.085), (0.28 + 0.06 * w, -0.40, 0.030)]
        case "plume":
            outline = [(0.0, 0.0, 0.08), (0.06, 0.16, 0.12), (-0.04, 0.28 + 0.02 * w, 0.13), (-0.20, 0.32 + 0.02 * w, 0.09)]
        case "curled":
            outline = [(-0.05, 0.0, 0.06), (0.08, 0.14, 0.075), (0.0, 0.27, 0.075), (-0.12, 0.22, 0.07), (-0.09, 0.12, 0.05)]
        case "pompon":
            outline = [(-0.06, -0.06, 0.030), (0.05, 0.12, 0.026), (0.07 + 0.05 * w, 0.26, 0.10), (0.075 + 0.05 * w, 0.28, 0.10)]
    if pose.sitting and b.tail in ("bushy", "whip", "straight"):  # lies on the ground behind the dog
        outline = [(-0.05, 0.0, outline[0][2])] + [(0.10 + 0.13 * i, -root.y + r + 0.05 * (i == 2) * (1 + w), r) for i, (_, _, r) in enumerate(outline[1:])]
    return _chain(*[(turn(root.x - x, max(root.y + y, r), 0.02), r) for x, y, r in outline])


def _head(b: Breed, pose: Pose, centre: Point) -> Head:
    head = Head(centre, b.skull, pose.head_yaw, pose.nod)
    at, r = head.at, b.skull
    length, tip = b.muzzle / r, b.snout / r
    root = max(0.52, 0.5 * (0.62 + tip))  # the muzzle's radius where it leaves the skull
    head.muzzle = [Bone(at(0.55, -0.30, 0), root * r, at(0.55 + length, -0.42 - 0.3 * (root - tip), 0), tip * r)]
    head.skull = [Bone(at(-0.15, 0.02, 0), r, at(0.12, 0.06, 0), 0.95 * r), *head.muzzle]
    head.skull += [Bone(at(0.1, -0.35, -0.35), 0.55 * r, at(0.1, -0.35, 0.35), 0.55 * r)]  # cheeks
    if b.coat == "wiry":  # a beard
        head.skull += [Bone(at(0.55 + 0.45 * length, -0.62, 0), 0.50 * r, at(0.50 + length, -0.80, 0), 0.42 * r)]
    near, far = (_ear(b, head, side) for side in (1.0, -1.0))
    head.ears = (near, far)
    return head


def _ear(b: Breed, head: Head, side: float) -> list[Bone]:
    """One ear's bones; `outline` holds (forward, up, sideways, radius) per joint, in skull radii."""
    e = b.ear / b.skull  # the ear's length in skull radii
    match b.ears:
        case "pricked":
            outline = [(-0.10, 0.62, 0.50, 0.36), (-0.12, 0.75 + 0.55 * e, 0.62, 0.24), (-0.12, 0.75 + e, 0.70, 0.05)]
        case "cropped":
            outline = [(-0.15, 0.70, 0.45, 0.26), (-0.05, 0.75 + 0.6 * e, 0.52, 0.17), (-0.02, 0.75 + e, 0.55, 0.03)]
        case "drooping":
            outline = [(-0.20, 0.55, 0.72, 0.20), (-0.22, 0.30, 1.02, 0.30), (-0.10, 0.45 - 0.65 * e, 1.05, 0.36), (0.0, 0.45 - e, 1.0, 0.26)]
        case "button":
            outline = [(-0.15, 0.78, 0.60, 0.24), (0.0, 0.85, 0.85, 0.22), (0.25, 0.80 - 0.45 * e, 0.98, 0.17), (0.38, 0.80 - 0.8 * e, 0.95, 0.05)]
        case "rose":
            outline = [(-0.30, 0.60, 0.65, 0.20), (-0.75, 0.62, 0.85, 0.18), (-0.5 - 0.5 * e, 0.30, 0.95, 0.05)]
    return _chain(*[(head.at(f, u, s * side), rad * head.radius) for f, u, s, rad in outline])


# --------------------------------------------------------------------------------------------------------------------
# The canvas: smooth unions of bones, shaded and outlined
# --------------------------------------------------------------------------------------------------------------------

FAR = 1e4  # "no bone near here", in pixels


class Box(NamedTuple):
    """Pixel rows [top, bottom) and columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grid(self) -> tuple[Array, Array]:
        """Row of x and column of y at the pixels' centres."""
        x = np.arange(self.left, self.right, dtype=np.float32)[None, :] + np.float32(0.5)
        y = np.arange(self.top, self.bottom, dtype=np.float32)[:, None] + np.float32(0.5)
        return x, y


def _box_of(bones: Sequence[Bone], margin: float, size: int) -> Box:
    left = min(min(b.a.x - b.ra, b.b.x - b.rb) for b in bones) - margin
    right = max(max(b.a.x + b.ra, b.b.x + b.rb) for b in bones) + margin
    top = min(min(b.a.y - b.ra, b.b.y - b.rb) for b in bones) - margin
    bottom = max(max(b.a.y + b.ra, b.b.y + b.rb) for b in bones) + margin

    def inside(v: float, most: int = size) -> int:
        return int(min(max(v, 0), most))

    first_row, first_column = inside(top, size - 1), inside(left, size - 1)
    return Box(first_row, max(inside(bottom + 1), first_row + 1), first_column, max(inside(right + 1), first_column + 1))


def _smooth_min(a: Array, b: Array, k: float) -> Array:
    """The smaller of both, rounded where they meet over a width of `k`."""
    h = np.maximum(k - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * np.float32(0.25 / k)


@dataclass
class Shape:
    """A union of bones on the canvas: per pixel of `box`, the distance to its edge (negative inside) and its height."""

    box: Box
    distance: Array
    height: Array

    @classmethod
    def of(cls, bones: Sequence[Bone], blend: float, size: int, box: Box | None = None) -> Shape:
        margin = blend + 0.05 * size
        box = box or _box_of(bones, margin, size)
        distance = np.full((box.bottom - box.top, box.right - box.left), FAR, np.float32)
        height = np.full_like(distance, -FAR)
        for bone in bones:
            near = _box_of([bone], margin, size)
            near = Box(max(near.top, box.top), min(near.bottom, box.bottom), max(near.left, box.left), min(near.right, box.right))
            if near.top >= near.bottom or near.left >= near.right:
                continue
            d, h = _bone_fields(bone, near)
            here = (slice(near.top - box.top, near.bottom - box.top), slice(near.left - box.left, near.right - box.left))
            distance[here] = _smooth_min(distance[here], d, blend)
            height[here] = -_smooth_min(-height[here], -h, blend)
        return cls(box, distance, height)

    def cover(self) -> Array:
        """Share of each pixel that the shape covers, 0..1."""
        return np.clip(0.5 - self.distance, 0, 1)


def _bone_fields(bone: Bone, box: Box) -> tuple[Array, Array]:
    """Distance to the rod's surface and the height of a paraboloid over it, in pixels."""
    (ax, ay, az), ra, (bx, by, bz), rb = bone
    x, y = box.grid()
    x, y = x - np.float32(ax), y - np.float32(ay)
    dx, dy = bx - ax, by - ay
    length2 = max(dx * dx + dy * dy, 1e-6)
    t = np.clip(x * np.float32(dx / length2) + y * np.float32(dy / length2), 0, 1)
    ex, ey = x - t * np.float32(dx), y - t * np.float32(dy)
    d2 = ex * ex + ey * ey
    radius = t * np.float32(rb - ra) + np.float32(ra)
    height = t * np.float32(bz - az) + np.float32(az) + radius - d2 / np.maximum(radius, 0.5)
    return np.sqrt(d2) - radius, height


def _ramp(values: Array, start: float, stop: float) -> Array:
    """0 below `start`, 1 above `stop`, smooth between (either way round)."""
    t = np.clip((values - np.float32(start)) * np.float32(1 / (stop - start)), 0, 1)
    return t * t * (3 - 2 * t)


def _planes(colour: Array | RGB) -> Array:
    """A colour as (3, 1, 1); planes as they are. Planes first: numpy's inner loop is then a whole row, not three channels."""
    return colour if isinstance(colour, np.ndarray) else np.array(colour, np.float32).reshape(3, 1, 1)


def _mix(a: Array | RGB, b: Array | RGB, share: Array | float) -> Array:
    """(3, h, w): `a` where share is 0, `b` where it is 1."""
    first = _planes(a)
    mixed = np.multiply(_planes(b) - first, np.asarray(share, np.float32))
    mixed += first
    return mixed


@dataclass
class Canvas:
    """The picture under the brush: (3, size, size) float32, 0..255."""

    pixels: Array
    light: tuple[float, float, float]  # towards the light; x right, y down, z to the viewer
    dog: Array = field(init=False)  # (size, size): how much of each pixel is dog already, so that its parts shade each other only

    def __post_init__(self) -> None:
        self.dog = np.zeros(self.pixels.shape[1:], np.float32)

    @property
    def size(self) -> int:
        return self.pixels.shape[1]

    def paint(self, shape: Shape, colour: Array | RGB, outline: float = 1.0, cast: float = 0.0, bump: Array | None = None) -> None:
        """Lay the shape over the picture: its shadow on the dog beneath (`cast`), its shaded colour, its outline."""
        rows, columns = shape.box.slices()
        below, dog = self.pixels[:, rows, columns], self.dog[rows, columns]
        width = self.size * 0.011
        if cast:
            shadow = _ramp(shape.distance, 4 * width, 0) * dog * np.float32(cast)
            below = _mix(below, below * np.float32(0.55), shadow)
        lit = self._lit(shape.height if bump is None else shape.height + bump)
        base = _planes(colour)
        shade = _mix((0.60, 0.57, 0.68), (1.10, 1.07, 1.00), lit) * base
        if outline:
            edge = _ramp(shape.distance, -width * 1.3, -width * 0.5) * np.float32(outline)
            shade = _mix(shade, base * np.float32(0.28) + np.float32(14), edge)
        cover = shape.cover()
        self.pixels[:, rows, columns] = _mix(below, shade, cover)
        self.dog[rows, columns] = np.maximum(dog, cover)

    def _lit(self, height: Array) -> Array:
        """0 (in shade) .. 1 (facing the light): half smooth, half in two steps, as in a picture book."""
        gx, gy = np.zeros_like(height), np.zeros_like(height)
        gx[:, 1:-1] = (height[:, 2:] - height[:, :-2]) * np.float32(0.5)
        gy[1:-1] = (height[2:] - height[:-2]) * np.float32(0.5)
        lx, ly, lz = self.light
        towards = (np.float32(lz) - gx * np.float32(lx) - gy * np.float32(ly)) / np.sqrt(gx * gx + gy * gy + 1)
        return np.float32(0.55) * np.clip(towards, 0, 1) + np.float32(0.45) * _ramp(towards, 0.05, 0.40)

    def dot(self, x: float, y: float, rx: float, ry: float, colour: RGB, share: float = 1.0) -> None:
        """A flat ellipse."""
        box = _box_of([_ball(Point(x, y), max(rx, ry))], 2, self.size)
        px, py = box.grid()
        ux, uy = (px - np.float32(x)) / np.float32(rx), (py - np.float32(y)) / np.float32(ry)
        inside = np.clip((1 - np.sqrt(ux * ux + uy * uy)) * np.float32(min(rx, ry)) + np.float32(0.5), 0, 1)
        rows, columns = box.slices()
        self.pixels[:, rows, columns] = _mix(self.pixels[:, rows, columns], colour, inside * np.float32(share))

    def stroke(self, points: Sequence[Point], radius: float, colour: RGB, share: float = 1.0) -> None:
        """A flat line through the points."""
        shape = Shape.of(_chain(*[(p, radius) for p in points]), 0.5, self.size)
        rows, columns = shape.box.slices()
        self.pixels[:, rows, columns] = _mix(self.pixels[:, rows, columns], colour, shape.cover() * np.float32(share))


# --------------------------------------------------------------------------------------------------------------------
# Coats: colours and textures
# --------------------------------------------------------------------------------------------------------------------


def _noise(rng: random.Random, columns: int, rows: int, size: int) -> Array:
    """Smooth noise 0..1 of (size, size) from a coarse grid; Pillow's resizing is integer arithmetic."""
    grid = np.frombuffer(rng.randbytes(columns * rows), np.uint8).reshape(rows, columns)
    image = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / np.float32(255)


def _cells(rng: random.Random, columns: int, rows: int, size: int, jitter: float) -> tuple[Array, Array]:
    """Distance to the nearest of columns x rows jittered points, in cells, and that point's own random number."""
    draws = np.frombuffer(rng.randbytes(columns * rows * 3), np.uint8).reshape(3, rows, columns).astype(np.float32)
    draws *= np.float32(1 / 255)
    pixel = np.arange(size, dtype=np.float32) + np.float32(0.5)
    x, y = pixel * np.float32(columns / size), pixel * np.float32(rows / size)
    column_of, row_of = x.astype(np.int32), y.astype(np.int32)
    nearest, number = np.full((size, size), FAR, np.float32), np.zeros((size, size), np.float32)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            cell = np.ix_((row_of + i) % rows, (column_of + j) % columns)
            dx = x - (column_of + j) - np.float32(0.5) - (draws[0][cell] - np.float32(0.5)) * np.float32(jitter)
            dy = (y - (row_of + i))[:, None] - np.float32(0.5) - (draws[1][cell] - np.float32(0.5)) * np.float32(jitter)
            d2 = dx * dx + dy * dy
            number = np.where(d2 < nearest, draws[2][cell], number)
            nearest = np.minimum(nearest, d2)
    return np.sqrt(nearest), number


@lru_cache(maxsize=2)
def _textures(size: int) -> dict[str, Array]:
    """Textures twice as wide as the canvas, 0..1; a dog takes a window of them at random."""
    rng, twice = random.Random("textures"), 2 * size
    curl, _ = _cells(rng, 64, 64, twice, 0.75)
    tuft, _ = _cells(rng, 60, 28, twice, 0.9)
    tufts = 1 - np.minimum(tuft * tuft * np.float32(1.4), 1)
    spot, number = _cells(rng, 24, 24, twice, 0.9)
    wave = _noise(rng, 14, 14, twice)
    return {
        "curl": 1 - np.minimum(curl * curl * np.float32(1.6), 1),
        "fluff": tufts * np.float32(0.35) + _noise(rng, 170, 64, twice) * np.float32(0.65),
        "locks": tufts * np.float32(0.4) + _noise(rng, 150, 34, twice) * np.float32(0.6),
        "wire": _noise(rng, 190, 130, twice),
        "spots": _ramp(spot + _noise(rng, 110, 110, twice) * np.float32(0.16) - number * np.float32(0.32), 0.29, 0.22),
        "patches": wave,
        "brindle": _ramp(_noise(rng, 90, 14, twice) + wave * np.float32(0.3), 0.58, 0.76),
    }


@dataclass
class Dress:
    """The coat one dog wears: its breed's texture and pattern in the colours drawn for it."""

    breed: Breed
    pattern: Pattern
    base: RGB
    mark: RGB
    white: RGB
    size: int
    scale: float  # pixels per dog unit
    corner: tuple[int, int]  # of the window in the textures

    def texture(self, name: str, box: Box) -> Array:
        top, left = self.corner
        return _textures(self.size)[name][top + box.top : top + box.bottom, left + box.left : left + box.right]

    def roughen(self, shape: Shape, amount: float = 1.0) -> Array | None:
        """Give the edge its hair (in place); returns the bumps of the surface."""
        unit = self.scale * amount
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
                hair, edge, relief = self.texture("curl", shape.box), -0.045, 0.050
        shape.distance += (hair - np.float32(0.5)) * np.float32(edge * unit)
        return hair * np.float32(relief * unit)

    def patched(self, colour: Array, box: Box, on_head: bool = False) -> Array:
        """The patterns that are the same wherever they are on the dog."""
        match self.pattern:
            case "spots":
                return _mix(colour, self.mark, self.texture("spots", box))
            case "brindle":
                return _mix(colour, self.mark, self.texture("brindle", box) * np.float32(0.7))
            case "patches":
                where = _ramp(self.texture("patches", box), 0.50, 0.54) if not on_head else _ramp(self.texture("patches", box), 0.36, 0.40)
                return _mix(colour, self.mark, where)
        return colour


# --------------------------------------------------------------------------------------------------------------------
# Drawing one dog
# --------------------------------------------------------------------------------------------------------------------


@dataclass
class View:
    """From dog units to pixels: flip, roll, scale, shift; `ground` is the pixel row the feet stand on."""

    scale: float
    flip: bool
    roll: float
    centre: tuple[float, float]  # of the dog, in dog units
    onto: tuple[float, float]  # where that centre lies on the canvas

    def point(self, p: Point) -> Point:
        cos, sin = _cos_sin(self.roll)
        x, y = (p.x - self.centre[0]) * (-1 if self.flip else 1), p.y - self.centre[1]
        return Point(
            self.onto[0] + self.scale * (x * cos - y * sin), self.onto[1] - self.scale * (x * sin + y * cos), p.z * self.scale
        )

    def bones(self, bones: Iterable[Bone]) -> list[Bone]:
        return [Bone(self.point(b.a), b.ra * self.scale, self.point(b.b), b.rb * self.scale) for b in bones]


def _fit(breed: Breed, skeleton: Skeleton, pose: Pose, size: int, ground: float, rng: random.Random) -> View:
    """Scale the dog to fill 0.60 to 0.92 of the picture and stand it on the ground."""
    bones = list(skeleton.bones())
    left = min(min(b.a.x - b.ra, b.b.x - b.rb) for b in bones)
    right = max(max(b.a.x + b.ra, b.b.x + b.rb) for b in bones)
    low = min(min(b.a.y - b.ra, b.b.y - b.rb) for b in bones)
    high = max(max(b.a.y + b.ra, b.b.y + b.rb) for b in bones)
    hair = {"fluffy": 0.03, "shaggy": 0.06, "curly": 0.02, "wiry": 0.02}.get(breed.coat, 0.0)
    left, right, high = left - hair, right + hair, high + hair
    width, height = right - left, high - low
    fill = rng.uniform(0.60, 0.92)
    scale = min(fill / width, fill * 0.94 / height) * size
    free = size - width * scale
    x = size / 2 + rng.uniform(-0.45, 0.45) * free
    y = min(ground * size, 0.97 * size) - 0.5 * height * scale
    y = max(y, 0.5 * height * scale + 0.03 * size)
    return View(scale, pose.flip, pose.roll, (0.5 * (left + right), 0.5 * (low + high)), (x, y))


def _paint_dog(canvas: Canvas, breed: Breed, pose: Pose, ground: float, rng: random.Random) -> None:
    skeleton = _skeleton(breed, pose)
    view = _fit(breed, skeleton, pose, canvas.size, ground, rng)
    dress = _dress(breed, canvas.size, view.scale, rng)
    painter = DogPainter(canvas, breed, pose, skeleton, view, dress)
    painter.ground_shadow()
    painter.tail()
    painter.far_legs()
    painter.body()
    painter.collar()
    painter.head()


def _individual(breed: Breed, rng: random.Random) -> Breed:
    """One dog of the breed: no two have quite the same proportions."""
    lengths = ("leg", "body", "chest", "loin", "neck", "skull", "muzzle", "snout", "bone", "ear")
    return replace(breed, **{name: getattr(breed, name) * rng.uniform(0.93, 1.07) for name in lengths})


def _dress(breed: Breed, size: int, scale: float, rng: random.Random) -> Dress:
    base, mark = rng.choice(breed.colours)
    shade = rng.uniform(0.88, 1.08)

    def tint(name: str) -> RGB:
        r, g, b = COLOURS[name]
        return (r * shade * rng.uniform(0.95, 1.05), g * shade * rng.uniform(0.96, 1.04), b * shade * rng.uniform(0.93, 1.07))

    corner = (rng.randrange(size), rng.randrange(size))
    return Dress(breed, rng.choice(breed.patterns), tint(base), tint(mark), tint("white"), size, scale, corner)


@dataclass
class DogPainter:
    """Paints the parts of one dog, back to front."""

    canvas: Canvas
    breed: Breed
    pose: Pose
    skeleton: Skeleton
    view: View
    dress: Dress

    def shape(self, bones: Iterable[Bone], blend: float) -> Shape:
        return Shape.of(self.view.bones(bones), blend * self.view.scale, self.canvas.size)

    def ground_shadow(self) -> None:
        s = self.view
        feet = [self.view.point(p) for b in [*self.skeleton.far_legs, *self.skeleton.body, *self.skeleton.haunch] for p in (b.a, b.b) if p.y < 0.12]
        x = 0.5 * (min(p.x for p in feet) + max(p.x for p in feet))
        y = max(p.y for p in feet) + 0.02 * s.scale
        reach = 0.5 * (max(p.x for p in feet) - min(p.x for p in feet)) + 0.14 * s.scale
        for grow, share in ((1.0, 0.30), (0.82, 0.25), (0.62, 0.2)):
            self.canvas.dot(x, y, reach * grow, 0.075 * s.scale * grow, (40, 36, 60), share)

    def tail(self) -> None:
        bones, dress = self.skeleton.tail, self.dress
        pompon = self.breed.tail == "pompon"
        shape = self.shape(bones[:1] if pompon else bones, 0.03)
        bump = dress.roughen(shape, 0.3 if self.breed.coat in ("curly", "wiry") else 1.0)
        colour = self._marked_by_part(shape.box)
        if dress.pattern in ("saddle", "points", "mantle"):
            colour = _mix(colour, dress.mark if dress.pattern != "points" else dress.base, 0.8)
        if self.breed.trim and self.breed.tail != "docked":
            tip = self.view.point(bones[-1].b)
            x, y = shape.box.grid()
            near = (x - np.float32(tip.x)) ** 2 + (y - np.float32(tip.y)) ** 2
            colour = _mix(colour, dress.white, _ramp(np.sqrt(near), 0.16 * self.view.scale, 0.12 * self.view.scale))
        self.canvas.paint(shape, colour, bump=bump)
        if pompon:
            self._tuft(bones[2:])

    def _tuft(self, bones: Sequence[Bone], cast: float = 0.5) -> None:
        shape = self.shape(bones, 0.03)
        bump = self.dress.roughen(shape)
        self.canvas.paint(shape, _planes(self.dress.base), bump=bump, cast=cast)

    def far_legs(self) -> None:
        shape = self.shape(self.skeleton.far_legs, 0.02)
        bump = self.dress.roughen(shape, self._leg_hair())
        self.canvas.paint(shape, self._body_colour(shape.box) * np.float32(0.80), bump=bump)
        self._bracelets(self.skeleton.far_legs)

    def _leg_hair(self) -> float:
        return {"curly": 0.4, "fluffy": 0.6}.get(self.breed.coat, 1.0)

    def body(self) -> None:
        shape = self.shape(self.skeleton.body, 0.05)
        bump = self.dress.roughen(shape)
        self.canvas.paint(shape, self._body_colour(shape.box), cast=0.5, bump=bump)
        self._bracelets(self.skeleton.body)
        if self.skeleton.haunch:
            shape = self.shape(self.skeleton.haunch, 0.05)
            bump = self.dress.roughen(shape)
            self.canvas.paint(shape, self._body_colour(shape.box), cast=0.35, outline=0.55, bump=bump)

    def _bracelets(self, bones: Sequence[Bone]) -> None:
        """A poodle's pompons above the feet."""
        if self.breed.tail != "pompon":
            return
        for bone in bones:
            if bone.b.y < 0.12 and bone.a.y > bone.b.y + 0.05:
                at = _between(bone.b, bone.a, min(1.0, 0.10 / (bone.a.y - bone.b.y)))
                self._tuft([_ball(at, 0.095)])

    def _frame(self, box: Box) -> tuple[Array, Array, Array]:
        """Where each pixel is on the dog: along the back (0 hip, 1 chest), across it (+1 = the back's line), height in legs."""
        hip, chest = self.view.point(self.skeleton.hip), self.view.point(self.skeleton.chest)
        x, y = box.grid()
        dx, dy = chest.x - hip.x, chest.y - hip.y
        length = math.sqrt(dx * dx + dy * dy)
        px, py = x - np.float32(hip.x), y - np.float32(hip.y)
        along = (px * np.float32(dx) + py * np.float32(dy)) * np.float32(1 / length**2)
        side = 1.0 if dx > 0 else -1.0
        across = (px * np.float32(dy) - py * np.float32(dx)) * np.float32(side / length / (self.breed.chest * self.view.scale))
        ground = self.view.onto[1] + self.view.centre[1] * self.view.scale
        height = (np.float32(ground) - y) * np.float32(1 / (max(self.skeleton.leg_top, 0.14) * self.view.scale))
        return along, across, height + np.zeros_like(along)

    def _marked_by_part(self, box: Box) -> Array:
        return self.dress.patched(_planes(self.dress.base), box)

    def _body_colour(self, box: Box) -> Array:
        dress, breed = self.dress, self.breed
        along, across, height = self._frame(box)
        wobble = self.dress.texture("wire", box) * np.float32(0.25) + self.dress.texture("patches", box) * np.float32(0.35)
        colour = self._marked_by_part(box)
        match dress.pattern:
            case "solid":
                colour = _mix(colour, dress.mark, _ramp(across, 0.0, -1.0) * np.float32(0.35))
            case "saddle":
                back = _ramp(across + wobble, 0.15, 0.40) * _ramp(along + wobble, 1.45, 1.25)
                colour = _mix(colour, dress.mark, back)
            case "points":
                colour = _mix(colour, dress.mark, _ramp(height, 0.34, 0.24) if self.pose.sitting else _ramp(height, 0.62, 0.48))
                colour = _mix(colour, dress.mark, _ramp(along, 1.08, 1.18) * _ramp(across, 0.35, 0.15))
            case "mantle":
                colour = _mix(colour, dress.mark, _ramp(along + wobble, 0.80, 0.72) * _ramp(height + wobble, 0.45, 0.60))
        if breed.trim:
            chest = _ramp(along + wobble, 1.15, 1.30) * _ramp(across + wobble, 0.75, 0.55)
            feet = _ramp(height + wobble, 0.75, 0.60)
            belly = _ramp(across + wobble, -0.45, -0.65)
            colour = _mix(colour, dress.white, np.maximum(np.maximum(chest, feet), belly))
        return colour

    def collar(self) -> None:
        if self.pose.collar is None or self.breed.coat == "shaggy":
            return
        bone = self.skeleton.collar
        width = 0.028
        band = self.shape([Bone(bone.a, width, bone.b, width)], 0.01)
        neck = Shape.of(self.view.bones(self.skeleton.body), 0.05 * self.view.scale, self.canvas.size, band.box)
        band.distance = np.maximum(band.distance, neck.distance)  # no wider than the neck
        self.canvas.paint(band, self.pose.collar, outline=0.8)
        tag = self.view.point(_between(bone.a, bone.b, 0.86))
        self.canvas.dot(tag.x, tag.y + 0.035 * self.view.scale, *(2 * [0.034 * self.view.scale]), colour=(120, 84, 30))
        self.canvas.dot(tag.x, tag.y + 0.035 * self.view.scale, *(2 * [0.026 * self.view.scale]), colour=(250, 214, 96))

    # -- the head

    def head(self) -> None:
        head, ears = self.skeleton.head, self.breed.ears
        near, far = head.ears
        upright = ears in ("pricked", "cropped")
        frontal = self.pose.head_yaw > 42
        behind = [far] * (upright or not frontal) + [near] * (upright and frontal)
        before = [near] * (not (upright and frontal)) + [far] * (not upright and frontal)
        for ear in behind:
            self._ear(ear)
        self._skull()
        self._muzzle()
        if self.pose.tongue:
            self._tongue()
        self._mouth()
        self._nose()
        for side in (1.0, -1.0):
            self._eye(side)
        for ear in before:
            self._ear(ear)
        self._hair()

    def _ear(self, bones: Sequence[Bone]) -> None:
        dress = self.dress
        shape = self.shape(bones, 0.03)
        bump = dress.roughen(shape, 0.5 if self.breed.coat == "fluffy" else 1.0)
        colour = _planes(dress.base)
        match dress.pattern:
            case "patches" | "mantle":
                colour = _planes(dress.mark)
            case "spots":
                colour = _mix(colour, dress.mark, np.maximum(dress.texture("spots", shape.box), 0.35))
            case "saddle":
                colour = _mix(colour, dress.mark, 0.3)
            case "brindle":
                colour = dress.patched(_planes(dress.base), shape.box)
        colour = colour * np.float32(0.9)
        self.canvas.paint(shape, colour, cast=0.5, bump=bump)
        if self.breed.ears in ("pricked", "cropped") and self.pose.head_yaw > 25:
            inner = self.shape([Bone(_between(bones[0].a, bones[0].b, 0.35), bones[0].ra * 0.45, _between(bones[-1].a, bones[-1].b, 0.55), 0.012)], 0.01)
            rows, columns = inner.box.slices()
            share = _ramp(inner.distance, 1.5, -2.5) * np.float32(0.45)
            self.canvas.pixels[:, rows, columns] = _mix(self.canvas.pixels[:, rows, columns], (236, 164, 150), share)

    def _skull(self) -> None:
        shape = self.shape(self.skeleton.head.skull, 0.35 * self.breed.skull)
        bump = self.dress.roughen(shape, {"fluffy": 0.6, "curly": 0.1, "wiry": 0.45}.get(self.breed.coat, 1.0))
        self.canvas.paint(shape, self._head_colour(shape.box), cast=0.8, bump=bump)

    def _head_colour(self, box: Box) -> Array:
        dress, breed, head, view = self.dress, self.breed, self.skeleton.head, self.view
        r = head.radius * view.scale
        colour = _planes(dress.base)
        if dress.pattern in ("spots", "brindle"):
            colour = dress.patched(colour, box)
        x, y = box.grid()
        front = view.point(head.at(1.0, 0.3, 0))
        muzzle = Shape.of(view.bones(head.muzzle), 1, self.canvas.size, box).distance * np.float32(1 / r)
        if dress.pattern == "patches":
            side = (x - np.float32(front.x)) * np.float32((-1 if view.flip else 1) / r) + np.zeros_like(muzzle)
            colour = _mix(colour, dress.mark, np.maximum(_ramp(side, -0.10, -0.16), _ramp(side, 0.25, 0.31)))
        if dress.pattern == "points":
            cheek = _ramp(muzzle + (np.float32(front.y + 0.5 * r) - y) * np.float32(0.9 / r), 0.10, -0.05)
            colour = _mix(colour, dress.mark, cheek)
            for side in (1.0, -1.0):
                if head.facing(0.72, 0.62, 0.42 * side) > 0.1:
                    brow = view.point(head.at(0.68, 0.60, 0.40 * side))
                    d = np.sqrt((x - np.float32(brow.x)) ** 2 + (y - np.float32(brow.y)) ** 2)
                    colour = _mix(colour, dress.mark, _ramp(d, 0.17 * r, 0.11 * r))
        if breed.trim or dress.pattern == "patches":
            facing = max(0.0, head.facing(1.0, 0.3, 0))
            stripe = np.abs(x - np.float32(front.x)) * np.float32(1 / r) + np.maximum(np.float32(front.y - 0.3 * r) - y, 0) * np.float32(0.35 / r)
            white = np.maximum(_ramp(muzzle, 0.12, 0.02), _ramp(stripe, 0.24, 0.16) * np.float32(facing > 0.25))
            colour = _mix(colour, dress.white if breed.trim else dress.base, white)
        if breed.ruff and dress.pattern == "solid":  # a paler, foxy face
            colour = _mix(colour, dress.mark, _ramp(muzzle, 0.16, -0.06) * np.float32(0.6))
        if breed.mask:
            dark = tuple(0.35 * c + 12 for c in dress.mark)
            colour = _mix(colour, dark, _ramp(muzzle, 0.10, -0.12) * np.float32(0.85))
        return colour

    def _muzzle(self) -> None:
        """Seen from the front the muzzle lies over the skull: its own soft edge sets it off."""
        head = self.skeleton.head
        turned = max(0.0, head.facing(1, -0.3, 0))
        shape = self.shape(head.muzzle, 0.01)
        rows, columns = shape.box.slices()
        r = head.radius * self.view.scale
        below = self.canvas.pixels[:, rows, columns]
        halo = _ramp(shape.distance, 0.35 * r, 0) * _ramp(shape.distance, -0.06 * r, 0.02 * r) * self.canvas.dog[rows, columns]
        below = _mix(below, below * np.float32(0.72), halo * np.float32(0.75 * turned))
        light = _ramp(shape.distance, 0, -0.35 * r) * np.float32(0.16 * turned)
        self.canvas.pixels[:, rows, columns] = _mix(below, (255, 250, 240), light)

    def _muzzle_point(self, along: float, up: float, side: float) -> Point:
        """A point on the muzzle's surface: along 0..1 from skull to tip; up and side in radii there."""
        bone, head = self.skeleton.head.muzzle[0], self.skeleton.head
        centre, radius = _between(bone.a, bone.b, along), bone.ra + (bone.rb - bone.ra) * along
        k = radius / head.radius
        o, p = head.at(0, 0, 0), head.at(0, up * k, side * k)
        return Point(centre.x + p.x - o.x, centre.y + p.y - o.y, centre.z + p.z - o.z)

    def _nose_point(self, side: float = 0.0) -> Point:
        head, tip = self.skeleton.head, self.breed.snout / self.breed.skull
        o, forward = head.at(0, 0, 0), head.at(0.62 * tip, 0.50 * tip, side * tip)
        end = self.skeleton.head.muzzle[0].b
        return Point(end.x + forward.x - o.x, end.y + forward.y - o.y, end.z + forward.z - o.z)

    def _nose(self) -> None:
        width, radius = 0.22, 0.030 + 0.24 * self.breed.snout
        a, b = self._nose_point(-width), self._nose_point(width)
        shape = self.shape([Bone(a, radius, b, radius)], 0.01)
        liver = self.dress.base[0] > 120 and self.dress.base[2] < 70
        self.canvas.paint(shape, (112, 68, 62) if liver else (50, 42, 50), outline=0.5)
        shine = self.view.point(_between(a, b, 0.5))
        k = self.view.scale * radius
        lx = self.canvas.light[0]
        self.canvas.dot(shine.x + 0.3 * k * (1 if lx > 0 else -1), shine.y - 0.42 * k, 0.38 * k, 0.22 * k, (255, 255, 255), 0.7)

    def _mouth(self) -> None:
        line: RGB = tuple(0.22 * c + 14 for c in self.dress.base)  # type: ignore[assignment]
        under = self.view.point(self._muzzle_point(1.0, -0.55, 0))
        self.canvas.stroke([self.view.point(self._nose_point()), under], 0.010 * self.view.scale, line, 0.8)
        for side in (1.0, -1.0):
            if self.skeleton.head.facing(0.4, -0.3, side) < -0.15:
                continue
            smile = [(1.0, -0.55, 0.0), (0.85, -0.72, 0.45), (0.55, -0.66, 0.75), (0.25, -0.42, 0.90)]
            self.canvas.stroke([self.view.point(self._muzzle_point(a, u, s * side)) for a, u, s in smile], 0.011 * self.view.scale, line, 0.85)

    def _tongue(self) -> None:
        top, r = self._muzzle_point(0.86, -0.60, 0.12), 0.26 * self.breed.skull + 0.008
        end = Point(top.x, top.y - 0.42 * self.breed.skull, top.z)
        self.canvas.paint(self.shape([Bone(top, r * 0.9, end, r)], 0.01), (232, 112, 120), outline=0.6)
        self.canvas.stroke([self.view.point(top), self.view.point(_between(top, end, 0.8))], 0.006 * self.view.scale, (190, 76, 90), 0.7)

    def _eye(self, side: float) -> None:
        head, k = self.skeleton.head, self.view.scale
        look = (0.78, 0.20, 0.56 * side)
        facing = head.facing(*look)
        if facing < 0.12:
            return
        at = self.view.point(head.at(0.74, 0.19, 0.53 * side))
        r = k * (0.022 + 0.085 * self.breed.skull)
        rx = r * (0.55 + 0.45 * facing)
        dark = sum(self.dress.base) < 300 and not self.breed.trim
        self.canvas.dot(at.x, at.y, rx * 1.22, r * 1.22, (150, 120, 96) if dark else (60, 42, 40), 0.9)
        self.canvas.dot(at.x, at.y, rx, r, (112, 66, 38))
        self.canvas.dot(at.x, at.y + 0.05 * r, rx * 0.74, r * 0.78, (22, 18, 22))
        shift = 0.30 if self.canvas.light[0] > 0 else -0.30
        self.canvas.dot(at.x + shift * rx, at.y - 0.36 * r, rx * 0.34, r * 0.34, (255, 255, 255))
        self.canvas.dot(at.x - shift * rx, at.y + 0.40 * r, rx * 0.16, r * 0.16, (255, 240, 220), 0.7)

    def _hair(self) -> None:
        """What hangs or stands about the face: a sheepdog's fringe, a poodle's topknot, a terrier's beard."""
        head, r = self.skeleton.head, self.breed.skull
        if self.breed.tail == "pompon":
            self._tuft([Bone(head.at(-0.35, 0.75, 0), 0.62 * r, head.at(0.15, 0.85, 0), 0.66 * r)], cast=0.8)
        if self.breed.coat == "shaggy":
            for side in (-0.75, 0.75, -0.4, 0.4, 0.0):
                if head.facing(0.7, 0.5, side) > 0:
                    locks = _chain((head.at(0.15, 0.95, 0.5 * side), 0.26 * r), (head.at(0.80, 0.60, 0.8 * side), 0.26 * r), (head.at(1.0, 0.12, side), 0.08 * r))
                    shape = self.shape(locks, 0.02)
                    bump = self.dress.roughen(shape, 0.7)
                    self.canvas.paint(shape, _planes(self.dress.base), bump=bump, outline=0.35)


# --------------------------------------------------------------------------------------------------------------------
# Places: each paints a background
# --------------------------------------------------------------------------------------------------------------------


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
        column = Image.new("RGB", (1, 2))
        column.putpixel((0, 0), _ints(first))
        column.putpixel((0, 1), _ints(last))
        height = max(1, round((bottom - top) * self.size))
        self.image.paste(column.resize((self.size, height), Image.Resampling.BILINEAR), (0, round(top * self.size)))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: RGB) -> None:
        s = self.size
        self.draw.ellipse([(x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s], fill=_ints(colour))

    def box(self, left: float, top: float, right: float, bottom: float, colour: RGB) -> None:
        s = self.size
        if right * s >= left * s + 1 and bottom * s >= top * s + 1:
            self.draw.rectangle([left * s, top * s, right * s - 1, bottom * s - 1], fill=_ints(colour))

    def polygon(self, points: Iterable[tuple[float, float]], colour: RGB) -> None:
        self.draw.polygon([(x * self.size, y * self.size) for x, y in points], fill=_ints(colour))

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: RGB, width: float) -> None:
        s = self.size
        self.draw.line([x0 * s, y0 * s, x1 * s, y1 * s], fill=_ints(colour), width=max(1, round(width * s)))

    def vary(self, colour: RGB, amount: float = 14) -> RGB:
        """The colour, a little lighter or darker, warmer or colder."""
        lift = self.rng.uniform(-amount, amount)
        return (colour[0] + lift + self.rng.uniform(-5, 5), colour[1] + lift, colour[2] + lift + self.rng.uniform(-5, 5))

    def clouds(self, below: float) -> None:
        for _ in range(self.rng.randrange(4)):
            x, y, r = self.rng.random(), self.rng.uniform(0.05, below), self.rng.uniform(0.04, 0.07)
            for dx, dy, k in ((-1.2, 0.15, 0.7), (0, -0.2, 1.0), (1.1, 0.1, 0.8), (0.2, 0.25, 0.9)):
                self.ellipse(x + dx * r, y + dy * r, 1.15 * k * r, 0.75 * k * r, (252, 252, 255))

    def hills(self, horizon: float, colour: RGB, height: float = 0.12) -> None:
        x = self.rng.uniform(-0.2, 0.1)
        while x < 1.1:
            r = self.rng.uniform(0.22, 0.42)
            self.ellipse(x + r, horizon + 0.06, r * 1.2, height * self.rng.uniform(0.7, 1.4) + 0.06, self.vary(colour, 8))
            x += r

    def tree(self, x: float, foot: float, height: float, leaves: RGB) -> None:
        self.box(x - 0.02, foot - 0.4 * height, x + 0.02, foot, (122, 86, 62))
        for dx, dy, r in ((-0.16, 0.55, 0.22), (0.16, 0.58, 0.22), (0, 0.76, 0.27)):
            self.ellipse(x + dx * height, foot - dy * height, r * height, r * height, self.vary(leaves, 10))

    def fir(self, x: float, foot: float, height: float, needles: RGB, snowy: bool) -> None:
        for level in range(3):
            base, top, w = foot - 0.27 * height * level, foot - (0.5 + 0.25 * level) * height, (0.27 - 0.06 * level) * height
            self.polygon([(x - w, base), (x, top), (x + w, base)], needles)
            if snowy:
                self.polygon([(x - 0.4 * w, top + 0.4 * (base - top)), (x, top), (x + 0.4 * w, top + 0.4 * (base - top))], (246, 250, 255))

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
            p.polygon([(x, horizon + 0.16), (x, horizon - 0.06), (x + 0.03, horizon - 0.10), (x + 0.06, horizon - 0.06), (x + 0.06, horizon + 0.16)], (240, 232, 216))
        p.box(0, horizon, 1, horizon + 0.03, (228, 218, 200))
    flower = p.vary(rng.choice([(250, 246, 240), (250, 206, 76), (236, 120, 140), (150, 130, 220)]), 6)
    for x, y, near in p.scatter(70, horizon + 0.06, 1.0):
        h, lift = 0.018 + 0.04 * near, rng.uniform(-26, 18)
        p.line(x, y, x + rng.uniform(-0.012, 0.012), y - h, (green[0] - 30 + lift, green[1] - 24 + lift, green[2] - 30 + lift), 0.006)
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
        p.polygon([(x - 0.7 * s, horizon - 0.1 * s), (x + 1.1 * s, horizon - 0.1 * s), (x + 0.7 * s, horizon + 0.2 * s), (x - 0.4 * s, horizon + 0.2 * s)], (188, 78, 66))
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
        p.draw.pieslice([(x - r) * p.size, (y - r) * p.size, (x + r) * p.size, (y + r) * p.size], 180, 360, fill=_ints(p.vary((222, 84, 74))))
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
        p.polygon([(x + 0.04, 0.33), (x + 0.12, 0.19), (x + 0.18, 0.27), (x + 0.21, 0.23), (x + 0.26, 0.33)], p.vary((116, 150, 160)))
        lamp = (x + 0.62) % 1.0
        p.line(lamp, 0.30, lamp, floor, (110, 84, 70), 0.016)
        p.polygon([(lamp - 0.11, 0.32), (lamp - 0.06, 0.16), (lamp + 0.06, 0.16), (lamp + 0.11, 0.32)], p.vary((246, 212, 130)))
    wood = p.vary(rng.choice([(196, 150, 104), (168, 122, 86), (216, 182, 136)]), 12)
    p.gradient(floor, 1, wood, (wood[0] - 26, wood[1] - 26, wood[2] - 24))
    p.box(0, floor - 0.035, 1, floor, (248, 244, 236))
    for i in range(4):
        y = floor + (1 - floor) * (i / 4) ** 1.4
        p.line(0, y, 1, y, (wood[0] - 40, wood[1] - 38, wood[2] - 34), 0.006)
        for k in range(3):
            joint = (0.37 * k + 0.21 * i) % 1.0
            p.line(joint, y, joint, floor + (1 - floor) * ((i + 1) / 4) ** 1.4, (wood[0] - 40, wood[1] - 38, wood[2] - 34), 0.005)
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
        wall = p.vary(rng.choice([(204, 132, 108), (236, 204, 152), (168, 186, 196), (222, 176, 166), (178, 196, 160)]), 10)
        p.box(x, roof + 0.08, x + w, kerb, wall)
        p.polygon([(x - 0.01, roof + 0.09), (x + w / 2, roof - 0.03), (x + w + 0.01, roof + 0.09)], p.vary((136, 84, 76), 10))
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
        p.line(x, y, x + rng.uniform(-0.01, 0.01), y - 0.015 - 0.03 * near, (ground[0] - 34, ground[1] - 28, ground[2] - 26), 0.006)


PLACES: tuple[Callable[[Place], None], ...] = (_meadow, _beach, _room, _street, _snow, _autumn, _dusk)


# --------------------------------------------------------------------------------------------------------------------
# A picture, and the set
# --------------------------------------------------------------------------------------------------------------------

OVERSAMPLE = 2  # drawn this much larger, then averaged down


def draw_dog(breed: str | Breed, seed: int | str = 0, size: int = 160) -> Image.Image:
    """One picture of (size, size) RGB: the breed in the pose, coat, light and place that `seed` gives."""
    if isinstance(breed, str):
        breed = breed_named(breed)
    rng = random.Random(f"{breed.folder}/{seed}")
    drawn = size * OVERSAMPLE
    place = Place(Image.new("RGB", (drawn, drawn)), rng, ground=rng.uniform(0.82, 0.97))
    rng.choice(PLACES)(place)
    scene = place.image.filter(ImageFilter.BoxBlur(drawn * rng.uniform(0.002, 0.008)))  # the dog is in focus
    canvas = Canvas(np.array(scene, np.float32).transpose(2, 0, 1).copy(), _random_light(rng))
    _paint_dog(canvas, _individual(breed, rng), _random_pose(rng), place.ground, rng)
    _expose(canvas.pixels, rng)
    pixels = np.clip(canvas.pixels + np.float32(0.5), 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).reduce(OVERSAMPLE)


def _random_light(rng: random.Random) -> tuple[float, float, float]:
    x, y, z = rng.choice([-1, 1]) * rng.uniform(0.35, 0.75), -rng.uniform(0.55, 0.85), rng.uniform(0.55, 0.75)
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


def _expose(pixels: Array, rng: random.Random) -> None:
    """Light and camera, in place: a cast shadow or sunlit side, brightness, contrast, colour temperature."""
    size = pixels.shape[1]
    x, y = Box(0, size, 0, size).grid()
    slant = (x * np.float32(rng.uniform(-1, 1)) + y * np.float32(rng.uniform(-0.6, 0.6))) * np.float32(1 / size)
    at = rng.uniform(-0.3, 0.3)
    shade = _ramp(slant, at - 0.4, at + 0.4) * np.float32(rng.uniform(0, 0.28))
    warmth, contrast, brightness = rng.uniform(-0.09, 0.09), rng.uniform(0.88, 1.12), rng.uniform(0.90, 1.16)
    gain = contrast * brightness
    pixels *= _planes(((1 + warmth) * gain, gain, (1 - warmth) * gain))
    pixels *= 1 - shade
    pixels += np.float32(124 * (1 - contrast))


def breed_named(folder: str) -> Breed:
    for breed in BREEDS:
        if breed.folder == folder:
            return breed
    raise ValueError(f"no drawn breed is called {folder!r}; there are {', '.join(b.folder for b in BREEDS)}")


class Picture(NamedTuple):
    """One picture of the set: where it lies under dogImages, and what gives it its looks."""

    path: str
    breed: Breed
    seed: str


def pictures(breeds: int, train: int, valid: int, test: int, seed: int) -> list[Picture]:
    """Every picture of a set; numbers run on through the splits, as the real set's do."""
    listed = []
    for breed in BREEDS[:breeds]:
        number, name = 0, breed.folder.partition(".")[2]
        for split, count in (("train", train), ("valid", valid), ("test", test)):
            for i in range(count):
                number += 1
                listed.append(Picture(f"{split}/{breed.folder}/{name}_{number:05d}.jpg", breed, f"{seed}/{split}/{i}"))
    return listed


def draw_sample_set(
    folder: str | os.PathLike[str],
    breeds: int = 12,
    train: int = 50,
    valid: int = 10,
    test: int = 10,
    size: int = 160,
    seed: int = 0,
) -> Path:
    """Draw `breeds` x (train + valid + test) JPEGs of (size, size) pixels; returns the folder `folder`/dogImages.

    The same arguments give the same bytes, on every machine with the same Pillow. A set that is there already, drawn with the
    same arguments, is left as it is.

    Raises ValueError for counts that make no set, and FileExistsError where another `dogImages` is in the way.
    """
    if not 2 <= breeds <= len(BREEDS):
        raise ValueError(f"breeds={breeds}: choose 2 to {len(BREEDS)}")
    if min(train, valid, test) < 1 or size < 32:
        raise ValueError(f"train={train}, valid={valid}, test={test}, size={size}: at least one picture a split, of 32 pixels or more")
    target = Path(folder) / "dogImages"
    todo = pictures(breeds, train, valid, test, seed)
    if target.exists():
        if _is_set(target, todo, size):
            return target
        raise FileExistsError(f"{target} holds other photos: delete it, or draw into another folder")
    part = target.with_name(f".dogImages.{os.getpid()}.part")
    for directory in {(part / picture.path).parent for picture in todo}:
        directory.mkdir(parents=True)
    try:
        _draw_in_parallel(part, [breeds, train, valid, test, size, seed], len(todo))
        part.rename(target)  # so a set is there whole or not at all
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _is_set(target: Path, todo: Sequence[Picture], size: int) -> bool:
    """Whether `target` holds exactly these pictures, judged by all names and by one picture's bytes."""
    there = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    return there == sorted(picture.path for picture in todo) and (target / todo[-1].path).read_bytes() == _jpeg(todo[-1], size)


def _jpeg(picture: Picture, size: int) -> bytes:
    buffer = io.BytesIO()
    draw_dog(picture.breed, picture.seed, size).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _draw_in_parallel(part: Path, arguments: Sequence[int], count: int) -> None:
    """Share the pictures out over this module run as a program: unlike multiprocessing it does not import the caller's own
    script again, which a notebook lacks and an unguarded script would not survive."""
    workers = max(1, min(os.cpu_count() or 1, 8, count // 20))
    if workers == 1:
        return _draw_share(part, 0, 1, *arguments)
    root = str(Path(__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-m", "helpers.samples", str(part)]
    started = [
        subprocess.Popen([*command, *map(str, (share, workers, *arguments))], env=environment, stderr=subprocess.PIPE, text=True)
        for share in range(workers)
    ]
    errors = [process.communicate()[1] for process in started]
    for process, error in zip(started, errors, strict=True):
        if process.returncode:
            raise RuntimeError(f"drawing the sample set failed with exit code {process.returncode}: {error.strip()[-2000:]}")


def _draw_share(part: Path, share: int, shares: int, breeds: int, train: int, valid: int, test: int, size: int, seed: int) -> None:
    for picture in pictures(breeds, train, valid, test, seed)[share::shares]:
        (part / picture.path).write_bytes(_jpeg(picture, size))


if __name__ == "__main__":
    _draw_share(Path(sys.argv[1]), *map(int, sys.argv[2:]))
