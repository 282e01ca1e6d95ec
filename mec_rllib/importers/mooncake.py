"""Mooncake's traces: JSON Lines with milliseconds, lengths in tokens, and hashes of blocks.

`hash_ids` name blocks of 512 tokens of the prompt, each with all that is before it. A block that an
earlier request had need not be read again where the server caches prefixes.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mec_rllib.importers.base import Found, Jobs
from mec_rllib.importers.lines import Log, fault, number, text_of
from mec_rllib.importers.llm import LLMRequests, is_no_count
from mec_rllib.sim.traces.form import short

TIME, PROMPT, GENERATED, BLOCKS = "timestamp", "input_length", "output_length", "hash_ids"


class Mooncake(LLMRequests):
    """Mooncake trace: JSON Lines with timestamp (ms), input_length, output_length, hash_ids."""

    prefix_cache: bool = Field(
        False, description="blocks of the prompt that an earlier request had are not read again"
    )
    block_tokens: int = Field(512, ge=1, description="tokens of a block in hash_ids")

    def jobs(self, files: Sequence[Path]) -> Jobs:
        """See `Importer.jobs`; several files share one clock."""
        logs = [self._read(file) for file in files]
        time, prompt, generated = (
            np.concatenate([log[name] for log in logs]) for name in (TIME, PROMPT, GENERATED)
        )
        found = Found(len(time))
        new = prompt
        if self.prefix_cache:
            new = self._unread(time, prompt, [ids for log in logs for ids in log[BLOCKS]])
            found.change(new < prompt, "with a prefix that is cached")
        return self.served(time / 1000.0, prompt, generated, found, new)

    def _read(self, file: Path) -> Log:
        rows, blocks, lines = [], [], []
        for line, entry in _objects(file):
            values = []
            for name in (TIME, PROMPT, GENERATED):
                if name not in entry:
                    raise fault(file, line, f"{name} is missing; found: {', '.join(entry):.120}")
                if isinstance(entry[name], bool | str):
                    raise fault(file, line, f"{name} must be a number, not {entry[name]!r:.60}")
                values.append(number(file, line, name, entry[name]))
            rows.append(values)
            blocks.append(self._blocks(file, line, entry))
            lines.append(line)
        columns = dict(zip((TIME, PROMPT, GENERATED), np.array(rows, float).T, strict=True))
        ids = np.empty(len(blocks), object)
        ids[:] = blocks
        log = Log(file, columns | {BLOCKS: ids}, np.array(lines))
        log.refuse(columns[TIME] < 0, f"{TIME} must be 0 or more, not {{{TIME}}}", TIME)
        log.refuse(columns[TIME] > 1e15, f"{TIME} must be milliseconds, not {{{TIME}}}", TIME)
        for name in (PROMPT, GENERATED):
            wrong = is_no_count(columns[name])
            log.refuse(wrong, f"{name} must be a whole number, 0 or more, not {{{name}}}", name)
        return log

    def _blocks(self, file: Path, line: int, entry: dict[str, Any]) -> tuple[Any, ...]:
        if not self.prefix_cache:
            return ()
        ids = entry.get(BLOCKS)
        if not isinstance(ids, list) or any(isinstance(k, list | dict) for k in ids):
            raise fault(file, line, f"{BLOCKS} must be a list of numbers, not {short(repr(ids))}")
        return tuple(ids)

    def _unread(
        self, time: np.ndarray, prompt: np.ndarray, blocks: Sequence[tuple[Any, ...]]
    ) -> np.ndarray:
        """(n,) tokens of each prompt behind the blocks that were there before it."""
        seen = set[Any]()
        new = np.empty(len(prompt))
        for row in np.argsort(time, kind="stable"):
            known = next((k for k, b in enumerate(blocks[row]) if b not in seen), len(blocks[row]))
            new[row] = max(prompt[row] - known * self.block_tokens, 0.0)
            seen.update(blocks[row])
        return new


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with their lines."""
    has_any = False
    for line, text in enumerate(text_of(file).split("\n"), 1):
        if not text.strip():
            continue
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise fault(file, line, f"is no JSON object ({error})") from None
        if not isinstance(entry, dict):
            raise fault(file, line, f"must be an object {{...}}, not {short(text.strip())}")
        has_any = True
        yield line, entry
    if not has_any:
        raise ValueError(f"{file}: holds no request")
