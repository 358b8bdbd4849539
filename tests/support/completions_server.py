"""An OpenAI-compatible server of a small model, in a thread of the test: as much of /v1/completions
and /v1/chat/completions as lm-eval asks of one."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Served:
    """A model that answers greedily.

    Attributes:
        asked: the requests so far, path and content.
        broken: None, or the status with which every request is refused.
        silent: leaves the log-probabilities out, as servers do that do not tell them.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(str(folder))
        self.model = AutoModelForCausalLM.from_pretrained(str(folder)).eval()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.broken: int | None = None
        self.silent = False
        self._one = threading.Lock()  # requests come in several threads

    def answer(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        with self._one:
            self.asked.append((path, asked))
            if path == "/v1/chat/completions":
                text = self.tokenizer.apply_chat_template(
                    asked["messages"], tokenize=False, add_generation_prompt=True
                )
                said = self._generate(self._tokens(text), asked)
                return {"choices": [{"index": 0, "message": {"content": said}}]}
            assert path == "/v1/completions", path
            prompts = asked["prompt"]
            if isinstance(prompts, str) or isinstance(prompts[0], int):
                prompts = [prompts]
            choices = []
            for number, prompt in enumerate(prompts):
                tokens = self._tokens(prompt) if isinstance(prompt, str) else prompt
                if asked.get("echo"):
                    choice = {"text": "", "logprobs": None if self.silent else self._echo(tokens)}
                else:
                    choice = {"text": self._generate(tokens, asked)}
                choices.append({"index": number, **choice})
            return {"choices": choices}

    def _tokens(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return found

    def _echo(self, tokens: Sequence[int]) -> dict[str, Any]:
        """Log-probabilities of the prompt's tokens, and of one more that max_tokens asks for."""
        import torch

        with torch.no_grad():
            logits = self.model(torch.tensor([tokens])).logits[0]
        logs = torch.log_softmax(logits.double(), dim=-1)
        best, which = logs.max(dim=-1)
        following = [*tokens[1:], int(which[-1])]
        own = [float(logs[place, token]) for place, token in enumerate(following)]
        top = [
            {str(int(which[place])): float(best[place]), str(token): own[place]}
            for place, token in enumerate(following)
        ]
        return {"token_logprobs": [None, *own], "top_logprobs": [None, *top]}

    def _generate(self, tokens: Sequence[int], asked: dict[str, Any]) -> str:
        import torch

        stops = [one for one in asked.get("stop") or [] if one]
        made: list[int] = []
        text = ""
        for _ in range(asked["max_tokens"]):
            with torch.no_grad():
                logits = self.model(torch.tensor([[*tokens, *made]])).logits[0, -1]
            made.append(int(logits.argmax()))
            if made[-1] == self.tokenizer.eos_token_id:
                break
            text = self.tokenizer.decode(made)
            if cut := [text.index(one) for one in stops if one in text]:
                return text[: min(cut)]
        return text


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Served]]:
    """The address, without a path, and the model behind it."""
    served = Served(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if served.broken:
                status, content = served.broken, {"error": "no such model"}
            else:
                status, content = 200, served.answer(self.path, asked)
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
