"""Points and side tables: which array of a file is meant, tables in .csv and Parquet, and what is named instead of trained on."""

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import describe
from genzoo.data.drawing.points import scatter
from tests.data_help import read

SMALL = {"made": ["width=8"], "gan": ["width=8", "units=8"], "gmm": ["components=2"]}
"""Settings that make a system fast."""

pytestmark = pytest.mark.usefixtures("fresh_cache")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 16, 16), dtype=np.uint8)
NUMBERS = RNG.integers(0, 10, 40)
TABLE = RNG.normal(size=(40, 6))


# ---- arrays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beside",
    [
        {"y": np.eye(10)[NUMBERS]},
        {"landmarks": TABLE},
        {"latents": TABLE.astype(np.float32), "classes": RNG.integers(0, 3, (40, 6))},
        {"landmarks": RNG.normal(size=(40, 5, 2))},
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_table_beside_images_is_not_what_is_trained_on(tmp_path, beside, first):
    np.savez(tmp_path / "a.npz", **({"faces": IMAGES, **beside} if first else {**beside, "faces": IMAGES}))
    dataset = read(tmp_path / "a.npz", holdout=0)
    assert {i.tobytes() for i in dataset.fields["image"]} == {i.tobytes() for i in IMAGES}


def test_one_hot_labels_are_labels(tmp_path):
    hot = np.eye(10)[NUMBERS]
    np.savez(tmp_path / "a.npz", x_train=IMAGES[:30], y_train=hot[:30], x_test=IMAGES[30:], y_test=hot[30:])
    for split, part in (("train", slice(30)), ("test", slice(30, 40))):
        dataset = read(tmp_path / "a.npz", kind="labelled", split=split)
        known = dict(zip((i.tobytes() for i in IMAGES[part]), NUMBERS[part], strict=True))
        found = [dataset.class_names[k] for k in dataset.fields["label"]]
        assert found == [str(known[i.tobytes()]) for i in dataset.fields["image"]]
    with pytest.raises(UserError, match="holds no points"):
        read(tmp_path / "a.npz", kind="points")


def test_splits_are_of_one_array(tmp_path):
    marks = RNG.normal(size=(40, 5, 2))
    np.savez(
        tmp_path / "a.npz",
        faces_train=IMAGES[:30],
        marks_train=marks[:30],
        faces_test=IMAGES[30:],
        marks_test=marks[30:],
    )
    for split in ("train", "test"):
        dataset = read(tmp_path / "a.npz", split=split)
        assert dataset.facts()["shape"] == (1, 16, 16)
        assert any("not marks_train" in n and "data=a.npz:NAME" in n for n in dataset.notes)


def test_a_name_says_which_array_is_meant(tmp_path):
    np.savez(tmp_path / "a.npz", faces=IMAGES, small=IMAGES[:, :8, :8], marks=TABLE, other=TABLE + 1)
    assert read(f"{tmp_path}/a.npz:small").facts()["shape"] == (1, 8, 8)
    assert read(f"{tmp_path}/a.npz:other", kind="points", holdout=0).fields["points"].mean() > 0.5
    with pytest.raises(UserError, match=r"several tables: marks .*, other .*data=.*a\.npz:NAME"):
        read(tmp_path / "a.npz", kind="points")
    with pytest.raises(UserError, match="no array 'smal' — did you mean 'small'"):
        read(f"{tmp_path}/a.npz:smal")


def test_points_that_are_asked_for_beside_images_are_noted(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, marks=TABLE)
    dataset = read(tmp_path / "a.npz", kind="points", holdout=0)
    assert dataset.fields["points"].shape == (40, 6)
    assert any("'marks' is taken as points, beside images" in n for n in dataset.notes)
    np.savez(tmp_path / "b.npz", points=TABLE)
    assert "points" in read(tmp_path / "b.npz").fields
    np.save(tmp_path / "c.npy", np.arange(80).reshape(40, 2))
    assert read(tmp_path / "c.npy", kind="points", holdout=0).fields["points"].shape == (40, 2)


def test_rows_of_pixels_are_not_points(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES.reshape(40, -1) / 255)
    with pytest.raises(UserError, match=r"reshaped to \[N,H,W\]"):
        read(tmp_path / "a.npy")
    with pytest.raises(UserError, match="1 to 64 columns"):
        read(tmp_path / "a.npy", kind="points")


def test_a_constant_column_and_a_hole_are_named(tmp_path):
    table = TABLE.copy()
    table[:, 2] = 7
    np.save(tmp_path / "a.npy", table)
    with pytest.raises(UserError, match=r"column 2 \(from 0\) is 7 in every row"):
        read(tmp_path / "a.npy")
    table = TABLE.astype(np.float64)
    table[:, 2] = 1e9 + 1e-3 * np.arange(len(table))
    np.save(tmp_path / "a.npy", table)
    with pytest.raises(UserError, match=r"column 2 \(from 0\) varies by 0.039 around 1e\+09.* subtract 1e\+09"):
        read(tmp_path / "a.npy")
    table = TABLE.copy()
    table[5, 3] = np.nan
    np.save(tmp_path / "b.npy", table)
    with pytest.raises(UserError, match=r"1 of 40 points .* row 5, column 3"):
        read(tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", TABLE * 1e300)
    with pytest.raises(UserError, match="too large for float32"):
        read(tmp_path / "c.npy")


# ---- tables ---------------------------------------------------------------------------------------------------------

HEAD = "height,weight\n"
ROWS = [(170.5, 60), (180.25, 75), (165, 58), (190, 90)]


def csv(path, mark=",", head=True, decimal="."):
    lines = [mark.join(str(float(v)).replace(".", decimal) for v in row) for row in ROWS]
    path.write_text("\n".join([mark.join(["height", "weight"])] * head + lines) + "\n", encoding="utf-8-sig")
    return path


@pytest.mark.parametrize(
    ("name", "mark", "head", "decimal"),
    [
        ("a.csv", ",", True, "."),
        ("a.csv", ",", False, "."),
        ("a.tsv", "\t", True, "."),
        ("a.csv", ";", True, ","),
        ("a.csv", " ", True, "."),
    ],
)
@pytest.mark.parametrize("kind", ["points", "image"])
def test_a_table_is_points(tmp_path, name, mark, head, decimal, kind):
    dataset = read(csv(tmp_path / name, mark, head, decimal), kind=kind, holdout=0)
    assert sorted(map(tuple, dataset.fields["points"].tolist())) == sorted(ROWS)
    assert describe(dataset)["columns"] == (["height", "weight"] if head else ["0", "1"])
    assert dataset.fields["points"].dtype == np.float32


def test_columns_that_are_no_numbers_are_left_out_and_named(tmp_path):
    lines = ["# people", ",name,height,weight,born"] + [
        f"{i},Ann {i},{170 + i},{60.5 - i},1990-01-0{i + 1}" for i in range(4)
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    dataset = read(tmp_path / "a.csv", holdout=0)
    assert dataset.columns == ["height", "weight"]
    (note,) = [n for n in dataset.notes if "left out" in n]
    assert "'column 0' (it counts the rows)" in note
    assert "'name' (no numbers: 'Ann 0')" in note, "what stands there tells why: a date, 1,000, a unit"
    assert "'born' (no numbers: '1990-01-01')" in note


@pytest.mark.parametrize("cell", ["", "n/a", "NaN", "1O5", "null"])
def test_a_missing_cell_is_named_by_row_and_column(tmp_path, cell):
    (tmp_path / "a.csv").write_text(f"{HEAD}170,60\n180,{cell}\n165,58\n")
    with pytest.raises(
        UserError, match=r"a\.csv: 1 of 3 cells of column 'weight' are no numbers, the first in row 3 \("
    ):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"height\nabc\n", "no column of numbers"),
        (b"a,b\n1,2\n3\n", "row 3 has 1 cells"),
        (b"a,b\n1,5\n2,5\n", "column 'b' is 5 in every row"),
        (b"a,b\n1,inf\n2,5\n", "row 2, column 'b'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "a PNG picture"),
        (b"PK\3\4" + bytes(60), "a zip archive"),
        (b"a\xe4,b\n1,2\n", "no t"),
        (b"a,b\n", "no"),
    ],
)
def test_what_is_no_table_is_said_in_one_line(tmp_path, content, said):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "a.csv")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "a.csv" in str(caught.value)


def test_a_table_is_no_images(tmp_path):
    csv(tmp_path / "a.csv")
    for kind in ("paired", "video", "audio", "voxels"):
        with pytest.raises(UserError):
            read(tmp_path / "a.csv", kind=kind)


def test_parquet_without_its_extra_says_what_to_do(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(60))
    with pytest.raises(UserError, match=r"genzoo\[tables\]"):
        read(tmp_path / "a.parquet")


def test_parquet_is_points(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"height": [r[0] for r in ROWS], "weight": [r[1] for r in ROWS], "name": list("abcd")}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    dataset = read(tmp_path / "a.parquet", holdout=0)
    assert sorted(map(tuple, dataset.fields["points"].tolist())) == sorted(ROWS)
    assert any("'name' (no numbers)" in n for n in dataset.notes)
    parquet.write_table(pa.table({"height": [1.0, None, 3.0]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="1 of 3 cells of column 'height' are empty, the first in row 1"):
        read(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:100])
    with pytest.raises(UserError, match="Parquet") as caught:
        read(tmp_path / "c.parquet")
    assert "magic" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_in_another_encoding_is_read_or_the_encoding_is_named(tmp_path, encoding):
    text = "größe,gewicht\n" + "\n".join(f"{h},{w}" for h, w in ROWS)
    (tmp_path / "a.csv").write_text(text, encoding=encoding)
    assert read(tmp_path / "a.csv", holdout=0).columns == ["größe", "gewicht"]
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"a\.csv is no table of numbers: it is not text in UTF-8; save it as UTF-8"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("text", ["# only a remark\n", "x,y\n"])
def test_a_table_without_rows_is_said(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=r"a\.csv has no rows"):
        read(tmp_path / "a.csv")


def test_a_first_row_of_numbers_is_data_and_said(tmp_path):
    (tmp_path / "a.csv").write_text("2019,2020\n1,5\n2,7\n4,6\n")
    dataset = read(tmp_path / "a.csv", holdout=0)
    assert len(dataset) == 4
    assert any("the first row is numbers, and read as data" in n for n in dataset.notes)
    assert not any("the first row" in n for n in read(csv(tmp_path / "b.csv"), holdout=0).notes)


def lit(page):
    """Where a page is coloured as points are, [size, size], in fractions of its side."""
    return np.argwhere((page[..., 0] < 100) & (page[..., 2] > 150)) / len(page)


def test_points_in_other_units_are_drawn_with_their_ranges_written_on_the_page():
    normal = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([170.0, 70000.0]) + normal * torch.tensor([10.0, 9000.0])
    page = scatter(points)
    at = lit(page)
    assert len(at) > 400
    assert (at.min(0) < 0.25).all(), "they fill the page"
    assert (at.max(0) > 0.75).all()
    assert (page[:20] < 255).any(), "their ranges"
    small = scatter(0.01 * normal)
    assert (lit(small).min(0) < 0.25).all(), "no single dot"
    assert (lit(small).max(0) > 0.75).all()
    assert (small[:20] < 255).any()
    inside = scatter(points.new_tensor([[1.0, 2.0]]))
    assert np.allclose(lit(inside).mean(0), [0.25, 0.625], atol=0.01), "[-4, 4]² where they lie in it"
    assert (inside[:20] == 255).all()


def test_one_column_is_drawn_as_a_histogram():
    page = scatter(torch.cat([torch.full((30, 1), -2.0), torch.full((10, 1), 2.0)]))
    tall, low = (page[:, int(at * len(page)), 0] < 255 for at in (0.26, 0.74))
    assert tall.sum() == pytest.approx(3 * low.sum(), abs=2)
    assert low.sum() > 50
    assert len(lit(scatter(torch.full((5, 1), 1e6))))
    assert not len(lit(scatter(torch.full((5, 1), torch.nan)))), "nothing finite, an empty page"


@pytest.mark.parametrize("name", ["made", "gan", "gmm"])
def test_a_table_of_one_column_is_trained_on_and_shown(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    r = np.random.default_rng(0)
    (tmp_path / "a.csv").write_text("x\n" + "\n".join(f"{v:.4f}" for v in r.normal(170, 5, 60)))
    assert main(["data", "show", "a.csv", "out=a.png"]) == 0
    assert len(lit(np.asarray(Image.open("a.png"))))
    assert main(["train", name, "data=a.csv", "steps=2", "batch=8", "name=a", *SMALL.get(name, [])]) == 0
    assert main(["sample", "runs/a", "n=8", "out=b.png"]) == 0
