"""Damaged logs, at least twenty of each format: one line with file and line, nothing written."""

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logs import LOGS, SETTINGS, swf

from mec_rllib.errors import ConfigError
from mec_rllib.importers import IMPORTERS
from mec_rllib.importers.run import import_log
from mec_rllib.sim.traces.files import read_trace

FILES = {  # whatever the format: what is no text, or no log
    "empty": (b"", ""),
    "only line ends": (b"\n\r\n\n", ""),
    "zeros": (b"1,2\0,3\n", "cannot be read (not a text file: it holds a zero byte)"),
    "UTF-16": ("a,b\n".encode("utf-16"), "cannot be read (UTF-16 text; save it as UTF-8)"),
    "Excel": (b"PK\x03\x04" + b"x" * 9, "cannot be read (a ZIP or Excel file"),
    "xz": (b"\xfd7zXZ" + b"x" * 9, "cannot be read (compressed with xz"),
    "a cut gzip": (gzip.compress(b"1 2 3\n" * 99)[:-12], "cannot be read (Truncated"),
    "Parquet": (b"PAR1" + b"x" * 9, "cannot be read (Parquet, not text)"),
    "prose": (b"Dear reader,\nthis is no log.\n", "line 1: "),
}

GOOD_SWF = LOGS["swf"].splitlines()[-1]


def swf_field(k, value):
    """The last line with another value in a field (from 1)."""
    fields = GOOD_SWF.split()
    fields[k - 1] = value
    return LOGS["swf"].replace(GOOD_SWF, " ".join(fields))


DAMAGED = {
    "swf": {
        "a field too few": (LOGS["swf"] + "3 1 2 3 4", "line 7: has 5 fields, a job of SWF has 18"),
        "a field too many": (LOGS["swf"] + swf(3, 1, 2)[:-1] + " 9", "line 7: has 19 fields"),
        "commas": (GOOD_SWF.replace(" ", ","), "line 1: has 1 fields"),
        "text": (swf_field(4, "long"), "line 6: run time must be a number, not 'long'"),
        "NaN": (swf_field(4, "nan"), "line 6: run time must be a number, not 'nan'"),
        "endless": (swf_field(2, "inf"), "line 6: submit time must be a number, not 'inf'"),
        "a time below -1": (swf_field(2, "-5"), "line 6: submit time must be 0 or more, or -1"),
        "a run below -1": (swf_field(4, "-2"), "line 6: run time must be 0 or more, or -1, not -2"),
        "a time without bounds": (swf_field(2, "1e300"), "submit time must be at most 1e12, not"),
        "half a processor below 0": (swf_field(5, "-0.5"), "line 6: processors used must be 0 or"),
        "digits grouped": (swf_field(4, "3_600"), "line 6: run time must be a number, not '3_600'"),
        "a clock": (swf_field(2, "12:30"), "line 6: submit time must be a number, not '12:30'"),
        "only comments": ("; MaxProcs: 8\n;\n", ": holds no job"),
        "no comment mark": ("MaxProcs: 8\n" + GOOD_SWF, "line 1: has 2 fields"),
        "nobody ran": (swf(1, 0, -1), ": no job is left of 1 (1 without a run time)"),
    },
    "azure-llm": {
        "no header": (LOGS["azure-llm"].partition("\n")[2], "line 1: column ContextTokens is miss"),
        "a column less": (
            "TIMESTAMP,ContextTokens\n1,2\n",
            "line 1: column GeneratedTokens is mis",
        ),
        "a column twice": ("TIMESTAMP,ContextTokens,GeneratedTokens,timestamp\n", "there twice"),
        "semicolons": (LOGS["azure-llm"].replace(",", ";"), "line 1: column ContextTokens is miss"),
        "text": (
            LOGS["azure-llm"].replace("110", "many"),
            "line 3: ContextTokens must be a number",
        ),
        "nothing": (LOGS["azure-llm"].replace("110", ""), "line 3: ContextTokens must be a number"),
        "NaN": (LOGS["azure-llm"].replace("110", "nan"), "line 3: ContextTokens must be a number"),
        "below 0": (
            LOGS["azure-llm"].replace("110", "-1"),
            "line 3: ContextTokens must be a whole",
        ),
        "half": (LOGS["azure-llm"].replace("110", "1.5"), "0 or more, not 1.5"),
        "too many": (LOGS["azure-llm"].replace("110", "1e12"), "line 3: ContextTokens must be a w"),
        "no date": (
            LOGS["azure-llm"].replace("2023-11-16 18:17:04", "x"),
            "line 3: TIMESTAMP must",
        ),
        "a number": (
            LOGS["azure-llm"].replace("2023-11-16 18:17:04.9799600", "7"),
            "date (ISO 8601)",
        ),
        "no such day": (LOGS["azure-llm"].replace("11-16", "11-31"), "line 2: TIMESTAMP must be a"),
        "a short row": (LOGS["azure-llm"] + "2023-11-16 18:17:09,5\n", "line 4: has 2 fields, the"),
        "a long row": (LOGS["azure-llm"] + "2023-11-16 18:17:09,5,6,7\n", "line 4: has 4 fields"),
        "an open quote": (LOGS["azure-llm"] + '"2023-11-16 18:17:09,5,6\n', "line 4: "),
        "Latin-1": (LOGS["azure-llm"].encode() + b"\xe9,1,2\n", "line 4: not UTF-8 text"),
        "only a header": ("TIMESTAMP,ContextTokens,GeneratedTokens\n", ": no job is left of 0"),
    },
    "mooncake": {
        "a cut line": (
            LOGS["mooncake"] + '{"timestamp": 5',
            "line 3: is no JSON object (Expecting",
        ),
        "an array": ("[" + LOGS["mooncake"] + "]", "line 1: is no JSON object"),
        "a list": (LOGS["mooncake"] + "[1, 2, 3]\n", "line 3: must be an object {...}, not [1, 2"),
        "two on a line": (LOGS["mooncake"].replace("\n", " "), "line 1: is no JSON object (Extra"),
        "no time": (
            LOGS["mooncake"].replace('"timestamp": 3000', '"t": 1'),
            "line 2: timestamp is",
        ),
        "no output": (
            LOGS["mooncake"].replace("output_", "out_"),
            "line 1: output_length is missing",
        ),
        "text": (LOGS["mooncake"].replace("1100", '"long"'), "line 2: input_length must be a numb"),
        "a number as text": (
            LOGS["mooncake"].replace("1100", '"1100"'),
            "must be a number, not '11",
        ),
        "null": (LOGS["mooncake"].replace("1100", "null"), "line 2: input_length must be a number"),
        "true": (LOGS["mooncake"].replace("1100", "true"), "line 2: input_length must be a number"),
        "NaN": (LOGS["mooncake"].replace("1100", "NaN"), "line 2: input_length must be a number"),
        "below 0": (LOGS["mooncake"].replace("1100", "-1"), "line 2: input_length must be a whole"),
        "half": (
            LOGS["mooncake"].replace("1100", "1.5"),
            "input_length must be a whole number, 0 o",
        ),
        "a time below 0": (
            LOGS["mooncake"].replace("3000", "-1"),
            "line 2: timestamp must be 0 or",
        ),
        "nanoseconds": (
            LOGS["mooncake"].replace("3000", "1.7e18"),
            "timestamp must be milliseconds",
        ),
        "a deep one": (LOGS["mooncake"] + "[" * 100_000, "line 3: is no JSON object"),
        "CSV": ("timestamp,input_length,output_length\n0,1,2\n", "line 1: is no JSON object"),
    },
    "alibaba-pods": {
        "no header": (
            LOGS["alibaba-pods"].partition("\n")[2],
            "line 1: column cpu_milli is missing",
        ),
        "no qos": (LOGS["alibaba-pods"].replace("qos", "q"), "line 1: column qos is missing"),
        "a column twice": (
            LOGS["alibaba-pods"].replace("gpu_spec", "qos"),
            "column qos is there tw",
        ),
        "text": (
            LOGS["alibaba-pods"].replace("48000", "all"),
            "line 4: cpu_milli must be a number",
        ),
        "nothing": (
            LOGS["alibaba-pods"].replace("48000", ""),
            "line 4: cpu_milli must be a number",
        ),
        "NaN": (LOGS["alibaba-pods"].replace("48000", "nan"), "line 4: cpu_milli must be a number"),
        "NA": (
            LOGS["alibaba-pods"].replace(",90\n", ",NA\n"),
            "line 4: scheduled_time must be a nu",
        ),
        "NaN for a time": (
            LOGS["alibaba-pods"].replace(",90\n", ",NaN\n"),
            "scheduled_time must be",
        ),
        "endless": (
            LOGS["alibaba-pods"].replace(",99,", ",inf,"),
            "line 4: deletion_time must be a",
        ),
        "below 0": (
            LOGS["alibaba-pods"].replace("48000", "-1"),
            "line 4: cpu_milli must be 0 or mo",
        ),
        "half a GPU below 0": (
            LOGS["alibaba-pods"].replace("460", "-0.5"),
            "line 3: gpu_milli must",
        ),
        "too large": (
            LOGS["alibaba-pods"].replace("48000", "1e13"),
            "cpu_milli must be at most 1e12",
        ),
        "ends first": (
            LOGS["alibaba-pods"].replace(",160,", ",55,"),
            "line 3: deletion_time 55 is be",
        ),
        "begins first": (
            LOGS["alibaba-pods"].replace("160,60", "160,40"),
            "line 3: scheduled_time 40",
        ),
        "a short row": (
            LOGS["alibaba-pods"] + "d,1,2\n",
            "line 5: has 3 fields, the header has 11",
        ),
        "a long row": (LOGS["alibaba-pods"].replace("BE,", "BE,,"), "line 4: has 12 fields"),
        "nobody ran": (
            LOGS["alibaba-pods"].partition("\nb,")[0],
            "no job is left of 1 (1 at the start",
        ),
    },
    "bupt-edge": {
        "a header": (
            "a,b,c,d,e,f,g,start,end,j,up,down\n" + LOGS["bupt-edge"],
            "line 1: bytes up (11",
        ),
        "a short row": (LOGS["bupt-edge"] + "1,2,3\n", "line 4: has 3 fields, at least 12"),
        "semicolons": (LOGS["bupt-edge"].replace(",", ";"), "line 1: has 1 fields, at least 12"),
        "no begin": (
            LOGS["bupt-edge"].replace("2015-08-01 00:00:05.500000", ""),
            "line 2: begin (fie",
        ),
        "no date": (LOGS["bupt-edge"].replace("2015-08-01 00:00:05.500000", "x"), "must be a date"),
        "a number": (
            LOGS["bupt-edge"].replace("2015-08-01 00:00:15.500000", "9"),
            "line 2: end (field",
        ),
        "no such day": (
            LOGS["bupt-edge"].replace("2015-08-01", "2015-08-32"),
            "line 1: end (field 9) m",
        ),
        "no such hour": (
            LOGS["bupt-edge"].replace(" 00:00:15", " 25:00:15"),
            "line 2: end (field 9)",
        ),
        "ends first": (
            LOGS["bupt-edge"].replace(":15.5", ":05.4"),
            "line 2: ends 2015-08-01 00:00:05",
        ),
        "text": (
            LOGS["bupt-edge"].replace(",300,", ",some,"),
            "line 2: bytes up (11) must be a number",
        ),
        "nothing": (
            LOGS["bupt-edge"].replace(",300,", ",,"),
            "line 2: bytes up (11) must be a number",
        ),
        "NaN": (
            LOGS["bupt-edge"].replace(",300,", ",nan,"),
            "line 2: bytes up (11) must be a number",
        ),
        "endless": (
            LOGS["bupt-edge"].replace(",300,", ",inf,"),
            "line 2: bytes up (11) must be a num",
        ),
        "below 0": (
            LOGS["bupt-edge"].replace(",300,", ",-3,"),
            "line 2: bytes up (11) must be 0 or mo",
        ),
        "hexadecimal": (
            LOGS["bupt-edge"].replace(",300,", ",0x1F,"),
            "line 2: bytes up (11) must be",
        ),
        "down": (
            LOGS["bupt-edge"].replace(",300,0,", ",300,x,"),
            "line 2: bytes down (12) must be a n",
        ),
        "too short": (
            LOGS["bupt-edge"].splitlines()[0].replace(":02.0", ":01.0"),
            "1 of less than 0.05",
        ),
    },
    "csv": {
        "no header": (LOGS["csv"].partition("\n")[2], "line 1: column submit is missing; found: 0"),
        "another column": (LOGS["csv"].replace("queue", "q"), "line 1: column queue is missing"),
        "a column twice": (
            LOGS["csv"].replace("queue", "end"),
            "line 1: column end is there twice",
        ),
        "semicolons": (LOGS["csv"].replace(",", ";"), "line 1: column submit is missing"),
        "text": (LOGS["csv"].replace("64", "all"), "line 3: cores must be a number, not 'all'"),
        "nothing": (LOGS["csv"].replace("64", ""), "line 3: cores must be a number, not ''"),
        "NaN": (LOGS["csv"].replace("64", "nan"), "line 3: cores must be a number, not 'nan'"),
        "endless": (LOGS["csv"].replace("64", "inf"), "line 3: cores must be a number, not 'inf'"),
        "too much": (
            LOGS["csv"].replace("64", "65"),
            "line 3: demand (cores/64) must be above 0 and",
        ),
        "below 0": (LOGS["csv"].replace("64", "-1"), "line 3: demand (cores/64) must be above 0"),
        "ends first": (
            LOGS["csv"].replace("5,6", "5,4"),
            "line 3: duration_s (end-submit) must be ab",
        ),
        "a date": (LOGS["csv"].replace("5,6", "2024-01-01,6"), "line 3: submit must be a number"),
        "a clock": (
            LOGS["csv"].replace("5,6", "12:30,6"),
            "line 3: submit must be a number, not '12",
        ),
        "no class": (LOGS["csv"].replace("batch", ""), "line 3: job_class (queue) is empty"),
        "a short row": (LOGS["csv"] + "7,8\n", "line 4: has 2 fields, the header has 4"),
        "a long row": (LOGS["csv"] + "7,8,9,a,b\n", "line 4: has 5 fields, the header has 4"),
        "an open quote": (LOGS["csv"] + '7,8,9,"a\n', "line 4: "),
        "Latin-1": (LOGS["csv"].encode() + b"7,8,9,\xe9\n", "line 4: not UTF-8 text"),
        "only a header": (LOGS["csv"].partition("\n")[0] + "\n", "no job is left of 0 (no row)"),
    },
}
CASES = [
    (name, damage, *content)
    for name in IMPORTERS
    for damage, content in (FILES | DAMAGED[name]).items()
]


@pytest.mark.parametrize(
    ("name", "damage", "content", "message"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES]
)
def test_a_damaged_log_is_refused_with_its_line(tmp_path, name, damage, content, message):
    file = tmp_path / "damaged.log"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    importer = IMPORTERS[name](**SETTINGS.get(name, {}))
    with pytest.raises(ConfigError) as caught:
        import_log(importer, [file], tmp_path / "jobs.csv")
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.log"]


@pytest.mark.parametrize("name", IMPORTERS)
def test_there_are_twenty_damaged_logs_of_each_format(name):
    assert len(FILES) + len(DAMAGED[name]) >= 20
    assert len({content[0] for content in DAMAGED[name].values()}) == len(DAMAGED[name])
    assert LOGS[name] not in {content[0] for content in DAMAGED[name].values()}


@pytest.mark.parametrize("name", IMPORTERS)
@pytest.mark.parametrize("place", ["nowhere.log", "."])
def test_a_log_that_is_not_there_is_refused(tmp_path, name, place):
    importer = IMPORTERS[name](**SETTINGS.get(name, {}))
    with pytest.raises(ConfigError, match="cannot be read"):
        import_log(importer, [tmp_path / place], tmp_path / "jobs.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", IMPORTERS)
def test_of_several_logs_the_damaged_one_is_named(tmp_path, name):
    damage = next(iter(DAMAGED[name].values()))
    (tmp_path / "one.log").write_text("; UnixStartTime: 0\n" * (name == "swf") + LOGS[name])
    (tmp_path / "two.log").write_text(damage[0])
    importer = IMPORTERS[name](**SETTINGS.get(name, {}))
    with pytest.raises(ConfigError, match=r"two\.log: line"):
        import_log(importer, [tmp_path / "one.log", tmp_path / "two.log"], tmp_path / "jobs.csv")


EDITS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from([0, 0, 1, 5]),
        st.sampled_from(
            [
                b"",
                b"-",
                b"0",
                b"9e9",
                b"1e400",
                b"nan",
                b",",
                b",,",
                b"\n",
                b'"',
                b"{",
                b" ",
                b"\xe9",
            ]
        ),
    ),
    max_size=3,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=EDITS)
@pytest.mark.parametrize("name", IMPORTERS)
def test_whatever_a_log_holds_it_becomes_a_trace_or_one_line(tmp_path, name, edits):
    content = LOGS[name].encode()
    for place, length, text in edits:
        content = content[:place] + text + content[place + length :]
    file, out = tmp_path / "any.log", tmp_path / "jobs.parquet"
    file.write_bytes(content)
    fault = fault_of(name, file, out)
    if fault is None:
        assert len(read_trace(out).arrival_s) > 0
    else:
        assert fault.startswith(f"{file}: ")
        assert "\n" not in fault


def fault_of(name, file, out):
    try:
        import_log(IMPORTERS[name](**SETTINGS.get(name, {})), [file], out, overwrite=True)
    except ConfigError as error:
        return str(error)
    return None
