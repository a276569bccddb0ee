"""The trainer's update, without the trainer: what the tests of adversarial systems step with."""

import torch


class Update:
    """Applies losses to what their optimizer owns, and remembers which came and what they moved."""

    def __init__(self, system, steps=100):
        self.system, self.optimizers = system, system.optimizers()
        self.step, self.steps, self.calls = 0, steps, []
        self.moved = {}

    @property
    def progress(self):
        return self.step / self.steps

    def __call__(self, name, loss):
        owned = [p for g in self.optimizers[name].param_groups for p in g["params"]]
        before = {k: p.detach().clone() for k, p in self.system.named_parameters()}
        for p in owned:
            p.grad = None
        loss.backward(inputs=owned)
        self.optimizers[name].step()
        for p in owned:
            p.grad = None
        self.calls.append(name)
        moved = {k for k, p in self.system.named_parameters() if not torch.equal(p, before[k])}
        self.moved.setdefault(name, set()).update(moved)


def play(system, steps=1, batch=4, total=100, data=None):
    """Train for some steps on random images with labels; returns the update and the last logs."""
    update, logs = Update(system, total), {}
    shape = system.hparams["shape"]
    for _ in range(steps):
        given = data() if data else {"image": torch.rand(batch, *shape) * 2 - 1, "label": torch.arange(batch) % 3}
        logs = system.train().training_step(given, update)
        update.step += 1
    return update, logs


def gen(seed=0):
    return torch.Generator().manual_seed(seed)
