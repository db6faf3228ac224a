"""What tests of eventcore and of its extensions are built from, shipped so that others can use it.

One line each for authors of modules, optimizers, rewards and backends; each raises a report of what is wrong:

    ec.testing.check_module(MyModule, inputs=MyInput)
    ec.testing.check_optimizer(MyOptimizer)
    ec.testing.check_reward(MyReward, MyAnswer)
    ec.testing.check_backend(lambda place: f"mine:{place}")

In pytest, one test for each check: `parametrize_with_checks(module_checks_of(MyModule, inputs=MyInput))`; the fixtures
`eventcore_run`, `eventcore_store` and `eventcore_cassette`; the profiles `eventcore`, `eventcore-ci` and
`eventcore-thorough` of hypothesis.
To build on: `strategies` (`from_model`, `json_values`, `events`, `histories`), `ModuleMachine` (of a `ModuleSubject`),
`BackendMachine`, `FakeLanguageModel`. A check that exercises nothing fails. One that is known to fail is named in
`expected_failed_checks`.

Calls of real models are made once and answered from a file afterwards, with `cassette("tests/cassettes/it.sqlite")`,
or in pytest with the fixture `eventcore_cassette`. `--eventcore-record`, `$EVENTCORE_RECORD` or `mode=` say what
becomes of calls that are not in it: "none" (an error; the default where `$CI` is set), "once" (recorded if there is no
file yet; the default elsewhere), "new_episodes" (recorded), "all" (all are made, and recorded anew). A cassette is a
run: `eventcore log sqlite:tests/cassettes/it.sqlite`.

Checks of a module:

- `defaults_complete`: The module can be made again and again, and every trainable value from nothing, before any data
  is seen.
- `variables_discovered`: Every variable the module makes is listed once, so optimizers, saving and summaries see it.
- `locks_after_first_call`: After the first call the set of variables is final: every batch and every save sees the
  same one.
- `trainable_iff_trainable`: What is meant to be trained is, nothing else is, and freezing the module freezes all of
  it.
- `reads_are_events`: No answer depends on a value the log does not say was read, so `blame` and lineage are complete.
- `writes_are_events`: What outlives a call is in variables and passed through events, so nothing is lost when the run
  resumes.
- `one_record_per_use`: Under training each use leaves one record of its own inputs and outputs, without a reward;
  else none.
- `none_in_none_out`: A branch that was not taken gives nothing, records nothing and changes nothing.
- `tracing_is_free_of_side_effects`: Building a graph changes no variable and no attribute, so a program can be built
  before it is used.
- `instances_share_nothing`: Two instances share no state: using or training one leaves the other as it was made.
- `answers_fit_their_schema`: Answers are what graphs are built with: the modules behind this one get the fields they
  were made for.
- `rewards_reach_their_records`: Every record gets the reward of its own example, whatever finishes first.
- `optimizer_leaves_state_alone`: An optimizer writes trainable variables and nothing else; counters and caches stay
  the module's own.
- `works_with_any_candidate`: Whatever an optimizer may write into a trainable variable, the module goes on answering.
- `answers_follow_variables`: An answer depends on the values of now, never on what was answered before.
- `config_round_trip`: `get_config` and `from_config` make the same module: same class, arguments, variables and first
  values.
- `save_and_load`: A program with the module comes back from every form of file with its values, and answers as
  before.
- `fork_round_trip`: A fork goes on from the same values, and nothing done in it reaches the run it came from.
- `equal_state_from_replay`: The log alone gives the state, folded again, and the same calls over their log do nothing
  else than it says.
- `no_unrecorded_nondeterminism`: The same calls give the same answers and state at any time and in any process, so a
  run can be replayed.
- `concurrency_safe`: Examples that go through the module at the same time get the answers and leave the state they
  would alone.

Checks of an optimizer:

- `never_worse_than_the_best`: A training ends with values at least as good on the held-out data as any it validated.
- `joint_choice`: What a training ends with was evaluated as it stands, never put together from parts that did well
  apart.
- `population_is_capped`: After every epoch each variable keeps one to `population_size` candidates, all different,
  each with a score.
- `history_only_grows`: The history is the sequence of what was chosen, and never takes a word back.
- `counts_its_steps`: It counts its batches and epochs, which seeds and names are made of.
- `bad_rewards_never_win`: NaN, infinite and missing rewards, and examples that fail, are nobody's zero and nobody's
  victory.
- `only_trainable_variables_touched`: It writes the variables it is asked to train; frozen ones and the program's own
  state stay as they are.
- `second_fit_continues`: A second `fit` goes on with the population and the history there are, and loses nothing of
  what was won.
- `same_seed_same_run`: The run's seed decides everything: neither the clock nor global random numbers do.
- `latency_independence`: Who finishes first decides nothing, so a slow model trains to the same values as a quick
  one.
- `hash_seed_independence`: Nothing depends on `hash()` or the order of a set, so a training can be repeated in
  another process.
- `resumes_at_every_event`: Killed after any event and started again, a training ends as if left alone, and asks
  nothing twice.
- `cost_is_linear`: What a training writes grows with the number of examples, not with its square.
- `config_round_trip`: `get_config` and `from_config` make the same optimizer.
- `state_survives_saving`: What it learned is in variables: a saved program goes on counting and choosing where it
  stopped.

Checks of a reward:

- `gives_finite_numbers`: Whatever the answer, the reward is a finite number: an example is not lost to a division by
  zero.
- `same_pair_same_reward`: The same answer is worth the same at any time and after any other, so candidates can be
  compared.
- `nothing_is_changed`: Scoring changes neither the answers nor the reward itself.
- `missing_sides`: A failed prediction or an absent target is no error, and nothing is worth no more than everything.
- `nothing_beats_the_target`: No prediction is worth more than the target; some, and empty ones, are worth less:
  training goes uphill.
- `company_makes_no_difference`: An answer is worth the same alone and among others, in any place and order.
- `forms_make_no_difference`: Data models and plain dicts are worth the same.
- `config_round_trip`: A reward loaded from a saved program scores as it did.
- `hash_seed_independence`: Nothing depends on `hash()` or the order of a set, so scores are the same in every
  process.

Checks of a backend, beside every test of `eventcore.testing.backends.BackendConformance`:

- `random_histories`: Whatever is done in whatever order, the store holds what a few dicts would.
- `a_kill_loses_nothing_acknowledged`: What an append acknowledged is there after the process was killed, whole and in
  order.
- `of_two_processes_one_wins`: Of two processes that append to one run, exactly one succeeds at each seq and the other
  is told.
- `a_full_disk_loses_nothing_acknowledged`: A disk that is full is an error, everything acknowledged before is there,
  and with room again it goes on.
- `acknowledged_means_synced`: An append returns after the operating system was told to write it to the disk.
- `a_failing_call_loses_nothing_acknowledged`: Whichever write or sync fails, that is an error, nothing acknowledged is
  lost, and the store goes on.
- `running_out_of_descriptors_is_an_error`: A store that cannot be opened for want of descriptors says so, is unharmed,
  and leaves none behind.
- `a_power_cut_loses_nothing_acknowledged`: Of what was not synced a power cut may take anything; what was acknowledged
  is there, and is whole.
- `a_torn_end_is_not_taken_for_data`: What was half written when everything stopped is never read as data, nor hides
  what came before it.

Names are imported from their homes when they are first used: the checks and machines need hypothesis, the
conformance suite of backends needs pytest; both are in the extra `testing`.
"""

from __future__ import annotations

import importlib as _importlib
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from eventcore.testing import strategies as strategies
    from eventcore.testing.backend_checks import backend_checks_of as backend_checks_of
    from eventcore.testing.backend_checks import check_backend as check_backend
    from eventcore.testing.backend_machine import BackendMachine as BackendMachine
    from eventcore.testing.cassettes import Cassette as Cassette
    from eventcore.testing.cassettes import cassette as cassette
    from eventcore.testing.checks import Check as Check
    from eventcore.testing.checks import CheckFailed as CheckFailed
    from eventcore.testing.checks import ChecksFailed as ChecksFailed
    from eventcore.testing.checks import Report as Report
    from eventcore.testing.fake_model import FakeLanguageModel as FakeLanguageModel
    from eventcore.testing.module_machine import ModuleMachine as ModuleMachine
    from eventcore.testing.module_machine import run_module_machine as run_module_machine
    from eventcore.testing.module_subject import ModuleSubject as ModuleSubject
    from eventcore.testing.modules import check_module as check_module
    from eventcore.testing.modules import module_checks_of as module_checks_of
    from eventcore.testing.optimizers import check_optimizer as check_optimizer
    from eventcore.testing.optimizers import optimizer_checks_of as optimizer_checks_of
    from eventcore.testing.pytest_plugin import parametrize_with_checks as parametrize_with_checks
    from eventcore.testing.rewards import check_reward as check_reward
    from eventcore.testing.rewards import reward_checks_of as reward_checks_of

_HOMES = {
    "BackendMachine": "backend_machine",
    "ModuleMachine": "module_machine",
    "ModuleSubject": "module_subject",
    "run_module_machine": "module_machine",
    "Cassette": "cassettes",
    "Check": "checks",
    "CheckFailed": "checks",
    "ChecksFailed": "checks",
    "FakeLanguageModel": "fake_model",
    "Report": "checks",
    "backend_checks_of": "backend_checks",
    "cassette": "cassettes",
    "check_backend": "backend_checks",
    "check_module": "modules",
    "check_optimizer": "optimizers",
    "check_reward": "rewards",
    "module_checks_of": "modules",
    "optimizer_checks_of": "optimizers",
    "parametrize_with_checks": "pytest_plugin",
    "reward_checks_of": "rewards",
}

__all__ = [
    "BackendMachine",
    "Cassette",
    "Check",
    "CheckFailed",
    "ChecksFailed",
    "FakeLanguageModel",
    "ModuleMachine",
    "ModuleSubject",
    "Report",
    "backend_checks_of",
    "cassette",
    "check_backend",
    "check_module",
    "check_optimizer",
    "check_reward",
    "module_checks_of",
    "optimizer_checks_of",
    "parametrize_with_checks",
    "reward_checks_of",
    "run_module_machine",
    "strategies",
]


def __getattr__(name: str) -> _Any:
    if name not in __all__:
        raise AttributeError(f"module 'eventcore.testing' has no attribute {name!r}")
    home = _importlib.import_module(f"eventcore.testing.{_HOMES.get(name, name)}")
    found = getattr(home, name) if name in _HOMES else home
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__]
