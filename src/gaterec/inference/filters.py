"""The options of a request for recommendations, as the CLI, Python and HTTP accept them: ids and values, not item numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import index as whole_number
from typing import Any, TypedDict

from gaterec.errors import RequestError


class FilterOptions(TypedDict, total=False):
    """The keywords of Recommender.recommend, recommend_to and request that are fields of Filters."""

    seen: bool
    deny: Iterable[Any]
    allow: Iterable[Any] | None
    where: Mapping[str, Any] | None
    strict: bool
    diversity: float


@dataclass(frozen=True)
class Filters:
    """How many items to recommend, and which.

    Attributes:
        k: the number of items for each user; fewer where fewer are left.
        seen: whether items of the history may be recommended.
        deny: ids of items that are not recommended.
        allow: ids of the only items that may be recommended; None allows all.
        where: column of the `.item` file -> value, or list of values: only items with this value, or one of them. Values are compared in the
            type of the column, numbers as numbers; in a column of lists, an item's list must contain the value.
        strict: whether to refuse users whom the run does not know.
        diversity: 0 to 1, the weight of the difference between the items of a list; see gaterec.inference.reranking.
    """

    k: int = 10
    seen: bool = False
    deny: Iterable[Any] = ()
    allow: Iterable[Any] | None = None
    where: Mapping[str, Any] | None = None
    strict: bool = False
    diversity: float = 0.0

    def checked(self) -> "Filters":
        """The same with k and diversity as Python's numbers.

        Raises:
            RequestError: k or diversity is out of range, or `where` is not a dictionary.
        """
        if not isinstance(self.diversity, int | float) or not 0 <= self.diversity <= 1:
            raise RequestError(f"diversity: expected a number from 0 to 1, found {self.diversity!r}")
        if self.where is not None and not isinstance(self.where, Mapping):
            raise RequestError(f"where: expected a dictionary of columns and values, found {type(self.where).__name__}")
        return replace(self, k=checked_k(self.k), diversity=float(self.diversity))


def checked_k(k: Any) -> int:
    """A number of items; NumPy's integers are accepted too.

    Raises:
        RequestError: it is not a whole number from 1 on.
    """
    try:
        count = 0 if isinstance(k, bool) else whole_number(k)
    except TypeError:
        count = 0
    if count < 1:
        raise RequestError(f"k: expected a whole number from 1 on, found {k!r}")
    return count
