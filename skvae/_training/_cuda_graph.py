"""A training step on an accelerator, captured in a graph and replayed.

Launching a step's small kernels one by one takes the processor far longer than the
accelerator needs for them; a graph launches them all at once. What changes from step to
step (rows, learning rates) is copied into tensors that the graph reads.
"""

import torch

# steps taken before the capture, as CUDA asks
_STEPS_BEFORE = 3


def run_aside(function):
    """Call a function on a stream of its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        function()
    torch.cuda.current_stream().wait_stream(stream)


def capture(function):
    """Return what replays the work of a function."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


class StepGraph:
    """A step on batches of one size, and the numbers that it reads.

    ``step`` takes rates and pull as tensors (), see `Steps.step`; ``like`` has the data
    type and device of the weights.
    """

    def __init__(self, step, like):
        self.step, self.like, self.n_before = step, like, _STEPS_BEFORE
        self.numbers = self.written = self.replay = None

    @staticmethod
    def can_capture(weights, stepper):
        """Return whether weights are on CUDA, and steps can be captured."""
        return weights.device.type == "cuda" and stepper.is_flat

    def _step(self):
        *rates, pull = self.numbers.unbind()
        self.step(rates, pull)

    def __call__(self, rates, pull):
        numbers = [*rates, pull]
        if self.written != numbers:
            if self.numbers is None:
                self.numbers = self.like.new_empty(len(numbers))
            self.numbers.copy_(torch.tensor(numbers))
            self.written = numbers
        if self.n_before:
            self.n_before -= 1
            run_aside(self._step)
            return
        if self.replay is None:
            self.replay = capture(self._step)
        self.replay()
