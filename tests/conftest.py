"""What every test may rely on: a private home for runs, and resources that a machine may lack.

A test that needs a resource asks for its fixture: ``shared_data``, ``chromium``, ``gpu`` or ``postgres``. The test
then carries the marker of that name (``browser`` for ``chromium``), so that ``-m "not browser"`` leaves it out, and
where the resource is absent it is skipped with the reason.
"""

import os

# Before torch is imported, here and in every process that a test starts: the tests are many small computations, and
# threads that wait for one another make them ten times slower on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgres import programs, server

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
MARKER_OF_FIXTURE = {"shared_data": "shared_data", "chromium": "browser", "gpu": "gpu", "postgres": "postgres"}

# The same examples on every run of a build; fresh ones at a desk, where a new counterexample is welcome.
settings.register_profile("build", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("desk", deadline=None, print_blob=True)
settings.load_profile("build" if os.environ.get("CI") else "desk")

# Measurements are started by hand (make bench); collecting them for doctests would only import them.
collect_ignore_glob = ["benchmarks/[!t]*", "benchmarks/timing.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the markers of the resources that it asks for, and keep those in one process that share a fixture:
    the tests of a file, and all of the pages, whose runs are fitted once."""
    for item in items:
        pages = ROOT / "tests" / "app" in item.path.parents
        item.add_marker(pytest.mark.xdist_group("pages" if pages else str(item.path)))
        for fixture, marker in MARKER_OF_FIXTURE.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run store of this session: no test reads or writes the runs of the person at the machine."""
    home = tmp_path_factory.mktemp("jebm_home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JEBM_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of public data sets beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no public data sets: ../shared/data, seen from the repository, does not exist")
    return SHARED_DATA


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome that is installed on this machine."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no browser: none of chromium, chromium-browser, google-chrome is on the PATH")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server, without the name of a database."""
    if programs() is None:
        pytest.skip("no PostgreSQL: neither pg_ctl on the PATH nor /usr/lib/postgresql")
    with server() as url:
        yield url


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database; afterwards this process has no connection to it."""
    import psycopg

    from jebm_core.runs.database import pooled

    place = postgres.replace("+psycopg", "")
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{place}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # pyright: ignore
    yield f"{postgres}/{name}"
    pooled(f"{postgres}/{name}").dispose()


@pytest.fixture(scope="session")
def gpu() -> str:
    """Name of a torch device other than the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    pytest.skip("no GPU: torch.cuda.is_available() is false")
