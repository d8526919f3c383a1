"""A classifier in torch: an embedding network and a linear layer on its vectors."""

import torch
from torch import Tensor, nn

from toolkit.networks.embedder import EmbeddingNetwork
from toolkit.transfer.head import ClassifierHead


class ClassifierNetwork(nn.Module):
    """uint8 [B, height, width, 3] RGB to vectors [B, dim] and probabilities [B, classes]."""

    def __init__(self, network: EmbeddingNetwork, head: ClassifierHead) -> None:
        super().__init__()
        self.classes = head.classes
        self.network = network
        self.head = nn.Linear(network.dim, len(head.classes))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weights))
            self.head.bias.copy_(torch.from_numpy(head.biases))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of length 1, float32 [B, dim], and probabilities, float32 [B, classes]."""
        embeddings: Tensor = self.network(images)
        return embeddings, self.head(embeddings).softmax(1)

    def scores(self, pixels: Tensor) -> Tensor:
        """Float RGB [B, 3, height, width] of 0..255 to scores [B, classes], before softmax."""
        x = self.network.preprocess.normalise(pixels)
        x = x.contiguous(memory_format=torch.channels_last)
        found: Tensor = self.head(self.network.embed_input(x))
        return found

    def head_as_saved(self) -> ClassifierHead:
        """The linear layer as it is now."""
        weights, biases = self.head.weight, self.head.bias
        return ClassifierHead(
            self.classes, weights.detach().cpu().numpy(), biases.detach().cpu().numpy()
        )
