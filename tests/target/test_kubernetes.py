"""What is read from Kubernetes manifests, and what is told to whoever made a mistake in one."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from drainproof.errors import ManifestError
from drainproof.target.description import Target
from drainproof.target.kubernetes import PortHook, ReadinessProbe, Workload, read_workload
from drainproof.target.manifest import load_target
from drainproof.target.pod import ExecHook, HttpGetHook, Pod, SleepHook

DEPLOYMENT = """\
apiVersion: v1
kind: Service
metadata: {name: sentiment}
spec: {ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: sentiment
spec:
  replicas: 2
  template:
    metadata: {labels: {app: sentiment}}
    spec:
      terminationGracePeriodSeconds: 20
      containers:
        - name: server
          image: example/sentiment:1
          command: ["python", "-m", "sentiment"]
          args: ["--port", "8080"]
          env:
            - {name: MODEL, value: small}
            - name: TOKEN
              valueFrom: {secretKeyRef: {name: hub, key: token}}
          envFrom:
            - configMapRef: {name: settings}
          ports:
            - {name: http, containerPort: 8080}
            - {name: metrics, containerPort: 9090}
          lifecycle:
            preStop:
              exec: {command: ["sleep", "5"]}
          readinessProbe:
            httpGet: {path: /ready, port: http}
            periodSeconds: 2
            failureThreshold: 4
            successThreshold: 2
"""

INFERENCE_SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: iris}
spec:
  predictor:
    terminationGracePeriodSeconds: 45
    model:
      modelFormat: {name: sklearn}
      storageUri: s3://models/iris
      args: ["--workers=2"]
      lifecycle:
        preStop:
          httpGet: {path: quit, port: 8080}
      readinessProbe:
        httpGet: {path: /v2/health/ready, port: 8080}
"""

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  containers:
    - name: server
      image: example/server:1
"""

TOML = """\
[start]
command = ["server", "{port}", "{metrics_port}"]
ports = ["http", "metrics"]
[health]
readiness = "/ready"
[[request]]
path = "/predict"
duration = 1.0
"""


def workload(folder: Path, text: str, **choice: Any) -> Workload:
    file = folder / "deployment.yaml"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return read_workload(file, **choice)


def complaint(folder: Path, text: str, **choice: Any) -> str:
    with pytest.raises(ManifestError) as caught:
        workload(folder, text, **choice)
    assert str(caught.value).startswith(str(folder / "deployment.yaml"))
    return str(caught.value).removeprefix(str(folder / "deployment.yaml"))


def mistakes(folder: Path, text: str) -> dict[str, str]:
    """For each `key` or `key = value` the text under it."""
    head, *lines = complaint(folder, text).split("\n")
    assert re.fullmatch(rf' \(\w+ "\w+"\): {len(lines) // 2} mistakes?', head), head
    return {key.strip(): told.strip() for key, told in zip(lines[::2], lines[1::2], strict=True)}


def target(folder: Path, *, toml: str = "", yaml: str | None = None) -> Target:
    if yaml is not None:
        (folder / "deployment.yaml").write_text(yaml, encoding="utf-8")
        toml = '[kubernetes]\nmanifest = "deployment.yaml"\n' + toml
    (folder / "drainproof.toml").write_text(TOML + toml, encoding="utf-8")
    return load_target(folder)


def pod(folder: Path, *, toml: str = "", yaml: str | None = None) -> Pod:
    found = target(folder, toml=toml, yaml=yaml)
    assert found.pod is not None
    assert Target.from_json(json.loads(json.dumps(found.to_json()))) == found
    return found.pod


class TestWorkload:
    def test_of_a_deployment(self, tmp_path: Path) -> None:
        assert workload(tmp_path, DEPLOYMENT) == Workload(
            file=tmp_path / "deployment.yaml",
            kind="Deployment",
            name="sentiment",
            container="server",
            image="example/sentiment:1",
            command=("python", "-m", "sentiment"),
            args=("--port", "8080"),
            env={"MODEL": "small"},
            unknown_env=("TOKEN", "all of configMap settings"),
            ports={"http": 8080, "metrics": 9090},
            grace_period=20.0,
            says_grace_period=True,
            pre_stop=ExecHook(command=("sleep", "5")),
            readiness=ReadinessProbe(path="/ready", port="http", period=2.0, failures=4, successes=2),
        )

    def test_of_a_pod_with_nothing_but_defaults(self, tmp_path: Path) -> None:
        found = workload(tmp_path, POD)
        assert (found.grace_period, found.says_grace_period) == (30.0, False)
        assert (found.pre_stop, found.readiness, found.ports, found.env) == (None, None, {}, {})

    def test_of_a_stateful_set(self, tmp_path: Path) -> None:
        assert workload(tmp_path, DEPLOYMENT.replace("Deployment", "StatefulSet")).kind == "StatefulSet"

    def test_of_an_inference_service(self, tmp_path: Path) -> None:
        found = workload(tmp_path, INFERENCE_SERVICE)
        assert (found.container, found.image, found.args) == ("kserve-container", None, ("--workers=2",))
        assert found.grace_period == 45.0
        assert found.pre_stop == PortHook(path="/quit", port=8080)

    def test_of_an_inference_service_with_its_own_container(self, tmp_path: Path) -> None:
        text = """\
            kind: InferenceService
            metadata: {name: own}
            spec:
              predictor:
                containers:
                  - {name: proxy, image: p}
                  - {name: kserve-container, image: own:1}
            """
        assert workload(tmp_path, text).image == "own:1"

    @pytest.mark.parametrize("sleep", ["{seconds: 5}", "{seconds: 0}"])
    def test_has_a_sleep_hook(self, tmp_path: Path, sleep: str) -> None:
        text = DEPLOYMENT.replace('exec: {command: ["sleep", "5"]}', f"sleep: {sleep}")
        assert workload(tmp_path, text).pre_stop == SleepHook(seconds=float(sleep[-2]))

    def test_is_chosen_by_kind_name_and_container(self, tmp_path: Path) -> None:
        two = DEPLOYMENT + "---\n" + POD + "    - {name: sidecar, image: s}\n"
        assert workload(tmp_path, two, kind="Pod", container="sidecar").image == "s"
        assert workload(tmp_path, two, name="sentiment").kind == "Deployment"


class TestMistakes:
    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match=r"deployment\.yaml: there is no such file"):
            read_workload(tmp_path / "deployment.yaml")

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("a: [1", ", line 1, column 6: not valid YAML"),
            ("replicas: {{ .Values.n }}", "A template has to be rendered first: helm template"),
            ("kind: Service", "no object in it runs a container for long; expected one of Deployment, StatefulSet"),
            ("", "no object in it runs a container"),
            (DEPLOYMENT + "---\n" + POD, 'Deployment "sentiment", Pod "one". Say which one'),
            ("kind: Pod\nmetadata: {name: 2026-02-30}", "cannot be read as YAML"),
        ],
    )
    def test_no_object(self, tmp_path: Path, text: str, told: str) -> None:
        assert told in complaint(tmp_path, text)

    def test_another_object(self, tmp_path: Path) -> None:
        told = complaint(tmp_path, DEPLOYMENT, kind="Deployment", name="sentiments")
        assert told == (
            ': there is no Deployment "sentiments" in it. Did you mean "sentiment"? There is Deployment "sentiment"'
        )

    def test_the_container(self, tmp_path: Path) -> None:
        two = POD + "    - {name: sidecar}\n"
        assert "the containers are server, sidecar; say which one is the server" in complaint(tmp_path, two)
        told = complaint(tmp_path, two, container="servr")
        assert 'there is no container "servr". Did you mean "server"? The containers are server, sidecar' in told

    def test_all_are_told_at_once_with_their_keys(self, tmp_path: Path) -> None:
        text = (
            DEPLOYMENT.replace("terminationGracePeriodSeconds: 20", "terminationGracePeriodSeconds: soon")
            .replace('["sleep", "5"]', '["sleep", 5]')
            .replace("periodSeconds: 2", "periodSeconds: 0")
            .replace("containerPort: 9090", "containerPort: 90900")
            .replace("value: small", "value: 1")
        )
        container = "spec.template.spec.containers[0]"
        assert mistakes(tmp_path, text) == {
            'spec.template.spec.terminationGracePeriodSeconds = "soon"': (
                "expected a whole number, 1 or more: with 0 the pod is killed at once, and nothing can be drained"
            ),
            f"{container}.env[0].value = 1": 'expected a string (in quotes: "1")',
            f"{container}.ports[1].containerPort = 90900": "expected the number of a port, from 1 to 65535",
            f"{container}.lifecycle.preStop.exec.command[1] = 5": 'expected a string (in quotes: "5")',
            f"{container}.readinessProbe.periodSeconds = 0": "expected a whole number, 1 or more",
        }

    @pytest.mark.parametrize(
        ("old", "new", "key", "told"),
        [
            ("terminationGracePeriodSeconds", "terminationGracePeriodSecond", "Second = 20", "Did you mean"),
            (
                "          image",
                "          terminationGracePeriodSeconds: 9\n          image",
                "= 9",
                "belongs to the pod",
            ),
            ("preStop", "prestop", "lifecycle.prestop", "Did you mean"),
            ("lifecycle:", "lifecycel:", "lifecycel", "Did you mean lifecycle?"),
            ("exec: {", "tcpSocket: {port: 1, ", "tcpSocket", "Kubernetes accepts it and does nothing"),
            ("exec: {", "sleep: {seconds: 1}\n              exec: {", "preStop", "not exec and sleep"),
            ('exec: {command: ["sleep", "5"]}', "{}", "preStop", "expected one of exec, httpGet, sleep in it"),
            ('command: ["sleep", "5"]', "command: []", "exec.command", 'such as ["sleep", "5"]'),
            ('exec: {command: ["sleep", "5"]}', "sleep: {second: 5}", "sleep.second", "Did you mean"),
            ('exec: {command: ["sleep", "5"]}', "httpGet: {path: /}", "httpGet.port", "expected a port"),
            (
                'exec: {command: ["sleep", "5"]}',
                "httpGet: {port: 1, scheme: HTTPS}",
                "httpGet.scheme",
                "HTTP without TLS",
            ),
            ('exec: {command: ["sleep", "5"]}', "httpGet: {port: 1, host: a}", "httpGet.host", "another host"),
        ],
    )
    def test_around_the_hook(self, tmp_path: Path, old: str, new: str, key: str, told: str) -> None:
        found = mistakes(tmp_path, DEPLOYMENT.replace(old, new, 1))
        assert any(key in where and told in what for where, what in found.items()), found


class TestPod:
    def test_there_is_none_unless_it_is_declared(self, tmp_path: Path) -> None:
        assert target(tmp_path).pod is None

    def test_an_empty_section_has_the_defaults_of_kubernetes(self, tmp_path: Path) -> None:
        found = pod(tmp_path, toml="[pod]\n")
        assert (found.grace_period, found.pre_stop) == (30.0, None)
        assert (found.readiness_period, found.readiness_failures) == (10.0, 3)
        assert set(found.sources.values()) == {"default"}

    def test_takes_the_values_of_the_kubernetes_manifest(self, tmp_path: Path) -> None:
        found = pod(tmp_path, yaml=DEPLOYMENT)
        assert (found.grace_period, found.pre_stop) == (20.0, ExecHook(command=("sleep", "5")))
        assert (found.readiness_period, found.readiness_failures) == (2.0, 4)
        assert set(found.sources.values()) == {'deployment.yaml (Deployment "sentiment")'}

    @pytest.mark.parametrize(
        ("pre_stop", "hook"),
        [
            ('{ exec = ["a", "{b}"] }', ExecHook(command=("a", "{b}"))),
            ('{ exec = "sleep 5" }', ExecHook(command=("sleep", "5"))),
            ("{ sleep = 0.5 }", SleepHook(seconds=0.5)),
            ('{ http_get = { path = "/quit" } }', HttpGetHook(path="/quit")),
            (
                '{ http_get = { path = "/quit", port = "metrics", headers = { a = "b" } } }',
                HttpGetHook(path="/quit", port="metrics", headers={"a": "b"}),
            ),
        ],
    )
    def test_hooks_can_be_declared_directly_and_win(self, tmp_path: Path, pre_stop: str, hook: object) -> None:
        found = pod(tmp_path, yaml=DEPLOYMENT, toml=f"[pod]\npre_stop = {pre_stop}\n")
        assert (found.pre_stop, found.sources["pre_stop"]) == (hook, "[pod]")
        assert found.grace_period == 20.0

    @pytest.mark.parametrize(
        ("toml", "yaml", "periods", "sources"),
        [
            ("", DEPLOYMENT, (20, 20), ("deployment", "deployment")),
            ("[policy]\ngrace_period = 9\n", DEPLOYMENT, (20, 9), ("deployment", "[policy]")),
            ("[pod]\ngrace_period = 7\n", DEPLOYMENT, (7, 7), ("[pod]", "[pod]")),
            ("[pod]\n[policy]\ngrace_period = 9\n", None, (9, 9), ("[policy]", "[policy]")),
            ("[policy]\ngrace_period = 9\n", POD, (9, 9), ("[policy]", "[policy]")),
            ("[pod]\ngrace_period = 7\n[policy]\ngrace_period = 9\n", None, (7, 9), ("[pod]", "[policy]")),
        ],
    )
    def test_whose_grace_period_holds_is_said(
        self, tmp_path: Path, toml: str, yaml: str | None, periods: tuple[float, float], sources: tuple[str, str]
    ) -> None:
        found = target(tmp_path, toml=toml, yaml=yaml)
        assert found.pod is not None
        assert (found.pod.grace_period, found.policy.grace_period) == periods
        said = (found.pod.sources["grace_period"], found.pod.sources["policy.grace_period"])
        assert all(each.startswith(source) for each, source in zip(said, sources, strict=True)), said

    @pytest.mark.parametrize(
        ("ports", "port", "name"),
        [
            ("[{name: http, containerPort: 8080}, {name: metrics, containerPort: 9090}]", "9090", "metrics"),
            ("[{name: web, containerPort: 8080}]", "8080", "http"),
            ("[]", "8080", "http"),
            ("[{name: web, containerPort: 8080}, {name: other, containerPort: 9090}]", "web", "http"),
            ("[{name: web, containerPort: 8080}, {name: other, containerPort: 9090}]", "8080", "http"),
        ],
    )
    def test_the_port_of_a_get_request_is_found(self, tmp_path: Path, ports: str, port: str, name: str) -> None:
        yaml = POD + f"      ports: {ports}\n      readinessProbe: {{httpGet: {{port: 8080}}}}\n"
        yaml += f"      lifecycle: {{preStop: {{httpGet: {{port: {port}}}}}}}\n"
        assert pod(tmp_path, yaml=yaml).pre_stop == HttpGetHook(path="/", port=name)

    def test_the_port_of_a_get_request_is_found_by_its_number_in_the_container(self, tmp_path: Path) -> None:
        yaml = POD + "      ports: [{containerPort: 1}, {containerPort: 2}]\n"
        yaml += "      lifecycle: {preStop: {httpGet: {port: 2}}}\n"
        toml = '[container]\nimage = "a"\nports = { http = 1, metrics = 2 }\n'
        assert pod(tmp_path, yaml=yaml, toml=toml).pre_stop == HttpGetHook(path="/", port="metrics")

    def test_a_port_that_cannot_be_told_is_a_mistake(self, tmp_path: Path) -> None:
        yaml = POD + "      ports: [{containerPort: 1}, {containerPort: 2}]\n"
        yaml += "      lifecycle: {preStop: {httpGet: {port: 2}}}\n"
        with pytest.raises(ManifestError, match="it cannot be told which of the ports http, metrics"):
            target(tmp_path, yaml=yaml)
        found = pod(tmp_path, yaml=yaml, toml='[pod]\npre_stop = { http_get = { path = "/quit" } }\n')
        assert found.pre_stop == HttpGetHook(path="/quit")

    @pytest.mark.parametrize(
        ("toml", "key", "told"),
        [
            ('[kubernetes]\nmanifest = "no.yaml"\n', 'kubernetes.manifest = "no.yaml"', "there is no such file in"),
            ("[kubernetes]\n", "kubernetes.manifest", "missing; expected the Kubernetes manifest"),
            ('[kubernetes]\nkind = "Job"\n', 'kubernetes.kind = "Job"', 'expected "Deployment", "StatefulSet"'),
            ("[pod]\ngrace_period = 0\n", "pod.grace_period = 0", "greater than 0"),
            ("[pod]\npre_stop = 5\n", "pod.pre_stop = 5", "expected a table"),
            ("[pod]\npre_stop = {}\n", "pod.pre_stop = {}", "expected one of exec, sleep and http_get"),
            ('[pod]\npre_stop = { sleep = 1, exec = "a" }\n', "pod.pre_stop", "not exec and sleep"),
            ("[pod]\npre_stop = { exec = [] }\n", "pod.pre_stop.exec", "expected a command"),
            ("[pod]\npre_stop = { sleep = -1 }\n", "pod.pre_stop.sleep = -1", "0 or more"),
            ('[pod]\npre_stop = { http_get = { path = "/", port = "x" } }\n', 'port = "x"', "one of http, metrics"),
            ("[pod]\ngrace_period = 1\n", "request[0].duration = 1.0", "within the grace period of 1 s"),
        ],
    )
    def test_mistakes_in_its_sections(self, tmp_path: Path, toml: str, key: str, told: str) -> None:
        with pytest.raises(ManifestError) as caught:
            target(tmp_path, toml=toml)
        assert key in str(caught.value) and told in str(caught.value), str(caught.value)

    def test_a_request_that_is_longer_than_the_cluster_waits_is_a_mistake(self, tmp_path: Path) -> None:
        yaml = DEPLOYMENT.replace("terminationGracePeriodSeconds: 20", "terminationGracePeriodSeconds: 1")
        with pytest.raises(ManifestError, match=r"request\[0\]\.duration = 1\.0\n.*grace period of 1 s"):
            target(tmp_path, yaml=yaml)
