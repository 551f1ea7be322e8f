"""The dashboard's server and the sample project, as ``jebm app`` and ``jebm demo`` start them."""

import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request

import pytest

from jebm_core.cli import main
from jebm_core.cli.demo import FILE, _same_work, sample_spec
from jebm_core.cli.serve import SETTINGS, dashboard, flags, require_free_port
from jebm_core.errors import SpecError
from jebm_core.runs.history import flattened
from tests.conftest import ROOT


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_settings_are_those_of_the_config_file():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))
    assert dict(flattened(config)) == SETTINGS


def test_every_setting_goes_before_those_of_other_files(tmp_path):
    (tmp_path / ".streamlit").mkdir()
    hostile = '[server]\naddress = "0.0.0.0"\nport = 1234\n[browser]\ngatherUsageStats = true\n'
    (tmp_path / ".streamlit" / "config.toml").write_text(hostile, encoding="utf-8")
    command = [sys.executable, "-m", "streamlit", "config", "show", *flags(8765)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    shown = tomllib.loads(done.stdout[done.stdout.index("[") :])
    everything = dict(flattened(shown))
    found = {name: everything[name] for name in (*SETTINGS, "server.port")}
    # This one also takes "auto", so the server keeps it as text and understands the words.
    assert found.pop("client.showErrorLinks") == "false"
    assert found | {"client.showErrorLinks": False} == SETTINGS | {"server.port": 8765}


def test_a_taken_port_is_one_sentence(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SpecError, match="--port"):
            require_free_port(port)
        for command in ("app", "demo"):
            assert main([command, "--port", str(port)]) == 2
            assert str(port) in capsys.readouterr().err
    require_free_port(port)


def test_runs_alike_are_found_whatever_they_are_called():
    spec = sample_spec("0" * 64)
    again = spec.to_json() | {"title": "other", "language": "ja", "settings": {}}
    assert _same_work(type(spec).from_json(again), spec)  # settings left out are the defaults
    assert not _same_work(type(spec).from_json(again | {"seed": 1}), spec)
    assert not _same_work(type(spec).from_json(again | {"settings": {"epochs": 3}}), spec)
    assert not _same_work(type(spec).from_json(again | {"settings": {"of a later version": 3}}), spec)
    assert FILE == "assembly.csv"


@pytest.mark.skipif(os.name != "posix", reason="signals end a process in order only on POSIX")
def test_app_serves_from_any_folder_and_ends_its_server(tmp_path):
    port = _free_port()
    served = subprocess.Popen(
        [sys.executable, "-m", "jebm_core", "app", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JEBM_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    try:
        assert f"http://127.0.0.1:{port}" in served.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.status == 200
    finally:
        served.send_signal(signal.SIGTERM)
        served.communicate(timeout=30)
    assert served.returncode == 128 + signal.SIGTERM
    require_free_port(port)  # the server has gone as well


def test_a_server_that_can_not_start_is_a_fault(monkeypatch, tmp_path):
    from jebm_core.errors import JebmError

    monkeypatch.setattr("jebm_core.cli.serve.app_folder", lambda: tmp_path)  # no main.py in it
    with pytest.raises(JebmError, match="did not start"), dashboard(_free_port()):
        pass


@pytest.mark.slow
def test_demo_check(tmp_path):
    # The whole way: fit through the run store, serve, look at the finished run's page, stop.
    environment = {**os.environ, "JEBM_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "jebm_core", "demo", "--check", "--port", str(_free_port())]
    first = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == "demo ok"
    again = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == 0, again.stderr
    assert re.search(r"is there already", again.stderr)  # the finished run is taken, and nothing is fitted
