"""Packing rounds of unequal sizes into batches of one shape.

Under random times one round in thousands can be a hundred times as large as the others. So the gradients
of a round are cut into blocks of a fixed width, and every batch takes as many blocks as it has lanes, of
whichever profiles have rounds under way. Profiles meet at evaluations only.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

_LAUNCH = {"cpu": 32.0}
"""What a batch costs beyond its gradients, in gradients; benchmarks/packing.py shows the effect."""

_LAUNCH_ELSEWHERE = 500.0
"""Accelerators hardly notice a gradient more."""


class Layout(NamedTuple):
    """The shape of a batch, and how many there are.

    Attributes:
        width: W, gradients of a block.
        lanes: L, blocks of a batch.
        batches: how many a training takes, at least.
        cost: of them all, in gradients.
    """

    width: int
    lanes: int
    batches: int
    cost: float


def layout(
    totals: Int[np.ndarray, "P K"], eval_every: int, together: int, *, whole: bool = False
) -> Layout:
    """The layout that costs least.

    Args:
        totals: gradients of every round of every profile.
        eval_every: rounds between evaluations, at which all profiles meet.
        together: hyperparameters x seeds that share a profile's schedule.
        whole: whether no round may be cut into blocks.
    """
    widest = max(int(totals.max()), 1)
    usual = max(int(np.median(totals)), 1)
    widths = [widest] if whole else sorted({*_powers(widest), usual, widest})
    lanes = sorted({*_powers(4 * len(totals)), len(totals)})
    launch = _LAUNCH.get(jax.default_backend(), _LAUNCH_ELSEWHERE)
    found = (
        Layout(width, count, least, least * (launch + width * count * together))
        for width in widths
        for count, least in zip(lanes, _least(blocks_of(totals, width), eval_every, lanes), strict=True)
    )
    return min(found, key=lambda each: each.cost)


def _powers(most: int) -> list[int]:
    return [2**i for i in range(most.bit_length())]


def blocks_of(totals: Int[np.ndarray, "P K"], width: int) -> Int[np.ndarray, "P K"]:
    """Blocks of every round; a round without gradients has one as well."""
    return np.maximum(-(-totals // width), 1)


def _least(blocks: Int[np.ndarray, "P K"], eval_every: int, lanes: list[int]) -> list[int]:
    """How many batches are needed at least, for each number of lanes."""
    firsts = np.arange(0, blocks.shape[1], eval_every)
    everything = np.add.reduceat(blocks.sum(axis=0), firsts)

    def batches(count: int) -> int:
        # A round waits for the one before it, so that it begins with a batch of its own.
        alone = np.add.reduceat(-(-blocks // count), firsts, axis=1).max(axis=0)
        return int(np.maximum(-(-everything // count), alone).sum())

    return [batches(count) for count in lanes]


class Places(NamedTuple):
    """Which block is in which lane of each of J batches.

    Attributes:
        profile: i[J, L], P where a lane is empty.
        round: i[J, L].
        block: i[J, L], its number within the round.
        over: bool[J, P], whose round is over with the batch.
        at: i[J, P], the round that a profile is in.
    """

    profile: np.ndarray
    round: np.ndarray
    block: np.ndarray
    over: np.ndarray
    at: np.ndarray


def place(blocks: Int[np.ndarray, "P R"], lanes: int) -> Places:
    """Put blocks into lanes; profiles with most left to do go first."""
    profiles, rounds = blocks.shape
    rows, last = np.arange(profiles), np.append(blocks, np.zeros((profiles, 1), int), axis=1)
    at, taken, left = np.zeros(profiles, int), np.zeros(profiles, int), blocks.sum(axis=1)
    batches = []
    while left.any():
        order = np.argsort(-left, kind="stable")
        rest = (last[rows, at] - taken)[order]
        share = np.clip(lanes - (np.cumsum(rest) - rest), 0, rest)
        profile = np.full(lanes, profiles)
        used = share.sum()
        profile[:used] = np.repeat(order, share)
        block = np.zeros(lanes, int)
        block[:used] = (
            np.arange(used) - np.repeat(np.cumsum(share) - share, share) + taken[profile[:used]]
        )
        round_ = np.append(at, 0)[profile]
        taken[order] += share
        left[order] -= share
        over = (taken == last[rows, at]) & (at < rounds)
        batches.append((profile, round_, block, over, at.copy()))
        at, taken = at + over, np.where(over, 0, taken)
    return Places(*(np.stack(column) for column in zip(*batches, strict=True)))


def slots_of_counts(
    counts: Int[np.ndarray, "*rounds n"],
    weights: Float[np.ndarray, "*rounds n"],
    size: int,
    first: Int[np.ndarray, "*rounds"] | int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Worker and weight of slots `first` to `first` + `size` of rounds, worker by worker.

    Slots behind the last gradient have weight 0.

    Args:
        counts: gradients of each worker.
        weights: of each gradient of a worker.
        size: B.
        first: the first slot.
    """
    last = counts.cumsum(axis=-1)
    slot = np.asarray(first)[..., None] + np.arange(size)
    # The worker of a slot is how many workers' slots are all before it.
    workers = (last[..., None, :] <= slot[..., None]).sum(axis=-1)
    used = workers < counts.shape[-1]
    workers = np.where(used, workers, 0)
    weight = np.where(used, np.take_along_axis(weights, workers, axis=-1), 0.0)
    return workers.astype(np.int32), weight.astype(np.float32)
