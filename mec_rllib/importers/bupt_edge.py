"""The BUPT Edge-Computing-Dataset: requests of mobile users in Shanghai, a file per day, no header.

The recipe of `edge_shanghai.csv`: requests that begin on the day of their file, days one behind the
other. The demand comes from the bytes per second of service, by rank. What is served within seconds
is interactive. The source was recorded in windows, so silences are cut.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from mec_rllib.importers.base import Found, Importer, Jobs, interactive_where
from mec_rllib.importers.lines import Log, fault, number, seconds, text_of
from mec_rllib.sim.jobs import Floats

BEGIN, END, UP, DOWN = "begin (field 8)", "end (field 9)", "bytes up (11)", "bytes down (12)"
PLACES = {BEGIN: 7, END: 8, UP: 10, DOWN: 11}  # later fields hold addresses, with commas in them
DAY_S = 86_400.0


class BuptEdge(Importer):
    """BUPT Edge-Computing-Dataset: requests at edge servers (CSV without a header)."""

    days: str = Field(
        "",
        description="days to take, comma-separated: 2015-08-01,2015-08-09; none: of each file the "
        "day on which most of its requests begin",
    )
    shortest_s: float = Field(
        0.05, gt=0, description="requests that are served faster are left out"
    )
    longest_s: float = Field(600.0, gt=0, description="requests that take longer are left out")
    interactive_s: float = Field(
        5.0, ge=0, description="requests that are served within so many seconds are interactive"
    )
    silence_s: float = Field(10.0, gt=0, description="longer times without a request are cut to it")
    demand_low: float = Field(
        0.05,
        ge=0,
        le=1,
        description="demand = low + range * p^power, p: rank of the bytes per "
        "second of service, in (0, 1]",
    )
    demand_range: float = Field(0.55, ge=0, le=1, description="see --demand-low")
    demand_power: float = Field(3.0, gt=0, le=100, description="see --demand-low")

    digits: ClassVar[int] = 3
    demand_digits: ClassVar[int] = 4

    @field_validator("days")
    @classmethod
    def _are_days(cls, days: str) -> str:
        for day in filter(None, map(str.strip, days.split(","))):
            try:
                pd.Timestamp(day)
            except ValueError:
                raise ValueError(f"must be days such as 2015-08-01, not {day!r}") from None
        return days

    def jobs(self, files: Sequence[Path]) -> Jobs:
        """See `Importer.jobs`."""
        logs = [_read(file) for file in files]
        begin, end = (np.concatenate([seconds(log, name) for log in logs]) for name in (BEGIN, END))
        rate = np.concatenate([log[UP] + log[DOWN] for log in logs])
        duration = end - begin
        found = Found(len(begin))
        is_on_day = np.concatenate([self._on_its_day(seconds(log, BEGIN), found) for log in logs])
        found.leave_out(~is_on_day, "that begin on another day")
        found.leave_out(duration < self.shortest_s, f"of less than {self.shortest_s:g} s")
        found.leave_out(duration > self.longest_s, f"of more than {self.longest_s:g} s")
        speed = pd.Series(rate / np.where(found.kept, duration, 1.0)).where(found.kept)
        rank = speed.rank(pct=True).fillna(1.0).to_numpy()
        demand = np.minimum(self.demand_low + self.demand_range * rank**self.demand_power, 1.0)
        table = {"arrival_s": begin, "duration_s": duration, "demand": demand}
        names = interactive_where(duration <= self.interactive_s)
        return self.finished(pd.DataFrame(table | {"job_class": names}), found)

    def _on_its_day(self, begin: Floats, found: Found) -> np.ndarray:
        """(n,) which requests of a file begin on a day that is taken."""
        day = np.floor(begin / DAY_S).astype(np.int64)
        named = [d.strip() for d in self.days.split(",") if d.strip()]
        if named:
            return np.isin(day, [pd.Timestamp(d).value // (86_400 * 10**9) for d in named])
        its = Counter(day.tolist()).most_common(1)[0][0]
        before = found.assumed.get("days")
        name = str(np.datetime64(its, "D"))
        found.assumed["days"] = f"{before}, {name}" if before else name
        return day == its

    def trimmed(self, table: pd.DataFrame, found: Found) -> pd.DataFrame:
        """With silences cut."""
        pauses = table["arrival_s"].diff().fillna(0.0)
        if cut := int((pauses > self.silence_s).sum()):
            found.changed[f"silences over {self.silence_s:g} s cut"] = cut
        first = table["arrival_s"].iloc[0]
        return table.assign(arrival_s=first + pauses.clip(upper=self.silence_s).cumsum())


def _read(file: Path) -> Log:
    columns: dict[str, list] = {name: [] for name in PLACES}
    lines = []
    # Addresses and names are in whatever encoding, and nothing is quoted.
    for line, text in enumerate(text_of(file, "latin-1").split("\n"), 1):
        if not text.strip():
            continue
        row = text.split(",")
        if len(row) <= max(PLACES.values()):
            raise fault(file, line, f"has {len(row)} fields, at least 12 are needed")
        for name in (BEGIN, END):
            columns[name].append(row[PLACES[name]].strip())
        for name in (UP, DOWN):
            columns[name].append(number(file, line, name, row[PLACES[name]].strip()))
        lines.append(line)
    if not lines:
        raise ValueError(f"{file}: holds no request")
    arrays = {n: np.array(v, object if n in (BEGIN, END) else float) for n, v in columns.items()}
    log = Log(file, arrays, np.array(lines))
    for name in (UP, DOWN):
        log.refuse(log[name] < 0, f"{name} must be 0 or more, not {{{name}}}", name)
    wrong = seconds(log, END) < seconds(log, BEGIN)
    log.refuse(wrong, "ends {" + END + "}, before it begins, {" + BEGIN + "}", END, BEGIN)
    return log
