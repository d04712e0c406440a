"""Name texts, for two targets at once: a mood and a language.

Run it with ``python examples/classify_texts.py``; it makes its own data, reviews of meals, and
takes a few seconds.
"""

import random

from fastlstm import LSTMConfig, TextClassifier, TrainingConfig

WORDS = {
    ("english", "good"): ["fresh", "tasty", "warm", "lovely", "crisp"],
    ("english", "bad"): ["stale", "bland", "cold", "greasy", "burnt"],
    ("german", "good"): ["frisch", "lecker", "warm", "schön", "knusprig"],
    ("german", "bad"): ["alt", "fad", "kalt", "fettig", "verbrannt"],
}
FORMS = {
    "english": "the {} was {} , and the {} {} too",
    "german": "die {} war {} , und der {} auch {}",
}
DISHES = {
    "english": ["soup", "bread", "fish", "salad", "coffee", "cake"],
    "german": ["Suppe", "Pizza", "Fisch", "Salat", "Kaffee", "Kuchen"],
}

random.seed(0)
texts: list[str] = []
labels: dict[str, list[str]] = {"language": [], "mood": []}
for _ in range(400):
    language, mood = random.choice(list(WORDS))
    first, second = random.sample(DISHES[language], 2)
    one, other = random.sample(WORDS[language, mood], 2)
    texts.append(FORMS[language].format(first, one, second, other))
    labels["language"].append(language)
    labels["mood"].append(mood)

classifier = TextClassifier(
    lstm=LSTMConfig(hidden_size=12, bidirectional=True),
    training=TrainingConfig(epochs=4, learning_rate=0.02),
    embedding_size=16,
    pooling="attention",
    target_weights={"mood": 2.0},  # the harder one counts twice in the loss
)
test = {target: values[300:] for target, values in labels.items()}
classifier.fit(texts[:300], {target: values[:300] for target, values in labels.items()})
for target, figures in classifier.evaluate(texts[300:], test).items():
    right, baseline = figures["accuracy"], figures["baseline_accuracy"]
    print(f"{target}: {right:.1%} right, the most frequent class alone {baseline:.1%}")

new = ["the soup was cold , and the cake greasy too", "der Kaffee war lecker"]
moods, languages = (classifier.predict(new)[target] for target in ("mood", "language"))
for text, mood, language in zip(new, moods, languages, strict=True):
    print(f"   {text!r}: {mood}, {language}")
