"""The part of classification that trains: the network with its linear classifier, and its cross-entropy."""

from torch import Tensor, nn
from torch.nn import functional

from ...errors import UsageError
from ...models import build
from ...records import Labels
from ...specs import Spec


class ClassificationTask:
    """Softmax classification: logits (N, K) against class indices, or against shares of classes."""

    name = "classification"
    metric = "top1"

    def build(self, spec: Spec, labels: Labels) -> nn.Module:
        """`spec` with a classifier of len(labels) logits, freshly initialised.

        Shapes: float (N, in_channels, h, w) -> logits (N, K).
        Raises: UsageError where there is no label.
        """
        if not len(labels):
            raise UsageError("classification needs at least one label, got none")
        return build(spec, classes=len(labels))

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """Cross-entropy in float32, averaged over the batch.

        With q the target's distribution (one-hot for an index), e the smoothing and w the class weights, image i
        loses -sum_k ((1 - e) q_ik + e / K) log p_ik and counts by sum_k q_ik w_k, so that an index and its one-hot
        row lose the same. (torch's own cross_entropy weighs the two differently.)
        Source of the smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.

        Shapes: outputs float (N, K); targets int64 (N,) or float (N, K) with rows that sum to 1, as mixup and cutmix
            make them; class_weights float (K,), positive -> scalar float32.
        """
        logits = outputs.float()
        soft = targets if targets.is_floating_point() else None
        if class_weights is None:
            goal = targets if soft is None else soft.float()
            return functional.cross_entropy(logits, goal, label_smoothing=label_smoothing)
        shares = functional.one_hot(targets, logits.shape[1]).float() if soft is None else soft.float()
        smoothed = shares * (1.0 - label_smoothing) + label_smoothing / logits.shape[1]
        losses = -(smoothed * functional.log_softmax(logits, dim=1)).sum(1)
        counts = shares @ class_weights.to(logits)
        return (losses * counts).sum() / counts.sum()
