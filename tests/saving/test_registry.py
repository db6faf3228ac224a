"""The registry: who is in it, who is found, and that it keeps nothing alive it need not."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from typing import Any

import pytest

import eventcore as ec
from eventcore.errors import UnknownClass
from eventcore.saving import registry
from tests.saving import samples
from tests.structure.source import ROOT


def test_every_kind_of_class_is_registered_when_it_is_defined() -> None:
    for cls in (samples.Name, samples.Persona, samples.Greet, samples.Chain):
        assert registry.lookup("tests.saving.samples", cls.__qualname__) is cls

    class Start(ec.initializers.Initializer):
        pass

    assert registry.lookup(__name__, Start.__qualname__) is Start


def test_eventcores_own_classes_are_found_wherever_they_are_defined() -> None:
    for cls in (ec.Identity, ec.Module, ec.DataModel, ec.Trainable, ec.initializers.Empty, ec.Sequential):
        assert registry.find("eventcore", cls.__qualname__) is cls


def test_a_class_of_ours_never_stands_in_for_one_of_the_users() -> None:
    with pytest.raises(UnknownClass):
        registry.find("users.module", "Identity")


def test_the_latest_definition_wins_and_the_earlier_one_can_go() -> None:
    def define() -> type[ec.Module]:
        class Cell(ec.Module):
            pass

        return Cell

    first = define()
    gone = weakref.ref(first)
    second = define()
    assert registry.lookup(__name__, second.__qualname__) is second
    del first
    gc.collect()
    assert gone() is None
    name, gone = second.__qualname__, weakref.ref(second)
    del second
    gc.collect()
    assert gone() is None
    with pytest.raises(UnknownClass):
        registry.lookup(__name__, name)


def made(name: str, module: str) -> type[Any]:
    return type(name, (ec.DataModel,), {"__module__": module, "__qualname__": f"made.<locals>.{name}"})


def test_a_class_of_main_or_of_a_moved_module_is_found_by_its_qualified_name() -> None:
    only = made("Only", "somewhere")
    for module in (None, "__main__", "elsewhere"):
        assert registry.find(module, only.__qualname__) is only


def test_two_classes_of_one_name_are_told_apart_by_module_and_else_both_are_named() -> None:
    left, right = made("Twin", "left"), made("Twin", "right")
    assert registry.find("left", left.__qualname__) is left
    assert registry.find("right", left.__qualname__) is right
    with pytest.raises(UnknownClass, match=r"it is defined in left and in right; pass the right one"):
        registry.find("third", left.__qualname__)
    with registry.CustomObjectScope({left.__qualname__: right}):
        assert registry.find("third", left.__qualname__) is right


def test_an_unknown_class_is_named_with_those_of_a_similar_name() -> None:
    with pytest.raises(UnknownClass, match=r"cannot find the class a\.b\.Greeet.*similar name: .*Greet"):
        registry.find("a.b", "Greeet")


def test_a_scope_ends_and_scopes_nest() -> None:
    one, two = made("One", "m"), made("Two", "m")
    with registry.CustomObjectScope({"A": one}):
        with registry.CustomObjectScope({"A": two, "B": one}):
            assert registry.find("x", "A") is two
            assert registry.find("x", "B") is one
        assert registry.find("x", "A") is one
        with pytest.raises(UnknownClass):
            registry.find("x", "B")


def test_the_registry_stands_alone_and_is_light() -> None:
    listing = "print(json.dumps([name for name in sys.modules if name.startswith('eventcore')]))"
    code = f"import json, sys, eventcore.saving.registry; {listing}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert sorted(json.loads(done.stdout)) == [
        "eventcore",
        "eventcore._version",
        "eventcore.errors",
        "eventcore.saving",
        "eventcore.saving.registry",
    ]
