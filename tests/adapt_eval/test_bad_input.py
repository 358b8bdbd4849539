"""What cannot be is refused with one message, its remedy and the exit code of the documentation."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from pathlib import Path

import huggingface_hub
import pytest
import yaml

from adapt_eval.model import check_there
from tests.adapt_eval.conftest import Command

TINY = ["--suite", "tiny", "--allow-code-execution", "--unsafe"]
SUMS = [*TINY, "--only", "tiny_sums"]


@pytest.fixture
def own(model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("eval"))
    return folder


def check(command: Command, code: int, says: str, *arguments: object) -> None:
    done = command("run", *arguments)
    messages = [line for line in done.stderr.splitlines() if line.startswith("adapt-eval: ")]
    assert done.returncode == code, done.stderr
    assert len(messages) == 1, done.stderr
    assert says in messages[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_run_that_is_not_there(command: Command, tmp_path: Path) -> None:
    says = "no such directory; give the directory of a model or of a run"
    check(command, 2, says, tmp_path / "no", *TINY)
    check(command, 2, "no name: no such directory", "", *TINY)


def test_an_empty_run_directory(command: Command, tmp_path: Path) -> None:
    check(command, 2, "no model here (config.json or adapter_config.json)", tmp_path, *TINY)


def test_a_run_with_checkpoints_only_names_them(command: Command, tmp_path: Path) -> None:
    (tmp_path / "checkpoint-10").mkdir()
    check(command, 2, "give one of those in it: checkpoint-10", tmp_path, *TINY)


def test_a_model_without_weights_or_with_empty_ones(command: Command, own: Path) -> None:
    weights = own / "model.safetensors"
    weights.write_bytes(b"")
    check(command, 2, "weight files are empty: model.safetensors", own, *TINY)
    weights.unlink()
    check(command, 2, "the model has no weights", own, *TINY)


@pytest.mark.slow
def test_weights_that_are_no_weights(command: Command, own: Path) -> None:
    (own / "model.safetensors").write_bytes(b"not weights at all")
    check(command, 1, "cannot load the model", own, *SUMS)


def test_a_model_that_does_not_fit(command: Command, own: Path) -> None:
    with (own / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 43)  # 8 TiB, of which nothing is on the disk
    check(command, 1, "its weights are 8192.0 GiB, cpu has", own, *TINY)


def test_a_hub_name_without_a_network(command: Command) -> None:
    check(command, 1, "the environment forbids the Hub", "no-such-org/no-such-model", *TINY)


@pytest.mark.slow
def test_no_network_and_no_mirror(command: Command, own: Path) -> None:
    says = "no data of openai/gsm8k"
    check(command, 1, says, own, "--only", "gsm8k")


def test_a_mirror_that_is_not_there(command: Command, own: Path, tmp_path: Path) -> None:
    says = "no such directory; fill one with adapt-eval fetch"
    check(command, 2, says, own, *TINY, "--data-root", tmp_path / "mirror")


@pytest.mark.slow
def test_an_unknown_metric_task_or_column(command: Command, own: Path, tmp_path: Path) -> None:
    entry = {
        "task": "tiny_sums",
        "family": "reasoning",
        "metric": "accuracy,none",
        "shots": 0,
        "items": 60,
        "chance": 0.25,
    }
    file = tmp_path / "mine.yaml"

    def suite(**changes: object) -> list[object]:
        file.write_text(yaml.safe_dump({"name": "mine", "benchmarks": [{**entry, **changes}]}))
        return [own, "--suite", file, "--limit", 2]

    check(command, 2, "no metric 'accuracy,none'; lm-eval reports acc,none", *suite())
    check(command, 2, "has no task 'tiny_sum'", *suite(task="tiny_sum", folder="gsm8k"))
    columns = suite(metric="acc,none", cluster="passage")
    check(command, 2, "no column 'passage', only question, choices, answer", *columns)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--limit", "0"], "--limit 0: at least 1"),
        (["--batch-size", "many"], "--batch-size many: a number of 1 or more, or auto"),
        (["--profile", "instruct"], "there are base and chat"),
        (["--skip", "mmlu"], "no benchmark mmlu"),
        (["--device", "cuda"], "there is no CUDA device here"),
    ],
)
def test_options_that_make_no_sense(
    command: Command, own: Path, arguments: list[str], says: str
) -> None:
    import torch

    if arguments[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    check(command, 2, says, own, *TINY, *arguments)


def test_an_unknown_option_and_a_mistake_in_the_options_file(
    command: Command, own: Path, tmp_path: Path
) -> None:
    done = command("run", own, "--limits", "3")
    assert done.returncode == 2
    assert done.stderr.startswith("adapt-eval: No such option")
    file = tmp_path / "options.yaml"
    file.write_text("run: {limits: 3}")
    done = command("--config", file, "run", own)
    assert done.returncode == 2
    assert "run has no option limits" in done.stderr


@pytest.mark.slow
def test_vllm_where_it_is_not_installed(command: Command, own: Path) -> None:
    pytest.importorskip("lm_eval")
    try:
        import vllm  # noqa: F401
    except ImportError:
        check(
            command, 2, "vLLM is not installed; use --backend hf", own, *SUMS, "--backend", "vllm"
        )
    else:
        pytest.skip("vLLM is installed")


def test_chat_without_a_template(command: Command, own: Path) -> None:
    (own / "chat_template.jinja").unlink(missing_ok=True)
    config = own / "tokenizer_config.json"
    settings = yaml.safe_load(config.read_text())
    settings.pop("chat_template", None)
    import json

    config.write_text(json.dumps(settings))
    check(command, 2, "has no chat template; use --profile base", own, *TINY, "--profile", "chat")


def test_code_is_not_run_by_default(command: Command, own: Path) -> None:
    check(command, 2, "Add --allow-code-execution", own, "--suite", "tiny")


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--dtype", "float31", "--dtype float31: there are auto, float32"),
        ("--device", "foo", "--device foo: there are auto, cpu"),
        ("--batch-size", "0", "--batch-size 0: a number of 1 or more"),
    ],
)
def test_values_that_do_not_exist(
    command: Command, own: Path, flag: str, value: str, says: str
) -> None:
    check(command, 2, says, own, *SUMS, flag, value)


@pytest.mark.slow
def test_a_cluster_column_that_is_not_there_is_found_before_anything_is_measured(
    command: Command, own: Path, tmp_path: Path
) -> None:
    suite = yaml.safe_load(files("adapt_eval").joinpath("suites/tiny.yaml").read_text())
    for benchmark in suite["benchmarks"]:
        if benchmark["task"] == "tiny_passages":
            benchmark["cluster"] = "chapter"
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(suite))
    only = ["--suite", file, "--only", "tiny_passages", "--dry-run"]
    check(command, 2, "have no column 'chapter', only", own, *only)
    suite["benchmarks"][0]["names"] = "boolq"
    file.write_text(yaml.safe_dump(suite))
    check(command, 2, "names is a list, as in [boolq]", own, *only)


def test_a_damaged_adapter(command: Command, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    check(command, 2, "adapter_config.json: is not JSON", tmp_path, *SUMS)


def test_a_run_that_is_not_there_is_told_before_anything_else(command: Command) -> None:
    done = command("run", "MISSING")  # needs --allow-code-execution too
    assert done.returncode == 2
    assert "MISSING: no such directory; give the directory of a model or of a run" in done.stderr
    done = command("run", "no-such-folder/missing", *TINY)
    says = "no-such-folder/missing: there is no such directory, and no model of that name"
    assert says in done.stderr


def test_a_path_into_a_folder_that_is_there_is_told_before_anything_else(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    done = command("run", "runs/missing", folder=tmp_path)
    assert done.returncode == 2
    assert "runs/missing: no such directory in runs, and no model of that name" in done.stderr
    for path in ("./missing", "../missing", tmp_path / "missing"):
        done = command("run", path, folder=tmp_path)
        assert done.returncode == 2
        assert f"{path}: no such directory; give the directory of a model" in done.stderr


def test_a_name_on_the_hub_works_beside_a_folder_of_its_owners_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("org").mkdir()
    monkeypatch.setattr(huggingface_hub, "model_info", lambda name: name)
    check_there("org/name")
    # Fetched before, and no network now.
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="org/name: no such directory in org"):
        check_there("org/name")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: "/cache")
    check_there("org/name")


def test_the_version_is_told(command: Command) -> None:
    done = command("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"adapt-eval \S+ \(lm-eval \S+\)\n", done.stdout)
