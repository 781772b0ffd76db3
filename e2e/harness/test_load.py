"""What a load says of a stall."""

import logging
import time
import unittest
from types import SimpleNamespace

from .load import EXPLAINED_STALL_SECONDS, Diary, Load, Summary


class Stalls(unittest.TestCase):
    """The longest stall is kept, and explained when it is long."""

    def setUp(self):
        self.load = Load("127.0.0.1:1")
        self.load._clients = [SimpleNamespace(diary=Diary()) for _ in range(5)]

    def stalled(self, seconds: float, line: str) -> str:
        """What is said when the writer stood still so long, and logged the line meanwhile."""
        now = time.monotonic()
        self.load._last_acknowledged = now - seconds
        self.load._clients[0].diary.emit(logging.LogRecord("load", logging.INFO, "", 0, line, (), None))
        self.load._note_stall(time.monotonic())
        return str(Summary(1, 0, 0, 0, 0, self.load._longest_stall, explanation=self.load._explanation))

    def test_a_long_one_is_explained(self):
        said = self.stalled(EXPLAINED_STALL_SECONDS + 1, "Connecting to 192.0.2.1\nand more")
        self.assertRegex(said, r"longest stall 6\.0 s:\n +writer \+6\.0 s Connecting to 192\.0\.2\.1$")

    def test_a_short_one_is_not(self):
        self.assertTrue(self.stalled(EXPLAINED_STALL_SECONDS - 1, "Connecting").endswith("longest stall 4.0 s"))

    def test_a_shorter_one_does_not_replace_a_longer_one(self):
        first = self.stalled(9, "first")
        self.assertEqual(self.stalled(8, "second"), first)


if __name__ == "__main__":
    unittest.main()
