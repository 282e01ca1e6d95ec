"""Dates (ISO 8601) as seconds."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mec_rllib.sim.jobs import Floats


def dates(texts: Iterable[str | None]) -> Floats:
    """Seconds since 1970 (UTC, unless a date says otherwise); NaN where a text is no date."""
    # Digits alone are no date here; pandas would take 2024 for a year.
    known = [None if text is None or text.strip().isdecimal() else text for text in texts]
    return since_1970(_parsed(pd.Series(known, dtype=object), "coerce"))


def dates_of(texts: pa.ChunkedArray) -> Floats | None:
    """The same of a column; None where a text is no date."""
    if pc.any(pc.utf8_is_decimal(texts)).as_py():
        return None
    try:
        return since_1970(_parsed(texts.to_pandas(), "raise"))
    except ValueError:
        return None


def _parsed(texts: pd.Series, errors: str) -> pd.Series:
    if texts.isna().all():
        return pd.Series(pd.NaT, index=texts.index, dtype="datetime64[us, UTC]")
    return pd.to_datetime(texts.str.strip(), format="ISO8601", utc=True, errors=errors)


def since_1970(moments: pd.Series) -> Floats:
    """Seconds; NaN where there is no moment."""
    # Microseconds are as fine as a float of so many seconds, and reach further than nanoseconds.
    microseconds = moments.dt.as_unit("us").astype("int64").to_numpy()
    return np.where(moments.isna(), np.nan, microseconds / 1e6)
