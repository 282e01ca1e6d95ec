"""The cluster recipes in deploy/: valid for Ray's launcher, safe and consistent for Kubernetes."""

import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
LAUNCHER = sorted(DEPLOY.glob("ray-up-*.yaml"))
KUBERAY = sorted((DEPLOY / "kuberay").glob("ray*.yaml"))
SCHEMA = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
CRDS = os.environ.get("KUBERAY_CRDS")  # folder with KubeRay's ray.io_*.yaml


def read(path):
    return yaml.safe_load(path.read_text())


def by_name(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


@by_name(LAUNCHER)
def test_rays_launcher_takes_the_file(path):
    config = read(path)
    jsonschema.validate(config, json.loads(SCHEMA.read_text()))
    filled = prepare_config(config)  # the launcher's own defaults
    validate_config(filled)
    assert sum(kind["max_workers"] for kind in filled["available_node_types"].values()) > 0
    for role in ("head", "worker"):
        assert "ray start" in config[f"{role}_start_ray_commands"][-1]
    assert "RAY_AUTH_MODE=token" in path.read_text()


def test_rays_launcher_refuses_what_is_misspelt():
    misspelt = read(LAUNCHER[0]) | {"setup_comands": []}
    with pytest.raises(jsonschema.ValidationError, match="setup_comands"):
        jsonschema.validate(misspelt, json.loads(SCHEMA.read_text()))


def cluster_spec(path):
    spec = read(path)["spec"]
    return spec.get("rayClusterSpec", spec)


def pod_specs(path):
    """Every pod that the manifest leads to, with its labels."""
    cluster, spec = cluster_spec(path), read(path)["spec"]
    templates = [cluster["headGroupSpec"]["template"]]
    templates += [group["template"] for group in cluster["workerGroupSpecs"]]
    templates += [spec["submitterPodTemplate"]] if "submitterPodTemplate" in spec else []
    return [(template["metadata"]["labels"], template["spec"]) for template in templates]


@by_name(KUBERAY)
def test_pods_are_unprivileged_and_ask_for_what_they_need(path):
    for _, pod in pod_specs(path):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 1000  # the image's user
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@by_name(KUBERAY)
def test_the_cluster_asks_for_a_token_and_shares_the_folder(path):
    cluster = cluster_spec(path)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == version("ray")
    claims = list(yaml.safe_load_all((DEPLOY / "kuberay/common.yaml").read_text()))
    claim = next(d for d in claims if d["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (mount,) = pod["containers"][0]["volumeMounts"]
        assert mount == {"name": volume["name"], "mountPath": "/runs"}


@by_name(KUBERAY)
def test_the_network_policy_covers_every_pod(path):
    documents = yaml.safe_load_all((DEPLOY / "kuberay/common.yaml").read_text())
    policy = next(d for d in documents if d["kind"] == "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    selected = policy["podSelector"]["matchLabels"].items()
    for labels, _ in pod_specs(path):
        assert selected <= labels.items()


def test_the_job_ends_its_cluster_and_goes_on_after_a_loss():
    spec = read(DEPLOY / "kuberay/rayjob.yaml")["spec"]
    assert spec["shutdownAfterJobFinishes"]
    assert spec["backoffLimit"] > 0
    assert "mec-rllib resume /runs/stationary" in spec["entrypoint"]
    # The shell that KubeRay puts around it must find nothing to expand.
    assert not re.search(r'["$`\\]', spec["entrypoint"])


def test_job_and_cluster_are_the_same():
    cluster, job = (cluster_spec(DEPLOY / f"kuberay/ray{n}.yaml") for n in ("cluster", "job"))
    assert cluster == job


def test_configs_that_the_recipes_name_exist():
    for path in (*LAUNCHER, *KUBERAY):
        for name in re.findall(r"tune_configs/(\w+\.yaml)", path.read_text()):
            assert (ROOT / "tune_configs" / name).is_file()


@pytest.mark.skipif(CRDS is None, reason="KUBERAY_CRDS names no folder with KubeRay's CRDs")
@by_name(KUBERAY)
def test_kuberay_takes_the_manifest(path):
    manifest = read(path)
    crd = read(Path(CRDS) / f"ray.io_{manifest['kind'].lower()}s.yaml")
    schema = next(v for v in crd["spec"]["versions"] if v["name"] == "v1")["schema"]
    jsonschema.validate(manifest, closed(schema["openAPIV3Schema"]))


def closed(schema):
    """The schema with unknown fields forbidden, as `kubectl --validate=strict` has it."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(inner) for key, inner in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    fields = schema.get("properties")
    if isinstance(fields, dict) and schema.get("type") == "object" and fields:
        result.setdefault("additionalProperties", False)
    return result
