"""Writes random_draws.json and random_draws.pdiparams with Paddle 3: a net that draws in every way a size allows.

python tests/golden/pir/random_draws.py
"""

from pathlib import Path

import paddle


class Net(paddle.nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.classify = paddle.nn.Conv2D(3, 2, 1)

    def forward(self, image):
        drawn = paddle.rand([1, 2, 8, 8]) + paddle.randn([1, 2, 1, 1])
        whole = paddle.randint(0, 4, [1, 2, 1, 1]) + paddle.randperm(8).reshape([1, 1, 1, 8])
        return self.classify(image) + drawn + whole.astype("float32")


if __name__ == "__main__":
    net = Net()
    net.eval()
    spec = paddle.static.InputSpec([1, 3, 8, 8], "float32", "image")
    paddle.jit.save(paddle.jit.to_static(net, input_spec=[spec]), str(Path(__file__).with_suffix("")))
