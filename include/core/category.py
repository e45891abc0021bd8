"""A text column as a category: the texts that it has, and what each becomes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from include.core.text import word

OTHER = "other"


class Category(BaseModel, frozen=True, extra="forbid", use_attribute_docstrings=True):
    """What a text column of features.sql becomes."""

    values: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    """Its texts, exactly as they stand there. The code of a text is its place, from 1: append new ones. To remove or
    reorder them changes what the feature means: select it by another name, and take another ``version``."""
    unseen: Literal["missing", "other", "fail"]
    """What a text that is not among the values becomes. ``missing``: null. ``other``: the code 0, or a 0/1 feature of
    its own. ``fail``: the step stops."""
    encode: Literal["codes", "one_hot"] = "codes"
    """``codes``: one feature, which the algorithms take for a category; null stays null. ``one_hot``: a 0/1 feature for
    each value, ``<column>_<value>``; null is 0 in all of them."""

    @field_validator("values")
    @classmethod
    def _differ(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if repeated := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"{', '.join(map(repr, repeated))} is there more than once")
        return values

    @model_validator(mode="after")
    def _names_differ(self) -> Category:
        known: dict[str, str] = {}
        for value in self.values if self.encode == "one_hot" else ():
            end = word(value)
            if not end:
                raise ValueError(f"values: {value!r} has no letter or digit to name a feature by: take encode: codes")
            if end == OTHER and self.unseen == "other":
                raise ValueError(f"values: {value!r} names a feature as unseen: other does")
            if (first := known.setdefault(end, value)) != value:
                raise ValueError(f"values: {first!r} and {value!r} both name a feature …_{end}")
        return self

    @property
    def codes(self) -> dict[str, int]:
        """By text its code."""
        return {value: place for place, value in enumerate(self.values, start=1)}

    @property
    def texts(self) -> dict[int, str]:
        """By code its text, or `OTHER`."""
        return {0: OTHER} | {code: value for value, code in self.codes.items()}

    def one_hot(self, column: str) -> dict[str, str | None]:
        """By name of a 0/1 feature the text that it stands for; None stands for all that are not among the values."""
        names: dict[str, str | None] = {f"{column}_{word(value)}": value for value in self.values}
        return names | ({f"{column}_{OTHER}": None} if self.unseen == "other" else {})
