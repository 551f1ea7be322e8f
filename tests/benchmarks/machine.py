"""What a reader needs to know of the machine; nothing that names it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "streamlit", "jebm")


def facts() -> dict[str, str | int | float]:
    """Processor, cores, memory and system."""
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=True) or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that computing and serving rest on."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def load() -> float | None:
    """How many processes wanted to run over the last minute, where the system says so."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or "unknown"
