"""The matrix of mixed ensembles in docs/compatibility.md is that of the cases; and it tells what was seen."""

import unittest

from . import matrix, places, runner
from .mixed import Kind
from .runner import Case, Tally

PAGE = places.REPOSITORY / "docs" / "compatibility.md"


class Matrix(unittest.TestCase):
    """Of the cases that there are, and of some that there are not."""

    def test_the_page_has_the_table_of_the_cases(self) -> None:
        table = matrix.table(runner.find("mixed"))
        self.assertIn(table, PAGE.read_text(), f"docs/compatibility.md is stale; it must have:\n\n{table}")

    def test_a_cell_is_empty_covered_or_impossible(self) -> None:
        case = Case("a case", lambda world: "", matrix.cells("leader", "J", "crash, stop"))
        first = matrix.table([case]).splitlines()[2]
        self.assertTrue(first.startswith("| leader | Java | 1 | 1 | **none** |"), first)
        empty = matrix.empty([case])
        self.assertIn(matrix.Cell("leader", Kind.RUST, "crash"), empty)
        self.assertNotIn(matrix.Cell("leader", Kind.JAVA, "crash"), empty)
        self.assertNotIn(matrix.Cell("observer", Kind.JAVA, "TRUNC"), empty)

    def test_a_failure_outweighs(self) -> None:
        good = Case("good", lambda world: "", matrix.cells("leader", "J", "crash, stop"))
        bad = Case("bad", lambda world: "", matrix.cells("leader", "J", "stop"))
        first = matrix.seen(Tally(1, 1, [good], [bad])).splitlines()[2]
        self.assertTrue(first.startswith("| leader | Java | ok | FAILED | - |"), first)

    def test_a_fault_that_is_none_is_refused(self) -> None:
        with self.assertRaises(AssertionError):
            matrix.cells("leader", "J", "earthquake")
