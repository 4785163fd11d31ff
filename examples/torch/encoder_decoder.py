"""An encoder and a decoder on PyTorch: a sequence to one of the same numbers in reverse.

The encoder is PyTorch's own LSTM in a model that exists; `fastseq.torch.accelerate` makes it and the decoder fast, in
place, with the same parameters.
"""

import torch
from torch import nn

import fastseq.torch

DIGITS = 10
START = DIGITS


class Reverser(nn.Module):
    """Digits (batch, length) to scores of the digits in reverse, (batch, length, DIGITS)."""

    def __init__(self) -> None:
        super().__init__()
        self.digits = nn.Embedding(DIGITS + 1, 16)
        self.encoder = nn.LSTM(16, 64, batch_first=True)
        self.decoder = nn.LSTM(16, 64, batch_first=True)
        self.scores = nn.Linear(64, DIGITS)

    def forward(self, digits: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """`before` has the digit before each one that is to come, START first."""
        _, state = self.encoder(self.digits(digits))
        return self.scores(self.decoder(self.digits(before), state)[0])

    @torch.no_grad()
    def reverse(self, digits: torch.Tensor) -> torch.Tensor:
        """Decodes step by step, each from what came out before."""
        _, state = self.encoder(self.digits(digits))
        found = [torch.full((len(digits), 1), START)]
        for _ in range(digits.shape[1]):
            outputs, state = self.decoder(self.digits(found[-1]), state)
            found.append(self.scores(outputs).argmax(-1))
        return torch.cat(found[1:], 1)


def main(length: int = 6) -> float:
    """Trains a reverser, prints and returns how many digits of new sequences it gets right."""
    torch.manual_seed(0)
    model = fastseq.torch.accelerate(Reverser())
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for _ in range(400):
        digits = torch.randint(0, DIGITS, (64, length))
        wanted = digits.flip(1)
        before = torch.cat((torch.full((64, 1), START), wanted[:, :-1]), 1)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(digits, before).flatten(0, 1), wanted.flatten())
        loss.backward()
        optimizer.step()
    digits = torch.randint(0, DIGITS, (200, length))
    accuracy = float((model.reverse(digits) == digits.flip(1)).float().mean())
    print(f"Digits of new sequences: {accuracy:.3f} right")
    return accuracy


if __name__ == "__main__":
    main()
