"""An installed chainrule trains: a small net fits XOR, and one kernel agrees with its twin."""

import numpy as np

import chainrule
from chainrule import kernels, nn, optim, reference

rng = np.random.default_rng(0)
x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((33, 70), (19, 70), (19,)))
np.testing.assert_allclose(kernels.linear(x, w, b), reference.linear(x, w, b), rtol=1e-4, atol=1e-5)

chainrule.manual_seed(0)
inputs = chainrule.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
targets = chainrule.tensor([[0.0], [1.0], [1.0], [0.0]])
model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = optim.Adam(model.parameters(), lr=0.05)
for _ in range(300):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
assert loss.item() < 1e-2, f"XOR isn't learned: loss {loss.item()}"
print(f"trained: loss {loss.item():.2e}")
