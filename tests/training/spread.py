"""Run as `python -m tests.training.spread`: several devices against one, printed as JSON.

With arguments ADDRESS PROCESSES INDEX it is one process of many under `jax.distributed`.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxnigt as jn
from jaxnigt.training import arrivals, packed
from jaxnigt.training import rounds as by_rounds
from jaxnigt.training.packing import slots_of_counts
from tests.compiled import cleared


def distance(one, other):
    """Largest relative distance of arrays of a pytree, in the Euclidean norm."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in pairs]
    norm, least = np.linalg.norm, np.finfo(np.float32).tiny
    return max(float(norm(a - b) / max(norm(b), least)) for a, b in pairs)


def rounds():
    """Slots of a Rennala round of 13 gradients and of a Malenia round under unequal workers."""
    profile = jn.profiles.power_law(3, 1.0)
    counts = jn.clock.malenia(profile, 12, 1).counts[0]
    weights = jn.methods.worker_mean(counts[None, None])
    malenia = tuple(x[0, 0] for x in slots_of_counts(counts[None, None], weights, int(counts.sum())))
    return {"rennala": jn.methods.Collection(jn.clock.Rennala(13)).slots(13), "malenia": malenia}


def aggregates(problem):
    """Distances of every part of a round's estimate from that of one device."""
    params = problem.init(jax.random.key(1))
    found = {}
    for name, (workers, weights) in rounds().items():
        keys = jax.random.split(jax.random.key(2), len(workers))
        spread = jn.parallel.aggregate(problem, params, keys, workers, weights)
        one = jax.jit(problem.estimate)(params, keys, jnp.asarray(workers), jnp.asarray(weights))
        found[name] = distance(spread.gradient, one.gradient)
        found[f"{name} returns"] = distance(spread.discounted, one.discounted)
        if one.observed is not None:
            found[f"{name} observed"] = distance(spread.observed, one.observed)
    return found


def trainings(problem):
    """Distances of traces trained on all devices from those of one, and programs, by what was cut."""
    profile = jn.profiles.power_law(3, np.linspace(0, 1, 8))
    cases = {
        "seeds": (jn.methods.rennala_nigt(6), {"seeds": 8}),
        "stepsizes": (jn.methods.rennala_nigt(6, stepsize=np.linspace(0.01, 0.1, 16)), {"seeds": 3}),
        "profiles": (jn.methods.malenia_nigt(6), {"profile": profile}),
        "arrivals": (jn.methods.afedpg(), {"profile": profile, "seeds": 3}),
        "lanes": (jn.methods.afedpg(), {"seeds": 11}),
        "slots": (jn.methods.rennala_nigt(6), {}),
    }
    found, programs = {}, {}
    for name, (method, arguments) in cases.items():
        if name in ("seeds", "stepsizes", "slots", "lanes"):
            arguments["profile"] = profile[0]
        one, all_ = (
            trained(problem, method, devices=devices, **arguments)
            for devices in (jax.devices()[:1], None)
        )
        traces = all_[0], one[0]
        programs[name] = all_[1]
        found[name] = max(
            distance(getattr(traces[0], field), getattr(traces[1], field))
            for field in ("objective", "gradient_norm", "params")
        )
    return found, programs


def trained(problem, method, **arguments):
    """A trace, and how many programs were compiled for its two calls and two evaluations."""
    compiled = by_rounds.advance, arrivals.advance, packed.advance, by_rounds.evaluate
    added = cleared(*compiled)
    trace = jn.train(problem, method, iterations=12, eval_every=6, **arguments)
    return trace, sum(added())


def main():
    if len(sys.argv) > 1:
        address, processes, index = sys.argv[1:]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(address, int(processes), int(index))
    tabular = jn.problems.tabular(workers=3, horizon=6)
    found = {"devices": jax.device_count(), "processes": jax.process_count()}
    found["tabular"] = aggregates(tabular)
    if len(sys.argv) == 1:
        normalisation = jn.problems.RunningNormalisation()
        reacher = jn.problems.policy_gradient(
            "reacher", backend="spring", horizon=2, normalisation=normalisation
        )
        found["reacher"] = aggregates(reacher)
        found["trainings"], found["programs"] = trainings(tabular)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
