"""Rows made in a thread of their own, for a reader that takes them one batch at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, Full, Queue
from typing import Generic, Self, TypeVar

T = TypeVar("T")

AHEAD = 3
"""Batches that wait for the reader at most."""
_WAIT_SECONDS = 0.1


class Prefetcher(Generic[T]):
    """Batches that are made while the last ones are used.

    Delta's writer calls its source from a thread that may not read another Delta table: this one may.
    """

    def __init__(self, batches: Callable[[], Iterator[T]]) -> None:
        self._batches = batches
        self._queue: Queue[T | None] = Queue(maxsize=AHEAD)
        self._stop = threading.Event()
        self.error: Exception | None = None
        """What the source raised: Delta's writer would pass it on as a text of its own."""
        self._thread = threading.Thread(target=self._run, name="prefetcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                batch = self._queue.get(timeout=_WAIT_SECONDS)
            except Empty:
                continue
            if batch is None:
                if self.error is not None:
                    raise self.error
                return
            yield batch

    def _run(self) -> None:
        try:
            for batch in self._batches():
                if not self._put(batch):
                    return
        except Exception as error:  # noqa: BLE001  (whatever it is, the reader raises it)
            self.error = error
        self._put(None)

    def _put(self, batch: T | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(batch, timeout=_WAIT_SECONDS)
                return True
            except Full:
                continue
        return False
