"""Statistics of clustered cases, computed once more by definition: `python3 clusters.py > ../fixtures/stats/clusters.json`.

Needs numpy. Nothing here is shared with the Rust code: AUROCs are means over pairs, variances sums over patients as
Obuchowski (1997) writes them, resamples lists of drawn cases.
"""

import json

import numpy as np

DRAWS = 20_000


def cases(rng, patients):
    """Patients of one to four nodules that are alike; scores in steps of 0.01, so that some are tied."""
    rows = []
    for patient in range(patients):
        of_patient = rng.normal()
        for _ in range(rng.integers(1, 5)):
            risk = of_patient + 0.6 * rng.normal()
            label = bool(risk > 0.6)
            scores = [1 / (1 + np.exp(-(risk + noise * rng.normal() + 0.5 * of_patient))) for noise in (1.0, 1.6)]
            rows.append((patient, label, *[round(float(score), 2) for score in scores]))
    order = rng.permutation(len(rows))
    return [rows[i] for i in order]


def kernel(labels, scores):
    """1, ½ or 0 for each pair of a positive and a negative case."""
    up, down = scores[labels], scores[~labels]
    return (up[:, None] > down[None, :]) + 0.5 * (up[:, None] == down[None, :])


def obuchowski(patients, labels, kernels):
    """Variance of the mean of `kernels`: an AUROC's, or that of a difference of two."""
    theta, m, n = kernels.mean(), labels.sum(), (~labels).sum()
    v10, v01 = kernels.mean(axis=1) - theta, kernels.mean(axis=0) - theta
    of_up, of_down = patients[labels], patients[~labels]
    everyone = np.unique(patients)
    a = np.array([v10[of_up == patient].sum() for patient in everyone])
    b = np.array([v01[of_down == patient].sum() for patient in everyone])
    i1, i0, i = len(np.unique(of_up)), len(np.unique(of_down)), len(everyone)
    s10 = i1 / ((i1 - 1) * m) * (a * a).sum()
    s01 = i0 / ((i0 - 1) * n) * (b * b).sum()
    s11 = i / (i - 1) * (a * b).sum()
    return s10 / m + s01 / n + 2 * s11 / (m * n)


def average_precision(labels, scores):
    total, previous = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        called = scores >= threshold
        recall = labels[called].sum() / labels.sum()
        total += (recall - previous) * labels[called].mean()
        previous = recall
    return total


def youden_threshold(labels, scores):
    def index(threshold):
        return (scores[labels] >= threshold).mean() + (scores[~labels] < threshold).mean()

    return max(np.unique(scores)[::-1], key=index)


def metrics(labels, scores, threshold):
    return {
        "auroc": kernel(labels, scores).mean(),
        "auprc": average_precision(labels, scores),
        "brier": ((scores - labels) ** 2).mean(),
        "sensitivity": (scores[labels] >= threshold).mean(),
        "specificity": (scores[~labels] < threshold).mean(),
    }


def bootstrap(rng, patients, labels, scores):
    """Draws patients from those with a positive nodule and from those with none, each with all nodules."""
    threshold = youden_threshold(labels, scores)
    members = {patient: np.flatnonzero(patients == patient) for patient in np.unique(patients)}
    strata = [[p for p in members if labels[members[p]].any() == wanted] for wanted in (False, True)]
    draws = []
    for _ in range(DRAWS):
        drawn = [stratum[i] for stratum in strata for i in rng.integers(len(stratum), size=len(stratum))]
        at = np.concatenate([members[patient] for patient in drawn])
        draws.append(metrics(labels[at], scores[at], threshold))
    found = {}
    for name, value in metrics(labels, scores, threshold).items():
        low, high = np.percentile([draw[name] for draw in draws], [2.5, 97.5])
        found[name] = {"value": value, "low": low, "high": high}
    return found


def proportion(patients, outcomes):
    """Wilson's interval of a share for as many cases as its design effect leaves."""
    n, p = len(outcomes), outcomes.mean()
    everyone = np.unique(patients)
    totals = np.array([(outcomes[patients == patient] - p).sum() for patient in everyone])
    variance = len(everyone) / (len(everyone) - 1) * (totals**2).sum() / n**2
    independent = min(n, n / (variance / (p * (1 - p) / (n - 1))))
    z2 = 1.959963984540054**2
    half = np.sqrt(z2 * (p * (1 - p) / independent + z2 / (4 * independent**2)))
    middle = p + z2 / (2 * independent)
    return {"value": p, "low": (middle - half) / (1 + z2 / independent), "high": (middle + half) / (1 + z2 / independent)}


def main():
    rng = np.random.default_rng(20)
    columns = list(zip(*cases(rng, 110)))
    patients, labels = np.array(columns[0]), np.array(columns[1])
    first, second = np.array(columns[2]), np.array(columns[3])
    kernels = [kernel(labels, scores) for scores in (first, second)]
    threshold = 0.6
    called = first >= threshold
    fixture = {
        "patients": patients.tolist(),
        "labels": labels.tolist(),
        "first": first.tolist(),
        "second": second.tolist(),
        "variance_first": obuchowski(patients, labels, kernels[0]),
        "variance_second": obuchowski(patients, labels, kernels[1]),
        "variance_difference": obuchowski(patients, labels, kernels[0] - kernels[1]),
        "variance_of_independent_cases": obuchowski(np.arange(len(labels)), labels, kernels[0] - kernels[1]),
        "threshold": threshold,
        "sensitivity": proportion(patients[labels], called[labels]),
        "specificity": proportion(patients[~labels], ~called[~labels]),
        "bootstrap": bootstrap(rng, patients, labels, first),
    }
    print(json.dumps(fixture, default=float))


main()
