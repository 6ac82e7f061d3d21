"""``python -m benchmarks NAME``: measure, print a table, and keep it with --save."""

import argparse
import json
import sys
from pathlib import Path

from . import accuracy, activations, cpu, embedding, hello, limits, machine, memory, ragged, seeds, sentiment, start, sums

BENCHMARKS = {
    "accuracy": accuracy, "activations": activations, "cpu": cpu, "embedding": embedding, "hello": hello, "limits": limits,
    "memory": memory, "ragged": ragged, "seeds": seeds, "sentiment": sentiment, "start": start, "sum": sums,
}  # fmt: skip
RESULTS = Path(__file__).parent / "results"


def main():
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name, benchmark in BENCHMARKS.items():
        own = names.add_parser(name, help=benchmark.__doc__.splitlines()[0])
        own.add_argument("--save", action="store_true", help=f"keep the result: benchmarks/results/{name}.json, .md")
        if hasattr(benchmark, "add_arguments"):
            benchmark.add_arguments(own)
    options = vars(parser.parse_args())
    name, save = options.pop("name"), options.pop("save")
    benchmark = BENCHMARKS[name]
    result = {"machine": machine.describe(), **benchmark.run(**options)}
    table = benchmark.table(result)
    about = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    print(f"{table}\n\n{about}")
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        command = " ".join(["python -m benchmarks", *(word for word in sys.argv[1:] if word != "--save")])
        (RESULTS / f"{name}.md").write_text(f"`{command}`\n\n{table}\n\n{about}\n")
        if hasattr(benchmark, "plot"):
            benchmark.plot(result, RESULTS / f"{name}.svg")


if __name__ == "__main__":
    main()
