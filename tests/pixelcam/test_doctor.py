"""The doctor finds what is missing and says how to get it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest

from pixelcam import doctor, system
from pixelcam.errors import ModelNotFoundError

ABSENT = system.SystemNeed("libnowhere.so.9", "libnowhere9", lambda: False)


def test_every_finding_has_a_detail_and_every_failure_a_remedy():
    findings = doctor.check()
    names = [finding.name for finding in findings]
    assert names[0] == "Python"
    assert len(set(names)) == len(names) == 11
    assert all(finding.detail for finding in findings)
    assert all(finding.remedy for finding in findings if not finding.ok)


def test_the_starter_model_is_present_and_loads():
    finding = doctor._starter_model()
    assert finding.ok, finding.detail
    assert "classes" in finding.detail


def test_a_missing_starter_model_is_told(monkeypatch):
    def resolve(name):
        raise ModelNotFoundError(f"There is no model named {name!r}.")

    monkeypatch.setattr("pixelcam.model.registry.resolve_model", resolve)
    finding = doctor._starter_model()
    assert not finding.ok
    assert "no model named 'starter'" in finding.detail
    assert "pip install" in finding.remedy


@pytest.mark.skipif(not shutil.which("apt-get"), reason="the remedy names apt-get where there is one")
def test_a_missing_library_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(system, "LIBRARIES", (*system.LIBRARIES, ABSENT))
    finding = doctor._system_libraries()
    assert not finding.ok
    assert "libnowhere.so.9" in finding.detail
    assert "apt-get install libnowhere9" in finding.remedy


def test_without_apt_the_remedy_names_the_packages(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert system.how_to_install([ABSENT]) == "install what this system calls the Debian packages libnowhere9"


def test_elsewhere_than_on_linux_nothing_is_missing(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert system.missing([ABSENT]) == []


def test_a_screenless_machine_without_xvfb_is_told_to_get_it(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(system, "SCREENLESS", (system.SystemNeed("Xvfb", "xvfb", lambda: False),))
    finding = doctor._display()
    assert not finding.ok
    assert "Xvfb" in finding.detail
    assert "xvfb" in finding.remedy


def test_a_binding_that_cannot_load_is_told_in_its_own_words(monkeypatch):
    monkeypatch.setattr(
        doctor, "QT_PROBE", "raise ImportError('libEGL.so.1: cannot open shared object file')"
    )
    finding = doctor._qt()
    assert not finding.ok
    assert finding.detail == "ImportError: libEGL.so.1: cannot open shared object file"
    assert ".[all]" in finding.remedy


def test_a_binding_that_crashes_does_not_take_the_doctor_along(monkeypatch):
    crash = "import os, sys\nprint('no plugin', file=sys.stderr, flush=True)\nos.abort()"
    monkeypatch.setattr(doctor, "QT_PROBE", crash)
    assert doctor._qt().detail == "it ended with signal 6: no plugin"


def test_the_qt_that_runs_is_named_and_not_the_one_that_the_binding_was_built_for():
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    binding = {"pyqt6": "PyQt6", "pyside6": "PySide6"}[os.environ["QT_API"]]
    program = f"from {binding}.QtCore import QLibraryInfo; print(QLibraryInfo.version().toString())"
    running = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    finding = doctor._qt()
    assert finding == doctor.Finding("Qt", True, f"{binding}, Qt {running}")


@pytest.mark.parametrize(
    ("binding", "version", "ok"),
    [
        ("PyQt6", "6.11.0", False),
        ("PyQt6", "6.11.1", False),
        ("PyQt6", "6.11.2", True),
        ("PySide6", "6.11.1", False),
        ("PySide6", "6.11.3", True),
        ("PySide6", "6.5.0", False),
        ("PyQt5", "5.15.2", True),
    ],
)
def test_a_qt_that_the_project_excludes_is_told(monkeypatch, binding, version, ok):
    said = json.dumps({"binding": binding, "version": version})
    monkeypatch.setattr(doctor, "QT_PROBE", f"print({said!r})")
    finding = doctor._qt()
    assert finding.ok is ok
    assert f"{binding}, Qt {version}" in finding.detail
    assert ok or "!=6.11.1" in finding.remedy


def test_a_user_folder_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PIXELCAM_HOME", str(tmp_path / "file" / "below"))
    finding = doctor._user_folder()
    assert not finding.ok
    assert "is a file" in finding.detail
    assert "PIXELCAM_HOME" in finding.remedy


def test_a_full_disk_is_told(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**12, 10**12 - 10**8, 10**8))
    finding = doctor._disk_space()
    assert not finding.ok
    assert finding.detail.startswith("0.1 GB free")


def test_a_gpu_that_this_torch_cannot_use_is_told(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    finding = doctor._device()
    assert not finding.ok
    assert "CPU build" in finding.detail


def test_a_missing_or_outdated_package_is_named(monkeypatch):
    needs = ["numpy>=9000", "no-such-package-at-all>=1", "pyqt6; extra == 'pyqt6'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: needs)
    monkeypatch.setattr(doctor, "DISTRIBUTION", "numpy")
    finding = doctor._packages()
    assert not finding.ok
    assert "is not >=9000" in finding.detail
    assert "no-such-package-at-all is missing" in finding.detail
    assert "pyqt6" not in finding.detail


def test_a_check_that_breaks_becomes_a_finding():
    def _optics():
        raise RuntimeError("lens fell out")

    finding = doctor._guarded(_optics)
    assert finding == doctor.Finding(
        "Optics", False, "the check failed: RuntimeError: lens fell out", doctor.REINSTALL
    )
