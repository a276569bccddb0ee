"""Columns of a table of points that are no features: names of the rows, and the part that a row belongs to."""

import pytest

from genzoo.data import DataSettings, open_data


def table(path, head, rows):
    path.write_text("\n".join([head, *(",".join(map(str, r)) for r in rows)]) + "\n")
    return path


ROWS = [(1000 + 7 * i, round(0.1 * i, 2), (i * 37) % 11) for i in range(20)]


@pytest.mark.parametrize("name", ["id", "ID", "customer_id", "customerId", "index", "uuid", "row id"])
def test_a_column_that_names_the_rows_is_left_out(tmp_path, name):
    data = open_data(DataSettings(str(table(tmp_path / "t.csv", f"{name},x,y", ROWS))), kind="points", quiet=True)
    assert data.facts()["shape"] == (2,)
    assert any(
        f"left out: column '{name}' (it names the rows; call it otherwise to learn from it)" in n for n in data.notes
    )


@pytest.mark.parametrize(("name", "rows"), [
    ("width", ROWS), ("humid", ROWS), ("grid", ROWS),  # ends in id, and says something else
    ("id", [(i % 5, *r[1:]) for i, r in enumerate(ROWS)]),  # a class
    ("id", [(i + 0.5, *r[1:]) for i, r in enumerate(ROWS)]),  # a quantity
])  # fmt: skip
def test_a_column_that_does_not_is_learned_from(tmp_path, name, rows):
    data = open_data(DataSettings(str(table(tmp_path / "t.csv", f"{name},x,y", rows))), kind="points", quiet=True)
    assert data.facts()["shape"] == (3,)


def test_a_column_of_parts_tells_the_parts(tmp_path):
    path = table(tmp_path / "t.csv", "x,y,split", [(*r[1:], "test" if i > 13 else "train") for i, r in enumerate(ROWS)])
    train, test = (open_data(DataSettings(str(path)), kind="points", split=s, quiet=True) for s in ("train", "test"))
    assert (len(train), len(test), train.facts()["shape"]) == (14, 6, (2,))
    assert any("'split' (it tells the parts)" in n for n in train.notes)
    path = table(
        tmp_path / "u.csv",
        "x,y,subset",
        [(*r[1:], ("train", "val", "test")[min(i // 8, 2)]) for i, r in enumerate(ROWS)],
    )
    train, test = (open_data(DataSettings(str(path)), kind="points", split=s, quiet=True) for s in ("train", "test"))
    assert (len(train), len(test)) == (8, 4)
    assert any("the validation part (8 rows) is not used" in n for n in train.notes)
    path = table(tmp_path / "v.csv", "x,y,split", [(*r[1:], "north") for r in ROWS])
    data = open_data(DataSettings(str(path)), kind="points", quiet=True)
    assert any(
        "'split' (not read as parts: it says 'north', which is no word for train, test or val)" in n for n in data.notes
    )
