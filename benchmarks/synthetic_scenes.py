"""The scenes: one condition of real footage each, drawn at random from the seed."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from synthetic_drawing import Scene, Shot, Sprite, View
from synthetic_routes import (
    Random,
    between,
    carried,
    crossing,
    figure,
    lanes,
    line,
    patrol,
    shifted,
    still,
    stop_and_go,
)
from synthetic_sprites import background, blob, flat, leaves, pillar, real, screen, shadow, walker

SIZE = (360, 640)


def static(random: Random, name: str) -> Scene:
    ground = background("street", random, SIZE, 1.1)
    return Scene(name=name, shots=[Shot(background=ground, sprites=lanes(random, 4, (50, 110)))])


def lifelike(random: Random, name: str) -> Scene:
    """Cut-outs of real footage that move inside, on a real background."""
    man = Sprite(
        "man", real("man", 170), patrol((-230, 60), (-60, 70), 35), waves=True, cycle_hz=0.25
    )
    rabbit = Sprite(
        "rabbit", real("rabbit", 160), patrol((120, 20), (60, 30), 12), waves=True, cycle_hz=0.4
    )
    rider = Sprite("rider", real("rider", 130), patrol((280, -90), (-100, -80), 90))
    return Scene(
        name=name,
        shots=[
            Shot(background=background("wall", random, SIZE, 1.1), sprites=[rider, rabbit, man])
        ],
    )


def pan(random: Random, name: str) -> Scene:
    ground = background("garden", random, SIZE, 2.2)
    speed = random.uniform(35, 50)
    sprites = [
        replace(sprite, route=carried(sprite.route, -180, speed))
        for sprite in lanes(random, 4, (70, 110), first=int(random.integers(6)))
    ]
    shot = Shot(
        background=ground,
        sprites=sprites,
        camera=lambda t: View(-180 + speed * t, 30 * math.sin(0.5 * t)),
    )
    return Scene(name=name, shots=[shot])


def _handheld(random: Random, pixels: float, radians: float) -> Callable[[float], View]:
    """Jitter of several frequencies at once, up to about five a second."""
    waves = [
        (hz, random.uniform(0, 2 * math.pi, 3), random.normal(size=3) / (1 + hz))
        for hz in (0.4, 0.9, 1.7, 2.9, 4.6)
    ]

    def view(t: float) -> View:
        swings = [weight * np.sin(2 * math.pi * hz * t + phase) for hz, phase, weight in waves]
        x, y, roll = np.sum(swings, axis=0)
        return View(pixels * float(x), pixels * float(y), 1.0, radians * float(roll))

    return view


def shake(random: Random, name: str) -> Scene:
    shot = Shot(
        background=background("crossing", random, SIZE, 1.4),
        sprites=lanes(random, 4, (60, 120), first=int(random.integers(6))),
        camera=_handheld(random, 18, 0.03),
    )
    return Scene(name=name, shots=[shot], rate=30)


def zoom(random: Random, name: str) -> Scene:
    shot = Shot(
        background=background("garden", random, SIZE, 1.4),
        sprites=lanes(random, 4, (50, 100), 75, first=int(random.integers(6))),
        camera=lambda t: View(0, 0, 1.25 - 0.25 * math.cos(2 * math.pi * t / 8)),
    )
    return Scene(name=name, shots=[shot])


def occlusion(random: Random, name: str) -> Scene:
    """Pillars before the things, and things before each other."""
    posts = [
        Sprite(f"pillar{x}", pillar(random, 420, 40), still(x, 0), "fixture") for x in (-110, 130)
    ]
    shot = Shot(
        background=background("wall", random, SIZE, 1.1),
        sprites=[*lanes(random, 4, (60, 110), 70), *posts],
    )
    return Scene(name=name, shots=[shot])


def switches(random: Random, name: str) -> Scene:
    """One goes behind the pillar and stays there; another comes out at that moment."""
    post = Sprite("pillar", pillar(random, 420, 120), still(0, 0), "fixture")
    sprites = []
    for number in range(8):
        y = -120 + 75 * (number // 2)
        meet_s = random.uniform(2.2, 2.8) + number // 2 * 1.1
        speed = random.uniform(75, 100) * (1 if number // 2 % 2 else -1)
        route = line((-speed * meet_s, y), (speed, 0))
        shown = between(0, meet_s) if number % 2 == 0 else between(meet_s, math.inf)
        sprite = figure(random, (0, 1, 4, 0, 3, 0, 1, 4)[number], route, 76)
        sprites.append(replace(sprite, shown=shown, name=f"{sprite.name}-{number}"))
    ground = background("texture", random, SIZE, 1.1)
    return Scene(name=name, shots=[Shot(background=ground, sprites=[*sprites, post])])


def twins(random: Random, name: str) -> Scene:
    """Things that look exactly alike cross, meet and part again."""
    sprites = []
    for pair in range(3):
        poses = blob(random, 60, 70) if pair else walker(random, 84)
        waves = not pair
        y, speed = -110 + 105 * pair, random.uniform(60, 90)
        for side in (-1, 1):
            path = patrol((side * 220, y + 7 * side), (-side * 220, y + 7 * side), speed)
            cycle = 0.9 if waves else 0.0
            sprites.append(
                Sprite(f"twin{pair}{'ab'[side > 0]}", poses, path, waves=waves, cycle_hz=cycle)
            )
    ground = background("street", random, SIZE, 1.1)
    return Scene(name=name, shots=[Shot(background=ground, sprites=sprites)])


def distractors(random: Random, name: str) -> Scene:
    """Leaves that sway, a lamp that blinks, a screen that flickers, noise; and three things."""
    still_ones = [
        Sprite("leaves", leaves(random, 120), still(-230, -100), "distractor", cycle_hz=0.7),
        Sprite("bush", leaves(random, 90), still(60, 130), "distractor", cycle_hz=0.5),
        Sprite(
            "lamp",
            flat(26, 26, (255, 240, 190)),
            still(230, -120),
            "distractor",
            shown=lambda t: t % 1.0 < 0.5,
        ),
        Sprite("screen", screen(random, 60, 80), still(80, -110), "distractor", cycle_hz=0.125),
        Sprite("snow", screen(random, 40, 40), still(-100, 120), "distractor", cycle_hz=0.62),
    ]
    things = lanes(random, 3, (60, 110), 80, first=3)
    ground = background("wall", random, SIZE, 1.1)
    return Scene(name=name, shots=[Shot(background=ground, sprites=[*still_ones, *things])])


def shadows(random: Random, name: str) -> Scene:
    """Each thing drags its shadow along; bare shadows pass as well."""
    sprites: list[Sprite] = []
    for number, sprite in enumerate(lanes(random, 3, (50, 100), 90, first=int(random.integers(6)))):
        pose = sprite.poses[0]
        offset = (pose.shape[1] * 0.25, pose.shape[0] * 0.47)
        cast = shadow(round(pose.shape[0] * 0.3), round(pose.shape[1] * 1.3))
        sprites += [
            Sprite(f"shadow{number}", cast, shifted(sprite.route, offset), "fixture"),
            sprite,
        ]
    cloud = Sprite("cloud", shadow(110, 190), patrol((-300, 120), (300, 100), 55), "fixture")
    ground = background("wall", random, SIZE, 1.1)
    return Scene(name=name, shots=[Shot(background=ground, sprites=[cloud, *sprites])])


def cuts(random: Random, name: str) -> Scene:
    """Edited footage: the things of one shot stand where those of the last one stood."""
    shots = [
        Shot(
            background=background(ground, random, SIZE, 1.1),
            sprites=lanes(random, 3, (60, 110), 90, first=2 * number),
            seconds=2.2,
        )
        for number, ground in enumerate(("street", "wall", "texture", "garden"))
    ]
    return Scene(name=name, shots=shots)


def small(random: Random, name: str) -> Scene:
    sprites = [
        Sprite(
            f"small{number}",
            blob(random, int(random.integers(26, 34)), int(random.integers(26, 34)), 1.3),
            patrol(
                (random.uniform(-270, -60), y),
                (random.uniform(60, 270), y + random.normal() * 20),
                random.uniform(40, 80),
            ),
        )
        for number, y in enumerate(np.linspace(-140, 140, 7))
    ]
    ground = background("street", random, SIZE, 1.1)
    return Scene(name=name, shots=[Shot(background=ground, sprites=sprites)])


def fast(random: Random, name: str) -> Scene:
    """Things that rush through the view in about two seconds."""
    ground = background("wall", random, SIZE, 1.1)
    sprites = crossing(random, 8, (260, 400), 1.0)
    return Scene(name=name, shots=[Shot(background=ground, sprites=sprites)], rate=30)


def slow(random: Random, name: str) -> Scene:
    """About a quarter of their length in a second."""
    ground = background("crossing", random, SIZE, 1.1)
    sprites = lanes(random, 4, (20, 28), 90, first=int(random.integers(6)))
    return Scene(name=name, shots=[Shot(background=ground, sprites=sprites)])


def light(random: Random, name: str) -> Scene:
    """Dusk, a lamp that is switched on, and one that flickers with the mains."""

    def level(t: float) -> float:
        lamp = 0.25 if 3.0 < t < 5.5 else 0.0
        return 0.85 - 0.03 * t + lamp + 0.02 * math.sin(2 * math.pi * 4.3 * t)

    shot = Shot(
        background=background("street", random, SIZE, 1.1),
        sprites=lanes(random, 4, (50, 110), first=int(random.integers(6))),
        light=level,
    )
    return Scene(name=name, shots=[shot])


def stops(random: Random, name: str) -> Scene:
    sprites = []
    for sprite in lanes(random, 4, (70, 110), first=int(random.integers(6))):
        route = stop_and_go(sprite.route, random.uniform(1.2, 2), random.uniform(0.8, 3))
        sprites.append(replace(sprite, route=route))
    ground = background("crossing", random, SIZE, 1.1)
    return Scene(name=name, shots=[Shot(background=ground, sprites=sprites)])


def passing(random: Random, name: str) -> Scene:
    """Things that enter the frame, cross it and leave; some after each other."""
    ground = background("wall", random, SIZE, 1.1)
    sprites = crossing(random, 7, (110, 170), 0.8)
    return Scene(name=name, shots=[Shot(background=ground, sprites=sprites)])


def grainy(random: Random, name: str) -> Scene:
    """A cheap camera: much noise, few bits."""
    ground = background("street", random, SIZE, 1.1)
    sprites = lanes(random, 4, (50, 110), first=int(random.integers(6)))
    shot = Shot(background=ground, sprites=sprites)
    return Scene(name=name, shots=[shot], noise=9.0, crf=33)


def _rated(rate: int) -> Callable[[Random, str], Scene]:
    def scene(random: Random, name: str) -> Scene:
        ground = background("garden", random, SIZE, 1.1)
        sprites = lanes(random, 4, (60, 120))
        return Scene(name=name, shots=[Shot(background=ground, sprites=sprites)], rate=rate)

    return scene


SCENES: dict[str, Callable[[Random, str], Scene]] = {
    "static": static,
    "lifelike": lifelike,
    "pan": pan,
    "shake": shake,
    "zoom": zoom,
    "occlusion": occlusion,
    "switches": switches,
    "twins": twins,
    "distractors": distractors,
    "shadows": shadows,
    "cuts": cuts,
    "small": small,
    "fast": fast,
    "slow": slow,
    "light": light,
    "stops": stops,
    "passing": passing,
    "grainy": grainy,
    "10fps": _rated(10),
    "60fps": _rated(60),
}

# Scenes that are the same but for something that is not drawn at random share a seed.
SAME_SEED = {"10fps": "rates", "60fps": "rates"}
