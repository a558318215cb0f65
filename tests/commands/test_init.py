"""`drainproof init`: folders as users have them, and the manifests that are proposed for them."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest
from drainproof.target.description import Target
from drainproof.target.manifest import load_target

from tests.commands.front_door import Done, drainproof
from tests.real.runs import run

PREDICT = """
    from fastapi import APIRouter, FastAPI
    from pydantic import BaseModel

    app = FastAPI()
    router = APIRouter(prefix="/v1")

    class Options(BaseModel):
        scale: float
        notes: str | None = None

    class Query(BaseModel):
        text: str
        tags: list[str]
        options: Options
        top_k: int = 3

    @app.get("/items/{item}")
    async def item(item: int): return item

    @app.get("/healthz")
    async def healthz(): return {"ok": True}

    @app.get("/live")
    async def live(): return {"ok": True}

    @router.post("/feedback")
    async def feedback(query: Query): return {}

    @router.post("/predict")
    async def predict(query: Query): return {"label": "positive", "text": query.text}

    app.include_router(router)
    """
BODY = {"text": "{token}", "tags": ["{token}"], "options": {"scale": 1.0}}


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


def init(folder: Path, *args: str, status: int = 0, **env: str) -> tuple[Done, Target]:
    done = drainproof("init", folder, *args, env=env)
    assert done.status == status, done.out + done.err
    return done, load_target(folder)


def without_start(folder: Path, **env: str) -> tuple[str, Target]:
    done, target = init(folder, "--no-start", **env)
    assert "nothing was confirmed" not in done.out.partition("problem")[0]
    return done.out, target


# Started, confirmed


def test_fastapi_is_started_and_confirmed_and_the_manifest_works(tmp_path: Path) -> None:
    folder = files(tmp_path / "server", **{"main.py": PREDICT})
    done, target = init(folder)
    for line in (
        "found       FastAPI application `app` in main.py\n",
        "confirmed   started, ready after ",
        "confirmed   GET /healthz answered 2xx\n",
        "confirmed   POST /v1/predict answered 200 with the token of its request\n",
        "confirmed   SIGTERM ended it after ",
        "left to you a slow one as well",
    ):
        assert line in done.out
    assert (target.readiness, target.liveness) == ("/healthz", "/live")
    [fast] = target.requests
    assert (fast.method, fast.path, json.loads(fast.body)) == ("POST", "/v1/predict", BODY)
    assert fast.expect.contains == "{token}"
    live = run(
        folder, report=tmp_path / "report", arguments=("-k", "TestStopUnderLoad and [SIGTERM-main-1w]"), timeout=120
    )
    outcomes = {v["requirement"]: v["verdict"] for v in live.results["verdicts"]}
    assert outcomes["DRAIN-2"] in ("pass", "fail"), live.explain()
    assert outcomes["EXIT-1"] == "pass", live.explain()
    assert not any("did not start" in v["summary"] for v in live.results["verdicts"])


def test_what_the_running_server_says_wins_over_its_code(tmp_path: Path) -> None:
    folder = files(
        tmp_path,
        **{"main.py": PREDICT.replace("app.include_router(router)", "app.include_router(router, prefix='/api')")},
    )
    _, target = init(folder)
    assert target.requests[0].path == "/api/v1/predict"


def test_a_server_without_a_health_path_is_asked_what_it_has_and_the_user_is_told(tmp_path: Path) -> None:
    folder = files(
        tmp_path,
        **{
            "app.py": """
            from fastapi import FastAPI
            app = FastAPI()
            @app.post("/classify")
            async def classify(values: list[float]): return {"class": 3}
            """
        },
    )
    done, target = init(folder)
    assert target.readiness == "/openapi.json"
    assert "# TODO the path that the platform asks before it sends traffic: /openapi.json only shows that" in done.out
    assert target.requests[0].expect.contains is None
    assert "# TODO expect what the answer holds" in done.out


def test_a_factory_in_a_package(tmp_path: Path) -> None:
    folder = files(
        tmp_path,
        **{
            "src/service/__init__.py": "",
            "src/service/names.py": "PREDICT = '/predict'",
            "src/service/main.py": """
            from fastapi import FastAPI
            from service.names import PREDICT
            def create_app() -> FastAPI:
                app = FastAPI()
                @app.get("/ready")
                def ready(): return {}
                @app.post(PREDICT)
                def predict(query: dict): return query
                return app
            """,
        },
    )
    done, target = init(folder)
    assert target.working_directory == folder / "src"
    assert target.command[3:5] == ("service.main:create_app", "--factory")
    assert "POST /predict answered 200" in done.out


def test_a_server_that_does_not_start_leaves_a_file_that_says_so(tmp_path: Path) -> None:
    folder = files(tmp_path, **{"main.py": "import no_such_package\n" + dedent(PREDICT)})
    done, target = init(folder, status=1)
    assert target.requests[0].path == "/v1/predict"
    assert (folder / "drainproof.toml").read_text().startswith("# TODO not confirmed: it ended with status 1 after")
    assert "problem     it ended with status 1" in done.out
    assert "No module named 'no_such_package'" in done.out


def test_a_server_whose_requests_nobody_can_guess_says_what_it_answered(tmp_path: Path) -> None:
    text = """
        from fastapi import FastAPI, HTTPException
        app = FastAPI()
        @app.get("/health")
        async def health(): return {}
        @app.post("/predict")
        async def predict(values: dict): raise HTTPException(422)
        """
    done, _ = init(files(tmp_path, **{"main.py": text}), status=1)
    assert "no request that could be guessed was answered with 200: POST /predict answered 422" in done.out


# Looked at


def test_the_application_that_is_meant_is_the_likeliest(tmp_path: Path) -> None:
    app = "from fastapi import FastAPI\n{} = FastAPI()\n"
    folder = files(
        tmp_path,
        **{
            "admin.py": app.format("admin"),
            "main.py": app.format("application"),
            "tests/test_x.py": app.format("t"),
            ".venv/lib/x.py": app.format("v"),
            "broken.py": "def",
        },
    )
    out, target = without_start(folder)
    assert target.command[3] == "main:application"
    assert "another one, `admin` in admin.py: not taken" in out
    assert "# TODO the path that the platform asks before it sends traffic: none was found" in out
    assert "# TODO the path and the body of a real request: none was found" in out


TWO = {
    "other.py": """
    from fastapi import FastAPI
    admin = FastAPI()
    """,
    "web.py": """
    from fastapi import FastAPI
    def create_app() -> FastAPI:
        app = FastAPI()
        @app.get("/healthz")
        def healthz(): return {}
        @app.post("/predict")
        def predict(query: dict): return query
        return app
    """,
}


def test_a_factory_with_routes_wins_over_an_application_without(tmp_path: Path) -> None:
    out, target = without_start(files(tmp_path, **TWO))
    assert target.command[3:5] == ("web:create_app", "--factory")
    assert "another one, `admin` in other.py: not taken" in out


def test_routes_of_another_application_are_not_taken(tmp_path: Path) -> None:
    routes = """
    from fastapi import APIRouter
    @admin.get("/ready")
    def ready(): return {}
    router = APIRouter(prefix="/admin")
    @router.post("/generate")
    def generate(query: dict): return {}
    admin.include_router(router)
    """
    main = """
    from fastapi import FastAPI
    from other import admin
    app = FastAPI()
    @app.get("/health")
    def health(): return {}
    @app.get("/label")
    def label(): return 1
    """
    _, target = without_start(files(tmp_path, **{"main.py": main, "other.py": TWO["other.py"] + routes}))
    assert target.command[3] == "main:app"
    assert target.readiness == "/health"
    assert [request.path for request in target.requests] == ["/label"]


def test_what_may_change_something_is_not_sent_unasked(tmp_path: Path) -> None:
    text = f"""
        from fastapi import FastAPI
        app = FastAPI()
        @app.get("/health")
        async def health(): return {{}}
        @app.get("/version")
        async def version(): return {{"version": 1}}
        @app.post("/admin/wipe")
        async def wipe(): open({str(tmp_path / "wiped")!r}, "w"); return {{}}
        """
    done, target = init(files(tmp_path / "server", **{"main.py": text}))
    assert target.requests[0].path == "/version"
    assert "found       POST /admin/wipe, not tried: it may change what the server keeps" in done.out
    assert not (tmp_path / "wiped").exists()


def test_the_next_command_can_be_pasted(tmp_path: Path) -> None:
    out, _ = without_start(files(tmp_path / "a b", **{"main.py": PREDICT}))
    assert f"next        pytest '--target={tmp_path}/a b' -x -k '" in out


def test_a_file_that_no_parser_takes_is_left_out(tmp_path: Path) -> None:
    without_start(files(tmp_path, **{"main.py": PREDICT, "deep.py": "-" * 100_000 + "1"}))


def test_settings_that_the_program_gives_to_uvicorn_are_carried_over(tmp_path: Path) -> None:
    text = dedent(PREDICT) + "import uvicorn\nuvicorn.run(app, port=80, timeout_graceful_shutdown=7, ssl_keyfile='k')\n"
    out, target = without_start(files(tmp_path, **{"main.py": text}))
    assert target.command[-2:] == ("--timeout-graceful-shutdown", "7")
    assert "# TODO main.py starts uvicorn itself" in out
    assert "(not carried over: ssl_keyfile)" in out


def test_the_environment_in_the_folder_is_the_one_that_starts_it(tmp_path: Path) -> None:
    folder = files(tmp_path, **{"main.py": PREDICT, ".venv/pyvenv.cfg": ""})
    (folder / ".venv" / "bin").mkdir()
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    _, target = without_start(folder)
    assert target.command[0] == "{folder}/.venv/bin/python"


KSERVE = """
    import kserve

    class Classifier(kserve.Model):
        def predict(self, payload, headers=None):
            return {"predictions": [each["text"] for each in payload["instances"]]}

    if __name__ == "__main__":
        kserve.ModelServer(%s).start([Classifier("sentiment")])
    """


def test_kserve(tmp_path: Path) -> None:
    out, target = without_start(files(tmp_path, **{"serve.py": KSERVE % ""}))
    assert "found       kserve.ModelServer in serve.py\nfound       the model 'sentiment'\n" in out
    assert target.command == ("{python}", "serve.py", "--http_port", "{port}", "--grpc_port", "{grpc_port}")
    assert target.ports == ("http", "grpc")
    assert (target.readiness, target.liveness) == ("/v2/health/ready", "/v2/health/live")
    assert target.requests[0].path == "/v1/models/sentiment:predict"
    assert json.loads(target.requests[0].body) == {"instances": [{"text": "{token}"}]}


def test_kserve_with_a_port_of_its_own_and_without_grpc(tmp_path: Path) -> None:
    out, target = without_start(files(tmp_path, **{"serve.py": KSERVE % "http_port=8080, enable_grpc=False"}))
    assert target.ports == ("http",)
    assert "# TODO serve.py sets http_port itself, which wins over the command line: take it out" in out


def model_archive(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": {"modelName": name, "handler": "handler.py"}}))
        archive.writestr(
            "handler.py", "def handle(rows, context):\n    return [row['body']['sentence'] for row in rows]\n"
        )


def test_torchserve(tmp_path: Path) -> None:
    folder = files(tmp_path, **{"config.properties": "inference_address=http://0.0.0.0:8080\n# comment\n"})
    model_archive(folder / "model-store" / "sentiment.mar", "sentiment")
    out, target = without_start(folder, PATH="/usr/bin:/bin")
    command = list(target.command)
    assert command[0] == "java"
    assert command[-7:] == [
        "-f",
        "drainproof.config.properties",
        "-s",
        "model-store",
        "-ncs",
        "-m",
        "sentiment=sentiment.mar",
    ]
    assert target.environment["TS_INFERENCE_ADDRESS"] == "http://127.0.0.1:{port}"
    assert target.readiness == "/ping"
    assert (target.requests[0].path, json.loads(target.requests[0].body)) == (
        "/predictions/sentiment",
        {"sentence": "{token}"},
    )
    assert (folder / "drainproof.config.properties").read_text() == (
        "inference_address=http://0.0.0.0:8080\n# comment\n"
        "# Needed to be started on free ports, and asked without a key:\n"
        "enable_envvars_config=true\ndisable_token_authorization=true\n"
    )
    assert (folder / "config.properties").read_text() == "inference_address=http://0.0.0.0:8080\n# comment\n"
    assert "# TODO TorchServe was not found: write the folder that has its ts/ in the place of PACKAGES" in out


def test_torchserve_with_a_configuration_that_is_right_as_it_is(tmp_path: Path) -> None:
    folder = files(
        tmp_path, **{"config.properties": "enable_envvars_config = true\ndisable_token_authorization=true\n"}
    )
    model_archive(folder / "m.mar", "m")
    _, target = without_start(folder)
    assert target.command[target.command.index("-f") + 1] == "config.properties"
    assert target.command[target.command.index("-s") + 1] == "."
    assert not (folder / "drainproof.config.properties").exists()


@pytest.mark.parametrize(
    "text, port, readiness, todo",
    [
        ('FROM x\nEXPOSE 9000/tcp 9001\nCMD ["python", "s.py"]\n', 9000, None, None),
        ('FROM x\nENTRYPOINT ["s", "--port"]\nCMD ["8123"]\n', 8123, None, None),
        ("FROM x\nEXPOSE 80\nFROM y\nCMD s --bind 0.0.0.0:8181 \\\n  --verbose\n", 8181, None, "starts it by a shell"),
        ('FROM x\nCMD ["s"]\n', 8000, None, "Dockerfile has no EXPOSE, 8000 is a guess"),
        ('FROM x\nEXPOSE 99999 0\nCMD ["s"]\n', 8000, None, "Dockerfile has EXPOSE 99999 0, which is no port, 8000 is"),
        ('FROM x\nEXPOSE 8100-8110/tcp\nCMD ["s"]\n', 8100, None, None),
        (
            "FROM x\nEXPOSE 80\nHEALTHCHECK CMD curl -f http://localhost:80/up || exit 1\nCMD exec s\n",
            80,
            "/up",
            None,
        ),
    ],
)
def test_a_dockerfile(tmp_path: Path, text: str, port: int, readiness: str | None, todo: str | None) -> None:
    out, target = without_start(files(tmp_path, Dockerfile=text))
    assert target.launch == "container"
    assert target.container is not None
    assert target.container.ports == {"http": port}
    assert target.container.build == tmp_path
    assert target.readiness == (readiness or "/")
    if todo is None:
        assert "a shell" not in out
        assert "EXPOSE," not in out
    else:
        assert todo in out


def test_an_application_with_a_dockerfile_can_be_launched_in_both_ways(tmp_path: Path) -> None:
    folder = files(tmp_path, **{"main.py": PREDICT, "Dockerfile": 'FROM x\nEXPOSE 80\nCMD ["uvicorn", "main:app"]\n'})
    _, target = without_start(folder)
    assert target.launch == "process"
    again = load_target(folder, launch="container")
    assert again.container is not None
    assert (again.container.ports, again.readiness) == ({"http": 80}, "/healthz")


def test_kserve_in_a_container_has_the_ports_of_both_protocols(tmp_path: Path) -> None:
    without_start(files(tmp_path, **{"serve.py": KSERVE % "", "Dockerfile": 'FROM x\nCMD ["python", "serve.py"]\n'}))
    again = load_target(tmp_path, launch="container")
    assert again.container is not None
    assert again.container.ports == {"http": 8080, "grpc": 8081}


# What is there stays


@pytest.mark.parametrize("name", ["drainproof.toml", "pyproject.toml"])
def test_a_manifest_is_never_written_over(tmp_path: Path, name: str) -> None:
    mine = "[tool.drainproof]\n"
    folder = files(tmp_path, **{"main.py": PREDICT, name: mine})
    done = drainproof("init", folder, "--no-start")
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        f"drainproof init: error: {folder}: has a manifest already; --force writes a drainproof.toml all the same\n"
    )
    assert (folder / name).read_text() == mine
    assert drainproof("init", folder, "--no-start", "--force").status == 0
    assert "main:app" in (folder / "drainproof.toml").read_text()


def test_an_empty_folder_says_what_to_write(tmp_path: Path) -> None:
    done = drainproof("init", tmp_path)
    assert done.status == 2
    assert "found no server: no FastAPI or other ASGI application" in done.err
    assert "[[request]]" in done.err
    assert list(tmp_path.iterdir()) == []


def test_no_folder(tmp_path: Path) -> None:
    done = drainproof("init", tmp_path / "no")
    assert (done.status, done.err) == (2, f"drainproof init: error: {tmp_path}/no: there is no such folder\n")
