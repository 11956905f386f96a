"""What the README shows must run; only the number of rounds is cut."""

import functools
import re
from pathlib import Path

import pytest

import jaxnigt as jn

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.loose
def test_every_block_runs_after_those_before_it(monkeypatch):
    train = jn.train

    @functools.wraps(train)
    def few(problem, method, *, iterations, **options):
        rounds = min(iterations, 40)
        options["eval_every"] = min(options.get("eval_every", 10), rounds)
        return train(problem, method, iterations=rounds, **options)

    monkeypatch.setattr(jn, "train", few)
    assert len(BLOCKS) >= 6
    seen: dict = {}
    for block in BLOCKS:
        block = block.replace('"mjx"', '"spring"')  # which compiles sooner
        exec(compile(block, "README.md", "exec"), seen)
    assert seen["trace"].method.name == "fair"
