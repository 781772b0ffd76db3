"""The judge of the registers judges: what is allowed passes, and each rule is broken once."""

import unittest
from collections.abc import Callable

from .registers import Answer, Read, Registers, Shown, Told, Watch, Written

PATH = "/r"


def value(number: int) -> Shown:
    """The value that the write with this number makes, at zxid ten times the number."""
    return Shown(PATH, f"w{number}", number, 10 * number)


def run() -> Registers:
    """Three writes one after the other, the answer to a fourth lost, a fifth refused, and what a session saw of them."""
    registers = Registers()
    for number in (1, 2, 3):
        registers.write(Written(value(number), began=number, answered=number + 0.5))
    registers.lose("w4")
    registers.refuse("w5")
    registers.read(Read(25, value(2)))
    registers.read(Read(40, value(4), synced=9.0))
    for seen in (Answer(10), Watch(PATH, 10), Answer(12), Told(PATH), Answer(20), Watch(PATH, 30), Answer(33), Told(PATH), Answer(40)):
        registers.see(1, seen)
    return registers


class Judge(unittest.TestCase):
    """Each case adds one thing to a good run."""

    def check(self, change: Callable[[Registers], object], expected: str = "") -> None:
        """The first letter of each rule that is found broken."""
        registers = run()
        change(registers)
        found = registers.judge()
        self.assertEqual("".join(sorted({violation[0] for violation in found})), expected, found)

    def test_a_good_run(self) -> None:
        self.check(lambda registers: None)

    def test_writes_at_the_same_time_may_come_in_any_order(self) -> None:
        self.check(lambda registers: registers.write(Written(Shown("/other", "x", 1, 5), began=0.5, answered=9.0)))

    def test_a_write_that_overtakes_in_time(self) -> None:
        self.check(lambda registers: registers.write(Written(Shown("/other", "x", 1, 5), began=2.0, answered=9.0)), "W")

    def test_two_writes_with_one_zxid(self) -> None:
        self.check(lambda registers: registers.write(Written(Shown("/other", "x", 1, 20), began=2.0, answered=2.4)), "W")

    def test_a_version_given_twice(self) -> None:
        self.check(lambda registers: registers.write(Written(Shown(PATH, "x", 3, 35), began=5.0, answered=6.0)), "VW")

    def test_a_value_that_was_replaced(self) -> None:
        self.check(lambda registers: registers.read(Read(25, Shown(PATH, "x", 2, 20))), "V")

    def test_a_refused_value(self) -> None:
        self.check(lambda registers: registers.read(Read(60, Shown(PATH, "w5", 5, 50))), "N")

    def test_a_stale_read_is_allowed_and_one_that_contradicts_its_own_state_is_not(self) -> None:
        self.check(lambda registers: registers.read(Read(19, value(1))))
        self.check(lambda registers: registers.read(Read(20, value(1))), "R")

    def test_a_read_of_the_future(self) -> None:
        self.check(lambda registers: registers.read(Read(9, value(1))), "R")

    def test_a_sync_that_was_none(self) -> None:
        self.check(lambda registers: registers.read(Read(25, value(2), synced=3.2)))
        self.check(lambda registers: registers.read(Read(25, value(2), synced=3.6)), "F")

    def test_a_session_that_goes_back(self) -> None:
        self.check(lambda registers: registers.see(1, Answer(39)), "S")
        self.check(lambda registers: registers.see(2, Answer(39)))

    def test_a_watch_that_is_late(self) -> None:
        def late(registers: Registers) -> None:
            for seen in (Watch(PATH, 20), Answer(30), Told(PATH)):
                registers.see(2, seen)

        self.check(late, "E")

    def test_a_watch_that_fires_for_nothing(self) -> None:
        def nothing(registers: Registers) -> None:
            for seen in (Watch(PATH, 40), Told(PATH)):
                registers.see(2, seen)

        self.check(nothing, "E")
        self.check(lambda registers: registers.see(2, Told(PATH)), "E")

    def test_what_an_observer_saw_itself(self) -> None:
        self.check(lambda registers: registers.violate("X: seen"), "X")


if __name__ == "__main__":
    unittest.main()
