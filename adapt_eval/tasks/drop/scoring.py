"""The stock task's own documents and scores."""

from adapt_eval.lm_harness.stock import drop_documents as process_docs
from adapt_eval.lm_harness.stock import drop_scores as process_results

__all__ = ["process_docs", "process_results"]
