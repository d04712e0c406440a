"""Tag words: a tagger learns where "that" is a determiner and where a pronoun.

    python examples/tag_words.py

Words are in place of a treebank here, so that nothing is downloaded. With one it is
`bank = fastlstm.data.load_ud_ewt()` and `tagger.fit(bank.train.tokens, bank.train.labels["upos"])`.
"""

import itertools
import random

from fastlstm import LSTMConfig, SequenceTagger, TrainingConfig

NOUNS, VERBS = ("cat", "dog", "bird", "fox"), ("sees", "likes", "finds")
ADVERBS = ("now", "often", "here")


def sentences() -> tuple[list[list[str]], list[list[str]]]:
    """Every sentence of a small language, in a random order, and its tags."""
    found = []
    for article, noun, verb in itertools.product(("the", "that"), NOUNS, VERBS):
        words, tags = [article, noun, verb, "that"], ["DET", "NOUN", "VERB"]
        found.append((words, [*tags, "PRON"]))
        found += [([*words, adverb], [*tags, "PRON", "ADV"]) for adverb in ADVERBS]
        found += [([*words, other], [*tags, "DET", "NOUN"]) for other in NOUNS]
    random.Random(0).shuffle(found)
    return [words for words, _ in found], [tags for _, tags in found]


X, y = sentences()
tagger = SequenceTagger(
    LSTMConfig(hidden_size=16, bidirectional=True),
    TrainingConfig(epochs=6, batch_size=4, learning_rate=1e-2),
    embedding_size=16,
    character_size=16,
)
tagger.fit(X[:150], y[:150])

figures = tagger.evaluate(X[150:], y[150:])
print(f"right: {figures['accuracy']:.1%}")
print(f"by the most frequent tag of each word: {figures['baseline_accuracy']:.1%}")

sentence = ["that", "dog", "finds", "that"]
(tags,) = tagger.predict([sentence])
(probabilities,) = tagger.predict_proba([sentence])
for word, tag, row in zip(sentence, tags, probabilities, strict=True):
    print(f"   {word:6} {tag:5} {row.max():.2f}")
