"""``jebm app``: the dashboard on this machine, in a process that ends with the command."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from jebm_core.errors import JebmError, SpecError

HOST = "127.0.0.1"
LOOPBACK = (HOST, "localhost")
PortOption = Annotated[int, typer.Option(min=1024, max=65535, help="Port of the dashboard on 127.0.0.1.")]
NameOption = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="A host name by which a proxy passes requests on; repeatable."),
]

# The same as .streamlit/config.toml in the source, which is out of reach from other working folders.
SETTINGS: dict[str, str | int | bool] = {
    "server.headless": True,
    "server.address": HOST,
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 1100,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "runner.magicEnabled": False,
    "theme.font": "'Hiragino Sans', 'Yu Gothic UI', 'Meiryo', 'Noto Sans JP', 'Noto Sans CJK JP', sans-serif",
    "theme.light.primaryColor": "#1D4ED8",
    "theme.light.linkColor": "#1D4ED8",
    "theme.light.textColor": "#0F172A",
    "theme.light.backgroundColor": "#FFFFFF",
    "theme.light.secondaryBackgroundColor": "#F1F5F9",
    "theme.dark.primaryColor": "#2563EB",
    "theme.dark.linkColor": "#93C5FD",
    "theme.dark.textColor": "#F1F5F9",
    "theme.dark.backgroundColor": "#0F172A",
    "theme.dark.secondaryBackgroundColor": "#1E293B",
    "theme.dark.sidebar.primaryColor": "#93C5FD",
}

_START_WITHIN = 90.0  # seconds; a cold disk takes a while
_END_WITHIN = 5.0


def app(port: PortOption = 8501, allow_host: NameOption = None) -> None:
    """Serve the dashboard on this machine.

    It listens on http://127.0.0.1:PORT until it is interrupted; nothing leaves this machine. Others reach it through
    a proxy with TLS whose host name is given; people sign in where .streamlit/secrets.toml has a section [auth].

    Example: jebm app --port 8502

    Example: jebm app --allow-host poc.example.org
    """
    require_free_port(port)
    from jebm_core.runs import ensure_runner

    with ending_on_signals(), dashboard(port, allow_host or ()) as server:
        ensure_runner()
        typer.echo(f"The dashboard is at http://{HOST}:{port} (interrupt with Ctrl-C).")
        watch(server)


def require_free_port(port: int) -> None:
    """Refuse a port on which something else listens.

    Raises:
        SpecError: it is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SpecError(
                "Port {port} on {host} can't be used ({reason}); perhaps a dashboard runs there already. "
                "Choose another with --port.",
                port=port,
                host=HOST,
                reason=error.strerror or type(error).__name__,
            ) from None


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let the signals that ask a process to end unwind it in order, so that what it started ends too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def dashboard(port: int, names: Sequence[str] = ()) -> Iterator["subprocess.Popen[bytes]"]:
    """Start the dashboard's server, wait until it answers, and end it in any case.

    Args:
        names: host names besides those of this machine under which it may be reached.

    Raises:
        JebmError: the server did not start.
    """
    command = [sys.executable, "-m", "streamlit", "run", str(app_folder() / "server.py"), *flags(port, names)]
    posix = os.name == "posix"
    server = subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if _has_descriptor() else None,
        start_new_session=posix,  # a Ctrl-C comes to us first, and we end it in order
    )
    try:
        _wait_until_healthy(server, port)
        yield server
    finally:
        end(server)


def watch(server: "subprocess.Popen[bytes]") -> None:
    """Wait for the server for as long as it lives.

    Raises:
        JebmError: it ended by itself.
    """
    while server.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            server.wait(1.0)
    raise JebmError(f"The dashboard's server ended by itself with exit code {server.returncode}.")


def end(server: "subprocess.Popen[bytes]") -> None:
    """End a server: ask, then insist."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def app_folder() -> Path:
    """Where the dashboard's pages are, found without importing them.

    Raises:
        JebmError: this installation has no dashboard.
    """
    found = find_spec("app")
    for place in () if found is None else found.submodule_search_locations or ():
        if (Path(place) / "main.py").is_file():
            return Path(place).resolve()
    raise JebmError("This installation has no dashboard: the package app is missing.")


def flags(port: int, names: Sequence[str] = ()) -> list[str]:
    """The settings as options of the server: these go before any file or variable that the person may have."""
    quiet = {"logger.hideWelcomeMessage": True, "logger.level": "warning"}
    hosts = [f"--server.allowedHosts={name}" for name in (*LOOPBACK, *names)]
    return [f"--{name}={_text(value)}" for name, value in {**SETTINGS, **quiet, "server.port": port}.items()] + hosts


def environment() -> dict[str, str]:
    """This environment, in which a copy of jebm that is not installed is found as well."""
    folder, others = str(app_folder().parent), os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": folder if not others else f"{folder}{os.pathsep}{others}"}


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _has_descriptor() -> bool:
    try:
        sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        return False
    return True


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:  # nobody listens yet
        return False


def _wait_until_healthy(server: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + _START_WITHIN
    while time.monotonic() < until:
        if server.poll() is not None:
            raise JebmError(f"The dashboard's server did not start (exit code {server.returncode}).")
        if _is_healthy(port):
            return
        time.sleep(0.2)
    raise JebmError(f"The dashboard's server did not answer within {_START_WITHIN:.0f} seconds.")
