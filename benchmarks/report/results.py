"""The results of a machine: one JSON file, of which a run renews its own sections, and its text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES
from benchmarks.cases.base import Case
from benchmarks.gpu.sections import SECTIONS, Section
from benchmarks.gpu.targets import as_table as gpu_table
from benchmarks.report.targets import as_table

FOLDER = Path(__file__).parents[1] / "results"


@dataclass
class Results:
    """The measurements of one machine.

    Attributes:
        machine: its description.
        sections: by case, its settings and rows; or why it was skipped.
        reasons: why targets are missed, by the target's text; written by hand, kept by each run.
    """

    machine: dict[str, Any]
    sections: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Results:
        return cls(**json.loads(path.read_text()))

    @property
    def device(self) -> str:
        return "cuda" if "gpu" in self.machine else "cpu"

    def write(self, folder: Path, stem: str) -> None:
        """Write the figures, and their tables as Markdown."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(vars(self), indent=1, ensure_ascii=False)
        (folder / f"{stem}.json").write_text(text + "\n")
        parts = [self.part(name) for name in ("targets", *self.sections)]
        (folder / f"{stem}.md").write_text(f"# {self.title}\n\n" + "\n".join(parts))

    @property
    def title(self) -> str:
        described = self.machine
        if "gpu" in described:
            return described["gpu"]
        return f"{described['processor']}, {described['threads']} threads"

    def part(self, name: str) -> str:
        """Return one section as Markdown: a case, or `targets`."""
        if name == "targets":
            return "\n".join(["## Targets", "", *self._targets()])
        section, case = self.sections[name], _case(name)
        head = [f"## {case.title}", ""]
        if "skipped" in section:
            return "\n".join([*head, f"Left out: {section['skipped']}.", ""])
        below = [f"{case.how} {_measured_with(section['measured'])}", ""]
        return "\n".join([*head, *case.tables(section["rows"]), *below])

    def _targets(self) -> list[str]:
        lines = as_table(self.sections, self.device, self.reasons)
        return [*lines, *gpu_table(self.sections)] if self.device == "cuda" else lines


def _measured_with(measured: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in measured.items())
    return f"Measured with {versions}."


def _case(name: str) -> Case | Section:
    """Return what shows a section of the results."""
    return CASES[name] if name in CASES else SECTIONS[name.removeprefix("gpu-")]
