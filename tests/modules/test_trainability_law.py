"""Law: a variable is trainable iff asked for, able to, not frozen itself, and nothing above it is frozen (I12).

The model knows the tree as plain dicts and decides by walking up from every variable.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import eventcore as ec
from tests.modules.samples import Counter, Persona


class Group(ec.Module):
    def call(self, inputs: Any) -> Any:
        return inputs


class TrainabilityMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.store = ec.open("memory:")
        self.block = self.store.run("law")
        self.block.__enter__()
        self.modules: list[Group] = [Group()]
        self.variables: list[ec.Variable] = []
        # The model: who holds whom, and which flags were set.
        self.holders: dict[int, set[int]] = {0: set()}
        self.frozen: set[int] = set()
        self.held_by: list[set[int]] = []
        self.asked: list[bool] = []
        self.own: list[bool] = []

    def teardown(self) -> None:
        if hasattr(self, "block"):
            self.block.__exit__(None, None, None)
            self.store.close()

    def some(self, number: int, things: list[Any]) -> int:
        return number % len(things)

    @rule(parent=st.integers(0), trainable=st.booleans())
    def add_module(self, parent: int, trainable: bool) -> None:
        parent = self.some(parent, self.modules)
        child = Group(trainable=trainable)
        number = len(self.modules)
        setattr(self.modules[parent], f"child_{number}", child)
        self.modules.append(child)
        self.holders[number] = {parent}
        if not trainable:
            self.frozen.add(number)

    @rule(module=st.integers(0), ask=st.booleans(), able=st.booleans())
    def add_variable(self, module: int, ask: bool, able: bool) -> None:
        module = self.some(module, self.modules)
        made = self.modules[module].add_variable(data_model=Persona if able else Counter, trainable=ask)
        self.variables.append(made)
        self.held_by.append({module})
        self.asked.append(ask and able)
        self.own.append(ask and able)

    @rule(variable=st.integers(0), module=st.integers(0))
    def share_variable(self, variable: int, module: int) -> None:
        if self.variables:
            variable, module = self.some(variable, self.variables), self.some(module, self.modules)
            setattr(self.modules[module], f"shared_{variable}", self.variables[variable])
            self.held_by[variable].add(module)

    @rule(child=st.integers(0), parent=st.integers(0))
    def share_module(self, child: int, parent: int) -> None:
        child, parent = self.some(child, self.modules), self.some(parent, self.modules)
        if child not in self.above(parent):
            self.modules[parent].__setattr__(f"child_{child}", self.modules[child])
            self.holders[child].add(parent)

    @rule(child=st.integers(0), parent=st.integers(0))
    def take_module_out(self, child: int, parent: int) -> None:
        child = self.some(child, self.modules)
        if self.holders[child]:
            parent = sorted(self.holders[child])[parent % len(self.holders[child])]
            delattr(self.modules[parent], f"child_{child}")
            self.holders[child].discard(parent)

    @rule(module=st.integers(0), flag=st.booleans())
    def set_module(self, module: int, flag: bool) -> None:
        module = self.some(module, self.modules)
        self.modules[module].trainable = flag
        (self.frozen.discard if flag else self.frozen.add)(module)

    @rule(variable=st.integers(0), flag=st.booleans())
    def set_variable(self, variable: int, flag: bool) -> None:
        if self.variables:
            variable = self.some(variable, self.variables)
            able = self.variables[variable].eligible
            self.variables[variable].trainable = flag
            self.own[variable] = flag and able

    def above(self, module: int) -> set[int]:
        seen, waiting = {module}, [module]
        while waiting:
            for parent in self.holders[waiting.pop()]:
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return seen

    @invariant()
    def every_variable_is_trainable_exactly_when_the_model_says_so(self) -> None:
        for number, variable in enumerate(getattr(self, "variables", [])):
            over = {above for module in self.held_by[number] for above in self.above(module)}
            assert variable.trainable == (self.own[number] and not over & self.frozen)

    @invariant()
    def modules_list_trainable_and_other_variables_accordingly(self) -> None:
        for module in getattr(self, "modules", []):
            assert [v for v in module.variables if v.trainable] == module.trainable_variables
            assert [v for v in module.variables if not v.trainable] == module.non_trainable_variables

    @invariant()
    def the_log_says_the_same(self) -> None:
        if getattr(self, "variables", []):
            state = self.block.state
            assert all(state.trainable(v.path) == v.trainable for v in self.variables)


TestTrainabilityLaw = TrainabilityMachine.TestCase
TestTrainabilityLaw.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
