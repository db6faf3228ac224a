"""Learning curves: what epochs and batches of a run came to, as numbers and as a plot.

matplotlib is imported when something is drawn, and not before; the numbers need nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from eventcore.errors import InvalidValue, NotFound, Unavailable
from eventcore.history import events as e
from eventcore.history.positions import tagged

if TYPE_CHECKING:
    from eventcore.history.run_reader import RunReader

KINDS: dict[str, type[e.EpochEnded] | type[e.BatchEnded]] = {"epoch": e.EpochEnded, "batch": e.BatchEnded}


class Point(msgspec.Struct, frozen=True):
    """One value of a curve.

    Attributes:
        number: Number of the epoch or batch in the run, over all its trainings, from 1.
        seq: Seq of the event that says it.
        value: The value.
    """

    number: int
    seq: int
    value: float


def curves(run: RunReader, by: str = "epoch", names: Sequence[str] | None = None) -> dict[str, list[Point]]:
    """Return what each epoch or batch of a run came to, by name: rewards, metrics, whatever the logs have.

    Args:
        run: Any run.
        by: "epoch" or "batch".
        names: Only these; None for all.

    Raises:
        InvalidValue: `by` is something else.
        NotFound: Nothing has ended yet, or a name that is not in the logs.
    """
    if by not in KINDS:
        raise InvalidValue(f"cannot read curves by {by!r}: pass 'epoch' or 'batch'")
    reader = run.reader()
    found: dict[str, list[Point]] = {}
    ended = tagged(reader, (KINDS[by],), reader.first_stored(), reader.head())
    for number, (seq, event) in enumerate(ended, 1):
        for name, value in event.logs.items():  # type: ignore[attr-defined]
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found.setdefault(name, []).append(Point(number, seq, float(value)))
    if not found:
        raise NotFound(f"cannot draw run {run.name!r}: no {by} has ended in it")
    unknown = [name for name in names or () if name not in found]
    if unknown:
        raise NotFound(
            f"cannot find {unknown[0]!r} in the logs of run {run.name!r}; they have: {', '.join(sorted(found))}"
        )
    return found if names is None else {name: found[name] for name in names}


def plot(run: RunReader, names: Sequence[str] | None = None, by: str | None = None, axes: Any = None) -> Any:
    """Draw the learning curve of a run.

    Args:
        run: Any run.
        names: Which values of the logs; None for the rewards.
        by: "epoch" or "batch"; None for epochs, or batches when no epoch has ended.
        axes: matplotlib's axes to draw into; None for new ones.

    Returns:
        The axes; `axes.figure.savefig(path)` writes a picture.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise Unavailable(
            "cannot draw: matplotlib is not installed; `pip install 'eventcore[plot]'`, "
            "or take the numbers from eventcore.history.plotting.curves(run)"
        ) from error
    chosen = _ended(run) if by is None else by
    found = curves(run, chosen, names)
    if names is None:
        rewards = {name: points for name, points in found.items() if name.split("_")[-1] == "reward"}
        found = rewards or found
    if axes is None:
        _, axes = pyplot.subplots()
    for name, points in found.items():
        marker = "o" if len(points) <= 50 else ""
        label = name if axes.get_legend() is None else f"{run.name}: {name}"
        axes.plot(
            [point.number for point in points], [point.value for point in points], marker=marker, label=label
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(chosen)
    axes.set_title(run.name if not axes.get_title() else f"{axes.get_title()}, {run.name}")
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def _ended(run: RunReader) -> str:
    reader = run.reader()
    epochs = tagged(reader, (e.EpochEnded,), reader.first_stored(), reader.head())
    return "batch" if next(epochs, None) is None else "epoch"
