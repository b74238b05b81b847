"""Somebody who hears that a job waits for another."""

import threading

from pipelines.job import Silence


class Listener(Silence):
    """Keeps the last words, and lets others wait until there are any."""

    def __init__(self) -> None:
        self.heard = ""
        self.waits = threading.Event()

    def say(self, message: str) -> None:
        self.heard = message
        self.waits.set()
