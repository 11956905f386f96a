"""Ctrl-C twice: the first stops at the next safe point, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

_STDERR = 2
_WORDS = b"\nstopping at the next safe point; press Ctrl-C again to stop at once\n"


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """A question whether to stop, which an interrupt or a termination answers."""
    asked = threading.Event()

    def handle(number: int, _: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # Consoles and logs may be in the middle of something; the system's own write never is.
        with contextlib.suppress(OSError):
            os.write(_STDERR, _WORDS)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
