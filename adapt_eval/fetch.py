"""Fill a mirror: copies of the datasets that a suite needs, in the layout of the Hub.

Only the configurations that the tasks ask for are kept, as parquet, with a README that names the
splits, so that `datasets.load_dataset("<mirror>/<hub path>", <configuration>)` reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adapt_eval import mirror
from adapt_eval.errors import RunFailed
from adapt_eval.progress import Reporter
from adapt_eval.suite import PUNKT, Suite


def fill(root: Path, suite: Suite, reporter: Reporter) -> None:
    """Fetch what is missing. What is there already is left alone, so a broken fetch can go on.

    Raises:
        RunFailed: there is no network, or a dataset cannot be fetched.
    """
    if mirror.offline():
        raise RunFailed(
            "the environment forbids the Hub (HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set): unset "
            "it where there is a network, or copy a mirror made elsewhere"
        )
    from adapt_eval.lm_harness.tasks import Tasks

    root.mkdir(parents=True, exist_ok=True)
    if any(PUNKT in one.needs for one in suite.benchmarks) and not mirror.use_nltk_data([root]):
        import nltk

        # Before IFEval's files are read: importing them looks for it.
        if not nltk.download("punkt_tab", download_dir=str(root / "nltk_data"), quiet=True):
            raise RunFailed("NLTK's punkt_tab cannot be fetched; see to the network, try again")
        mirror.use_nltk_data([root])
    tasks = Tasks(suite.benchmarks, [])
    for benchmark in suite.benchmarks:
        for hub_path, configurations in tasks.sources(benchmark).items():
            there = fetched(root / hub_path)
            if {name or "default" for name in configurations} <= there:
                reporter.say(f"{hub_path} is there")
                continue
            # The folder is written anew, with what other suites took from it.
            configurations |= {None if name == "default" else name for name in there}
            reporter.say(f"fetching {hub_path} for {benchmark.task}")
            save(
                root / hub_path, hub_path, {name: _load(hub_path, name) for name in configurations}
            )


def fetched(folder: Path) -> set[str]:
    """Names of the configurations that a folder of the mirror has."""
    readme = folder / "README.md"
    if not readme.is_file():
        return set()
    header = yaml.safe_load(readme.read_text(encoding="utf-8").split("---")[1]) or {}
    return {one["config_name"] for one in header.get("configs", [])}


def save(folder: Path, hub_path: str, configurations: dict[str | None, Any]) -> None:
    """Write one dataset repository. The README is written last: with it the folder is whole.

    Args:
        configurations: name -> its splits, as `datasets.load_dataset` gives them.
    """
    described = []
    for name, splits in configurations.items():
        files = []
        for split, rows in splits.items():
            file = Path(name or "data") / f"{split}-00000-of-00001.parquet"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            rows.to_parquet(str(folder / file))
            files.append({"split": split, "path": str(file)})
        described.append({"config_name": name or "default", "data_files": files})
    header = yaml.safe_dump({"configs": described}, sort_keys=False)
    text = f"---\n{header}---\n# {hub_path}\n\nCopied from the Hub by adapt-eval fetch.\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


def _load(hub_path: str, name: str | None) -> Any:
    import datasets

    try:
        return datasets.load_dataset(hub_path, name)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RunFailed(
            f"{hub_path}: cannot be fetched ({reason}); see to the network or to the access rights "
            "of that dataset, and start again"
        ) from error
