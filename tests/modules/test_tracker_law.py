"""Law: after a module's first call nothing changes the set of variables the program reports (I11).

A machine builds a tree of modules in any way it likes, calls its root, and goes on assigning, adding and
nesting. The model is the set of variables noted when the call returned.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

import eventcore as ec
from eventcore.errors import TrackerLocked
from tests.modules.samples import Counter, Number, Persona


class Node(ec.Module):
    """Calls every module in its attributes, or only the first; a module above it in the call not again."""

    running: ClassVar[list[Any]] = []

    def __init__(self, calls_all: bool) -> None:
        super().__init__()
        self.calls_all = calls_all
        self.items: list[Any] = []
        self.table: dict[int, Any] = {}

    async def call(self, inputs: Any) -> Any:
        inner = [value for value in [*vars(self).values(), *self.items] if isinstance(value, Node)]
        self.running.append(self)
        for module in inner if self.calls_all else inner[:1]:
            if module not in self.running:
                await module(inputs)
        self.running.remove(self)
        return inputs


attributes = st.sampled_from(["a", "b", "c", "items", "table"])


class TrackerMachine(RuleBasedStateMachine):
    nodes = Bundle("nodes")
    variables = Bundle("variables")

    @initialize(target=nodes, calls_all=st.booleans())
    def start(self, calls_all: bool) -> Node:
        self.store = ec.open("memory:")
        self.block = self.store.run("law")
        self.block.__enter__()
        self.root = Node(calls_all)
        self.below: list[Node] = [self.root]
        self.reported: list[int] | None = None
        return self.root

    def teardown(self) -> None:
        if hasattr(self, "block"):
            self.block.__exit__(None, None, None)
            self.store.close()

    def attempt(self, change: Any) -> None:
        try:
            change()
        except TrackerLocked as error:
            note(f"refused: {error}")
            assert self.reported is not None

    @rule(target=nodes, calls_all=st.booleans())
    def make_node(self, calls_all: bool) -> Node:
        return Node(calls_all)

    @rule(target=variables, trainable=st.booleans())
    def make_variable(self, trainable: bool) -> ec.Variable:
        return ec.Variable(data_model=Persona if trainable else Counter, trainable=trainable)

    @rule(target=variables, node=nodes)
    def add_variable(self, node: Node) -> Any:
        made: list[Any] = []
        self.attempt(lambda: made.append(node.add_variable(data_model=Counter)))
        return made[0] if made else ec.Variable(data_model=Counter)

    @rule(node=nodes, name=attributes, value=st.one_of(nodes, variables, st.none(), st.integers()))
    def assign(self, node: Node, name: str, value: Any) -> None:
        held = {"items": [value], "table": {0: value}}.get(name, value)
        self.attempt(lambda: setattr(node, name, held))

    @rule(node=nodes, value=st.one_of(nodes, variables))
    def append(self, node: Node, value: Any) -> None:
        self.attempt(lambda: node.items.append(value))

    @rule(node=nodes, key=st.integers(0, 2), value=st.one_of(nodes, variables))
    def put(self, node: Node, key: int, value: Any) -> None:
        self.attempt(lambda: node.table.__setitem__(key, value))

    @rule(node=nodes)
    def shrink(self, node: Node) -> None:
        self.attempt(node.items.clear)
        self.attempt(node.table.clear)

    @rule(node=nodes, name=st.sampled_from(["a", "b", "c"]))
    def delete(self, node: Node, name: str) -> None:
        if hasattr(node, name):
            self.attempt(lambda: delattr(node, name))

    @rule(symbolic=st.booleans())
    def call_root(self, symbolic: bool) -> None:
        ec.wait(self.root(ec.Input(data_model=Number) if symbolic else Number(number=1)))
        if self.reported is None:
            self.reported = sorted(map(id, self.root.variables))

    @invariant()
    def the_root_reports_what_it_reported(self) -> None:
        if getattr(self, "reported", None) is not None:
            assert sorted(map(id, self.root.variables)) == self.reported


TestTrackerLaw = TrackerMachine.TestCase
TestTrackerLaw.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
