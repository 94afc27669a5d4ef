#!/usr/bin/env python3
"""Makes an image of a program twice, takes one apart, and runs it as a container would: `test.py BINARY`.

Where this may mount and change its root: as the image's user, in its root, which is read-only but for the data folder.
Otherwise (not root, or root in a container without privileges): with the image's own loader and libraries. The last line
says which, and why.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALLOWED = re.compile(
    r"usr/bin/remit|etc/(passwd|group|nsswitch\.conf)|etc/ssl/certs/ca-certificates\.crt|usr/share/doc/[^/]+/copyright"
    r"|(usr/)?lib(64)?/(.*/)?(ld-linux-[^/]+|lib[^/]+)\.so\.\d+"
)
SERVICES = ["intake", "routing", "audit"]


def make(binary, out):
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(
        [sys.executable, HERE / "image.py", binary, "--out", out, "--version", "1.0+test", "--level", "1"],
        check=True, env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def blob(files, described):
    content = files[f"remit/blobs/sha256/{described['digest'].removeprefix('sha256:')}"]
    assert len(content) == described["size"], f"{described['digest']} has {len(content)} bytes, not {described['size']}"
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == described["digest"], f"{described['digest']} is another"
    return content


def unpack(files, root):
    """Every digest holds; returns what the image says of its process."""
    assert json.loads(files["remit/oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["remit/index.json"])["manifests"]
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))
    used = {entry["digest"], manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    there = {f"sha256:{Path(name).name}" for name in files if "/blobs/" in name}
    assert used == there, f"blobs that nothing refers to: {there - used}"
    assert entry["annotations"] == {
        "io.containerd.image.name": "docker.io/library/remit:1.0-test", "org.opencontainers.image.ref.name": "1.0-test",
    }, entry["annotations"]  # fmt: skip
    (loaded,) = json.loads(files["remit/manifest.json"])
    assert loaded["RepoTags"] == ["remit:1.0-test"], loaded
    paths = [f"blobs/sha256/{of['digest'].removeprefix('sha256:')}" for of in [manifest["config"], *manifest["layers"]]]
    assert [loaded["Config"], *loaded["Layers"]] == paths, "`docker load` would read another image"
    data = None
    for layer, unpacked in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        tar = gzip.decompress(blob(files, layer))
        assert f"sha256:{hashlib.sha256(tar).hexdigest()}" == unpacked, f"{layer['digest']} unpacks to another"
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            for member in archive:
                inspect(member)
                data = member if member.name == "var/lib/remit" else data
            # All members were looked at; older versions of Python know no filter.
            archive.extractall(root, **({"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}))
    assert data and (data.uid, data.gid, data.mode) == (65532, 65532, 0o700), "the data folder is not its user's alone"
    with tarfile.open(fileobj=io.BytesIO(files["remit.tar"])) as archive:
        inside = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    assert inside == {name.removeprefix("remit/"): content for name, content in files.items() if name != "remit.tar"}
    return config["config"]


def inspect(member):
    name = member.name
    assert member.isfile() or member.isdir(), f"{name} is a link or a device"
    assert member.mtime == 1700000000, f"{name} has a time of its own"
    assert not member.mode & (stat.S_ISUID | stat.S_ISGID | 0o022), f"{name} has the mode {member.mode:o}"
    if member.isfile():
        assert ALLOWED.fullmatch(name), f"{name} does not belong into the image: it has no shell and nothing else"
        assert member.uid == 0, f"{name} is its user's, who could change it"
    elif member.uid != 0:
        assert name == "var/lib/remit", f"{name} is its user's"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def hindrance(user, group):
    """Why nothing can be isolated here; nothing if it can. Asked for, since root need not be allowed to."""
    try:
        ran = subprocess.run(
            ["unshare", "--mount", "chroot", f"--userspec={user}:{group}", "/", "/bin/true"], capture_output=True, text=True
        )
    except OSError as error:
        return str(error)
    return ran.returncode and (ran.stderr.strip() or f"unshare ends with {ran.returncode}")


def run(root, process):
    ports = dict(zip(SERVICES, free_ports(3)))
    user, group = process["User"].split(":")
    assert int(user) > 0 and int(group) > 0, "runs as root"
    environment = dict(pair.split("=", 1) for pair in process["Env"])
    entry = process["Entrypoint"]
    hindered = hindrance(user, group)
    isolated = not hindered
    if isolated:
        mount = shutil.which("mount")
        # A mount namespace of its own, so that nothing is left behind; then as the engine does it.
        enter = (
            f"{mount} --make-rprivate / && {mount} --bind '{root}' '{root}' && "
            f"mount -t tmpfs -o uid={user},gid={group},mode=700 data '{root}/var/lib/remit' && {mount} -o remount,ro,bind '{root}' && "
            f'exec {shutil.which("chroot")} --userspec={user}:{group} \'{root}\' "$@"'
        )
        command = [shutil.which("unshare"), "--mount", "/bin/sh", "-c", enter, "sh"]
        data = "/var/lib/remit"
    else:
        loader = next(Path(root).glob("lib*/ld-linux-*"))
        folders = {str(path.parent) for path in Path(root).rglob("lib*.so.*")}
        command = [str(loader), "--library-path", ":".join(sorted(folders))]
        entry = [f"{root}{entry[0]}"]
        # Its own may be another user's.
        data = f"{root}.data"
        Path(data).mkdir(mode=0o700)
    listens = {f"REMIT_{service}_LISTEN".upper(): f"127.0.0.1:{port}" for service, port in ports.items()}
    environment |= listens | {"LC_ALL": "C.UTF-8"}

    version = subprocess.run([*command, *entry, "--version"], env=environment, capture_output=True, text=True)
    assert version.returncode == 0 and version.stdout.startswith("remit "), version.stdout + version.stderr
    for shell in ("/bin/sh", "/usr/bin/bash", "/bin/busybox"):
        assert not (Path(root) / shell.lstrip("/")).exists(), f"there is {shell}"

    # Without the addresses of the default command: the ports are this test's.
    arguments = [part if part != "/var/lib/remit" else data for part in process["Cmd"]]
    arguments = arguments[: arguments.index("--set")]
    serve = subprocess.Popen(
        [*command, *entry, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        check = [part if part != "/usr/bin/remit" else entry[0] for part in process["Healthcheck"]["Test"][1:]]
        end = time.monotonic() + 60
        while True:
            # As the engine asks: in the same root, again and again.
            asked = subprocess.run([*command, *check], env=environment, capture_output=True, text=True)
            if asked.returncode == 0:
                break
            if serve.poll() is not None or time.monotonic() > end:
                serve.kill()
                raise AssertionError(f"it does not serve: {asked.stderr}\n{serve.communicate()[0]}")
            time.sleep(0.2)
        if isolated:
            own = Path(f"/proc/{serve.pid}/status").read_text()
            assert re.search(rf"^Uid:\t{user}\t{user}\t{user}\t{user}$", own, re.MULTILINE), "runs as another user"
            assert re.search(r"^CapEff:\t0+$", own, re.MULTILINE), "has capabilities"
            assert "ro" in mount_of(serve.pid, root).split(","), "its root can be written"
        # Names resolve with the libraries of the image alone.
        asked = [*command, *entry, "log", "checkpoint", "--server", f"http://remit.test:{ports['audit']}", "--token", "none"]
        asked.append("--encrypted-elsewhere")
        named = subprocess.run(asked, env=environment, capture_output=True, text=True)
        if isolated:
            assert named.returncode == 1 and "token" in named.stderr, f"names do not resolve: {named.stdout}{named.stderr}"
        resident = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{serve.pid}/status").read_text())[1])
        serve.send_signal(signal.SIGTERM)
        said = serve.communicate(timeout=30)[0]
        assert serve.returncode == 0, f"ends with {serve.returncode} on SIGTERM: {said}"
    finally:
        if serve.poll() is None:
            serve.kill()
    return hindered, resident


def mount_of(pid, root):
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        words = line.split()
        if words[4] in (str(root), "/"):
            options = words[5]
    return options


def main():
    binary = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        first, second = make(binary, folder / "first"), make(binary, folder / "second")
        differ = [name for name in first.keys() | second.keys() if first.get(name) != second.get(name)]
        assert not differ, f"the same input gave other bytes: {differ}"
        root = folder / "root"
        root.mkdir(mode=0o755)
        process = unpack(first, root)
        for key, expected in [("User", "65532:65532"), ("Entrypoint", ["/usr/bin/remit"]), ("StopSignal", "SIGTERM")]:
            assert process[key] == expected, f"{key} is {process[key]}"
        # As engines put it there.
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost remit.test\n")
        hindered, resident = run(root, process)
        size = sum(len(content) for name, content in first.items() if "/blobs/" in name)
    how = f"NOT ISOLATED ({hindered}), with the image's libraries" if hindered else "as its user in a read-only root"
    print(f"image: the same twice, {size / 1e6:.1f} MB at level 1; served, was healthy and stopped {how}; {resident // 1024} MiB resident")


if __name__ == "__main__":
    main()
