"""The stock task's own documents and scores."""

from lm_eval.tasks.drop.utils import process_docs, process_results

__all__ = ["process_docs", "process_results"]
