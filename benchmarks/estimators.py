"""scikit-learn's family on Japanese Vowels: the accuracy of five seeds, and a search with one process and with two."""

import time

import numpy as np

import numbarnn as nr

SEEDS = range(5)
GRID = {"hidden": [16, 32], "learning_rate": [0.003, 0.01]}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--epochs", type=int, default=15, help="of each training of the search")
    parser.add_argument("--rounds", type=int, default=5)


def run(epochs, rounds):
    """Accuracy and seconds of each seed; seconds of the search with each number of jobs."""
    from sklearn.model_selection import GridSearchCV

    from numbarnn.interop.sklearn import SequenceClassifier

    data = nr.datasets.japanese_vowels()
    X, y = list(data.train.x), data.train.labels

    def search(jobs, epochs):
        classifier = SequenceClassifier(epochs=epochs, random_state=0)
        start = time.perf_counter()
        found = GridSearchCV(classifier, GRID, cv=5, n_jobs=jobs, refit=False).fit(X, y)
        return time.perf_counter() - start, found.cv_results_["mean_test_score"]

    SequenceClassifier(epochs=1).fit(X, y)  # kernels are compiled, or loaded
    rows = []
    for seed in SEEDS:
        start = time.perf_counter()
        classifier = SequenceClassifier(random_state=seed).fit(X, y)
        seconds = time.perf_counter() - start
        rows.append({"seed": seed, "accuracy": classifier.score(list(data.test.x), data.test.labels), "seconds": seconds})
    search(2, 1)  # the processes are started
    searches, same = [], True
    for _ in range(rounds):
        (one, scores), (two, others) = search(1, epochs), search(2, epochs)
        searches.append([one, two])
        same = same and np.array_equal(scores, others)
    failures = [] if same else ["the scores of one process are not those of two"]
    return {"epochs": epochs, "rows": rows, "searches": searches, "failures": failures}


def table(result):
    """The result as lines of Markdown."""
    lines = ["| seed | test accuracy | training |", "|---|---|---|"]
    lines += [f"| {row['seed']} | {row['accuracy']:.4f} | {row['seconds']:.1f} s |" for row in result["rows"]]
    mean = np.mean([row["accuracy"] for row in result["rows"]])
    one, two = np.median(result["searches"], axis=0)
    ratio = np.median([first / second for first, second in result["searches"]])
    lines += [
        "",
        f"Mean accuracy {mean:.4f}. GridSearchCV, 4 candidates, 5 folds, {result['epochs']} epochs, the medians: "
        f"n_jobs=1 {one:.2f} s, n_jobs=2 {two:.2f} s, ratio {ratio:.2f}",
        *result["failures"],
    ]
    return "\n".join(lines)
