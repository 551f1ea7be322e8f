"""Somebody who looks at a page, without a browser: speaks the framework's protocol, as far as looking takes."""

import threading
import time
from urllib.parse import urlparse

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect


class Viewer:
    """One session: opens a page, and asks again as often as the page wants, until it leaves.

    A browser would also draw what it gets, which costs the viewer's machine and not the server's.

    Args:
        address: of the dashboard, such as http://127.0.0.1:8501.
        page: path of the page, such as ``train``.
        query: what stands after the question mark.
    """

    def __init__(self, address: str, page: str, query: str) -> None:
        self._page, self._query = page, query
        self._left = threading.Event()
        self._wanted: dict[str, float] = {}  # seconds between two looks, by fragment
        self._next: dict[str, float] = {}
        self.looks = 0
        self.received = 0
        self.failed = ""
        self._script = ""
        self._url = f"ws://{urlparse(address).netloc}/_stcore/stream"
        self._thread = threading.Thread(target=self._stay, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Close the page."""
        self._left.set()
        self._thread.join(20)

    def _stay(self) -> None:
        try:
            with connect(self._url, subprotocols=["streamlit"], max_size=None) as line:  # pyright: ignore
                self._ask(line)
                while not self._left.is_set():
                    self._hear(line)
                    now = time.monotonic()
                    for fragment, due in list(self._next.items()):
                        if now >= due:
                            self._next[fragment] = now + self._wanted[fragment]
                            self._ask(line, fragment)
                            self.looks += 1
        except Exception as error:  # noqa: BLE001 - told by whoever counts the viewers
            self.failed = f"{type(error).__name__}: {error}"

    def _ask(self, line: ClientConnection, fragment: str = "") -> None:
        message = BackMsg()
        message.rerun_script.query_string = self._query
        message.rerun_script.page_script_hash = self._script
        if fragment:
            message.rerun_script.fragment_id = fragment
            message.rerun_script.is_auto_rerun = True
        else:
            message.rerun_script.page_name = self._page
        line.send(message.SerializeToString())

    def _hear(self, line: ClientConnection) -> None:
        try:
            content = line.recv(timeout=0.05)
        except TimeoutError:
            return
        self.received += len(content)
        message = ForwardMsg.FromString(content if isinstance(content, bytes) else content.encode())
        match message.WhichOneof("type"):
            case "new_session":
                self._script = message.new_session.page_script_hash
            case "auto_rerun":
                fragment = message.auto_rerun.fragment_id
                if fragment not in self._wanted:
                    self._next[fragment] = time.monotonic() + message.auto_rerun.interval
                self._wanted[fragment] = message.auto_rerun.interval
            case "stop_auto_rerun":
                self._wanted, self._next = {}, {}
            case _:
                pass
