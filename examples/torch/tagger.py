"""A tagger on PyTorch: sequences of different lengths in a PackedSequence, a tag for every step.

The tag of a character says whether it is between quotation marks. `fastseq.torch.LSTM` is `torch.nn.LSTM` with other
kernels; padding, which a PackedSequence leaves out, costs no work.
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import fastseq.torch

LETTERS = 8
QUOTE = LETTERS  # the number of the quotation mark


def make_texts(count: int, generator: torch.Generator) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Texts of 10 to 40 characters, and for each character whether an odd number of marks stands before it."""
    texts, tags = [], []
    for _ in range(count):
        length = int(torch.randint(10, 41, (), generator=generator))
        text = torch.randint(0, LETTERS, (length,), generator=generator)
        text[torch.rand(length, generator=generator) < 0.15] = QUOTE
        marks = (text == QUOTE).cumsum(0)
        texts.append(text)
        tags.append((marks % 2).float())
    return texts, tags


class Tagger(nn.Module):
    """Texts to the score of each character's tag."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(LETTERS + 1, 8)
        self.lstm = fastseq.torch.LSTM(8, 24, bidirectional=True)
        self.tags = nn.Linear(48, 1)

    def forward(self, texts: list[torch.Tensor]) -> torch.Tensor:
        """Of a list of texts, in the order of a PackedSequence's data: (characters of all texts,)."""
        packed = pack_sequence([self.letters(text) for text in texts], enforce_sorted=False)
        return self.tags(self.lstm(packed)[0].data).squeeze(1)


def main() -> float:
    """Trains a tagger, prints and returns its accuracy on new texts."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        texts, tags = make_texts(32, generator)
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(
            model(texts), pack_sequence(tags, enforce_sorted=False).data
        )
        loss.backward()
        optimizer.step()
    texts, tags = make_texts(200, generator)
    with torch.no_grad():
        found = model(texts) > 0
    accuracy = float((found == (pack_sequence(tags, enforce_sorted=False).data > 0.5)).float().mean())
    print(f"Accuracy on new texts: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
