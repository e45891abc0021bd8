"""The environment is made of the lock's files alone, and can be listed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from include.core.settings import PROJECT_ROOT

BOOTSTRAP = Path("include/runtime/bootstrap.sh")
UV = f'#!/bin/sh\nexec {Path(sys.executable).with_name("uv")} "$@"\n'


def wheel(folder: Path, name: str, **files: str) -> Path:
    path, info = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with ZipFile(path, "w") as archive:
        for file, text in files.items():
            member = ZipInfo(file)
            member.external_attr = (stat.S_IFREG | 0o755) << 16  # uv is a program
            archive.writestr(member, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    return path


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_file_that_is_not_the_locks_is_not_installed(tmp_path: Path, installer: str) -> None:
    index, project = tmp_path / "index", tmp_path / "project"
    index.mkdir()
    (project / BOOTSTRAP).parent.mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / BOOTSTRAP, project / BOOTSTRAP)
    wheels = {
        # Where there is no uv for a machine, pip does it all.
        "uv": wheel(index, "uv", **({"uv-1.0.data/scripts/uv": UV} if installer == "uv" else {})),
        "setuptools": wheel(index, "setuptools"),
        "thing": wheel(index, "thing", **{"thing.py": "good = True\n"}),
    }
    lock = [
        f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"
        for name, file in wheels.items()
    ]
    (project / "requirements.txt").write_text("".join(lock))
    good = wheels["thing"].read_bytes()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))}
    mirror = {
        f"{tool}_{name}": value
        for tool in ("PIP", "UV")
        for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(index)}.items()
    }

    def made() -> str:
        """What making the environment says, and what then can be imported."""
        environment = kept | mirror | {"PYTHON": sys.executable, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CACHE": "1"}
        command = ["bash", str(project / BOOTSTRAP), ".venv"]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        log = (project / "var/log/install.log").read_text()
        assert (done.returncode == 0) == (project / ".venv/.ready").exists(), done.stderr + log
        python = [str(project / ".venv/bin/python"), "-c", "import thing; print('imported', thing.good)"]
        tried = subprocess.run(python, capture_output=True, text=True, check=False)
        return done.stderr + log + tried.stdout

    wheel(index, "thing", **{"thing.py": "good = False\n"})
    said = made()
    assert "the packages cannot be installed" in said
    assert "DO NOT MATCH THE HASHES" in said
    assert "imported" not in said
    wheels["thing"].write_bytes(good)
    said = made()
    assert "imported True" in said
    assert (" + thing==1.0" in said) == (installer == "uv")


def test_the_bill_of_materials_is_that_of_the_lock(tmp_path: Path) -> None:
    target = tmp_path / "made" / "sbom.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "sbom", f"SBOM={target}"],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = target.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = {(canonicalize_name(part["name"]), part["version"]) for part in json.loads(text)["components"]}
    lock = (PROJECT_ROOT / "requirements.txt").read_text().splitlines()
    locked = [Requirement(line.removesuffix("\\")) for line in lock if line[:1].isalnum()]
    here = {
        (canonicalize_name(one.name), str(one.specifier).removeprefix("=="))
        for one in locked
        if one.marker is None or one.marker.evaluate()
    }
    assert here <= listed
    assert {name for name, _ in listed - here} <= {"pip"}, "installed here, but not by the lock"
