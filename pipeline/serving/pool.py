"""Inference in threads of its own, so that the event loop stays free to answer, to refuse and to say that it lives.

House decisions. What is waiting is bounded in texts, not in requests: a text is what costs time. A thread that hangs cannot be ended, so it
is left behind and another takes its place; the service calls itself dead once too many were.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from pipeline.serving.classifier import Answer

MAX_STUCK = 8


class BusyError(Exception):
    """As much is waiting as may."""


@dataclass(frozen=True, eq=False)
class Job:
    """The texts of one request, and where its answers are awaited."""

    texts: Sequence[str]
    top_k: int
    done: asyncio.Future[list[Answer]]


class Pool:
    """Threads that answer jobs in the order they came.

    Args:
        answer: answers texts, with as many of the best labels as asked for; called in several threads at the same time.
        workers: threads.
        max_texts: texts that may wait or run at the same time; a request that is alone may have more.
        timeout_s: seconds until a request is given up.
    """

    def __init__(self, answer: Callable[[Sequence[str], int], list[Answer]], workers: int, max_texts: int, timeout_s: float) -> None:
        self._answer = answer
        self._max_texts = max_texts
        self._timeout_s = timeout_s
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._workers: list[_Worker] = []
        self.texts = 0  # waiting or running
        self.stuck = 0  # threads left behind that have not come back
        for _ in range(workers):
            self._start()

    @property
    def alive(self) -> bool:
        """Whether so few threads hang that going on makes sense."""
        return self.stuck < MAX_STUCK

    async def answer(self, texts: Sequence[str], top_k: int) -> list[Answer]:
        """Answers texts in one of the threads.

        Raises:
            BusyError: too many texts are waiting.
            TimeoutError: there was no answer in time; the thread that may be stuck on it is replaced.
        """
        if self.texts and self.texts + len(texts) > self._max_texts:
            raise BusyError
        job = Job(texts, top_k, asyncio.get_running_loop().create_future())
        self.texts += len(texts)
        self._jobs.put(job)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await job.done
        except TimeoutError:
            self._replace_stuck()
            raise
        finally:
            self.texts -= len(texts)

    def _start(self) -> None:
        worker = _Worker()
        self._workers.append(worker)
        # a daemon: the process must be able to end while it hangs
        Thread(target=self._work, args=(worker,), name="inference", daemon=True).start()

    def _replace_stuck(self) -> None:
        """A request waited in vain: what has been at one job for half of that time is taken to be stuck."""
        for worker in list(self._workers):
            since = worker.since  # its thread may end the job meanwhile
            if since is not None and time.monotonic() - since > self._timeout_s / 2:
                self._workers.remove(worker)
                worker.left_behind = True
                self.stuck += 1
                self._start()

    def _work(self, worker: _Worker) -> None:
        while not worker.left_behind:
            job = self._jobs.get()
            loop = job.done.get_loop()
            if job.done.done():  # given up while it waited
                continue
            worker.since = time.monotonic()
            try:
                answers = self._answer(job.texts, job.top_k)
            except Exception as error:  # noqa: BLE001  # whatever it is, the request that caused it must hear of it
                loop.call_soon_threadsafe(_finish, job.done, error)
            else:
                loop.call_soon_threadsafe(_finish, job.done, answers)
            worker.since = None
        self.stuck -= 1


@dataclass(eq=False)
class _Worker:
    since: float | None = None  # when it began its job
    left_behind: bool = False


def _finish(done: asyncio.Future[list[Answer]], result: list[Answer] | Exception) -> None:
    if done.done():
        return
    if isinstance(result, Exception):
        done.set_exception(result)
    else:
        done.set_result(result)
