"""Faults of users' code, found before anything starts: file, line, and what was expected."""

import itertools
import textwrap

import pytest

from mec_rllib.config.load import build
from mec_rllib.config.strategies import resolve
from mec_rllib.errors import ConfigError
from mec_rllib.trials import dry_run
from mec_rllib.trials.check import check_study

GATE = """
    import numpy as np
    from mec_rllib.gates import Gate

    class Mine(Gate):
        {more}

        def wants(self, view):
            {body}
"""
SCHEDULER = """
    import numpy as np

    class Mine:
        def select(self, batch):
            {body}
"""
WORKLOAD = """
    import numpy as np
    from mec_rllib.sim.jobs import Jobs

    class Mine:
        class_names, capacity, length = ("beat",), (4,), None
        max_execution, max_slack, max_weight = 3, 5, 1.0

        def arrivals(self, rng, start, stop):
            n = len(arrival := np.arange(start, stop, 2))
            fill = lambda value: np.full(n, value)
            jobs = Jobs(arrival, fill(0), fill(2)[:, None], fill(3), fill(5), fill(1.0))
            {body}
"""
NUMBERS = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module and returns its name; a name is never used twice."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"users_{next(NUMBERS)}"

    def write(text, body, more="answers = 0"):
        text = textwrap.dedent(text).strip().format(body=body, more=more)
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def refused(**config):
    with pytest.raises(ConfigError) as caught:
        check_study(resolve(build({"slots": 1000} | config, "c")))
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return True", "{m}.py:7: Mine.wants() must return (N,) booleans, N = 3 here, returned b"),
        ("return nump.ones(3)", "{m}.py:8: Mine.wants() raised NameError: name 'nump' is not"),
        ("return view.can_ask[:2]", "returned an array (2,) of bool"),
        ("return view.can_ask[:, None]", "returned an array (3, 1) of bool"),
        ("return view.psi", "returned an array (3,) of float64"),
        ("pass", "booleans, N = 3 here, returned None"),
        ("return list(view.can_ask)", "returned list"),
        ("raise KeyError('fuel')", "{m}.py:8: Mine.wants() raised KeyError: 'fuel'"),
        ("return self.helper(view)", "'Mine' object has no attribute 'helper'"),
    ],
)
def test_a_gate_that_answers_wrongly_is_named(module, body, message):
    name = module(GATE, body)
    text = refused(strategies=[f"{name}:Mine"], runners={"servers": 3})
    assert message.format(m=name) in text
    assert text.startswith(f"{name}.py:")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "def credits(self, completed): return completed[0]",
            "Mine.credits() must return (N,) booleans",
        ),
        ("def reasons(self): return {'why': None}", "Mine.reasons() must return (N,) booleans"),
        ("def metrics(self): return self.figures", "Mine.metrics() raised AttributeError"),
        ("def get_state(self): return {'f': lambda: 0}", "what a checkpoint can hold (pickle): "),
        ("def set_state(self, state): self.x = state['x']", "raised KeyError: 'x'"),
        ("def __init__(self, num_servers): self.n = n", "raised NameError"),
    ],
)
def test_all_that_a_gate_does_is_tried(module, more, message):
    name = module(GATE, "return np.ones(3, bool)", more)
    text = refused(strategies=[f"{name}:Mine"], runners={"servers": 3})
    assert message in text
    assert text.startswith(f"{name}.py:5: Mine.")


def test_a_gate_that_chooses_answers_a_kind(module):
    kinds = [{"name": name} for name in ("small", "large")]
    name = module(GATE, "return np.full(3, 3)", "chooses_kind = True")
    text = refused(strategies=[f"{name}:Mine"], runners={"servers": 3}, env={"training_job": kinds})
    assert text == (
        f"{name}.py:7: Mine.wants() must return (N,) integers -1..1, N = 3 here, returned "
        "an array (3,) of int64 from 3 to 3"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 0", "{m}.py:4: Mine.select() must return (N,) integers, N = 2 here, returned int"),
        ("return np.zeros(2)", "returned an array (2,) of float64"),
        ("return batch.mask.argmin(axis=1)", "actions that batch.mask allows, returned"),
        ("return np.full(2, -1)", "returned -1 where it allows 0"),
        ("return np.full(2, 99)", "returned 99 where it allows 0"),
        ("return self.rank(batch)", "{m}.py:5: Mine.select() raised AttributeError"),
        ("return np.zeros(batch.num_servers + (batch.num_servers == 8), int)", "N = 8 here"),
    ],
)
def test_a_scheduler_that_answers_wrongly_is_named(module, body, message):
    """The evaluation at the end has 8 servers, whatever the trial has."""
    name = module(SCHEDULER, body)
    text = refused(strategies=[f"{name}:Mine"], runners={"servers": 2})
    assert message.format(m=name) in text
    assert text.startswith(f"{name}.py:")


def test_the_guide_is_tried_too(module):
    name = module(SCHEDULER, "return np.zeros(2)")
    text = refused(
        strategies=["pts"],
        runners={"servers": 2},
        exploration="guided",
        learner={"guide": {"scheduler": f"{name}:Mine"}},
    )
    assert text.startswith(f"{name}.py:4: Mine.select() must return (N,) integers")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return None",
            "{m}.py:8: Mine.arrivals() must return a mec_rllib.sim.jobs.Jobs, returned",
        ),
        ("return jobs[:5]", "returned tuple"),
        ("return jobs._replace(slack=5)", "slack is an array (n,), for n = 512 jobs; returned int"),
        ("return jobs._replace(requirement=fill(2))", "requirement is an array (n, 1)"),
        ("return jobs._replace(execution=fill(1.5))", "integers as execution, returned float64"),
        ("return jobs._replace(arrival=arrival[::-1])", "jobs sorted by arrival; job 1 has arriv"),
        ("return jobs._replace(arrival=arrival + 9)", "arrivals in slots 0..1023; job 508 has"),
        ("return jobs._replace(job_class=fill(1))", "a job_class below 1, the number of its class"),
        ("return jobs._replace(execution=fill(4))", "an execution from 1 to max_execution 3"),
        ("return jobs._replace(slack=fill(6))", "a slack from 0 to max_slack 5"),
        ("return jobs._replace(weight=fill(np.nan))", "a weight from 0 to max_weight 1"),
        ("return jobs._replace(requirement=fill(5)[:, None])", "from 0 to the capacity (4,)"),
        ("return job", "{m}.py:12: Mine.arrivals() raised NameError: name 'job' is not defined"),
    ],
)
def test_a_workload_that_answers_wrongly_is_named(module, body, message):
    name = module(WORKLOAD, body)
    text = refused(strategies=["sjf"], env={"workload": f"{name}:Mine"})
    assert message.format(m=name) in text
    assert text.startswith(f"{name}.py:")


def test_smaller_integers_are_taken(module):
    body = "return Jobs(*(c.astype(np.int32) for c in jobs[:5]), fill(1))"
    name = module(WORKLOAD, body)
    check_study(resolve(build({"strategies": ["sjf"], "env": {"workload": f"{name}:Mine"}}, "c")))


def test_what_a_workload_lacks_is_named(module):
    name = module(WORKLOAD.replace("max_slack, ", "").replace("3, 5, 1.0", "3, 1.0"), "return jobs")
    text = refused(strategies=["sjf"], env={"workload": f"{name}:Mine"})
    assert text.endswith("max_slack is missing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nump as np\n", "{m}.py:1: ModuleNotFoundError: No module named 'nump'"),
        ("x = 1\ny = np.zeros(3)\n", "{m}.py:2: NameError: name 'np' is not defined"),
        ("def wants(self view):\n", "{m}.py:1: SyntaxError: "),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(module, text, message):
    name = module(text, "")
    assert message.format(m=name) in refused(strategies=[f"{name}:Mine"])


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(dry_run, "fault_of", lambda error: None)  # no frame is the user's
    with pytest.raises(KeyError), dry_run.users_faults("pts"):
        raise KeyError("ours")
