"""Files of traces: every form in which people have them is read, or refused with what was found."""

import bz2
import gzip
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mec_rllib.sim.traces import csv_file, text_blocks
from mec_rllib.sim.traces.files import read_trace

HEADER = "arrival_s,duration_s,demand,job_class"
ROWS = ["0,3,0.25,interactive", "4,8,0.5,elastic", "10,1.5,0.05,interactive"]
GOOD = "\n".join([HEADER, *ROWS]) + "\n"
TABLE = {
    "arrival_s": [0, 4, 10],
    "duration_s": [3.0, 8.0, 1.5],
    "demand": [0.25, 0.5, 0.05],
    "job_class": ["interactive", "elastic", "interactive"],
}


def assert_good(trace):
    assert trace.arrival_s.tolist() == TABLE["arrival_s"]
    assert trace.duration_s.tolist() == TABLE["duration_s"]
    assert trace.demand[:, 0].tolist() == TABLE["demand"]
    assert trace.class_names == ("elastic", "interactive")
    assert trace.job_class.tolist() == [1, 0, 1]


FORMS = {
    "plain": GOOD.encode(),
    "BOM": b"\xef\xbb\xbf" + GOOD.encode(),
    "CRLF": GOOD.replace("\n", "\r\n").encode(),
    "CR": GOOD.replace("\n", "\r").encode(),
    "no line end": GOOD.rstrip().encode(),
    "empty lines": GOOD.replace("\n", "\n\n").encode(),
    "spaces": GOOD.replace(",", " , ").encode(),
    "capitals": GOOD.replace(HEADER, " Arrival_S,DURATION_S,Demand , JOB_CLASS").encode(),
    "quotes": GOOD.replace("elastic", '"elastic"').replace("demand", '"demand"').encode(),
    "quoted numbers": GOOD.replace("0.25", '"0.25"').encode(),
    "another order": b"job_class,demand,arrival_s,duration_s\n"
    b"interactive,.25,0,3\nelastic,5e-1,4,8\ninteractive,0.05,10,1.5\n",
    "gzip": gzip.compress(GOOD.encode()),
    "two gzips": gzip.compress(GOOD[:60].encode()) + gzip.compress(GOOD[60:].encode()),
    "bz2": bz2.compress(GOOD.encode()),
    "zstd": pa.compress(GOOD.encode(), codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_is_read(tmp_path, form):
    path = tmp_path / "jobs.csv"  # the content counts, not the name
    path.write_bytes(FORMS[form])
    assert_good(read_trace(path))


@pytest.mark.parametrize("classes", [pa.string(), pa.large_string(), "dictionary"])
def test_parquet_is_read(tmp_path, classes):
    table = pa.table(TABLE)
    text = table["job_class"]
    text = text.dictionary_encode() if classes == "dictionary" else text.cast(classes)
    pq.write_table(table.set_column(3, "Job_Class", text), tmp_path / "jobs.parquet")
    assert_good(read_trace(tmp_path / "jobs.parquet"))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("duration_s", [3.0, None, 1.0], "row 2: duration_s must be a number, not ''"),
        ("duration_s", [3.0, 1.0, 0.0], "row 3: duration_s must be above 0, not 0.0"),
        ("arrival_s", [0, 5, 4], "row 3: arrival_s goes back"),
        ("arrival_s", np.array([0, 1, 2], "datetime64[s]"), "must be numbers, not timestamp"),
        ("demand", ["a", "b", "c"], "demand must be numbers, not string"),
        ("job_class", ["a", None, "c"], "row 2: job_class is empty"),
        ("job_class", [[1], [2], [3]], "job_class must be text, not list"),
    ],
)
def test_bad_parquet_is_refused_with_the_row(tmp_path, column, values, message):
    pq.write_table(pa.table(TABLE | {column: values}), tmp_path / "jobs.parquet")
    refuses(tmp_path / "jobs.parquet", message)


def refuses(path, message, **options):
    with pytest.raises(ValueError, match="trace") as caught:
        read_trace(path, **options)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


PARQUET = pa.BufferOutputStream()
pq.write_table(pa.table(TABLE), PARQUET)
REFUSED = {
    "semicolons": (GOOD.replace(",", ";"), f"line 1: found one column '{HEADER.replace(',', ';')}"),
    "which": (GOOD.replace(",", ";"), "separated by ';'?"),
    "tabs": (GOOD.replace(",", "\t"), "separated by 'a tab'?"),
    "a field too many": (f"{GOOD}11,1,0.5,elastic,7\n", "line 5: has 5 fields, the header has 4"),
    "decimal commas": (f"{GOOD}11,1,0,5,elastic\n", "line 5: has 5 fields"),
    "a field too few": (f"{GOOD}\n11,1\n", "line 6: demand must be a number, the row ends"),
    "a column twice": (GOOD.replace(HEADER, f"{HEADER},Demand"), "line 1: column 'demand' is ther"),
    "an unknown column": (
        GOOD.replace(HEADER, f"{HEADER},deadline"),
        "line 1: column 'deadline' is unknown; env.trace.ignore: [deadline] leaves it out",
    ),
    "an index": (GOOD.replace(HEADER, f",{HEADER}"), "column '' is unknown"),
    "a digit grouped": (GOOD.replace(",8,", ",1_000,"), "line 3: duration_s must be a number, not"),
    "an open quote": (f'{GOOD}11,1,0.5,"elastic\n', "line 5"),
    "a quote in the middle": (GOOD.replace("elastic", '"elastic'), "line"),
    "UTF-16": (GOOD.encode("utf-16"), "cannot be read (UTF-16 text; save it as UTF-8)"),
    "Excel": (b"PK\x03\x04" + b"\0" * 99, "cannot be read (a ZIP or Excel file"),
    "zeros": (b"\0" * 9, "not a text file"),
    "Latin-1": (GOOD.encode() + "11,1,0.5,é\n".encode("latin-1"), "not a UTF-8 text file"),
    "a cut gzip": (gzip.compress(GOOD.encode())[:-12], "cannot be read (Truncated"),
    "a cut Parquet": (PARQUET.getvalue().to_pybytes()[:-9], "damaged Parquet"),
    "JSON": ('[{"arrival_s": 0}]\n', "line 1: a JSON array; JSON Lines have one object a line"),
    "only a BOM": (b"\xef\xbb\xbf\n", "column arrival_s is missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_trace_is_refused_with_what_was_found(tmp_path, name):
    content, message = REFUSED[name]
    path = tmp_path / "jobs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refuses(path, message)


def test_further_columns_are_left_out_if_they_are_named(tmp_path):
    lines = [f"{HEADER}, Deadline_S ,user", *(f"{row},9,a" for row in ROWS)]
    (tmp_path / "jobs.csv").write_text("\n".join(lines))
    assert_good(read_trace(tmp_path / "jobs.csv", ignore=["deadline_s", "USER"]))
    refuses(tmp_path / "jobs.csv", "column 'user' is unknown", ignore=["deadline_s"])
    names = ["deadline_s", "user"]
    refuses(tmp_path / "jobs.csv", "ignore: column 'usr' is not there", ignore=[*names, "usr"])
    refuses(tmp_path / "jobs.csv", "ignore: column 'demand' is needed", ignore=[*names, "demand"])


FIELDS = ["0", "1", " 2", "2.5", "1e3", "-1", "nan", "NA", "", "x", "1_0", '"3"', "inf", "elastic"]
LINES = st.one_of(
    st.lists(st.sampled_from(FIELDS), min_size=3, max_size=5).map(",".join),
    st.sampled_from([*ROWS, "", " ", '"', "5,1,1,é", '5,1,1,"a""b"', '5,1,1,a"b', "5,1,1, a "]),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINES, max_size=6),
    end=st.sampled_from(["\n", "\r\n"]),
    block=st.sampled_from([40, 64, 8 * 2**20]),
)
def test_the_fast_reader_says_what_the_slow_one_says(tmp_path, monkeypatch, lines, end, block):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", block)
    path = tmp_path / "jobs.csv"
    path.write_bytes(end.join([HEADER, *lines]).encode())

    def outcome():
        try:
            trace = read_trace(path)
        except ValueError as error:
            return str(error)
        return [column.tolist() for column in trace[:4]], trace.class_names

    fast = outcome()
    with monkeypatch.context() as only_slow:
        only_slow.setattr(csv_file, "_fast_part", lambda *arguments: None)
        assert outcome() == fast


def test_a_fault_far_behind_is_named_by_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 1000)
    lines = [f"{k},1,0.5,elastic" + "\n" * (k % 7 == 0) for k in range(2000)]
    text = "\n".join([HEADER, *lines])
    (tmp_path / "jobs.csv").write_text(text)
    trace = read_trace(tmp_path / "jobs.csv")
    assert len(trace.arrival_s) == 2000
    lines = text.splitlines()
    assert trace.place(1503) == f"line {lines.index('1503,1,0.5,elastic') + 1:,}"
    (tmp_path / "jobs.csv").write_text(text.replace("1503,1,", "1503,0,"))
    refuses(tmp_path / "jobs.csv", f"line {lines.index('1503,1,0.5,elastic') + 1}: duration_s")
    (tmp_path / "jobs.csv").write_text(text.replace("1503,1,", "1501,1,"))
    refuses(tmp_path / "jobs.csv", f"line {lines.index('1503,1,0.5,elastic') + 1}: arrival_s goes")


def test_a_million_rows_are_read_in_a_moment_and_with_progress(tmp_path):
    path, rows = tmp_path / "jobs.csv", 1_000_000
    path.write_text(f"{HEADER}\n" + "".join(f"{k},2.5,0.25,elastic\n" for k in range(rows)))
    told = []
    began = time.process_time()
    trace = read_trace(path, tell=lambda share, jobs: told.append((share, jobs)))
    assert time.process_time() - began < 4.0  # 0.3 s on a quiet machine; Python's reader takes 8
    assert len(trace.arrival_s) == rows
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == (1.0, rows)
