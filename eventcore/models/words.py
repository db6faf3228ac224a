"""Singular and plural of English words, as far as field names need them.

Masks and `factorize` treat `answer`, `answers` and `answer_2` as the same name. This is a handful of
rules and a table of exceptions, not a dictionary; a wrong guess only means that two names are told apart.
"""

from __future__ import annotations

import re

_PLURALS = {
    "alias": "aliases",
    "analysis": "analyses",
    "axis": "axes",
    "basis": "bases",
    "cache": "caches",
    "bias": "biases",
    "calf": "calves",
    "calorie": "calories",
    "canvas": "canvases",
    "child": "children",
    "cookie": "cookies",
    "crisis": "crises",
    "criterion": "criteria",
    "diagnosis": "diagnoses",
    "foot": "feet",
    "goose": "geese",
    "half": "halves",
    "hypothesis": "hypotheses",
    "index": "indices",
    "knife": "knives",
    "leaf": "leaves",
    "lens": "lenses",
    "life": "lives",
    "loaf": "loaves",
    "man": "men",
    "matrix": "matrices",
    "mouse": "mice",
    "movie": "movies",
    "ox": "oxen",
    "person": "people",
    "phenomenon": "phenomena",
    "quiz": "quizzes",
    "self": "selves",
    "shelf": "shelves",
    "shoe": "shoes",
    "synopsis": "synopses",
    "thesis": "theses",
    "thief": "thieves",
    "tie": "ties",
    "tooth": "teeth",
    "vertex": "vertices",
    "wife": "wives",
    "wolf": "wolves",
    "woman": "women",
}
_SINGULARS = {plural: singular for singular, plural in _PLURALS.items()} | {
    "indexes": "index",
    "matrixes": "matrix",
}
_UNCHANGED = frozenset(
    {
        "data",
        "equipment",
        "evidence",
        "feedback",
        "information",
        "metadata",
        "money",
        "news",
        "series",
        "species",
    }
)
# First match wins.
_TO_SINGULAR = [
    (re.compile(pattern), ending)
    for pattern, ending in [
        (r"(ss|us|is)$", r"\1"),
        (r"(.{2,})ies$", r"\1y"),
        (r"([^ao]us)es$", r"\1"),
        (r"(ss|sh|ch|x|zz)es$", r"\1"),
        (r"oes$", "o"),
        (r"(.{2,})s$", r"\1"),
    ]
]
_TO_PLURAL = [
    (re.compile(pattern), ending)
    for pattern, ending in [
        (r"(s|x|z|ch|sh)$", r"\1es"),
        (r"([^aeiou])y$", r"\1ies"),
        (r"(hero|potato|tomato|echo)$", r"\1es"),
        (r"$", "s"),
    ]
]
_NUMBER = re.compile(r"_\d+$")


def singular(word: str) -> str:
    """Give the singular of a word; a word that is none in English comes back as it is."""
    lower = word.lower()
    if lower in _UNCHANGED or lower in _PLURALS:
        return word
    if lower in _SINGULARS:
        return _SINGULARS[lower]
    return _rewritten(word, _TO_SINGULAR)


def plural(word: str) -> str:
    """Give the plural of a word that is in the singular."""
    lower = word.lower()
    if lower in _UNCHANGED:
        return word
    return _PLURALS[lower] if lower in _PLURALS else _rewritten(word, _TO_PLURAL)


def _rewritten(word: str, rules: list[tuple[re.Pattern[str], str]]) -> str:
    for pattern, ending in rules:
        if pattern.search(word):
            return pattern.sub(ending, word, count=1)
    return word


def base_name(key: str) -> str:
    """Take the number off a key and put its last word in the singular: `user_names_2` is `user_name`."""
    head, underscore, last = _NUMBER.sub("", key).rpartition("_")
    return f"{head}{underscore}{singular(last)}"


def plural_name(base: str) -> str:
    """Put the last word of a base name in the plural: `user_name` is `user_names`."""
    head, underscore, last = base.rpartition("_")
    return f"{head}{underscore}{plural(last)}"
