"""Pydantic's findings in plain words."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gaterec.config.findings import told


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    k: int = Field(1, ge=1, le=10)
    share: float = 0.5
    name: Annotated[str, Field(min_length=1, max_length=3)] = "a"
    items: list[str] = Field([], max_length=2)
    part: dict[str, int] = {}
    exact: bool = False


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"k": "many"}, "expected a whole number, found 'many'"),
        ({"k": 1.5}, "expected a whole number, found 1.5"),
        ({"k": 0}, "expected a number greater than or equal to 1, found 0"),
        ({"k": 11}, "expected a number less than or equal to 10, found 11"),
        ({"share": "half"}, "expected a number, found 'half'"),
        ({"name": 1}, "expected text, found 1"),
        ({"name": ""}, "expected text of at least 1 characters, found ''"),
        ({"name": "abcd"}, "expected text of at most 3 characters, found 'abcd'"),
        ({"items": "a"}, "expected a list, found 'a'; write ['a']"),
        ({"items": ["a"] * 3}, "expected at most 2 of them, found ['a', 'a', 'a']"),
        ({"part": 1}, "expected a dictionary, found 1"),
        ({"exact": 2}, "expected true or false, found 2"),
        ({"other": 1}, "there is no such field; leave it out"),
    ],
)
def test_each_finding_says_what_was_expected_and_found(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate(given)
    (finding,) = caught.value.errors()
    assert told(finding) == says


def test_lists_are_not_shown_where_that_would_take_long() -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate({"items": ["a"] * 3})
    assert told(caught.value.errors()[0], values=False) == "expected at most 2 of them"
