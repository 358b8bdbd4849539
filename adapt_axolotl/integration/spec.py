"""What a run needs to know of Axolotl's config, read once and typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.integration.compat import DEFAULT_DATASET_PREPARED_PATH


@dataclass(frozen=True)
class TrainingSpec:
    """A validated recipe; `adapt` is its own block, the rest are Axolotl's keys of like names.

    Attributes:
        adapt: the `adapt:` block.
        seed: 42 where the recipe gives none.
        micro_batch_size: rows (or packed sequences) of a micro-batch.
        gradient_accumulation_steps: micro-batches of a process in an optimizer step.
        max_steps: None where the budget alone ends the run.
        sequence_len: most tokens of a training row.
        eval_sequence_len: most tokens of a validation row.
        sample_packing: rows are packed for training.
        eval_sample_packing: validation rows have the columns of packed ones.
        packs_into_one: a micro-batch is one packed sequence of `micro_batch_size * sequence_len`
            tokens, for attention kernels that keep rows apart; otherwise `micro_batch_size` ones.
        compiled: the model is compiled, so that hooks may not run.
        flex_attention: attention is `flex_attention`, which is compiled by itself and holds all of
            its scores at once where it is not.
        fused_loss: the training loss takes the head's weight and goes around the head.
        weighs_tokens: the training loss weighs tokens by their losses.
        deduplicate: rows with equal tokens are kept once.
        prepared: the folder of prepared rows.
        output_dir: of the run.
        resumes_by_itself: goes on from the last checkpoint in `output_dir`.
    """

    adapt: AdaptConfig
    seed: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    max_steps: int | None
    sequence_len: int
    eval_sequence_len: int
    sample_packing: bool
    eval_sample_packing: bool
    packs_into_one: bool
    compiled: bool
    flex_attention: bool
    fused_loss: bool
    weighs_tokens: bool
    deduplicate: bool
    prepared: Path
    output_dir: Path
    resumes_by_itself: bool


def read_spec(cfg: Any) -> TrainingSpec:
    """From Axolotl's validated config. `used.RECIPE_KEYS` and `used.PLUGIN_KEYS` list
    the keys that are read."""
    separate = cfg.multipack_real_batches
    if separate is None:
        separate = not cfg.attn_supports_packing
    return TrainingSpec(
        adapt=AdaptConfig.model_validate(cfg.adapt.to_dict()),
        seed=42 if cfg.seed is None else cfg.seed,
        micro_batch_size=cfg.micro_batch_size or 1,
        gradient_accumulation_steps=cfg.gradient_accumulation_steps or 1,
        max_steps=cfg.max_steps or None,
        sequence_len=cfg.sequence_len,
        eval_sequence_len=cfg.eval_sequence_len or cfg.sequence_len,
        sample_packing=bool(cfg.sample_packing),
        eval_sample_packing=bool(cfg.eval_sample_packing),
        packs_into_one=not separate,
        compiled=bool(cfg.torch_compile),
        flex_attention=cfg.attn_implementation == "flex_attention",
        fused_loss=bool(cfg.cut_cross_entropy or cfg.liger_fused_linear_cross_entropy),
        weighs_tokens=bool(cfg.liger_use_token_scaling),
        deduplicate=bool(cfg.dataset_exact_deduplication),
        prepared=Path(cfg.dataset_prepared_path or DEFAULT_DATASET_PREPARED_PATH),
        output_dir=Path(cfg.output_dir),
        resumes_by_itself=bool(cfg.auto_resume_from_checkpoints),
    )
