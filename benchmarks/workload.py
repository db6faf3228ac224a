"""What the benchmarks write: small events of about 80 bytes whose text is neither constant nor noise.

The text is a persona put together from a vocabulary by a seeded generator: words repeat as they do in
prompts, whole sentences do not, so what zstd makes of it is about what it makes of real ones. Nothing here
measures anything.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import eventcore as ec
from eventcore.history import events as e
from eventcore.history.codec import encoder

PERSONA_LENGTH = 54
"""With its header, numbers and field name an update by a text of this length is encoded in 80 bytes."""

_VOCABULARY = """
a able about academic acid after against amused ancient and angry answers anxious apology archive arguing
artist as at auctioneer baker balanced bard because before between bitter blunt bold brisk broken butler by
calm captain careful cautious cheerful chemist child citing clear clerk clever coach cold comic concise
confident cook counting courteous critic curious curt dancer daring deep detective diplomat doctor doubting
dry eager early editor elegant engineer every exact explains explorer falls farmer fast fear firm fisherman
flowery for formal forgets friendly from gardener gently ghost gloomy grammar grand grateful grumpy guide
half happy harsh hates he helps her hermit historian honest hopeful humble hurried idle in informal inventor
ironic it jester joking judge juggler keen kind king knight late laughing lawyer lazy learned legal likes
lists literal listening logical loud loyal machine mad magician maker mayor medic merchant metaphors mild
miner modest monk moody mother mumbling names nervous neutral never night nobody noble not novelist numbers
nurse obscure of old on only or oracle over painter patient pedant pilot pirate plain playful poet polite
posh precise priest proud prudent quick quiet quotes rambling rarely reporter retired rhymes robot rude rules
sailor sarcastic scholar scout shepherd shouts shy silent singer sings sly smith sober soldier solemn spy
stern stoic strict student stutters sweet swift tailor teacher tender terse that the then thief timid tired
to tramp translator under until vague very veteran voice waiter warm weary weaver when whispers who wild
wise witty with without wizard wry yet young zealous
"""
WORDS = _VOCABULARY.split()


def personas(count: int, seed: int = 7) -> list[str]:
    """Return texts of `PERSONA_LENGTH` characters; the same seed gives the same ones."""
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(WORDS, k=20))[:PERSONA_LENGTH] for _ in range(count)]


def updates(count: int, variables: int = 1, seed: int = 7) -> list[e.Event]:
    """Return small events as `Variable.update` makes them, taking turns over some variables."""
    now = time.time_ns() // 1000
    return [
        e.VariableUpdated(now + 7 * number, None, 0, number % variables, {"persona": text}, 0)
        for number, text in enumerate(personas(count, seed))
    ]


def encoded_size(events: Sequence[e.Event]) -> float:
    """Return the mean number of bytes of an encoded event."""
    return len(encoder.encode(events)) / len(events)


class Persona(ec.Trainable):
    """What the measured variables hold: the guide's state of one module."""

    persona: str = ec.Field(default="A pirate who shouts.", description="Who answers.")


def variables(count: int) -> list[ec.Variable]:
    """Declare variables in the current run."""
    return [ec.Variable(data_model=Persona, name=f"persona_{number}") for number in range(count)]


@contextmanager
def new_run(directory: Path, name: str) -> Generator[ec.Run]:
    """A run in a fresh LMDB store below `directory`, current inside; the store is removed afterwards."""
    path = directory / name
    with ec.open(path) as store, store.run("measured") as run:
        yield run
    shutil.rmtree(path)


def written(path: Path) -> int:
    """Return the bytes of disk the files of a store take; LMDB's are sparse, so their length says nothing."""
    return sum(file.stat().st_blocks * 512 for file in path.iterdir())
