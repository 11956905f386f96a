"""Fuzzing sees what a user sees, without the checker of types; and it says how much was tried."""

import jaxtyping
import pytest

from tests.fuzz.running import COUNTS, SEED


@pytest.fixture(autouse=True)
def _no_checker(request):
    """The runtime type checker of the other tests would refuse wrong types before jaxnigt does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    before = COUNTS.copy()
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    tried = COUNTS - before
    request.node.user_properties += [("examples", list(pair)) for pair in tried.items()]


def pytest_terminal_summary(terminalreporter):
    """A line for each category, and the seed."""
    properties = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "examples" and report.when == "teardown"
    ]
    if properties:
        total = sum(number for _, number in properties)
        seed = "always the same" if SEED is None else f"SEED={SEED}"
        terminalreporter.section(f"fuzzed {total} examples, {seed}")
        for category, number in properties:
            terminalreporter.write_line(f"{number:>8,} {category}")
