"""Holds a bill of materials against the lockfile: that it is CycloneDX, that each crate in it is one of the lockfile's
with the same version, that each has a licence, and that the direct dependencies of the binary are there."""

import json
import sys
import tomllib


def main() -> int:
    bom_file, lock_file = sys.argv[1:]
    with open(bom_file, encoding="utf-8") as file:
        bom = json.load(file)
    with open(lock_file, "rb") as file:
        locked = {(package["name"], package["version"]): package for package in tomllib.load(file)["package"]}
    faults = []
    if bom.get("bomFormat") != "CycloneDX":
        faults.append("it is no CycloneDX document")
    component = bom.get("metadata", {}).get("component", {})
    if component.get("name") != "remit":
        faults.append(f"it is about {component.get('name')!r}, not about remit")
    parts = {(part["name"], part["version"]): part for part in bom.get("components", [])}
    faults += [f"{name} {version} is not in the lockfile" for name, version in parts if (name, version) not in locked]
    faults += [f"{name} {version} has no licence" for (name, version), part in parts.items() if not part.get("licenses")]
    mine = next((package for (name, _), package in locked.items() if name == "remit"), {})
    names = {name for name, _ in parts}
    # Of the lockfile's direct dependencies those for tests are not part of the binary.
    missing = [name.split()[0] for name in mine.get("dependencies", []) if name.split()[0] not in names]
    for fault in faults:
        print(f"{bom_file}: {fault}", file=sys.stderr)
    print(f"{bom_file}: {len(parts)} components; for tests only: {', '.join(sorted(missing)) or 'none'}")
    return 1 if faults or len(parts) < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
