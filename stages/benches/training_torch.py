"""The PyTorch side of `training_table`: a training step of ViT-B/32 on four nodules of nine slices and four texts.

    python3 training_torch.py THREADS

Reads `load ft` or `load lora`, then `step` as often as asked; answers each with a number of seconds, and `memory` with
the largest number of bytes that the process has held. The towers are
CLIP's, written with torch.nn as the published scripts use them. LoRA is done their way: the packed projection is split
in four Linear layers, and with dropout each adapter is a product of its own beside the frozen one. All nine slices pass
the tower at once, which the scripts do not do, so that what is compared is the arithmetic.
"""

import math
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class LoraLinear(nn.Module):
    """A frozen Linear and a low-rank product of its input after dropout."""

    def __init__(self, width, rank=2, rate=0.25):
        super().__init__()
        self.base = nn.Linear(width, width)
        self.base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, width) * 0.02)
        self.up = nn.Parameter(torch.zeros(width, rank))
        self.dropout = nn.Dropout(rate)
        self.scaling = 1.0 / math.sqrt(rank)

    def forward(self, x):
        return self.base(x) + self.dropout(x) @ self.down.T @ self.up.T * self.scaling


class LoraAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (LoraLinear(width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, x, mask):
        batch, tokens, width = x.shape
        split = lambda y: y.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x)), mask)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class PlainAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x, mask):
        return self.attention(x, x, x, need_weights=False, attn_mask=mask)[0]


class Block(nn.Module):
    def __init__(self, width, lora):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = (LoraAttention if lora else PlainAttention)(width, width // 64)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width))

    def forward(self, x, mask):
        x = x + self.attention(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class Clip(nn.Module):
    def __init__(self, lora):
        super().__init__()
        self.patches = nn.Conv2d(3, 768, 32, 32, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(768) * 0.02)
        self.image_positions = nn.Parameter(torch.randn(50, 768) * 0.02)
        self.ln_pre, self.ln_post = nn.LayerNorm(768), nn.LayerNorm(768)
        self.vision = nn.ModuleList(Block(768, lora) for _ in range(12))
        self.image_projection = nn.Parameter(torch.randn(768, 512) * 0.02)
        self.words = nn.Embedding(49408, 512)
        self.text_positions = nn.Parameter(torch.randn(77, 512) * 0.02)
        self.text = nn.ModuleList(Block(512, lora) for _ in range(12))
        self.ln_final = nn.LayerNorm(512)
        self.text_projection = nn.Parameter(torch.randn(512, 512) * 0.02)
        if lora:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(name.endswith((".down", ".up")))
        self.image_head, self.text_head = nn.Linear(512, 256), nn.Linear(512, 256)
        self.image_classifier, self.text_classifier = nn.Linear(256, 2), nn.Linear(256, 2)
        self.logit_scale = nn.Parameter(torch.tensor(2.6))
        self.register_buffer("mask", torch.full((77, 77), float("-inf")).triu(1))

    def forward(self, pixels, tokens):
        nodules = pixels.shape[0]
        x = self.patches(pixels.flatten(0, 1)).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], 1) + self.image_positions
        x = self.ln_pre(x)
        for block in self.vision:
            x = block(x, None)
        image = (self.ln_post(x[:, 0]) @ self.image_projection).view(nodules, 9, -1).mean(1)
        y = self.words(tokens) + self.text_positions
        for block in self.text:
            y = block(y, self.mask)
        text = self.ln_final(y)[torch.arange(nodules), tokens.argmax(-1)] @ self.text_projection
        image = F.normalize(self.image_head(image), dim=-1)
        text = F.normalize(self.text_head(text), dim=-1)
        return self.image_classifier(image), self.text_classifier(text), self.logit_scale.exp() * text @ image.T


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(1)
    pixels = torch.ones(4, 9, 3, 224, 224)
    text = [1000 + at if at < 40 else 49407 if at == 40 else 0 for at in range(77)]
    tokens = torch.tensor([text] * 4)
    malignant, pairs = torch.tensor([1, 0, 1, 0]), torch.arange(4)
    model = optimiser = None
    for line in sys.stdin:
        start = time.perf_counter()
        question = line.split()
        if question[0] == "load":
            model = Clip(question[1] == "lora")
            model.train()
            optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, weight_decay=0.1)
        elif question[0] == "memory":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
            continue
        else:
            optimiser.zero_grad()
            image, text, logits = model(pixels, tokens)
            contrastive = (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
            loss = contrastive + F.cross_entropy(image, malignant) + F.cross_entropy(text, malignant)
            loss.backward()
            optimiser.step()
        print(time.perf_counter() - start, flush=True)


main()
