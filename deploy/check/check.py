#!/usr/bin/env python3
"""Whether what is deployed is what it should be: `make deploy-check`.

Says nothing but one line on success; on failure each file with its reason. What could not be looked at is said aloud.
The chart is rendered with every file of `chart/ci`, and refuses every file of `chart/ci/refused` with the reason that
the file's first line names.
"""

import argparse
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

DEPLOY = Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent
CHART = DEPLOY / "chart"
MANIFESTS = DEPLOY / "manifests"
SERVICES = ["intake", "routing", "audit"]
# Kubernetes versions, newest last.
NEWEST = 3

problems = []
aloud = []


def problem(where, reason):
    problems.append(f"{where}: {reason}")


def short(path):
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def some(folder, pattern):
    """The files; that there are none would look like success."""
    files = sorted(folder.glob(pattern))
    if not files:
        problem(short(folder), f"has no {pattern}")
    return files


# YAML 1.1 reads `off`, `010` and `1_000` as what they are not; Kubernetes reads YAML as 1.2 does, apart from that. Doubled
# keys would be passed over, which hides a field.
class Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        doubled = {key for key in keys if keys.count(key) > 1}
        if doubled:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: the key {sorted(doubled)[0]} is there twice")
        return super().construct_mapping(node, deep)


def documents(text):
    return [document for document in yaml.load_all(text, Loader=Loader) if document]


def helm(*arguments):
    ran = subprocess.run([ARGUMENTS.helm, *map(str, arguments)], capture_output=True, text=True)
    said = [line for line in ran.stderr.splitlines() if "found symbolic link" not in line and line.strip()]
    return ran.returncode, ran.stdout, "\n".join(said)


def render(values, release="remit"):
    return helm("template", release, CHART, "--namespace", "remit", "--values", values)


def whose(document):
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


# --- The chart --------------------------------------------------------------------------------------------------------


def lint():
    for values in sorted((CHART / "ci").glob("*.yaml")):
        code, out, err = helm("lint", CHART, "--strict", "--quiet", "--values", values)
        if code:
            problem(short(CHART), f"helm lint with {values.name}: {out.strip()} {err}")


def renderings():
    """What the chart gives for each file of values."""
    files = some(CHART / "ci", "*.yaml") + [MANIFESTS / "values.yaml"]
    rendered = {}
    with ThreadPoolExecutor() as pool:
        for values, (code, out, err) in zip(files, pool.map(render, files)):
            if code:
                problem(short(values), f"the chart does not take it: {err}")
                continue
            try:
                rendered[values] = documents(out)
            except yaml.YAMLError as error:
                problem(short(values), f"what the chart makes of it is no YAML: {error}")
    return rendered


def refusals():
    files = some(CHART / "ci" / "refused", "*.yaml")
    with ThreadPoolExecutor() as pool:
        for values, (code, _, err) in zip(files, pool.map(render, files)):
            expected = values.read_text().splitlines()[0].removeprefix("# ")
            if code == 0:
                problem(short(values), f"the chart takes it; it should say: {expected}")
            elif expected not in err:
                problem(short(values), f"refused, but for another reason.\n  expected: {expected}\n  said: {err}")


def objects(rendered):
    """Each object against the schema of its kind, for each version."""
    versions = sorted(
        {kubernetes_validate.utils.major_minor(v) for v in kubernetes_validate.utils.all_versions()},
        key=lambda version: [int(part) for part in version.split(".")],
    )[-NEWEST:]
    cache = {}
    contents = kubernetes_validate.utils.schema_contents
    kubernetes_validate.utils.schema_contents = lambda name, version: cache.setdefault(name, None) or cache.update(
        {name: contents(name, version)}
    ) or cache[name]
    custom, seen = [], set()
    for values, all_of_them in rendered.items():
        names = set()
        for document in all_of_them:
            where = f"{short(values)}: {whose(document)}"
            if (key := (document["apiVersion"], whose(document))) in names:
                problem(where, "is there twice")
            names.add(key)
            if (text := json.dumps(document, sort_keys=True)) in seen:
                continue
            seen.add(text)
            for version in versions:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.SchemaNotFoundError:
                    custom.append({"where": where, "object": document})
                    break
                except kubernetes_validate.ValidationError as error:
                    path = "/".join(map(str, error.path))
                    problem(where, f"Kubernetes {version} refuses it at {path}: {error.message[:200]}")
    others(custom)
    return versions


def others(custom):
    """Kinds of other projects."""
    for file in some(DEPLOY / "cluster", "*.yaml"):
        for document in documents(file.read_text()):
            custom.append({"where": f"{short(file)}: {whose(document)}", "object": document})
    ran = subprocess.run(
        ["node", DEPLOY / "check" / "custom.mjs", ARGUMENTS.schemas], input=json.dumps(custom), capture_output=True, text=True
    )
    if ran.returncode:
        problem("deploy/check/custom.mjs", ran.stderr.strip()[-600:])
        return
    unknown = set()
    for found in json.loads(ran.stdout):
        if found["problem"] is None:
            unknown.add(found["where"])
        else:
            problem(found["where"], found["problem"])
    if unknown:
        aloud.append(f"NOT CHECKED, since no package has their schema: {', '.join(sorted(unknown))}")


def pods(rendered):
    """What the restricted profile asks for, and what every pod of ours has."""
    for values, all_of_them in rendered.items():
        for document in all_of_them:
            if document["kind"] not in ("Deployment", "Job"):
                continue
            where = f"{short(values)}: {whose(document)}"
            pod = document["spec"]["template"]["spec"]

            def ask(holds, what):
                if not holds:
                    problem(where, what)

            security = pod.get("securityContext", {})
            ask(security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0, "runs as root")
            ask(security.get("seccompProfile") == {"type": "RuntimeDefault"}, "has no seccomp profile")
            ask(pod.get("automountServiceAccountToken") is False, "has a service account's token")
            ask(pod.get("enableServiceLinks") is False, "has variables of services, which begin with REMIT_")
            for host in ("hostNetwork", "hostPID", "hostIPC"):
                ask(not pod.get(host), f"has {host}")
            ask(not any("hostPath" in volume for volume in pod.get("volumes", [])), "mounts a folder of the host")
            for volume in pod.get("volumes", []):
                # 0644 is what Kubernetes takes by itself.
                mode = volume["secret"].get("defaultMode", 0o644) if "secret" in volume else 0
                ask(mode & 0o037 == 0, f"the secret {volume['name']} is open to others: the program refuses it")
            for volume in pod.get("volumes", []):
                # A rotated key is several files.
                ask(volume["name"] != "log-key" or "items" not in volume["secret"], "mounts a part of the log's keys only")
            mounts = {volume["name"] for volume in pod.get("volumes", [])}
            for container in pod["containers"]:
                own = container.get("securityContext", {})
                ask(own.get("allowPrivilegeEscalation") is False, "may gain privileges")
                ask(own.get("readOnlyRootFilesystem") is True, "can write its root")
                ask(own.get("capabilities") == {"drop": ["ALL"]}, "keeps capabilities")
                ask("memory" in container.get("resources", {}).get("requests", {}), "requests no memory")
                mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
                ask(mounted <= mounts, f"mounts what is no volume: {mounted - mounts}")
                mounts -= set() if document["kind"] == "Job" else mounted
                if document["kind"] == "Deployment":
                    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                        ask(probe in container, f"has no {probe}")
            if document["kind"] == "Deployment":
                chosen = document["spec"]["selector"]["matchLabels"]
                ask(
                    sorted(chosen) == [f"app.kubernetes.io/{part}" for part in ("component", "instance", "name")],
                    f"is selected by {sorted(chosen)}: what changes with a version cannot be upgraded",
                )
                ask(not mounts, f"has volumes that nothing mounts: {mounts}")


def numbers(rendered):
    """Zero and false arrive as they were said."""
    zeros = {(d["kind"], d["metadata"]["name"]): d for d in rendered.get(CHART / "ci" / "zeros.yaml", [])}

    def expect(kind, name, path, value):
        found = zeros.get((kind, f"remit-{name}"))
        for step in path.split("."):
            found = (found or {}).get(step)
        if found != value or isinstance(found, bool) != isinstance(value, bool):
            problem("deploy/chart/ci/zeros.yaml", f"{kind} {name} has {path} {found!r}; {value!r} was said")

    for service in SERVICES:
        expect("Deployment", service, "spec.replicas", 0)
        expect("Deployment", service, "spec.revisionHistoryLimit", 0)
        expect("Deployment", service, "spec.template.spec.terminationGracePeriodSeconds", 0)
    expect("PodDisruptionBudget", "intake", "spec.minAvailable", 0)
    expect("PodDisruptionBudget", "routing", "spec.maxUnavailable", 0)
    expect("Job", "migrate", "spec.backoffLimit", 0)
    for (kind, name), document in zeros.items():
        if kind == "Deployment" and "lifecycle" in document["spec"]["template"]["spec"]["containers"][0]:
            problem("deploy/chart/ci/zeros.yaml", f"{name} pauses before it stops; 0 s was said")
    config = yaml.safe_load(zeros.get(("ConfigMap", "remit-intake"), {}).get("data", {}).get("remit.yaml", "{}"))
    for section, key, value in [("evidence", "reserve_bytes", 0), ("telemetry", "traces", False), ("telemetry", "endpoint", "")]:
        if (found := config.get(section, {}).get(key)) != value:
            problem("deploy/chart/ci/zeros.yaml", f"intake's {section}.{key} is {found!r}; {value!r} was said")


def connections():
    """The databases take as many connections as the chart's replicas open, one more during an upgrade, and 20 besides."""
    pool = int(re.search(r"const POSTGRES_CONNECTIONS: usize = (\d+);", (ROOT / "crates/sql/src/open.rs").read_text())[1])
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    file = DEPLOY / "cluster" / "cloudnative-pg.yaml"
    clusters = {cluster["metadata"]["name"]: cluster["spec"] for cluster in documents(file.read_text())}
    for service in SERVICES:
        own = values[service]
        # A single writer is stopped before the next one starts.
        most = own["replicas"] if service == "audit" else max(own["replicas"], own["autoscaling"]["maxReplicas"]) + 1
        needed = most * pool + 20
        parameters = clusters.get(f"remit-{service}", {}).get("postgresql", {}).get("parameters", {})
        if (taken := int(parameters.get("max_connections", 100))) < needed:
            problem(short(file), f"{service}'s takes {taken} connections; its replicas may need {needed}")


PLACES = ("nodeSelector", "tolerations", "affinity", "priorityClassName")


def places(rendered):
    """Every pod goes where the values say."""
    file = CHART / "ci" / "everything.yaml"
    values = yaml.safe_load(file.read_text())
    if lacking := {(of, place) for of in ("intake", "migrate") for place in PLACES if of == "migrate" or place != "affinity"} - {
        (of, place) for of, said in values.items() if isinstance(said, dict) for place in said
    }:
        problem(short(file), f"does not say {sorted(lacking)}")
    for document in rendered.get(file, []):
        if document["kind"] not in ("Deployment", "Job"):
            continue
        said = values.get(document["metadata"]["labels"]["app.kubernetes.io/component"], {})
        pod = document["spec"]["template"]["spec"]
        for place in PLACES:
            if place in said and pod.get(place) != said[place]:
                problem(f"{short(file)}: {whose(document)}", f"has {place} {pod.get(place)}; {said[place]} was said")


def strategies(rendered):
    """What only one pod may have or mount is given up before the next one starts."""
    for values, all_of_them in rendered.items():
        claims = {d["metadata"]["name"]: d["spec"]["accessModes"] for d in all_of_them if d["kind"] == "PersistentVolumeClaim"}
        for document in all_of_them:
            if document["kind"] != "Deployment":
                continue
            volumes = document["spec"]["template"]["spec"]["volumes"]
            mounted = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
            alone = any("ReadWriteMany" not in claims.get(name, ["ReadWriteMany"]) for name in mounted)
            alone |= document["metadata"]["labels"]["app.kubernetes.io/component"] == "audit"
            expected = "Recreate" if alone else "RollingUpdate"
            if (found := document["spec"]["strategy"]["type"]) != expected:
                problem(f"{short(values)}: {whose(document)}", f"is upgraded by {found}; its volumes need {expected}")


def flows(rendered):
    """Who may call whom: what docs/design.md draws, and audit asking routing what an agency may see."""
    expected = {
        ("intake", "routing"), ("intake", "audit"), ("routing", "intake"), ("routing", "audit"), ("audit", "routing"),
    }  # fmt: skip
    least = CHART / "ci" / "least.yaml"
    policies = {
        d["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: d["spec"]
        for d in rendered.get(least, [])
        if d["kind"] == "NetworkPolicy"
    }
    if set(policies) != {*SERVICES, "migrate"}:
        problem(short(least), f"there are network policies for {sorted(policies)}")
        return

    def peers(rules, key):
        for rule in rules or []:
            for peer in rule.get(key) or [{"everybody": {}}]:
                labels = peer.get("podSelector", {}).get("matchLabels", {})
                yield labels.get("app.kubernetes.io/component", json.dumps(peer)), tuple(p["port"] for p in rule["ports"])

    out = {(a, b) for a in SERVICES for b, _ in peers(policies[a].get("egress"), "to") if b in SERVICES}
    into = {(a, b) for b in SERVICES for a, _ in peers(policies[b].get("ingress"), "from")}
    if out != expected:
        problem(short(least), f"services may call {sorted(out)}; they need {sorted(expected)}")
    if into != expected:
        problem(short(least), f"services may be called by {sorted(into)}; they need {sorted(expected)}, and nobody else was named")
    for name, spec in policies.items():
        if sorted(spec["policyTypes"]) != ["Egress", "Ingress"]:
            problem(short(least), f"the policy of {name} is for {spec['policyTypes']} only")
        others = {ports for peer, ports in peers(spec.get("egress"), "to") if peer not in SERVICES}
        if others != {(53, 53), (5432,)}:
            problem(short(least), f"{name} may also call ports {sorted(others)}; by default only 53 and 5432")
    everything = CHART / "ci" / "everything.yaml"
    for document in rendered.get(everything, []):
        if document["kind"] == "NetworkPolicy":
            ports = {ports for peer, ports in peers(document["spec"]["egress"], "to") if "openshift-dns" in peer}
            if ports != {(53, 53, 5353, 5353)}:
                problem(f"{short(everything)}: {whose(document)}", f"resolves names on {ports}; on 53 and 5353 was said")


def hooks(rendered):
    """The migration has all that it mounts before it starts, and starts before what waits for it."""
    for file, first, weight in [
        ("least", ("helm.sh/hook", "pre-install,pre-upgrade"), "helm.sh/hook-weight"),
        ("intake-only", ("argocd.argoproj.io/hook", "Sync"), "argocd.argoproj.io/sync-wave"),
        ("shared-hostname", None, None),
    ]:
        values = CHART / "ci" / f"{file}.yaml"
        ours = [
            document
            for document in rendered.get(values, [])
            if document["metadata"]["labels"].get("app.kubernetes.io/component") == "migrate"
        ]
        if sorted(document["kind"] for document in ours) != ["ConfigMap", "Job", "NetworkPolicy"]:
            problem(short(values), f"the migration is {sorted(map(whose, ours))}")
            continue
        weights = {}
        for document in ours:
            notes = document["metadata"].get("annotations", {})
            if first is None:
                if any("hook" in note for note in notes):
                    problem(short(values), f"{whose(document)} is a hook; none was asked for")
            elif notes.get(first[0]) != first[1]:
                problem(short(values), f"{whose(document)} is no hook: {notes}")
            else:
                weights[document["kind"]] = int(notes[weight])
        if len(weights) == 3 and not weights["Job"] > max(weights["ConfigMap"], weights["NetworkPolicy"]):
            problem(short(values), f"the migration starts before what it needs: {weights}")
        if weights and max(weights.values()) >= 0:
            problem(short(values), f"the migration does not come before the rest: {weights}")
        job = next(document for document in ours if document["kind"] == "Job")
        if first is None and job["metadata"]["name"] == "remit-migrate":
            problem(short(values), "the Job has one name for ever, and a Job cannot be changed")


def routes():
    """The gateway knows every gRPC service of docs/access.md, either as public or as not."""
    template = (CHART / "templates" / "gateway.yaml").read_text()
    routed = set(re.findall(r'"(remit\.[a-z]+\.v1\.[A-Za-z]+)"', template))
    listed = set(re.findall(r"### `(remit\.[a-z]+\.v1\.[A-Za-z]+)`", (ROOT / "docs" / "access.md").read_text()))
    internal = {name for name in listed if name.endswith("InboundService")}
    if routed != listed - internal:
        problem(
            "deploy/chart/templates/gateway.yaml",
            f"may not route {sorted(routed - (listed - internal))}, and lacks {sorted(listed - internal - routed)} of docs/access.md",
        )


def removed():
    """Keys that are not there are named in the schema, or the schema would refuse them without a reason."""
    told = set(yaml.safe_load((CHART / "files" / "removed.yaml").read_text()))
    schema = json.loads((CHART / "values.schema.json").read_text())
    marked = {key for key, of in schema["properties"].items() if of.get("deprecated")}
    if told != marked:
        problem("deploy/chart/values.schema.json", f"deprecated are {sorted(marked)}; files/removed.yaml tells of {sorted(told)}")
    # Nothing in it may take a key that it does not name.
    free = {"/properties/global", "/$defs/volume"}

    def walk(node, path):
        if isinstance(node, dict):
            named = node.get("type") == "object" and "properties" in node
            if named and node.get("additionalProperties") is not False:
                problem("deploy/chart/values.schema.json", f"{path} takes keys that it does not name")
            if node.get("type") == "object" and "properties" not in node and "additionalProperties" not in node:
                # Kubernetes' own objects, which the rendering is validated for.
                if path not in free and not path.startswith("/$defs/"):
                    problem("deploy/chart/values.schema.json", f"{path} takes anything")
            for key, inner in node.items():
                walk(inner, f"{path}/{key}")

    walk(schema, "")


def explained():
    """deploy/README.md explains each value, and no other."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    readme = DEPLOY / "README.md"
    told = set(re.findall(r"^\| `([A-Za-z.]+)` \|", readme.read_text(), re.MULTILINE))

    def covered(path):
        return any(path == key or path.startswith(f"{key}.") for key in told)

    def leaves(node, path=""):
        for key, inner in node.items():
            at = f"{path}.{key}" if path else key
            if isinstance(inner, dict) and inner:
                yield from leaves(inner, at)
            else:
                yield at

    every = {re.sub(r"^(intake|routing|audit)\.", "SERVICE.", path): path for path in leaves(values)}
    for general, path in sorted(every.items()):
        if not covered(path) and not covered(general):
            problem(short(readme), f"does not explain the value {path}")
    schema = json.loads((CHART / "values.schema.json").read_text())

    def known(key):
        node = schema
        for step in key.split("."):
            step = step.replace("SERVICE", "intake")
            while "$ref" in node:
                node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
            node = node.get("properties", {}).get(step)
            if node is None:
                return False
        return True

    for key in sorted(told):
        if not known(key):
            problem(short(readme), f"explains {key}, which is no value")


# --- What is one source -----------------------------------------------------------------------------------------------


def alerts(rendered):
    source = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())
    everything = rendered.get(CHART / "ci" / "everything.yaml", [])
    rules = [document for document in everything if document["kind"] == "PrometheusRule"]
    if [rule["spec"] for rule in rules] != [source]:
        problem("deploy/chart/templates/monitoring.yaml", "PrometheusRule is not what deploy/monitoring/alerts.yaml has")
    boards = {
        file: text
        for document in everything
        if document["kind"] == "ConfigMap"
        for file, text in document["data"].items()
        if file.endswith(".json")
    }
    for file in some(DEPLOY / "monitoring" / "dashboards", "*.json"):
        if file.name not in boards or json.loads(boards[file.name]) != json.loads(file.read_text()):
            problem(short(file), "is not the dashboard that the chart has")


def manifests(write):
    """Plain manifests are the chart's, rendered."""
    code, out, err = render(MANIFESTS / "values.yaml")
    file = MANIFESTS / "remit.yaml"
    if not code and (first := documents(out)[0]["kind"]) != "Namespace":
        problem(short(file), f"begins with a {first}: without its namespace nothing can be applied")
    if code:
        problem(short(MANIFESTS / "values.yaml"), err)
        return
    head = "# Rendered from deploy/chart with deploy/manifests/values.yaml: change those, then `make manifests`.\n"
    # Not who renders it.
    text = head + out.replace("app.kubernetes.io/managed-by: Helm", "app.kubernetes.io/managed-by: manifests")
    if write:
        file.write_text(text)
    elif not file.exists() or file.read_text() != text:
        problem(short(file), "is not what the chart renders: `make manifests` writes it anew")


# --- What is not Kubernetes' ------------------------------------------------------------------------------------------


def compose():
    file = DEPLOY / "compose.yaml"
    content = documents(file.read_text())[0]
    schema = json.loads(Path(ARGUMENTS.compose).read_text())
    for error in jsonschema.Draft7Validator(schema).iter_errors(content):
        problem(short(file), f"{'/'.join(map(str, error.path))}: {error.message[:200]}")
    named = {kind: set(content.get(kind) or {}) for kind in ("volumes", "networks", "secrets", "configs")}
    for name, service in content["services"].items():
        for dependency in service.get("depends_on", {}):
            if dependency not in content["services"]:
                problem(short(file), f"{name} depends on {dependency}, which is not there")
        for kind in ("secrets", "configs", "networks"):
            for used in service.get(kind, []):
                used = used if isinstance(used, str) else used["source"]
                if used not in named[kind]:
                    problem(short(file), f"{name} uses {kind} {used}, which is not there")
        for mount in service.get("volumes", []):
            source = mount.split(":")[0] if isinstance(mount, str) else mount.get("source", "")
            if source.startswith("."):
                if not (DEPLOY / source).exists():
                    problem(short(file), f"{name} mounts {source}, which is not there")
            elif source and not source.startswith("/") and source not in named["volumes"]:
                problem(short(file), f"{name} mounts the volume {source}, which is not there")
    for kind in ("secrets", "configs"):
        for name, of in (content.get(kind) or {}).items():
            path = of.get("file", "")
            if path and "secrets/" not in path and not (DEPLOY / path).exists():
                problem(short(file), f"{kind} {name} is {path}, which is not there")


def dockerfile():
    """The two ways to an image say the same of its process."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(DEPLOY / "image"))
    import image

    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    last = text[text.rindex("\nFROM ") :]

    def said(word):
        return re.findall(rf"^{word} (.*)$", last, re.MULTILINE)

    health = re.search(r"^HEALTHCHECK .*?CMD (.*)$", last, re.MULTILINE)
    for what, found, expected in [
        ("USER", said("USER"), [f"{image.USER}:{image.USER}"]),
        ("CMD", [json.loads(x) for x in said("CMD")], [image.COMMAND]),
        ("ENTRYPOINT", [json.loads(x) for x in said("ENTRYPOINT")], [[f"/{image.PROGRAM}"]]),
        ("ENV", said("ENV"), [" ".join(image.ENVIRONMENT)]),
        ("WORKDIR", said("WORKDIR"), [f"/{image.DATA}"]),
        ("VOLUME", said("VOLUME"), [f"/{image.DATA}"]),
        ("HEALTHCHECK", health and json.loads(health[1]), image.HEALTH),
    ]:
        if found != expected:
            problem("deploy/Dockerfile", f"{what} is {found}; deploy/image/image.py has {expected}")
    toolchain = re.search(r'channel = "(\d+\.\d+)', (ROOT / "rust-toolchain.toml").read_text())[1]
    if f"FROM rust:{toolchain}-" not in text:
        problem("deploy/Dockerfile", f"does not build with Rust {toolchain}, as rust-toolchain.toml says")


def units():
    files = some(DEPLOY / "systemd", "*.service")
    if not shutil.which("systemd-analyze"):
        aloud.append(f"NOT CHECKED, since systemd-analyze is not here: {', '.join(map(short, files))}")
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            # A template is verified as one of its instances; the program need not be installed.
            name = file.name.replace("@.", "@intake.")
            text = file.read_text().replace("/usr/bin/remit", "/bin/true")
            (Path(folder) / name).write_text(text)
            # Only what concerns these files: other units of this machine are not ours.
            ran = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", str(Path(folder) / name)], capture_output=True, text=True
            )
            for line in (ran.stdout + ran.stderr).splitlines():
                if name in line:
                    problem(short(file), line.replace(f"{folder}/", ""))


# --- With the program -------------------------------------------------------------------------------------------------

# What the chart itself sets, or the process has no use for in a cluster.
CHARTS_OWN = {
    "data_dir", "tokens_file", "callers_file", "callers_key_file", "receipt_key_file", "replica", "admin.listen", "evidence.folder",
    "log.key_file", "log.checkpoint_file", "log.witness_policy_file", "log.ca_file",
    *(f"tls.{key}" for key in ("certificate_file", "key_file", "ca_file", "client_ca_file", "encrypted_elsewhere")),
    *(f"files.{name}" for name in ("territories", "agencies", "categories", "rules", "calendar")),
    *(f"{service}.{key}" for service in SERVICES for key in ("listen", "address", "server_name", "database", "database_file")),
}  # fmt: skip


def settings():
    """The schema has the settings that the program reads."""
    shown = subprocess.run([ARGUMENTS.remit, "config", "show", "--json"], capture_output=True, text=True, env=ENVIRONMENT)
    if shown.returncode:
        problem(short(ARGUMENTS.remit), shown.stderr)
        return

    def leaves(node, path=""):
        for key, inner in node.items():
            at = f"{path}.{key}" if path else key
            if isinstance(inner, dict):
                yield from leaves(inner, at)
            else:
                yield at

    schema = json.loads((CHART / "values.schema.json").read_text())["$defs"]["config"]["properties"]
    taken = {f"{s}.{key}" for s, of in schema.items() for key in of.get("properties", {})}
    taken |= {key for key, of in schema.items() if "properties" not in of}
    read = set(leaves(json.loads(shown.stdout)))
    for key in sorted(read - taken - CHARTS_OWN):
        problem("deploy/chart/values.schema.json", f"lacks config.{key}, which the program reads")
    for key in sorted((taken | CHARTS_OWN) - read):
        problem("deploy/chart/values.schema.json", f"has config.{key}, which the program does not read")


ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("REMIT_")}


def configured(rendered):
    """The program takes each configuration file that the chart makes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        place = stage(root)
        for values, all_of_them in rendered.items():
            maps = {d["metadata"]["name"]: d.get("data", {}) for d in all_of_them if d["kind"] == "ConfigMap"}
            for name, data in maps.items():
                for file, text in data.items():
                    if not file.endswith(".yaml") or name.endswith(("-more", "-text")):
                        continue
                    service = name.rsplit("-", 1)[1] if file == "remit.yaml" else file.removesuffix(".yaml")
                    command = ["config", "check", service] if file == "remit.yaml" else ["migrate", service]
                    path = root / "remit.yaml"
                    path.write_text(place(text))
                    ran = subprocess.run(
                        [ARGUMENTS.remit, *command, "--config", str(path)],
                        capture_output=True, text=True, env=ENVIRONMENT,
                    )  # fmt: skip
                    if ran.returncode:
                        problem(f"{short(values)}: ConfigMap/{name}", f"remit {' '.join(command)}: {ran.stderr.strip()}")


    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        place = stage(root)
        for which, file in [*((service, "compose/remit.yaml") for service in SERVICES), ("all", "systemd/remit.yaml")]:
            path = root / "remit.yaml"
            path.write_text(place((DEPLOY / file).read_text()))
            ran = subprocess.run(
                [ARGUMENTS.remit, "config", "check", which, "--config", str(path)],
                capture_output=True, text=True, env=ENVIRONMENT,
            )  # fmt: skip
            if ran.returncode:
                problem(f"deploy/{file}", f"remit config check {which}: {ran.stderr.strip()}")


def stage(root):
    """What a cluster mounts, below `root`; gives a file's text with its paths there."""

    def put(path, content):
        path = root / path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
        return path

    tokens = put("/run/remit/tokens/tokens.json", "[]")
    for service in SERVICES:
        subprocess.run(
            [ARGUMENTS.remit, "token", "add", "--role", "service", "--system", service, "--file", tokens],
            check=True, capture_output=True, env=ENVIRONMENT,
        )  # fmt: skip
        database = put(f"/databases/{service}.db", "")
        put(f"/run/remit/database/{service}/url", f"sqlite://{database}")
    for service in SERVICES:
        put(f"/run/remit/{service}.url", "postgres://remit:secret@database/remit")
    put("/run/remit/tokens.json", tokens.read_bytes())
    put("/run/remit/receipt.key", bytes(range(32)))
    put("/run/remit/log.key", bytes(range(32)))
    put("/run/remit/database/url", "postgres://remit:secret@database/remit")
    put("/run/remit/receipt-key/receipt.key", bytes(range(32)))
    put("/run/remit/log-key/log.key", bytes(range(32)))
    put("/run/remit/witness-policy/policy", "quorum none\n")
    put("/run/remit/witness-ca/ca.pem", (DEPLOY / "check" / "authority.pem").read_bytes())
    put("/run/remit/callers-key/callers.key", bytes(range(32)))
    name = "[spiffe://remit.example/{}]".format
    put("/run/remit/callers/callers.yaml", f"""services:
  remit.audit.v1.AuditInboundService: {{ intake: {name("intake")}, routing: {name("routing")} }}
  remit.audit.v1.AuditService: {{ intake: {name("intake")}, routing: {name("routing")}, audit: {name("audit")} }}
  remit.intake.v1.IntakeInboundService: {{ routing: {name("routing")} }}
  remit.routing.v1.RoutingInboundService: {{ intake: {name("intake")}, audit: {name("audit")} }}
certificates: [{{ name: desk.example, system: desk, role: partner }}]
""")
    certificates = root / "certificates"
    subprocess.run([ARGUMENTS.remit, "dev-certs", certificates], check=True, capture_output=True, env=ENVIRONMENT)
    for name, file in [("tls/tls.crt", "all.pem"), ("tls/tls.key", "all.key"), ("tls/ca.crt", "ca.pem"), ("ca/ca.pem", "ca.pem"), ("client-ca/ca.pem", "ca.pem")]:
        put(f"/run/remit/{name}", (certificates / file).read_bytes())
    for name, file in [("agencies", "agencies.yaml"), ("calendar", "calendar-CN.yaml")]:
        put(f"/run/remit/files/{name}/{name}.yaml", (DEPLOY / "config" / file).read_bytes())
    (root / "var/lib/remit/evidence").mkdir(parents=True)
    (root / "var/lib/remit/checkpoint").mkdir(parents=True)
    return lambda text: text.replace("/run/remit/", f"{root}/run/remit/").replace("/var/lib/remit/", f"{root}/var/lib/remit/")


def main():
    global ARGUMENTS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--helm", type=Path, help="helm; without it only what the plain manifests have is looked at")
    parser.add_argument("--schemas", type=Path, help="folder with the schemas of other projects' kinds")
    parser.add_argument("--compose", type=Path, help="the schema of compose files")
    parser.add_argument("--remit", type=Path, help="the program, to let it check its configuration")
    parser.add_argument("--settings", action="store_true", help="check the program's configuration files only")
    parser.add_argument("--write", action="store_true", help="write the plain manifests")
    ARGUMENTS = parser.parse_args()
    if ARGUMENTS.write:
        manifests(True)
        return finish("written")
    done = []
    if ARGUMENTS.helm:
        rendered = renderings()
    else:
        rendered = {MANIFESTS / "remit.yaml": documents((MANIFESTS / "remit.yaml").read_text())}
    if not ARGUMENTS.settings:
        lint()
        refusals()
        versions = objects(rendered)
        for check in (pods, numbers, places, strategies, flows, hooks, alerts):
            check(rendered)
        for check in (routes, removed, explained, connections, compose, dockerfile, units):
            check()
        manifests(False)
        refused = len(list((CHART / "ci" / "refused").glob("*.yaml")))
        done.append(f"{len(rendered)} renderings for Kubernetes {', '.join(versions)}, {refused} refusals")
    if ARGUMENTS.remit:
        settings()
        configured(rendered)
        done.append("configuration files by the program itself")
    return finish("; ".join(done))


def finish(done):
    for what in aloud:
        print(f"deploy-check: {what}", file=sys.stderr)
    for what in problems:
        print(f"deploy-check: {what}", file=sys.stderr)
    if problems:
        return 1
    print(f"deploy-check: {done}: in order")
    return 0


if __name__ == "__main__":
    sys.exit(main())
