"""Small runs of the real program, made once: two that differ in a parameter, and one that fails."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pipe_results as pr

PIPELINES = Path(__file__).parents[2] / "pipelines"

SMALL: dict[str, Any] = {
    "folds": [0, 1],
    "phantom.patients": 14,
    "phantom.blank": 0.3,
    "test-phantom.patients": 8,
    "phantom.shape": [72, 72, 36],
    "test-phantom.shape": (72, 72, 36),
    "train.epochs": 1,
    "train.architecture.text": {"width": 64, "layers": 1, "vocabulary": 49408, "context": 77},
    "train.architecture.vision": {"width": 64, "layers": 1, "patch": 24, "resolution": 48},
    "evaluate.draws": 50,
}


@dataclass(frozen=True)
class Project:
    """A folder whose name has a blank and letters beyond ASCII, with the shipped pipelines and a cache."""

    folder: Path
    cache: Path

    def start(self, **changes: Any) -> pr.Run:
        settings = {**SMALL, **{key.replace("__", "."): value for key, value in changes.items()}}
        return pr.start(self.folder / "pipelines" / "phantom.toml", set=settings, cache=self.cache)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("work") / "Lungen herde ü 肺"
    shutil.copytree(PIPELINES, folder / "pipelines")
    return Project(folder, folder / "a cache")


@pytest.fixture(scope="session")
def first(project: Project) -> pr.Run:
    return project.start()


@pytest.fixture(scope="session")
def second(project: Project, first: pr.Run) -> pr.Run:
    return project.start(train__lr=5e-4)


@pytest.fixture(scope="session")
def failure(project: Project, second: pr.Run) -> pr.RunFailed:
    with pytest.raises(pr.RunFailed) as failure:
        project.start(train__lr=1e30)
    return failure.value
