"""More stepsizes, seeds and profiles train only what is new, and give what a fresh run gives."""

import numpy as np
import pytest
import xarray as xr

import jaxnigt as jn
from jaxnigt.sweep import definition as spec
from jaxnigt.sweep import plan, reuse


def definition(stepsizes=(0.01, 0.02), seeds=(0, 1), exponents=(0.0, 1.0), momenta=(0.1,)):
    chosen = {"stepsize": list(stepsizes), "momentum": list(momenta), "iterations": 12}
    return {
        "name": "grown",
        "workers": 4,
        "figure": False,
        "problem": {"kind": "tabular", "own": True, "horizon": 5},
        "training": {"seeds": list(seeds), "eval_every": 4},
        "methods": [
            {"name": "malenia_nigt", "batch": 6, **chosen},
            {"name": "synchronous_nigt", **chosen},
        ],
        "profiles": [{"label": "law", "family": "power_law", "exponent": list(exponents)}],
    }


def units(known=None, **changes):
    found = plan.panels(spec.parse(definition(**changes)), known=known)
    return {unit.key: unit for unit in plan.unique_units(found)}


def stored(units):
    """What a folder with some units would hold."""
    known = {}
    for unit in units.values():
        known.setdefault(unit.family, []).append(reuse.axes(unit))
    return known


@pytest.mark.parametrize("seed", range(20))
def test_boxes_cover_a_mask_and_no_run_twice(seed):
    rng = np.random.default_rng(seed)
    missing = rng.random((3, 4, 2, 3)) < rng.random()
    times = np.zeros(missing.shape, int)
    for box in reuse.boxes(missing):
        times[np.ix_(*box)] += 1
    np.testing.assert_array_equal(times, missing.astype(int))


@pytest.mark.parametrize(
    ("changes", "new"),
    [
        ({"stepsizes": (0.01, 0.015, 0.02)}, [(1, 2, 1), (2, 2, 1)]),
        ({"seeds": (0, 1, 7)}, [(1, 1, 2), (2, 1, 2)]),
        ({"exponents": (0.0, 0.5, 1.0)}, [(1, 2, 2)]),
        ({"momenta": (0.1, 0.5)}, [(1, 2, 2), (2, 2, 2)]),
        ({"stepsizes": (0.01,)}, []),
        ({"seeds": (1,), "exponents": (0.0, 1.0, 2.0)}, [(1, 1, 2)]),
    ],
)
def test_only_what_is_new_is_planned(changes, new):
    before = units()
    known = stored(before)
    after = units(known, **changes)
    trained = {key: unit for key, unit in after.items() if key not in before}

    def box(unit):
        return unit.schedules, len(unit.seeds), len(unit.method["stepsize"])

    assert sorted(map(box, trained.values())) == sorted(new)
    # With those in the folder as well there is nothing left.
    assert not set(units(stored(before | trained), **changes)) - set(before | trained)
    # A change of anything else is another family.
    assert not set(units(known, stepsizes=(0.01, 0.03))) <= set(before)


def test_a_grown_sweep_is_what_a_fresh_one_is(tmp_path):
    jn.sweep.run(definition(), tmp_path / "grown")
    before = {path.name: path.read_bytes() for path in (tmp_path / "grown/units").glob("*.nc")}
    more = {"stepsizes": (0.01, 0.04, 0.02), "seeds": (0, 1, 5), "exponents": (0.0, 0.5, 1.0)}
    grown = jn.sweep.run(definition(**more), tmp_path / "grown")
    fresh = jn.sweep.run(definition(**more), tmp_path / "fresh")
    for name, content in before.items():
        assert (tmp_path / "grown/units" / name).read_bytes() == content
    for method in ("malenia_nigt", "synchronous_nigt"):
        one, other = (tree[f"methods/{method}"].to_dataset() for tree in (grown, fresh))
        xr.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert one["objective"].notnull().all()
    # Less than there is trains nothing and reads what it needs.
    there = set((tmp_path / "grown/units").iterdir())
    few = {"stepsizes": (0.04,), "seeds": (5,), "exponents": more["exponents"]}
    less = jn.sweep.run(definition(**few), tmp_path / "grown")
    assert set((tmp_path / "grown/units").iterdir()) == there
    one, other = (tree["methods/malenia_nigt"]["objective"] for tree in (less, grown))
    np.testing.assert_array_equal(one, other.sel(stepsize=[0.04], seed=[5]))


def test_equal_profiles_keep_labels_of_their_own(tmp_path):
    table = definition()
    first, second = ({"label": label, "family": "equal"} for label in ("one", "other"))
    for profiles in ([first], [first, second], [first, second]):
        tree = jn.sweep.run(table | {"profiles": profiles}, tmp_path / "out")
        found = tree["methods/malenia_nigt"]["objective"]
        assert found["profile"].values.tolist() == [profile["label"] for profile in profiles]
        assert found.notnull().all()


def test_rounds_that_never_end_are_told_before_anything_is_trained(tmp_path):
    (tmp_path / "dead.csv").write_text("compute,comm\n1,0\n2,0\ninf,\n4,0\n")
    dead = {"label": "dead", "family": "from_csv", "path": str(tmp_path / "dead.csv")}
    read = spec.parse(definition() | {"profiles": [dead]})
    with pytest.raises(
        jn.InputError, match="malenia_nigt cannot be trained along the profile dead, where"
    ):
        plan.panels(read)
