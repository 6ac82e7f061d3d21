"""``python -m benchmarks NAME``: measure, print a table, and keep it with --save."""

import argparse
import json
from pathlib import Path

from . import hello, machine, seeds, start

BENCHMARKS = {"hello": (hello, 100), "seeds": (seeds, 1000), "start": (start, 1)}  # module, epochs
RESULTS = Path(__file__).parent / "results"


def main():
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--epochs", type=int, help="100 for hello, 1000 for seeds")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/NAME.json and NAME.md")
    options = parser.parse_args()
    benchmark, epochs = BENCHMARKS[options.name]
    result = {"machine": machine.describe(), **benchmark.run(options.epochs or epochs)}
    table = benchmark.table(result)
    about = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    print(f"{table}\n\n{about}")
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{options.name}.json").write_text(json.dumps(result, indent=1) + "\n")
        command = f"python -m benchmarks {options.name} --epochs {result['epochs']}"
        (RESULTS / f"{options.name}.md").write_text(f"`{command}`\n\n{table}\n\n{about}\n")


if __name__ == "__main__":
    main()
