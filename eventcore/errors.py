"""The whole error tree of eventcore, and nothing else.

Every error the library raises on purpose descends from `EventcoreError`; where a
built-in says the same thing (`ValueError`, `LookupError`, ...) the class is that too,
so `except ValueError` keeps working in code written against other Keras-shaped APIs.
Messages have one form: what could not be done; what was received; what would work.

    EventcoreError
    ├── InvalidValue (ValueError)            a value, argument or configuration is refused
    │   ├── SchemaMismatch                   a value breaks a schema (path, received, allowed)
    │   ├── DuplicateName                    a name or path is taken
    │   ├── UnresolvedAnnotation             a name in a data model's annotation is not defined (yet)
    │   ├── EventTooLarge                    an event above the size limit
    │   └── ConfigMismatch                   a saved thing does not fit: missing and unexpected are listed
    ├── WrongType (TypeError)                an argument of a type that can never work
    ├── ImmutableValue (TypeError)           a write to something that cannot change
    ├── NotFound (LookupError)               a run, variable, label, module or event that is not there
    │   ├── UnknownClass                     a class named in a config that user code has not defined
    │   └── UnknownField (KeyError)          `value[key]` where there is no such field
    ├── TrackerLocked (ValueError)           state added to a module after its first call
    ├── NotInitialized (RuntimeError)        `super().__init__()` was forgotten
    ├── GraphError (ValueError)              a program's graph is disconnected, cyclic or ambiguous
    ├── TracingError (RuntimeError)          a symbolic call could not be carried out
    ├── StaleView (RuntimeError)             a write through a view whose value was replaced
    ├── UnrecordedMutation (RuntimeError)    a container was changed behind the recording views
    ├── Diverged (RuntimeError)              code run again did something its log does not say
    ├── ReplayFailed (RuntimeError)          a script could not be compared with its log at all
    ├── CallInDoubt (RuntimeError)           a call that may have been made is not made again
    ├── CallNotRecorded (RuntimeError)       a cassette has no answer to a call, and none may be made
    ├── BusyTask (RuntimeError)              a task of a run never waits, so nothing can be delivered
    ├── BudgetExceeded (RuntimeError)        a call would go beyond the run's budget; it was not made
    ├── TrainingFailed (RuntimeError)        every example of a training failed; the first cause is chained
    ├── InsideRunningLoop (RuntimeError)     `ec.wait` inside a running event loop
    ├── Unavailable (ImportError)            an optional dependency is not installed
    ├── ModelFailed (RuntimeError)           a language or embedding model gave no usable answer
    └── StorageError (OSError)               the store below could not do it
        ├── StoreClosed                      used after close(), or after fork() in a child
        ├── StoreReadOnly                    a write to something opened for reading
        ├── StoreBusy                        somebody else holds it, and who
        ├── ConcurrentAppend                 another writer got there first; both are named
        ├── OutcomeUnknown                   a commit failed: reopen to learn what is durable
        ├── CorruptLog                       bytes that are not what was written; first bad seq
        ├── UnknownFormat                    written by a newer version, named
        └── UnsafeFileSystem                 a file system the backend cannot be safe on
"""

from __future__ import annotations


class EventcoreError(Exception):
    """Root of every error eventcore raises on purpose."""


class InvalidValue(EventcoreError, ValueError):
    """A value, argument or configuration is refused before anything is written."""


class SchemaMismatch(InvalidValue):
    """A value breaks a schema.

    Attributes:
        pointer: JSON pointer to the offending place, `""` for the whole value.
    """

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


class DuplicateName(InvalidValue):
    """A name or path is already taken."""


class UnresolvedAnnotation(InvalidValue):
    """A name in a data model's annotation is not defined yet; it may be when the model is first used."""


class EventTooLarge(InvalidValue):
    """An event is above the size limit; store a reference instead."""


class ConfigMismatch(InvalidValue):
    """A saved program does not fit what it is loaded into.

    Attributes:
        missing: What the target has and the file lacks.
        unexpected: What the file has and the target lacks.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = (), unexpected: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing
        self.unexpected = unexpected


class WrongType(EventcoreError, TypeError):
    """An argument of a type that can never work."""


class ImmutableValue(EventcoreError, TypeError):
    """A write to something that cannot be changed."""


class NotFound(EventcoreError, LookupError):
    """A run, variable, label, module or event that is not there."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UnknownClass(NotFound):
    """A class named in a config is not among the classes user code has defined."""


class UnknownField(NotFound, KeyError):
    """A field that a data model or variable does not have."""


class TrackerLocked(EventcoreError, ValueError):
    """State was added to a module after its first call."""


class NotInitialized(EventcoreError, RuntimeError):
    """A subclass forgot to call `super().__init__()`."""


class GraphError(EventcoreError, ValueError):
    """A program's graph is disconnected, cyclic or ambiguous."""


class TracingError(EventcoreError, RuntimeError):
    """A symbolic call could not be carried out."""


class StaleView(EventcoreError, RuntimeError):
    """A write through a view whose value has been replaced since it was read."""


class UnrecordedMutation(EventcoreError, RuntimeError):
    """A container of a variable was changed without passing through its recording view."""


class BudgetExceeded(EventcoreError, RuntimeError):
    """A call was refused before it was made: the run's budget is spent. The run can be resumed with a larger one."""


class TrainingFailed(EventcoreError, RuntimeError):
    """Every example of a training failed; `__cause__` is the first failure."""


class InsideRunningLoop(EventcoreError, RuntimeError):
    """`ec.wait` was called inside a running event loop; `await` instead."""


class Unavailable(EventcoreError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class Diverged(EventcoreError, RuntimeError):
    """Code that was run again did something else than its log says.

    Attributes:
        divergence: What was recorded and what was done instead, an `eventcore.replay.Divergence`.
    """

    def __init__(self, message: str, divergence: object = None) -> None:
        super().__init__(message)
        self.divergence = divergence


class ReplayFailed(EventcoreError, RuntimeError):
    """A script that was run again never came to the run, or left no report."""


class CallInDoubt(EventcoreError, RuntimeError):
    """A call had left when the run was killed, and `in_doubt="fail"` or who was asked has it not made again."""


class CallNotRecorded(EventcoreError, RuntimeError):
    """A test asked what its cassette has no answer to, and its mode makes no calls."""


class AttributeNotRecorded(EventcoreError, AttributeError):
    """An error answered from the log had an attribute that JSON cannot hold."""


class BusyTask(EventcoreError, RuntimeError):
    """A task of a run keeps itself ready for ever, so that no outcome can be delivered."""


class ModelFailed(EventcoreError, RuntimeError):
    """A language or embedding model gave no usable answer, after all its attempts.

    Attributes:
        kind: Class of the last error, as the log names it.
        attempts: Requests that were sent.
        input_tokens: Tokens of the requests that were answered, unusably.
        output_tokens: Tokens of those answers.
        cost: What they cost, in US dollars.
    """

    def __init__(self, message: str, kind: str = "ModelFailed", attempts: int = 1) -> None:
        super().__init__(message)
        self.kind = kind
        self.attempts = attempts
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost = 0.0


class StorageError(EventcoreError, OSError):
    """The store below could not do what was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StoreClosed(StorageError):
    """The store was closed, or is used in a child process after `fork()`."""


class StoreReadOnly(StorageError):
    """A write to a store or run that was opened for reading."""


class StoreBusy(StorageError):
    """Somebody else holds the store or the run; the message says who."""


class ConcurrentAppend(StorageError):
    """Another writer appended to the run first.

    Attributes:
        expected: The head this writer believed in.
        actual: The head found in the store.
    """

    def __init__(self, message: str, expected: int = 0, actual: int = 0) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class OutcomeUnknown(StorageError):
    """A commit failed half-way; what is pending may or may not be durable. Reopen the run."""


class CorruptLog(StorageError):
    """Stored bytes are not what was written.

    Attributes:
        seq: First seq that cannot be trusted, 0 when it is not about one run's events.
    """

    def __init__(self, message: str, seq: int = 0) -> None:
        super().__init__(message)
        self.seq = seq


class UnknownFormat(StorageError):
    """The bytes were written by a newer version; the message names it."""


class UnsafeFileSystem(StorageError):
    """The path lies on a file system the backend cannot be safe on."""
