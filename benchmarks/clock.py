"""The clock against the same rules on a heapq, in one process: gradients or events per second."""

from __future__ import annotations

import argparse
import heapq
import subprocess
import sys
import time

import numpy as np
from _timing import alternate, show, write
from rich.console import Console
from rich.table import Table

import jaxnigt as jn

PROFILES, ROUNDS = 256, 1000
LONG = {10: 1000, 100: 500, 1000: 100}
"""Rounds by n where they are taken one by one, as those of many workers have many events."""
BREAKS = np.linspace(50.0, 500.0, 10)


def heap_rennala(h, batch, rounds, finish=False, pace=None, draw=None):
    """Rennala rounds of one profile, event by event; returns their ends."""
    n, now, ends = len(h), 0.0, []
    push, pop = heapq.heappush, heapq.heappop
    done = pace or (lambda i, t: t + h[i])
    if draw:
        done = lambda i, t: t + h[i] * draw()  # noqa: E731
    queue = [(done(i, 0.0), i, 0) for i in range(n)]
    heapq.heapify(queue)
    for version in range(rounds):
        got = 0
        while True:
            now, i, started = pop(queue)
            if started == version:
                got += 1
                if got == batch:
                    break
            push(queue, (done(i, now), i, version))
        ends.append(now)
        if finish:
            push(queue, (done(i, now), i, version + 1))
        else:
            queue = [(done(j, now), j, version + 1) for j in range(n)]
            heapq.heapify(queue)
    return ends


def heap_malenia(h, batch, rounds, draw=None):
    """Malenia rounds of one profile; returns their ends and the gradients they took."""
    n, now, ends, gradients = len(h), 0.0, [], 0
    push, pop = heapq.heappush, heapq.heappop
    step = (lambda i: h[i] * draw()) if draw else (lambda i: h[i])
    for _ in range(rounds):
        queue = [(now + step(i), i) for i in range(n)]
        heapq.heapify(queue)
        counts, missing, inverse = [0] * n, n, 0.0
        while True:
            now, i = pop(queue)
            gradients += 1
            counts[i] += 1
            if counts[i] == 1:
                missing -= 1
                inverse += 1.0
            else:
                inverse -= 1.0 / (counts[i] - 1) - 1.0 / counts[i]
            if not missing and inverse * batch <= n * n * (1 + 1e-12):
                break
            push(queue, (now + step(i), i))
        ends.append(now)
    return ends, gradients


def heap_m_synchronous(h, m, rounds, draw):
    """m-synchronous rounds of one profile; m = n is synchronous."""
    n, now, ends = len(h), 0.0, []
    for _ in range(rounds):
        queue = [(now + h[i] * draw(), i) for i in range(n)]
        heapq.heapify(queue)
        for _ in range(m):
            now, _ = heapq.heappop(queue)
        ends.append(now)
    return ends


def heap_asynchronous(h, kappa, updates, serial=False):
    """Asynchronous updates of one profile; returns times, workers and staleness."""
    n, link, times, workers, staleness = len(h), 0.0, [], [], []
    cycle = h if serial else [a + b for a, b in zip(h, kappa, strict=True)]
    version, queue = [0] * n, [(cycle[i], i) for i in range(n)]
    heapq.heapify(queue)
    for k in range(updates):
        now, i = heapq.heappop(queue)
        if serial:
            now = link = (now if now > link else link) + kappa[i]
        times.append(now)
        workers.append(i)
        staleness.append(k - version[i])
        version[i] = k + 1
        heapq.heappush(queue, (now + cycle[i], i))
    return times, workers, staleness


def varying(h, values):
    """Completion times under piecewise constant power."""
    edges = [0.0, *BREAKS, float("inf")]

    def done(i, t):
        left, j = 1.0, 0
        while t >= edges[j + 1]:
            j += 1
        while True:
            p = values[j][i]
            if p > 0:
                end = t + left * h[i] / p
                if end <= edges[j + 1]:
                    return end
                left -= (edges[j + 1] - t) * p / h[i]
            t = edges[j + 1]
            j += 1

    return done


def drawer(seed=0):
    """Exponential draws, made a million at a time."""
    generator = np.random.default_rng(seed)
    buffer: list[float] = []

    def draw():
        nonlocal buffer
        if not buffer:
            buffer = generator.exponential(size=1_000_000).tolist()
        return buffer.pop()

    return draw


def cases(n: int):
    """(name, target, jaxnigt's call, the heap's call on a few profiles and rounds, work of each)."""
    rng = np.random.default_rng(n)
    exponent = rng.uniform(0.0, 2.0, PROFILES)
    fixed = jn.profiles.power_law(n, exponent, comm_exponent=0.5, comm_scale=0.1)
    still = jn.profiles.power_law(n, exponent)
    values = rng.choice([0.0, 0.5, 1.0, 2.0], (len(BREAKS) + 1, n))
    values[-1] = 1.0
    power = still.replace(power=(BREAKS, values))
    noise = still.replace(noise="exponential")
    h, kappa = [row.tolist() for row in still.compute], fixed.comm[0].tolist()
    few = max(1, 20 // n)  # profiles given to the heap, which does one at a time
    some = max(5, 2000 // n)  # and rounds
    rows = values.tolist()
    each = LONG[n]
    full = PROFILES * each * n

    def heap(rule, *arguments, rounds=some, **options):
        return lambda: [rule(h[p], *arguments, rounds, **options) for p in range(few)]

    def clock(rule, profile, *arguments, rounds=each, **options):
        return lambda: rule(profile, *arguments, rounds, **options)

    c, slow = jn.clock, few * some * n
    yield (
        "Rennala fixed cancel", 10_000, clock(c.rennala, still, n, rounds=ROUNDS),
        heap(heap_rennala, n), PROFILES * ROUNDS * n, slow,
    )  # fmt: skip
    finish = {"restart": "finish"}
    yield (
        "Rennala fixed finish", 50, clock(c.rennala, still, n, **finish),
        heap(heap_rennala, n, finish=True), full, slow,
    )  # fmt: skip
    yield (
        "Rennala varying power", 50, clock(c.rennala, power, n),
        lambda: [heap_rennala(h[p], n, some, pace=varying(h[p], rows)) for p in range(few)], full, slow,
    )  # fmt: skip
    taken = int(c.malenia(still, n, 1).counts.sum()) * each
    count = sum(heap_malenia(h[p], n, 1)[1] for p in range(few)) * min(some, 5)
    yield (
        "Malenia fixed", 50, clock(c.malenia, still, n),
        heap(heap_malenia, n, rounds=min(some, 5)), taken, count,
    )  # fmt: skip
    events, updates = PROFILES * ROUNDS, max(2000, n)
    target = {10: 50, 100: 10, 1000: 10}[n]
    yield (
        "asynchronous parallel", target, clock(c.asynchronous, fixed, rounds=ROUNDS),
        lambda: heap_asynchronous(h[0], kappa, updates), events, updates,
    )  # fmt: skip
    target = {10: 10, 100: 1, 1000: 1}[n]
    yield (
        "asynchronous serial", target, clock(c.asynchronous, fixed, rounds=ROUNDS, comm_model="serial"),
        lambda: heap_asynchronous(h[0], kappa, updates, serial=True), events, updates,
    )  # fmt: skip
    # Random rounds are not alike and no faster for being many, so fewer will do.
    rounds, draw = max(5, 2000 // n), drawer()
    size = PROFILES * rounds
    yield (
        "synchronous random", 10, clock(c.synchronous, noise, rounds=rounds, key=0),
        heap(heap_m_synchronous, n, draw=draw), size * n, slow,
    )  # fmt: skip
    yield (
        "m-synchronous random", 10, clock(c.m_synchronous, noise, n // 2, rounds=rounds, key=0),
        heap(heap_m_synchronous, n // 2, draw=draw), size * n, slow,
    )  # fmt: skip
    yield (
        "Rennala random", 10, clock(c.rennala, noise, n, rounds=rounds, key=0),
        heap(heap_rennala, n, draw=draw), size * n, slow,
    )  # fmt: skip
    mild = jn.profiles.power_law(n, np.minimum(exponent, 0.5), 0.0, 0.0)
    mild = mild.replace(noise="exponential")
    taken = int(c.malenia(mild, n, rounds, key=0).counts.sum())
    few_h = [row.tolist() for row in mild.compute[:few]]
    count = sum(heap_malenia(row, n, rounds, draw=draw)[1] for row in few_h)
    yield (
        "Malenia random (p <= 1/2)", 10, clock(c.malenia, mild, n, rounds=rounds, key=0),
        lambda: [heap_malenia(row, n, rounds, draw=draw) for row in few_h], taken, count,
    )  # fmt: skip


def scaling(repeats: int) -> list[dict[str, float]]:
    """Seconds per profile as the number of profiles grows."""
    rows = []
    for count in (1_000, 10_000, 100_000):
        profile = jn.profiles.power_law(10, np.linspace(0, 2, count))

        def run(restart: str, profile=profile) -> None:
            jn.clock.rennala(profile, 10, 50, restart=restart)

        cancel, finish = alternate(lambda: run("cancel"), lambda: run("finish"), repeats=repeats)
        rows.append({"profiles": count, "cancel": 1e6 * cancel / count, "finish": 1e6 * finish / count})
    return rows


LARGE = """
import resource, sys, numpy as np, jaxnigt as jn
profile = jn.profiles.power_law(100, np.linspace(0.0, 2.0, 10_000))
rounds = jn.clock.rennala(profile, 100, 1000, restart=sys.argv[1], counts=sys.argv[1] == "cancel")
jn.clock.verify(rounds, profile)
assert rounds.end.shape == (10_000, 1000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def memory(restart: str) -> dict[str, float]:
    """Seconds and peak memory [GiB] of 10,000 profiles, n = 100, K = 1000, in a process of its own."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", LARGE, restart]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"seconds": time.perf_counter() - begin, "GiB": float(out)}


def main() -> None:
    """Run, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--n", type=int, nargs="+", choices=LONG, default=[*LONG])
    arguments = parser.parse_args()
    console = Console(width=110)
    # First, because the peak of a new process is that of its parent at least.
    large = {restart: memory(restart) for restart in ("cancel", "finish")}
    table = Table(
        title=f"Clock against heapq: {PROFILES} profiles, h_i = i^p, p uniform in [0, 2], M = n"
    )
    for column in ("case", "n", "clock [1/s]", "heap [1/s]", "ratio", "target", "reached"):
        table.add_column(column, justify="left" if column == "case" else "right")
    results = []
    for n in arguments.n:
        for name, target, fast, slow, fast_work, slow_work in cases(n):
            fast_seconds, slow_seconds = alternate(fast, slow, repeats=arguments.repeats)
            rates = fast_work / fast_seconds, slow_work / slow_seconds
            ratio = rates[0] / rates[1]
            results.append(
                {
                    "case": name,
                    "n": n,
                    "clock": rates[0],
                    "heap": rates[1],
                    "ratio": ratio,
                    "target": target,
                }
            )
            reached = "yes" if ratio >= target else "no"
            row = (name, str(n), f"{rates[0]:.3g}", f"{rates[1]:.3g}", f"{ratio:,.1f}", f"{target:,}")
            table.add_row(*row, reached)
            console.print(" ".join((*row, reached)), style="dim")
    console.print(table)
    rows = scaling(arguments.repeats)
    show(console, "Microseconds per profile, Rennala, n = 10, M = 10, K = 50", rows)
    for restart, used in large.items():
        console.print(
            f"10,000 profiles, n = 100, K = 1000, {restart}: peak {used['GiB']:.2f} GiB of memory, "
            f"{used['seconds']:.0f} s with start and compilation"
        )
    write(console, "clock", {"cases": results, "scaling": rows, "large": large})


if __name__ == "__main__":
    main()
