"""Keeping keys out of what is kept: known secrets are cut from requests, answers, errors and configs.

Secrets that only *look* like keys are the business of `eventcore.replay.secrets`. Here are those that are
known: what stands under a secret's name among a model's arguments, and what the environment holds under
such a name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from eventcore.replay.secrets import REDACTED, are_pairs, redacted, redacted_text

_SHORTEST = 8
"""Shorter values ("none", "EMPTY", "test") stand for no key at all, and occur in ordinary text."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether what stands under a name is a secret, such as `api_key` or `Authorization`."""
    return bool(redacted({name: "value"})[name] == REDACTED)


def without_secrets(value: Any) -> Any:
    """Return a JSON-like value without its secrets: entries of a secret's name, and user names in URLs.

    Entries are those of dicts and of lists of pairs, as headers are given.
    """
    if isinstance(value, Mapping):
        return {key: without_secrets(item) for key, item in value.items() if not _is_secret(key, item)}
    if are_pairs(value):
        return [
            [name, without_secrets(item)]
            for name, item in value
            if not (isinstance(item, str) and _is_secret(name, item))
        ]
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    return without_login(value) if isinstance(value, str) else value


def without_login(url: str) -> str:
    """Return an address without the user name and password in it; any other text is returned as it is."""
    if "://" not in url or "@" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _is_secret(name: Any, value: Any) -> bool:
    if not isinstance(name, str):
        return False
    if is_secret_name(name) or not isinstance(value, str):
        return is_secret_name(name)
    bare = without_login(value)  # an address without its login is worth keeping
    return redacted_text(bare) != bare


def known_secrets(*places: Any) -> tuple[str, ...]:
    """Collect secrets from dicts of arguments, lists of pairs in them, and the environment, longest first."""
    found = set(_secrets_in(os.environ))
    for place in places:
        found.update(_secrets_in(place))
    return tuple(sorted((text for text in found if len(text) >= _SHORTEST), key=len, reverse=True))


def _secrets_in(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping) or are_pairs(value):
        for name, item in value.items() if isinstance(value, Mapping) else value:
            if isinstance(item, str) and isinstance(name, str) and is_secret_name(name):
                yield item.removeprefix("Bearer ").strip()
            else:
                yield from _secrets_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets_in(item)
    elif isinstance(value, str) and "://" in value and "@" in value:
        password = urlsplit(value).password
        if password:
            yield password


def scrubbed(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return a JSON value with every occurrence of a known secret replaced, in keys too."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            if secret in value:
                value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, dict):
        return {scrubbed(key, secrets): scrubbed(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrubbed(item, secrets) for item in value]
    return value
