"""Run many seeds, and print those that failed, with their scripts."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.hostile.run import Report, run_many


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--at-once", type=int, default=16, help="how many run at once")
    parser.add_argument("--repeat", type=int, default=1, help="how often each is run")
    parser.add_argument("--quiet", action="store_true", help="of the failed ones print the broken rules only")
    options = parser.parse_args()
    began = time.perf_counter()
    seeds = [seed for seed in range(options.first, options.first + options.seeds) for _ in range(options.repeat)]
    failed = 0

    def tell(report: Report) -> None:
        nonlocal failed
        if report.faults:
            failed += 1
            shown = "\n".join(f"  {rule[:600]}" for rule in report.faults) if options.quiet else str(report)
            print(f"seed {report.seed} failed:\n{shown}\n", flush=True)

    reports = run_many(seeds, at_once=options.at_once, on_report=tell)
    for report in reports:
        if report.seed < 0:
            print(report)
    seconds = time.perf_counter() - began
    ends = Counter(end for report in reports for end in report.ends)
    print(f"{len(seeds)} seeds, {failed} failed, {seconds:.1f} s ({seconds / len(seeds) * 1000:.0f} ms each)")
    print(", ".join(f"{number} {end}" for end, number in sorted(ends.items())))
    slow = sorted(report.seconds for report in reports if report.seed >= 0)
    print(f"a seed took {slow[len(slow) // 2]:.2f} s (median), {slow[-1]:.2f} s (longest);", end=" ")
    print(f"{sum(report.tries for report in reports)} further tries on the good server")
    return 1 if failed or any(report.seed < 0 for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
