"""Frozen readers of text: the encoders of CLIP and T5 through `transformers`, from a folder or by a hub's name.

A text is encoded by itself, at its own length: what it becomes depends on no company and on no padding, to the bit.
"""

import hashlib
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from unnoise.config import UserError

# How the configuration of a model calls its type, and the class that reads text.
MODELS = {
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "t5": "T5EncoderModel",
    "umt5": "UMT5EncoderModel",
}
# What says, beside the weights, how a text is read.
SETTINGS = (
    *("hidden_act", "feed_forward_proj", "num_attention_heads", "num_heads", "layer_norm_eps", "layer_norm_epsilon"),
    *("relative_attention_num_buckets", "relative_attention_max_distance"),
)
PROBE = "A photograph of 3 cats, left of Émile's red-blue house!"  # in the identity: how words are taken apart


class Encoder:
    """Texts → (L, width) float32, one row a token, those that mark the ends among them.

    digest: SHA-256 of the weights, the vocabulary and how both are used, the same wherever the files lie. most: tokens
    that it can read; None: as many as there are.
    """

    def __init__(self, where: str, net: torch.nn.Module, tokenizer: Any) -> None:
        config: Any = net.config
        self.where, self._net, self._tokenizer = where, net.float().eval().requires_grad_(False), tokenizer
        self.width = int(config.hidden_size)
        self.most: int | None = getattr(config, "max_position_embeddings", None)
        self.digest = self._identity(config)

    def tokens(self, text: str, most: int | None = None) -> list[int]:
        """The numbers of a text's tokens; with `most`, cut to so many, the mark of the end kept."""
        cut = {} if most is None else {"truncation": True, "max_length": most}
        return list(self._tokenizer(text, verbose=False, **cut)["input_ids"])

    @torch.no_grad()
    def features(self, text: str, most: int) -> npt.NDArray[np.float32]:
        """(L, width), L at most `most`: the last hidden states, after the encoder's own last norm."""
        tokens = torch.tensor([self.tokens(text, most)])
        told: Any = self._net(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        return np.ascontiguousarray(told.last_hidden_state[0].numpy())

    def _identity(self, config: Any) -> str:
        """By content alone: releases of the library name the weights differently, and files are saved anew."""
        each = {
            hashlib.sha256(repr(tuple(w.shape)).encode() + w.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
            for w in self._net.parameters()
        }
        used = [getattr(config, name, None) for name in SETTINGS]
        vocabulary = sorted(self._tokenizer.get_vocab().items())
        words = json.dumps([sorted(each), used, vocabulary, self.tokens(PROBE)])
        return hashlib.sha256(words.encode()).hexdigest()


def place(where: str) -> str:
    """A folder's path made absolute; a hub's name stays."""
    home = os.path.expanduser(where)
    return os.path.abspath(home) if os.path.isdir(home) or where[:1] in ("/", ".", "~") else where


@lru_cache(maxsize=2)
def opened(where: str, download: bool = False) -> Encoder:
    """The encoder in a folder, or of a hub's name; that is fetched only where `download` says so."""
    try:
        library: Any = import_module("transformers")
    except ImportError:
        raise UserError(
            "text encoders are read with transformers, which is not here: pip install 'unnoise[text]'"
        ) from None
    if not Path(where).is_dir() and os.path.isabs(where):
        raise UserError(f"there is no folder {where} with a text encoder")
    own: dict[str, Any] = {"local_files_only": not download}
    with _quiet(library):
        try:
            config = library.AutoConfig.from_pretrained(where, **own)
        except (OSError, ValueError) as error:
            raise _unread(where, error, download) from None
        name = MODELS.get(config.model_type)
        if name is None:
            raise UserError(f"{where} is a '{config.model_type}', and text is read by encoders of CLIP and T5")
        own["use_safetensors"] = True  # the other format of the hub is a pickle
        try:
            net, found = getattr(library, name).from_pretrained(where, output_loading_info=True, **own)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"{where} has no weights in safetensors that {name} can read: {_first(error)}") from None
        if lost := sorted(found["missing_keys"]):  # it would go on with random ones
            raise UserError(f"{where} holds no text encoder: its weights lack {lost[0]} ({len(lost)} in all)")
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(where, local_files_only=not download)
        except (OSError, ValueError, ImportError, TypeError, KeyError) as error:
            raise UserError(f"{where} has no tokenizer that can be read beside its weights: {_first(error)}") from None
    return Encoder(where, net, tokenizer)


def _unread(where: str, error: Exception, download: bool) -> UserError:
    if Path(where).is_dir():
        return UserError(f"{where} holds no text encoder: {_first(error)}")
    if download:
        return UserError(f"{where} cannot be fetched from the hub: {_first(error)}")
    return UserError(
        f"'{where}' is no folder here, and no model of the hub that was fetched already: name a folder that holds "
        "it, or have it fetched (download: true)"
    )


def _first(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def _quiet(library: Any) -> Generator[None]:
    """The library without its bars and advice: what matters is raised."""
    logs: Any = library.utils.logging
    level = logs.get_verbosity()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        logs.enable_progress_bar()


__all__ = ["MODELS", "Encoder", "opened", "place"]
