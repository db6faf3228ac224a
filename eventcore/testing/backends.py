"""The conformance suite of storage backends: what every backend must do, one test per sentence.

Third parties bind it to their backend and run it with pytest:

    from eventcore.testing.backends import BackendConformance

    class TestMine(BackendConformance):
        def open(self, place, **options):
            return MyBackend.open(place, **options)

It needs pytest and nothing else; the state machine over random histories, which needs
hypothesis, is `eventcore.testing.backend_machine`. What happens when something below breaks (a
full disk, a failing call, a power cut, a second process) is not tested here: `check_backend` does.
"""

from __future__ import annotations

from eventcore.testing.backend_base import ALL, block
from eventcore.testing.backend_contents import ContentsConformance
from eventcore.testing.backend_lifecycle import LifecycleConformance

__all__ = ["ALL", "BackendConformance", "block"]


class BackendConformance(ContentsConformance, LifecycleConformance):
    """The contract, test by test. Subclass it and define `open`.

    | capability | required | methods |
    |---|---|---|
    | runs are created, listed, found by name and by id | yes | `create_run`, `runs`, `run` |
    | a fork shares its parent's prefix without copying | yes | `create_run(parent=, forked_at=)` |
    | blocks, snapshot and postings of one call: all or nothing | yes | `append` |
    | the writer that is behind is refused, both are named | yes | `append`, `claim` |
    | blocks are read lazily, while the run is written | yes | `blocks` |
    | the head is cheap to ask | yes, derived from `run` by default | `head` |
    | snapshots by seq | yes | `snapshot`, `snapshot_seqs`, `drop_snapshot` |
    | per-variable index | yes | `postings`, `indexed_to` |
    | a run others read through cannot be deleted | yes | `delete_run` |
    | closing is final and may be repeated | yes | `close` |
    | what is appended outlives `close` | if `durable` | `open` |
    | opening for reading refuses every write | if `can_open_read_only` | `open(read_only=True)` |
    | two openers of one place see one store | if `can_open_twice` | `open` |
    | a consistent copy while it is written | if `SupportsBackup` | `backup` |
    | the front may be dropped | if `Bounded` | `first_seq` |
    | self-check and description | yes, empty by default | `problems`, `facts` |

    Set `can_open_read_only = False` or `can_open_twice = False` where a backend cannot; override
    `place(self, tmp_path)` where a place is not a path.
    """
