"""What the README shows must run; only the number of rounds is cut."""

import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import pytest

import jaxnigt as jn
from jaxnigt.sweep import definition as spec
from jaxnigt.sweep import panels, plan
from tests.sweep.running import sweep

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
DEFINITIONS = re.findall(r"^```toml\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
(MINE,) = (index for index, block in enumerate(BLOCKS) if "@jn.register" in block)


@pytest.mark.loose
def test_the_definition_shown_makes_a_plan():
    (text,) = (text for text in DEFINITIONS if "[[methods]]" in text and "mine.py" not in text)
    found = plan.panels(spec.parse({"name": "readme", **tomllib.loads(text)}))
    assert len(found) == 4  # two environments, two numbers of workers
    assert [len(panel.methods) for panel in found] == [2] * 4
    assert sum(len(batch.labels) for batch in found[0].batches) == 18
    assert len(plan.unique_units(found)) == 4  # workers share what does not depend on them


def test_ideas_of_ones_own_are_one_file(tmp_path):
    """The file and the definition that the README shows, as they are."""
    (text,) = (text for text in DEFINITIONS if "mine.py" in text)
    (tmp_path / "own.toml").write_text(text)
    (tmp_path / "mine.py").write_text(BLOCKS[MINE])
    status, output = sweep(tmp_path / "own.toml", tmp_path / "own")
    assert status == 0, output
    assert len(panels(jn.load(tmp_path / "own"))) == 2  # two values of noise
    # In a process of its own, as the names would stay registered.
    (tmp_path / "use.py").write_text("from mine import *\n" + BLOCKS[MINE + 1])
    done = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.loose
def test_every_block_runs_after_those_before_it(tmp_path, monkeypatch):
    train = jn.train

    @functools.wraps(train)
    def few(problem, method, *, iterations, **options):
        rounds = min(iterations, 40)
        options["eval_every"] = min(options.get("eval_every", 10), rounds)
        return train(problem, method, iterations=rounds, **options)

    monkeypatch.setattr(jn, "train", few)
    monkeypatch.chdir(tmp_path)
    changes = (
        "problem.backend=spring",
        "problem.horizon=3",
        "training.eval_batch=2",
        "methods.*.iterations=30",
    )
    changes = [word for change in changes for word in ("--set", change)]
    # In a process of its own, as one process can hold so many compiled programs and no more.
    quickstart = README.with_name("sweeps") / "quickstart.toml"
    status, output = sweep(quickstart, tmp_path / "results/quickstart", *changes)
    assert status == 0, output
    assert len(BLOCKS) >= 6
    jax.clear_caches()
    seen: dict = {}
    for block in BLOCKS[:MINE] + BLOCKS[MINE + 2 :]:
        block = block.replace('"mjx"', '"spring"')  # which compiles sooner
        exec(compile(block, "README.md", "exec"), seen)
    assert seen["trace"].method.name == "afedpg"
    assert (tmp_path / "mine.png").stat().st_size > 10_000
