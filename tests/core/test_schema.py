"""A signature read as a form."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

import genzoo
from genzoo.cli.settings import json_schema, table
from genzoo.core import schema
from genzoo.core.errors import UserError, nearest
from genzoo.core.system import System
from genzoo.data import DataSettings


class Toy(System):
    """A system for these tests.

    Args:
        shape: Shape of an example.
        width: Channels of the first layer,
            continued on a second line.
        objective: The game.
        rates: Two rates.
        limit: A limit or none.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        width: Annotated[int, Field(ge=1, le=64)] = 8,
        objective: Literal["minimax", "hinge"] = "hinge",
        rates: tuple[float, float] = (0.5, 0.999),
        limit: Annotated[float, Field(gt=0)] | None = None,
    ) -> None:
        super().__init__()


def test_hparams_are_the_bound_arguments():
    toy = Toy((1, 8, 8), width=4)
    assert toy.hparams == {"shape": (1, 8, 8), "width": 4, "objective": "hinge", "rates": (0.5, 0.999), "limit": None}


def test_words_of_a_command_line_are_read_as_the_type_asks():
    toy = Toy(shape="1x8x8", width="4", rates="0.1, 0.2", limit="none")
    assert toy.hparams == {"shape": (1, 8, 8), "width": 4, "objective": "hinge", "rates": (0.1, 0.2), "limit": None}
    assert Toy(limit="2.5").hparams["limit"] == 2.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 3}, "no setting 'widht' — did you mean 'width'"),
        ({"width": 65}, r"width=65 is not allowed; give integer, at least 1, at most 64 \(default 8\)"),
        ({"width": "many"}, "width=many is not allowed; give integer"),
        ({"objective": "wgan"}, "give minimax | hinge"),
        ({"rates": "0.1"}, "rates=0.1 is not allowed; give 2 numbers"),
        ({"limit": 0}, "limit=0 is not allowed; give number, more than 0 or none"),
        ({"width": 0, "objective": "x"}, "width=0.*objective=x"),
    ],
)
def test_a_wrong_value_is_answered_with_what_is_allowed(values, message):
    with pytest.raises(UserError, match=message):
        Toy(**values)


def test_the_table_and_the_json_schema_carry_docs_and_bounds():
    rows = {row[0]: row for row in table(Toy)}
    assert rows["shape"][1] == "from the data"
    assert rows["width"][1:] == (
        "8",
        "integer, at least 1, at most 64",
        "Channels of the first layer, continued on a second line.",
    )
    width = json_schema(Toy)["properties"]["width"]
    assert (width["minimum"], width["maximum"], width["default"]) == (1, 64, 8)
    assert width["description"].startswith("Channels")


def test_star_arguments_are_no_configuration():
    def loose(**kwargs: int) -> None: ...

    with pytest.raises(TypeError, match="name every argument"):
        schema.settings(loose)


def test_nearest_is_silent_when_nothing_is_near():
    assert nearest("dcgna", ["dcgan", "vae"]) == " — did you mean 'dcgan'?"
    assert nearest("fdl", ["FLD", "FID"]) == " — did you mean 'FLD'?"
    assert nearest("qqqq", ["dcgan"]) == ""
    assert nearest("nofile.png", ["sample.png"]) == "", "their endings alone are alike"


def test_a_choice_of_numbers_is_read_from_the_command_line():
    assert schema.check(DataSettings, {"data": "x", "bits": "16"})["bits"] == 16
    assert schema.check(DataSettings, {"data": "x", "bits": 16})["bits"] == 16
    with pytest.raises(UserError, match=r"bits=12 is not allowed; give 8 \| 16"):
        schema.check(DataSettings, {"data": "x", "bits": "12"})
    assert genzoo.create("pixelcnn", levels="4").hparams["levels"] == 4


def test_none_as_a_choice_is_that_choice_and_not_left_open():
    """`decay=none` of a system whose own default is a decay was taken for nothing said."""

    def schedule(decay: Literal["none", "linear"] | None = None, side: int | None = 3) -> None:
        """Build a schedule."""

    assert schema.check(schedule, {"decay": "none", "side": "none"}) == {"decay": "none", "side": None}
    assert schema.check(schedule, {"decay": ""})["decay"] is None
