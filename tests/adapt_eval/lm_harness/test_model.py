"""A model that cannot be loaded is one message."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

import pytest

from adapt_eval.lm_harness.model import build_model


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed, so nothing is missing")
def test_what_lm_eval_needs_beside_vllm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    with pytest.raises(ValueError, match=r"--backend vllm: No module named 'ray'; .*install ray"):
        build_model("vllm", "run", "run", None, "cuda", "1", "auto", {})


def test_a_name_that_vllm_has_dropped_is_told_with_the_version_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.delitem(sys.modules, "lm_eval.models.vllm_causallms", raising=False)
    says = r"--backend vllm: cannot import name 'LLM' from 'vllm'.*pip install ray 'vllm<0.21'"
    with pytest.raises(ValueError, match=says):
        build_model("vllm", "run", "run", None, "cuda", "1", "auto", {})
