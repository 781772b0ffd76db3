"""Judges the judge of e2e/bench: the arithmetic between a run and the table."""

import unittest

from .bench_report import line, short
from .bench_rows import CPU, OPS, Limit, Round, Row, Run, figure, group_bound, one_write_bound


def measured(**runs: list[Run]) -> Round:
    """A round by who served."""
    return Round(dict(runs))


def cpu(*values: float, other: float = 0.0) -> list[Run]:
    """Runs of that CPU per operation."""
    return [{"server_cpu_us_op": value, "ops_s": 1e6 / value, "other_cores": other} for value in values]


READ = Row("X", "read", "get", CPU, "us", (Limit(a=1 / 4), Limit(a=1 / 10, f=5), Limit(f=3)), floor=lambda r: r.mean("F", CPU))
RATE = Row("Y", "rate", "get", OPS, "ops/s", (Limit(a=2), Limit(a=4), None), lower=False)


class Limits(unittest.TestCase):
    """What a limit is, and which one is reached."""

    def test_the_strictest_part_of_a_limit_holds(self) -> None:
        self.assertEqual(Limit(a=1 / 10, f=5).value(20.0, 0.3, lower=True), 1.5)
        self.assertEqual(Limit(a=1 / 10, f=5).value(10.0, 0.3, lower=True), 1.0)
        self.assertEqual(Limit(a=2, f=0.5).value(10.0, 100.0, lower=False), 50.0)
        self.assertIsNone(Limit(a=2, f=0.5).value(10.0, None, lower=False))

    def test_a_limit_reads_as_a_fraction_of_a(self) -> None:
        self.assertEqual(str(Limit(a=1 / 6.5, f=5)), "A/6.5 and 5 F")

    def test_a_level_counts_only_with_those_below_it(self) -> None:
        for ours, reached in [(6.0, "below the gate"), (4.0, "gate"), (1.5, "target"), (0.8, "stretch")]:
            with self.subTest(ours=ours):
                self.assertEqual(line(READ, [measured(A=cpu(20.0), C=cpu(ours), F=cpu(0.3))]).reached, reached)

    def test_more_is_better_for_a_rate(self) -> None:
        for ours, reached in [(20.0, "below the gate"), (8.0, "gate"), (4.0, "target")]:
            with self.subTest(ours=ours):
                self.assertEqual(line(RATE, [measured(A=cpu(20.0), C=cpu(ours))]).reached, reached)


class Ratios(unittest.TestCase):
    """From runs to a line."""

    def test_a_ratio_is_taken_within_a_round(self) -> None:
        # The machine is three times slower in the second round; the ratio is the same.
        rounds = [measured(A=cpu(20.0), C=cpu(5.0)), measured(A=cpu(60.0), C=cpu(15.0))]
        ratio = line(READ, rounds).ours_to_a
        assert ratio
        self.assertEqual((ratio.low, ratio.median, ratio.high), (0.25, 0.25, 0.25))

    def test_a_noisy_run_is_left_out_beside_a_quiet_one(self) -> None:
        result = line(READ, [measured(A=cpu(20.0), C=[*cpu(5.0), *cpu(50.0, other=1.0)])])
        assert result.ours
        self.assertEqual(result.ours.median, 5.0)
        self.assertEqual((result.quiet, result.runs), (2, 3))

    def test_noisy_runs_count_where_there_is_nothing_else(self) -> None:
        result = line(READ, [measured(A=cpu(20.0), C=cpu(4.0, 6.0, other=1.0))])
        assert result.ours
        self.assertEqual(result.ours.median, 5.0)

    def test_a_row_without_a_floor_has_no_level_that_rests_on_it(self) -> None:
        self.assertEqual(line(READ, [measured(A=cpu(20.0), C=cpu(1.0))]).reached, "")


class Bounds(unittest.TestCase):
    """Floors that are not the echo's own figure."""

    def test_a_group_of_256_takes_one_sync(self) -> None:
        self.assertEqual(group_bound(measured(S=[{"p50_us": 200.0}])), 1_280_000)

    def test_one_write_takes_a_sync_and_a_round_trip(self) -> None:
        self.assertEqual(one_write_bound(measured(S=[{"p50_us": 170.0}], F=[{"set": {"p50_us": 90.0}}])), 260.0)
        self.assertIsNone(one_write_bound(measured(S=[{"p50_us": 170.0}])))

    def test_a_figure_is_read_by_its_place(self) -> None:
        self.assertEqual(figure("set", "p50_us")({"set": {"p50_us": 7}}), 7.0)


class Words(unittest.TestCase):
    """Numbers for people."""

    def test_three_digits_are_enough(self) -> None:
        for value, text in [(123456.7, "123,457"), (99.96, "100"), (4.567, "4.57"), (0.12345, "0.123")]:
            with self.subTest(value=value):
                self.assertEqual(short(value), text)
