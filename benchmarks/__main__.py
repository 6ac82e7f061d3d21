"""``python -m benchmarks NAME``: measure, print a table and the load it was under, and keep both with --save.

Nothing is kept that was measured beside other work, a load of more than 0.5.
"""

import argparse
import inspect
import json
import sys
from pathlib import Path

from . import (
    accuracy,
    activations,
    busy,
    c,
    calls,
    characters,
    cpu,
    dynamics,
    embedding,
    estimators,
    feedback,
    gil,
    gpu,
    graphs,
    hello,
    images,
    inference,
    jacobian,
    launches,
    limits,
    load,
    machine,
    many,
    memory,
    mpi,
    ragged,
    reservoir,
    seeds,
    sentiment,
    spans,
    start,
    steps,
    sums,
    tangents,
)  # fmt: skip

BENCHMARKS = {
    "accuracy": accuracy, "activations": activations, "busy": busy, "c": c, "calls": calls, "characters": characters,
    "cpu": cpu, "dynamics": dynamics, "embedding": embedding, "estimators": estimators, "gil": gil, "gpu": gpu,
    "graphs": graphs, "hello": hello, "images": images, "inference": inference, "launches": launches, "limits": limits,
    "many": many, "memory": memory, "mpi": mpi, "ragged": ragged, "seeds": seeds, "sentiment": sentiment, "start": start,
    "steps": steps, "sum": sums, "tangents": tangents,
    "feedback": feedback, "reservoir": reservoir, "spans": spans, "jacobian": jacobian,
}  # fmt: skip
RESULTS = Path(__file__).parent / "results"


def main():
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name, benchmark in BENCHMARKS.items():
        own = names.add_parser(name, help=benchmark.__doc__.splitlines()[0])
        own.add_argument(
            "--save", type=Path, nargs="?", const=RESULTS, metavar="FOLDER",
            help=f"keep the result: {name}.json and .md in the folder, or in benchmarks/results",
        )  # fmt: skip
        if hasattr(benchmark, "add_arguments"):
            benchmark.add_arguments(own)
    options = vars(parser.parse_args())
    name, save = options.pop("name"), options.pop("save")
    benchmark = BENCHMARKS[name]
    around = load.Load()
    if "save" in inspect.signature(benchmark.run).parameters:
        options["save"] = save  # it keeps what it has as it goes
    elif save and around.refuses:
        sys.exit(f"not begun: --save: {around.refuses}")
    found = benchmark.run(**options)
    around.end()
    result = {"machine": machine.describe(), "load": around.as_dict(), **found}
    name = result.pop("name", name)
    table = benchmark.table(result)
    about = ", ".join(f"{key} {value}" for key, value in result["machine"].items()) + f"; {around}"
    print(f"{table}\n\n{about}")
    if save and around.refuses:
        sys.exit(f"not saved: --save: {around.refuses}")
    if save:
        save.mkdir(parents=True, exist_ok=True)
        (save / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        command = " ".join(["python -m benchmarks", *_without_save(sys.argv[1:])])
        (save / f"{name}.md").write_text(f"`{command}`\n\n{table}\n\n{about}\n")
        if hasattr(benchmark, "plot"):
            benchmark.plot(result, save / f"{name}.svg")
    sys.exit(bool(result.get("failures")))


def _without_save(words):
    """The command line without ``--save`` and its folder."""
    if "--save" not in words:
        return words
    at = words.index("--save")
    return words[:at] + words[at + 1 + (len(words) > at + 1 and not words[at + 1].startswith("-")) :]


if __name__ == "__main__":
    main()
