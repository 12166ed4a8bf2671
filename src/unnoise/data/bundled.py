"""The small tables of numbers that scikit-learn carries."""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from unnoise.config import choose
from unnoise.data.finite import Content
from unnoise.data.standard import Rows

TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "iris": ("load_iris", {}),
    "wine": ("load_wine", {}),
    "breast_cancer": ("load_breast_cancer", {}),
    "diabetes": ("load_diabetes", {"scaled": False}),
}


@dataclass(frozen=True, kw_only=True)
class Bundled(Rows):
    """A table of scikit-learn in its own units: iris, wine, breast_cancer or diabetes, items (N, D) float64.

    Where the table names classes they are the labels; where it has a number to be told (diabetes: the progression
    of the disease), that is one more column.
    """

    table: str = "iris"

    name: ClassVar[str] = "sklearn"

    def __post_init__(self) -> None:
        choose("table of scikit-learn", self.table, TABLES)

    @property
    def _called(self) -> str:
        return self.table

    def _read(self) -> Content:
        return _content(self.table)


@cache
def _content(table: str) -> Content:
    from sklearn import datasets

    loader, options = TABLES[table]
    bunch: Any = getattr(datasets, loader)(**options)
    names = [name.replace("/", " per ") for name in bunch.feature_names]
    if "target_names" not in bunch:
        return Content(np.column_stack([bunch.data, bunch.target]), None, (), (*names, "progression"))
    classes = tuple(str(name) for name in bunch.target_names)
    return Content(bunch.data.astype(np.float64), bunch.target.astype(np.int64), classes, (*names, "class"), "class")


__all__ = ["TABLES", "Bundled"]
