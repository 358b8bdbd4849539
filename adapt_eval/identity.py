"""What a result belongs to: the model, the settings, the data and the versions behind it.

A result is used again only for exactly the same measurement; the manifest says the same in words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt_eval import mirror, provenance
from adapt_eval.model import Model
from adapt_eval.results import read_json, read_result, write_json
from adapt_eval.suite import Benchmark, Suite, load_suite, suite_hash

if TYPE_CHECKING:
    from adapt_eval.harness import Prepared


def identity_of(model: Model, resolved: dict[str, Any]) -> dict[str, Any]:
    """What a score depends on beside the benchmark itself."""
    keys = ("limit", "profile", "batch_size", "device", "dtype", "backend")
    return {
        "model": model.hash(),
        **{key: resolved[key] for key in keys},
        "versions": provenance.package_versions(provenance.SCORING_PACKAGES),
    }


def fingerprint_of(identity: dict[str, Any], one: Prepared) -> dict[str, Any]:
    """All that the score of one benchmark depends on, and a hash over it."""
    data = {
        path: mirror.content_hash(Path(where)) if Path(where).is_dir() else where
        for path, where in one.data.items()
    }
    # Through JSON, so that it is equal to what is read back.
    described = {**identity, "data": data, "settings": dict(one.settings)}
    described["benchmark"] = asdict(one.benchmark)
    if one.benchmark.runs_code:
        from adapt_eval.sandbox import Sandbox

        described["sandbox"] = Sandbox().name
    full = json.loads(json.dumps(described))
    text = json.dumps(full, sort_keys=True)
    return {**full, "hash": hashlib.sha256(text.encode()).hexdigest()}


def finished(
    folder: Path, benchmark: Benchmark, fingerprint: dict[str, Any]
) -> Mapping[str, Any] | None:
    """The result of exactly this measurement, if there is one.

    Raises:
        ValueError: there is one, but of another model, config or version.
    """
    path = folder / f"{benchmark.task}.json"
    if not path.exists():
        return None
    content = read_result(path).content
    found = content["fingerprint"]
    if found == fingerprint:
        return content
    differ = sorted(
        key
        for key in set(found) | set(fingerprint)
        if key != "hash" and found.get(key) != fingerprint.get(key)
    )
    raise ValueError(
        f"{path}: was measured with another {', '.join(differ)}; --force measures again and "
        "replaces it, --output DIR keeps both"
    )


def write_manifest(
    folder: Path,
    suite: Suite,
    model: Model,
    identity: dict[str, Any],
    resolved: dict[str, Any],
) -> None:
    """Say for people and for `compare` what the results in a folder are results of."""
    from adapt_eval.harness import SEEDS

    code = None
    if any(one.runs_code for one in suite.benchmarks):
        from adapt_eval.sandbox import Sandbox

        code = Sandbox().name
    ledger = Path(resolved["run"]) / "adapt" / "ledger.json"
    shipped = load_suite(resolved["suite"])
    manifest = {
        "format": 1,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": model.name,
            "folders": [str(folder.resolve()) for folder in model.folders],
            "hash": identity["model"],
            "weight_bytes": model.weight_bytes(),
        },
        "suite": {
            "name": suite.name,
            "note": suite.note,
            "source": resolved["suite"],
            "hash": suite_hash(shipped),
            "benchmarks": [one.task for one in shipped.benchmarks],
        },
        "options": resolved,
        "seeds": SEEDS,
        "sandbox": code,
        "versions": provenance.package_versions(),
        "checkout": provenance.checkout(),
        "hardware": provenance.hardware(resolved["device"]),
        "ledger": read_json(ledger) if ledger.is_file() else None,
    }
    write_json(folder / "manifest.json", manifest)
