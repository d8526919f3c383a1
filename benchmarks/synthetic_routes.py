"""Where sprites go, and the usual cast of a scene.

The world is measured in pixels of the view, with (0, 0) in the middle: the view of a still
camera spans -320 to 320 and -180 to 180.
"""

import math
from collections.abc import Callable

import numpy as np
from synthetic_drawing import Curve, Route, Sprite
from synthetic_sprites import blob, real, walker

Random = np.random.Generator


def line(start: tuple[float, float], speed: tuple[float, float]) -> Route:
    return lambda t: (start[0] + speed[0] * t, start[1] + speed[1] * t)


def still(x: float, y: float) -> Route:
    return lambda _t: (x, y)


def patrol(start: tuple[float, float], end: tuple[float, float], speed: float) -> Route:
    """To and fro between two points, pixels a second."""
    length = math.dist(start, end)

    def route(t: float) -> tuple[float, float]:
        share = (t * speed / length) % 2
        share = 2 - share if share > 1 else share
        return (
            start[0] + share * (end[0] - start[0]),
            start[1] + share * (end[1] - start[1]),
        )

    return route


def bobbing(route: Route, pixels: float, hz: float) -> Route:
    def bobbed(t: float) -> tuple[float, float]:
        x, y = route(t)
        return x, y + pixels * math.sin(2 * math.pi * hz * t)

    return bobbed


def stop_and_go(route: Route, go_s: float, stop_s: float) -> Route:
    def stopped(t: float) -> tuple[float, float]:
        rounds, rest = divmod(t, go_s + stop_s)
        return route(rounds * go_s + min(rest, go_s))

    return stopped


def swaying(middle: float, by: float, hz: float, phase: float = 0.0) -> Curve:
    return lambda t: middle + by * math.sin(2 * math.pi * hz * t + phase)


def between(start_s: float, end_s: float) -> Callable[[float], bool]:
    return lambda t: start_s <= t < end_s


def figure(random: Random, number: int, route: Route, height: int = 90) -> Sprite:
    """A thing of one of six sorts, in turn, so that each scene has several."""
    sort = ("walker", "blob", "car", "rider", "tumbler", "rabbit")[number % 6]
    name = f"{sort}{number}"
    if sort == "walker":
        poses = walker(random, height)
        return Sprite(name, poses, bobbing(route, 1.5, 1.8), waves=True, cycle_hz=0.9)
    if sort == "blob":
        return Sprite(name, blob(random, round(height * 0.8), height), route)
    if sort == "tumbler":
        poses = blob(random, round(height * 0.7), round(height * 0.9), 1.3)
        turn = swaying(0.0, 0.5, 0.2, number)
        return Sprite(name, poses, route, waves=True, scale=swaying(1, 0.15, 0.15), angle=turn)
    if sort == "rabbit":
        return Sprite(name, real("rabbit", round(height * 1.2)), route, waves=True, cycle_hz=0.4)
    poses = real(sort, round(height * (0.6 if sort == "car" else 1.2)))
    return Sprite(name, poses, route)


def lanes(
    random: Random, count: int, speed: tuple[float, float], height: int = 90, first: int = 0
) -> list[Sprite]:
    """Things that cross the view at several heights, to and fro; nearer ones cover others."""
    sprites = []
    for number in range(count):
        y = -110 + 220 * (number + random.uniform(0.2, 0.8)) / count
        ends = [(-random.uniform(150, 260), y), (random.uniform(150, 260), y + random.normal() * 8)]
        if random.random() < 0.5:
            ends.reverse()
        route = patrol(ends[0], ends[1], random.uniform(*speed))
        offset = random.uniform(0, 3)
        sprites.append(figure(random, first + number, later(route, offset), height))
    return sprites


def later(route: Route, offset_s: float) -> Route:
    return lambda t: route(t + offset_s)


def shifted(route: Route, offset: tuple[float, float]) -> Route:
    def moved(t: float) -> tuple[float, float]:
        x, y = route(t)
        return x + offset[0], y + offset[1]

    return moved


def carried(route: Route, start: float, speed: float) -> Route:
    """The same way seen from something that drives along."""

    def moved(t: float) -> tuple[float, float]:
        x, y = route(t)
        return x + start + speed * t, y

    return moved


def crossing(
    random: Random, count: int, speed: tuple[float, float], every_s: float
) -> list[Sprite]:
    sprites = []
    for number in range(count):
        side = 1 if number % 2 else -1
        pixels_s = random.uniform(*speed)
        start = (side * (370 + pixels_s * every_s * number), -120 + 40 * ((number * 3) % 7))
        sprites.append(figure(random, number, line(start, (-side * pixels_s, 0)), 80))
    return sprites
