#!/usr/bin/env python3
"""Makes a container image of the program as an OCI layout, without a container engine.

    image.py BINARY --out target/image        target/image/remit (a folder) and target/image/remit.tar
    image.py BINARY --root FOLDER             only the files, as `deploy/Dockerfile` copies them

The image has the program, the system libraries that it is linked with (those of this machine: build on the Debian that the
image is to have), certificates of public authorities, and names for its user. It has no shell, no package manager and
nothing that is writable but its data folder. The same input gives the same bytes.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

NAME = "remit"
USER = 65532
PROGRAM = "usr/bin/remit"
DATA = "var/lib/remit"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

TEXTS = {
    "etc/passwd": f"root:x:0:0:root:/:/nonexistent\nremit:x:{USER}:{USER}:Remit:/{DATA}:/nonexistent\n",
    "etc/group": f"root:x:0:\nremit:x:{USER}:\n",
    # Without it, the C library would ask for services that are not there.
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

# Serves everything from one volume where nothing else is said; the chart and the compose file say what to serve.
COMMAND = ["serve", "all", "--data-dir", f"/{DATA}"] + [
    part for service, port in [("intake", 7301), ("routing", 7302), ("audit", 7303)]
    for part in ("--set", f"{service}.listen=0.0.0.0:{port}")
]  # fmt: skip
ENVIRONMENT = ["PATH=/usr/bin", f"SSL_CERT_FILE=/{CERTIFICATES}", "LANG=C.UTF-8"]
HEALTH = [f"/{PROGRAM}", "health"]


class Unusable(Exception):
    """What cannot be made into an image, and why."""


def libraries(binary):
    """The shared libraries of a program, by the names under which it looks for them."""
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True)
    said = listed.stdout + listed.stderr
    if "not a dynamic executable" in said or "statically linked" in said:
        return {}
    if listed.returncode:
        raise Unusable(f"{binary}: ldd: {said.strip()}")
    found = {}
    for line in listed.stdout.splitlines():
        words = line.split()
        if "not found" in line:
            raise Unusable(f"{binary} needs {words[0]}, which this machine does not have")
        path = next((word for word in words if word.startswith("/")), None)
        if path:
            # The loader is named by its full path, the others are looked for in the usual folders.
            found[path.lstrip("/")] = Path(path).resolve()
    return found


def licences(paths):
    """The copyright files of the packages that these files are of, as their licences ask for."""
    found = {}
    for path in sorted(set(paths)):
        for name in (path, Path("/", *path.parts[2:]) if path.parts[:2] == ("/", "usr") else path):
            owner = subprocess.run(["dpkg", "-S", str(name)], capture_output=True, text=True)
            if owner.returncode == 0:
                package = owner.stdout.split(":")[0]
                file = Path(f"/usr/share/doc/{package}/copyright")
                if file.exists():
                    found[str(file).lstrip("/")] = file.resolve()
                break
    return found


def layers(binary, certificates):
    """Layers, each a map of paths to contents: what changes least comes first."""
    own = libraries(binary)
    base = {name: path.read_bytes() for name, path in own.items()}
    if shutil.which("dpkg"):
        base |= {name: path.read_bytes() for name, path in licences([*own.values(), certificates]).items()}
    base |= {name: text.encode() for name, text in TEXTS.items()}
    if not certificates.exists():
        raise Unusable(f"{certificates} is missing: install ca-certificates")
    base[CERTIFICATES] = certificates.read_bytes()
    return [base, {PROGRAM: binary.read_bytes()}]


def is_program(name):
    return name == PROGRAM or "/ld-" in f"/{name}" or name.endswith(".so") or ".so." in name


def folders(names):
    every = {str(parent) for name in names for parent in Path(name).parents} - {"."}
    return sorted(every)


def archive(files, time, own=()):
    """A tar of these files, owned by root; the folders in `own` by the program's user."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entries = [(name, None) for name in folders([*files, *(f"{name}/x" for name in own)])]
        for name, content in sorted([*entries, *files.items()]):
            entry = tarfile.TarInfo(name)
            entry.mtime = time
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                if name in own:
                    entry.mode, entry.uid, entry.gid = 0o700, USER, USER
            else:
                entry.size, entry.mode = len(content), 0o755 if is_program(name) else 0o644
            tar.addfile(entry, io.BytesIO(content or b""))
    return out.getvalue()


def packed(content, level):
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=out, mtime=0) as file:
        file.write(content)
    return out.getvalue()


class Layout:
    """An OCI image layout in a folder."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)

    def put(self, kind, content):
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    def put_json(self, kind, value):
        return self.put(kind, json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def image(binary, out, certificates, time, version, revision, level):
    """Writes the layout and its tar, and returns the image's digest."""
    architecture = ARCHITECTURES.get(platform.machine())
    if not architecture:
        raise Unusable(f"images are made for {', '.join(ARCHITECTURES)}; this is {platform.machine()}")
    # A version may have characters that a tag may not.
    tag = re.sub(r"[^A-Za-z0-9_.-]", "-", version)[:128].lstrip("-.") or "dev"
    shutil.rmtree(out, ignore_errors=True)
    layout = Layout(out / "remit")
    stack = layers(binary, certificates)
    described, unpacked = [], []
    for i, files in enumerate(stack):
        tar = archive(files, time, own=(DATA,) if i == 0 else ())
        unpacked.append(f"sha256:{hashlib.sha256(tar).hexdigest()}")
        described.append(layout.put("application/vnd.oci.image.layer.v1.tar+gzip", packed(tar, level)))
    made = f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}"
    labels = {
        "org.opencontainers.image.title": "remit",
        "org.opencontainers.image.description": "Takes reports of online harm in, finds the agency, and proves what happened",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": version,
        **({"org.opencontainers.image.revision": revision} if revision else {}),
    }
    config = layout.put_json(
        "application/vnd.oci.image.config.v1+json",
        {
            "architecture": architecture,
            "os": "linux",
            "created": made,
            "config": {
                "User": f"{USER}:{USER}",
                "Entrypoint": [f"/{PROGRAM}"],
                "Cmd": COMMAND,
                "Env": ENVIRONMENT,
                "WorkingDir": f"/{DATA}",
                "Volumes": {f"/{DATA}": {}},
                "ExposedPorts": {f"{port}/tcp": {} for port in (7301, 7302, 7303)},
                "StopSignal": "SIGTERM",
                "Labels": labels,
                # Not of OCI, but engines that know it take it from here.
                "Healthcheck": {
                    "Test": ["CMD", *HEALTH],
                    "Interval": 10 * 10**9, "Timeout": 3 * 10**9, "StartPeriod": 30 * 10**9, "Retries": 3,
                },
            },
            "rootfs": {"type": "layers", "diff_ids": unpacked},
            "history": [
                {"created": made, "created_by": "deploy/image/image.py: libraries, certificates, names"},
                {"created": made, "created_by": "deploy/image/image.py: the program"},
            ],
        },
    )  # fmt: skip
    manifest = layout.put_json(
        "application/vnd.oci.image.manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": described,
            "annotations": labels,
        },
    )
    (layout.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                **manifest,
                "platform": {"architecture": architecture, "os": "linux"},
                # What is read of a name: containerd the first, others the second.
                "annotations": {
                    "io.containerd.image.name": f"docker.io/library/{NAME}:{tag}",
                    "org.opencontainers.image.ref.name": tag,
                },
            }
        ],
    }
    (layout.folder / "index.json").write_text(json.dumps(index, sort_keys=True, separators=(",", ":")))

    def at(described):
        return f"blobs/sha256/{described['digest'].removeprefix('sha256:')}"

    # Not of OCI: what `docker load` reads where images are not containerd's.
    loaded = [{"Config": at(config), "RepoTags": [f"{NAME}:{tag}"], "Layers": [at(layer) for layer in described]}]
    (layout.folder / "manifest.json").write_text(json.dumps(loaded, sort_keys=True, separators=(",", ":")))
    whole = {str(p.relative_to(layout.folder)): p.read_bytes() for p in layout.folder.rglob("*") if p.is_file()}
    (out / "remit.tar").write_bytes(archive(whole, time))
    size = sum(layer["size"] for layer in described)
    return f"{NAME}:{tag}", manifest["digest"], size


def root(binary, folder, certificates):
    """The files themselves, for `COPY`."""
    for files in layers(binary, certificates):
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if is_program(name) else 0o644)
    # The data folder is made where its owner is given.
    (folder / DATA).parent.mkdir(parents=True, exist_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--certificates", type=Path, default=Path("/", CERTIFICATES))
    parser.add_argument("--version", default="dev")
    parser.add_argument("--revision", default="")
    parser.add_argument("--level", type=int, default=9, help="of compression, 1 to 9")
    arguments = parser.parse_args()
    # As reproducible builds have it: the time of the newest commit; by default none.
    time = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    try:
        if not arguments.binary.is_file():
            raise Unusable(f"{arguments.binary} does not exist: `make release` builds it")
        if arguments.root:
            return root(arguments.binary, arguments.root, arguments.certificates)
        if not arguments.out:
            raise Unusable("say --out or --root")
        name, digest, size = image(
            arguments.binary, arguments.out, arguments.certificates, time, arguments.version, arguments.revision, arguments.level
        )  # fmt: skip
        print(f"{arguments.out}/remit: {name}, {digest}, {size / 1e6:.1f} MB compressed")
    except Unusable as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
