"""Painting a dog's head: skull, ears, eyes, nose, mouth and the hair about them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helpers.samples import markings
from helpers.samples.bones import Bone, Point, between, chain
from helpers.samples.canvas import ramp
from helpers.samples.dogs import Dog

SIDES = (1.0, -1.0)  # near, far


def paint_head(dog: Dog) -> None:
    """Over the body, back to front."""
    near, far = dog.bones.head.near_ear, dog.bones.head.far_ear
    upright, frontal = dog.breed.ears in ("pricked", "cropped"), dog.pose.head_yaw > 42
    if frontal:  # upright ears grow behind the forehead, hanging ones lie on the cheeks
        behind, before = ([far, near], []) if upright else ([], [near, far])
    else:
        behind, before = [far], [near]
    for bones in behind:
        _ear(dog, bones)
    _skull(dog)
    _muzzle(dog)
    if dog.pose.tongue:
        _tongue(dog)
    _mouth(dog)
    _nose(dog)
    for side in SIDES:
        _eye(dog, side)
    for bones in before:
        _ear(dog, bones)
    _hair(dog)


def _ear(dog: Dog, bones: Sequence[Bone]) -> None:
    shape = dog.shape(bones, 0.03)
    bumps = dog.dress.roughen(shape, 0.5 if dog.breed.coat == "fluffy" else 1.0)
    dog.canvas.paint(shape, markings.ear(dog, shape.box), cast=0.5, bumps=bumps)
    if dog.breed.ears in ("pricked", "cropped") and dog.pose.head_yaw > 25:
        first, last = bones[0], bones[-1]
        low, high = between(first.a, first.b, 0.35), between(last.a, last.b, 0.55)
        inner = dog.shape([Bone(low, 0.45 * first.ra, high, 0.012)], 0.01)
        dog.canvas.tint(inner.box, (236, 164, 150), ramp(inner.distance, 1.5, -2.5) * np.float32(0.45))


def _skull(dog: Dog) -> None:
    shape = dog.shape(dog.bones.head.skull, 0.35 * dog.breed.skull)
    bumps = dog.dress.roughen(shape, {"fluffy": 0.6, "curly": 0.1, "wiry": 0.45}.get(dog.breed.coat, 1.0))
    dog.canvas.paint(shape, markings.head(dog, shape.box), cast=0.8, bumps=bumps)


def _muzzle(dog: Dog) -> None:
    """Seen from the front the muzzle lies over the skull: a soft shadow around it sets it off."""
    head = dog.bones.head
    turned, r = max(0.0, head.facing(1, -0.3, 0)), dog.breed.skull * dog.view.scale
    shape = dog.shape(head.muzzle, 0.01)
    around = ramp(shape.distance, 0.35 * r, 0) * ramp(shape.distance, -0.06 * r, 0.02 * r)
    around *= dog.canvas.dog[shape.box.slices] * np.float32(0.21 * turned)
    dog.canvas.tint(shape.box, (0, 0, 0), around)
    dog.canvas.tint(shape.box, (255, 250, 240), ramp(shape.distance, 0, -0.35 * r) * np.float32(0.16 * turned))


def _on_muzzle(dog: Dog, along: float, up: float, side: float) -> Point:
    """A point on the muzzle's surface: along 0..1 from skull to tip; up and side in the muzzle's radii there."""
    muzzle, head = dog.bones.head.muzzle[0], dog.bones.head
    radius = (muzzle.ra + (muzzle.rb - muzzle.ra) * along) / head.radius
    return head.at(0, up * radius, side * radius, start=between(muzzle.a, muzzle.b, along))


def _nose_at(dog: Dog, side: float) -> Point:
    tip = dog.breed.snout / dog.breed.skull
    return dog.bones.head.at(0.62 * tip, 0.50 * tip, side * tip, start=dog.bones.head.muzzle[0].b)


def _nose(dog: Dog) -> None:
    radius, (red, _, blue) = 0.030 + 0.24 * dog.breed.snout, dog.dress.base
    left, right = _nose_at(dog, -0.22), _nose_at(dog, 0.22)
    shape = dog.shape([Bone(left, radius, right, radius)], 0.01)
    dog.canvas.paint(shape, (112, 68, 62) if red > 120 and blue < 70 else (50, 42, 50), outline=0.5)
    at, k = dog.view.point(between(left, right, 0.5)), dog.view.scale * radius
    shine = Point(at.x + 0.3 * k * _lit_side(dog), at.y - 0.42 * k)
    dog.canvas.dot(shine, 0.38 * k, 0.22 * k, (255, 255, 255), 0.7)


def _mouth(dog: Dog) -> None:
    dark, scale = markings.darkened(dog.dress.base, 0.22, 14), dog.view.scale
    under = dog.view.point(_on_muzzle(dog, 1.0, -0.55, 0))
    dog.canvas.stroke([dog.view.point(_nose_at(dog, 0)), under], 0.010 * scale, dark, 0.8)
    for side in SIDES:
        if dog.bones.head.facing(0.4, -0.3, side) > -0.15:
            smile = [(1.0, -0.55, 0.0), (0.85, -0.72, 0.45), (0.55, -0.66, 0.75), (0.25, -0.42, 0.90)]
            line = [dog.view.point(_on_muzzle(dog, along, up, side * out)) for along, up, out in smile]
            dog.canvas.stroke(line, 0.011 * scale, dark, 0.85)


def _tongue(dog: Dog) -> None:
    top, r = _on_muzzle(dog, 0.86, -0.60, 0.12), 0.26 * dog.breed.skull + 0.008
    end = Point(top.x, top.y - 0.42 * dog.breed.skull, top.z)
    dog.canvas.paint(dog.shape([Bone(top, 0.9 * r, end, r)], 0.01), (232, 112, 120), outline=0.6)
    crease = [dog.view.point(top), dog.view.point(between(top, end, 0.8))]
    dog.canvas.stroke(crease, 0.006 * dog.view.scale, (190, 76, 90), 0.7)


def _eye(dog: Dog, side: float) -> None:
    head, lit = dog.bones.head, _lit_side(dog)
    facing = head.facing(0.78, 0.20, 0.56 * side)
    if facing < 0.12:
        return
    x, y, _ = dog.view.point(head.at(0.74, 0.19, 0.53 * side))
    r = dog.view.scale * (0.022 + 0.085 * dog.breed.skull)
    rx = r * (0.55 + 0.45 * facing)
    on_dark = sum(dog.dress.base) < 300 and not dog.breed.trim
    dog.canvas.dot(Point(x, y), 1.22 * rx, 1.22 * r, (150, 120, 96) if on_dark else (60, 42, 40), 0.9)
    dog.canvas.dot(Point(x, y), rx, r, (112, 66, 38))
    dog.canvas.dot(Point(x, y + 0.05 * r), 0.74 * rx, 0.78 * r, (22, 18, 22))
    dog.canvas.dot(Point(x + 0.30 * lit * rx, y - 0.36 * r), 0.34 * rx, 0.34 * r, (255, 255, 255))
    dog.canvas.dot(Point(x - 0.30 * lit * rx, y + 0.40 * r), 0.16 * rx, 0.16 * r, (255, 240, 220), 0.7)


def _lit_side(dog: Dog) -> float:
    return 1.0 if dog.canvas.light[0] > 0 else -1.0


def _hair(dog: Dog) -> None:
    """A poodle's topknot; a sheepdog's fringe."""
    at, r = dog.bones.head.at, dog.breed.skull
    if dog.breed.pompons:
        dog.tuft([Bone(at(-0.35, 0.75, 0), 0.62 * r, at(0.15, 0.85, 0), 0.66 * r)], cast=0.8)
    if dog.breed.coat == "shaggy":
        for side in (-0.75, 0.75, -0.4, 0.4, 0.0):
            if dog.bones.head.facing(0.7, 0.5, side) > 0:
                roots, brow, tip = at(0.15, 0.95, 0.5 * side), at(0.80, 0.60, 0.8 * side), at(1.0, 0.12, side)
                lock = chain((roots, 0.26 * r), (brow, 0.26 * r), (tip, 0.08 * r))
                dog.tuft(lock, hair=0.7, cast=0.0, outline=0.35)
