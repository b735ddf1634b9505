"""A dog's bones: tapered rods in space, posed and turned towards the viewer."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from helpers.samples.breeds import RGB, Breed

COLLARS: tuple[RGB, ...] = (
    (206, 62, 56),
    (48, 112, 190),
    (238, 190, 60),
    (60, 150, 96),
    (150, 84, 160),
    (240, 130, 60),
)


class Point(NamedTuple):
    """x to the right, y up, z towards the viewer (on the canvas, y is down)."""

    x: float
    y: float
    z: float = 0.0


class Bone(NamedTuple):
    """A rod from `a` to `b` whose radius goes from `ra` to `rb`."""

    a: Point
    ra: float
    b: Point
    rb: float


Turn = Callable[[float, float, float], Point]


def cos_sin(degrees: float) -> tuple[float, float]:
    """Rounded, since the last bit of a cosine differs between processors."""
    return round(math.cos(math.radians(degrees)), 6), round(math.sin(math.radians(degrees)), 6)


def ball(centre: Point, radius: float) -> Bone:
    """A bone of no length."""
    return Bone(centre, radius, centre, radius)


def chain(*joints: tuple[Point, float]) -> list[Bone]:
    """Bones from joint to joint, each joint being (point, radius)."""
    return [Bone(a, ra, b, rb) for (a, ra), (b, rb) in pairwise(joints)]


def between(a: Point, b: Point, share: float) -> Point:
    """The point that share of the way from `a` to `b`."""
    return Point(a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share, a.z + (b.z - a.z) * share)


def extent(bones: Iterable[Bone]) -> tuple[float, float, float, float]:
    """(least x, greatest x, least y, greatest y) of the bones, radii included."""
    ends = [end for bone in bones for end in ((bone.a, bone.ra), (bone.b, bone.rb))]
    return (
        min(p.x - r for p, r in ends),
        max(p.x + r for p, r in ends),
        min(p.y - r for p, r in ends),
        max(p.y + r for p, r in ends),
    )


@dataclass(frozen=True)
class Pose:
    """How a dog holds itself. Angles in degrees."""

    sitting: bool
    yaw: float  # of the body: 0 = seen from the side, 45 = coming towards the viewer
    head_yaw: float  # 0 = profile, 90 = looking at the viewer
    nod: float  # up (+) or down (-)
    stride: float  # -1..1
    wag: float  # -1..1
    flip: bool  # facing left
    roll: float  # of the ground
    tongue: bool  # hanging out
    collar: RGB | None

    @classmethod
    def draw(cls, rng: random.Random) -> Pose:
        """A pose at random."""
        return cls(
            sitting=rng.random() < 0.33,
            yaw=rng.uniform(-8, 38),
            head_yaw=rng.choice([rng.uniform(0, 25), rng.uniform(30, 60), rng.uniform(60, 84)]),
            nod=rng.uniform(-12, 12),
            stride=rng.uniform(-1, 1),
            wag=rng.uniform(-1, 1),
            flip=rng.random() < 0.5,
            roll=rng.uniform(-5, 5),
            tongue=rng.random() < 0.45,
            collar=rng.choice(COLLARS) if rng.random() < 0.6 else None,
        )


@dataclass
class Head:
    """Skull, muzzle and ears around `centre`; `at(forward, up, side)` is a point of the head, in skull radii."""

    centre: Point
    radius: float
    yaw: float
    nod: float
    skull: list[Bone] = field(default_factory=list)
    muzzle: list[Bone] = field(default_factory=list)
    near_ear: list[Bone] = field(default_factory=list)
    far_ear: list[Bone] = field(default_factory=list)

    def direction(self, forward: float, up: float, side: float) -> Point:
        """From the centre to `at(forward, up, side)`."""
        (cos, sin), (cos_nod, sin_nod) = cos_sin(self.yaw), cos_sin(self.nod)
        forward, up = forward * cos_nod - up * sin_nod, forward * sin_nod + up * cos_nod
        r = self.radius
        return Point(r * (forward * cos - side * sin), r * up, r * (forward * sin + side * cos))

    def at(self, forward: float, up: float, side: float, start: Point | None = None) -> Point:
        """The point that far from the head's centre (or from `start`)."""
        start, d = start or self.centre, self.direction(forward, up, side)
        return Point(start.x + d.x, start.y + d.y, start.z + d.z)

    def facing(self, forward: float, up: float, side: float) -> float:
        """How much that direction looks at the viewer: 1 = straight, 0 = edge on, -1 = away."""
        d = self.direction(forward, up, side)
        return d.z / math.sqrt(d.x * d.x + d.y * d.y + d.z * d.z)


@dataclass
class Skeleton:
    """The bones of one dog in one pose, turned towards the viewer, in dog units above the ground."""

    tail: list[Bone]
    far_legs: list[Bone]
    body: list[Bone]  # with the near legs, or the near foreleg if it sits
    haunch: list[Bone]  # the near hind leg of a sitting dog, which lies over the body
    collar: tuple[Point, Point]  # from the nape to the throat
    head: Head
    hip: Point
    chest: Point
    elbow: float  # its height

    @property
    def trunk(self) -> list[Bone]:
        """All that stands on the ground."""
        return [*self.far_legs, *self.body, *self.haunch]

    @property
    def bones(self) -> list[Bone]:
        """All that takes room in the picture."""
        return [*self.tail, *self.trunk, *self.head.skull, *self.head.near_ear, *self.head.far_ear]


def skeleton(breed: Breed, pose: Pose) -> Skeleton:
    """Stand (or seat) a dog of that breed, and turn it towards the viewer."""
    b = breed
    cos, sin = cos_sin(pose.yaw)

    def turn(x: float, y: float, z: float) -> Point:
        turned = x * sin + z * cos
        return Point(x * cos - z * sin, y - 0.10 * turned, turned)  # the camera looks down a little

    rump = 0.5 * (b.chest + b.loin)  # radius
    if pose.sitting:
        hip = Point(-0.4 * b.body, 0.95 * rump)
        rise = min(0.80, max(0.48, (b.leg + 0.9 * b.chest - hip.y) / (0.92 * b.body)))
        chest = Point(hip.x + 0.92 * b.body * math.sqrt(1 - rise * rise), hip.y + 0.92 * b.body * rise)
    else:
        chest = Point(0.5 * b.body, b.leg + 0.80 * b.chest)
        hip = Point(-0.5 * b.body, chest.y + b.chest - rump - (0.05 if b.tail == "bushy" else 0.0))
    waist = between(hip, chest, 0.42)
    waist = Point(waist.x, waist.y + (b.chest - b.loin) * (0.15 if pose.sitting else 0.55))
    head_at = Point(
        chest.x + 0.55 * b.chest + 0.55 * b.neck + 0.30 * b.skull,
        chest.y + 0.55 * b.chest + 0.85 * b.neck + 0.55 * b.skull,
    )
    throat = between(Point(chest.x + 0.2 * b.chest, chest.y + 0.25 * b.chest), head_at, 0.85)

    body = chain((turn(*hip), rump), (turn(*waist), b.loin), (turn(*chest), b.chest))
    body += chain(
        (turn(chest.x + 0.15 * b.chest, chest.y + 0.2 * b.chest, 0), 0.80 * b.chest + 0.7 * b.ruff),
        (turn(*throat), 0.62 * b.skull + 0.10 * b.chest + b.ruff),
    )
    step = pose.stride * (0.25 if pose.sitting else 0.8)
    body += _foreleg(b, chest, turn, +1, step)
    haunch = _hind_leg(b, pose.sitting, hip, rump, turn, +1, -step)
    if not pose.sitting:
        body, haunch = body + haunch, []
    back = -0.53 if pose.sitting else -0.75
    root = Point(hip.x + back * rump, hip.y + (-0.35 if pose.sitting else 0.55) * rump)
    return Skeleton(
        tail=_tail(b, pose, root, turn),
        far_legs=_foreleg(b, chest, turn, -1, -step) + _hind_leg(b, pose.sitting, hip, rump, turn, -1, step),
        body=body,
        haunch=haunch,
        collar=(
            turn(throat.x - 0.90 * b.skull, throat.y - 0.25 * b.skull, 0),
            turn(throat.x + 0.55 * b.skull, throat.y - 1.00 * b.skull, 0),
        ),
        head=_head(b, pose, turn(*head_at)),
        hip=turn(*hip),
        chest=turn(*chest),
        elbow=b.leg,
    )


def _foreleg(b: Breed, chest: Point, turn: Turn, side: float, step: float) -> list[Bone]:
    z, foot = side * 0.55 * b.chest, chest.x + 0.02 + 0.30 * b.leg * step
    return chain(
        (turn(chest.x, chest.y - 0.1 * b.chest, z), 0.55 * b.chest),
        (turn(chest.x - 0.01, 0.75 * chest.y - 0.2 * b.chest, z), 1.35 * b.bone),
        (turn(0.5 * (chest.x + foot), 0.4 * b.leg, z), b.bone),
        (turn(foot, b.bone, z), 0.95 * b.bone),
        (turn(foot + 0.9 * b.bone, 0.8 * b.bone, z), 0.9 * b.bone),
    )


def _hind_leg(b: Breed, sitting: bool, hip: Point, rump: float, turn: Turn, side: float, step: float) -> list[Bone]:
    z = side * 0.55 * b.chest
    if sitting:
        knee = hip.x + 0.75 * rump + 0.25 * b.leg
        return chain(
            (turn(hip.x + 0.15 * rump, hip.y, z), 0.95 * rump),
            (turn(knee, 0.80 * rump, 1.2 * z), 0.55 * rump),
            (turn(knee - 0.20 * b.leg, b.bone, 1.2 * z), 1.1 * b.bone),
            (turn(knee + 0.12 * b.leg + b.bone, 0.85 * b.bone, 1.2 * z), 0.9 * b.bone),
        )
    foot = hip.x - 0.02 + 0.30 * b.leg * step
    return chain(
        (turn(hip.x + 0.02, hip.y - 0.1 * rump, z), 0.85 * rump),
        (turn(hip.x + 0.16 * b.leg + 0.12 * b.leg * step, 0.78 * b.leg, z), 0.45 * rump + 0.3 * b.bone),
        (turn(foot - 0.17 * b.leg, 0.38 * b.leg, z), 0.95 * b.bone),
        (turn(foot, b.bone, z), 0.90 * b.bone),
        (turn(foot + b.bone, 0.8 * b.bone, z), 0.85 * b.bone),
    )


def _tail(b: Breed, pose: Pose, root: Point, turn: Turn) -> list[Bone]:
    """`joints` are (backwards, up, radius) from the tail's root, in dog units."""
    w = pose.wag
    match b.tail:
        case "docked":
            joints = [(-0.08, -0.05, 0.055), (0.03, 0.04 + 0.02 * w, 0.040)]
        case "straight":
            joints = [
                (-0.06, -0.06, 0.050),
                (0.06, 0.12, 0.042),
                (0.06 + 0.06 * w, 0.26, 0.036),
                (0.10 * w, 0.38, 0.024),
            ]
        case "whip":
            joints = [
                (-0.06, -0.03, 0.040),
                (0.10, -0.06, 0.028),
                (0.20, 0.08 * w - 0.17, 0.021),
                (0.33, 0.16 * w - 0.16, 0.012),
            ]
        case "bushy":
            joints = [
                (-0.08, -0.04, 0.050),
                (0.07, -0.16, 0.075),
                (0.16 + 0.04 * w, -0.3, 0.085),
                (0.28 + 0.06 * w, -0.4, 0.030),
            ]
        case "plume":
            joints = [
                (0.0, 0.0, 0.08),
                (0.06, 0.16, 0.12),
                (-0.04, 0.28 + 0.02 * w, 0.13),
                (-0.20, 0.32 + 0.02 * w, 0.09),
            ]
        case "pompon":
            joints = [
                (-0.06, -0.06, 0.030),
                (0.05, 0.12, 0.026),
                (0.07 + 0.05 * w, 0.26, 0.10),
                (0.075 + 0.05 * w, 0.28, 0.10),
            ]
    if pose.sitting and b.tail in ("bushy", "whip", "straight"):  # it lies on the ground behind the dog
        (_, _, thick), *rest = joints
        along = [(0.10 + 0.13 * i, r + 0.05 * (i == 2) * (1 + w) - root.y, r) for i, (_, _, r) in enumerate(rest)]
        joints = [(-0.05, 0.0, thick), *along]
    return chain(*[(turn(root.x - x, max(root.y + y, r), 0.02), r) for x, y, r in joints])


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
    head.near_ear, head.far_ear = _ear(b, head, +1), _ear(b, head, -1)
    return head


def _ear(b: Breed, head: Head, side: float) -> list[Bone]:
    """`joints` are (forward, up, sideways, radius) from the head's centre, in skull radii."""
    e = b.ear / b.skull
    match b.ears:
        case "pricked":
            joints = [(-0.10, 0.62, 0.50, 0.36), (-0.12, 0.75 + 0.55 * e, 0.62, 0.24), (-0.12, 0.75 + e, 0.70, 0.05)]
        case "cropped":
            joints = [(-0.15, 0.70, 0.45, 0.26), (-0.05, 0.75 + 0.60 * e, 0.52, 0.17), (-0.02, 0.75 + e, 0.55, 0.03)]
        case "drooping":
            joints = [
                (-0.20, 0.55, 0.72, 0.20),
                (-0.22, 0.30, 1.02, 0.30),
                (-0.10, 0.45 - 0.65 * e, 1.05, 0.36),
                (0.0, 0.45 - e, 1.0, 0.26),
            ]
        case "button":
            joints = [
                (-0.15, 0.78, 0.60, 0.24),
                (0.0, 0.85, 0.85, 0.22),
                (0.25, 0.80 - 0.45 * e, 0.98, 0.17),
                (0.38, 0.80 - 0.80 * e, 0.95, 0.05),
            ]
        case "rose":
            joints = [(-0.30, 0.60, 0.65, 0.20), (-0.75, 0.62, 0.85, 0.18), (-0.5 - 0.5 * e, 0.30, 0.95, 0.05)]
    return chain(*[(head.at(f, u, s * side), radius * head.radius) for f, u, s, radius in joints])
