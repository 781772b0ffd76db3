"""kubeconform on every object of manifests/ and charts/, against schemas made here from what Kubernetes and the Prometheus operator publish with their sources.

    k8s.io/kubernetes: swagger.json ─────────────► a schema per kind ─┐
    CustomResourceDefinitions (ours, theirs) ────► a schema per kind ─┴─► kubeconform -strict

An API server says more (`apply --dry-run=server`, in the case `charts:`), but only of kinds that it has.
"""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from . import places, versions
from .node_image import go_install, kubectl, sources
from .shell import run

# The Prometheus operator's definitions of the kinds that `spec.monitoring` and the charts make.
MONITORING_KINDS = ("podmonitors", "prometheusrules")
OWN_KINDS = places.REPOSITORY / "crds" / "zookeeperensembles.yaml"
MANIFESTS = places.REPOSITORY / "manifests"
# What has to be refused: a field that no kind of Kubernetes has, a type of ours, a field that the Prometheus operator does not know.
WRONG: tuple[dict[str, Any], ...] = (
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "wrong"}, "spec": {"port": []}},
    {"apiVersion": "zookeeper.ensemble.rs/v1alpha1", "kind": "ZooKeeperEnsemble", "metadata": {"name": "wrong"}, "spec": {"replicas": "three"}},
    {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "wrong"}, "spec": {"selector": {}, "endpoints": []}},
)

Schema = dict[str, Any]


def program(log: Path) -> Path:
    """Builds kubeconform, once."""
    return go_install("github.com/yannh/kubeconform/cmd/kubeconform", versions.KUBECONFORM, log)


def monitoring_definitions() -> list[Schema]:
    """The Prometheus operator's CustomResourceDefinitions."""
    folder = sources("github.com/prometheus-operator/prometheus-operator", versions.PROMETHEUS_OPERATOR) / "example" / "prometheus-operator-crd"
    return [yaml.safe_load((folder / f"monitoring.coreos.com_{plural}.yaml").read_text()) for plural in MONITORING_KINDS]


def prepare_definitions(_: Path) -> None:
    """Fetches what `monitoring_definitions` reads."""
    monitoring_definitions()


def prepare(log: Path) -> None:
    """Fetches and builds what `check` needs."""
    program(log)
    kubectl(log)
    sources("k8s.io/kubernetes", versions.KUBERNETES)
    prepare_definitions(log)


def check(folder: Path, charts: Iterable[str], log: Path) -> int:
    """Checks manifests/, its two kustomizations, and what charts have made; `folder` gets schemas and objects. Returns how many objects were checked. Raises
    AssertionError with what kubeconform says."""
    schemas, objects = folder / "schemas", folder / "objects"
    for made in (schemas, objects):
        made.mkdir(parents=True)
    swagger = json.loads((sources("k8s.io/kubernetes", versions.KUBERNETES) / "api" / "openapi-spec" / "swagger.json").read_text())
    for name, schema in [*of_swagger(swagger["definitions"]), *of_definitions([yaml.safe_load(OWN_KINDS.read_text()), *monitoring_definitions()])]:
        (schemas / name).write_text(json.dumps(schema))
    for file in sorted((MANIFESTS / "samples").glob("*.yaml")):
        (objects / f"sample-{file.name}").write_text(file.read_text())
    for name in ("manifests", "manifests/monitoring"):
        (objects / f"{name.replace('/', '-')}.yaml").write_text(run([kubectl(log), "kustomize", places.REPOSITORY / name]))
    for number, text in enumerate(charts):
        (objects / f"chart-{number}.yaml").write_text(text)
    for number, wrong in enumerate(WRONG):
        file = folder / f"wrong-{number}.json"
        file.write_text(json.dumps(wrong))
        said = _conform(schemas, file, log)
        assert said["summary"]["invalid"] == 1, f"kubeconform does not see what is wrong with {wrong}: {said}"
    said = _conform(schemas, objects, log)
    summary = said["summary"]
    assert summary["valid"] > 0 and not any(summary[what] for what in ("invalid", "errors", "skipped")), json.dumps(said["resources"], indent=1)
    return summary["valid"]


def _conform(schemas: Path, what: Path, log: Path) -> Any:
    """What kubeconform says of a file, or of all in a folder."""
    location = f"{schemas}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    words = [program(log), "-strict", "-summary", "-output", "json", "-schema-location", location, what]
    return json.loads(subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False).stdout)


def of_swagger(definitions: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """File name and schema of every kind that an API server has by itself. Changes the definitions."""
    for definition in definitions.values():
        _tighten(definition)
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            reached = {found: definitions[found] for found in _reached(name, definitions)}
            yield _file(kind["kind"], kind["group"], kind["version"]), {"$ref": f"#/definitions/{name}", "definitions": reached}


def of_definitions(definitions: Iterable[Schema]) -> Iterator[tuple[str, Schema]]:
    """File name and schema of every version of custom resources. Changes the definitions."""
    for spec in (definition["spec"] for definition in definitions):
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            _tighten(schema)
            schema["properties"].update({"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}})
            yield _file(spec["names"]["kind"], spec["group"], version["name"]), schema


def _tighten(schema: Any) -> None:
    """Has it refuse fields which it does not name, and say what it says in the words of JSON schema instead of OpenAPI's and Kubernetes' own."""
    if not isinstance(schema, dict):
        return
    # Words of Kubernetes for a number or a string. A quantity is declared a string, and may be written as a number.
    quantity = str(schema.get("description", "")).startswith("Quantity is a fixed-point")
    if schema.pop("x-kubernetes-int-or-string", False) or schema.get("format") == "int-or-string" or quantity:
        schema.pop("format", None)
        schema["type"] = ["string", "number" if quantity else "integer"]
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") is True
    if "properties" in schema and schema.get("type") == "object" and not open_ended:
        schema.setdefault("additionalProperties", False)
    # A field may be called as a word of schemas is, so only what holds schemas is gone into.
    below = [*schema.get("properties", {}).values(), *(part for word in ("allOf", "anyOf", "oneOf") for part in schema.get(word, ()))]
    for part in [*below, schema.get("items"), schema.get("additionalProperties"), schema.get("not")]:
        _tighten(part)


def _reached(name: str, definitions: Mapping[str, Schema]) -> set[str]:
    """The definitions that one needs, itself among them."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        found.add(current := ahead.pop())
        ahead += [other for other in _referred(definitions[current]) if other not in found]
    return found


def _referred(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix("#/definitions/")
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _referred(part)


def _file(kind: str, group: str, version: str) -> str:
    """As kubeconform names it: of the group, only what is before the first dot."""
    return "-".join(word for word in (kind, group.split(".")[0], version) if word).lower() + ".json"
