"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before any library reads them: tests need no network, no telemetry, no thread pools.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A process that is forked off one with such a pool waits for threads that it does not have.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data that tests read but the project does not carry."""
    place = os.environ.get("ADAPT_TEST_DATA")
    if not place:
        pytest.skip("ADAPT_TEST_DATA is not set: this test reads real data from that folder")
    return Path(place)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model and its made mixture, and the prepared data of all runs on it."""
    from adapt_axolotl.commands.tiny import write_tiny

    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    return folder
