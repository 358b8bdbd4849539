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

from adapt_common.run_records import LEDGER, RECORDS, read_ledger
from adapt_eval import mirror, provenance
from adapt_eval.lm_harness.seeds import SEEDS
from adapt_eval.model import Model
from adapt_eval.options import Options, parse_model_args
from adapt_eval.parsing import parse
from adapt_eval.results import MANIFEST, read_result, write_json
from adapt_eval.schema import (
    BenchmarkResult,
    Fingerprint,
    Identity,
    Ledger,
    Manifest,
    MeasuredModel,
    MeasuredSuite,
)
from adapt_eval.server import CONNECTION
from adapt_eval.suite import Benchmark, Suite, load_suite, suite_hash

if TYPE_CHECKING:
    from adapt_eval.lm_harness.tasks import Prepared


def identity_of(model: Model, options: Options) -> Identity:
    """What a score depends on beside the benchmark itself.

    Args:
        options: resolved.
    """
    return Identity(
        model=model.hash(),
        limit=options.limit,
        profile=options.profile,
        batch_size=options.batch_size,
        device=options.device,
        dtype=options.dtype,
        backend=options.backend,
        model_args=said_of(
            {k: v for k, v in parse_model_args(options.model_args).items() if k not in CONNECTION}
        ),
        versions=provenance.package_versions(provenance.SCORING_PACKAGES),
    )


def said_of(arguments: Mapping[str, Any]) -> str | None:
    """Arguments of a model as one text, whatever their order."""
    return ",".join(f"{key}={arguments[key]}" for key in sorted(arguments)) or None


def answers_hash(identity: Identity) -> str:
    """16 letters for all that an answer depends on besides its request. Not the number of items and
    not what the suite says of the score: with these changed, the answers are the same."""
    # None was no key of earlier versions, whose answers are kept.
    unsaid = {"model_args"} if identity.model_args is None else set()
    described = identity.model_dump(exclude={"limit", "profile", *unsaid})
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def fingerprint_of(identity: Identity, one: Prepared) -> Fingerprint:
    """All that the score of one benchmark depends on, and a hash over it."""
    described = identity.model_dump()
    described["data"] = {
        path: mirror.content_hash(Path(where)) if Path(where).is_dir() else where
        for path, where in one.data.items()
    }
    described["settings"] = dict(one.settings)
    described["benchmark"] = one.benchmark.described()
    if one.benchmark.runs_code:
        from adapt_eval.sandbox import Sandbox

        described["sandbox"] = Sandbox().name
    text = json.dumps(described, sort_keys=True)
    # Through JSON, so that it is equal to what is read back.
    return Fingerprint(**json.loads(text), hash=hashlib.sha256(text.encode()).hexdigest())


def finished(
    folder: Path, benchmark: Benchmark, fingerprint: Fingerprint
) -> BenchmarkResult | None:
    """The result of exactly this measurement, if there is one.

    Raises:
        ValueError: there is one, but of another model, config or version.
    """
    path = folder / f"{benchmark.task}.json"
    if not path.exists():
        return None
    content = read_result(path).content
    differ = fingerprint.differences(content.fingerprint)
    if not differ:
        return content
    raise ValueError(
        f"{path}: was measured with another {', '.join(differ)}; --force measures again and "
        "replaces it, --output DIR keeps both"
    )


def write_manifest(
    folder: Path,
    suite: Suite,
    model: Model,
    identity: Identity,
    options: Options,
    ledger: Ledger | None,
) -> None:
    """Say for people and for `compare` what the results in a folder are results of.

    Args:
        suite: the benchmarks that were asked for.
        options: resolved.
        ledger: what `ledger_of` returned for the run.
    """
    code = None
    if any(one.runs_code for one in suite.benchmarks):
        from adapt_eval.sandbox import Sandbox

        code = Sandbox().name
    whole = load_suite(options.suite)
    manifest = Manifest(
        format=1,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        model=MeasuredModel(
            name=model.name,
            folders=[str(folder.resolve()) for folder in model.folders],
            hash=identity.model,
            weight_bytes=model.weight_bytes(),
        ),
        suite=MeasuredSuite(
            name=suite.name,
            note=suite.note,
            source=options.suite,
            hash=suite_hash(whole),
            benchmarks=[one.task for one in whole.benchmarks],
        ),
        options=asdict(options),
        seeds=SEEDS,
        sandbox=code,
        versions=provenance.package_versions(),
        checkout=provenance.checkout(),
        hardware=provenance.hardware(options.device),
        ledger=ledger,
    )
    write_json(folder / MANIFEST, manifest)


def ledger_of(run: Path) -> Ledger | None:
    """What training spent; None if no training run left its records in the folder of the model.

    Raises:
        ValueError: the ledger is damaged.
    """
    file = run / RECORDS / LEDGER
    if not file.is_file():
        return None
    return parse(Ledger, read_ledger(run), file, "restore it, or train again")
