"""Training sentences as rows of tokens: a saying in a template, a colour before it, a caption with words left out.

It knows vocabularies, a tokenizer and an rng. It does not know pictures or towers.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.training.colours import COLOURS
from engine.training.vocabulary import Vocabulary

Words: TypeAlias = tuple[tuple[int, ...], ...]  # a sentence: words, each one or more tokens


class Prompter:
    """Draws sentences about labels, colours and captions."""

    def __init__(self, vocabulary: Vocabulary, tokenizer: Any, drop: float) -> None:
        self.vocabulary, self.tokenizer, self.drop = vocabulary, tokenizer, drop
        self.context = int(tokenizer.context_length)
        self._words: dict[str, tuple[int, ...]] = {}
        self._by_label: dict[int, tuple[int, ...]] = {}
        labels = 1 + max(label for saying in vocabulary.sayings for label in saying.labels)
        self.truth = torch.zeros(len(vocabulary.sayings), labels, dtype=torch.bool)
        for number, saying in enumerate(vocabulary.sayings):
            self.truth[number, list(saying.labels)] = True
        self._by_label = {label: vocabulary.of_label(label) for label in range(labels)}

    def saying_of(self, label: int, rng: np.random.Generator) -> int:
        """The number of a saying true of this label; its own words come more often than a group's."""
        numbers = self._by_label[label]
        weights = [1.0 / len(self.vocabulary.sayings[number].labels) for number in numbers]
        weights[0] += 1.0  # the data set's name itself
        chance = np.asarray(weights) / sum(weights)
        return int(rng.choice(numbers, p=chance))

    def sentence(self, number: int, rng: np.random.Generator) -> Words:
        """The saying in a template."""
        saying = self.vocabulary.sayings[number]
        templates = self.vocabulary.phrase_templates if saying.phrase else self.vocabulary.templates
        return self._thin(templates[rng.integers(len(templates))].replace("{}", saying.text), rng)

    def coloured(self, label: int, colour: int, rng: np.random.Generator) -> Words:
        """A name of the label with a colour word; never thinned, the colour must stay."""
        numbers = [n for n in self._by_label[label] if not self.vocabulary.sayings[n].phrase]
        text = self.vocabulary.sayings[int(rng.choice(numbers))].text
        template = self.vocabulary.colour_templates[rng.integers(len(self.vocabulary.colour_templates))]
        word = "grey" if COLOURS[colour] == "gray" and rng.random() < 0.5 else COLOURS[colour]
        return self._split(template.replace("[]", word).replace("{}", text))

    def caption(self, text: str, rng: np.random.Generator) -> Words:
        """A person's sentence, thinned."""
        return self._thin(text.rstrip(" ."), rng)

    def rows(self, sentences: Sequence[Words]) -> Tensor:
        """[n, longest] with start and end tokens; the context cuts as the tokenizer would."""
        start, end = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        flat = [[token for word in words for token in word][: self.context - 2] for words in sentences]
        table: NDArray[np.int64] = np.zeros((len(flat), max(map(len, flat)) + 2), np.int64)
        for row, tokens in zip(table, flat, strict=True):
            row[0], row[1 : 1 + len(tokens)], row[1 + len(tokens)] = start, tokens, end
        return torch.from_numpy(table)

    def _thin(self, text: str, rng: np.random.Generator) -> Words:
        words = self._split(text)
        kept = tuple(word for word, chance in zip(words, rng.random(len(words)), strict=True) if chance >= self.drop)
        return kept or words

    def _split(self, text: str) -> Words:
        return tuple(self._tokens(word) for word in re.findall(r"[^\s,]+|,", text))

    def _tokens(self, word: str) -> tuple[int, ...]:
        if word not in self._words:
            self._words[word] = tuple(self.tokenizer.encode(word))
        return self._words[word]
