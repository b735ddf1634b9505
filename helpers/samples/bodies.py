"""Painting a dog's body: what lies behind its head, back to front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helpers.samples import markings
from helpers.samples.bones import Bone, Point, ball, between
from helpers.samples.dogs import Dog

BLEND = 0.05  # how softly limbs grow out of the trunk, in dog units


def paint_body(dog: Dog) -> None:
    """Shadow, tail, legs, trunk and collar."""
    _shadow(dog)
    _tail(dog)
    _far_legs(dog)
    _trunk(dog)
    if dog.pose.collar and dog.breed.coat != "shaggy":  # hair hides it
        _collar(dog)


def _shadow(dog: Dog) -> None:
    feet = [dog.view.point(p) for bone in dog.bones.trunk for p in (bone.a, bone.b) if p.y < 0.12]
    left, right, scale = min(p.x for p in feet), max(p.x for p in feet), dog.view.scale
    at = Point(0.5 * (left + right), max(p.y for p in feet) + 0.02 * scale)
    reach = 0.5 * (right - left) + 0.14 * scale
    for grow, share in ((1.0, 0.30), (0.82, 0.25), (0.62, 0.20)):
        dog.canvas.dot(at, reach * grow, 0.075 * scale * grow, (40, 36, 60), share)


def _tail(dog: Dog) -> None:
    bones = dog.bones.tail
    shape = dog.shape(bones[:1] if dog.breed.pompons else bones, 0.03)
    bumps = dog.dress.roughen(shape, 0.3 if dog.breed.coat in ("curly", "wiry") else 1.0)
    dog.canvas.paint(shape, markings.tail(dog, shape.box), bumps=bumps)
    if dog.breed.pompons:
        dog.tuft(bones[2:])


def _far_legs(dog: Dog) -> None:
    shape = dog.shape(dog.bones.far_legs, 0.02)
    bumps = dog.dress.roughen(shape, {"curly": 0.4, "fluffy": 0.6}.get(dog.breed.coat, 1.0))
    dog.canvas.paint(shape, markings.body(dog, shape.box) * np.float32(0.80), bumps=bumps)
    _bracelets(dog, dog.bones.far_legs)


def _trunk(dog: Dog) -> None:
    shape = dog.shape(dog.bones.body, BLEND)
    bumps = dog.dress.roughen(shape)
    dog.canvas.paint(shape, markings.body(dog, shape.box), cast=0.5, bumps=bumps)
    _bracelets(dog, dog.bones.body)
    if dog.bones.haunch:
        shape = dog.shape(dog.bones.haunch, BLEND)
        bumps = dog.dress.roughen(shape)
        dog.canvas.paint(shape, markings.body(dog, shape.box), cast=0.35, outline=0.55, bumps=bumps)


def _bracelets(dog: Dog, bones: Sequence[Bone]) -> None:
    """The pompons above a show poodle's feet."""
    if not dog.breed.pompons:
        return
    for bone in bones:
        rise = bone.a.y - bone.b.y
        if bone.b.y < 0.12 and rise > 0.05:
            dog.tuft([ball(between(bone.b, bone.a, min(1.0, 0.10 / rise)), 0.095)])


def _collar(dog: Dog) -> None:
    assert dog.pose.collar is not None
    (nape, throat), scale = dog.bones.collar, dog.view.scale
    band = dog.shape([Bone(nape, 0.028, throat, 0.028)], 0.01)
    neck = dog.shape(dog.bones.body, BLEND, band.box)
    band.distance = np.maximum(band.distance, neck.distance)  # no wider than the neck
    dog.canvas.paint(band, dog.pose.collar, outline=0.8)
    hook = dog.view.point(between(nape, throat, 0.86))
    tag = Point(hook.x, hook.y + 0.035 * scale)
    dog.canvas.dot(tag, 0.034 * scale, 0.034 * scale, (120, 84, 30))
    dog.canvas.dot(tag, 0.026 * scale, 0.026 * scale, (250, 214, 96))
