"""Train the package's demo model: a byte-level BPE and a small `gpt`, from one text file.

    python tools/train_demo.py TEXT --work DIR --out src/ptir/demo

The best weights so far lie in `--work`, so a run can be stopped at any time and its best model
written with `--export-only`. Of `ptir` only the checkpoint writer and reader are used: loss and
samples come from Torch, so that they can be held against the runtime's.
"""

import argparse
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from ptir.checkpoint import Checkpoint, save
from ptir.params import base_param_id

END_OF_TEXT = "<|endoftext|>"
TOKENIZER, CHECKPOINT, BEST = "tokenizer.json", "demo.gptrs", "best.pt"


@dataclass(frozen=True)
class Config:
    """The config of a `gpt` checkpoint."""

    vocab_size: int = 768
    context_length: int = 256
    embed_dim: int = 256
    num_layers: int = 4
    num_heads: int = 4
    mlp_ratio: int = 4
    dropout: float = 0.0
    activation: str = "gelu"
    layer_norm_eps: float = 1e-5


def weight(rows: int, columns: int, std: float) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, columns) * std)


class LayerNorm(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.eps = config.layer_norm_eps
        self.gamma = nn.Parameter(torch.ones(config.embed_dim))
        self.beta = nn.Parameter(torch.zeros(config.embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.gamma.shape, self.gamma, self.beta, self.eps)


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.embed_dim
        self.num_heads = config.num_heads
        self.w_qkv = weight(dim, 3 * dim, dim**-0.5)  # q | k | v
        self.b_qkv = nn.Parameter(torch.zeros(3 * dim))
        # As in GPT-2, branches into the residual stream start smaller the deeper the stack is.
        self.w_out = weight(dim, dim, (2 * dim * config.num_layers) ** -0.5)
        self.b_out = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        B, T, E = x.shape
        qkv = (x @ self.w_qkv + self.b_qkv).view(B, T, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return mixed.transpose(1, 2).reshape(B, T, E) @ self.w_out + self.b_out


class FeedForward(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, hidden = config.embed_dim, config.mlp_ratio * config.embed_dim
        self.w_in = weight(dim, hidden, dim**-0.5)
        self.b_in = nn.Parameter(torch.zeros(hidden))
        self.w_out = weight(hidden, dim, (2 * hidden * config.num_layers) ** -0.5)
        self.b_out = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x @ self.w_in + self.b_in) @ self.w_out + self.b_out


class Block(nn.Module):
    def __init__(self, config: Config, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.ln_1 = LayerNorm(config)
        self.ln_2 = LayerNorm(config)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.ln_1(x)))
        return x + self.drop(self.feed_forward(self.ln_2(x)))


class GPT(nn.Module):
    """Attribute paths are the parameter names of the checkpoint; weights are [in, out]."""

    def __init__(self, config: Config, dropout: float = 0.0) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.embed_dim)
        nn.init.normal_(self.tok_embeddings.weight, std=0.02)
        self.pos_embeddings = weight(config.context_length, config.embed_dim, 0.02)
        self.blocks = nn.ModuleList(Block(config, dropout) for _ in range(config.num_layers))
        self.final_ln = LayerNorm(config)
        self.lm_head = weight(config.embed_dim, config.vocab_size, 0.02)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of token ids [B, T]."""
        x = self.drop(self.tok_embeddings(tokens) + self.pos_embeddings[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.final_ln(x) @ self.lm_head


def train_tokenizer(text: str, vocab_size: int) -> Tokenizer:
    """A byte-level BPE: all 256 bytes are in the alphabet, so every text has an encoding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def split(text: str) -> tuple[str, str]:
    """The first 90 % for training, the rest for validation."""
    cut = len(text) * 9 // 10
    return text[:cut], text[cut:]


def encode(tokenizer: Tokenizer, text: str) -> Tensor:
    return torch.tensor(tokenizer.encode(text).ids, dtype=torch.long)


def batches(tokens: Tensor, batch: int, length: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    window = torch.arange(length + 1)
    while True:
        starts = torch.randint(len(tokens) - length, (batch, 1), generator=generator)
        chunk = tokens[starts + window]  # (B, T + 1)
        yield chunk[:, :-1], chunk[:, 1:]


@torch.no_grad()
def validation_loss(model: GPT, tokens: Tensor, length: int) -> float:
    """Mean nats per token over every token but the first, in windows that do not overlap."""
    model.eval()
    total = 0.0
    for x, y in zip(tokens[:-1].split(length), tokens[1:].split(length), strict=True):
        total += F.cross_entropy(model(x[None])[0], y, reduction="sum").item()
    model.train()
    return total / (len(tokens) - 1)


def schedule(step: int, steps: int, warmup: int = 100) -> float:
    """The fraction of the peak rate: linear warm-up, then a cosine down to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizers(model: GPT, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, head, biases and gains.

    On a corpus this small Muon needs far fewer steps to learn attention than AdamW alone.
    """
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    others = [p for name, p in model.named_parameters() if p.ndim == 1 or "blocks" not in name]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def train(args: argparse.Namespace, config: Config, tokenizer: Tokenizer, text: str) -> None:
    train_tokens, val_tokens = (encode(tokenizer, part) for part in split(text))
    print(f"{len(train_tokens)} training tokens, {len(val_tokens)} validation tokens", flush=True)
    torch.manual_seed(args.seed)
    model = GPT(config, args.dropout)
    optimizers = make_optimizers(model, args.lr)
    schedules = [LambdaLR(each, lambda step: schedule(step, args.steps)) for each in optimizers]
    data = batches(train_tokens, args.batch, config.context_length, args.seed)
    best, began = math.inf, time.perf_counter()
    for step in range(args.steps):
        x, y = next(data)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x)
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten())
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for each in (*optimizers, *schedules):
            each.step()
        if (step + 1) % args.eval_every and step + 1 != args.steps:
            continue
        val = validation_loss(model, val_tokens, config.context_length)
        seconds = time.perf_counter() - began
        print(f"step {step + 1} train {loss.item():.4f} val {val:.4f} {seconds:.0f} s", flush=True)
        if val < best:
            best = val
            torch.save({"step": step + 1, "model": model.state_dict()}, args.work / BEST)


def write(path: Path, model: GPT, config: Config) -> None:
    weights = model.state_dict().items()
    tensors = {name: value.numpy().astype(ml_dtypes.bfloat16) for name, value in weights}
    runtime = {"dtype": "f32"}
    save(path, kind="gpt", config=asdict(config), runtime=runtime, tensors=tensors)


def load(path: Path) -> tuple[GPT, Config]:
    """The model in a checkpoint, for evaluation. Torch refuses a missing or unknown name."""
    checkpoint = Checkpoint(path)
    config = Config(**checkpoint.config)
    model = GPT(config)
    arrays = {name: checkpoint.load(base_param_id(name)) for name in checkpoint.names()}
    wide = {name: torch.tensor(array.astype(np.float32)) for name, array in arrays.items()}
    model.load_state_dict(wide)
    return model.eval(), config


@torch.no_grad()
def same(written: GPT, trained: GPT, config: Config) -> bool:
    """Whether each tensor and the logits of a full window are equal, bit for bit."""
    pairs = zip(written.state_dict().items(), trained.state_dict().items(), strict=True)
    tokens = torch.arange(config.context_length)[None] % config.vocab_size
    logits = [model.eval()(tokens) for model in (written, trained)]
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs) and torch.equal(*logits)


@torch.no_grad()
def sample(model: GPT, tokens: Tensor, count: int, context: int, temperature: float) -> Tensor:
    """`tokens` and `count` more; the likeliest ones at temperature 0."""
    for _ in range(count):
        logits = model(tokens[None, -context:])[0, -1]
        drawn = torch.multinomial(F.softmax(logits / (temperature or 1.0), -1), 1)
        tokens = torch.cat([tokens, drawn if temperature else logits.argmax(-1, keepdim=True)])
    return tokens


def report(model: GPT, config: Config, tokenizer: Tokenizer, text: str, seed: int) -> None:
    _, val_text = split(text)
    tokens = encode(tokenizer, val_text)
    loss = validation_loss(model, tokens, config.context_length)
    bits = loss * (len(tokens) - 1) / len(val_text.encode()) / math.log(2)
    print(f"validation: {loss:.4f} nats per token, {bits:.4f} bits per byte")
    model.eval()
    for temperature in (0.0, 0.8):
        torch.manual_seed(seed)
        prompt = encode(tokenizer, "ROMEO:")
        tokens = sample(model, prompt, 200, config.context_length, temperature)
        print(f"\n--- temperature {temperature}\n{tokenizer.decode(tokens.tolist())}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="the text to learn from, UTF-8")
    parser.add_argument("--work", type=Path, required=True, help="folder for the run's own files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the package's files")
    parser.add_argument("--export-only", action="store_true", help="write the best model so far")
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--eval-every", type=int, default=100)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    for folder in (args.work, args.out):
        folder.mkdir(parents=True, exist_ok=True)
    text = args.text.read_text(encoding="utf-8")
    config = Config()
    if not args.export_only:
        train_tokenizer(split(text)[0], config.vocab_size).save(str(args.work / TOKENIZER))
        train(args, config, Tokenizer.from_file(str(args.work / TOKENIZER)), text)
    best = torch.load(args.work / BEST, weights_only=True)
    model = GPT(config)
    # Stored in half the bytes and computed in f32: every number of bf16 is one of f32.
    model.load_state_dict({name: p.bfloat16().float() for name, p in best["model"].items()})
    write(args.out / CHECKPOINT, model, config)
    shutil.copyfile(args.work / TOKENIZER, args.out / TOKENIZER)
    written, written_config = load(args.out / CHECKPOINT)
    if not same(written, model, written_config):
        raise SystemExit(f"{args.out / CHECKPOINT} does not hold the trained weights")
    print(f"best at step {best['step']}")
    report(written, written_config, Tokenizer.from_file(str(args.out / TOKENIZER)), text, args.seed)


if __name__ == "__main__":
    main()
