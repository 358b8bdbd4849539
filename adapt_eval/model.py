"""What is evaluated: a model directory, an adapter, an ADAPT run or a name on the Hub."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt_common.hub import looks_like_hub_name
from adapt_eval.errors import RunFailed

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model*.bin")
# What else decides what a model says; the same names as Transformers writes.
_DETAILS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class Model:
    """Where the weights lie.

    Attributes:
        name: as the user gave it.
        folder: of the full model.
        adapter: of the LoRA weights for it, if there are any.
    """

    name: str
    folder: Path
    adapter: Path | None = None

    @property
    def folders(self) -> list[Path]:
        """All folders that decide what the model says."""
        return [self.folder, *([self.adapter] if self.adapter else [])]

    def weight_bytes(self) -> int:
        """Size of the weight files."""
        return sum(file.stat().st_size for folder in self.folders for file in _weights(folder))

    def hash(self) -> str:
        """SHA-256 over weights, config, tokenizer and template."""
        digest = hashlib.sha256()
        for folder in self.folders:
            details = [folder / name for name in _DETAILS if (folder / name).is_file()]
            for file in [*_weights(folder), *details]:
                digest.update(file.name.encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()


def check_there(name: str) -> None:
    """
    Raises:
        ValueError: it is neither a directory nor of the form of a Hub name; or it is of that form,
            but as good as a path into a folder that is there, and the Hub does not have it.
    """
    place = Path(name)
    if place.exists() and not place.is_dir():
        raise ValueError(f"{name}: is a file; give the directory of a model or of a run")
    if not name or (not place.exists() and not _is_hub_name(name)):
        raise ValueError(
            f"{name or 'no name'}: no such directory; give the directory of a model or of a run, "
            "or a name on the Hub with its owner, as in org/model"
        )
    if not place.exists() and place.parent.is_dir() and not _on_hub(name):
        raise ValueError(
            f"{name}: no such directory in {place.parent}, and no model of that name can be had "
            "from the Hub; give the directory of a model or of a run"
        )


def resolve(name: str) -> Model:
    """Find the model that a name or directory means.

    Raises:
        ValueError: there is no such directory or no model in it.
        RunFailed: a name on the Hub cannot be fetched.
    """
    place = Path(name)
    check_there(name)
    if not place.is_dir():
        return Model(name, _from_hub(name))
    if (place / "adapter_config.json").is_file():
        _need_weights(place, "adapter")
        return Model(name, _base_of(place), place)
    if (place / "config.json").is_file():
        _need_weights(place, "model")
        return Model(name, place)
    checkpoints = sorted(path.name for path in place.glob("checkpoint-*") if path.is_dir())
    inside = sorted(path.parent.name for path in place.glob("*/config.json"))
    choices = list(dict.fromkeys([*inside, *checkpoints]))
    remedy = f"; give one of those in it: {', '.join(choices)}" if choices else "; is the run done?"
    raise ValueError(f"{name}: no model here (config.json or adapter_config.json){remedy}")


def check_fits(model: Model, device: str) -> None:
    """
    Raises:
        RunFailed: the weights alone are larger than the free memory of the device.
    """
    needed, free = model.weight_bytes(), _free_bytes(device)
    if free is not None and needed > free:
        raise RunFailed(
            f"{model.name}: its weights are {needed / 2**30:.1f} GiB, {device} has "
            f"{free / 2**30:.1f} GiB free: use a --device with more memory, or free some"
        )


def _free_bytes(device: str) -> int | None:
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ValueError(f"--device {device}: there is no CUDA device here; use --device cpu")
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    if device == "cpu" and Path("/proc/meminfo").exists():
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _weights(folder: Path) -> list[Path]:
    return sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern))


def _need_weights(folder: Path, kind: str) -> None:
    files = _weights(folder)
    if not files:
        raise ValueError(f"{folder}: the {kind} has no weights ({', '.join(_WEIGHTS)}); copy them")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = set(read_object(index).get("weight_map", {}).values())
        if missing := sorted(parts - {file.name for file in files}):
            raise ValueError(f"{folder}: weights are missing: {', '.join(missing)}; copy them too")
    if empty := [file.name for file in files if file.stat().st_size == 0]:
        raise ValueError(f"{folder}: weight files are empty: {', '.join(empty)}; copy them again")


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object that belongs to a model.

    Raises:
        ValueError: it is damaged.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: is not JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file}: is not a JSON object; copy it again")
    return content


def _base_of(adapter: Path) -> Path:
    config = read_object(adapter / "adapter_config.json")
    base = config.get("base_model_name_or_path") or ""
    for place in (Path(base), adapter / base):
        if base and (place / "config.json").is_file():
            _need_weights(place, "base model")
            return place
    if _is_hub_name(base) and not Path(base).exists():
        return _from_hub(base)
    raise ValueError(
        f"{adapter}: its base model {base!r} is not there; set base_model_name_or_path in "
        "adapter_config.json to the directory of the base model"
    )


def _is_hub_name(name: str) -> bool:
    """Only with its owner: a single word is more often a folder that is not there."""
    return "/" in name and looks_like_hub_name(name)


def _on_hub(name: str) -> bool:
    """Whether a model was fetched before, or the Hub has it; fetches nothing."""
    import httpx
    from huggingface_hub import model_info, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        snapshot_download(name, local_files_only=True)
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        return False
    else:
        return True
    try:
        model_info(name)
    except (httpx.HTTPError, OSError):
        return False
    return True


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
        reason = "the environment forbids the Hub (HF_HUB_OFFLINE)" if offline else str(error)
        first = reason.strip().splitlines()[0]
        raise RunFailed(
            f"{name}: there is no such directory, and no model of that name can be had from the "
            f"Hub: {first}; give the directory of a run or of a model"
        ) from error
