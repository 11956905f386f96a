"""An event queue that plays the rounds of one profile, written from the rules and not from the clock.

Ten lines of heap a rule, in plain Python floats: slow, and hard to get wrong.
"""

import heapq
import math


def synchronous(compute, comm, rounds, comm_model):
    live_comm = [k for h, k in zip(compute, comm, strict=True) if math.isfinite(h)]
    if comm_model == "server":
        one = max(h + k for h, k in zip(compute, comm, strict=True))
    else:
        one = max(compute) + max(live_comm)
    return [one * (k + 1) for k in range(rounds)], [[1] * len(compute)] * rounds


class Worker:
    """A worker's own timetable: completions at origin + number * h."""

    def __init__(self, h):
        self.h = h
        self.restart(0.0, 0)

    def restart(self, origin, version):
        self.origin, self.number, self.version = origin, 1, version

    def due(self):
        return self.origin + self.number * self.h


def rennala(compute, comm, batch, rounds, restart, comm_model):
    live = [i for i, h in enumerate(compute) if math.isfinite(h)]
    workers = [Worker(h) for h in compute]
    elapsed, ends, counts = 0.0, [], []
    for version in range(rounds):
        if restart == "cancel":
            for i in live:
                workers[i].restart(0.0, version)
        queue = [(workers[i].due(), i) for i in live]
        heapq.heapify(queue)
        count = [0] * len(compute)
        while True:
            time, i = heapq.heappop(queue)
            worker = workers[i]
            count[i] += worker.version == version
            worker.number += 1
            if sum(count) == batch:
                worker.version = version + 1
                break
            worker.version = version
            heapq.heappush(queue, (worker.due(), i))
        taking_part = live if comm_model == "allreduce" else [j for j in live if count[j]]
        pause = max(comm[j] for j in taking_part)
        over = time + pause
        if restart == "cancel":
            elapsed += over
            over = elapsed
        elif pause > 0:
            for j in live:
                if j == i or workers[j].due() <= over:
                    workers[j].restart(over, version + 1)
        ends.append(over)
        counts.append(count)
    return ends, counts
