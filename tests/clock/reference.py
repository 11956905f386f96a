"""An event queue that plays the clock of one profile, written from the rules and not from the clock.

Plain Python floats and one heap: slow, and hard to get wrong.
"""

import heapq
import math
from fractions import Fraction

INF = math.inf


class Worker:
    """A worker that computes one gradient after another.

    `draw` gives the work of its gradients, or is None when all are alike: then the k-th completion
    since the last restart is computed from that restart and not from the (k-1)-th.
    """

    def __init__(self, h, breaks=(), power=(1.0,), draw=None):
        self.h, self.breaks, self.power, self.draw = h, [*breaks, INF], power, draw
        self.restart(0.0, 0)

    def restart(self, time, version):
        self.origin, self.number, self.version = time, 0, version
        self.drawn, self.at = {}, time
        self.start_next(version)

    def start_next(self, version):
        """Begin another gradient at the point of this version."""
        self.version = version
        if self.draw is None:
            self.number += 1
            self.at = self.finish(self.origin, float(self.number))
        else:
            index = self.drawn.get(version, 0)
            self.drawn[version] = index + 1
            self.at = self.finish(self.at, self.draw(version, index))

    def finish(self, start, work):
        """Walk through the pieces of constant power."""
        if math.isinf(self.h) or math.isinf(start):
            return INF
        done = 0.0
        edge = start
        for end, p in zip(self.breaks, self.power, strict=True):
            time = edge + (work - done) * self.h / p if p > 0 else INF
            if time <= end:
                return time
            after = max(start, end)
            done += (after - edge) * p / self.h
            edge = after
        return INF


class Distinct:
    """Over once q workers have delivered two gradients each: a rule that the clock does not know."""

    def __init__(self, q):
        self.q = q

    def __call__(self, counts):
        return sum(count >= 2 for count in counts) >= self.q


def bus(comm, counts):
    """Seconds of a network on which each contributor waits for the slowest link in turn."""
    givers = [kappa for kappa, count in zip(comm, counts, strict=True) if count]
    return len(givers) * max(givers)


def enough(rule, counts, size):
    if isinstance(rule, Distinct):
        return rule(counts)
    if rule == "rennala":
        return sum(counts) >= size
    if rule == "m_synchronous":
        return sum(c > 0 for c in counts) >= size
    if rule == "synchronous":
        return min(counts) >= size
    if min(counts) == 0:
        return False
    ratio = size * sum(1 / c for c in counts) / len(counts) ** 2
    if abs(ratio - 1) > 1e-9:
        return ratio < 1
    return size * sum(Fraction(1, c) for c in counts) <= len(counts) ** 2


def collect(rule, workers, lead, size, version):
    """Take arrivals in order until the rule has enough: (time, last worker, counts)."""
    counts = [0] * len(workers)
    live = sum(math.isfinite(w.h) for w in workers)
    needed = {"rennala": 1, "m_synchronous": size}
    if live < (rule.q if isinstance(rule, Distinct) else needed.get(rule, len(workers))):
        return INF, None, counts
    queue = [(w.at + lead[i], i) for i, w in enumerate(workers)]
    heapq.heapify(queue)
    while True:
        time, i = queue[0]
        heapq.heappop(queue)
        counts[i] += workers[i].version == version
        if enough(rule, counts, size):
            return time, i, counts
        if counts[i] == {"synchronous": size, "m_synchronous": 1}.get(rule):
            continue  # this worker has delivered all that is asked of it
        workers[i].start_next(version)
        heapq.heappush(queue, (workers[i].at + lead[i], i))


def rounds(
    rule, compute, comm, sizes, *, restart="cancel", comm_model="allreduce", power=None, draws=None
):
    """Ends and counts of rounds; `draws(round, worker, draw)` where times are random."""
    n = len(compute)
    live = [i for i in range(n) if math.isfinite(compute[i])]
    breaks, values = power or ((), [[1.0] * n])

    def worker(i):
        draw = None if draws is None else lambda version, index: draws(version, i, index)
        return Worker(compute[i], breaks, [row[i] for row in values], draw)

    lead = [comm[i] if comm_model == "gather" and i in live else 0.0 for i in range(n)]
    workers = [worker(i) for i in range(n)]
    alike = power is None and draws is None
    start, ends, counts = 0.0, [], []
    for version, size in enumerate(sizes):
        if math.isinf(start):
            ends.append(INF)
            counts.append(None)
            continue
        if restart == "cancel":
            for w in workers:
                w.restart(0.0 if alike else start, version)
        time, last, count = collect(rule, workers, lead, size, version)
        if math.isinf(time):
            start, count = INF, None
        else:
            givers = [i for i in live if count[i]]
            pauses = {
                "allreduce": max(comm[i] for i in live),
                "server": max(comm[i] for i in givers),
                "serial": sum(comm[i] for i in givers),
                "gather": 0.0,
            }
            pause = bus(comm, count) if comm_model == "bus" else pauses[comm_model]
            end = time + pause
            if comm_model == "server" and rule in ("synchronous", "m_synchronous"):
                end = sends_at_once(worker, givers, comm, 0.0 if alike else start, version, count)
            if restart == "finish":
                for i in live:
                    if i == last and not pause > 0:
                        workers[i].start_next(version + 1)
                    elif pause > 0 and (i == last or workers[i].at <= end):
                        workers[i].restart(end, version + 1)
            start = start + end if alike and restart == "cancel" else end
        ends.append(start)
        counts.append(count)
    return ends, counts


def sends_at_once(worker, givers, comm, start, version, count):
    """When the last of the contributors has sent what it computed."""
    ends = []
    for i in givers:
        w = worker(i)
        w.restart(start, version)
        for _ in range(count[i] - 1):
            w.start_next(version)
        ends.append(w.at + comm[i])
    return max(ends)


def asynchronous(compute, comm, updates, *, comm_model="parallel", power=None, draws=None):
    """Times, workers and staleness of updates; `draws(worker, draw)` where times are random."""
    n = len(compute)
    breaks, values = power or ((), [[1.0] * n])
    plain = [Worker(h, breaks, [row[i] for row in values]) for i, h in enumerate(compute)]
    fixed = power is None and draws is None and comm_model == "parallel"
    parallel = comm_model == "parallel"
    number, version, link = [0] * n, [0] * n, 0.0
    times, who, staleness = [], [], []

    def ready(i, start):
        """When the gradient that starts now is ready for the link, or has arrived."""
        number[i] += 1
        if math.isinf(compute[i]):
            return INF
        if fixed:
            return number[i] * (compute[i] + comm[i])
        work = 1.0 if draws is None else draws(i, number[i] - 1)
        return plain[i].finish(start, work) + (comm[i] if parallel else 0.0)

    queue = [(ready(i, 0.0), i) for i in range(n)]
    heapq.heapify(queue)
    for k in range(updates):
        time, i = heapq.heappop(queue)
        if not parallel:
            time = link = max(time, link) + comm[i]
        times.append(time)
        who.append(i)
        staleness.append(k - version[i])
        version[i] = k + 1
        heapq.heappush(queue, (ready(i, time), i))
    return times, who, staleness
