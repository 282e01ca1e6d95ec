"""Logs of other formats become traces: by hand, with counts of all that was done to them."""

import gzip
import json
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from logs import BUPT, LOGS, MAP, PODS, SETTINGS, swf

from mec_rllib.cli import main
from mec_rllib.errors import ConfigError
from mec_rllib.importers import IMPORTERS, SWF, AlibabaPods, AzureLLM, BuptEdge, Mooncake, Table
from mec_rllib.importers.run import import_log, line
from mec_rllib.sim.traces.files import read_trace


@pytest.fixture
def log(tmp_path):
    """Writes a log; several files for several texts."""

    def write(*texts, name="log"):
        files = [tmp_path / f"{name}{k or ''}" for k in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return files

    return write


def rows_of(jobs):
    return [tuple(row) for row in jobs.table.itertuples(index=False)]


# Standard Workload Format.


def test_swf_by_hand(log):
    jobs = SWF().jobs(log(LOGS["swf"]))
    assert rows_of(jobs) == [(0, 60, 0.5, "interactive"), (10, 3600, 1, "elastic")]
    assert jobs.first_s == 10
    assert jobs.found.assumed == {"processors": 8}
    assert line(jobs).endswith("left out: none; changed: none; from the log: processors 8")
    assert jobs.load == pytest.approx((30 + 3600) / 10)


def test_swf_leaves_out_what_never_ran_and_says_why(log):
    text = "; MaxProcs: 8\n\n" + "".join(
        [
            swf(1, 0, 60),
            swf(2, 1, -1),
            swf(3, 2, 0, status=5),
            swf(4, 3, -1, status=5),
            swf(5, 4, 9, status=5),
            swf(6, 5, 7, status=2),
            swf(7, 6, 7, status=3),
            swf(8, -1, 7),
            swf(9, 8, 7, used=-1),
            swf(10, 9, 7, used=-1, asked=2),
            swf(11, 10, 0),
            swf(12, 11, 5, used=16),
            swf(13, 12, 5, status=0),
            swf(14, 3, 5),
        ]
    )
    jobs = SWF().jobs(log(text))
    assert jobs.found.left_out == {
        "parts of jobs that have a line of their own": 2,
        "cancelled before they ran": 2,
        "without a submit time": 1,
        "without a run time": 1,
        "without processors": 1,
    }
    assert jobs.found.changed == {
        "with the processors asked for": 1,
        "of run time 0 taken as 0.5 s": 1,
        "cut to the 8 processors of the machine": 1,
        "sorted by arrival": 1,
    }
    assert jobs.table["arrival_s"].tolist() == [0, 3, 4, 9, 10, 11, 12]
    assert jobs.table["duration_s"].tolist() == [60, 5, 9, 7, 0.5, 5, 5]
    assert jobs.table["demand"].tolist() == [0.5, 0.5, 0.5, 0.25, 0.5, 1, 0.5]
    assert len(jobs.table) + sum(jobs.found.left_out.values()) == jobs.found.rows == 14
    assert len(SWF(cancelled=False, failed=False).jobs(log(text)).table) == 5
    assert SWF(zero_run_s=2).jobs(log(text)).table["duration_s"].iloc[4] == 2


def test_swf_takes_what_the_settings_say(log):
    text = swf(1, 0, 60, 4, 2, queue=0) + swf(2, 1, 700, 2, 6, queue=3)
    jobs = SWF().jobs(log(text))  # no header: the largest job is the machine
    assert jobs.table["demand"].tolist() == [1, 0.5]
    assert jobs.found.assumed == {"processors": 4}
    asked = SWF(processors=16, processors_from="asked").jobs(log(text))
    assert asked.table["demand"].tolist() == [0.125, 0.375]
    assert asked.found.assumed == {}
    by_queue = SWF(interactive_queue=3).jobs(log(text))
    assert by_queue.table["job_class"].tolist() == ["elastic", "interactive"]
    assert SWF(interactive_s=60).jobs(log(text)).table["job_class"].iloc[0] == "interactive"


def test_swf_in_latin_1_with_cr_and_gzip_is_read(log):
    text = LOGS["swf"].replace("\n", "\r\n").encode("latin-1")
    assert len(SWF().jobs(log(gzip.compress(text))).table) == 2
    comment = LOGS["swf"].replace("José's", "Jos\x85e")  # a line end for some, none for us
    assert len(SWF().jobs(log(comment.encode("latin-1"))).table) == 2


def test_several_swf_logs_share_a_clock_if_their_headers_have_it(log):
    one, two = (f"; UnixStartTime: {start}\n" for start in (1000, 1100))
    jobs = SWF().jobs(log(two + swf(1, 5, 60), one + swf(1, 0, 60) + swf(2, 90, 60)))
    assert jobs.table["arrival_s"].tolist() == [0, 90, 105]
    with pytest.raises(ValueError, match="log1: several logs need UnixStartTime"):
        SWF().jobs(log(one + swf(1, 0, 60), swf(1, 0, 60)))


# Requests to a large language model.


def test_azure_llm_by_hand(log):
    jobs = AzureLLM(prefill_tokens_per_s=2000, ms_per_token=20, cache_tokens=8192).jobs(
        log(LOGS["azure-llm"])
    )
    assert rows_of(jobs) == [
        (0, 4000 / 2000 + 0.2, round(4010 / 8192, 6), "interactive"),
        (1, 0.055 + 8, round(510 / 8192, 6), "elastic"),
    ]
    assert jobs.first_s == pytest.approx(1700158623.97996)


def test_azure_llm_of_2024_and_its_quirks(log):
    text = (
        "\ufeff TIMESTAMP , contexttokens,GeneratedTokens,Model\n"
        '2024-05-10 00:00:01.000930+00:00,200000,"0",x\n\n'
        "2024-05-10 00:00:00+00:00,0,5,x\n"
        "2024-05-10 00:00:02+00:00,0,0,x"
    )
    jobs = AzureLLM().jobs(log(text))
    assert rows_of(jobs) == [
        (0, 0.125, round(5 / 131072, 6), "interactive"),
        (1.00093, 25, 1, "interactive"),
    ]
    assert jobs.found.left_out == {"without tokens": 1}
    assert jobs.found.changed == {
        "cut to the 131,072 tokens of the cache": 1,
        "sorted by arrival": 1,
    }
    plain = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:01,1,1\n"
    both = AzureLLM().jobs(log(plain, plain.replace(":01", ":00")))
    assert both.table["arrival_s"].tolist() == [0, 1]


def test_mooncake_by_hand(log):
    settings = {"prefill_tokens_per_s": 1000, "ms_per_token": 10, "cache_tokens": 3200}
    jobs = Mooncake(**settings).jobs(log(LOGS["mooncake"]))
    assert rows_of(jobs) == [(0, 1.64, 0.50125, "interactive"), (3, 6.1, 0.5, "elastic")]
    cached = Mooncake(**settings, prefix_cache=True).jobs(log(LOGS["mooncake"]))
    # blocks 0 and 1 are there: 1100 - 2 * 512 tokens are read
    assert cached.table["duration_s"].tolist() == [1.64, 0.076 + 5]
    assert cached.found.changed == {"with a prefix that is cached": 1}


def test_mooncake_needs_hashes_only_for_the_cache(log):
    text = '{"output_length": 1, "timestamp": 27.5, "input_length": 8000, "x": null}\n\n'
    assert rows_of(Mooncake().jobs(log(text)))[0][:2] == (0, 1.025)
    with pytest.raises(ValueError, match="log: line 1: hash_ids must be a list of numbers, not N"):
        Mooncake(prefix_cache=True).jobs(log(text))


# Pods.


def test_alibaba_pods_by_hand(log):
    jobs = AlibabaPods(skip=0).jobs(log(LOGS["alibaba-pods"]))
    assert rows_of(jobs) == [
        (0, 100, 0.125, "interactive"),
        (50, 100, 0.0625, "interactive"),
        (80, 9, 0.5, "elastic"),
    ]
    each = AlibabaPods(skip=0, demands="each", node_memory_mib=65536).jobs(
        log(LOGS["alibaba-pods"])
    )
    columns = ["demand_cpu", "demand_gpu", "demand_memory"]
    assert each.table[columns].to_numpy().tolist() == [
        [0.125, 0.125, 0.25],
        [0.0625, 0.0575, 0.1875],
        [0.5, 0, 0],
    ]
    classes = AlibabaPods(skip=0, interactive_qos="BE, Burstable").jobs(log(LOGS["alibaba-pods"]))
    assert classes.table["job_class"].tolist() == ["elastic", "elastic", "interactive"]


def test_alibaba_pods_leaves_out_pods_that_never_ran_and_the_first_ones(log):
    rows = [f"p{k},960,1,0,0,,BE,Running,{k},{k + 9},{k + 1}.0" for k in range(41)]
    rows += ["q,1,1,0,0,,LS,Pending,50,60,", "r,1,1,0,0,,LS,Running,51,,52"]
    rows += ["s,1,1,0,0,,LS,Failed,53,54,54", "t,0,1,0,1000,,LS,Failed,54,59,55"]
    rows += ["u,120000,1,0,0,,,Failed,54,59,55"]
    jobs = AlibabaPods().jobs(log("\n".join([f"{PODS},scheduled_time", *rows])))
    assert jobs.found.left_out == {
        "never scheduled": 1,
        "never deleted": 1,
        "that ran 0 s": 1,
        "that demand nothing": 1,
        "at the start (5 % of the scheduled ones)": 3,  # 5 % of 42, rounded up
    }
    assert jobs.found.changed == {"cut to a whole node": 1}
    assert len(jobs.table) == 39
    assert jobs.first_s == 3
    assert jobs.table["demand"].iloc[0] == 0.01


# Requests at edge servers.


def test_bupt_edge_by_hand(log):
    jobs = BuptEdge().jobs(log(LOGS["bupt-edge"]))
    # 200, 30 and 100 bytes per second: ranks 3/3, 1/3, 2/3; 14.5 s of silence are 10
    expected = [0.05 + 0.55 * p**3 for p in (1, 1 / 3, 2 / 3)]
    assert jobs.table["arrival_s"].tolist() == [0, 4.5, 14.5]
    assert jobs.table["duration_s"].tolist() == [1, 10, 0.5]
    assert jobs.table["demand"].tolist() == [round(demand, 4) for demand in expected]
    assert jobs.table["job_class"].tolist() == ["interactive", "elastic", "interactive"]
    assert jobs.found.changed == {"silences over 10 s cut": 1}
    assert jobs.found.assumed == {"days": "2015-08-01"}


def request(day, begin, end, size=100):
    return BUPT.format(f"2015-08-{day} {begin}", f"2015-08-{day} {end}", size, 0)


def test_bupt_edge_takes_the_day_of_each_file_and_puts_days_behind_one_another(log):
    nine = request("09", "00:00:00", "00:00:01") + request("09", "10:00:00", "10:00:01")
    one = (
        BUPT.format("2015-07-31 23:59:59", "2015-08-01 00:00:03", 9, 9)
        + request("01", "12:00:02", "12:00:02.049")
        + request("01", "12:00:03", "12:10:03.001")
        + request("01", "12:00:05", "12:00:06")
        + request("01", "12:00:04", "12:00:05")
    )
    jobs = BuptEdge().jobs(log(nine, one))
    assert jobs.found.left_out == {
        "that begin on another day": 1,
        "of less than 0.05 s": 1,
        "of more than 600 s": 1,
    }
    assert jobs.table["arrival_s"].tolist() == [0, 1, 11, 21]
    assert jobs.found.assumed == {"days": "2015-08-09, 2015-08-01"}
    only = BuptEdge(days="2015-07-31, 2015-08-09", silence_s=1e9).jobs(log(nine, one))
    assert only.table["arrival_s"].tolist() == [0, 8 * 86400 + 1, 8 * 86400 + 36001]
    # of one rank: the mean of both
    assert BuptEdge().jobs(log(nine)).table["demand"].nunique() == 1


# Any table.


def test_csv_by_hand(log):
    jobs = Table(map=[MAP]).jobs(log(LOGS["csv"]))
    assert rows_of(jobs) == [(0, 10, 0.25, "web"), (5, 1, 1, "batch")]
    shown = Table(map=[MAP], interactive="web").jobs(log(LOGS["csv"]))
    assert shown.table["job_class"].tolist() == ["interactive", "elastic"]


def test_csv_maps_every_column(log):
    text = "t|len-s|cpu|gpu|due|w\n1.5e3|2000|0.5|0|9000|3\n1000|1000|0.25|1||\n500|0|0.1|0|600|1\n"
    map_ = ["arrival_s=T", "duration_s=len-s,demand_cpu=cpu", "demand_gpu=gpu*0.5"]
    map_ += ["deadline_s=due", "weight=w/2"]
    jobs = Table(map=map_, separator="|", unit="ms", default_class="work").jobs(log(text))
    table = jobs.table
    assert table["arrival_s"].tolist() == [0, 0.5]
    assert table["duration_s"].tolist() == [1, 2]
    assert table[["demand_cpu", "demand_gpu"]].to_numpy().tolist() == [[0.25, 0.5], [0.5, 0]]
    assert np.array_equal(table["deadline_s"], [np.nan, 8], equal_nan=True)
    assert np.array_equal(table["weight"], [np.nan, 1.5], equal_nan=True)
    assert set(table["job_class"]) == {"work"}
    assert jobs.found.left_out == {"of duration 0": 1}
    assert jobs.found.changed == {"sorted by arrival": 1}


def test_csv_takes_dates_and_the_time_between_them(log):
    text = "a;b;s;d\n2024-01-01T00:00:00Z;2024-01-01T00:00:02.5Z;x;\n"
    text += "2024-01-01T01:00:10+01:00;2024-01-01T00:00:11Z;y;2024-01-01 00:01:00\n"
    map_ = "arrival_s=a,duration_s=b-a,demand=n/4,deadline_s=d,job_class=s"
    text = text.replace("\n", ";2\n").replace("d;2\n", "d;n\n", 1)
    jobs = Table(map=[map_], separator=";", unit="iso8601").jobs(log(text))
    assert jobs.table["arrival_s"].tolist() == [0, 10]
    assert jobs.table["duration_s"].tolist() == [2.5, 1]
    assert np.array_equal(jobs.table["deadline_s"], [np.nan, 60], equal_nan=True)


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        ("", "arrival_s is missing; add --map arrival_s=COLUMN"),
        ("arrival_s=a,demand=b", "duration_s is missing"),
        ("arrival_s", "'arrival_s' must be OURS=THEIRS"),
        ("arrival_s=a,arrival_s=b", "arrival_s is there twice"),
        ("arival_s=a", "no column of a trace is called 'arival_s'; did you mean 'arrival_s'"),
        ("arrival_s=a,duration_s=b,demand=c,demand_x=d", "demand and demand_x both say"),
        ("arrival_s=a,duration_s=b,demand=c,slack_s=d,deadline_s=d", "deadline_s and slack_s both"),
    ],
)
def test_a_map_that_says_too_little_or_too_much_is_refused(map_, message):
    with pytest.raises(ValueError, match=message):
        Table(map=[map_])
    if not map_:
        with pytest.raises(ValueError, match="slack_s and --slack-s both say"):
            Table(map=["arrival_s=a,duration_s=b,demand=c,slack_s=d"], slack_s=3)


# What all of them share.


@pytest.mark.parametrize("name", IMPORTERS)
def test_a_slack_rule_of_an_import_becomes_a_column(log, name):
    settings = SETTINGS.get(name, {})
    plain = IMPORTERS[name](**settings).jobs(log(LOGS[name])).table
    ruled = IMPORTERS[name](**settings, slack_s=2, slack_per_s=0.5).jobs(log(LOGS[name])).table
    assert "slack_s" not in plain
    assert ruled["slack_s"].tolist() == pytest.approx((2 + 0.5 * plain["duration_s"]).tolist())


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz", "jsonl", "jsonl.gz"])
@pytest.mark.parametrize("name", IMPORTERS)
def test_every_import_is_a_trace_that_carries_what_was_assumed(log, tmp_path, name, ending):
    files, out = log(LOGS[name]), tmp_path / f"jobs.{ending}"
    importer = IMPORTERS[name](**SETTINGS.get(name, {}))
    said = import_log(importer, files, out)
    assert said.startswith(f"{out}: ")
    assert "\n" not in said
    table, trace = importer.jobs(files).table, read_trace(out)
    assert trace.arrival_s.tolist() == table["arrival_s"].tolist()
    assert trace.demand[:, 0].tolist() == table["demand"].tolist()
    assert [trace.class_names[k] for k in trace.job_class] == table["job_class"].tolist()
    if ending == "parquet":
        about = json.loads(pq.read_schema(out).metadata[b"mec_rllib"])
    else:
        about = json.loads(out.with_name(f"{out.name}.import.json").read_text())
    assert about["format"] == name
    assert about["assumptions"] == importer.model_dump(mode="json")
    assert about["jobs"] == len(table)
    assert about["files"][0]["name"] == "log"
    before = out.read_bytes()
    import_log(importer, files, out, overwrite=True)
    assert out.read_bytes() == before


def test_tiny_values_are_never_rounded_to_nothing(log, tmp_path):
    text = "t,d,s\n0,1e-9,1e-9\n"
    jobs = Table(map=["arrival_s=t,duration_s=d,demand=s"]).jobs(log(text))
    assert rows_of(jobs) == [(0, 1e-6, 1e-6, "elastic")]


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["mec-rllib", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code or 0


@pytest.mark.parametrize("name", IMPORTERS)
def test_the_help_of_a_format_states_every_assumption_with_its_default(monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "200")
    assert run_main(monkeypatch, "import", name, "--help") == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for key, field in IMPORTERS[name].model_fields.items():
        assert f"--{key.replace('_', '-')}" in shown
        assert " ".join(field.description.split()[:3]) in shown
        default = field.get_default(call_default_factory=True)
        if isinstance(default, float | int) and not isinstance(default, bool):
            assert f"[default: {default}]" in shown
    assert "Example: mec-rllib import" in shown


def test_the_command_imports_and_says_so_in_one_line(log, tmp_path, monkeypatch, capsys):
    out, (file,) = tmp_path / "jobs.parquet", log(LOGS["azure-llm"])
    options = ["--ms-per-token", 20, "--slack-s", 3]
    assert run_main(monkeypatch, "import", "azure-llm", file, *options, "--out", out) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 2 jobs of 2 rows in 1 s at load ")
    assert len(said.splitlines()) == 1
    assert read_trace(out).slack_s.tolist() == [3, 3]
    assert pd.read_parquet(out)["duration_s"].iloc[1] == pytest.approx(110 / 8000 + 8)
    assert (
        run_main(monkeypatch, "import", "csv", *log(LOGS["csv"]), "--map", MAP, "--out", out) == 2
    )
    assert "is there already; --overwrite replaces it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["swff", "log"], "import: unknown format 'swff'; did you mean 'swf'?"),
        (["swf", "log", "--processors", "0"], "import swf: processors: Input should be greater"),
        (["swf", "log", "--processors-from", "ask"], "'ask' is not one of 'used', 'asked'"),
        (["swf", "log", "--zero-run-s", "nan"], "import swf: zero_run_s: Input should be"),
        (["azure-llm", "log", "--cache-tokens", "many"], "--cache-tokens"),
        (["bupt-edge", "log", "--days", "2015-08-99"], "import bupt-edge: days: must be days such"),
        (["csv", "log"], "import csv: map: arrival_s is missing"),
        (["csv", "log", "--map", MAP, "--separator", ",,"], "separator: must be one character"),
        (["swf"], "Missing argument"),
        (["swf", "s3://bucket/log"], "is a URI, not a path"),
    ],
)
def test_a_command_that_is_wrong_is_refused(log, tmp_path, monkeypatch, capsys, arguments, message):
    log(LOGS["swf"])
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, "import", *arguments, "--out", "jobs.csv") == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("jobs.xlsx", "must end with .parquet, .csv, .csv.gz, .jsonl, .jsonl.gz"),
        (".csv", "must end with"),
        ("nowhere/jobs.csv", "there is no folder"),
        ("folder.csv", "is a folder"),
        ("there.csv", "there.csv: is there already"),
        ("other.csv", "other.csv.import.json: is there already"),
        ("log.csv", "is one of the logs"),
    ],
)
def test_an_out_that_cannot_be_written_is_refused_before_reading(tmp_path, out, message):
    (tmp_path / "folder.csv").mkdir()
    for name in ("there.csv", "other.csv.import.json", "log.csv"):
        (tmp_path / name).write_text(LOGS["swf"])
    overwrite = out == "log.csv"
    with pytest.raises(ConfigError, match=message):
        import_log(SWF(), [tmp_path / "log.csv"], tmp_path / out, overwrite)
    assert (tmp_path / "log.csv").read_text() == LOGS["swf"]
