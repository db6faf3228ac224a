"""The operators on data models: what they give, for which operands, and the laws they obey."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventcore.errors import InvalidValue, WrongType
from eventcore.models import (
    DataModel,
    Field,
    JsonDataModel,
    SymbolicDataModel,
    Validator,
    clear_names,
    operators,
    schema_of,
)
from eventcore.models.data_model import ModelMeta
from eventcore.models.operands import Operators


class Query(DataModel):
    """A question."""

    query: str
    limit: int = 3


class Source(DataModel):
    title: str
    reward: float = 0.0


class Answer(DataModel):
    """An answer."""

    answer: str = "yes"
    query: str
    sources: list[Source] = Field(default=[])


QUERY = Query(query="why?")
ANSWER = Answer(query="what?", sources=[Source(title="a", reward=1)])


class Stateful(Operators):
    """Like a variable: neither data model nor value, with schema and JSON."""

    def get_schema(self) -> dict[str, Any]:
        return Query.get_schema()

    def get_json(self) -> dict[str, Any]:
        return QUERY.get_json()


@pytest.fixture(autouse=True)
def fresh_names() -> Iterator[None]:
    clear_names()
    yield
    clear_names()


def both(value: Any) -> tuple[Any, Any]:
    return value.get_json(), value.get_schema()


def holder(annotation: Any) -> Any:
    """A model whose `part` is a model, both always of the same names, with one field of that annotation."""
    part = ModelMeta("Part", (DataModel,), {"__annotations__": {"v": annotation}, "__module__": __name__})
    return ModelMeta("Holder", (DataModel,), {"__annotations__": {"part": part}, "__module__": __name__})


VALUES = [QUERY, QUERY.to_json_data_model(), Stateful()]
SYMBOLS = [Query, SymbolicDataModel(Query)]


@pytest.mark.parametrize("left", VALUES)
@pytest.mark.parametrize("right", [ANSWER, ANSWER.to_json_data_model()])
def test_values_concatenate_to_a_value(left: Any, right: Any) -> None:
    result = left + right
    assert isinstance(result, JsonDataModel)
    assert result.name == "concat"
    assert result.get_json() == {
        "query": "why?",
        "limit": 3,
        "answer": "yes",
        "query_1": "what?",
        "sources": [{"title": "a", "reward": 1.0}],
    }
    schema = result.get_schema()
    assert list(schema["properties"]) == ["query", "limit", "answer", "query_1", "sources"]
    assert schema["properties"]["query_1"]["title"] == "Query 1"
    assert schema["title"] == "Query"
    assert schema["required"] == ["query", "query_1"]
    assert schema["additionalProperties"] is False
    assert list(schema["$defs"]) == ["Source"]
    assert list(schema) == sorted(schema)


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("other", [ANSWER, Answer, SymbolicDataModel(Answer), ANSWER.to_json_data_model()])
def test_a_class_or_placeholder_makes_the_result_a_placeholder(symbol: Any, other: Any) -> None:
    expected = (QUERY + ANSWER).get_schema()
    for left, right in [(symbol, other)]:
        for result in (left + right, left & right):
            assert isinstance(result, SymbolicDataModel)
            assert result.get_schema() == expected
    for result in (symbol | other, symbol ^ other, ~symbol):
        assert isinstance(result, SymbolicDataModel)
        assert result.get_schema() == Query.get_schema()
    assert (other | symbol).get_schema() == Answer.get_schema()


@pytest.mark.parametrize("value", VALUES)
def test_none_stands_for_a_branch_that_was_not_taken(value: Any) -> None:
    merged = both(value + ANSWER)
    for operation in (lambda: value + None, lambda: None + value, lambda: operators.concat(None, None)):
        with pytest.raises(InvalidValue, match="cannot concatenate"):
            operation()
    assert both(value & ANSWER) == merged
    assert (value & None, None & value, operators.logical_and(None, None)) == (None, None, None)
    assert both(value | ANSWER) == merged
    assert both(value | None) == both(None | value) == (value.get_json(), value.get_schema())
    assert operators.logical_or(None, None) is None
    assert value ^ ANSWER is None
    assert both(value ^ None) == both(None ^ value) == (value.get_json(), value.get_schema())
    assert operators.logical_xor(None, None) is None
    assert ~value is None
    assert operators.logical_not(None) is None


def test_a_placeholder_meets_none_as_a_value_does() -> None:
    symbol = SymbolicDataModel(Query)
    assert symbol & None is None
    assert isinstance(symbol | None, SymbolicDataModel)
    assert (None ^ symbol).get_schema() == Query.get_schema()
    with pytest.raises(InvalidValue):
        operators.concat(None, symbol)


def test_results_are_named_after_the_operator() -> None:
    names = [
        (QUERY + QUERY).name,
        (QUERY + QUERY).name,
        (QUERY & QUERY).name,
        (QUERY | QUERY).name,
        (QUERY ^ None).name,
        (~Query).name,
        QUERY.in_mask(["query"]).name,
        QUERY.out_mask(["query"]).name,
        QUERY.factorize().name,
        operators.concat(QUERY, QUERY, name="mine"),
    ]
    assert [getattr(name, "name", name) for name in names] == [
        "concat",
        "concat_1",
        "and",
        "or",
        "xor",
        "not",
        "in_mask",
        "out_mask",
        "factorize",
        "mine",
    ]


def test_a_class_with_none_or_a_plain_type_is_a_type_for_annotations() -> None:
    for union in (Query | None, None | Query, Query | int, str | Query):
        assert not isinstance(union, SymbolicDataModel)
        assert isinstance(QUERY, union)


def test_other_operands_are_refused() -> None:
    value: Any = QUERY
    for operation in (operator.add, operator.and_, operator.or_, operator.xor):
        for other in (3, "x", [1], object()):
            with pytest.raises(TypeError):
                operation(value, other)
            with pytest.raises(TypeError):
                operation(other, value)
    with pytest.raises(WrongType):
        operators.concat(QUERY, 3)


def test_clashing_keys_count_up() -> None:
    once = QUERY + QUERY
    thrice = once + QUERY
    assert thrice.keys() == ["query", "limit", "query_1", "limit_1", "query_2", "limit_2"]
    assert [part["title"] for part in thrice.get_schema()["properties"].values()] == [
        *("Query", "Limit", "Query 1", "Limit 1", "Query 2", "Limit 2"),
    ]


def test_a_key_required_on_one_side_is_required_under_both_its_names() -> None:
    class Loose(DataModel):
        query: str = ""

    assert (Loose + Query).get_schema()["required"] == ["query", "query_1"]


def test_definitions_of_one_name_that_differ_stay_apart() -> None:
    ints, texts = holder(int), holder(str)
    result = ints(part={"v": 1}) + texts(part={"v": "x"})
    validator = Validator(result.get_schema())
    assert validator.check(result.get_json()) == {"part": {"v": 1}, "part_1": {"v": "x"}}
    assert len((ints + ints).get_schema()["$defs"]) == 1
    assert ints in (ints + texts)
    assert texts not in (ints + texts)


@pytest.mark.parametrize("whole", [QUERY + ANSWER, Query + Answer])
def test_containing_is_about_keys_and_whole_property_schemas(whole: Any) -> None:
    class Query2(DataModel):
        query: str
        limit: int = 4

    assert "query" in whole
    assert "nothing" not in whole
    for part in (Query, QUERY, QUERY.to_json_data_model(), SymbolicDataModel(Query), Stateful()):
        assert part in whole
    assert Query2 not in whole
    assert Query in Query
    assert "query" in Query
    assert "query" in QUERY
    assert whole not in Query


def test_containing_looks_into_definitions() -> None:
    assert holder(int) in holder(int)
    assert holder(int) not in holder(str)


class Record(DataModel):
    """Something to mask."""

    answer: str = "a"
    answers: list[str] = Field(default=["b"])
    answer_2: str = "c"
    reward: float = 0.5
    sources: list[Source] = Field(default=[Source(title="t", reward=1)])
    best_source: Source = Source(title="u")
    notes: dict[str, Any] = Field(default={"reward": 1, "title": [{"reward": 2}]})


def test_in_mask_keeps_and_out_mask_removes_by_base_name() -> None:
    record = Record()
    kept = record.in_mask(["answers"])
    assert kept.get_json() == {"answer": "a", "answers": ["b"], "answer_2": "c"}
    removed = record.out_mask(["answer_7"], recursive=False)
    assert removed.keys() == ["reward", "sources", "best_source", "notes"]
    assert record.in_mask(pattern="^rew").get_json() == {"reward": 0.5}
    assert record.in_mask(["answer"], pattern="^rew").keys() == ["answer", "answers", "answer_2", "reward"]
    assert Record.in_mask(["reward"]).keys() == ["reward"]


def test_masks_reach_into_objects_lists_and_definitions_unless_told_not_to() -> None:
    record = Record()
    removed = record.out_mask(["reward"])
    assert removed.get_json() == {
        "answer": "a",
        "answers": ["b"],
        "answer_2": "c",
        "sources": [{"title": "t"}],
        "best_source": {"title": "u"},
        "notes": {"title": [{}]},
    }
    schema = removed.get_schema()
    assert list(schema["$defs"]["Source"]["properties"]) == ["title"]
    assert schema["properties"]["sources"]["default"] == [{"title": "t"}]
    assert Validator(schema).check(removed.get_json()) == removed.get_json()
    flat = record.out_mask(["reward"], recursive=False)
    assert flat.get("sources") == [{"title": "t", "reward": 1.0}]
    assert flat.get_schema()["$defs"] == Record.get_schema()["$defs"]


def test_definitions_no_longer_used_are_dropped() -> None:
    assert "$defs" not in Record.in_mask(["answer"]).get_schema()
    assert list(Record.in_mask(["source"], recursive=False).get_schema()["$defs"]) == ["Source"]


def test_masks_without_anything_to_match() -> None:
    for function in (operators.in_mask, operators.out_mask):
        with pytest.raises(InvalidValue, match="neither mask nor pattern"):
            function(QUERY)
        assert function(None, mask=["a"]) is None
        with pytest.raises(InvalidValue, match="a list of field names"):
            function(QUERY, mask="query")
        with pytest.raises(InvalidValue, match="a regular expression"):
            function(QUERY, pattern="(")
    assert QUERY.in_mask().get_json() == {}
    assert QUERY.in_mask().get_schema()["properties"] == {}
    assert both(QUERY.out_mask()) == both(QUERY)


@pytest.mark.parametrize("value", [*VALUES, *SYMBOLS])
def test_prefix_and_suffix_rename_keys_and_titles_and_require_all(value: Any) -> None:
    before, after = value.prefix("my_gold"), value.suffix("old")
    assert [result.keys() for result in (before, after)] == [
        ["my_gold_query", "my_gold_limit"],
        ["query_old", "limit_old"],
    ]
    for result, titles in ((before, ["My Gold Query", "My Gold Limit"]), (after, ["Query Old", "Limit Old"])):
        schema = result.get_schema()
        assert [part["title"] for part in schema["properties"].values()] == titles
        assert schema["required"] == result.keys()
    if not isinstance(before, SymbolicDataModel):
        assert before.get_json() == {"my_gold_query": "why?", "my_gold_limit": 3}
        assert after.get_json() == {"query_old": "why?", "limit_old": 3}
    for function in (operators.prefix, operators.suffix):
        assert function(value, "x").get_schema() == getattr(value, function.__name__)("x").get_schema()  # type: ignore[union-attr]
        assert function(None, "x") is None
        for nothing in (None, ""):
            with pytest.raises(InvalidValue, match=f"cannot apply {function.__name__}"):
                function(value, nothing)


def test_factorize_gathers_similar_fields_into_a_list() -> None:
    class Two(DataModel):
        answer: str
        query: str = "q"
        answer_1: str = "b"

    result = Two(answer="a").factorize()
    assert result.get_json() == {"answers": ["a", "b"], "query": "q"}
    schema = result.get_schema()
    assert schema["properties"]["answers"] == {
        "items": {"type": "string"},
        "title": "Answers",
        "type": "array",
    }
    assert schema["required"] == ["answers"]
    assert Two.factorize().get_schema() == schema
    assert operators.factorize(None) is None
    assert Validator(schema).check(result.get_json()) == result.get_json()


def test_factorize_joins_a_list_that_is_there_already_and_keeps_kinds_apart() -> None:
    result = Record().factorize()
    assert result.get("answers") == ["a", "b", "c"]
    assert result.get("best_source") == {"title": "u", "reward": 0.0}

    class Various(DataModel):
        value: int = 1
        value_1: str = "x"

    various = Various().factorize()
    assert various.get_json() == {"values": [1, "x"]}
    assert various.get_schema()["properties"]["values"]["items"] == {
        "anyOf": [{"type": "integer"}, {"type": "string"}]
    }


def test_nothing_is_aliased() -> None:
    answer = Answer(query="q", sources=[Source(title="a")])
    results = [answer + QUERY, answer | None, answer.out_mask(), answer.prefix("p"), answer.factorize()]
    before = [result.get_json() for result in results]
    answer.sources[0].title = "changed"
    for result in results:
        result.get_json().clear()
        result.get_schema().clear()
    assert [result.get_json() for result in results] == before
    assert Answer.get_schema() == schema_of(Answer)


def test_a_recorder_sees_what_a_graph_produced_and_may_decline(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, dict[str, Any]]] = []
    answers: list[Any] = ["node", NotImplemented]

    def record(name: str, operands: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        seen.append((name, len(operands), arguments))
        return answers[0]

    monkeypatch.setattr(operators, "graph_recorder", record)
    loose, produced = SymbolicDataModel(Query), SymbolicDataModel(Query)
    produced.producer = ("module", 0, 0)
    assert isinstance(loose + Answer, SymbolicDataModel)
    assert seen == []
    assert [produced + Answer, Answer & produced, produced | None, produced ^ loose, ~produced] == [
        "node"
    ] * 5
    assert produced.in_mask(["query"], recursive=False) == "node"
    assert [
        produced.out_mask(pattern="q"),
        produced.prefix("p"),
        produced.suffix("s"),
        produced.factorize(),
    ] == ["node"] * 4
    assert [name for name, _, _ in seen] == [
        *("concat", "and", "or", "xor", "not", "in_mask", "out_mask", "prefix", "suffix", "factorize"),
    ]
    assert seen[5] == ("in_mask", 1, {"mask": ["query"], "pattern": None, "recursive": False, "name": None})
    assert seen[7] == ("prefix", 1, {"prefix": "p", "name": None})
    assert produced & None is None
    answers.reverse()
    assert (produced + Answer).get_schema() == (Query + Answer).get_schema()


# --- laws ---

KEYS = st.sampled_from(["answer", "answers", "answer_1", "query", "reward", "user_name", "user_names", "n_1"])
KINDS = st.sampled_from(["string", "integer", "array", "object"])
SAMPLES: dict[str, Any] = {
    "string": "text",
    "integer": 3,
    "array": [{"reward": 1, "kept": 2}],
    "object": {"answer": [1]},
}


@st.composite
def values(draw: st.DrawFn) -> JsonDataModel:
    """Draw a value with up to six fields of four kinds."""
    fields = draw(st.dictionaries(KEYS, KINDS, max_size=6))
    properties = {key: {"title": f"T {key}", "type": kind} for key, kind in fields.items()}
    required = [key for key in fields if draw(st.booleans())]
    schema = {"type": "object", "properties": properties, "additionalProperties": False, "title": "Drawn"}
    json = {key: SAMPLES[kind] for key, kind in fields.items()}
    return JsonDataModel(schema={**schema, "required": required}, json=json, name="drawn")


def fits_itself(value: Any) -> bool:
    return bool(Validator(value.get_schema()).check(value.get_json()) == value.get_json())


@given(values(), values())
def test_merging_loses_no_value_and_keeps_the_left_as_it_is(
    left: JsonDataModel, right: JsonDataModel
) -> None:
    result = left + right
    merged = result.get_json()
    assert fits_itself(result)
    assert result.keys() == list(result.get_schema()["properties"])
    assert {key: merged[key] for key in left} == left.get_json()
    added = [value for key, value in merged.items() if key not in left]
    assert added == list(right.get_json().values())
    renamed = result.get_schema()["properties"]
    for key in left:
        assert renamed[key] == left.get_schema()["properties"][key]
    assert left in result
    assert json.dumps(both(left & right)) == json.dumps(both(left | right)) == json.dumps(both(result))


@given(values(), values())
def test_a_merge_of_classes_has_the_schema_of_the_merge_of_values(
    left: JsonDataModel, right: JsonDataModel
) -> None:
    symbolic = left.to_symbolic_data_model() + right
    assert json.dumps(symbolic.get_schema()) == json.dumps((left + right).get_schema())


MASKS = st.lists(
    st.sampled_from(["answer", "answers", "reward", "user_name", "queries", "other"]), max_size=3
)
PATTERNS = st.none() | st.sampled_from(["^a", "e", "name$"])


@given(values(), MASKS, PATTERNS)
def test_the_two_masks_complement_each_other_at_the_top(
    value: JsonDataModel, mask: list[str], pattern: Any
) -> None:
    inner = value.in_mask(mask, pattern, recursive=False)
    outer = value.out_mask(mask, pattern, recursive=False)
    assert not set(inner.keys()) & set(outer.keys())
    together = {**inner.get_json(), **outer.get_json()}
    assert {key: together[key] for key in value} == value.get_json()
    for part in (inner, outer):
        assert fits_itself(part)
        assert list(part.get_schema()["properties"]) == part.keys()
        assert part in value


@given(values(), MASKS, PATTERNS, st.booleans())
def test_masking_twice_changes_nothing_and_nothing_masked_remains(
    value: JsonDataModel, mask: list[str], pattern: Any, recursive: bool
) -> None:
    for masked in (value.in_mask, value.out_mask):
        once = masked(mask, pattern, recursive)
        twice = getattr(once, masked.__name__)(mask, pattern, recursive)
        assert json.dumps(both(once)) == json.dumps(both(twice))
        assert fits_itself(once)
        symbolic = getattr(value.to_symbolic_data_model(), masked.__name__)(mask, pattern, recursive)
        assert symbolic.get_schema() == once.get_schema()
    assert not keys_at_every_level(value.in_mask(mask, pattern).get_json()) & keys_at_every_level(
        value.out_mask(mask, pattern).get_json()
    )


def keys_at_every_level(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys_at_every_level(item)}
    return {key for item in value for key in keys_at_every_level(item)} if isinstance(value, list) else set()


@given(values(), st.sampled_from(["gold", "x_y"]))
def test_renaming_keeps_values_and_order(value: JsonDataModel, word: str) -> None:
    for result, affixed in ((value.prefix(word), f"{word}_{{}}"), (value.suffix(word), f"{{}}_{word}")):
        assert result.get_json() == {affixed.format(key): item for key, item in value.get_json().items()}
        assert fits_itself(result)
        assert result.get_schema().get("required", []) == result.keys()


@given(values())
def test_factorizing_keeps_every_value(value: JsonDataModel) -> None:
    assume(value.keys())
    result = value.factorize()
    assert fits_itself(result)
    assert list(result.get_schema()["properties"]) == result.keys()

    def leaves(json: Any) -> list[str]:
        children = json.values() if isinstance(json, dict) else json if isinstance(json, list) else [json]
        return (
            [repr(json)]
            if not isinstance(json, (dict, list))
            else [leaf for child in children for leaf in leaves(child)]
        )

    assert sorted(leaves(result.get_json())) == sorted(leaves(value.get_json()))
    again = result.factorize()
    assert json.dumps(both(again)) == json.dumps(both(result))
