"""An HTTP server with the documented routes of MLflow's tracking server that a mirror uses, over MLflow's own store in
a file: the packages that the tests install have MLflow's client and store, and not its server."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.proto_json_utils import message_to_json

LOCK = threading.Lock()


def _entity(made: Any) -> dict[str, Any]:
    return json.loads(message_to_json(made.to_proto()))


def routes(client: MlflowClient, files: Path) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    """What each route does with its arguments."""

    def by_name(given: dict[str, Any]) -> dict[str, Any]:
        found = client.get_experiment_by_name(given["experiment_name"])
        if found is None:
            raise MlflowException("there is no such experiment", _missing())
        return {"experiment": _entity(found)}

    def log_batch(given: dict[str, Any]) -> dict[str, Any]:
        metrics = [
            Metric(m["key"], m["value"], m["timestamp"], int(m.get("step", 0))) for m in given.get("metrics", ())
        ]
        params = [Param(p["key"], p["value"]) for p in given.get("params", ())]
        tags = [RunTag(t["key"], t["value"]) for t in given.get("tags", ())]
        client.log_batch(given["run_id"], metrics, params, tags)
        return {}

    def update(given: dict[str, Any]) -> dict[str, Any]:
        status = given.get("status")
        status = RunStatus.to_string(status) if isinstance(status, int) else status
        if "end_time" in given:
            client.set_terminated(given["run_id"], status, int(given["end_time"]))
        else:
            client.update_run(given["run_id"], status)
        return {"run_info": _entity(client.get_run(given["run_id"]).info)}

    def create(given: dict[str, Any]) -> dict[str, Any]:
        tags = {tag["key"]: tag["value"] for tag in given.get("tags", ())}
        run = client.create_run(given["experiment_id"], int(given["start_time"]), tags, given.get("run_name"))
        return {"run": _entity(run)}

    def search(given: dict[str, Any]) -> dict[str, Any]:
        found = client.search_runs(given["experiment_ids"], given.get("filter", ""), max_results=1)
        return {"runs": [_entity(run) for run in found]}

    return {
        "experiments/get-by-name": by_name,
        "experiments/create": lambda given: {
            "experiment_id": client.create_experiment(given["name"], (files / given["name"]).as_uri())
        },
        "runs/search": search,
        "runs/create": create,
        "runs/get": lambda given: {"run": _entity(client.get_run(given["run_id"]))},
        "runs/log-batch": log_batch,
        "runs/update": update,
        "runs/set-tag": lambda given: client.set_tag(given["run_id"], given["key"], given["value"]) or {},
    }


def _missing() -> int:
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    return RESOURCE_DOES_NOT_EXIST


@contextmanager
def tracking_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a running server, and the list of the routes that were asked for."""
    known = routes(MlflowClient(f"sqlite:///{folder / 'server.sqlite'}"), folder)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, given: dict[str, Any]) -> None:
            route = urlsplit(self.path).path.removeprefix("/api/2.0/mlflow/")
            asked.append(route)
            status = 200
            try:
                with LOCK:
                    content = known[route](given)
            except KeyError:
                status, content = 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"no route {route}"}
            except MlflowException as error:
                status, content = error.get_http_status_code(), json.loads(error.serialize_as_json())
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.answer(dict(parse_qsl(urlsplit(self.path).query)))

        def do_POST(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()
