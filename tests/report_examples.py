"""Results made up for the tests of the report: one page for each task."""

from __future__ import annotations

import numpy as np

from fastlstm.report import (
    AttendedSentence,
    Confusion,
    Forecast,
    HorizonErrors,
    LabelScores,
    LearningCurves,
    Metric,
    Mistake,
    Recording,
    Scores,
    Section,
    Summary,
    TaggedSentence,
    attention,
    configuration,
    confusion_matrix,
    forecasts,
    horizon_errors,
    label_scores,
    learning_curves,
    metric_table,
    recordings,
    tagged_sentences,
    worst_mistakes,
)

Page = tuple[Summary, list[Section]]

FACTS = {
    "trained on": "55,000 examples",
    "scored on": "10,000 held-out examples",
    "training time": "6 min 12 s",
    "weights": "134,794",
    "seed": "0",
    "date": "22 November 2026",
    "versions": "fastlstm 0.1.0, torch 2.13.0, Python 3.11",
}
SETTINGS = {
    "training": {"epochs": 30, "learning_rate": 0.004, "betas": [0.9, 0.99], "seed": 0},
    "lstm": {"hidden_size": 128, "num_layers": 2, "bidirectional": True, "cell_clip": None},
    "data": {"path": "a/very/long/path/of/the/data/" + "folder/" * 12 + "file.csv"},
}


def curves(
    epochs: int, losses: tuple[float, float], metrics: tuple[float, float], name: str
) -> LearningCurves:
    generator = np.random.default_rng(3)
    progress = 1 - np.exp(-5 * np.linspace(0, 1, epochs))

    def between(ends: tuple[float, float], noise: float) -> list[float]:
        wobble = noise * abs(ends[1] - ends[0]) * generator.normal(size=epochs)
        return (ends[0] + (ends[1] - ends[0]) * progress + wobble).tolist()

    validation = between(metrics, 0.02)
    ascending = metrics[1] > metrics[0]
    best = int(np.argmax(validation) if ascending else np.argmin(validation))
    return LearningCurves(
        epochs=list(range(1, epochs + 1)),
        losses={
            "training": between(losses, 0.002),
            "validation": between((losses[0] * 0.9, losses[1] * 1.6), 0.01),
        },
        best_epoch=best + 1,
        metric_name=name,
        metrics={"validation": validation},
        percent=ascending,
    )


def glyph(number: int, size: int = 28) -> np.ndarray:
    """A picture that differs from number to number: an arc as thick as a pen's stroke."""
    y, x = np.mgrid[:size, :size] / (size - 1) * 2 - 1
    angle, radius = np.arctan2(y, x), np.hypot(x * (1 + number / 10), y)
    stroke = np.exp(-(((radius - 0.6) / 0.12) ** 2)) * (np.cos(angle * (number % 3 + 1)) > -0.6)
    return (255 * stroke).astype(np.uint8)


def images() -> Page:
    generator = np.random.default_rng(1)
    digits = [str(digit) for digit in range(10)]
    counts = generator.poisson(1.1, (10, 10)) + np.diag(generator.integers(930, 1100, 10))
    counts[4, 9], counts[7, 1] = 14, 0
    total, wrong = int(counts.sum()), int(counts.sum() - np.trace(counts))
    scores = Scores(
        [
            Metric("test accuracy", 1 - wrong / total, 0.9263, percent=True),
            Metric("macro F1", 0.98871, 0.9251, percent=True),
            Metric("log loss", 0.03571, 0.2634, better="lower"),
        ],
        "logistic regression",
    )
    mistakes = [
        Mistake(glyph(number), digits[number % 10], digits[(number + 5) % 10], 0.999 - number / 80)
        for number in range(30)
    ]
    precision = (np.diag(counts) / counts.sum(axis=0)).tolist()
    recall = (np.diag(counts) / counts.sum(axis=1)).tolist()
    f1 = [2 * p * r / (p + r) for p, r in zip(precision, recall, strict=True)]
    description = (
        "A classifier of 28×28 images, read row by row by a bidirectional LSTM of 128 units."
    )
    walk = generator.normal(size=(90, 2)).cumsum(axis=0)
    mistakes += [Mistake(walk[:, :f], "1", "0", 0.9995) for f in (1, 2)]
    return Summary("mnist", description, scores, FACTS), [
        metric_table(scores),
        learning_curves(curves(10, (2.1, 0.011), (0.91, 0.989), "accuracy")),
        confusion_matrix(Confusion(digits, counts)),
        worst_mistakes(mistakes, wrong, total),
        label_scores(LabelScores(digits, precision, recall, f1, counts.sum(axis=1).tolist())),
        configuration(SETTINGS),
    ]


TEXTS = [
    "the film is a masterpiece of tedium, and i mean that as praise .",
    "not without its charms, but they are few, far between, and mostly in the first ten minutes .",
    "<b>you'll</b> laugh & cry; then you will want the evening back … " + "so very long " * 60,
    "if you like this sort of thing, this is the sort of thing you will like .",
    "一部令人失望的电影，但摄影很美。",
]
REVIEW = "a smart , funny and surprisingly moving film that never once loses its nerve ."


def texts() -> Page:
    scores = Scores([Metric("accuracy", 0.7714, 0.7523, percent=True)], "bag of words, naive Bayes")
    mistakes = [
        Mistake(text, ("positive", "negative")[number % 2], ("negative", "positive")[number % 2], p)
        for number, (text, p) in enumerate(zip(TEXTS, (0.99, 0.97, 0.93, 0.9, 0.88), strict=True))
    ]
    words = REVIEW.split()
    weights = np.exp([0, 3, 0, 2.6, 0, 1, 2.9, 0, 0, 0.5, 0, 1, 0, 0.7, 0])
    attended = AttendedSentence(words, (weights / weights.sum()).tolist(), "positive, 97 %")
    description = "A classifier of sentences into positive and negative, by words."
    return Summary("movie-reviews", description, scores, FACTS), [
        metric_table(scores),
        learning_curves(curves(12, (0.7, 0.21), (0.55, 0.7714), "accuracy")),
        confusion_matrix(Confusion(["negative", "positive"], np.array([[402, 131], [113, 420]]))),
        worst_mistakes(mistakes, 244, 1066),
        attention([attended], 1066),
        configuration(SETTINGS),
    ]


LABELS = "NOUN PUNCT VERB PRON ADP DET PROPN ADJ AUX ADV CCONJ PART NUM SCONJ INTJ X SYM"
TOKENS = "What if Google expanded on its search - engine ( and now e-mail ) wares into a"
ACTUAL = "PRON SCONJ PROPN VERB ADP PRON NOUN PUNCT NOUN PUNCT CCONJ ADV NOUN PUNCT NOUN ADP DET"
PHASES = "Rest Preparation Stroke Hold Retraction"


def tags() -> Page:
    generator = np.random.default_rng(2)
    labels = LABELS.split()
    size = len(labels)
    counts = np.diag((4100 / np.arange(1, size + 1)).astype(int))
    counts += generator.poisson(3, (size, size))
    support = counts.sum(axis=1)
    recall = (np.diag(counts) / support).tolist()
    precision = (np.diag(counts) / counts.sum(axis=0)).tolist()
    scores = Scores(
        [Metric("accuracy", 0.9421, 0.8612, percent=True), Metric("macro F1", 0.871, percent=True)],
        "most frequent tag of each word",
    )
    tokens = TOKENS.split()
    predicted = ACTUAL.replace("ADV NOUN", "ADV ADJ").replace("PRON SCONJ", "PRON ADP")
    sentences = [
        TaggedSentence(tokens, ACTUAL.split(), predicted.split()),
        TaggedSentence(tokens * 6, ACTUAL.split() * 6, ACTUAL.split() * 6),
    ]
    phases = PHASES.split()
    truth = [phase for phase in phases * 4 for _ in range(int(generator.integers(20, 90)))]
    shifted = truth[7:] + truth[-1:] * 7
    said = [s if generator.random() > 0.01 else phases[0] for s in shifted]
    description = "A tagger of English words by part of speech."
    return Summary("ud-ewt", description, scores, FACTS), [
        metric_table(scores),
        learning_curves(curves(20, (1.9, 0.08), (0.74, 0.9421), "accuracy")),
        confusion_matrix(Confusion(labels, counts)),
        tagged_sentences(sentences, 2077),
        recordings([Recording("a1", truth, said), Recording("b3", said, truth)], 7),
        label_scores(LabelScores(labels, precision, recall, recall, support.tolist())),
        configuration(SETTINGS),
    ]


def loads() -> Page:
    generator = np.random.default_rng(4)
    horizon = 168
    hours = np.arange(horizon * 4)
    series = []
    for number, scale in enumerate((1.0, 2.5e4, 3.1e6)):
        wave = np.sin(2 * np.pi * hours / 24) + 0.4 * np.sin(2 * np.pi * hours / 168) + 3
        actual = scale * (wave + 0.2 * generator.normal(size=hours.size))
        forecast = scale * (wave[-horizon:] + 0.1 * np.sin(hours[:horizon] / 9))
        spread = scale * (0.2 + 0.002 * np.arange(horizon))
        actual[40:52] = np.nan
        times = np.datetime64("2017-12-20T05", "h") + hours
        intervals = {
            80: (forecast - 1.28 * spread, forecast + 1.28 * spread),
            95: (forecast - 1.96 * spread, forecast + 1.96 * spread),
        }
        name = f"transformer {number + 1}, {('OT', 'HUFL', 'MULL')[number]}"
        series.append(Forecast(name, times, actual, horizon, forecast, intervals))
    scores = Scores(
        [
            Metric("MSE", 0.1942, 0.2531, better="lower"),
            Metric("MAE", 0.3611, 0.3594, better="lower"),
            Metric("sMAPE", 0.0712, 0.0934, better="lower", percent=True),
        ],
        "seasonal naive",
    )
    steps = np.sqrt(np.arange(1, horizon + 1))
    description = "A forecaster of the next 168 hours of each series from the 336 hours before."
    return Summary("ETTh1", description, scores, FACTS), [
        metric_table(scores),
        forecasts(series[:1], 1),
        forecasts(series, 321),
        horizon_errors(
            HorizonErrors("MAE", (0.1 + steps / 40).tolist(), (0.2 + steps / 50).tolist(), "naive")
        ),
        learning_curves(curves(40, (0.9, 0.09), (0.62, 0.19), "MSE")),
        configuration(SETTINGS),
    ]


def extremes() -> Page:
    """Names without an end, figures without a measure, missing values, one of a kind."""
    long = "Donaudampfschifffahrtsgesellschaft" * 8
    names = [f"{number}{long}" for number in range(30)]
    counts = np.arange(900).reshape(30, 30) * 1_000_003
    metrics = [
        Metric(long, -1.5e-300, 2.5e300, better="lower"),
        Metric("F1", float("nan"), float("inf"), percent=True),
    ]
    scores = Scores(metrics, long)
    times = np.datetime64("0001-01-01") + np.arange(3) * np.timedelta64(1_200_000)
    series = [
        Forecast(long, times, np.array([1e30, -1e30, np.nan]), 1, np.array([0.0])),
        Forecast("one", times[:1], np.array([5.0]), 1, np.array([5.0])),
        Forecast("small", np.arange(3), np.array([1e-9, 3e-9, 2e-9]), 2, np.array([2e-9, 1e-9])),
    ]
    return Summary(long, long, scores, {long: long}), [
        metric_table(scores),
        learning_curves(LearningCurves([7], {long: [1e9]}, 7, long, {long: [0.5]}, percent=True)),
        confusion_matrix(Confusion(names, counts)),
        worst_mistakes([Mistake(long, long, long, float("nan"))], 1, 1),
        tagged_sentences([TaggedSentence([long], [long], ["X"])], 1),
        recordings([Recording(long, names, names)], 1),
        label_scores(LabelScores([long], [1.0], [0.0], [float("nan")], [10**12])),
        forecasts(series, 3, long),
        horizon_errors(HorizonErrors(long, [1.0], [1e12], long)),
        attention([AttendedSentence([long], [0.0], long)], 1),
        configuration({long: long}),
    ]


PAGES = {"extremes": extremes, "images": images, "texts": texts, "tags": tags, "loads": loads}
