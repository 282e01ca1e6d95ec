"""What a job says of itself: deadline, slack, weight, demands of several kinds; names and units."""

import gzip
import json
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mec_rllib.cli import main
from mec_rllib.config.load import build
from mec_rllib.envs.config import EnvConfig
from mec_rllib.errors import ConfigError
from mec_rllib.schedulers import SJF, run
from mec_rllib.sim.reference import ReferenceServer
from mec_rllib.sim.server import ServerBatch
from mec_rllib.sim.slot import ARRIVED, EXPIRED, STARTED
from mec_rllib.sim.totals import Totals
from mec_rllib.sim.traces import csv_file, json_file, text_blocks
from mec_rllib.sim.traces.workload import TraceWorkload, read_trace

NEEDED = "arrival_s,duration_s,demand,job_class"
KINDS = "arrival_s,duration_s,demand_cpu,demand_gpu,job_class"


@pytest.fixture
def trace_of(tmp_path):
    def write(header, *rows, **options):
        path = tmp_path / "jobs.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return read_trace(path, **options)

    return write


def slack_and_weight(trace, **options):
    jobs = TraceWorkload(trace, load=None, **options).jobs
    return jobs.slack.tolist(), jobs.weight.tolist()


# Patience and weight of a job's own.


def test_slack_and_weight_of_a_job_override_those_of_its_class(trace_of):
    rows = ["0,3,0.2,elastic,7,", "1,3,0.2,elastic,,2.5", "2,3,0.2,elastic,,"]
    trace = trace_of(f"{NEEDED},slack_s,weight", *rows)
    assert slack_and_weight(trace) == ([7, 11, 11], [1, 2.5, 1])  # the rule: 2 + 3e, 1
    # floor(7 / 2); e = 2, so the rule gives 8
    assert slack_and_weight(trace, slot_s=2.0)[0] == [3, 8, 8]


def test_a_deadline_leaves_what_the_execution_leaves(trace_of):
    rows = ["100,3,0.2,elastic,110", "101,2.5,0.2,elastic,110.9", "102,3,0.2,elastic,"]
    trace = trace_of(f"{NEEDED},deadline_s", *rows)
    assert slack_and_weight(trace)[0] == [7, 6, 11]  # 10 - 3, floor(9.9) - 3, the rule
    assert slack_and_weight(trace, slot_s=2.0)[0] == [3, 2, 8]  # 5 - 2, floor(4.95) - 2


def test_a_deadline_counts_the_execution_before_its_cap(trace_of):
    trace = trace_of(f"{NEEDED},deadline_s", "0,50,0.2,elastic,60", "1,50,0.2,elastic,")
    assert slack_and_weight(trace, max_execution=4)[0] == [10, 14]  # 60 - 50, 2 + 3 * 4


@pytest.mark.parametrize("load", [None, 0.001, 0.5])
def test_stretching_moves_arrivals_but_no_patience(trace_of, load):
    rows = [f"{10 * k},3,0.2,elastic,{10 * k + 9}" for k in range(5)]
    workload = TraceWorkload(trace_of(f"{NEEDED},deadline_s", *rows), load=load)
    assert workload.jobs.slack.tolist() == [6] * 5
    assert workload.jobs.execution.tolist() == [3] * 5


def test_times_that_are_whole_slots_but_for_the_last_bit_are(trace_of):
    rows = ["1700000000.0,0.1,0.2,elastic,0.3", "1700000000.5,0.1,0.2,elastic,0.7"]
    assert slack_and_weight(trace_of(f"{NEEDED},slack_s", *rows), slot_s=0.1)[0] == [3, 7]
    late = ["1700000000.1,0.1,0.2,elastic,1700000000.6", "1700000000.2,0.1,0.2,elastic,1700000001"]
    trace = trace_of(f"{NEEDED},deadline_s", *late)
    assert slack_and_weight(trace, slot_s=0.1)[0] == [4, 7]


def test_a_class_needs_a_rule_only_where_a_cell_is_empty(trace_of):
    header = f"{NEEDED},slack_s,weight"
    own = trace_of(header, "0,3,0.2,batch,7,2", "1,3,0.2,elastic,,")
    assert slack_and_weight(own) == ([7, 11], [2, 1])
    assert slack_and_weight(trace_of(header, "0,3,0.2,batch,7,2"), rules={}) == ([7], [2])
    for cells, what in (("7,", "weight"), (",2", "slack")):
        with pytest.raises(ValueError, match=f"line 3: class 'batch' has no rule, .* no {what}"):
            TraceWorkload(trace_of(header, "0,3,0.2,batch,1,1", f"1,3,0.2,batch,{cells}"))
    with pytest.raises(ValueError, match=r"jobs.csv: class 'batch' has no rule; known: inter"):
        TraceWorkload(trace_of(NEEDED, "0,3,0.2,batch"))


def test_a_slack_beyond_all_tables_is_refused_with_its_place(trace_of):
    trace = trace_of(f"{NEEDED},slack_s", "0,3,0.2,elastic,5", "1,3,0.2,elastic,1e9")
    with pytest.raises(ValueError, match=r"line 3: may wait 1e\+09 slots, at most 10,000,000"):
        TraceWorkload(trace)


# A job that comes too late to be served in time.

LATE = [f"{10 * k},4,0.2,elastic,{10 * k + (3 if k % 4 == 0 else 30)}" for k in range(100)]


@pytest.fixture
def late(trace_of):
    return TraceWorkload(trace_of(f"{NEEDED},deadline_s", *LATE), load=None, end="stop")


def test_a_job_that_is_late_on_arrival_is_kept_counted_and_expires_in_its_first_slot(late):
    assert late.jobs.slack[:5].tolist() == [-1, 26, 26, 26, -1]
    assert late.figures.late_jobs == 0.25
    line = late.figures.line()
    assert line.endswith("; 25 % of the jobs cannot meet their deadline when they arrive")
    assert any("25 % of the jobs cannot meet" in warning for warning in late.figures.warnings())
    batch = ServerBatch(late)
    assert batch.servers.waiting[0] == 1
    assert batch.mask[0].tolist() == [True] + [False] * 10
    batch.step(np.array([1]))  # not allowed: nothing starts
    assert batch.tally.jobs[0, 0].tolist() == [1, 0, 1, 0]
    assert batch.reward_terms[0].tolist() == [0, -1, 0]
    assert batch.servers.waiting[0] == 0


def test_every_job_that_is_late_expires_and_no_other(late):
    batch = ServerBatch(late)
    run(batch, SJF(), 1000)
    jobs = Totals.of(batch).jobs[0]
    assert jobs[[ARRIVED, STARTED, EXPIRED]].tolist() == [100, 75, 25]


@pytest.mark.parametrize("mode", ["drain", "backfill", "pause"])
def test_the_reference_says_the_same_of_late_jobs(late, mode):
    batch = ServerBatch(late, buffer=3, mode=mode)
    server = ReferenceServer.like(batch, 0, 0)
    rng = np.random.default_rng(1)
    for slot in range(1000):
        if slot % 7 == 0:
            batch.request_training(np.array([True]))
            server.request_training()
        assert batch.mask[0].tolist() == server.mask()
        action = int(rng.integers(4))
        terms, _ = server.step(action)
        batch.step(np.array([action]))
        assert batch.reward_terms[0].tolist() == list(terms)
    assert server.expired == batch.tally.jobs[0, 0, EXPIRED] >= 25


@pytest.mark.parametrize("observe", ["row by row", "afterstates"])
def test_late_jobs_are_seen_without_harm(late, observe):
    from mec_rllib.envs.afterstates import encoder_of

    batch = ServerBatch(late)
    encoder = encoder_of(batch, afterstates=observe == "afterstates")
    for _ in range(50):
        seen = encoder.encode()
        assert np.isfinite(seen).all()
        assert encoder.low <= seen.min() <= seen.max() <= encoder.high
        batch.step(np.array([1]))


def test_a_trace_without_deadlines_says_nothing_of_them(trace_of):
    figures = TraceWorkload(trace_of(NEEDED, "0,3,0.2,elastic")).figures
    assert figures.late_jobs is None
    assert "their deadline" not in figures.line()


# Several resource kinds.

TWO = ["0,3,0.25,0,elastic", "4,8,0.5,0.125,interactive", "10,1.5,0.01,1,interactive"]


def test_every_kind_has_its_units(trace_of):
    trace = trace_of(KINDS, *TWO)
    assert trace.kinds == ("cpu", "gpu")
    workload = TraceWorkload(trace, capacity=(64, 8), load=None)
    assert workload.capacity == (64, 8)
    assert workload.jobs.requirement.tolist() == [[16, 0], [32, 1], [1, 8]]
    # of 11 slots: cpu 3*16 + 8*32 + 2*1 = 306 of 704, gpu 8*1 + 2*8 = 24 of 88
    assert workload.figures.loads == pytest.approx({"cpu": 306 / 704, "gpu": 24 / 88})
    assert workload.figures.load == pytest.approx(306 / 704)
    assert "at load 0.435 (cpu 0.435, gpu 0.273)" in workload.figures.line()
    assert workload.figures.recorded_load == pytest.approx((3 * 0.25 + 8 * 0.5 + 0.015) / 10)
    rounded = (16 + 32 + 1) / (0.76 * 64), (1 + 8) / (1.125 * 8)
    assert workload.figures.units_ratio == pytest.approx(max(rounded))


def test_load_is_that_of_the_kind_that_is_loaded_most(trace_of):
    workload = TraceWorkload(trace_of(KINDS, *TWO), capacity=(64, 8), load=0.1, end="stop")
    assert workload.span == round(306 / 64 / 0.1)


def config(path, **env):
    return EnvConfig(**{"workload": "trace", "trace": {"path": str(path), "load": None}, **env})


def test_units_go_by_name_or_in_the_files_order(trace_of):
    path = trace_of(KINDS, *TWO).path
    by_name = config(path, capacity={"GPU": 8, "cpu": 64}).build_workload()
    assert by_name.capacity == (8, 64)
    assert by_name.jobs.requirement.tolist() == [[0, 16], [1, 32], [8, 1]]
    in_order = config(path, capacity=[64, 8]).build_workload()
    assert in_order.jobs.requirement.tolist() == [[16, 0], [32, 1], [1, 8]]
    servers = config(path, capacity={"cpu": 64, "gpu": 8}).build_servers(2)
    run(servers, SJF(), 40)
    assert servers.units_in_use.shape == (2, 2)
    assert Totals.of(servers).jobs[:, STARTED].sum() > 0


def test_one_demand_and_one_kind_are_the_same(trace_of):
    plain = trace_of(NEEDED, "0,3,0.25,elastic").path
    assert config(plain, capacity={"cpu": 8}).build_workload().capacity == (8,)
    named = trace_of(NEEDED.replace("demand", "demand_cpu"), "0,3,0.25,elastic").path
    assert config(named, capacity=8).build_workload().jobs.requirement.tolist() == [[2]]


@pytest.mark.parametrize(
    ("capacity", "message"),
    [
        (10, r"has 2 resource kinds \(demand_cpu, demand_gpu\), env.capacity has 1 \(10\)"),
        ([1, 2, 3], r"has 2 resource kinds .*, env.capacity has 3 \(1, 2, 3\)"),
        ({"cpu": 1}, r"has 2 resource kinds .*, env.capacity has 1 \(cpu\)"),
        ({"cpu": 1, "mem": 2}, r"has demand_cpu, demand_gpu, env.capacity has cpu, mem: .*_mem"),
    ],
)
def test_other_kinds_than_the_files_are_refused_with_both(trace_of, capacity, message):
    path = trace_of(KINDS, *TWO).path
    with pytest.raises(ValueError, match=message):
        config(path, capacity=capacity).build_workload()


def test_kinds_by_name_are_the_units_of_drawn_jobs_in_that_order():
    one = {"name": "a", "mix": 1, "resources": [[1, 2], [3, 3]], "execution": [1, 2]}
    env = EnvConfig(capacity={"cpu": 4, "gpu": 3}, classes=[one | {"slack": [1, 2], "weight": 1}])
    assert env.build_workload().capacity == (4, 3)


# What is refused, with its line.

REFUSED = {
    "a deadline before the arrival": (f"{NEEDED},deadline_s", "5,1,0.2,elastic,4", "line 3: dead"),
    "which": (f"{NEEDED},deadline_s", "5,1,0.2,elastic,4", "deadline_s 4 is before arrival_s 5"),
    "no deadline": (f"{NEEDED},deadline_s", "5,1,0.2,elastic,nan", "deadline_s must be a finite"),
    "a weight of 0": (f"{NEEDED},weight", "5,1,0.2,elastic,0", "line 3: weight must be above 0"),
    "a weight below 0": (f"{NEEDED},weight", "5,1,0.2,elastic,-1", "weight must be above 0"),
    "NaN for a weight": (f"{NEEDED},weight", "5,1,0.2,elastic,NaN", "line 3: weight must be above"),
    "NA for a weight": (f"{NEEDED},weight", "5,1,0.2,elastic,NA", "must be a number, not 'NA'"),
    "NaN for a slack": (f"{NEEDED},slack_s", "5,1,0.2,elastic,nan", "line 3: slack_s must be a"),
    "an endless slack": (f"{NEEDED},slack_s", "5,1,0.2,elastic,inf", "line 3: slack_s must be a"),
    "a kind that is missing": (KINDS, "5,1,0.2,,elastic", "line 3: demand_gpu must be a number"),
    "NaN of a kind": (KINDS, "5,1,0.2,nan,elastic", "line 3: demand_gpu must be 0 or more and at"),
    "too much of a kind": (KINDS, "5,1,0.2,1.5,elastic", "demand_gpu must be 0 or more and at mo"),
    "no demand of any kind": (KINDS, "5,1,0,0,elastic", "demand_cpu, demand_gpu are 0: the job d"),
    "a short row": (KINDS, "5,1,0.2", "line 3: demand_gpu must be a number, the row ends before"),
}
FIRST = {5: "0,1,0.5,0.5,elastic", 4: "0,1,0.5,elastic"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_job_cannot_be_is_refused_with_its_line(trace_of, name):
    header, row, message = REFUSED[name]
    first = FIRST[5] if header == KINDS else FIRST[4] + ",9"
    with pytest.raises(ValueError, match=r"trace .*jobs\.csv: ") as caught:
        trace_of(header, first, row)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (f"{NEEDED},deadline_s,slack_s", "columns deadline_s and slack_s: both say how long"),
        (f"{NEEDED},demand_gpu", "columns demand and demand_gpu: both say what a job demands"),
        (NEEDED.replace("demand", "demand_"), "column demand is missing"),
        (f"{KINDS},demand_gpu", "column 'demand_gpu' is there twice"),
    ],
)
def test_columns_that_exclude_one_another_are_refused(trace_of, header, message):
    with pytest.raises(ValueError, match=f"line 1: {message}"):
        trace_of(header, FIRST[4])


def test_a_config_with_such_a_trace_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "jobs.csv").write_text(f"{NEEDED},weight\n0,1,0.5,elastic,0\n")
    env = {"workload": "trace", "trace": {"path": str(tmp_path / "jobs.csv")}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"env": env}))
    arguments = ["evaluate", "--scheduler", "sjf", "--config", str(tmp_path / "c.yaml")]
    monkeypatch.setattr(sys, "argv", ["mec-rllib", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "jobs.csv: line 2: weight must be above 0" in capsys.readouterr().err


# Names, units, order.


def test_columns_are_renamed(trace_of):
    rows = ["0,3,0.2,elastic,9,x", "4,3,0.2,elastic,9,y"]
    header = "Submit_Time,run,cpus,queue,arrival_s,user"
    columns = {"arrival_s": "submit_time", "duration_s": "run", "job_class": "QUEUE"}
    trace = trace_of(
        header, *rows, columns=columns | {"demand_cpu": "cpus"}, ignore=["arrival_s", "user"]
    )
    assert trace.arrival_s.tolist() == [0, 4]
    assert trace.kinds == ("cpu",)
    swapped = {"arrival_s": "duration_s", "duration_s": "arrival_s"}
    trace = trace_of(NEEDED, "7,1,0.2,elastic", columns=swapped)
    assert (trace.arrival_s.tolist(), trace.duration_s.tolist()) == ([1], [7])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"arrival_s": "when"}, "env.trace.columns.arrival_s: column 'when' is not there; found"),
        ({"arrival_s": "duration_s"}, "column arrival_s is there twice|duration_s is missing"),
    ],
)
def test_a_name_that_the_file_has_not_is_refused(trace_of, columns, message):
    with pytest.raises(ValueError, match=message):
        trace_of(NEEDED, FIRST[4], columns=columns)


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ({"columns": {"arival_s": "x"}}, "no column of a trace .* did you mean 'arrival_s'"),
        ({"columns": {"arrival_s": "x", "weight": "x"}}, "a name is given twice"),
        ({"time": {"unit": "h"}}, "env.trace.time.unit"),
        ({"sort": 2}, "env.trace.sort"),
    ],
)
def test_keys_of_a_trace_are_checked(trace, message):
    with pytest.raises(ConfigError, match=message):
        build({"env": {"workload": "trace", "trace": {"path": "x", **trace}}}, "c.yaml")


UNITS = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}


@pytest.mark.parametrize("unit", UNITS)
def test_every_time_has_the_unit(trace_of, unit):
    k = UNITS[unit]
    rows = [f"{1_700_000_000 * k},{k // 2 or 1},0.2,elastic,{1_700_000_008 * k}"]
    rows.append(f"{1_700_000_001 * k},{2 * k},0.2,elastic,")
    trace = trace_of(f"{NEEDED},deadline_s", *rows, unit=unit)
    assert trace.arrival_s.tolist() == [1.7e9, 1.7e9 + 1]
    assert trace.duration_s.tolist() == [0.5 if k > 1 else 1, 2]
    assert trace.deadline_s[0] == 1.7e9 + 8
    assert np.isnan(trace.deadline_s[1])
    rows = [f"0,{k},0.2,elastic,{5 * k}"]
    assert trace_of(f"{NEEDED},slack_s", *rows, unit=unit).slack_s.tolist() == [5]


def test_dates_are_read_to_the_seventh_digit_and_in_any_zone(trace_of):
    rows = [
        "2023-11-16 18:17:03.9799600,2,0.2,elastic,2023-11-16T18:17:10Z",
        "2023-11-16T19:17:04.5+01:00,2.5,0.2,elastic,",
        "2023-11-16 18:17:05,1,0.2,elastic,2023-11-16 18:17:05",
    ]
    trace = trace_of(f"{NEEDED},deadline_s", *rows, unit="iso8601")
    base = pd.Timestamp("2023-11-16 18:17:03", tz="UTC").timestamp()
    assert trace.arrival_s - base == pytest.approx([0.97996, 1.5, 2], abs=1e-6)
    assert trace.duration_s.tolist() == [2, 2.5, 1]
    assert slack_and_weight(trace)[0] == [4, 11, -1]  # floor(6.02) - 2, the rule, 0 - 1


@pytest.mark.parametrize("value", ["5", "2024", "yesterday", "", "2023-13-01", "1700000000.5"])
def test_what_is_no_date_is_refused(trace_of, value):
    good = "2023-11-16 18:17:03,2,0.2,elastic"
    with pytest.raises(ValueError, match=r"line 3: arrival_s must be a date \(ISO 8601\), not"):
        trace_of(NEEDED, good, good.replace("2023-11-16 18:17:03", value), unit="iso8601")


def test_jobs_are_sorted_if_asked_for(trace_of):
    rows = ["5,1,0.5,elastic", "3,2,0.5,interactive", "9,3,0.5,elastic", "3,4,0.5,elastic"]
    with pytest.raises(ValueError, match=r"line 3: arrival_s goes back; .* set env.trace.sort"):
        trace_of(NEEDED, *rows)
    trace = trace_of(NEEDED, *rows, sort=True)
    assert trace.arrival_s.tolist() == [3, 3, 5, 9]
    assert trace.duration_s.tolist() == [2, 4, 1, 3]  # of one instant: as in the file
    assert [trace.class_names[k] for k in trace.job_class] == ["interactive", *["elastic"] * 3]
    assert [trace.place(k) for k in range(4)] == ["line 3", "line 5", "line 2", "line 4"]
    line = TraceWorkload(trace, load=None).figures.line()
    assert "4 jobs (2 out of order, sorted) in 6 s" in line
    assert trace_of(NEEDED, *rows[::2], sort=True).row is None


# Every kind of file says the same.

TABLE = {
    "arrival_s": [0, 4.5, 10],
    "duration_s": [3, 8, 1.5],
    "demand_cpu": [0.25, 0.5, 0.05],
    "demand_gpu": [0, 1, 0.125],
    "job_class": ["interactive", "elastic", "interactive"],
    "slack_s": [None, 7, 2.5],
    "weight": [2, None, 0.5],
}


def as_lines(table):
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def files(folder):
    frame = pd.DataFrame(TABLE)
    frame.to_csv(folder / "jobs.csv", index=False)
    frame.to_csv(folder / "jobs.csv.gz", index=False)
    frame.to_parquet(folder / "jobs.parquet")
    (folder / "jobs.jsonl").write_text(as_lines(TABLE))
    (folder / "jobs.jsonl.gz").write_bytes(gzip.compress(as_lines(TABLE).encode()))
    rows = as_lines(TABLE).replace('"slack_s": null, ', "").replace(', "weight": null', "")
    (folder / "without.jsonl").write_text(f"\ufeff\n{rows}\n")
    return sorted(folder.iterdir())


def test_csv_parquet_and_json_lines_say_the_same(tmp_path):
    for path in files(tmp_path):
        trace = read_trace(path)
        assert trace.arrival_s.tolist() == [0, 4.5, 10], path
        assert trace.demand.tolist() == [[0.25, 0], [0.5, 1], [0.05, 0.125]], path
        assert np.array_equal(trace.slack_s, [np.nan, 7, 2.5], equal_nan=True), path
        assert np.array_equal(trace.weight, [2, np.nan, 0.5], equal_nan=True), path
        assert trace.deadline_s is None
        assert trace.job_class.tolist() == [1, 0, 1], path
    assert read_trace(tmp_path / "without.jsonl").place(1) == "line 3"


GOOD = {"arrival_s": 0, "duration_s": 1, "demand": 0.5, "job_class": "elastic"}
BAD_LINES = {
    "no object": ("5", "line 2: must be an object {...}, not 5"),
    "cut": ('{"arrival_s": 1', "line 2: Expecting"),
    "two on a line": (json.dumps(GOOD) * 2, "line 2: Extra data"),
    "a key twice": (
        '{"arrival_s": 1, "arrival_s": 2}',
        "line 2: column 'arrival_s' is there twice",
    ),
    "a key too many": (json.dumps(GOOD | {"user": 1}), "line 2: column 'user' is not in the first"),
    "a key too few": ('{"arrival_s": 1}', "line 2: duration_s must be a number, not ''"),
    "null": (json.dumps(GOOD | {"demand": None}), "line 2: demand must be a number, not ''"),
    "a list": (json.dumps(GOOD | {"demand": [1]}), "line 2: demand must be a number, not '[1]'"),
    "true": (json.dumps(GOOD | {"demand": True}), "line 2: demand must be a number, not 'true'"),
    "NaN": (json.dumps(GOOD | {"weight": float("nan")}), "line 2: weight must be above 0"),
    "no class": (json.dumps(GOOD | {"job_class": ""}), "line 2: job_class is empty"),
    "back": (json.dumps(GOOD | {"arrival_s": -1}), "line 2: arrival_s must be 0 or more, not -1"),
    "both": (json.dumps(GOOD | {"slack_s": 1, "deadline_s": 9}), "columns deadline_s and slack_s"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_json_lines_are_refused_with_the_line(tmp_path, name):
    line, message = BAD_LINES[name]
    (tmp_path / "jobs.jsonl").write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(ValueError, match=r"trace .*jobs.jsonl: ") as caught:
        read_trace(tmp_path / "jobs.jsonl")
    assert message in str(caught.value)


def test_json_lines_in_text_and_with_further_keys_are_read(tmp_path):
    rows = [GOOD | {"ids": [1, 2], "Demand": "0.5"}, GOOD | {"ids": [], "Demand": "1e-1"}]
    for row in rows:
        del row["demand"]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    trace = read_trace(tmp_path / "jobs.jsonl", ignore=["ids"])
    assert trace.demand[:, 0].tolist() == [0.5, 0.1]


@pytest.mark.parametrize(
    ("column", "values", "unit", "expected"),
    [
        ("arrival_s", np.array([0, 4500, 10000], "datetime64[ms]"), "iso8601", [0, 4.5, 10]),
        ("arrival_s", [0, 4.5e9, 10**10], "ns", [0, 4.5, 10]),
        ("duration_s", np.array([3000, 8000, 1500], "timedelta64[ms]"), "iso8601", [3, 8, 1.5]),
        ("duration_s", np.array([3000, 8000, 1500], "timedelta64[ms]"), "s", [3, 8, 1.5]),
    ],
)
def test_parquets_own_kinds_of_time_are_read(tmp_path, column, values, unit, expected):
    table = {k: v for k, v in TABLE.items() if k not in ("slack_s", "weight")}
    if unit == "iso8601":
        table["arrival_s"] = np.array([0, 4500, 10000], "datetime64[ms]")
    pq.write_table(pa.table(table | {column: values}), tmp_path / "jobs.parquet")
    assert getattr(read_trace(tmp_path / "jobs.parquet", unit=unit), column).tolist() == expected


FIELDS = ["0", "1", " 2", "0.5", "1e3", "-1", "nan", "NA", "", " ", "x", "1_0", '"3"', "inf"]
CELLS = st.lists(st.sampled_from(FIELDS), min_size=7, max_size=7)


def outcome(path):
    try:
        trace = read_trace(path)
    except ValueError as error:
        return str(error)
    own = [np.nan_to_num(c, nan=-9.0).tolist() if c is not None else None for c in trace[6:9]]
    return [column.tolist() for column in trace[:4]], own, trace.class_names


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(CELLS, min_size=1, max_size=4), block=st.sampled_from([40, 8 * 2**20]))
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_fast_readers_say_what_the_slow_ones_say(tmp_path, monkeypatch, kind, lines, block):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", block)
    path, names = (
        tmp_path / f"jobs.{kind}",
        KINDS.replace("job_class", "deadline_s,weight,job_class"),
    )
    rows = [
        [str(k), *cells[1:4], cells[4] and str(9 + k), *cells[5:]] for k, cells in enumerate(lines)
    ]
    if kind == "csv":
        path.write_text("\n".join([names, *map(",".join, rows)]))
    else:
        values = [[None if not c else float(c) if c in "012" else c for c in row] for row in rows]
        objects = [dict(zip(names.split(","), row, strict=True)) for row in values]
        path.write_text("\n".join(map(json.dumps, objects)))
    fast = outcome(path)
    with monkeypatch.context() as only_slow:
        only_slow.setattr(csv_file, "_fast_part", lambda *arguments: None)
        only_slow.setattr(json_file, "_fast_part", lambda *arguments: None)
        assert outcome(path) == fast
