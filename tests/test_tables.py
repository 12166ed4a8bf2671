"""Tables of numbers: what is read is what was written, what is drawn reads back, and every fault is one sentence."""

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unnoise.config import UserError, build
from unnoise.data import SOURCES, SPLITS, Bundled, Items, Source, Table, join, settled, standard
from unnoise.data.split import divide
from unnoise.data.standard import decimals
from unnoise.metrics import protocol
from unnoise.modality import MODALITIES, Modality, Points
from unnoise.reading.delimited import missing
from unnoise.report import tables


def written(folder: Path, text: str | bytes, name: str = "t.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def rows(count: int = 40, seed: int = 0) -> np.ndarray:
    return np.round(np.random.default_rng(seed).normal([3, -200, 1e4], [1, 40, 3e3], (count, 3)), 2)


def lines(numbers: np.ndarray, header: str = "a,b,c", mark: str = ",", labels: Any = None) -> str:
    body = [
        [repr(float(v)) for v in row] + ([] if labels is None else [str(labels[i])]) for i, row in enumerate(numbers)
    ]
    return "\n".join([header, *(mark.join(row) for row in body)]) + "\n"


def everything(source: Source) -> Items:
    return join(*(source.split(name) for name in SPLITS))


def same_rows(x: np.ndarray, y: np.ndarray) -> bool:
    return np.array_equal(x[np.lexsort(x.T)], y[np.lexsort(y.T)])


def points(source: Source, **fields: Any) -> Points:
    made, _ = build(Modality, settled({"kind": "data", **fields}, source), {Modality: MODALITIES}, "modality")
    assert isinstance(made, Points)
    return made


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_number_of_a_file_is_read_whatever_divides_it(tmp_path: Path, mark: str, start: str, end: str) -> None:
    numbers = rows()
    text = start + lines(numbers, mark.join(["a", '"b, or b"', "c"]), mark).replace("\n", end)
    table = Table(path=written(tmp_path, text))
    assert same_rows(everything(table).items, numbers)
    assert standard(table)["header"] == ["a", "b, or b", "c"]


def test_a_table_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "\n".join(lines(rows()).splitlines()[1:]))
    assert standard(Table(path=path))["header"] == ["x1", "x2", "x3"]
    assert same_rows(everything(Table(path=path)).items, rows())
    years = written(tmp_path, "1999,2000\n" + "".join(f"{i},{i * i % 7}\n" for i in range(5, 30)), "years.csv")
    assert standard(Table(path=years, header=True))["header"] == ["1999", "2000"]
    assert len(everything(Table(path=years))) == 26


def test_columns_labels_and_what_is_dropped(tmp_path: Path) -> None:
    numbers, names = rows(60), np.array(["10", "9", "9"] * 20)
    path = written(tmp_path, lines(numbers, "a,b,c,kind", labels=names))
    table = Table(path=path, label="kind", drop=("b",))
    assert table.classes == ("9", "10")  # whole numbers by size
    assert table.counts == {"9": 40, "10": 20}
    found = everything(table)
    assert same_rows(
        np.column_stack([found.items, np.array([9, 10])[found.cond["label"]]]),
        np.column_stack([numbers[:, [0, 2]], names.astype(float)]),
    )
    assert standard(table)["header"] == ["a", "c", "kind"]
    chosen = Table(path=path, columns=("c", "kind"))
    assert standard(chosen)["header"] == ["c", "kind"]
    assert chosen.classes == ()
    words = Table(path=written(tmp_path, lines(numbers, "kind,b,c").replace("\n3", "\nno"), "w.csv"), label="b")
    assert words.raw == "points"


def test_parts_depend_on_content_alone(tmp_path: Path) -> None:
    numbers = np.repeat(rows(60), 2, axis=0)
    labels = np.arange(120) % 2
    path = written(tmp_path, lines(numbers, "a,b,c,y", labels=labels))
    first = Table(path=path, label="y", held_out=0.2)
    kinds = [
        {(*row, k) for row, k in zip(p.items.tolist(), p.cond["label"], strict=True)} for p in map(first.split, SPLITS)
    ]
    assert not kinds[0] & kinds[1] | kinds[0] & kinds[2] | kinds[1] & kinds[2]
    order = np.random.default_rng(1).permutation(120)
    other = Table(
        path=written(tmp_path, lines(numbers[order], "a,b,c,y", labels=labels[order]), "o.csv"), label="y", held_out=0.2
    )
    for name in SPLITS:
        assert same_rows(first.split(name).items, other.split(name).items)
    assert first.digest != other.digest  # the order of items is the order of training
    assert first.digest == Table(path=written(tmp_path, Path(path).read_bytes(), "p.csv"), label="y").digest
    digests = [bytes([k]) for k in range(99)]
    assert all(np.array_equal(divide(digests)[n], divide(digests)[n]) for n in SPLITS)


def test_missing_values_are_refused_with_their_counts_or_their_rows_dropped(tmp_path: Path) -> None:
    text = lines(rows()).splitlines()
    text[3], text[9], text[10] = "NA,1,2", "1,,2", "?,nan,3"
    path = written(tmp_path, "\n".join(text))
    with pytest.raises(UserError, match=r"misses 4 values \(2 in 'a', 2 in 'b'\) in 3 of 40 rows"):
        Table(path=path).split("train")
    table = Table(path=path, missing="drop")
    assert same_rows(everything(table).items, np.delete(rows(), [2, 8, 9], axis=0))
    assert "3 of 40 rows miss a value" in table.warnings[0]
    assert [name for name, _ in table.skipped] == ["line 4", "line 10", "line 11"]
    labelled = written(
        tmp_path, "a,y\n" + "".join(f"{i * 1.5},{'pq'[i % 2] if i else ''}\n" for i in range(30)), "l.csv"
    )
    with pytest.raises(UserError, match="1 in 'y'"):
        Table(path=labelled, label="y").split("train")
    assert Table(path=labelled, label="y", missing="drop").classes == ("p", "q")


def test_odd_columns_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = np.column_stack(
        [np.arange(1, 201), np.full(200, 7.25), np.exp(3 * rng.standard_normal(200)), rng.random(200)]
    )
    table = Table(path=written(tmp_path, lines(numbers, "id,same,tail,fine")))
    said = " ".join(table.warnings)
    assert "'id' only numbers the rows" in said
    assert "'same' has the same value" in said
    assert "'tail' has heavy tails" in said
    assert "'fine'" not in said
    assert standard(table)["header"] == ["same", "tail", "fine"]
    assert standard(table)["scale"][0] == 1.0
    modality = points(table)
    assert np.array_equal(
        modality.quantise(modality.encode(table.split("test").items))[:, 0], np.full(len(table.split("test")), 7.25)
    )
    assert len(standard(Table(path=table.path, columns=("id", "fine")))["mean"]) == 2


def test_a_class_without_a_training_row_is_told(tmp_path: Path) -> None:
    labels = ["once", *["often"] * 99]
    path = written(tmp_path, lines(rows(100), "a,b,c,y", labels=labels))
    said = [Table(path=path, label="y", held_out=0.4, seed=seed) for seed in range(20)]
    for table in said:
        there = "once" in {table.classes[k] for k in table.split("train").cond["label"]}
        assert ("no training item of the label 'once'" in " ".join(table.warnings)) != there
    assert any(table.warnings for table in said)


def test_statistics_are_the_training_parts_and_stand_in_the_recipe(tmp_path: Path) -> None:
    table = Table(path=written(tmp_path, lines(rows(300))), held_out=0.3)
    node, train = standard(table), table.split("train").items
    assert np.allclose(node["scale"], train.std(axis=0), rtol=1e-5)
    assert np.allclose(np.array(node["mean"]), train.mean(axis=0), atol=1e-5 * np.array(node["scale"]).max())
    x = points(table).encode(train).numpy()
    assert np.allclose(x.mean(axis=0), 0, atol=2e-5)
    assert np.allclose(x.std(axis=0), 1, atol=2e-5)
    assert settled("points", table) == "points"  # what a run has written down is not touched
    assert settled(node, table) is node
    assert settled({"kind": "data", "dequantise": True}, table) == {**node, "dequantise": True}


def test_samples_stay_within_the_range_of_the_data() -> None:
    modality = points(Bundled(table="wine"))
    every = everything(Bundled(table="wine")).items
    drawn = modality.quantise(100 * torch.randn(500, 13, generator=torch.Generator().manual_seed(0)))
    assert np.array_equal(drawn.min(axis=0), every.min(axis=0))
    assert np.array_equal(drawn.max(axis=0), every.max(axis=0))
    with pytest.raises(UserError, match="from low to high"):
        Points(low=(1.0,), high=(0.0,))


numbers = st.integers(0, 3).flatmap(
    lambda places: st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=30).map(
        lambda whole: (places, np.array(whole, np.float64) / 10**places)
    )
)


@settings(max_examples=60, deadline=None)
@given(column=numbers, exponent=st.integers(-6, 6))
def test_decimals_are_the_fewest_that_write_a_column(column: tuple[int, np.ndarray], exponent: int) -> None:
    places, values = column
    found = decimals(values, 1e-9)
    assert found is not None
    assert found <= places
    assert np.array_equal([float(f"{v:.{found}f}") for v in values], values)
    assert found == 0 or any(float(f"{v:.{found - 1}f}") != v for v in values)
    thirds, held = values + 1 / 3, max(0, 6 - exponent)  # never written out: as many as float32 brings back
    found = decimals(thirds, 10.0**exponent)
    assert found == held or (found is not None and found < held and np.array_equal(np.round(thirds, found), thirds))


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    columns=st.lists(numbers, min_size=1, max_size=4),
    labels=st.lists(words.filter(lambda word: not missing(word)), min_size=2, max_size=3, unique=True),
    seed=st.integers(0, 99),
)
def test_what_is_drawn_reads_back(
    tmp_path_factory: pytest.TempPathFactory, columns: Any, labels: list[str], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    raw = np.column_stack([rng.choice(values, 40) for _, values in columns]) + 0.0
    names = [f"c {k}" for k in range(len(columns))]
    header = (*names[:1], "the class", *names[1:])
    known = Points(
        mean=tuple(raw.mean(axis=0).tolist()),
        scale=tuple((raw.std(axis=0) + 0.1).tolist()),
        header=header,
        label="the class",
        decimals=tuple(places for places, _ in columns),
        dequantise=bool(seed % 2),
    )
    drawn = known.quantise(known.encode(raw, rng))
    assert np.array_equal(drawn, raw)  # the law of every modality, with a generator
    given = [labels[k] for k in rng.integers(0, len(labels), 40)]
    given[: len(labels)] = labels
    folder = tmp_path_factory.mktemp("csv")
    path = written(folder, known.table(drawn, given))
    with open(path, encoding="utf-8", newline="") as file:
        fields = list(csv.reader(file))
    assert tuple(fields[0]) == header
    assert [row[1] for row in fields[1:]] == given
    assert np.array_equal(np.array([row[:1] + row[2:] for row in fields[1:]], float), raw)
    assert all("." not in row[0] for row in fields[1:]) or columns[0][0]  # whole numbers stay whole
    bare = next(csv.reader(io.StringIO(known.table(drawn))))
    assert bare == names


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999), places=st.integers(0, 6), scale=st.floats(1e-3, 1e5), u=st.sampled_from([-1.0, 0.0, 1.0])
)
def test_rounding_undoes_the_noise_in_a_cell(seed: int, places: int, scale: float, u: float) -> None:
    class Fixed(np.random.Generator):
        def uniform(self, low: float, high: float, shape: Any) -> np.ndarray:  # type: ignore[override]
            return np.full(shape, u)

    raw = np.round(np.random.default_rng(seed).standard_t(2, (50, 1)) * scale, places)
    wide = Points(mean=(0.1 * scale,), scale=(scale,), decimals=(places,), dequantise=True)
    cell = 10.0**-places
    x = wide.encode(raw, Fixed(np.random.PCG64(0)))
    resolved = np.abs(raw).max() * 2.0**-22 < cell
    if resolved:
        assert np.array_equal(wide.quantise(x), np.round(raw, places) + 0.0)
    if u and cell >= 0.25 * scale:
        assert torch.equal(x, wide.encode(raw))  # values that stand apart are left alone
    elif u and cell > 2e-3 * scale:
        assert (np.abs(x.numpy() * scale + 0.1 * scale - raw) > 0.4 * cell).mean() > 0.9


def test_noise_in_a_cell_is_uniform() -> None:
    modality = Points(mean=(5.0,), scale=(0.6,), decimals=(1,), dequantise=True)
    x = modality.encode(np.full((20_000, 1), 5.1), np.random.default_rng(0)).double().numpy()[:, 0]
    share = (x * 0.6 + 5.0 - 5.1) / 0.1 + 0.5
    from scipy import stats

    assert stats.kstest(share, "uniform").pvalue > 1e-3
    assert torch.allclose(modality.encode(np.full((1, 1), 5.1)), torch.tensor([[1 / 6]]))


class Given(Source):
    """Items as they are given."""

    name = "given"

    def __init__(self, items: np.ndarray) -> None:
        self.items = items

    @property
    def raw(self) -> str:
        return "points"

    def _split(self, name: str) -> Items:
        first, last = {"train": (0, 200), "validation": (200, 300), "test": (300, 400)}[name]
        return Items(self.items[first:last])


def test_measures_do_not_depend_on_the_units_of_columns() -> None:
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((400, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.3], [0, 0, 1]])
    drawn = rng.standard_normal((20, 100, 3)) * 1.2
    found: list[dict[str, tuple[float, float]]] = []
    for units in (np.ones(3), np.array([2.0**-10, 1, 2.0**14])):  # powers of two: nothing is rounded
        rules = protocol(Given(raw * units), modality=Points(scale=tuple(units.tolist())))
        found.append({m.name: (m.value, m.floor) for m in rules.measure(drawn * units)})
    assert set(found[0]) == {"sliced_wasserstein", "two_sample", "coverage", "near_copies"}
    assert found[0] == found[1]
    blind = protocol(Given(raw * units)).measure(drawn * units)
    assert blind[0].value > 1000 * found[0]["sliced_wasserstein"][0]  # what units would do to it


FAULTS = [
    ("", "is empty"),
    ("a,b\n", "a header and no row"),
    ("a,b\n1,2\n", "at least 3 different items, got 1"),
    ("a,b\n1,2\n3\n", r"line 3: 1 fields where the first line has 2"),
    ("a,b\n1,2\n3,4,5\n", r"line 3: 3 fields where the first line has 2"),
    (
        "a,b\n1,2\n3,red\n4,5\n",
        r"line 3: column 'b' has 'red' where a number is expected; make it the label .label: b.",
    ),
    ("a;b\n1;2\n3,5;4\n", "write numbers with a decimal point"),
    ("a,b\n1,2\n1_000,4\n", "column 'a' has '1_000'"),
    ("a,b\n1,2\n-inf,4\n5,6\n", r"line 3: column 'a' has -inf \(1 such in all\); expected finite"),
    ("a,b\n1,2\n1e300,4\n5,6\n", "1e\\+100 at most"),
    ("a,b,a\n1,2,3\n", r"2 columns named 'a' \(numbers 1, 3\)"),
    (b"a,b\n1,2\n3,\xe9\n", "not in UTF-8 .byte 0xe9 in line 3.: save it as UTF-8"),
    ("a,b\n1,2\n".encode("utf-16"), "it is in UTF-16"),
    ('a,b\n1,2\n3,"4\n', "line 3: .*as a row of fields"),
]


@pytest.mark.parametrize(("text", "words"), FAULTS)
def test_faults_of_a_file_are_told_in_one_sentence(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as told:
        Table(path=written(tmp_path, text)).split("train")
    assert "\n" not in str(told.value)
    assert "t.csv" in str(told.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label": "speceis"}, "no column 'speceis' .label.; did you mean 'species'"),
        ({"columns": ["b", "sum"]}, "no column 'sum' .columns."),
        ({"drop": ["z"]}, "no column 'z' .drop."),
        ({"label": "a", "columns": ["a", "b"]}, "'a' is the label, so it is no column"),
        ({"drop": ["a", "b", "species"]}, "no column of numbers left"),
        ({"label": "a", "drop": ["species"]}, "the label 'a' has 30 different values in 30 rows"),
        ({"delimiter": "ab"}, "a delimiter is one character"),
        ({"missing": "guess"}, "'refuse' or 'drop'"),
        ({"path": "no.csv"}, "there is no data at .*no.csv"),
        ({}, "label: species"),
    ],
)
def test_mistakes_of_a_recipe_are_told_in_one_sentence(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    body = "".join(f"{i * 0.5},{i * i},{'rs'[i % 2]}\n" for i in range(30))
    path = written(tmp_path, "a,b,species\n" + body)
    with pytest.raises(UserError, match=words):
        build(Source, {"kind": "table", "path": path, **fields}, {Source: SOURCES}, "data")[0].split("train")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs the parquet extra")
def test_parquet_is_read_as_the_same_table(tmp_path: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    numbers, labels = rows(50), ["p", "q"] * 25
    whole = np.arange(50) % 7
    columns = {"a": numbers[:, 0], "b": whole, "y": labels}
    path = str(tmp_path / "t.parquet")
    parquet.write_table(arrow.table(columns), path)
    text = "a,b,y\n" + "".join(
        f"{a!r},{b},{y}\n" for a, b, y in zip(numbers[:, 0].tolist(), whole, labels, strict=True)
    )
    one, other = Table(path=path, label="y"), Table(path=written(tmp_path, text), label="y")
    assert standard(one) == standard(other)
    assert standard(one)["decimals"] == [2, 0]
    for name in SPLITS:
        assert np.array_equal(one.split(name).items, other.split(name).items)
    with pytest.raises(UserError, match="column 'y' is of the type string"):
        Table(path=path).split("train")
    parquet.write_table(arrow.table({"a": [1.0, None, 2.0, 3.0], "b": [1, 2, 3, 4]}), path)
    with pytest.raises(UserError, match=r"misses 1 value \(1 in 'a'\)"):
        Table(path=path).split("train")
    Path(path).write_bytes(b"no parquet")
    with pytest.raises(UserError, match="no parquet file, or a damaged one"):
        Table(path=path).split("train")


def test_without_the_extra_parquet_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'unnoise\[parquet\]'"):
        Table(path=written(tmp_path, b"PAR1", "t.parquet")).split("train")


@pytest.mark.parametrize(
    ("table", "width", "count"),
    [("iris", 4, 150), ("wine", 13, 178), ("breast_cancer", 30, 569), ("diabetes", 11, 442)],
)
def test_bundled_tables_are_the_published_ones(table: str, width: int, count: int) -> None:
    source = Bundled(table=table)
    found = everything(source)
    assert found.items.shape == (count, width)
    assert sum(source.counts.values()) in (0, count)
    node = standard(source)
    assert len(node["header"]) == width + bool(source.classes)
    modality = points(source)
    assert np.array_equal(modality.quantise(modality.encode(found.items)), found.items)
    with pytest.raises(UserError, match="did you mean 'wine'"):
        Bundled(table="wien")


def test_histograms_and_correlations_of_a_report() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((3000, 3)) * [1, 10, 1] + [0, 50, 0]
    real[:, 1], real[:, 2] = np.rint(real[:, 1]), real[:, 0] + 0.1 * real[:, 2]
    drawn = real[:1000] + np.array([0, 30, 0])
    columns = tables.Columns(drawn, real, ["a", "b", "c"])
    assert "'b' is furthest off" in columns.note
    cells = tables.edges(drawn[:, 1], real[:, 1])
    assert np.allclose(np.diff(cells) % 1, 0)  # each holds as many whole numbers as any other
    assert np.allclose(cells % 1, 0.5)
    assert np.allclose(tables.edges(np.zeros(3), np.array([0.0, 1, 1, 3])), [-0.5, 0.5, 2, 4])
    assert tables.apart(real[:, 0], real[:, 0]) == 0
    assert tables.apart(real[:, 0], real[:, 0] + 100) == 1
    assert np.allclose(tables.correlations(real), np.corrcoef(real.T))
    assert np.array_equal(tables.correlations(np.ones((5, 2))), np.zeros((2, 2)))
    many = tables.Columns(
        rng.standard_normal((99, 40)) + (np.arange(40) == 33), rng.standard_normal((99, 40)), [*map(str, range(40))]
    )
    assert len(many.shown) == tables.SHOWN
    assert many.shown[0] == 33
    for theme in ("light", "dark"):
        assert len(tables.histograms(columns, theme).axes) == 3
        assert len(tables.matrices(columns, theme).axes) == 3  # two matrices and their scale
