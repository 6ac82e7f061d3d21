"""The main job's first network with five seeds: what it costs, and what it answers to 1..5 and 37.4..41.4."""

from numbarnn.demo import counting

SEEDS = range(5)


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--epochs", type=int, default=1000)


def run(epochs):
    """Final cost and the two answers of each seed."""
    rows = []
    for seed in SEEDS:
        network = counting.counting_network(seed=seed)
        history = counting.train_counting(network, epochs, seed, progress=False)
        answers = [counting.answer(network, question) for question, _ in counting.QUESTIONS[:2]]
        cost = network.loss(*counting.counting_windows(), loss="quadratic")
        good = cost <= 0.001 and abs(answers[0] - 6) <= 0.03 and abs(answers[1] - 42.4) <= 0.03
        rows.append(
            {"seed": seed, "cost": cost, "answers": answers, "within": good, "seconds": sum(history.seconds)}
        )  # fmt: skip
    return {"epochs": epochs, "rows": rows}


def table(result):
    """The result as lines of Markdown."""
    lines = ["| seed | cost | 1, ..., 5 | 37.4, ..., 41.4 | within 0.001, 0.03, 0.03 | time |", "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        first, second = row["answers"]
        verdict = "yes" if row["within"] else "no"
        lines.append(
            f"| {row['seed']} | {row['cost']:.1e} | {first:.3f} | {second:.3f} | {verdict} | {row['seconds']:.1f} s |"
        )
    return "\n".join(lines)
