"""What is done to a recording, what is said of it, and whether it stays the same."""

import gzip
import hashlib
import io
import json
import sys

import numpy as np
import pytest
import yaml
from rich.console import Console

from mec_rllib.cli import main
from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.envs.config import EnvConfig
from mec_rllib.errors import ConfigError
from mec_rllib.importers.llm import LLMRequests
from mec_rllib.launch.cluster_check import _inputs
from mec_rllib.launch.trainable import StrategyTrial
from mec_rllib.results.folder import Folder
from mec_rllib.results.report import report
from mec_rllib.results.traces import kept_traces, without_jobs
from mec_rllib.sim.traces import made
from mec_rllib.sim.traces import workload as trace_workload
from mec_rllib.sim.traces.workload import TraceWorkload, read_as, read_trace
from mec_rllib.trials import traces as trial_traces
from mec_rllib.trials.begin import begin
from mec_rllib.trials.traces import check_traces, tell_traces
from mec_rllib.trials.trial import origin

HEADER = "arrival_s,duration_s,demand,job_class\n"


@pytest.fixture
def write(tmp_path):
    def write(rows, name="jobs.csv"):
        lines = [",".join(map(str, row)) for row in rows]
        (tmp_path / name).write_text(HEADER + "\n".join(lines) + "\n")
        return tmp_path / name

    return write


def job(arrival, duration=2, demand=0.3, name="elastic"):
    return (arrival, duration, demand, name)


def played(path, slots, **options):
    """Offered load over these slots, and the arrivals."""
    workload = TraceWorkload(read_trace(path), **options)
    jobs = workload.arrivals(np.random.default_rng(0), 0, slots)
    return float(np.sum(jobs.execution * jobs.requirement[:, 0])) / 10 / slots, jobs.arrival


def test_a_trace_begins_with_its_first_job(write):
    path = write([job(494319), job(494320), job(494330)])
    assert played(path, 30, load=None)[1].tolist() == [0, 1, 11, 12, 13, 23, 24, 25]
    assert played(path, 300)[1][0] == 0


@pytest.mark.parametrize("load", [0.05, 0.3, 0.9, 2.0])
@pytest.mark.parametrize(
    "times",
    [[7] * 50, [0, 10], [3], [0, 0, 0, 1], list(range(0, 4000, 40)), [0, 1, 2, 3, 1e9]],
    ids=["one instant", "two jobs", "one job", "a late one", "even", "an age later"],
)
def test_a_looping_trace_keeps_its_load_whatever_its_times(write, times, load):
    path = write([job(time, 3, 0.7) for time in times])
    workload = TraceWorkload(read_trace(path), load=load)
    found, arrival = played(path, 10 * workload.span, load=load)
    assert found == pytest.approx(load, rel=0.006)
    assert workload.figures.load == pytest.approx(found)
    assert np.all(np.diff(arrival) >= 0)


def test_a_pass_is_as_long_as_its_work_asks_for(write):
    workload = TraceWorkload(read_trace(write([job(7, 4, 0.5)] * 50)), load=0.5)
    assert workload.length is None
    assert workload.span == 200  # 50 jobs of 4 x 5 unit-slots on 10 units at load 0.5
    once = TraceWorkload(read_trace(write([job(0), job(5)])), load=0.1, end="stop")
    assert (once.length, once.jobs.arrival.tolist()) == (12, [0, 11])  # 2 of 2 x 3


def test_a_load_that_the_jobs_cannot_make_up_is_refused(write):
    path = write([job(0), job(1)])
    with pytest.raises(ValueError, match=r"trace .*: load 5 needs more jobs: at most 1\.2$"):
        TraceWorkload(read_trace(path), load=5)
    assert played(path, 1000, load=1.2)[0] == pytest.approx(1.2)


def test_jobs_that_nobody_could_hold_are_refused(write):
    path = write([job(5)] * 20_001)
    with pytest.raises(ValueError, match=r"20,001 jobs in 1 slots; set env\.trace\.load"):
        TraceWorkload(read_trace(path), load=None)
    late = write([job(0), job(1e15)])
    with pytest.raises(ValueError, match=r"2 jobs in 1e\+18 slots; .* another env.trace.slot_s"):
        TraceWorkload(read_trace(late), load=None, slot_s=1e-3)


EPOCH = 1.7e9
WRONG = {
    "a first time": ([0, *range(int(EPOCH), int(EPOCH) + 50)], "line 3", "before there?"),
    "a last time": ([*range(50), EPOCH], "line 52", "from there on?"),
    "some first times": ([0, 1, 2, *range(10**9, 10**9 + 400)], "line 5", "before there?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_time_that_cannot_be_right_is_refused_with_its_place(write, name):
    times, line, where = WRONG[name]
    with pytest.raises(ValueError, match="arrival_s leaps from") as caught:
        TraceWorkload(read_trace(write([job(time) for time in times])))
    assert f"{line}:" in str(caught.value)
    assert str(caught.value).endswith(where)


def test_a_long_silence_is_told_from_a_wrong_time(write):
    both = [*range(50), *range(100_000, 100_050)]
    figures = TraceWorkload(read_trace(write(map(job, both)))).figures
    assert figures.largest_gap_before == "line 52"
    assert "99.9 % of the span is one gap, before line 52" in figures.warnings()[-1]
    few = TraceWorkload(read_trace(write(map(job, [0, EPOCH, EPOCH + 10])))).figures
    assert few.largest_gap_before == "line 3"
    assert TraceWorkload(read_trace(write(map(job, [0, 4, 10])))).figures.largest_gap == 0.6
    even = TraceWorkload(read_trace(write(map(job, range(20))))).figures
    assert even.largest_gap_before is None


def test_the_figures_by_hand(write):
    rows = [job(100, 3, 0.25, "interactive"), job(100, 10, 0.5), job(130, 2.5, 0.02), job(180, 1)]
    trace = read_trace(write(rows))
    f = TraceWorkload(trace, slot_s=2, max_execution=4, load=0.2).figures
    assert (f.jobs, f.span_s, f.largest_gap_s, f.largest_gap) == (4, 80, 50, 50 / 80)
    assert f.recorded_load == pytest.approx((0.75 + 5 + 0.05 + 0.3) / 80)
    assert f.cut_jobs == 0.25  # 10 s are 5 slots of 2 s
    assert f.lost_work == pytest.approx(1 / 6.1)  # 2 of the 10 s, times 0.5
    assert f.units_ratio == pytest.approx((3 + 5 + 1 + 3) / 10.7)
    assert f.slots_ratio == pytest.approx((2 + 4 + 2 + 1) * 2 / (3 + 8 + 2.5 + 1))
    # 2*3 + 4*5 + 2*1 + 1*3 = 31 unit-slots, 15.5 slots at load 0.2; seven passes are 109 slots.
    assert f.slots == 108
    assert f.load == pytest.approx(0.2, rel=0.005)
    assert f.stretch == pytest.approx(15.5 * 2 / 80, rel=0.005)
    assert f.shared_slots == pytest.approx(0.75, abs=0.25)
    assert f.sha256 == hashlib.sha256((made.file_of(trace.path)).read_bytes()).hexdigest()


def test_the_line_says_what_was_done(write):
    path = write([job(100 + 20 * k, 3 if k else 250) for k in range(100)])
    workload = TraceWorkload(read_trace(path), load=0.1)
    assert workload.figures.line() == (
        f"trace {path}: 100 jobs in 33 minutes at load 0.0829, played in 1,191 slots of 1 s at "
        "load 0.1; time squeezed 1.66 times; 1 % of the jobs cut to 100 slots, 27.4 % of the work "
        "lost; 1.00 units asked for each demanded; 0 % of the jobs share a slot; largest gap 20 s "
        "(1.01 % of the span)"
    )
    assert workload.figures.warnings() == [
        f"trace {path}: 27.4 % of the work is lost to env.trace.max_execution 100: raise it, or "
        "env.trace.slot_s"
    ]
    kept = TraceWorkload(read_trace(path), load=None).figures.line()
    assert "; time as recorded;" in kept
    at_once = TraceWorkload(read_trace(write([job(5)] * 3))).figures
    assert "3 jobs in 0 s, played in" in at_once.line()
    assert "all of them arrive at once" in at_once.line()


LARGE = {  # what a trace is played with, and the key that its warning names
    "lost": ([job(20 * k, 300) for k in range(40)], {}, "env.trace.max_execution 100"),
    "units": ([job(20 * k, 10, 0.01) for k in range(40)], {}, "raise env.capacity"),
    "slots": ([job(k, 0.1) for k in range(40)], {}, "lower env.trace.slot_s"),
    "squeezed": ([job(900 * k) for k in range(40)], {}, "change env.trace.load (null keeps"),
    "stretched": ([job(k / 9) for k in range(40)], {"slot_s": 0.1}, "change env.trace.load"),
    "shared": ([job(k // 2 * 2.4) for k in range(40)], {}, "in the same slot"),
    "too much": ([job(k / 9) for k in range(90)], {"load": None}, "set env.trace.load"),
    "too little": ([job(900 * k) for k in range(40)], {"load": None}, "load is 0.000684: set"),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_is_warned_of_with_the_key_to_turn(write, name):
    rows, options, words = LARGE[name]
    found = TraceWorkload(read_trace(write(rows)), **options).figures.warnings()
    assert any(words in warning for warning in found), found


def test_a_trace_as_it_should_be_is_not_warned_of(write):
    rows = [job(2 * k, 3, 0.4 + 0.1 * (k % 2)) for k in range(200)]
    assert TraceWorkload(read_trace(write(rows))).figures.warnings() == []


def config(path, **trace):
    return {"workload": "trace", "trace": {"path": str(path), **trace}}


@pytest.mark.parametrize("workload", ["trace", "my_package.workloads:Heartbeat"])
def test_bursts_are_refused_where_they_do_nothing(write, workload):
    values = config(write([job(0)])) | {"workload": workload, "bursts": {}}
    with pytest.raises(ConfigError, match=f"bursts are of .* bernoulli and drift; {workload} has"):
        build({"env": values}, "c.yaml")


def test_a_file_is_read_once_in_a_process_and_again_when_it_changes(write, monkeypatch):
    reads = []

    def counting(path, *options):
        reads.append(path)
        return read_as(path, *options)

    monkeypatch.setattr(trace_workload, "read_as", counting)
    path = write([job(k) for k in range(30)])
    env = EnvConfig(**config(path))
    first, again = env.build_workload(), EnvConfig(**config(path)).build_workload()
    env.build_servers(2)
    assert env.class_names == ("elastic",)
    assert first is again
    other = EnvConfig(**config(path, slot_s=2)).build_workload()
    assert len(reads) == 1
    assert other.figures.slot_s == 2
    write([job(k) for k in range(31)])
    assert env.build_workload().figures.jobs == 31
    assert len(reads) == 2


# The identity of what is played.


def experiment_of(path, other):
    own = {"scheduler": "edf", "set": {"env.trace.path": str(other)}}
    values = {"strategies": ["sjf", "fifo", own], "slots": 500, "env": config(path)}
    return build(values, "test")


def test_every_strategys_trace_is_kept_and_a_changed_one_is_refused_by_name(write, tmp_path):
    path, other = write([job(0), job(9)]), write([job(0), job(4)], "other.csv")
    study, folder = resolve(experiment_of(path, other)), Folder(tmp_path / "out")
    strategies = study.strategies
    begin(study, folder)
    kept = kept_traces(folder)
    assert [trace["strategies"] for trace in kept] == [["sjf", "fifo"], ["edf"]]
    assert [trace["path"] for trace in kept] == [str(path), str(other)]
    check_traces(strategies, folder)
    before = [origin(strategy, 0) for strategy in strategies]

    write([job(0), job(5)], "other.csv")
    check_traces(strategies[:2], folder)
    with pytest.raises(ConfigError, match=r"trace .*other.csv: has changed since"):
        check_traces(strategies, folder)
    after = [origin(strategy, 0) for strategy in strategies]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False]

    write([job(0), job(4)], "other.csv")  # as it was: the content counts, not the time
    check_traces(strategies, folder)
    with pytest.raises(ConfigError, match=r"traces.json is missing"):
        check_traces(strategies, Folder(tmp_path))


def test_a_trial_that_starts_after_the_trace_has_changed_is_refused(write, tmp_path):
    study = resolve(build({"strategies": ["sjf"], "env": config(write([job(0), job(9)]))}, "test"))
    begin(study, Folder(tmp_path / "out"))
    trial = StrategyTrial.__new__(StrategyTrial)  # as in an actor that takes over a trial
    trial._study, trial._experiment_folder = study, Folder(tmp_path / "out")
    trial._pretrained, trial._node = {}, "here"
    write([job(0), job(8)])
    trial.start({"strategy": "sjf", "seed": 0})
    assert "has changed since" in trial.step()["failed"]  # and it is not started again
    trial.cleanup()


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["mec-rllib", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code or 0


def test_resume_refuses_a_trace_that_has_changed(write, tmp_path, monkeypatch, capsys):
    path, out = write([job(0), job(9)]), tmp_path / "out"
    experiment = build({"strategies": ["sjf"], "env": config(path)}, "test")
    begin(resolve(experiment), Folder(out))
    write([job(0), job(8)])
    before = sorted(out.rglob("*"))
    assert run_main(monkeypatch, "resume", out) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"mec-rllib: trace {path}: has changed since the experiment in {out}")
    assert len(stderr.splitlines()) == 1
    assert sorted(out.rglob("*")) == before


def test_the_report_shows_what_was_done_though_the_file_is_gone(write, tmp_path):
    path, other = write([job(0), job(9)]), write([job(0, 300), job(4)], "other.csv")
    study, out = resolve(experiment_of(path, other)), tmp_path / "out"
    begin(study, Folder(out))
    said = []
    figures = tell_traces(study, said.append)
    path.unlink()
    other.unlink()
    shown = io.StringIO()
    report(out, Console(file=shown, width=120))
    trace = json.loads((out / "summary.json").read_text())["trace"]
    assert trace == {**json.loads(json.dumps(figures[0])), "others": figures[1:]}
    assert trace["jobs"] == 2
    assert len(said) >= 3  # two lines, and a warning of the work that is lost
    page, table = ((out / name).read_text() for name in ("report.html", "report.md"))
    for line in said:
        assert line in shown.getvalue()
        assert f"- {line}\n" in table
        assert f"<li>{line}</li>" in page


def test_evaluate_says_what_was_done_and_that_no_job_arrived(write, monkeypatch, capsys, tmp_path):
    path = write([job(494319 + k) for k in range(60)])
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"slots": 200, "env": config(path)}))
    play = ["evaluate", "--scheduler", "sjf", "--config", tmp_path / "c.yaml", "--json"]
    assert run_main(monkeypatch, *play) == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["rows"][0]["jobs_arrived"] > 0
    assert stderr.count(f"mec-rllib: trace {path}: 60 jobs in 59 s") == 1
    assert "no job arrived" not in stderr

    nothing = {"classes": [{"name": "rare", "mix": 1, "resources": [1, 1], "weight": 1}]}
    nothing["classes"][0] |= {"execution": [99, 99], "slack": [1, 1]}
    values = {"slots": 20, "evaluation": {"slots": 5}, "env": nothing | {"load": 1e-6}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    assert run_main(monkeypatch, *play) == 0
    assert "mec-rllib: no job arrived: sjf (seed 0)" in capsys.readouterr().err


def test_a_long_file_is_read_with_progress(write, monkeypatch):
    monkeypatch.setattr(trial_traces, "PROGRESS_EVERY_S", 0.0)
    path, said = write([job(k) for k in range(60)]), []
    trial_traces.read_traces([EnvConfig(**config(path))], said.append)
    assert said == [f"trace {path}: 100% read, 60 jobs"]


def test_rows_without_jobs_are_named():
    rows = [{"strategy": "sjf", "seed": k, "jobs_arrived": k} for k in range(2)]
    assert without_jobs(rows) == [
        "no job arrived: sjf (seed 0); there is nothing that these rows could tell"
    ]
    assert without_jobs([{"strategy": "cartpole", "seed": 0}]) == []


# The recordings that the project makes.

CHECKSUMS = {  # SHA-256 of the CSV: how tightly it is packed depends on the library
    "edge_day": "8bf0e4c9c4dbdddf39818f718107baf80015269edc0097d7c518ab4c8fcff019",
    "gpu_cluster": "d557330576ddbde39d9f1721048103ce7ef97f2983935acec3a54f0b70d4285a",
    "llm_requests": "083685305017352ed1478828938e5056e73cda8044ea520893bca37a94eb0798",
}


@pytest.mark.parametrize("name", made.MADE)
def test_the_generator_makes_exactly_the_file_in_the_package(name):
    packed = made.file_of(f"made:{name}").read_bytes()
    text = gzip.decompress(packed)
    assert hashlib.sha256(text).hexdigest() == CHECKSUMS[name]
    assert made.make(name).encode() == text
    assert len(packed) < 400_000


def test_made_traces_are_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = EnvConfig(**config("made:edge_day"))
    assert env.trace.path == "made:edge_day"
    assert env.build_workload().figures.line().startswith("trace made:edge_day: ")
    with pytest.raises(ValueError, match=r"'edge_dya'; did you mean 'edge_day'\?"):
        EnvConfig(**config("made:edge_dya"))
    experiment = build({"strategies": ["sjf"], "env": config("made:edge_day")}, "test")
    assert all(path.is_file() for path in _inputs(resolve(experiment)))


def test_the_made_edge_day_is_bursty_and_heavy_tailed():
    trace = read_trace("made:edge_day")
    span = trace.arrival_s[-1]
    assert span == pytest.approx(12 * 3600, rel=0.05)
    work = trace.duration_s * trace.demand[:, 0]
    assert work.sum() / span == pytest.approx(0.97, abs=0.05)
    counts = np.bincount((trace.arrival_s // 10).astype(int))
    assert counts.var() / counts.mean() > 8  # 1 where arrivals are independent
    assert np.sort(work)[-len(work) // 100 :].sum() > 0.15 * work.sum()
    assert np.mean(trace.job_class == 1) == pytest.approx(0.61, abs=0.02)


def test_the_made_cluster_is_never_empty_and_sleeps_at_night():
    trace = read_trace("made:gpu_cluster")
    work = trace.duration_s * trace.demand[:, 0]
    assert work.sum() / trace.arrival_s[-1] == pytest.approx(3, abs=0.4)
    ends = np.maximum.accumulate(trace.arrival_s + trace.duration_s)
    assert np.all(ends[:-1] > trace.arrival_s[1:])
    assert np.sort(work)[-len(work) // 100 :].sum() > 0.5 * work.sum()
    hour = (trace.arrival_s / 3600).astype(int) % 24
    by_hour = np.bincount(hour, minlength=24)
    assert by_hour[11:19].sum() > 1.5 * np.concatenate([by_hour[:7], by_hour[-1:]]).sum()


def test_the_made_requests_come_in_waves_and_are_what_an_import_makes_of_them():
    trace = read_trace("made:llm_requests")
    demand = trace.demand[:, 0]
    work = trace.duration_s * demand
    assert trace.arrival_s[-1] == pytest.approx(3600, rel=0.01)
    assert work.sum() / 3600 == pytest.approx(0.85, abs=0.1)
    counts = np.bincount((trace.arrival_s // 10).astype(int))
    assert counts.var() / counts.mean() > 5
    assert np.sort(work)[-len(work) // 100 :].sum() > 0.1 * work.sum()
    # An import's defaults: two equations, two unknowns; tokens come out as whole numbers.
    server = LLMRequests()
    tokens = demand * server.cache_tokens
    per_token = server.ms_per_token / 1000 - 1 / server.prefill_tokens_per_s
    generated = (trace.duration_s - tokens / server.prefill_tokens_per_s) / per_token
    assert np.abs(generated - np.round(generated)).max() < 0.25  # of rounded times
    assert 1 <= np.round(generated).min() <= np.round(generated).max() <= 2000
    is_short = np.round(generated) <= server.interactive_tokens
    assert np.array_equal(is_short, trace.job_class == trace.class_names.index("interactive"))
