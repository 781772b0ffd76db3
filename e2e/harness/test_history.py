"""The judge judges: what is allowed passes, and each rule is broken once."""

import unittest
from collections.abc import Callable

from .history import History, Sent


def written(count: int) -> tuple[History, dict[str, bytes]]:
    """A history of acknowledged writes and the tree it leaves."""
    history, tree = History(), {}
    for number in range(count):
        attempt = history.attempt()
        znode = f"n-{number:010}"
        history.acknowledge(attempt, f"/log/{znode}")
        tree[znode] = str(attempt).encode()
    return history, tree


class Judge(unittest.TestCase):
    """Each case changes a good run in one way."""

    def check(self, change: Callable[[History, dict[str, bytes]], object], *expected: str) -> None:
        """The first word of each rule that is found broken."""
        history, tree = written(5)
        change(history, tree)
        self.assertEqual([violation.split(":")[0] for violation in history.judge(tree)], list(expected))

    def test_a_good_run(self) -> None:
        self.check(lambda history, tree: None)

    def test_an_unknown_attempt_may_be_either(self) -> None:
        self.check(lambda history, tree: history.attempt())
        self.check(lambda history, tree: tree.update({"n-0000000005": str(history.attempt()).encode()}))

    def test_a_lost_write(self) -> None:
        self.check(lambda history, tree: tree.pop("n-0000000004"), "lost")
        self.check(lambda history, tree: tree.pop("n-0000000002"), "lost", "gap")

    def test_a_write_that_was_replaced(self) -> None:
        self.check(lambda history, tree: tree.update({"n-0000000004": b"1"}), "overwritten", "twice", "order")

    def test_a_write_from_nowhere(self) -> None:
        self.check(lambda history, tree: tree.update({"n-0000000005": b"99"}), "from nowhere")
        self.check(lambda history, tree: history.acknowledged.pop(5), "from nowhere")

    def test_a_refused_write_that_is_there(self) -> None:
        def refuse(history: History, tree: dict[str, bytes]) -> None:
            attempt = history.attempt()
            history.refuse(attempt, "no")
            tree["n-0000000005"] = str(attempt).encode()

        self.check(refuse, "from nowhere")

    def test_an_answer_with_the_write_before_a_move(self) -> None:
        lost, same = Sent(7, 1, "old"), Sent(7, 1, "new")

        def mislead(history: History, tree: dict[str, bytes], answered: Sent | None, *, before: Sent | None = lost, there: bool = False) -> None:
            first, second = history.attempt(), history.attempt()
            history.lose(first, before)
            tree["n-0000000005"] = str(first).encode()
            history.acknowledge(second, "/log/n-0000000005", answered)
            if there:
                tree["n-0000000006"] = str(second).encode()

        self.check(lambda history, tree: mislead(history, tree, same))
        self.check(lambda history, tree: mislead(history, tree, same, there=True))
        self.check(lambda history, tree: mislead(history, tree, None), "overwritten")
        self.check(lambda history, tree: mislead(history, tree, same, before=None), "overwritten")
        for other in (Sent(7, 2, "new"), Sent(8, 1, "new"), Sent(7, 1, "old")):
            self.check(lambda history, tree, other=other: mislead(history, tree, other), "overwritten")
        history, tree = written(5)
        mislead(history, tree, same)
        history.judge(tree)
        self.assertEqual(history.misled, 1)

    def test_numbers_out_of_order(self) -> None:
        def swap(history: History, tree: dict[str, bytes]) -> None:
            history.acknowledged.update({4: 4, 5: 3})
            tree.update({"n-0000000003": b"5", "n-0000000004": b"4"})

        self.check(swap, "order")

    def test_a_read_that_misses_what_it_must_have(self) -> None:
        self.check(lambda history, tree: history.read({0, 1}, {1}, "seen"))
        self.check(lambda history, tree: history.read({0, 1}, {1, 2}, "seen"), "a read missed 2")


if __name__ == "__main__":
    unittest.main()
