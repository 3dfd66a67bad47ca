"""Context heads: the only part that varies in an ablation.

A head is an `nn.Module` in a file of its own, named as its YAML in `conf/model/head/`:

* `__init__(self, in_channels: int, ...)`: `in_channels` is filled in from the backbone, all else has a default;
* `out_channels: int`: read by the classifier that follows;
* `forward(features)`: (B, in_channels, H, W) -> (B, out_channels, H, W). A head never knows the number of classes.
* `attended(features)`, of a head with object context pooling: the poolings, each with the features that `forward` gives
  it, in order. `ocnet-explore` asks for their maps.
"""
