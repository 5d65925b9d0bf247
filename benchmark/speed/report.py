"""What the benchmarks print: where, when and how they ran, and a Markdown table."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path


def cpu_model() -> str:
    """The processor's name as the operating system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """Version of an installed package, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> str:
    """One line: processor, cores that this process may use, GPU if one is used, library versions."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count()
    parts = [cpu_model(), f"{cores} cores"]
    torch = sys.modules.get("torch")
    if torch is not None:
        parts.append(f"{torch.get_num_threads()} threads")
        if torch.cuda.is_available():
            parts.append(torch.cuda.get_device_name())
    parts += [f"{name} {found}" for name in ("torch", "openvino") if (found := version(name))]
    return ", ".join(parts)


def print_heading(subject: str) -> None:
    """What, where, when, how, and how busy the machine is before the benchmark adds to it."""
    print(f"{subject}\n")
    print(f"- machine: {machine()}")
    if hasattr(os, "getloadavg"):
        print(f"- load before, mean of a minute: {os.getloadavg()[0]:.1f}")
    print(f"- date: {date.today().isoformat()}")
    print(f"- command: `python {shlex.join([_own_name(), *sys.argv[1:]])}`\n")


def _own_name() -> str:
    script = Path(sys.argv[0]).resolve()
    root = Path(__file__).resolve().parents[2]
    return script.relative_to(root).as_posix() if script.is_relative_to(root) else script.name


def print_row(cells: Sequence[object]) -> None:
    """One row of a table, at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def print_header(titles: Sequence[str]) -> None:
    """Titles of a table; the first column is text, the others are numbers."""
    print_row(titles)
    print("|---|" + "---:|" * (len(titles) - 1), flush=True)
