"""Every event of the system: one closed union, the vocabulary of the log.

An event is an immutable past-tense fact. Each class says who emits it and what `apply`
(in `eventcore.history.state`) does with it; an event without a word about `apply` changes
nothing of the state and is there to be read. Payloads are canonical JSON values that belong to the event
alone: whoever makes one hands over a value nobody else holds, and `apply` copies what it keeps.

Tags are small integers and are never reused. A new event or a new trailing field (with a
default) raises `VOCABULARY`; a change of meaning needs an upcaster in `codec.py`.
"""

from __future__ import annotations

from typing import Any

import msgspec

JsonDict = dict[str, Any]

VOCABULARY = 1
"""Version of this vocabulary, stored in every block so that an older reader can say what is too new for it."""


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=True):
    """What every event carries.

    Attributes:
        time: Microseconds since 1970, informational; order is the seq.
        rollout: Identity of the rollout that caused it, or None outside any.
        cause: Seq of the event that led to this one, 0 for none.
    """

    time: int
    rollout: str | None
    cause: int


class RunStarted(Event, frozen=True, array_like=True, gc=False, tag=1):
    """First event of a run that is not a fork, and of every later opening of a run for writing.

    Attributes:
        seed: The run's seed.
        facts: Map: versions of Python, eventcore and the packages it uses, argv, git commit, resumed, and a random
            `id`, which makes the keys that go along with requests of this run unlike those of any other.
    """

    seed: int
    facts: JsonDict


class ProgramDeclared(Event, frozen=True, array_like=True, gc=False, tag=2):
    """A program was used in this run for the first time. `apply` keeps its config by name.

    Attributes:
        program: Name of the program.
        config: Map that rebuilds it (`saving.serialize_object`).
    """

    program: str
    config: JsonDict


class VariableDeclared(Event, frozen=True, array_like=True, gc=False, tag=3):
    """A variable began to live in this run. `apply` adds it, replacing one of the same path.

    Attributes:
        variable: Number of the variable in the run: 0, 1, 2, ...
        path: Its path, unique in the state.
        schema: JSON schema.
        value: The whole value.
        trainable: Whether optimizers may rewrite it now.
        own: The variable's own flag, whatever modules above it say.
        reason: Why it is not trainable although that was asked for, or None.
        origin: Where the value came from when not from an initializer ("run 'a' at seq 41"), or None.
        description: What it is for, in words.
        source: Number of the source line that declared it, -1 for unknown.
    """

    variable: int
    path: str
    schema: JsonDict
    value: JsonDict
    trainable: bool
    own: bool
    reason: str | None
    origin: str | None
    description: str
    source: int


class FieldRead(Event, frozen=True, array_like=True, gc=False, tag=4):
    """A field was read (`get`), or the whole variable (`field` None)."""

    variable: int
    field: str | None


class VariableUpdated(Event, frozen=True, array_like=True, gc=False, tag=5):
    """`update`: `apply` merges the map `payload` into the value, key by key."""

    variable: int
    payload: JsonDict
    source: int


class VariableAssigned(Event, frozen=True, array_like=True, gc=False, tag=6):
    """`assign` or a load: `apply` replaces the whole value by the map `value`.

    Attributes:
        origin: Where the value came from if it was loaded, or None.
    """

    variable: int
    value: JsonDict
    source: int
    origin: str | None = None


class ValuePatched(Event, frozen=True, array_like=True, gc=False, tag=7):
    """An in-place change of a container inside a variable; `apply` carries out `op` at `path`.

    Attributes:
        path: Keys and indexes from the value to the container, as they were at this moment.
        op: One of the operations of `eventcore.history.patches`.
        args: The operation's arguments.
    """

    variable: int
    path: list[str | int]
    op: int
    args: list[Any]
    source: int


class PredictionAppended(Event, frozen=True, array_like=True, gc=False, tag=8):
    """A record was appended to `current_predictions`; `apply` appends it and remembers its rollout."""

    variable: int
    record: JsonDict
    source: int


class TrackerLocked(Event, frozen=True, array_like=True, gc=False, tag=9):
    """A module was called for the first time: its set of variables is final. `apply` adds it to the locks."""

    module: str


class TrainabilityChanged(Event, frozen=True, array_like=True, gc=False, tag=10):
    """A variable was frozen or thawed. `apply` stores both flags.

    Attributes:
        trainable: Whether optimizers may rewrite it now.
        own: The variable's own flag.
        reason: Who changed it, in words.
    """

    variable: int
    trainable: bool
    own: bool
    reason: str


class SourceSeen(Event, frozen=True, array_like=True, gc=False, tag=11):
    """A line of the user's code wrote for the first time. `apply` adds it to the table of sources.

    Attributes:
        source: Number of the line in the run: 0, 1, 2, ...
        line: "file:line in function".
    """

    source: int
    line: str


class EditedFromOutside(Event, frozen=True, array_like=True, gc=False, tag=12):
    """A person changed a value by hand, not the program. `apply` replaces the value at `path`.

    Attributes:
        path: Steps from the variable's value to the place, empty for the whole value.
        value: The new value.
        note: Why, in words.
    """

    variable: int
    path: list[str | int]
    value: Any
    note: str


class LabelSet(Event, frozen=True, array_like=True, gc=False, tag=13):
    """A label now points at a seq. Labels move; their history is these events. `apply` stores it."""

    label: str
    seq: int


class DataSetSeen(Event, frozen=True, array_like=True, gc=False, tag=14):
    """A data set went into `fit`, `evaluate` or `predict`.

    Attributes:
        role: "training" or "validation" (`fit`), "test" (`evaluate`), or "prediction" (`predict`).
        size: Number of examples, -1 for an unbounded source.
        digest: BLAKE2b of the examples' digests in order, "" for an unbounded source.
    """

    role: str
    size: int
    digest: str


class TrainBegan(Event, frozen=True, array_like=True, gc=False, tag=15):
    """`fit` began; `config` holds its arguments, the optimizer's and the reward's config."""

    config: JsonDict


class TrainEnded(Event, frozen=True, array_like=True, gc=False, tag=16):
    """`fit` ended: `reason` says whether it was done, stopped, interrupted or failed."""

    reason: str


class EpochBegan(Event, frozen=True, array_like=True, gc=False, tag=17):
    """An epoch began (0 is the first)."""

    epoch: int


class EpochEnded(Event, frozen=True, array_like=True, gc=False, tag=18):
    """An epoch ended, with its logs (name -> number)."""

    epoch: int
    logs: JsonDict


class BatchBegan(Event, frozen=True, array_like=True, gc=False, tag=19):
    """A batch began: its place and how many examples it has."""

    epoch: int
    step: int
    size: int


class BatchEnded(Event, frozen=True, array_like=True, gc=False, tag=20):
    """A batch ended, with its logs (name -> number)."""

    epoch: int
    step: int
    logs: JsonDict


class RolloutFailed(Event, frozen=True, array_like=True, gc=False, tag=21):
    """An example could not be carried through, or its reward is no number; its siblings went on.

    Attributes:
        error: Class of the error.
        message: What it said.
        stage: "call" or "reward".
    """

    error: str
    message: str
    stage: str


class RolloutsScored(Event, frozen=True, array_like=True, gc=False, tag=22):
    """Rewards of rollouts, one event per batch.

    Attributes:
        phase: "training", "minibatch", "validation" or "test".
        rewards: Pairs of rollout and reward, in the order of the batch; None for a failed rollout.
    """

    phase: str
    rewards: list[tuple[str, float | None]]


class RewardsAttributed(Event, frozen=True, array_like=True, gc=False, tag=23):
    """Records of a variable got the rewards of their own rollouts.

    `apply` writes each rollout's reward into its records among `current_predictions` that have none, sets
    `nb_visit` to the number of records written and `cumulative_reward` to their sum.

    Attributes:
        rewards: Pairs of rollout and reward.
    """

    variable: int
    rewards: list[tuple[str, float]]


class PredictionsArchived(Event, frozen=True, array_like=True, gc=False, tag=24):
    """`apply` moves rewarded records from `current_predictions` to the end of `predictions`, in canonical order."""

    variable: int


class PredictionsClosed(Event, frozen=True, array_like=True, gc=False, tag=25):
    """`apply` removes the records still in `current_predictions`: they are left over and never get a reward.

    Attributes:
        count: How many there were.
        reason: Why, in words.
    """

    variable: int
    count: int
    reason: str


class PredictionsCleared(Event, frozen=True, array_like=True, gc=False, tag=26):
    """An epoch begins for a variable: `apply` empties `predictions` and `candidates`."""

    variable: int


class CandidateProposed(Event, frozen=True, array_like=True, gc=False, tag=27):
    """An optimizer proposes fields for a variable; `apply` merges them into its value.

    Attributes:
        fields: The fields proposed: own fields of the variable, `examples`.
        strategy: How it was made ("few-shot", "mutation", "crossover", …).
        parents: Seqs of the events its parents were proposed or added by.
        sources: Rollouts whose records went into it.
    """

    variable: int
    fields: JsonDict
    strategy: str
    parents: list[int]
    sources: list[str]


class CandidateAdded(Event, frozen=True, array_like=True, gc=False, tag=28):
    """The variable's present fields were evaluated as a candidate.

    `apply` adds them to `candidates` with the reward, or folds the reward into an equal entry's mean over all
    its evaluations. The event carries no copy of the fields.

    Attributes:
        reward: Mean reward of this evaluation.
        count: Number of rollouts it is the mean of.
        equal_to: Index of the equal entry in `best_candidates + candidates`, -1 for a new candidate.
    """

    variable: int
    reward: float
    count: int
    equal_to: int


class PopulationSelected(Event, frozen=True, array_like=True, gc=False, tag=29):
    """The next population of a variable was chosen.

    `apply` keeps the entries of `best_candidates + candidates` at `kept`, in that order, as `best_candidates`
    and empties `candidates`.
    """

    variable: int
    kept: list[int]


class CandidateChosen(Event, frozen=True, array_like=True, gc=False, tag=30):
    """A candidate was written into a variable: `apply` merges its fields, without its reward.

    Attributes:
        place: "seed_candidates", "candidates", "best_candidates" or "history".
        index: Index in that list.
        reason: Why it was chosen, in words.
    """

    variable: int
    place: str
    index: int
    reason: str


class BestRemembered(Event, frozen=True, array_like=True, gc=False, tag=31):
    """`apply` appends `best_candidates[index]` to `history` unless it equals the last entry."""

    variable: int
    index: int


class EffectStarted(Event, frozen=True, array_like=True, gc=False, tag=32):
    """A call whose answer the program cannot compute is about to leave. Durable before it does.

    Attributes:
        kind: "language_model", "embedding", or the name of a user's effect.
        digest: Digest of the request; with the rollout and the ordinal, the effect's key.
        ordinal: How many equal requests this rollout made before.
        request: What is asked, without secrets.
        variable: Number of the variable whose module asks, None for none.
        source: Number of the source line, -1 for unknown.
    """

    kind: str
    digest: str
    ordinal: int
    request: JsonDict
    variable: int | None
    source: int


class EffectCompleted(Event, frozen=True, array_like=True, gc=False, tag=33):
    """The answer arrived; `cause` is the seq of its `EffectStarted`. Durable before the program continues.

    Attributes:
        answer: What came back.
        model: Which model answered, "" if that means nothing.
        input_tokens: Tokens of the request, 0 if unknown.
        output_tokens: Tokens of the answer, 0 if unknown.
        cost: Money in US dollars, 0.0 if unknown.
        latency: Microseconds.
        attempts: How many requests were sent, retries included.
    """

    answer: Any
    model: str
    input_tokens: int
    output_tokens: int
    cost: float
    latency: int
    attempts: int


class EffectFailed(Event, frozen=True, array_like=True, gc=False, tag=34):
    """The call failed for good; `cause` is the seq of its `EffectStarted`.

    Attributes:
        error: Class of the error.
        message: What it said, without secrets.
        latency: Microseconds.
        attempts: How many requests were sent.
        input_tokens: Tokens of requests that were answered, unusably.
        output_tokens: Tokens of those answers.
        cost: What they cost, in US dollars.
        raised: Module and name of the error's class, by which a replay finds it among those there are.
        held: What else the error held that JSON can: `attributes` by name, `args` where they are not the message,
            `text` and `parts` of a group of errors. `lost` names the attributes JSON cannot hold, and what they were.
    """

    error: str
    message: str
    latency: int
    attempts: int
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    raised: str = ""
    held: JsonDict = {}


class MetricLogged(Event, frozen=True, array_like=True, gc=False, tag=35):
    """A number worth keeping was measured: `run.log_metric`, and what integrated optimizers tell of their scores."""

    name: str
    value: float


class EffectReused(Event, frozen=True, array_like=True, gc=False, tag=36):
    """The answer was taken from the run this one was forked from, or from a cassette; `cause` is its `EffectStarted`.

    Attributes:
        answer: What came back then.
        model: Which model answered.
        input_tokens: Tokens of the request, not paid again.
        output_tokens: Tokens of the answer, not paid again.
        cost: What it cost then, in US dollars: saved.
        origin: Name of the run it was taken from.
        origin_seq: Seq of the outcome there.
    """

    answer: Any
    model: str
    input_tokens: int
    output_tokens: int
    cost: float
    origin: str
    origin_seq: int


class StateRestored(Event, frozen=True, array_like=True, gc=False, tag=37):
    """A resumed run takes back what its interrupted process did last. `apply` replaces the whole state.

    Attributes:
        back_to: Seq whose state this is.
        state: That state, encoded as in a snapshot.
    """

    back_to: int
    state: bytes


AnyEvent = (
    RunStarted
    | ProgramDeclared
    | VariableDeclared
    | FieldRead
    | VariableUpdated
    | VariableAssigned
    | ValuePatched
    | PredictionAppended
    | TrackerLocked
    | TrainabilityChanged
    | SourceSeen
    | EditedFromOutside
    | LabelSet
    | DataSetSeen
    | TrainBegan
    | TrainEnded
    | EpochBegan
    | EpochEnded
    | BatchBegan
    | BatchEnded
    | RolloutFailed
    | RolloutsScored
    | RewardsAttributed
    | PredictionsArchived
    | PredictionsClosed
    | PredictionsCleared
    | CandidateProposed
    | CandidateAdded
    | PopulationSelected
    | CandidateChosen
    | BestRemembered
    | EffectStarted
    | EffectCompleted
    | EffectFailed
    | MetricLogged
    | EffectReused
    | StateRestored
)
"""The closed union. The codec decodes exactly these."""

KINDS: dict[str, type[Event]] = {cls.__name__: cls for cls in AnyEvent.__args__}
"""Event classes by name, for filters and the command line."""
